"""Time that a test moves."""

from __future__ import annotations

import asyncio
import heapq


class FakeClock:
    """A Clock whose sleepers wake in order while `advance` moves it; nothing waits for real."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + 1_700_000_000

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), self._count, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time on by `seconds`, waking each sleeper at its moment."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._now = end


async def settle() -> None:
    """Let every task that can run, run."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(12):
        await asyncio.sleep(0)
        if not ready:
            return
