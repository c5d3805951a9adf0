"""When Claude is overloaded, all turns wait a little instead of asking again and again."""

from __future__ import annotations

import asyncio
import random
from typing import Final

OVERLOADS: Final = 4
"""So many refusals, within `WINDOW_S` and without a success between, open a breather."""
WINDOW_S: Final = 10.0
FIRST_S: Final = 3.0
LONGEST_S: Final = 30.0


class Breather:
    """The pause of one model, shared by all turns: a deadline that nothing but time lifts.

    Each breather in a row is twice as long as the one before; a success ends the row. Those who
    wait come back spread over half the pause's length, not all in the moment when it ends; whoever
    then finds the next one open waits again.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._length_s = FIRST_S
        self._next_s = FIRST_S
        self._refused_at: list[float] = []

    def wait_s(self) -> float:
        """Seconds that the next request should wait; 0 when there is no breather."""
        left_s = self._until - _now()
        return left_s + random.uniform(0, self._length_s / 2) if left_s > 0 else 0.0

    def overloaded(self, retry_after_s: float | None) -> None:
        """A request was refused as too much."""
        now = _now()
        self._refused_at = [at for at in self._refused_at if at > now - WINDOW_S] + [now]
        if len(self._refused_at) < OVERLOADS or now < self._until:
            return
        self._length_s = min(LONGEST_S, max(self._next_s, retry_after_s or 0.0))
        self._next_s = min(LONGEST_S, self._next_s * 2)
        self._until = now + self._length_s
        self._refused_at.clear()

    def succeeded(self) -> None:
        """A request was taken."""
        self._refused_at.clear()
        self._next_s = FIRST_S


def _now() -> float:
    return asyncio.get_running_loop().time()
