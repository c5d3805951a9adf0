"""When the next tokens are due."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

TICK_S = 0.01


class Ticker:
    """One timer for all streams: those due in the same tick wake together.

    Sleeps of 200 streams that each end at a moment of their own cost a poll of the event loop
    each; on a common grid of 10 ms they share it.
    """

    def __init__(self) -> None:
        self._slots: dict[int, list[asyncio.Future[None]]] = {}

    async def sleep(self, seconds: float) -> None:
        """Return at the first tick that is at least `seconds` away."""
        loop = asyncio.get_running_loop()
        slot = math.ceil((loop.time() + seconds) / TICK_S)
        if slot not in self._slots:
            self._slots[slot] = []
            loop.call_at(slot * TICK_S, self._fire, slot)
        future = loop.create_future()
        self._slots[slot].append(future)
        await future

    def _fire(self, slot: int) -> None:
        for future in self._slots.pop(slot):
            if not future.done():
                future.set_result(None)


class Pace:
    """Spends tokens at a speed that may change at any time.

    At up to 1 / TICK_S tokens a second each token is due at a tick of its own; above that several
    fall due at once and share one delta. A speed of 0 holds the stream, infinity lets all out.
    """

    def __init__(self, speed: Callable[[], float], ticker: Ticker) -> None:
        self._speed = speed
        self._ticker = ticker
        self.restart()

    def restart(self) -> None:
        """Begin to count now, with one token due at once."""
        self._credit = 1.0
        self._counted_at = asyncio.get_running_loop().time()

    async def due(self, most: int) -> int:
        """Wait until a token is due; how many are due by then, 0 while the stream is held.

        Returns at least once a second, so that the caller can see to other things.
        """
        speed = self._speed()
        if math.isinf(speed):
            return most
        if self._credit < 1:
            wait_s = (1 - self._credit) / speed if speed > 0 else TICK_S
            await self._ticker.sleep(min(wait_s, 1.0))
            now = asyncio.get_running_loop().time()
            self._credit += (now - self._counted_at) * speed
            self._counted_at = now
        spent = min(most, int(self._credit))
        self._credit -= spent
        return spent
