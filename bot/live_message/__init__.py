"""One reply that grows: first sign of life → paced edits → the final full text.

One task writes, one call at a time, always with the newest text, so an older edit can never land
on a newer one. What the reply should look like is state (`Draft`); the writer compares it with
what it sent last and sends the difference, until the reply is settled and nothing differs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from bot import logs, metrics
from bot.errors import (
    BlocksRefused,
    Doubtful,
    NotEditable,
    RateLimited,
    SlackError,
    TooLong,
    Transient,
)
from bot.live_message.draft import THINKING, Content, Draft, Part
from bot.pacing import Pacer, Seat
from bot.slack import Mark, Workspace
from bot.turn import Question

log = logging.getLogger(__name__)

POST_SOON_S: Final = 0.3
STATUS_SPACING_S: Final = 15.0
TRY_AGAIN_S: Final = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
"""Waits between tries of a call that Slack did not take; together a little over two minutes."""
INTERIM_TRY_AGAIN_S: Final = 2.5
RATE_LIMITS_IN_A_ROW: Final = 20
LOOKUPS: Final = 3


@dataclass(slots=True)
class Report:
    """What the reply has cost, for the log."""

    posts: int = 0
    edits: int = 0
    rate_limited: int = 0
    messages: list[str] = field(default_factory=list)


class LiveMessage:
    """The growing reply to one question. Use as `async with`; `settle` ends it.

    `note_message(part, ts)` is awaited after each post; `on_broken` is called when nothing more can
    be shown (the reply deleted, the channel closed, the token revoked, Slack away for minutes).
    Leaving the block without `settle` cancels the writer and sends nothing more.
    """

    def __init__(
        self,
        workspace: Workspace,
        pacer: Pacer,
        seat: Seat,
        question: Question,
        *,
        note_message: Callable[[int, str], Awaitable[None]],
        on_broken: Callable[[SlackError], None],
        existing: Mapping[int, str] | None = None,
    ) -> None:
        self._workspace = workspace
        self._pacer = pacer
        self._seat = seat
        self._key = str(question.key)
        self._team = question.team
        self._channel = question.channel
        self._asked_ts = question.ts
        self._thread_ts = question.reply_thread_ts
        self._note_message = note_message
        self._on_broken = on_broken
        self._draft = Draft(existing or {})
        self._status_due = 0.0
        self._ending = asyncio.Event()
        self._wake = asyncio.Event()
        self._post_waits_for_text = False
        self._post_is_booked = False
        self._failures = 0
        self._rate_limits = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None
        self.report = Report()

    async def __aenter__(self) -> Self:
        """Give the first sign of life and start to write; returns at once."""
        if self._draft.parts[0].ts is None:
            if self._thread_ts is not None and self._posts_are_late():
                self._post_waits_for_text = True
                self._spawn(self._show_status_line())
            else:
                self._post_is_booked = self._pacer.book_post(self._team, self._channel)
        self._writer = self._spawn(self._write())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, delta: str) -> None:
        """More of Claude's text."""
        self._draft.add(delta)
        self._wake.set()

    def status(self, text: str) -> None:
        """Say what is going on; shown with the next edit, or alone, but then not within 15 s of
        the last time."""
        if text == self._draft.status:
            return
        self._draft.status = text
        self._wake.set()
        if self._post_waits_for_text and self._draft.parts[0].ts is None:
            self._spawn(self._show_status_line())

    def restart(self) -> None:
        """The reply begins again; what was shown stays until the new text is longer."""
        self._draft.restart()
        self._wake.set()

    def withdraw(self) -> None:
        """Take back everything that was shown. Settle with a reason that says why."""
        self._draft.withdraw()

    async def settle(self, reason: str | None = None, *, complete: bool = True) -> None:
        """Show the whole text, with `reason` (why it is not complete) as a small line under it.

        Where there is no text the reason is the message. Returns when Slack has everything; raises
        the SlackError that made it impossible, MessageGone if somebody deleted the reply.
        """
        self._draft.settle(reason, complete=complete)
        self._ending.set()
        self._wake.set()
        assert self._writer is not None
        await asyncio.shield(self._writer)
        await self._delete_surplus()

    async def remove(self) -> None:
        """Delete the whole reply: its question is gone. Stops the writer first."""
        assert self._writer is not None
        self._writer.cancel()
        await asyncio.wait([self._writer])
        self._draft.abandon()
        await self._delete_surplus()

    def owns(self, ts: str) -> bool:
        """Whether message `ts` is one of this reply's."""
        return any(part.ts == ts for part in self._draft.parts)

    def _posts_are_late(self) -> bool:
        """Whether a placeholder would come late, or would cost an edit that others need."""
        wait_s = self._pacer.post_wait_s(self._team, self._channel)
        return wait_s > POST_SOON_S or self._pacer.edits_are_short(self._team)

    # --- the writer ---------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while (part := await self._next()) is not None:
                await self._deliver(part)
        except SlackError as error:
            self._on_broken(error)
            raise

    async def _next(self) -> Part | None:
        """The first message that does not show what it should; None when the reply is settled."""
        while True:
            self._wake.clear()
            self._draft.plan()
            for part in self._draft.parts:
                if self._is_due(part):
                    return part
            if self._draft.settled:
                return None
            await self._wait_for_change()

    def _is_due(self, part: Part) -> bool:
        by_text, by_status = self._draft.differs(part)
        if self._draft.settled:
            return by_text or by_status
        if part.ts is None and self._post_waits_for_text and not part.text.strip():
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
            await self._race(self._wake.wait(), self._pacer.clock.sleep(wait_s))

    async def _deliver(self, part: Part) -> None:
        """Make one call for `part`, or treat its failure so that the next one can succeed."""
        try:
            await (self._post(part) if part.ts is None else self._edit(part))
            self._failures = self._rate_limits = 0
        except RateLimited as error:
            self._pause(part, error)
        except (Doubtful, Transient) as error:
            await self._try_again(error)
        except (NotEditable, TooLong, BlocksRefused) as error:
            self._adapt(part, error)

    async def _edit(self, part: Part) -> None:
        assert part.ts is not None
        if not await self._slot(part):
            return  # the reply has ended meanwhile: take the final slot instead
        content, mark = self._newest(part)
        text, built = self._draft.payload(part, content)
        self.report.edits += 1
        metrics.EDITS.inc()
        await self._workspace.update(self._channel, part.ts, text=text, blocks=built, mark=mark)
        self._sent(part, content)

    async def _slot(self, part: Part) -> bool:
        """Wait for the part's turn to be edited; False if the reply ended before it came."""
        if self._draft.settled:
            await self._seat.final()
            return True
        first_words = part.number == 0 and part.shown == 0 and bool(part.text.strip())
        due = self._seat.first() if first_words else self._seat.interim()
        return await self._race(due, self._ending.wait())

    async def _post(self, part: Part) -> None:
        if not self._post_is_booked:
            await self._pacer.post(self._team, self._channel)
        self._post_is_booked = False
        content, mark = self._newest(part)
        text, built = self._draft.payload(part, content)
        self.report.posts += 1
        try:
            ts = await self._workspace.post(
                self._channel, text=text, blocks=built, mark=mark, thread_ts=self._thread_ts
            )
        except Doubtful as error:
            logs.warning(log, "post_in_doubt", code=error.code, part=part.number)
            found = await self._find(part)
            if found is None:
                raise
            ts = found
        part.ts = ts
        self._sent(part, content)
        self.report.messages.append(ts)
        await self._note_message(part.number, ts)

    def _newest(self, part: Part) -> tuple[Content, Mark]:
        """What to send now that the call may go."""
        self._draft.plan()
        part.rev += 1
        return self._draft.content(part), Mark(self._key, part.number, part.rev)

    def _sent(self, part: Part, content: Content) -> None:
        if part.sent is not None and part.sent.body == content.body:
            self._status_due = self._pacer.clock.now() + STATUS_SPACING_S
        part.sent = content
        part.shown = max(part.shown, content.end)

    async def _find(self, part: Part) -> str | None:
        """The message of a post whose answer was lost, by its metadata; None if it is not there."""
        for wait_s in TRY_AGAIN_S[:LOOKUPS]:
            await self._pacer.clock.sleep(wait_s)
            try:
                async for message in self._workspace.since(
                    self._channel, self._thread_ts, self._asked_ts
                ):
                    mark = Mark.of(message)
                    if mark is not None and (mark.turn, mark.part) == (self._key, part.number):
                        return str(message["ts"])
            except SlackError as error:
                logs.warning(log, "lookup_failed", code=error.code)
        return None

    # --- when a call fails --------------------------------------------------------------------

    def _pause(self, part: Part, error: RateLimited) -> None:
        self.report.rate_limited += 1
        self._rate_limits += 1
        if self._rate_limits > RATE_LIMITS_IN_A_ROW:
            raise error
        logs.warning(log, "rate_limited", method=error.method, retry_after_s=error.retry_after_s)
        if part.ts is None:
            self._pacer.pause_posts(self._team, self._channel, error.retry_after_s)
        else:
            self._pacer.pause_edits(self._team, error.retry_after_s)

    async def _try_again(self, error: SlackError) -> None:
        logs.warning(log, "slack_retry", method=error.method, code=error.code)
        if self._failures == len(TRY_AGAIN_S):
            raise error
        wait_s = TRY_AGAIN_S[self._failures]
        self._failures += 1
        if self._draft.settled:
            await self._pacer.clock.sleep(wait_s)
        else:
            wait_s = min(wait_s, INTERIM_TRY_AGAIN_S)
            await self._race(self._pacer.clock.sleep(wait_s), self._ending.wait())

    def _adapt(self, part: Part, error: SlackError) -> None:
        """Change how the part is sent, so that the next call can succeed; or give up."""
        logs.warning(log, "slack_adapts", method=error.method, code=error.code, part=part.number)
        if isinstance(error, NotEditable) and part.ts is not None:
            part.ts = part.sent = None
        elif isinstance(error, BlocksRefused) and not part.plain:
            part.plain = True
        elif not (isinstance(error, TooLong) and self._draft.halve(part)):
            raise error

    # --- beside the writer --------------------------------------------------------------------

    async def _show_status_line(self) -> None:
        """Slack's own status line as first sign of life; the post follows with the first words."""
        assert self._thread_ts is not None
        status = self._draft.status or THINKING
        try:
            await self._workspace.set_status(self._channel, self._thread_ts, status)
        except SlackError as error:
            logs.warning(log, "status_line_failed", code=error.code)
            self._post_waits_for_text = False
            self._wake.set()

    async def _delete_surplus(self) -> None:
        for ts in self._draft.surplus.values():
            try:
                await self._workspace.delete(self._channel, ts)
            except SlackError as error:
                logs.warning(log, "surplus_stays", code=error.code)
        self._draft.surplus.clear()

    async def _race(self, first: Coroutine[Any, Any, Any], other: Coroutine[Any, Any, Any]) -> bool:
        """Whether `first` was done when either ended; the late one is cancelled."""
        tasks = [asyncio.ensure_future(first), asyncio.ensure_future(other)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return tasks[0].done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"live:{self._key}")
        self._tasks.add(task)
        return task


__all__ = ["THINKING", "LiveMessage", "Report"]
