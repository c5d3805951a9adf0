"""Asks the ledger whether calls may go, so that all processes together stay within the limits and
a restart forgets nothing."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bot import logs
from bot.clock import Clock
from bot.errors import StoreUnavailable
from bot.pacing.budget import Budget, Call
from bot.pacing.mirrors import Counted, Mirrors
from bot.pacing.tasks import Tasks
from bot.store.ledger import Ledger, Spent, Taken

log = logging.getLogger(__name__)

TICK_S: Final = 0.05
ANSWER_TICKS: Final = 6
"""A ledger that has not answered after 0.3 s is away. Counted in ticks, so that a loop that stood
still for so long does not look like it."""
RECORDED_TICKS: Final = 1
"""Of one that is not shared: it only remembers, and nobody waits long for that."""
TRY_AGAIN_S: Final = 1.0
SETTLE_S: Final = 2.0
"""Until then all processes have told a ledger that is back what they did meanwhile."""
MOVED_S: Final = 0.04
"""A post that leaves no later after the yes need not be put off: POST_SPACING_S has a margin."""
MOST_NEWS: Final = 1_000


@dataclass(eq=False, slots=True)
class Question:
    """Whether calls that are counted here may go: all of them or none."""

    number: int
    calls: Mapping[Budget, Call]
    on_answer: Callable[[bool], None]
    ticks: int = 0
    answered: bool = False
    """Its caller goes on, perhaps without the ledger's answer."""
    counted: bool = False
    """The ledger said yes."""
    withdrawn: bool = False

    def answer(self, yes: bool) -> None:
        """Tell the caller, if that has not been done."""
        if not self.answered:
            self.answered = True
            self.on_answer(yes)


