"""Those who wait for calls of one method, and the one timer that lets them go."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from bot.clock import Clock
from bot.pacing.budget import Budget

LEAST_SLEEP_S: Final = 0.001
"""So that a rounding error in a moment to come cannot make the timer spin."""


@dataclass(eq=False, slots=True)
class Waiter:
    """One call that wants to go."""

    asked_at: float
    gives_up_at: float = math.inf
    went_at: float = math.inf
    go: asyncio.Future[bool] = field(default_factory=asyncio.Future)


W = TypeVar("W", bound=Waiter)


class Line(ABC, Generic[W]):
    """Waiters, looked through whenever something changes and when the next may go.

    A subclass says who is next. There is one timer however many wait, and none when nobody does.
    """

    def __init__(self, name: str, budgets: Sequence[Budget], clock: Clock) -> None:
        self._name = name
        self._budgets = budgets
        self._clock = clock
        self._waiters: list[W] = []
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = math.inf

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
            if isinstance(found, float):
                return self._look_again(found)
            self._waiters.remove(found)
            found.went_at = now
            self._spend(found)
            found.go.set_result(True)
        self._stop_timer()

    async def _wait(self, waiter: W) -> bool:
        """Wait for the call's turn and count it; False if the waiter gave up.

        Cancelled in the moment in which it may go, it gives the call back.
        """
        self._waiters.append(waiter)
        self.review()
        try:
            return await waiter.go
        except asyncio.CancelledError:
            if waiter.went_at < math.inf:
                self._give_back(waiter)
            self.review()
            raise

    def _spend(self, waiter: W) -> None:
        """`waiter` goes: count its call."""
        for budget in self._budgets:
            budget.spend(waiter.went_at)

    def _give_back(self, waiter: W) -> None:
        """`waiter` did not go after all."""
        for budget in self._budgets:
            budget.give_back(waiter.went_at)

    def _is_over(self, waiter: W, now: float) -> bool:
        if not waiter.go.done() and now >= waiter.gives_up_at:
            waiter.go.set_result(False)
        return waiter.go.done()  # or cancelled, by its task that has not run since

    def _look_again(self, in_s: float) -> None:
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
    """First come, first served; each call counts in all of the budgets."""

    async def take(self, timeout_s: float = math.inf) -> bool:
        """Wait for the next call; False, at once, if there will be none within `timeout_s`."""
        if self.wait_s() > timeout_s:
            return False
        now = self._clock.now()
        return await self._wait(Waiter(now, now + timeout_s))

    def take_now(self) -> bool:
        """Take a call if one is free and nobody waits."""
        if self.wait_s() > 0:
            return False
        for budget in self._budgets:
            budget.spend(self._clock.now())
        return True

    def wait_s(self) -> float:
        """Seconds until one who asks now would be served."""
        ahead = len(self._waiters)
        return max(_wait_s(budget, ahead) for budget in self._budgets)

    @property
    def first_budget(self) -> Budget:
        """The one of its own; others may be shared with other queues."""
        return self._budgets[0]

    def pause(self, seconds: float) -> None:
        """After a 429 of the first budget's method: nothing for `seconds`, then slower."""
        self._budgets[0].pause(seconds)

    def idle(self) -> bool:
        """Whether it can be forgotten."""
        return not self._waiters and self._budgets[0].idle()

    def _next(self) -> Waiter | float:
        wait_s = max(budget.wait_s() for budget in self._budgets)
        return wait_s if wait_s > 0 else self._waiters[0]


def _wait_s(budget: Budget, ahead: int) -> float:
    """Seconds until a call is free behind `ahead` others, who leave as early as they can."""
    rounds, rest = divmod(ahead, budget.limit)
    return budget.wait_s(rest + 1) + rounds * budget.window_s
