"""Who may edit, or append, next: the rule of the package's docstring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bot.clock import Clock
from bot.pacing.budget import Budget
from bot.pacing.forecast import Forecast
from bot.pacing.line import Line, Waiter
from bot.pacing.sharing import Sharing
from bot.store.ledger import Demand

EDIT_SPACING_S: Final = 0.5
"""Between two edits of one message, at least: smooth to the eye."""
HORIZONS_S: Final = (10.0, 20.0, 30.0, 45.0, 60.0)
STARVING_S: Final = 60.0
"""Whose words wait longer than this gets an edit whatever the forecast says ..."""
STARVING_SHARE: Final = 0.2
"""... and, where more replies are live than there are slots for finals, from this share of them."""


class Rank(IntEnum):
    """In which order those go who may."""

    FINAL = 0
    FIRST = 1
    INTERIM = 2


@dataclass(eq=False, slots=True)
class Seat:
    """The place of one live reply in its workspace's edit budget, where it owns a slot for its
    final; or of one stream in the budget for appends."""

    _line: EditLine
    began_at: float | None = None
    """When its text began, as told or else as its first wait for an edit suggests."""
    ended_at: float | None = None
    last_edit_at: float | None = None
    owns_final: bool = True
    posts_in: str | None = None
    """The channel in which the reply will be posted whole."""
    _told: bool = False

    async def first(self) -> None:
        """Wait for a slot for the first words of the reply."""
        await self._line.take(self, Rank.FIRST)

    async def interim(self) -> None:
        """Wait until another edit of this reply is due."""
        await self._line.take(self, Rank.INTERIM)

    async def final(self) -> None:
        """Wait for a slot ahead of everything that is not final."""
        self.text_ended()
        await self._line.take(self, Rank.FINAL)

    def first_wait_s(self) -> float:
        """Seconds until a slot for first words; infinite if finals own them all."""
        return self._line.first_wait_s()

    def stand_back(self) -> None:
        """The reply waits in line and will not be edited soon: it owns no slot meanwhile."""
        self.owns_final = False
        self._line.review()

    def step_up(self) -> None:
        """The reply's turn has come: it owns a slot for its final again."""
        self.owns_final = True

    def text_began(self) -> None:
        """Claude's first text is here. It may be told again, or not at all."""
        if not self._told:
            self._told = True
            self.began_at = self._line.clock.now()
            self._line.review()

    def text_ended(self) -> None:
        """No more text comes. It may be told again, or left to `final`."""
        if self.ended_at is None:
            self.ended_at = self._line.clock.now()
            self._line.ended(self)

    def leave(self) -> None:
        """The reply asks for nothing more here."""
        self._line.leave(self)


@dataclass(eq=False, slots=True, kw_only=True)
class EditWaiter(Waiter):
    """A reply that waits for its next edit."""

    seat: Seat
    rank: Rank
    before: float | None
    """Its last edit before this one."""

    def due_s(self, spacing_s: float, now: float) -> float:
        """Seconds until it is `spacing_s` after the last edit, or after the text began."""
        last = self.seat.last_edit_at if self.seat.last_edit_at is not None else self.seat.began_at
        return -math.inf if last is None else last + spacing_s - now


