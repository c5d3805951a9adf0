"""How much the machine takes at once, and how busy it was."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from bench.measure import quantile

LAG_TICK_S: Final = 0.02


@dataclass
class Room:
    """So many streams at once over all cases, so that the machine itself is not what is measured.

    A case that is larger than the room runs alone.
    """

    streams: int
    used: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, weight: int) -> None:
        async with self.changed:
            await self.changed.wait_for(
                lambda: self.used == 0 or self.used + weight <= self.streams
            )
            self.used += weight

    async def leave(self, weight: int) -> None:
        async with self.changed:
            self.used -= weight
            self.changed.notify_all()


@dataclass
class Lag:
    """How late this process itself is; what is measured cannot be more exact than that."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_TICK_S
            await asyncio.sleep(LAG_TICK_S)
            self.seen.append((loop.time(), loop.time() - due))

    def p99_s(self, begin: float, end: float) -> float | None:
        return quantile((late for at, late in self.seen if begin <= at <= end), 0.99)
