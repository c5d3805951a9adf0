"""One reply that grows: first sign of life → paced edits → the final full text.

One task writes, one call at a time, always with the newest text, so an older edit can never land
on a newer one. What the reply should look like is state (`_Part`); the writer compares it with
what it sent last and sends the difference, until the reply is settled and nothing differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from bot import blocks, logs, markdown
from bot.errors import (
    BlocksRefused,
    Doubtful,
    NotEditable,
    RateLimited,
    SlackError,
    TooLong,
    Transient,
)
from bot.pacing import Pacer, Seat
from bot.slack import Mark, Workspace
from bot.turn import Question

log = logging.getLogger(__name__)

MESSAGE_CHARACTERS: Final = 10_000
"""Rendered Markdown in one message: block text fails above some 11,000 (Slack says 12,000)."""
PART_CHARACTERS: Final = 9_600
"""Of Claude's own text; rendering may add to it."""
LEAST_CHARACTERS: Final = 1_000
HOLD_FROM: Final = 7_500
"""From here on an interim edit ends at a line or word, where the message can still be cut."""
POST_SOON_S: Final = 0.3
STATUS_SPACING_S: Final = 15.0
TRY_AGAIN_S: Final = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
"""Waits between tries of a call that Slack did not take; together a little over two minutes."""
INTERIM_TRY_AGAIN_S: Final = 2.5
RATE_LIMITS_IN_A_ROW: Final = 20
LOOKUPS: Final = 3

THINKING: Final = "Thinking…"
NOTHING: Final = "Claude had nothing to say to that."