class Sharing:
    """The one place where the ledger is spoken to. Without a ledger every answer is yes, at once.

    A question is a task: what a cancelled caller has spent can only be given back when it is known
    whether it was counted.
    """

    def __init__(self, clock: Clock, ledger: Ledger | None) -> None:
        self.mirrors = Mirrors(clock)
        self.tasks = Tasks()
        self.away = False
        """Whether the ledger does not answer."""
        self._clock = clock
        self._ledger = ledger
        self._numbers = 0
        self._pending: set[Question] = set()
        self._news: deque[Callable[[], Awaitable[None]]] = deque(maxlen=MOST_NEWS)

    @property
    def shared(self) -> Ledger | None:
        """The ledger, if other processes share it."""
        return self._ledger if self._ledger is not None and self._ledger.shared else None

    def has_peers(self, budget: Budget) -> bool:
        """Whether other processes are known to spend from it, and the ledger to say no."""
        return not self.away and self.mirrors.peers_of(budget) > 0

    async def recall(self) -> None:
        """Learn what was spent before the process began; to be awaited before anything is."""
        if self._ledger is None:
            return
        recalled, reason = None, "no memory"
        try:
            recalled = await self._ledger.recall()
        except StoreUnavailable as error:
            reason = str(error)
        if recalled is None:
            logs.event(log, "budgets_begin_half_spent", reason=reason)
        self.mirrors.remember(recalled, tell_guesses=self.shared is not None)

    async def close(self) -> None:
        """End what is under way; whoever still asks goes by what is known here."""
        self._ledger = None
        await self.tasks.close()
        for question in list(self._pending):
            question.answer(True)

    # --- asking -------------------------------------------------------------------------------

    def ask(
        self, calls: Mapping[Budget, Call], kept: int, on_answer: Callable[[bool], None]
    ) -> Question:
        """Ask whether `calls` may go and leave `kept` others free; `on_answer` gets yes or no, in
        time. If it is no, the budgets show why; where the ledger is away, it is yes."""
        question = Question(self.next_number(), calls, on_answer)
        if self._ledger is None:
            question.answer(True)
        elif self.away:
            self.mirrors.add_late(calls.items())
            question.answer(True)
        else:
            self._pending.add(question)
            self.tasks.start("ask", self._ask(self._ledger, question, kept))
            self.tasks.once("watch", self._watch)
        return question

    def withdraw(self, question: Question) -> None:
        """Its calls are not made, and do not count here any more."""
        question.withdrawn = True
        if question.counted:
            self._give_back(question)

    def next_number(self) -> int:
        """The number of a question that is asked now."""
        self._numbers += 1
        return self._numbers

    def heard(
        self, spent: Mapping[str, Spent], number: int, counted: Mapping[Budget, Call] | None = None
    ) -> list[Budget]:
        """The ledger has answered question `number`, and counted these calls last. Returns the
        budgets that the answer is about."""
        if self.shared is None:
            return []
        return self.mirrors.show(spent, number, counted or {})

    async def _ask(self, ledger: Ledger, question: Question, kept: int) -> None:
        claims = [budget.claim(kept) for budget in question.calls]
        late = self.mirrors.take_late()
        try:
            taken = await ledger.take(claims, self.mirrors.ages_s(late))
        except StoreUnavailable:
            self.mirrors.add_late([*late, *question.calls.items()])
            if not question.answered:
                self.lost()
            question.answer(True)
        else:
            self._known(late, question.number)
            self._hear(question, taken)
        self._pending.discard(question)

    def _hear(self, question: Question, taken: Taken) -> None:
        calls = question.calls
        question.counted = taken.ok
        if taken.ok:
            self._known(calls.items(), question.number)
        elif question.answered:  # it went without the answer
            self.mirrors.add_late(calls.items())
        if taken.ok and question.withdrawn:
            self._give_back(question)
        else:
            self.heard(taken.spent, question.number, calls if taken.ok else None)
        question.answer(taken.ok)
        self.mirrors.review(calls)

    def _known(self, calls: Iterable[Counted], number: int) -> None:
        """The ledger has counted `calls` with question `number`: its answer holds them; if a newer
        one is shown already, which may not, the next one that is asked for."""
        for budget, call in calls:
            call.known_from = number if number >= budget.heard else self._numbers + 1

    async def _watch(self) -> None:
        """Let nobody wait long for an answer."""
        patience = RECORDED_TICKS if self.shared is None else ANSWER_TICKS
        while waiting := [one for one in self._pending if not one.answered]:
            await self._clock.sleep(TICK_S)
            for question in waiting:
                question.ticks += 1
                if question.ticks > patience and not question.answered:
                    self.lost()
                    question.answer(True)

    # --- telling ------------------------------------------------------------------------------

    def pause(self, budget: Budget, seconds: float) -> None:
        """After a 429: nothing for `seconds`, then slower, in all processes."""
        budget.pause(seconds)
        self._tell_pause(budget)

    def put_off(self, budget: Budget, ago_s: float = 0.0) -> None:
        """The newest call was counted when it was planned, but is sent now, or has arrived `ago_s`
        before now."""
        if budget.sent_only_now(ago_s) > MOVED_S and self.shared is not None:
            self._tell(lambda ledger: ledger.put_off([budget.name]))

    def _give_back(self, question: Question) -> None:
        names = [budget.name for budget in question.calls]
        self._tell(lambda ledger: ledger.give_back(names))

    def _tell_pause(self, budget: Budget) -> None:
        if (paused := budget.paused()) is not None:
            self._tell(lambda ledger: ledger.pause(budget.name, paused))

    def _tell(self, news: Callable[[Ledger], Awaitable[None]]) -> None:
        """In order, and nobody waits for it."""
        if (ledger := self._ledger) is not None and not self.away:
            self._news.append(lambda: news(ledger))
            self.tasks.once("tell", self._tell_all)

    async def _tell_all(self) -> None:
        while self._news:
            with suppress(StoreUnavailable):  # a call too many is counted for a minute
                await self._news.popleft()()

    # --- while the ledger is away -------------------------------------------------------------

    def lost(self) -> None:
        """The ledger does not answer: go on with this process's share, and see when it does."""
        if not self.away and (ledger := self._ledger) is not None:
            self.away = True
            (logs.warning if ledger.shared else logs.event)(log, "ledger_away")
            self.mirrors.split()
            self.tasks.once("return", lambda: self._return(ledger))

    async def _return(self, ledger: Ledger) -> None:
        """Wait until the ledger is back, and the other processes have noticed too."""
        while self.away:
            self.mirrors.review()
            while self.away:
                await self._clock.sleep(TRY_AGAIN_S)
                self.away = not await self._is_back(ledger)
            logs.event(log, "ledger_back")
            for budget in self.mirrors.paused():
                self._tell_pause(budget)
            await self._clock.sleep(SETTLE_S)
        self.mirrors.unite()
        self.mirrors.review()

    async def _is_back(self, ledger: Ledger) -> bool:
        """Hand over what was called meanwhile, once something else was answered: whether a call
        without an answer was counted nobody knows, and these must not be counted twice."""
        late: list[Counted] = []
        try:
            await ledger.take((), {})
            late = self.mirrors.take_late()
            if late:
                number = self.next_number()
                taken = await ledger.take((), self.mirrors.ages_s(late))
                self._known(late, number)
                self.heard(taken.spent, number)
        except StoreUnavailable:
            self.mirrors.add_late(late)
            return False
        return True
