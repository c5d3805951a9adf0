"""How many calls of one method may still go: a count over a sliding window, and its pauses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bot.clock import Clock
from bot.store.ledger import Claim, Spent

SLOWER: Final = 0.8
"""A 429 lowers the rate by a fifth ..."""
SLOWEST: Final = 0.4
"""... but never under this share of the full rate ..."""
RECOVERY_SHARE: Final = 0.1
RECOVERY_S: Final = 60.0
"""... and each minute without another one gives a tenth of the full rate back."""


@dataclass(eq=False, slots=True)
class Call:
    """One call that counts."""

    at: float
    known_from: float = math.inf
    """The number of the first question to the ledger whose answer surely holds this call."""


class Budget:
    """At most `limit` calls in any `window_s`, none during a pause, fewer for a while after it.

    A pause is a deadline: only time ends it (bot style rule 7). Where several processes spend from
    it, this is what this one knows: what the ledger said last, and calls that it may not have
    counted by then (`sharing.py`).
    """

    def __init__(self, limit: int, window_s: float, clock: Clock, name: str = "") -> None:
        self.name = name
        """What the ledger calls it."""
        self.heard = 0
        """The number of the question whose answer it shows."""
        self.reviews: dict[Callable[[], None], None] = {}
        """Who wants to look again when the ledger tells of a change, in order."""
        self._full_limit = limit
        self._full_window_s = window_s
        self._clock = clock
        self._sent: deque[Call] = deque()
        self._paused_until = -math.inf
        self._share = 1.0
        self._processes = 1
        self._alone_since = -math.inf

    @property
    def limit(self) -> int:
        """Calls in a window, at the present rate."""
        return max(1, self._whole_limit() // self._processes)

    @property
    def window_s(self) -> float:
        """Longer where the limit, a whole number, cannot express the lower rate."""
        return self._whole_window_s() * max(1.0, self._processes / self._whole_limit())

    def free(self) -> int:
        """Calls that may be sent now; negative while a lowered limit is exceeded."""
        paused = self._clock.now() < self._paused_until
        return 0 if paused else self.limit - self.used()

    def used(self, in_s: float = 0.0) -> int:
        """Calls sent until now that the window still holds in `in_s` from now."""
        since = self._clock.now() + in_s - self.window_s
        if in_s == 0.0:
            while self._sent and self._sent[0].at <= since:
                self._sent.popleft()
        return sum(1 for call in self._counted() if call.at > since)

    def wait_s(self, calls: int = 1) -> float:
        """Seconds until `calls` are free if no other is sent; infinite if they never can be."""
        now = self._clock.now()
        pause_s = max(0.0, self._paused_until - now)
        too_many = self.used() + calls - self.limit
        if too_many <= 0:
            return pause_s
        counted = self._counted()
        if too_many > len(counted):
            return math.inf
        return max(pause_s, counted[too_many - 1].at + self.window_s - now)

    def next_return_s(self, in_s: float) -> float:
        """Seconds until the window as it will be `in_s` from then holds one call less."""
        edge = self._clock.now() + in_s - self.window_s
        return next((call.at - edge for call in self._counted() if call.at > edge), math.inf)

    def recovery_s(self) -> float:
        """Seconds until the rate rises again; infinite if it is the full one."""
        if self._rate() >= 1.0:
            return math.inf
        since_s = self._clock.now() - self._paused_until
        return RECOVERY_S - since_s % RECOVERY_S if since_s >= 0 else RECOVERY_S - since_s

    def spend(self, now: float) -> Call:
        """Count a call sent `now`."""
        call = Call(now)
        self._sent.append(call)
        return call

    def sent_only_now(self, ago_s: float = 0.0) -> float:
        """The newest call was counted when it was planned, but is sent now, or has arrived `ago_s`
        before now. By how many seconds that moves it."""
        if not self._sent:
            return 0.0
        newest, at = self._sent[-1], self._clock.now() - ago_s
        moved_s, newest.at = at - newest.at, max(at, newest.at)
        return moved_s

    def give_back(self, call: Call) -> None:
        """`call` was not made."""
        if call in self._sent:
            self._sent.remove(call)

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

    # --- what the ledger asks and says --------------------------------------------------------

    def claim(self, kept: int) -> Claim:
        """What must be free, over all processes, for one call that leaves `kept` others."""
        return Claim(self.name, self._whole_limit(), self._whole_window_s(), kept)

    def paused(self) -> Spent | None:
        """The pause that is under way or slows the rate, without calls; None if there is none."""
        if self._rate() >= 1.0:
            return None
        return Spent(paused_s=self._paused_until - self._clock.now(), share=self._share)

    def holds(self, call: Call) -> bool:
        """Whether `call` still counts."""
        return self.used() > 0 and call in self._sent

    def replace(
        self, spent: Spent, as_of: float, question: int, newest: Call | None = None
    ) -> None:
        """Show what the ledger said of it in answer to `question`, unless a newer answer is shown.

        Calls of this process that the ledger may not have counted by then stay. A longer pause is
        adopted with its share: what slowed another process down slows this one once.
        """
        if question < self.heard:
            return
        self.heard = question
        own = [call for call in self._sent if call.known_from > question]
        told = [Call(as_of - age_s, known_from=question) for age_s in spent.ages_s]
        if newest is not None and told:  # the same call, which its caller may yet give back
            newest.at = told[-1].at
            told[-1] = newest
        self._sent = deque(sorted([*told, *own], key=lambda call: call.at))
        if (until := as_of + spent.paused_s) > self._paused_until:
            self._share = min(self._rate(), spent.share)
            self._paused_until = until

    def begin_half_spent(self, as_of: float) -> list[Call]:
        """Nobody knows what was spent: half of it, evenly over the last window."""
        half = self._full_limit // 2
        ages_s = (self._full_window_s * number / half for number in reversed(range(half)))
        guessed = [Call(as_of - age_s) for age_s in ages_s]
        self._sent.extend(guessed)
        return guessed

    def split(self, processes: int) -> None:
        """From now on no process knows what the others spend, so each has its share of what the
        last window has left; with 1 they know again."""
        if processes != self._processes:
            self._processes = processes
            self._alone_since = self._clock.now()

    def _counted(self) -> Sequence[Call]:
        """The calls, oldest first; of those that all processes know of only this one's share."""
        if self._processes == 1:
            return self._sent
        known = [call for call in self._sent if self._is_common(call)]
        ours = [call for call in self._sent if not self._is_common(call)]
        shared = known[:: -self._processes]  # the newest first: each stands for those before it
        return sorted([*shared, *ours], key=lambda call: call.at)

    def _is_common(self, call: Call) -> bool:
        return call.known_from < math.inf and call.at < self._alone_since

    def _whole_limit(self) -> int:
        return max(1, int(self._full_limit * self._rate() + 1e-6))

    def _whole_window_s(self) -> float:
        return self._full_window_s * self._whole_limit() / (self._full_limit * self._rate())

    def _rate(self) -> float:
        """The share of the full rate that is used now."""
        if self._share >= 1.0:
            return 1.0
        minutes = max(0, (self._clock.now() - self._paused_until) // RECOVERY_S)
        return min(1.0, self._share + RECOVERY_SHARE * minutes)
