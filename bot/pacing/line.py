"""Those who wait for calls of one method, and the one timer that lets them go."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from bot.clock import Clock
from bot.pacing.budget import Budget, Call
from bot.pacing.sharing import Question, Sharing

LEAST_SLEEP_S: Final = 0.001
"""So that a rounding error in a moment to come cannot make the timer spin."""
REFUSED_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Likewise a ledger that says no to what its own answer allows: waits before it is asked again."""
TURN_S: Final = 0.05
"""Where processes wait for the same calls, each lets go one at a time and a random part of this
later, so that not always the same process is first."""
BOOKED_S: Final = 10.0
"""A booking that is not confirmed by then has lapsed."""

_numbers = itertools.count()


@dataclass(eq=False, slots=True)
class Waiter:
    """One call that wants to go."""

    asked_at: float
    gives_up_at: float = math.inf
    went_at: float = math.inf
    go: asyncio.Future[bool] = field(default_factory=asyncio.Future)
    number: int = field(default_factory=_numbers.__next__)
    """Its place among those that ask."""
    is_final: bool = False
    """It ends a reply."""
    calls: dict[Budget, Call] = field(default_factory=dict)
    """What was counted for it."""
    question: Question | None = None
    refusals: int = 0
    held_until: float = -math.inf


W = TypeVar("W", bound=Waiter)