class EditLine(Line[EditWaiter]):
    """All live replies of one workspace, and those of them that wait for an edit.

    `others` says what the live replies of other processes will ask of the budget, `coming_per_s`
    how many replies that will do so begin in a second. With `keeps_finals` each of them owns a slot
    for its last call, and newcomers' are kept free too.
    """

    def __init__(
        self,
        name: str,
        budget: Budget,
        clock: Clock,
        sharing: Sharing,
        forecast: Forecast,
        others: Callable[[], Sequence[Demand]],
        coming_per_s: Callable[[], float],
        keeps_finals: bool = True,
    ) -> None:
        super().__init__(name, [budget], clock, sharing)
        self.clock = clock
        self.budget = budget
        self.forecast = forecast
        self._others = others
        self._coming_per_s = coming_per_s
        self._keeps_finals = keeps_finals
        self._seats: set[Seat] = set()

    def seat(self, *, owns_final: bool = True) -> Seat:
        """A live reply's place, until it leaves."""
        seat = Seat(self, owns_final=owns_final)
        self._seats.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """The reply is settled, or goes on in another way."""
        self._seats.discard(seat)
        self.review()

    async def take(self, seat: Seat, rank: Rank) -> None:
        """Wait for the seat's turn."""
        now = self.clock.now()
        if seat.began_at is None:
            seat.began_at = now
        if rank is Rank.FINAL:
            seat.owns_final = True  # again, if the last one failed or had another message to show
        await self._wait(EditWaiter(now, seat=seat, rank=rank, before=seat.last_edit_at))

    def ended(self, seat: Seat) -> None:
        """The text of one reply has come to its end."""
        if self._keeps_finals and seat.began_at is not None and seat.ended_at is not None:
            self.forecast.ended(seat.ended_at - seat.began_at)
        self.review()

    def live(self) -> int:
        """How many replies are not settled yet."""
        return len(self._seats)

    def will_post_in(self, channel: str) -> int:
        """How many replies will be posted whole in `channel`."""
        return sum(1 for seat in self._seats if seat.posts_in == channel)

    def asks(self) -> Demand:
        """What the live replies of this process will ask of the budget."""
        return Demand(self._own_slots(), tuple(self._own_texts_s()))

    def final_wait_s(self) -> float:
        """Seconds until a final edit asked for now would go."""
        ahead = sum(1 for waiter in self._waiters if waiter.rank is Rank.FINAL)
        return self.budget.wait_s(ahead + 1)

    def free(self) -> int:
        """Slots that no final owns."""
        return self.budget.free() - self._owned()

    def first_wait_s(self) -> float:
        """Seconds until there is a slot besides the finals' own."""
        return self.budget.wait_s(self._owned() + 1)

    def spacing_s(self, joining: int = 0) -> float:
        """Text-time to cover by edits left to cover it; infinite when there is none to spare. With
        `joining` more replies that begin now."""
        others = self._others()
        uncovered = self._own_texts_s() + [text_s for other in others for text_s in other.texts_s]
        uncovered += [self.forecast.rest_s(0.0)] * joining
        coming, owned = self._coming_per_s(), self._owned()
        owned += joining if self._keeps_finals else 0
        spacing_s = EDIT_SPACING_S
        for horizon_s in HORIZONS_S:
            left = self.budget.limit - self.budget.used(horizon_s)
            newcomers = coming * horizon_s if self._keeps_finals else 0.0
            if left - owned - newcomers - math.sqrt(newcomers) < 1:
                return math.inf
            need_s = sum(min(one, horizon_s) for one in uncovered)
            need_s += self.forecast.text_to_come_s(horizon_s, coming)
            spacing_s = max(spacing_s, need_s / left)
        return spacing_s

    def _own_texts_s(self) -> list[float]:
        """Of each live reply: seconds of text still to come, or here and not yet shown."""
        now = self.clock.now()
        unshown = {waiter.seat: now - waiter.asked_at for waiter in self._waiters}
        found = []
        for seat in self._seats:
            if seat.owns_final:
                written_s = now - seat.began_at if seat.began_at is not None else 0.0
                rest_s = self.forecast.rest_s(written_s) if seat.ended_at is None else 0.0
                found.append(rest_s + unshown.get(seat, 0.0))
        return found

    def _own_slots(self) -> int:
        """Slots that finals of this process own."""
        return sum(1 for seat in self._seats if seat.owns_final) if self._keeps_finals else 0

    def _owned(self) -> int:
        """Slots that finals own."""
        return self._own_slots() + sum(other.owned for other in self._others())

    def _next(self) -> EditWaiter | float:
        now = self.clock.now()
        ready = [waiter for waiter in self._waiters if waiter.held_until <= now]
        found = self._next_of(ready) if ready else math.inf
        if isinstance(found, EditWaiter):
            return found
        held_s = [waiter.held_until - now for waiter in self._waiters if waiter.held_until > now]
        return min(found, *held_s) if held_s else found

    def _next_of(self, waiters: list[EditWaiter]) -> EditWaiter | float:
        by_rank: dict[Rank, list[EditWaiter]] = {rank: [] for rank in Rank}
        for waiter in waiters:
            by_rank[waiter.rank].append(waiter)
        found: EditWaiter | float
        if finals := by_rank[Rank.FINAL]:
            return self.budget.wait_s() or min(finals, key=_ended_at)
        if firsts := by_rank[Rank.FIRST]:
            found = self.first_wait_s() or min(firsts, key=_asked_at)
        else:
            found = self._next_interim(by_rank[Rank.INTERIM])
        if isinstance(found, EditWaiter):
            return found
        starving = self._starving(waiters)
        return min(found, starving) if isinstance(starving, float) else starving

    def _next_interim(self, waiters: list[EditWaiter]) -> EditWaiter | float:
        """Of those that are due the one whose reader waits longest; or the seconds until one is,
        or until the spacing may be less since a slot comes into a horizon."""
        if (wait_s := self.first_wait_s()) > 0:
            return wait_s
        now, spacing_s = self.clock.now(), self.spacing_s()
        due = [waiter for waiter in waiters if waiter.due_s(spacing_s, now) <= 0]
        if due:
            return min(due, key=_asked_at)
        return min(
            *(self.budget.next_return_s(horizon_s) for horizon_s in HORIZONS_S),
            *(waiter.due_s(spacing_s, now) for waiter in waiters),
        )

    def _starving(self, waiters: list[EditWaiter]) -> EditWaiter | float:
        """Who has waited too long and may go; or the seconds until somebody may."""
        longest = min(waiters, key=_asked_at)
        starves_s = longest.asked_at + STARVING_S - self.clock.now()
        if starves_s > 0:
            return starves_s
        return self.budget.wait_s(self._kept(longest) + 1) or longest

    def _kept(self, waiter: EditWaiter) -> int:
        if waiter.rank is Rank.FINAL:
            return 0
        owned, limit = self._owned(), self.budget.limit
        if waiter.asked_at + STARVING_S > self.clock.now():
            return owned
        return min(owned, limit - math.ceil(limit * STARVING_SHARE))

    def _rivals(self) -> int:
        finals = sum(1 for waiter in self._waiters if waiter.rank is Rank.FINAL)
        return finals or len(self._waiters) + self._owned()

    def _spend(self, waiter: EditWaiter) -> None:
        super()._spend(waiter)
        waiter.seat.last_edit_at = waiter.went_at
        if waiter.rank is Rank.FINAL:
            waiter.seat.owns_final = False

    def _give_back(self, waiter: EditWaiter) -> None:
        super()._give_back(waiter)
        waiter.seat.last_edit_at = waiter.before
        if waiter.rank is Rank.FINAL:
            waiter.seat.owns_final = True


def _asked_at(waiter: EditWaiter) -> float:
    return waiter.asked_at


def _ended_at(waiter: EditWaiter) -> float:
    return waiter.seat.ended_at if waiter.seat.ended_at is not None else waiter.asked_at
