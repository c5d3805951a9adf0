"""The clocks of one request, on a timer of their own: first event, no progress, whole reply."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from bot.errors import ClaudeSilent, ClaudeStalled, ClaudeTooSlow

PINGS_ONLY: Final = 3
"""Pings show that the connection lives (a long thinking phase sends nothing else), and renew the
no-progress clock; but only so many times its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How long one reply may take: until the first event, between events, and in all."""

    first_event_s: float
    idle_s: float
    total_s: float


class Watch:
    """Ends the block with ClaudeSilent, ClaudeStalled or ClaudeTooSlow when a clock runs out.

    `deadline` is the loop's time at which the whole reply is over. An event only notes the time,
    since thousands come; the timer looks at it when it fires.
    """

    def __init__(self, clocks: Clocks, deadline: float) -> None:
        self._clocks = clocks
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._event_at: float | None = None
        self._ping_at = 0.0
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            if self._loop.time() >= self._deadline:
                raise ClaudeTooSlow("total clock") from timeout
            if self._event_at is None:
                raise ClaudeSilent("first event clock") from timeout
            raise ClaudeStalled("no progress clock") from timeout

    def event(self) -> None:
        """Claude made progress."""
        first = self._event_at is None
        self._event_at = self._loop.time()
        if first:  # another clock rules now, and may be the shorter one
            self._look_again()

    def ping(self) -> None:
        """The connection lives, no more."""
        self._ping_at = self._loop.time()

    def end_within(self, seconds: float) -> None:
        """Only the end is missing: wait for it no longer than that."""
        self._deadline = min(self._deadline, self._loop.time() + seconds)
        self._look_again()

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look()

    def _look(self) -> None:
        limit = min(self._limit(), self._deadline)
        if self._loop.time() >= limit:
            self._scope.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_at(limit, self._look)

    def _limit(self) -> float:
        if self._event_at is None:
            return self._started_at + self._clocks.first_event_s
        idle_s = self._clocks.idle_s
        alive_at = max(self._event_at, self._ping_at)
        return min(alive_at + idle_s, self._event_at + PINGS_ONLY * idle_s)
