"""The one task that writes a reply: one call at a time, the newest text, the final one last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bot import logs, metrics
from bot.errors import (
    AuthFailed,
    BlocksRefused,
    ChannelClosed,
    Doubtful,
    MessageGone,
    MetadataRefused,
    NotEditable,
    RateLimited,
    SlackError,
    TooLong,
    Transient,
)
from bot.live_message.doubt import LOOK_AFTER_S, Lookup
from bot.live_message.draft import Content, Draft, Part
from bot.pacing import Pacer, Seat
from bot.slack import Mark, Workspace
from bot.turn import Question

log = logging.getLogger(__name__)

STATUS_SPACING_S: Final = 15.0
TRY_AGAIN_S: Final = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
"""Waits between tries of a call that Slack did not take; together a little over two minutes."""
INTERIM_TRY_AGAIN_S: Final = 2.5
RATE_LIMITS_IN_A_ROW: Final = 20
FINAL_WAIT_S: Final = 5.0
"""If the last edit would come later than this, the reply is posted anew instead."""
FIRST_WAIT_S: Final = 0.3
"""Likewise the first words, where nothing but the placeholder stands there yet."""
UNKNOWN_ERRORS: Final = 3
"""Interim edits that fail in an unknown way are left out; so many in a row end the edits."""


@dataclass(slots=True)
class Report:
    """What the reply has cost, for the log."""

    posts: int = 0
    edits: int = 0
    rate_limited: int = 0
    messages: list[str] = field(default_factory=list)


class Lease(Protocol):
    """That the reply is this process's to write."""

    @property
    def in_doubt(self) -> bool:
        """Whether another process may have taken the turn up."""

    async def sure(self) -> None:
        """Wait until it is ours for sure; whoever lost it is stopped instead."""

    async def last_word(self) -> None:
        """The same for the end of a reply, but not for long."""


