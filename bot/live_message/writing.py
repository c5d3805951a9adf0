"""What the deliveries of one reply share: who writes, where, of what, and what it has cost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bot import logs
from bot.clock import Clock
from bot.errors import Doubtful, RateLimited, SlackError
from bot.live_message.doubt import Lookup
from bot.live_message.draft import Draft
from bot.live_message.part import Content, Part
from bot.pacing import Pacer, Seat, StreamSeat, Way
from bot.slack import Mark, Workspace
from bot.turn import Question

log = logging.getLogger(__name__)

STATUS_SPACING_S: Final = 15.0
RATE_LIMITS_IN_A_ROW: Final = 20


@dataclass(slots=True)
class Report:
    """What the reply has cost, for the log."""

    way: Way | None = None
    """In which it went at last; None if it has had no text."""
    posts: int = 0
    edits: int = 0
    appends: int = 0
    rate_limited: int = 0
    messages: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Writing:
    """One reply as its writer sees it."""

    draft: Draft
    workspace: Workspace
    pacer: Pacer
    seat: Seat
    lookup: Lookup
    question: Question
    note_message: Callable[[int, str], Awaitable[None]]
    on_first_post_late: Callable[[], None]
    on_appeared: Callable[[], None]
    on_unwanted: Callable[[], None]
    choose_again: Callable[[], None]
    """The reply cannot be streamed (any more)."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the draft is settled, or is to be removed."""
    report: Report = field(default_factory=Report)
    kept_stream: StreamSeat | None = None
    """Kept for the reply, which is to be started in it."""
    streams: set[StreamSeat] = field(default_factory=set)
    """Those that count as open."""
    post_waits_for_text: bool = False
    post_is_booked: bool = False
    rate_limits: int = 0
    """In a row."""
    status_due: float = 0.0

    @property
    def clock(self) -> Clock:
        return self.pacer.clock

    @property
    def team(self) -> str:
        return self.workspace.identity.team

    @property
    def channel(self) -> str:
        return self.question.channel

    @property
    def thread_ts(self) -> str | None:
        return self.question.reply_thread_ts

    def status_wait_s(self) -> float:
        """Seconds until a status may be shown by a call of its own."""
        return self.status_due - self.clock.now()

    def mark(self, part: Part, content: Content) -> Mark | None:
        """What the message carries to be known by."""
        if not part.marked:
            return None
        question = self.question
        return Mark(
            str(question.key),
            part.number,
            part.rev,
            content.final,
            question.reuses,
            question.continues,
        )

    def sent(self, part: Part, content: Content) -> None:
        """Slack shows `content` now."""
        if part.sent is not None and part.sent.body == content.body:
            self.status_due = self.clock.now() + STATUS_SPACING_S
        part.sent, part.written = content, True
        part.mark_is_due = False
        self.rate_limits = 0
        part.shown = max(part.shown, content.end)

    async def appeared(self, part: Part, ts: str, content: Content) -> bool:
        """A new message shows `content`; False if the part is not wanted any more."""
        if part not in self.draft.parts:  # withdrawn, or cut anew, while the call was under way
            self.draft.unwanted.add(ts)
            return False
        self.draft.posted(part, ts)
        self.sent(part, content)
        self.report.messages.append(ts)
        self.on_appeared()
        await self.note_message(part.number, ts)
        if self.draft.unwanted:
            self.on_unwanted()
        return True

    def take_stream(self) -> StreamSeat | None:
        """The stream that is kept for the reply, or another one; None if none can be started."""
        seat = self.kept_stream or self.pacer.another_stream(self.team)
        self.kept_stream = None
        if seat is not None:
            self.streams.add(seat)
        return seat

    def close_stream(self, seat: StreamSeat) -> None:
        """The stream is not open any more."""
        seat.close()
        self.streams.discard(seat)

    def close_streams(self) -> None:
        """Nothing more is written: streams that are still open, or kept, count no more."""
        if self.kept_stream is not None:
            self.kept_stream.close()
        for seat in self.streams:
            seat.close()

    def rate_limited(self, error: RateLimited) -> None:
        """Slack wants fewer calls. Raises `error` when it says so again and again."""
        self.report.rate_limited += 1
        self.rate_limits += 1
        if self.rate_limits > RATE_LIMITS_IN_A_ROW:
            raise error
        logs.warning(log, "rate_limited", method=error.method, retry_after_s=error.retry_after_s)

    def doubt(self, part: Part, error: SlackError) -> None:
        """A call's answer was lost, if so: what it did is looked up at the end."""
        if isinstance(error, Doubtful):
            part.in_doubt = True
            part.late_call = part.late_call or "Timeout" in error.code


class Delivery(Protocol):
    """One way to get a part of the draft into Slack, one call at a time."""

    def is_due(self, part: Part) -> bool:
        """Whether a call would show more of the part, or show it better."""

    def wait_s(self, part: Part) -> float:
        """Seconds until it may be due though nothing else changes."""

    async def deliver(self, part: Part) -> None:
        """Make one call for the part, when its budget lets it go. Raises a SlackError that this
        way has no answer to."""


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
