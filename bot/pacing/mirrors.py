"""The budgets as this process sees them: what the ledger said last, and what it has yet to hear."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final
from weakref import WeakValueDictionary

from bot.clock import Clock
from bot.pacing.budget import Budget, Call
from bot.store.ledger import Spent

UNKNOWN_FROM_S: Final = 60.0
"""Without memory, budgets of such a window or a longer one begin half spent."""
MOST_LATE: Final = 2_000

Counted = tuple[Budget, Call]


class Mirrors:
    """All budgets by name; one that nobody uses any more is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self.peers: dict[str, int] = {}
        """How many other processes were heard of last, by workspace."""
        self._clock = clock
        self._budgets: WeakValueDictionary[str, Budget] = WeakValueDictionary()
        self._recalled: Mapping[str, Spent] | None = None
        self._recalled_at: float | None = None
        self._tells_guesses = False
        self._late: deque[Counted] = deque(maxlen=MOST_LATE)
        self._is_split = False

    def add(self, name: str, limit: int, window_s: float) -> Budget:
        """A new budget, with what is remembered of it."""
        budget = self._budgets[name] = Budget(limit, window_s, self._clock, name)
        if self._recalled_at is not None:
            if self._recalled is not None:
                budget.replace(self._recalled.get(name, Spent()), self._recalled_at, 0)
            elif window_s >= UNKNOWN_FROM_S:
                guessed = budget.begin_half_spent(self._recalled_at)
                if self._tells_guesses:
                    self.add_late((budget, call) for call in guessed)
        if self._is_split:
            self._split(budget)
        return budget

    def remember(self, recalled: Mapping[str, Spent] | None, *, tell_guesses: bool) -> None:
        """What was spent before now; None if nobody knows. For budgets that are added later. With
        `tell_guesses` what is guessed instead counts for all processes."""
        self._tells_guesses = tell_guesses
        self._recalled = recalled
        self._recalled_at = self._clock.now()

    def show(
        self, spent: Mapping[str, Spent], question: int, counted: Mapping[Budget, Call]
    ) -> list[Budget]:
        """Show the ledger's answer to `question`; `counted` are the newest calls in it. Returns
        the budgets that it is about."""
        shown = [budget for name in spent if (budget := self._budgets.get(name)) is not None]
        for budget in shown:
            found, newest = spent[budget.name], counted.get(budget)
            budget.replace(found, self._clock.now(), question, newest)
        return shown

    def paused(self) -> list[Budget]:
        """Those that a pause stops or slows down."""
        return [budget for budget in self._budgets.values() if budget.paused() is not None]

    def review(self, budgets: Iterable[Budget] | None = None) -> None:
        """Let everybody look again who waits for one of `budgets`, or for any."""
        changed = list(self._budgets.values()) if budgets is None else budgets
        for review in {review: None for budget in changed for review in budget.reviews}:
            review()

    # --- while the ledger is away -------------------------------------------------------------

    def split(self) -> None:
        """Each process goes on with its share."""
        self._is_split = True
        for budget in list(self._budgets.values()):
            self._split(budget)

    def unite(self) -> None:
        """All know again what all spend."""
        self._is_split = False
        for budget in list(self._budgets.values()):
            budget.split(1)

    def _split(self, budget: Budget) -> None:
        budget.split(1 + self.peers_of(budget))

    def peers_of(self, budget: Budget) -> int:
        """How many other processes are known to spend from it."""
        return self.peers.get(budget.name.partition(":")[0], 0)

    def add_late(self, calls: Iterable[Counted]) -> None:
        """Calls that went, or may have gone, without the ledger."""
        self._late.extend(calls)

    def take_late(self) -> list[Counted]:
        """Those that still count, to be handed over."""
        late = [(budget, call) for budget, call in self._late if budget.holds(call)]
        self._late.clear()
        return late

    def ages_s(self, calls: Iterable[Counted]) -> dict[str, list[float]]:
        """How long ago they were made, by budget."""
        found: dict[str, list[float]] = {}
        for budget, call in calls:
            found.setdefault(budget.name, []).append(self._clock.now() - call.at)
        return found