class Writer:
    """Sends what the draft says, until it is settled and nothing differs."""

    def __init__(
        self,
        draft: Draft,
        workspace: Workspace,
        pacer: Pacer,
        seat: Seat,
        lookup: Lookup,
        *,
        question: Question,
        channel: str,
        thread_ts: str | None,
        note_message: Callable[[int, str], Awaitable[None]],
        lease: Lease,
        on_first_post_late: Callable[[], None],
        on_unwanted: Callable[[], None],
    ) -> None:
        self._draft = draft
        self._workspace = workspace
        self._pacer = pacer
        self._seat = seat
        self._lookup = lookup
        self._question = question
        self._channel = channel
        self._thread_ts = thread_ts
        self._team = workspace.identity.team
        self._note_message = note_message
        self._lease = lease
        self._on_first_post_late = on_first_post_late
        self._on_unwanted = on_unwanted
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._removing = False
        self._removed = asyncio.Event()
        self._status_due = 0.0
        self._failures = 0
        self._rate_limits = 0
        self._unknown = 0
        self.post_waits_for_text = False
        self.post_is_booked = False
        self.report = Report()

    def wake(self) -> None:
        """The draft has changed."""
        self._wake.set()

    def end(self, *, removing: bool = False) -> None:
        """The draft is settled; or the reply is to be removed, so write nothing more."""
        self._removing = removing
        self._ending.set()
        if removing:
            self._removed.set()
        self._wake.set()

    async def run(self) -> None:
        """Write until the end. Raises the SlackError that made it impossible."""
        while (part := await self._next()) is not None:
            await self._deliver(part)
        if not self._removing and any(part.in_doubt for part in self._draft.parts):
            await self._settle_doubts()

    async def _next(self) -> Part | None:
        """The first message that does not show what it should; None when there is none to come."""
        while not self._removing:
            self._wake.clear()
            self._draft.plan()
            for part in self._draft.parts:
                if self._is_due(part):
                    return self._draft.ahead_of(part)
            if self._draft.settled and self._ending.is_set():
                return None
            await self._wait_for_change()
        return None

    def _is_due(self, part: Part) -> bool:
        by_text, by_status = self._draft.differs(part)
        if self._draft.settled:
            return by_text or by_status
        if part.ts is None and self.post_waits_for_text and not part.text.strip():
            return False
        return by_text or (by_status and self._status_wait_s() <= 0)

    def _status_wait_s(self) -> float:
        return self._status_due - self._pacer.clock.now()

    async def _wait_for_change(self) -> None:
        """Until something arrives, or a status that waits for its turn may be shown."""
        wait_s = self._status_wait_s()
        if self._draft.status is None or wait_s <= 0:
            await self._wake.wait()
        else:
            await race(self._wake.wait(), self._pacer.clock.sleep(wait_s))

    async def _deliver(self, part: Part) -> None:
        """Make one call for `part`, or treat its failure so that the next one can succeed."""
        if not await self._is_ours():
            return
        try:
            await (self._post(part) if part.ts is None else self._edit(part))
            self._failures = self._rate_limits = self._unknown = 0
        except RateLimited as error:
            self._pause(part, error)
        except (Doubtful, Transient) as error:
            self._doubt(part, error)
            await self._try_again(error)
        except (MessageGone, ChannelClosed, AuthFailed):
            raise
        except SlackError as error:
            self._adapt(part, error)

    async def _is_ours(self) -> bool:
        """Wait until the reply is known to be ours to write; False if it ended before."""
        if not self._lease.in_doubt:
            return True
        if self._ending.is_set():
            await self._lease.last_word()
            return True
        return await race(self._lease.sure(), self._ending.wait())

    async def _edit(self, part: Part) -> None:
        assert part.ts is not None
        if self._edit_is_late(part) and self._draft.post_early(part):
            logs.event(log, "posted_anew", part=part.number)
            return
        if not await self._slot(part) or part not in self._draft.parts:
            return  # it ended meanwhile (take the final slot instead), or was withdrawn
        content = self._newest(part)
        text, built = self._draft.payload(part, content)
        self.report.edits += 1
        metrics.EDITS.inc()
        await self._workspace.update(
            self._channel, part.ts, text=text, blocks=built, mark=self._mark(part, content)
        )
        self._sent(part, content)

    async def _slot(self, part: Part) -> bool:
        """Wait for the part's turn to be edited; False if the reply ended before it came."""
        if self._draft.settled:
            await self._seat.final()
            return True
        due = self._seat.first() if self._are_first_words(part) else self._seat.interim()
        return await race(due, self._ending.wait())

    def _edit_is_late(self, part: Part) -> bool:
        """Whether a post would show the text so much earlier that it is worth a new message."""
        if self._draft.settled:
            return self._pacer.edit_wait_s(self._team) > FINAL_WAIT_S
        return self._are_first_words(part) and self._seat.first_wait_s() > FIRST_WAIT_S

    def _are_first_words(self, part: Part) -> bool:
        return part.number == 0 and part.shown == 0 and bool(part.text.strip())

    async def _post(self, part: Part) -> None:
        if self.post_is_booked and not await self._pacer.confirm_post(self._team, self._channel):
            self.post_is_booked = False
            if part.number == 0:
                self._on_first_post_late()
        if not self.post_is_booked:
            due = self._pacer.post(self._team, self._channel)
            if self._ending.is_set():
                await due
            elif not await race(due, self._ending.wait()):
                return
        self.post_is_booked = False
        if part not in self._draft.parts:
            return
        content = self._newest(part)
        text, built = self._draft.payload(part, content)
        self.report.posts += 1
        self._pacer.posting(self._team, self._channel)
        try:
            ts = await self._workspace.post(
                self._channel,
                text=text,
                blocks=built,
                mark=self._mark(part, content),
                thread_ts=self._thread_ts,
            )
        except Doubtful as error:
            ts = await self._posted_after_all(part, error)
        finally:
            self._pacer.posting(self._team, self._channel)
        if part not in self._draft.parts:  # withdrawn, or cut anew, while the post was under way
            self._draft.unwanted.add(ts)
            return
        self._draft.posted(part, ts)
        self._sent(part, content)
        self.report.messages.append(ts)
        await self._note_message(part.number, ts)
        if self._draft.unwanted:
            self._on_unwanted()

    async def _posted_after_all(self, part: Part, error: Doubtful) -> str:
        """The ts of a post whose answer was lost. Raises `error` when it is not there, and looks
        for longer rather than risk a second one when Slack cannot be read."""
        self._doubt(part, error)
        logs.warning(log, "post_in_doubt", code=error.code, part=part.number)
        for wait_s in TRY_AGAIN_S:
            looked, ts = await self._lookup.find(part.number)
            if ts is not None:
                return ts
            if looked:
                raise error
            await self._pacer.clock.sleep(wait_s)
        raise error

    def _newest(self, part: Part) -> Content:
        """What to send now that the call may go."""
        self._draft.plan()
        part.rev += 1
        return self._draft.content(part)

    def _mark(self, part: Part, content: Content) -> Mark | None:
        if not part.marked:
            return None
        question = self._question
        return Mark(
            str(question.key),
            part.number,
            part.rev,
            content.final,
            question.reuses,
            question.continues,
        )

    def _sent(self, part: Part, content: Content) -> None:
        if part.sent is not None and part.sent.body == content.body:
            self._status_due = self._pacer.clock.now() + STATUS_SPACING_S
        part.sent, part.written = content, True
        part.shown = max(part.shown, content.end)

    # --- when a call fails --------------------------------------------------------------------

    def _pause(self, part: Part, error: RateLimited) -> None:
        self.report.rate_limited += 1
        self._rate_limits += 1
        if self._rate_limits > RATE_LIMITS_IN_A_ROW:
            raise error
        logs.warning(log, "rate_limited", method=error.method, retry_after_s=error.retry_after_s)
        if part.ts is not None:
            self._pacer.pause_edits(self._team, error.retry_after_s)
            return
        # "rate_limited": too many messages in this channel; "ratelimited": of the method.
        channel = self._channel if error.code == "rate_limited" else None
        self._pacer.pause_posts(self._team, channel, error.retry_after_s)
        if part.number == 0:
            self._on_first_post_late()

    async def _try_again(self, error: SlackError) -> None:
        logs.warning(log, "slack_retry", method=error.method, code=error.code)
        if self._failures == len(TRY_AGAIN_S):
            raise error
        wait_s = TRY_AGAIN_S[self._failures]
        self._failures += 1
        if self._draft.settled:
            await race(self._pacer.clock.sleep(wait_s), self._removed.wait())
        else:
            wait_s = min(wait_s, INTERIM_TRY_AGAIN_S)
            await race(self._pacer.clock.sleep(wait_s), self._ending.wait())

    def _adapt(self, part: Part, error: SlackError) -> None:
        """Change how the part is sent, so that the next call can succeed; or give up."""
        logs.warning(log, "slack_adapts", method=error.method, code=error.code, part=part.number)
        draft = self._draft
        match error:
            case TooLong():
                adapted = draft.halve(part) or draft.plainer(part)
            case NotEditable():
                adapted = draft.post_anew(part)
            case BlocksRefused():
                adapted = draft.plainer(part)
            case MetadataRefused():
                adapted = draft.unmarked(part)
            case _:
                adapted = self._skip(part) or draft.plainer(part)
        if not (adapted or draft.post_anew(part)):
            raise error

    def _doubt(self, part: Part, error: SlackError) -> None:
        if isinstance(error, Doubtful):
            part.in_doubt = True
            part.late_call = part.late_call or "Timeout" in error.code

    def _skip(self, part: Part) -> bool:
        """Leave out an interim edit that failed in a way that we do not know."""
        self._unknown += 1
        if self._draft.settled or part.ts is None or self._unknown > UNKNOWN_ERRORS:
            return False
        part.sent = self._draft.content(part)
        return True

    async def _settle_doubts(self) -> None:
        """See that no late call has left a twin, or an older text over the last one."""
        late = any(part.late_call for part in self._draft.parts)
        for wait_s in LOOK_AFTER_S if late else LOOK_AFTER_S[:1]:
            await self._pacer.clock.sleep(wait_s)
            doubts = await self._lookup.settle_doubts(self._draft.parts)
            if doubts is None:
                continue
            twins, stale = doubts
            self._draft.unwanted |= twins
            for part in stale:
                logs.warning(log, "final_was_overwritten", part=part.number)
                part.sent = None
            while (part_due := await self._next()) is not None:
                await self._deliver(part_due)


async def race(first: Coroutine[Any, Any, Any], other: Coroutine[Any, Any, Any]) -> bool:
    """Whether `first` was done when either ended; the late one is cancelled."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
