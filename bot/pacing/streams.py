"""The budgets of Slack's native streams in one workspace: starts, appends and stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.clock import Clock
from bot.pacing.edits import EditLine, Seat
from bot.pacing.line import Queue

REFUSED_S: Final = 3_600.0
"""A workspace in which Slack knows no streams is not asked again for so long."""


@dataclass(eq=False, slots=True)
class StreamSeat:
    """One stream that is open, or is to be started; a stop is kept free for it."""

    _streams: Streams
    _seat: Seat
    is_started: bool = False

    async def start(self) -> bool:
        """Take a call that starts the stream; False, and it is closed, if none is free now."""
        self.is_started = await self._streams.starts.take_now()
        if not self.is_started:
            self.close()
        self._seat.last_edit_at = self._streams.clock.now()
        return self.is_started

    async def append(self) -> None:
        """Wait until the next append of this stream is due."""
        await self._seat.interim()

    async def stop(self) -> None:
        """Wait for a call that stops the stream."""
        self._seat.leave()
        await self._streams.stops.take()

    def close(self) -> None:
        """The stream is not open any more."""
        self._seat.leave()
        self._streams.closed(self)


class Streams:
    """Of one workspace. `open_elsewhere` is how many other processes have open."""

    def __init__(
        self,
        clock: Clock,
        starts: Queue,
        stops: Queue,
        appends: EditLine,
        open_elsewhere: Callable[[], int],
    ) -> None:
        self.starts = starts
        self.stops = stops
        self.appends = appends
        self.clock = clock
        self._open_elsewhere = open_elsewhere
        self._open: set[StreamSeat] = set()
        self._refused_until = -math.inf

    @property
    def open(self) -> int:
        """How many streams this process has open."""
        return len(self._open)

    def may_start(self) -> bool:
        """Whether a stream can be started now, and stopped at any time without a wait."""
        if self.clock.now() < self._refused_until:
            return False
        to_start = sum(1 for stream in self._open if not stream.is_started)
        stops = self.stops.first_budget
        return (
            to_start < self.starts.first_budget.free()
            and len(self._open) + self._open_elsewhere() < stops.free()
        )

    def reserve(self, began_at: float | None) -> StreamSeat:
        """Keep a start and a stop for a reply whose text began then."""
        seat = self.appends.seat()
        seat.began_at = began_at
        stream = StreamSeat(self, seat)
        self._open.add(stream)
        return stream

    def refused(self) -> None:
        """Slack knows no streams in this workspace."""
        self._refused_until = self.clock.now() + REFUSED_S

    def closed(self, stream: StreamSeat) -> None:
        """One stream less is open."""
        self._open.discard(stream)

    def spacing_s(self) -> float:
        """Seconds between two appends of one reply, if another stream is started now, or until the
        first of them; infinite if none can be started."""
        if not self.may_start():
            return math.inf
        return max(self.appends.spacing_s(joining=1), self.appends.budget.wait_s())