class Line(ABC, Generic[W]):
    """Waiters, looked through whenever something changes and when the next may go.

    A subclass says who is next; whoever is, goes when the ledger says yes too, and else waits on in
    the old place. There is one timer however many wait, and none when nobody does.
    """

    def __init__(
        self, name: str, budgets: Sequence[Budget], clock: Clock, sharing: Sharing
    ) -> None:
        self._name = name
        self._budgets = budgets
        self._clock = clock
        self._sharing = sharing
        self._waiters: list[W] = []
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = math.inf
        self._turn_s = 0.0
        self._turn_at = -math.inf

    @abstractmethod
    def _next(self) -> W | float:
        """The waiter that may go now, or the seconds until one may if nothing else changes."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def review(self) -> None:
        """Let go whoever may; to be called after every change that may let one go earlier."""
        now = self._clock.now()
        self._waiters = [waiter for waiter in self._waiters if not self._is_over(waiter, now)]
        while self._waiters:
            found = self._next()
            if self._is_crowded():
                found = self._in_turn(found)
            if isinstance(found, float):
                return self._look_again(found)
            self._waiters.remove(found)
            self._spend(found)
            self._confirm(found)
        self._stop_timer()
        for budget in self._budgets:
            budget.reviews.pop(self.review, None)

    def _is_crowded(self) -> bool:
        """Whether other processes may wait for the calls that are free next."""
        rivals = self._rivals()
        return self._sharing.has_peers(self._budgets[0]) and any(
            budget.free() < rivals for budget in self._budgets
        )

    def _rivals(self) -> int:
        """How many calls would have to be free for all who would go now to go."""
        return len(self._waiters)

    def _in_turn(self, found: W | float) -> W | float:
        """The same, but one call at a time, and at random a little later."""
        now = self._clock.now()
        if isinstance(found, float):
            return found + self._turn_s
        if now < self._turn_at:
            return self._turn_at - now
        self._turn_s = random.uniform(0, TURN_S)
        self._turn_at = now + self._turn_s
        return found

    async def _wait(self, waiter: W) -> bool:
        """Wait for the call's turn and count it; False if the waiter gave up."""
        self._waiters.append(waiter)
        self.review()
        return await self._going(waiter)

    async def _going(self, waiter: W) -> bool:
        """Whether it goes. Cancelled in the moment in which it may, it gives the call back."""
        try:
            return await waiter.go
        except asyncio.CancelledError:
            if waiter.went_at < math.inf:
                self._give_back(waiter)
                if waiter.question is not None:
                    self._sharing.withdraw(waiter.question)
            self.review()
            raise

    def _confirm(self, waiter: W) -> None:
        """Let it go if the ledger says yes."""
        waiter.question = self._sharing.ask(
            waiter.calls, self._kept(waiter), lambda yes: self._answered(waiter, yes)
        )

    def _answered(self, waiter: W, yes: bool) -> None:
        if waiter.go.done():
            return  # it was cancelled, and its task, that has not run since, gives the call back
        if yes:
            return waiter.go.set_result(True)
        kept = self._kept(waiter)
        self._give_back(waiter)
        if all(budget.wait_s(kept + 1) <= 0 for budget in self._budgets):
            hold_s = REFUSED_S[min(waiter.refusals, len(REFUSED_S) - 1)]
            waiter.refusals += 1
            waiter.held_until = self._clock.now() + hold_s
        insort(self._waiters, waiter, key=lambda one: one.number)
        self.review()

    def _spend(self, waiter: W) -> None:
        """`waiter` goes: count its call."""
        waiter.went_at = self._clock.now()
        waiter.calls = {budget: budget.spend(waiter.went_at) for budget in self._budgets}

    def _give_back(self, waiter: W) -> None:
        """`waiter` did not go after all."""
        waiter.went_at = math.inf
        for budget, call in waiter.calls.items():
            budget.give_back(call)

    def _kept(self, waiter: W) -> int:
        """Calls that it leaves to others."""
        return 0

    def _is_over(self, waiter: W, now: float) -> bool:
        if not waiter.go.done() and now >= waiter.gives_up_at:
            waiter.go.set_result(False)
        return waiter.go.done()  # or cancelled, by its task that has not run since

    def _look_again(self, in_s: float) -> None:
        for budget in self._budgets:
            budget.reviews[self.review] = None
        now = self._clock.now()
        at = min(
            now + in_s,
            *(waiter.gives_up_at for waiter in self._waiters),
            *(now + budget.recovery_s() for budget in self._budgets),
        )
        if self._timer is not None and self._timer_at <= at:
            return  # it looks too early, and then again
        self._stop_timer()
        if at < math.inf:
            self._timer_at = at
            self._timer = asyncio.create_task(self._look_at(at), name=f"pacing:{self._name}")

    async def _look_at(self, at: float) -> None:
        await self._clock.sleep(max(LEAST_SLEEP_S, at - self._clock.now()))
        self._timer = None
        self.review()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Queue(Line[Waiter]):
    """Finals first, then first come, first served; each call counts in all of the budgets."""

    def __init__(
        self, name: str, budgets: Sequence[Budget], clock: Clock, sharing: Sharing
    ) -> None:
        super().__init__(name, budgets, clock, sharing)
        self._booked: list[Waiter] = []

    async def take(self, timeout_s: float = math.inf, *, is_final: bool = False) -> bool:
        """Wait for the next call; False, at once, if there will be none within `timeout_s`."""
        if self.wait_s() > timeout_s:
            return False
        now = self._clock.now()
        return await self._wait(Waiter(now, now + timeout_s, is_final=is_final))

    def book(self) -> bool:
        """Take a call if one is free and nobody waits; to be confirmed before it goes."""
        if self.wait_s() > 0:
            return False
        now = self._clock.now()
        self._booked = [one for one in self._booked if one.asked_at > now - BOOKED_S]
        waiter = Waiter(now, gives_up_at=now)
        self._spend(waiter)
        self._booked.append(waiter)
        return True

    async def confirm(self) -> bool:
        """Whether the call that was booked last may go; if not, it does not count."""
        if not self._booked:
            return False
        waiter = self._booked.pop()
        self._confirm(waiter)
        return await self._going(waiter)

    async def take_now(self) -> bool:
        """Take a call if one is free and nobody waits."""
        return self.book() and await self.confirm()

    def wait_s(self) -> float:
        """Seconds until one who asks now would be served."""
        ahead = len(self._waiters)
        return max(_wait_s(budget, ahead) for budget in self._budgets)

    @property
    def first_budget(self) -> Budget:
        """The one of its own; others may be shared with other queues."""
        return self._budgets[0]

    def idle(self) -> bool:
        """Whether it can be forgotten."""
        return not self._waiters and self._budgets[0].idle()

    def _next(self) -> Waiter | float:
        first = min(self._waiters, key=lambda waiter: (not waiter.is_final, waiter.number))
        wait_s = max(budget.wait_s() for budget in self._budgets)
        wait_s = max(wait_s, first.held_until - self._clock.now())
        return wait_s if wait_s > 0 else first


def _wait_s(budget: Budget, ahead: int) -> float:
    """Seconds until a call is free behind `ahead` others, who leave as early as they can."""
    rounds, rest = divmod(ahead, budget.limit)
    return budget.wait_s(rest + 1) + rounds * budget.window_s