@dataclass(slots=True)
class _Part:
    """One message of the reply."""

    number: int
    prefix: str = ""
    """Reopens the code fence that was cut at the end of the part before."""
    text: str = ""
    """Claude's own."""
    ts: str | None = None
    rev: int = 0
    sent: _Content | None = None
    """What the last call that Slack took shows."""
    shown: int = 0
    """How many characters of `text` a person has seen."""
    plain: bool = False
    """Slack refused the Markdown: send it as plain text."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a message should show now."""

    body: str
    status: str | None
    end: int
    """How many characters of the part's text `body` shows."""


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
        self._question = question
        self._note_message = note_message
        self._on_broken = on_broken
        self._existing = dict(existing or {})
        self._thread_ts = question.reply_thread_ts
        self._parts = [self._new_part(0)]
        self._arrived: list[str] = []
        self._limit = PART_CHARACTERS
        self._status: str | None = THINKING
        self._status_due = 0.0
        self._settled = False
        self._ending = asyncio.Event()
        self._wake = asyncio.Event()
        self._post_waits_for_text = False
        self._failures = 0
        self._rate_limits = 0
        self._writer: asyncio.Task[None] | None = None
        self._status_line: asyncio.Task[None] | None = None
        self.report = Report()

    async def __aenter__(self) -> Self:
        """Give the first sign of life and start to write; returns at once."""
        in_thread = self._thread_ts is not None
        post_is_late = self._pacer.post_wait_s(self._team, self._channel) > POST_SOON_S
        short = self._pacer.edits_are_short(self._team)
        if self._parts[0].ts is None and in_thread and (post_is_late or short):
            self._post_waits_for_text = True
            self._status_line = self._spawn(self._show_status_line())
        self._writer = self._spawn(self._write())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in (self._writer, self._status_line):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, SlackError):
                    await task

    def add(self, delta: str) -> None:
        """More of Claude's text."""
        self._arrived.append(delta)
        self._status = None
        self._wake.set()

    def status(self, text: str) -> None:
        """Say what is going on; shown with the next edit, or alone at most every 15 s."""
        self._status = text
        self._wake.set()
        if self._post_waits_for_text and self._parts[0].ts is None:
            self._status_line = self._spawn(self._show_status_line())

    def withdraw(self) -> None:
        """Take back everything that was shown. Settle with a reason that says why."""
        for part in self._parts[1:]:
            if part.ts is not None:
                self._existing[part.number] = part.ts
        first = self._parts[0]
        first.text, first.shown = "", 0
        self._parts = [first]
        self._arrived.clear()

    async def settle(self, reason: str | None = None) -> None:
        """Show the whole text, with `reason` (why it is not complete) as a small line under it.

        Where there is no text the reason is the message. Returns when Slack has everything; raises
        the SlackError that made it impossible, MessageGone if somebody deleted the reply.
        """
        self._status = reason
        self._settled = True
        self._ending.set()
        self._wake.set()
        assert self._writer is not None
        await asyncio.shield(self._writer)
        await self._delete_surplus()

    async def remove(self) -> None:
        """Delete the whole reply: its question is gone. Stops the writer first."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self._existing |= {part.number: part.ts for part in self._parts if part.ts is not None}
        self._parts = []
        await self._delete_surplus()

    def owns(self, ts: str) -> bool:
        """Whether message `ts` is one of this reply's."""
        return any(part.ts == ts for part in self._parts)

    # --- the writer ---------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while (part := await self._next()) is not None:
                await self._deliver(part)
        except SlackError as error:
            self._on_broken(error)
            raise

    async def _next(self) -> _Part | None:
        """The first message that does not show what it should; None when the reply is settled."""
        while True:
            self._wake.clear()
            self._plan()
            for part in self._parts:
                if self._differs(part):
                    return part
            if self._settled:
                return None
            await self._wait_for_change()

    async def _deliver(self, part: _Part) -> None:
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

    async def _try_again(self, error: SlackError) -> None:
        logs.warning(log, "slack_retry", method=error.method, code=error.code)
        if self._failures == len(TRY_AGAIN_S):
            raise error
        wait_s = TRY_AGAIN_S[self._failures]
        self._failures += 1
        if self._settled:
            await self._pacer.clock.sleep(wait_s)
        else:
            wait_s = min(wait_s, INTERIM_TRY_AGAIN_S)
            await self._race(self._pacer.clock.sleep(wait_s), self._ending.wait())

    def _plan(self) -> None:
        """Move what has arrived into the open part, and close it where it grows too long."""
        part = self._parts[-1]
        part.text += "".join(self._arrived)
        self._arrived.clear()
        while (end := self._end(part)) < len(part.text):
            rest, part.text = part.text[end:], part.text[:end]
            prefix = markdown.reopening(part.prefix + part.text)
            part = self._new_part(part.number + 1)
            part.prefix, part.text = prefix, rest
            self._parts.append(part)

    def _end(self, part: _Part) -> int:
        """Where the part ends: all of it while it fits in one message."""
        limit = max(self._limit, part.shown)
        while True:
            end = markdown.cut(part.text, limit, part.shown)
            if len(_render(part, part.text[:end])) <= MESSAGE_CHARACTERS or end <= part.shown:
                return max(end, 1)
            limit = max(part.shown, limit * 9 // 10)

    def _differs(self, part: _Part) -> bool:
        last = part is self._last()
        if part.number and not part.text.strip():
            return False
        if part.sent is None:
            waits = self._post_waits_for_text and part.ts is None and not self._settled
            return bool(part.text.strip()) or not waits
        if not last and part.sent.status is None and part.sent.end == len(part.text):
            return False
        content = self._content(part)
        if part.sent.body != content.body:
            return True
        return part.sent.status != content.status and (self._settled or self._status_is_due())

    def _last(self) -> _Part:
        """The part that carries the status: the last one with something in it."""
        return next((part for part in reversed(self._parts) if part.text.strip()), self._parts[0])

    def _status_is_due(self) -> bool:
        return self._pacer.clock.now() >= self._status_due

    async def _wait_for_change(self) -> None:
        """Until something arrives, or a status that waits for its turn may be shown."""
        wait_s = self._status_due - self._pacer.clock.now()
        if self._status is None or wait_s <= 0:
            await self._wake.wait()
            return
        await self._race(self._wake.wait(), self._pacer.clock.sleep(wait_s))

    def _content(self, part: _Part) -> _Content:
        last = part is self._last()
        growing = last and not self._settled
        end = len(part.text)
        if growing and end > min(HOLD_FROM, self._limit * 3 // 4):
            end = markdown.last_break(part.text, end, part.shown)
        body = _render(part, part.text[:end]) if part.text[:end].strip() else ""
        status = self._status if last else None
        if not body and status is None:
            status = NOTHING if self._settled else THINKING
        return _Content(body, status, end)

    async def _edit(self, part: _Part) -> None:
        assert part.ts is not None
        if not await self._slot(part):
            return  # the reply has ended meanwhile: take the final slot instead
        content, mark = self._ready(part)
        text, built = self._payload(part, content)
        self.report.edits += 1
        await self._workspace.update(self._channel, part.ts, text=text, blocks=built, mark=mark)
        self._sent(part, content)

    def _ready(self, part: _Part) -> tuple[_Content, Mark]:
        """What to send now that the call may go: the newest text."""
        self._plan()
        part.rev += 1
        return self._content(part), Mark(str(self._question.key), part.number, part.rev)

    async def _slot(self, part: _Part) -> bool:
        """Wait for the part's turn to be edited; False if the reply ended before it came."""
        if self._settled:
            await self._seat.final()
            return True
        words = part.number == 0 and part.shown == 0 and bool(part.text.strip())
        due = self._seat.first() if words else self._seat.interim()
        return await self._race(due, self._ending.wait())

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

    async def _post(self, part: _Part) -> None:
        await self._pacer.post(self._team, self._channel)
        content, mark = self._ready(part)
        text, built = self._payload(part, content)
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

    async def _find(self, part: _Part) -> str | None:
        """The message of a post whose answer was lost, by its metadata; None if it is not there."""
        key = str(self._question.key)
        for wait_s in TRY_AGAIN_S[:LOOKUPS]:
            await self._pacer.clock.sleep(wait_s)
            try:
                async for message in self._workspace.since(
                    self._channel, self._thread_ts, self._question.ts
                ):
                    mark = Mark.of(message)
                    if mark is not None and (mark.turn, mark.part) == (key, part.number):
                        return str(message["ts"])
            except SlackError as error:
                logs.warning(log, "lookup_failed", code=error.code)
        return None

    def _sent(self, part: _Part, content: _Content) -> None:
        part.sent = content
        part.shown = max(part.shown, content.end)
        self._status_due = self._pacer.clock.now() + STATUS_SPACING_S

    def _payload(self, part: _Part, content: _Content) -> tuple[str, list[dict[str, Any]]]:
        """`text` and `blocks` of a call."""
        body, status = content.body, content.status
        if not body and self._settled:
            return markdown.plain_beginning(status or NOTHING), blocks.notice(status or NOTHING)
        text = markdown.plain_beginning(body) or markdown.escape(status or THINKING)
        if part.plain:
            return text, blocks.plain(body) + blocks.reply("", status)
        return text, blocks.reply(body, status)

    def _pause(self, part: _Part, error: RateLimited) -> None:
        self.report.rate_limited += 1
        self._rate_limits += 1
        if self._rate_limits > RATE_LIMITS_IN_A_ROW:
            raise error
        logs.warning(log, "rate_limited", method=error.method, retry_after_s=error.retry_after_s)
        if part.ts is None:
            self._pacer.pause_posts(self._team, self._channel, error.retry_after_s)
        else:
            self._pacer.pause_edits(self._team, error.retry_after_s)

    def _adapt(self, part: _Part, error: SlackError) -> None:
        """Change how the part is sent, so that the next call can succeed; or give up."""
        logs.warning(log, "slack_adapts", method=error.method, code=error.code, part=part.number)
        if isinstance(error, NotEditable) and part.ts is not None:
            part.ts, part.sent = None, None
        elif isinstance(error, TooLong) and self._limit > LEAST_CHARACTERS:
            self._limit //= 2
            self._reopen_from(part)
        elif isinstance(error, BlocksRefused) and not part.plain:
            part.plain = True
        else:
            raise error

    def _reopen_from(self, part: _Part) -> None:
        """Make `part` the open one again, with all the text after it."""
        index = self._parts.index(part)
        later = self._parts[index + 1 :]
        part.text += "".join(other.text for other in later)
        part.shown = 0
        self._existing |= {other.number: other.ts for other in later if other.ts is not None}
        del self._parts[index + 1 :]

    def _new_part(self, number: int) -> _Part:
        return _Part(number, ts=self._existing.pop(number, None))

    # --- beside the writer --------------------------------------------------------------------

    async def _show_status_line(self) -> None:
        """Slack's own status line as first sign of life; the post follows with the first words."""
        assert self._thread_ts is not None
        try:
            status = self._status or THINKING
            await self._workspace.set_status(self._channel, self._thread_ts, status)
        except SlackError as error:
            logs.warning(log, "status_line_failed", code=error.code)
            self._post_waits_for_text = False
            self._wake.set()

    async def _delete_surplus(self) -> None:
        for ts in self._existing.values():
            try:
                await self._workspace.delete(self._channel, ts)
            except SlackError as error:
                logs.warning(log, "surplus_stays", code=error.code)
        self._existing.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=f"live:{self._question.key}")

    @property
    def _team(self) -> str:
        return self._question.team

    @property
    def _channel(self) -> str:
        return self._question.channel


def _render(part: _Part, text: str) -> str:
    """`text` of the part as Slack gets it: inert, its fences whole."""
    return markdown.close(markdown.neutralise(part.prefix + text))
