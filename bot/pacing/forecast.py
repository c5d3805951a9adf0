"""What the next minute will ask for: how often replies come, and how long their text runs."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from bot.clock import Clock

MEMORY_S: Final = 120
"""Arrivals of the last two minutes count."""
YOUNG_S: Final = 20
LEAST_RATE_PER_S: Final = 1 / 60
"""One more reply in the next minute is always reckoned with."""
USUAL_LENGTH_S: Final = 10.0
"""Text of a usual reply, 600 tokens at 60 a second, until replies of this workspace tell."""
USUAL_SPREAD_S: Final = 1.0
"""How far a reply's length is from the usual one, until replies tell."""
LEARNING: Final = 0.1
"""The weight of the newest reply."""


class Forecast:
    """Of one workspace."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first_at: float | None = None
        self._seconds: deque[int] = deque()
        """Seconds in which a reply began: many questions at one moment are one event."""
        self.length_s = USUAL_LENGTH_S
        self.spread_s = USUAL_SPREAD_S

    def arrived(self) -> None:
        """A reply has begun."""
        now = self._clock.now()
        if self._first_at is None:
            self._first_at = now
        second = math.floor(now)
        if not self._seconds or self._seconds[-1] != second:
            self._seconds.append(second)

    def ended(self, length_s: float) -> None:
        """A reply's text ran for `length_s`."""
        error_s = length_s - self.length_s
        self.length_s += LEARNING * error_s
        self.spread_s += LEARNING * (abs(error_s) - self.spread_s)

    def rest_s(self, written_s: float) -> float:
        """Seconds of text still to come in a reply that has written for `written_s`: up to the
        usual length; at least the usual spread; and beyond it as long again as it is beyond."""
        over_s = max(0.0, written_s - self.length_s)
        return max(self.length_s - written_s, self.spread_s + over_s)

    def seen_rate_per_s(self) -> float:
        """How often replies began, from the share of seconds without one (Poisson)."""
        now = self._clock.now()
        while self._seconds and self._seconds[0] < now - MEMORY_S:
            self._seconds.popleft()
        known_s = now - self._first_at if self._first_at is not None else 0.0
        busy, watched_s = len(self._seconds), float(MEMORY_S)
        if known_s < MEMORY_S:  # the first one started the watch: it tells nothing
            busy, watched_s = busy - 1, max(YOUNG_S, known_s)
        share = min(0.95, max(0, busy) / watched_s)
        return -math.log(1 - share)

    def text_to_come_s(self, horizon_s: float, rate_per_s: float) -> float:
        """Seconds of text that replies yet to begin will write within `horizon_s`."""
        within_s = min(horizon_s, self.length_s)
        whole_s = max(0.0, horizon_s - self.length_s) * self.length_s
        return rate_per_s * (within_s**2 / 2 + whole_s)
