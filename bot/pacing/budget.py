"""How many calls of one method may still go: a count over a sliding window, and its pauses."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from bot.clock import Clock

SLOWER: Final = 0.8
"""A 429 lowers the rate by a fifth ..."""
SLOWEST: Final = 0.4
"""... but never under this share of the full rate ..."""
RECOVERY_SHARE: Final = 0.1
RECOVERY_S: Final = 60.0
"""... and each minute without another one gives a tenth of the full rate back."""


class Budget:
    """At most `limit` calls in any `window_s`, none during a pause, fewer for a while after it.

    A pause is a deadline: only time ends it (bot style rule 7).
    """

    def __init__(self, limit: int, window_s: float, clock: Clock) -> None:
        self._full_limit = limit
        self._full_window_s = window_s
        self._clock = clock
        self._sent: deque[float] = deque()
        self._paused_until = -math.inf
        self._share = 1.0

    @property
    def limit(self) -> int:
        """Calls in a window, at the present rate."""
        return max(1, int(self._full_limit * self._rate() + 1e-6))

    @property
    def window_s(self) -> float:
        """Longer where the limit, a whole number, cannot express the lower rate."""
        return self._full_window_s * self.limit / (self._full_limit * self._rate())

    def free(self) -> int:
        """Calls that may be sent now; negative while a lowered limit is exceeded."""
        paused = self._clock.now() < self._paused_until
        return 0 if paused else self.limit - self.used()

    def used(self, in_s: float = 0.0) -> int:
        """Calls sent until now that the window still holds in `in_s` from now."""
        since = self._clock.now() + in_s - self.window_s
        if in_s == 0.0:
            while self._sent and self._sent[0] <= since:
                self._sent.popleft()
        return sum(1 for at in self._sent if at > since)

    def wait_s(self, calls: int = 1) -> float:
        """Seconds until `calls` are free if no other is sent; infinite if they never can be."""
        now = self._clock.now()
        pause_s = max(0.0, self._paused_until - now)
        too_many = self.used() + calls - self.limit
        if too_many <= 0:
            return pause_s
        if too_many > len(self._sent):
            return math.inf
        return max(pause_s, self._sent[too_many - 1] + self.window_s - now)

    def next_return_s(self, in_s: float) -> float:
        """Seconds until the window as it will be `in_s` from then holds one call less."""
        edge = self._clock.now() + in_s - self.window_s
        return next((at - edge for at in self._sent if at > edge), math.inf)

    def recovery_s(self) -> float:
        """Seconds until the rate rises again; infinite if it is the full one."""
        if self._rate() >= 1.0:
            return math.inf
        since_s = self._clock.now() - self._paused_until
        return RECOVERY_S - since_s % RECOVERY_S if since_s >= 0 else RECOVERY_S - since_s

    def spend(self, now: float) -> None:
        """Count a call sent `now`."""
        self._sent.append(now)

    def sent_only_now(self) -> None:
        """The newest call was counted when it was planned, but is sent, or has arrived, now."""
        if self._sent:
            self._sent[-1] = self._clock.now()

    def give_back(self, sent_at: float) -> None:
        """The call counted at `sent_at` was not made."""
        if sent_at in self._sent:
            self._sent.remove(sent_at)

    def pause(self, seconds: float) -> None:
        """After a 429: nothing for `seconds` (a longer pause under way stays), then slower.

        Calls in flight together are refused together: that slows down once.
        """
        now = self._clock.now()
        if now >= self._paused_until:
            self._share = max(SLOWEST, self._rate() * SLOWER)
        self._paused_until = max(self._paused_until, now + seconds)

    def idle(self) -> bool:
        """Whether it can be forgotten: nothing counted, nothing paused or slowed."""
        return self.used() == 0 and self.wait_s() == 0.0 and self._rate() >= 1.0

    def _rate(self) -> float:
        """The share of the full rate that is used now."""
        if self._share >= 1.0:
            return 1.0
        minutes = max(0, (self._clock.now() - self._paused_until) // RECOVERY_S)
        return min(1.0, self._share + RECOVERY_SHARE * minutes)
