"""The budgets of several processes that share a ledger, and of one that remembers by it."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import StoreUnavailable
from bot.pacing import MINUTE_S, POST_SPACING_S, Pacer, Seat
from bot.pacing.budget import SLOWER, Budget
from bot.pacing.edits import STARVING_S
from bot.pacing.sharing import SETTLE_S, TRY_AGAIN_S
from bot.store.ledger import Claim, Ledger, Live, Spent, Taken
from tests import fake_clock
from tests.fake_clock import FakeClock, settle
from tests.pacing_world import Shown, World
from tests.test_pacing import (
    TEAM,
    Life,
    Seen,
    cancel,
    live,
    lives,
    pauses,
    seats,
    start,
    write_on,
)

Replies = list[tuple[float, float]]

CHANNEL = "C1"
LIMIT = 50
SCARCE = 30
EDITS = f"{TEAM}:edits"
BACK_S = TRY_AGAIN_S + SETTLE_S + 0.1
"""After so long a ledger that answers again is used as if nothing had been."""


@dataclass
class Room:
    """What all processes spend, in one place, as a store keeps it."""

    clock: FakeClock
    calls: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """When, and by which process; oldest first."""
    pauses: dict[str, tuple[float, float]] = field(default_factory=dict)
    lives: dict[tuple[str, str], tuple[float, Live]] = field(default_factory=dict)

    def used(self, budget: str) -> int:
        since = self.clock.now() - MINUTE_S
        return sum(1 for at, _ in self.calls.get(budget, ()) if at > since)


class RoomLedger:
    """One process's Ledger. `away` fails its calls at once, `hangs` lets them wait, `mute` does
    them and loses the answers; `delay_s` goes by on the way there and on the way back."""

    def __init__(self, room: Room, owner: str, *, shared: bool = True) -> None:
        self.shared = shared
        self.room = room
        self.owner = owner
        self.away = False
        self.mute = False
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.delay_s: Callable[[], float] = lambda: 0.0
        self.asked: list[tuple[str, ...]] = []
        self.refused = 0
        self.late: list[str] = []

    def goes_away(self, *, hangs: bool = False) -> None:
        self.away = not hangs
        if hangs:
            self.hangs.clear()

    def comes_back(self) -> None:
        self.away = False
        self.hangs.set()

    async def recall(self) -> Mapping[str, Spent] | None:
        async with self._reached("recall"):
            if not self.room.calls:
                return None
            return {budget: self._spent(budget) for budget in self.room.calls}

    async def take(self, claims: Sequence[Claim], late: Mapping[str, Sequence[float]]) -> Taken:
        async with self._reached("take", *(claim.budget for claim in claims)):
            now = self.room.clock.now()
            for budget, ages_s in late.items():
                self.late += [budget] * len(ages_s)
                for age_s in ages_s:
                    self._count(budget, now - age_s)
            ok = all(map(self._is_free, claims)) or not self.shared
            if ok:
                for claim in claims:
                    self._count(claim.budget, now)
            self.refused += not ok
            names = {claim.budget for claim in claims} if self.shared else ()
            return Taken(ok, {budget: self._spent(budget) for budget in names})

    async def put_off(self, budgets: Sequence[str]) -> None:
        async with self._reached("put_off", *budgets):
            for budget in budgets:
                self._remove_newest(budget)
                self._count(budget, self.room.clock.now())

    async def give_back(self, budgets: Sequence[str]) -> None:
        async with self._reached("give_back", *budgets):
            for budget in budgets:
                self._remove_newest(budget)

    async def pause(self, budget: str, spent: Spent) -> None:
        async with self._reached("pause", budget):
            until = self.room.clock.now() + spent.paused_s
            if until > self.room.pauses.get(budget, (-math.inf, 1.0))[0]:
                self.room.pauses[budget] = (until, spent.share)

    async def exchange(self, team: str, live: Live) -> tuple[list[Live], Mapping[str, Spent]]:
        async with self._reached("exchange", team):
            now = self.room.clock.now()
            self.room.lives[team, self.owner] = (now, live)
            told = [
                live
                for (where, who), (at, live) in self.room.lives.items()
                if where == team and who != self.owner and now - at <= 5
            ]
            names = [name for name in self.room.calls if name.count(":") == 1]
            return told, {name: self._spent(name) for name in names if name.startswith(f"{team}:")}

    @asynccontextmanager
    async def _reached(self, verb: str, *what: str) -> AsyncIterator[None]:
        self.asked.append((verb, *what))
        if delay_s := self.delay_s():
            await self.room.clock.sleep(delay_s)
        await self.hangs.wait()
        if self.away:
            raise StoreUnavailable("away")
        yield
        if self.mute:
            raise StoreUnavailable("no answer")
        if delay_s := self.delay_s():
            await self.room.clock.sleep(delay_s)

    def _is_free(self, claim: Claim) -> bool:
        now = self.room.clock.now()
        if now < self.room.pauses.get(claim.budget, (-math.inf, 1.0))[0]:
            return False
        calls = self.room.calls.get(claim.budget, [])
        return sum(1 for at, _ in calls if at > now - claim.window_s) < claim.limit - claim.kept

    def _count(self, budget: str, at: float) -> None:
        self.room.calls.setdefault(budget, []).append((at, self.owner))
        self.room.calls[budget].sort()

    def _remove_newest(self, budget: str) -> None:
        calls = self.room.calls.get(budget, [])
        mine = [index for index, (_, owner) in enumerate(calls) if owner == self.owner]
        if mine:
            del calls[mine[-1]]

    def _spent(self, budget: str) -> Spent:
        now = self.room.clock.now()
        until, share = self.room.pauses.get(budget, (-math.inf, 1.0))
        calls = self.room.calls.get(budget, [])
        return Spent(tuple(now - at for at, _ in calls if at > now - 120), until - now, share)


_conforms: type[Ledger] = RoomLedger


class House:
    """Processes that share one room."""

    def __init__(self, count: int = 2, limit: int = LIMIT, delay_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.room = Room(self.clock)
        self.ledgers = [RoomLedger(self.room, f"p{number}") for number in range(count)]
        self.pacers = [Pacer(self.clock, limit, ledger) for ledger in self.ledgers]
        if delay_s:
            for ledger in self.ledgers:
                ledger.delay_s = lambda: random.uniform(0.3, 1.7) * delay_s

    def goes_away(self, *, hangs: bool = False) -> None:
        for ledger in self.ledgers:
            ledger.goes_away(hangs=hangs)

    def comes_back(self) -> None:
        for ledger in self.ledgers:
            ledger.comes_back()

    def late(self) -> int:
        return sum(len(ledger.late) for ledger in self.ledgers)

    async def close(self) -> None:
        for pacer in self.pacers:
            await pacer.close()
        assert tasks() == []


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


def tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("pac")]


def budget(pacer: Pacer) -> Budget:
    return pacer._of(TEAM).edits.budget


def most(sent: Iterable[float], window_s: float = 60.0) -> int:
    """How many there are in the fullest window."""
    ordered, first, found = sorted(sent), 0, 0
    for index, at in enumerate(ordered):
        while ordered[first] <= at - window_s:
            first += 1
        found = max(found, index - first + 1)
    return found


async def finals(seat: Seat, count: int) -> None:
    for _ in range(count):
        await seat.final()


# --- one budget -----------------------------------------------------------------------------------


async def test_what_one_process_spends_the_other_does_not_have(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM) as here, two.seat(TEAM) as there:
        await finals(here, LIMIT - 1)
        await there.final()
        waiting = start(there.final())
        await house.clock.advance(MINUTE_S - 0.1)
        assert not waiting.done()
        await house.clock.advance(0.2)
        assert waiting.done()


async def test_a_final_goes_ahead_of_another_processes_interim() -> None:
    house = House(limit=3)
    one, two = house.pacers
    async with one.seat(TEAM) as here, two.seat(TEAM) as there:
        await here.final()
        await house.clock.advance(10)
        await finals(here, 2)
        interim = start(here.interim())
        await house.clock.advance(1)
        final = start(there.final())
        await house.clock.advance(MINUTE_S - 10.9)
        assert (final.done(), interim.done()) == (True, False)
        await cancel(interim)
    await house.close()


async def test_interims_leave_the_slots_that_finals_of_the_other_process_own(house: House) -> None:
    one, two = house.pacers
    async with AsyncExitStack() as stack:
        here, there = await seats(stack, one, 4), await seats(stack, two, 8)
        await house.clock.advance(1.1)
        writing = [start(write_on(seat)) for seat in here]
        await house.clock.advance(40)
        await cancel(*writing)
        assert house.room.used(EDITS) > 10
        ends = [start(seat.final()) for seat in [*here, *there]]
        await settle()
        assert all(end.done() for end in ends)


async def test_two_that_ask_at_once_do_not_take_a_slot_that_a_final_owns() -> None:
    house = House(limit=10)
    one, two = house.pacers
    async with AsyncExitStack() as stack:
        here, there = await seats(stack, one, 3), await seats(stack, two, 2)
        await finals(here[0], 5)
        await house.clock.advance(1.1)
        firsts = [start(here[1].first()), start(there[1].first())]
        await house.clock.advance(1)
        assert sum(first.done() for first in firsts) == 1, "5 are used, 4 owned"
        await cancel(*firsts)
    await house.close()


async def test_words_unseen_for_a_minute_go_though_the_others_own_every_slot() -> None:
    house = House(limit=10)
    one, two = house.pacers
    async with one.seat(TEAM) as here, AsyncExitStack() as stack:
        await seats(stack, two, 30)
        await house.clock.advance(1.1)
        interim = start(here.interim())
        await house.clock.advance(STARVING_S - 1)
        assert not interim.done()
        await house.clock.advance(2)
        assert interim.done()
    await house.close()


async def test_edits_are_short_at_the_first_reply_if_another_process_has_many(house: House) -> None:
    one, two = house.pacers
    async with AsyncExitStack() as stack:
        await seats(stack, one, 10)
        await house.clock.advance(1.1)
        assert not two.edits_are_short(TEAM), "nobody has asked"
        async with two.seat(TEAM):
            assert two.edits_are_short(TEAM)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "nothing is heard"])
async def test_what_a_silent_process_said_is_forgotten(house: House, killed: bool) -> None:
    one, two = house.pacers
    async with AsyncExitStack() as stack, two.seat(TEAM):
        await seats(stack, one, 10)
        await house.clock.advance(1.1)
        assert two.edits_are_short(TEAM)
        if killed:
            await one.close()
        else:
            house.ledgers[1].goes_away(hangs=True)
        await house.clock.advance(7)
        assert not two.edits_are_short(TEAM)


async def test_the_last_reply_of_a_process_is_told_to_be_over(house: House) -> None:
    one, two = house.pacers
    async with two.seat(TEAM):
        async with AsyncExitStack() as stack:
            await seats(stack, one, 10)
            await house.clock.advance(1.1)
        await house.clock.advance(2.1)
        assert not two.edits_are_short(TEAM)
    await house.clock.advance(3)
    assert tasks() == [], "nobody talks while no reply is live"


async def test_a_429_pauses_and_slows_down_all_processes_once(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM), two.seat(TEAM) as there:
        one.pause_edits(TEAM, 10)
        two.pause_edits(TEAM, 4)
        final = start(there.final())
        await house.clock.advance(9.9)
        assert not final.done()
        await house.clock.advance(0.2)
        assert final.done()
        assert [budget(pacer).limit for pacer in house.pacers] == [LIMIT * SLOWER] * 2
        await house.clock.advance(60)
        assert [budget(pacer).limit for pacer in house.pacers] == [LIMIT * (SLOWER + 0.1)] * 2


async def test_a_pause_of_reads_is_heard_with_the_next_question(house: House) -> None:
    one, two = house.pacers
    one.pause_reads(TEAM, 5)
    await settle()
    began_at = house.clock.now()
    read = start(two.read(TEAM, 20))
    await house.clock.advance(10)
    assert read.result() is True
    assert house.room.calls[f"{TEAM}:reads"][0][0] - began_at == pytest.approx(5, abs=0.1)


async def test_look_ups_stop_where_all_processes_together_reach_the_limit(house: House) -> None:
    looked = [await pacer.look_up(TEAM) for _ in range(60) for pacer in house.pacers]
    assert sum(looked) == 90


# --- a refusal ------------------------------------------------------------------------------------


async def test_a_refusal_does_not_lose_the_place_in_line(house: House) -> None:
    one, two = house.pacers
    await one.post(TEAM, CHANNEL)
    went: list[int] = []

    async def post(number: int) -> None:
        await two.post(TEAM, CHANNEL)
        went.append(number)

    posts = [start(post(number)) for number in range(5)]
    await settle()
    assert house.ledgers[1].refused == 1
    await house.clock.advance(6 * POST_SPACING_S)
    assert went == [0, 1, 2, 3, 4]
    await asyncio.gather(*posts)


async def test_a_refused_read_gives_up_in_time(house: House) -> None:
    one, two = house.pacers
    for _ in range(50):
        await one.read(TEAM, 1)
    read = start(two.read(TEAM, 2.0))
    await house.clock.advance(2.1)
    assert read.result() is False


async def test_a_ledger_that_refuses_for_no_reason_is_not_asked_all_the_time() -> None:
    house = House(count=1)
    house.ledgers[0]._is_free = lambda claim: False  # type: ignore[method-assign]
    async with house.pacers[0].seat(TEAM) as seat:
        final = start(seat.final())
        await house.clock.advance(10)
        assert house.ledgers[0].refused <= 14
        del house.ledgers[0]._is_free
        await house.clock.advance(1.1)
        assert final.done()
    await house.close()


async def test_a_call_cancelled_before_the_answer_is_given_back_on_both_sides(house: House) -> None:
    one = house.pacers[0]
    async with one.seat(TEAM) as seat:
        house.ledgers[0].delay_s = lambda: 0.01
        final = start(seat.final())
        await house.clock.advance(0.015)
        assert (final.done(), house.room.used(EDITS)) == (False, 1)
        await cancel(final)
        await house.clock.advance(0.1)
        assert (budget(one).used(), house.room.used(EDITS)) == (0, 0)
        assert seat.owns_final


async def test_a_call_cancelled_in_the_moment_of_the_yes_is_given_back_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacer = Pacer(house.clock, 1, house.ledgers[0])
    async with pacer.seat(TEAM) as one, pacer.seat(TEAM) as two:
        first, second = start(one.final()), start(two.final())
        mirrors = pacer._sharing.mirrors
        review = mirrors.review

        def review_and_cancel(budgets: Iterable[Budget] | None = None) -> None:
            first.cancel()  # it may go by now, but has not run since
            review(budgets)

        monkeypatch.setattr(mirrors, "review", review_and_cancel)
        await house.clock.advance(0.2)
        assert (first.cancelled(), second.done()) == (True, True)
        assert house.room.used(EDITS) == 1
    await pacer.close()


async def test_answers_that_come_out_of_order_lose_no_call(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM) as first, one.seat(TEAM) as second, two.seat(TEAM) as other:
        back_s = iter([0.0, 0.05, 0.0, 0.01])  # there and back
        house.ledgers[0].delay_s = lambda: next(back_s, 0.0)
        slow = start(first.final())
        await settle()
        await other.final()
        fast = start(second.final())
        await house.clock.advance(0.02)
        assert (slow.done(), fast.done()) == (False, True)
        assert budget(one).used() >= 3
        await house.clock.advance(0.04)
        assert slow.done()
        assert budget(one).used() >= 3
        await house.clock.advance(1)
        assert budget(one).used() == 3


async def test_an_answer_from_before_a_call_was_counted_does_not_lose_it(house: House) -> None:
    pacer, ledger = house.pacers[0], house.ledgers[0]
    async with AsyncExitStack() as stack:
        one, two, three = await seats(stack, pacer, 3)
        # One is long on the way there, two is not, three is long on the way back.
        on_the_way_s = iter([0.05, 0.0, 0.0, 0.0, 0.1, 0.0])
        ledger.delay_s = lambda: next(on_the_way_s, 0.0)
        finals_ = [start(one.final()), start(two.final())]
        await house.clock.advance(0.02)
        finals_.append(start(three.final()))
        await house.clock.advance(0.2)
        assert all(final.done() for final in finals_)
        assert budget(pacer).used() == 3


def test_an_older_answer_is_not_shown() -> None:
    clock = FakeClock()
    budget = Budget(LIMIT, MINUTE_S, clock)
    budget.replace(Spent((30.0, 20.0, 10.0)), clock.now(), question=2)
    budget.replace(Spent((30.0,)), clock.now(), question=1)
    assert budget.used() == 3


async def test_a_reply_in_line_owns_no_slot_after_a_cancelled_edit_either(house: House) -> None:
    async with house.pacers[0].seat(TEAM) as seat:
        seat.stand_back()
        house.ledgers[0].delay_s = lambda: 0.01
        first = start(seat.first())
        await house.clock.advance(0.015)
        assert house.room.used(EDITS) == 1
        await cancel(first)
        assert not seat.owns_final


# --- posts ----------------------------------------------------------------------------------------


async def test_a_booked_post_that_another_process_was_first_with_is_undone(house: House) -> None:
    one, two = house.pacers
    assert one.book_post(TEAM, CHANNEL)
    assert two.book_post(TEAM, CHANNEL)
    assert await two.confirm_post(TEAM, CHANNEL)
    await house.clock.advance(0.1)
    assert not await one.confirm_post(TEAM, CHANNEL)
    assert one.post_wait_s(TEAM, CHANNEL) == pytest.approx(POST_SPACING_S - 0.1)
    assert len(house.room.calls[f"{TEAM}:posts"]) == 1, "counted in both budgets or in none"
    post = start(one.post(TEAM, CHANNEL))
    await house.clock.advance(POST_SPACING_S)
    assert post.done()


async def test_a_booking_that_lapsed_or_was_never_made_is_not_confirmed() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, LIMIT)
    assert not await pacer.confirm_post(TEAM, CHANNEL)
    assert pacer.book_post(TEAM, CHANNEL)
    await clock.advance(20)
    assert pacer.book_post(TEAM, CHANNEL)
    assert await pacer.confirm_post(TEAM, CHANNEL)
    assert not await pacer.confirm_post(TEAM, CHANNEL)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.03, 0.9)), min_size=2, max_size=12))
def test_posts_of_two_processes_reach_a_channel_a_second_apart(
    posts: list[tuple[float, float]],
) -> None:
    async def simulate() -> list[float]:
        house = House(delay_s=0.001)
        arrived: list[float] = []

        async def post(number: int, at: float, latency_s: float) -> None:
            pacer = house.pacers[number % 2]
            await house.clock.sleep(at)
            if not (pacer.book_post(TEAM, CHANNEL) and await pacer.confirm_post(TEAM, CHANNEL)):
                await pacer.post(TEAM, CHANNEL)
            pacer.posting(TEAM, CHANNEL)
            await house.clock.sleep(latency_s * 0.5)
            arrived.append(house.clock.now())
            await house.clock.sleep(latency_s * 0.5)
            pacer.posted(TEAM, CHANNEL, latency_s)

        posting = [start(post(number, *one)) for number, one in enumerate(posts)]
        await house.clock.advance(60)
        await asyncio.gather(*posting)
        await house.close()
        return arrived

    arrived = asyncio.run(simulate())
    assert len(arrived) == len(posts)
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(arrived))


# --- while the ledger is away ---------------------------------------------------------------------


async def test_without_the_ledger_each_process_has_its_share(house: House) -> None:
    async with house.pacers[0].seat(TEAM) as here, house.pacers[1].seat(TEAM) as there:
        await house.clock.advance(1.1)
        house.goes_away()
        writing = [start(finals(seat, LIMIT)) for seat in (here, there)]
        await house.clock.advance(30)
        assert [budget(pacer).used() for pacer in house.pacers] == [LIMIT // 2] * 2
        await cancel(*writing)


async def test_what_all_had_spent_before_counts_in_the_share(house: House) -> None:
    async with house.pacers[0].seat(TEAM) as here, house.pacers[1].seat(TEAM) as there:
        await finals(here, 12)
        await house.clock.advance(1.1)
        house.goes_away()
        made = [0, 0]

        async def write(number: int, seat: Seat) -> None:
            while True:
                await seat.final()
                made[number] += 1

        writing = [start(write(0, here)), start(write(1, there))]
        await house.clock.advance(30)
        assert made == [(LIMIT - 12) // 2] * 2
        await cancel(*writing)


async def test_slots_of_the_others_are_their_own_business_then(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM) as here, AsyncExitStack() as stack:
        await seats(stack, two, LIMIT)
        await house.clock.advance(2.1)
        assert here.first_wait_s() == math.inf
        house.goes_away()
        await one.look_up(TEAM)
        assert here.first_wait_s() == 0


async def test_answers_that_are_lost_again_and_again_count_no_call_more_than_twice() -> None:
    house = House(count=1)
    async with house.pacers[0].seat(TEAM) as seat:
        house.ledgers[0].mute = True
        await finals(seat, 5)
        await house.clock.advance(10)
        house.ledgers[0].mute = False
        await house.clock.advance(BACK_S)
        assert house.room.used(EDITS) == 6, "nobody knows of the first whether it was counted"
    await house.close()


async def test_a_process_that_knows_of_no_other_has_the_whole_budget() -> None:
    house = House(count=1)
    async with house.pacers[0].seat(TEAM) as seat:
        house.goes_away()
        await finals(seat, LIMIT)
    await house.close()


async def test_in_a_channel_they_post_less_often(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM), two.seat(TEAM):
        await house.clock.advance(1.1)
        house.goes_away()
        await one.post(TEAM, CHANNEL)
        assert one.post_wait_s(TEAM, CHANNEL) == pytest.approx(2 * POST_SPACING_S)


async def test_what_was_called_meanwhile_is_handed_over_and_nothing_overdrawn(house: House) -> None:
    sent: list[float] = []

    async def write(seat: Seat) -> None:
        while True:
            await seat.final()
            sent.append(house.clock.now())

    async with AsyncExitStack() as stack:
        [here] = await seats(stack, house.pacers[0], 1)
        await house.clock.advance(0.5)  # so that they notice at different times
        [there] = await seats(stack, house.pacers[1], 1)
        await house.clock.advance(1.2)
        house.goes_away()
        await house.clock.advance(1)
        writing = [start(write(seat)) for seat in (here, there)]
        await house.clock.advance(10)
        house.comes_back()
        await house.clock.advance(BACK_S)
        assert house.late() == LIMIT
        assert house.room.used(EDITS) == len(sent) == LIMIT
        await house.clock.advance(150)
        await cancel(*writing)
    assert most(sent) <= LIMIT
    assert len(house.room.calls[EDITS]) == len(sent) == 3 * LIMIT
    assert house.late() == LIMIT, "once each"


async def test_a_short_outage_stops_nobody_who_has_a_share_left(house: House) -> None:
    async with house.pacers[0].seat(TEAM) as here, house.pacers[1].seat(TEAM) as there:
        await finals(here, 30)
        await house.clock.advance(1.1)
        house.goes_away(hangs=True)
        final = start(there.final())
        await house.clock.advance(0.4)
        house.comes_back()
        await house.clock.advance(TRY_AGAIN_S)
        ends = [start(finals(seat, 4)) for seat in (here, there)]
        await house.clock.advance(0.1)
        assert all(end.done() for end in [final, *ends])
        assert house.room.used(EDITS) == 39


async def test_a_reply_that_began_meanwhile_is_told_when_the_ledger_is_back(house: House) -> None:
    one, two = house.pacers
    house.goes_away()
    await one.look_up(TEAM)
    async with AsyncExitStack() as stack:
        await seats(stack, one, 10)
        house.comes_back()
        await house.clock.advance(BACK_S)
        async with two.seat(TEAM):
            assert two.edits_are_short(TEAM)


async def test_a_pause_that_began_meanwhile_is_told_when_the_ledger_is_back(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM), two.seat(TEAM) as there:
        house.goes_away()
        await house.clock.advance(1.1)
        one.pause_edits(TEAM, 30)
        house.comes_back()
        await house.clock.advance(BACK_S)
        final = start(there.final())
        await house.clock.advance(20)
        assert not final.done()
        await house.clock.advance(10)
        assert final.done()


async def test_a_ledger_that_hangs_costs_one_wait_and_then_none(house: House) -> None:
    pacer, ledger = house.pacers[0], house.ledgers[0]
    async with pacer.seat(TEAM) as seat:
        ledger.goes_away(hangs=True)
        final = start(seat.final())
        await house.clock.advance(0.29)
        assert not final.done()
        await house.clock.advance(0.07)
        assert final.done()
        await finals(seat, 3)
        asked = len(ledger.asked)
        await house.clock.advance(0.5)
        assert len(ledger.asked) == asked
        ledger.comes_back()
        await house.clock.advance(BACK_S)
        assert len(ledger.late) == 3, "the first was counted after all"
        assert house.room.used(EDITS) == budget(pacer).used() == 4


async def test_a_late_no_counts_the_call_all_the_same(house: House) -> None:
    one, two = house.pacers
    async with one.seat(TEAM) as here, two.seat(TEAM) as there:
        await house.clock.advance(1.1)
        house.ledgers[1].goes_away(hangs=True)
        final = start(there.final())
        await finals(here, LIMIT)
        await house.clock.advance(0.4)
        assert final.done()
        house.ledgers[1].comes_back()
        await house.clock.advance(BACK_S)
        assert house.ledgers[1].refused == 1
        assert house.room.used(EDITS) == LIMIT + 1


async def test_it_is_looked_for_once_a_second_and_not_by_calls(house: House) -> None:
    pacer, ledger = house.pacers[0], house.ledgers[0]
    async with pacer.seat(TEAM) as seat:
        ledger.goes_away()
        await house.clock.advance(1.1)
        ledger.asked.clear()
        await finals(seat, 10)
        await house.clock.advance(10)
        assert ledger.asked == [("take",)] * 10
        ledger.comes_back()
        await house.clock.advance(1.1)
        await seat.final()
        assert house.room.used(EDITS) == 11


async def test_what_a_cancelled_call_spent_meanwhile_is_not_handed_over(house: House) -> None:
    pacer, ledger = house.pacers[0], house.ledgers[0]
    ledger.goes_away()
    reads = [await pacer.read(TEAM, 1) for _ in range(50)]
    assert all(reads)
    read = start(pacer.read(TEAM, 100))
    await settle()
    house.clock._now += MINUTE_S  # the timer has not run, as when both happen in one moment
    pacer._queue("reads", TEAM, 50).review()
    read.cancel()
    await settle()
    assert await pacer.look_up(TEAM)
    ledger.comes_back()
    await house.clock.advance(BACK_S)
    assert (read.cancelled(), ledger.late) == (True, [f"{TEAM}:names"])


# --- what is remembered ---------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
async def test_a_restart_does_not_forget_what_was_spent(shared: bool) -> None:
    clock = FakeClock()
    room = Room(clock)
    sent: list[float] = []
    for _ in range(3):
        async with (
            Pacer(clock, LIMIT, RoomLedger(room, "p0", shared=shared)) as pacer,
            pacer.seat(TEAM) as seat,
        ):
            spare = budget(pacer).free()

            async def write(seat: Seat = seat) -> None:
                while True:
                    await seat.final()
                    sent.append(clock.now())

            writing = start(write())
            await clock.advance(25)
            await cancel(writing)
    assert spare < LIMIT
    assert most(sent) <= LIMIT


@pytest.mark.parametrize("shared", [True, False])
async def test_a_restart_does_not_forget_a_pause(shared: bool) -> None:
    clock = FakeClock()
    room = Room(clock)
    async with Pacer(clock, LIMIT, RoomLedger(room, "p0", shared=shared)) as pacer:
        await pacer.look_up(TEAM)
        pacer.pause_look_ups(TEAM, 30)
        await settle()
    async with Pacer(clock, LIMIT, RoomLedger(room, "p1", shared=shared)) as pacer:
        assert not await pacer.look_up(TEAM)
        await clock.advance(31)
        assert await pacer.look_up(TEAM)
        limit = pacer._queue("names", TEAM, 90).first_budget.limit
        assert limit == 90 * SLOWER


@pytest.mark.parametrize("away", [False, True])
async def test_without_memory_every_budget_of_a_minute_begins_half_spent(away: bool) -> None:
    clock = FakeClock()
    ledger = RoomLedger(Room(clock), "p0")
    ledger.away = away
    async with Pacer(clock, 50, ledger) as pacer:
        ledger.comes_back()
        assert budget(pacer).free() == 25
        assert pacer.post_wait_s(TEAM, CHANNEL) == 0
        async with pacer.seat(TEAM) as seat:
            await finals(seat, 25)
            final = start(seat.final())
            await clock.advance(2.3)
            assert not final.done()
            await clock.advance(0.2)
            assert final.done()
            await clock.advance(MINUTE_S)
            assert budget(pacer).free() == 50
    assert tasks() == []


async def test_what_the_first_process_guesses_counts_for_those_that_come_after() -> None:
    clock = FakeClock()
    room = Room(clock)
    async with Pacer(clock, 50, RoomLedger(room, "p0"), delivery="stream") as first:
        ours = [first.another_stream(TEAM) for _ in range(12)]
        started = [stream for stream in ours if stream is not None and await stream.start()]
        assert len(started) == 10, "half of the starts and stops of a minute"
        other = Pacer(clock, 50, RoomLedger(room, "p1"), delivery="stream")
        async with other as second, second.seat(TEAM):
            assert second.another_stream(TEAM) is None
        for stream in started:
            stop = start(stream.stop())
            await clock.advance(0.1)
            assert stop.done(), "a stop was kept for each stream"
            stream.close()
    assert tasks() == []


# --- one process, which only remembers ------------------------------------------------------------


class OneOf(World):
    """A world whose process may have a ledger, and others beside it."""

    def __init__(self, room: Room, ledger: Ledger | None, shown: list[Shown]) -> None:
        super().__init__(seed=1)
        self.clock = room.clock
        self.pacer = Pacer(room.clock, LIMIT, ledger)
        self.shown = shown

    def _latency_s(self) -> float:
        return 0.12


def at_once(count: int, *, same: bool = True) -> Replies:
    """(when, for how long it writes) of replies of 10 s, or of any length."""
    rng = random.Random(1)
    return [(0.003 * n, 10.0 if same else rng.uniform(2, 25)) for n in range(count)]


def twelve_a_minute() -> Replies:
    rng = random.Random(1)
    waits_s = (rng.expovariate(12 / 60) for _ in range(60))
    return [(at, rng.uniform(2, 25)) for at in itertools.accumulate(waits_s)]


@pytest.mark.parametrize("replies", [at_once(10, same=False), twelve_a_minute()])
async def test_a_ledger_that_only_remembers_changes_no_call(
    replies: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settle_well() -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    monkeypatch.setattr(fake_clock, "settle", settle_well)
    sent = []
    for remembers in (False, True):
        room = Room(FakeClock())
        ledger = RoomLedger(room, "p0", shared=False) if remembers else None
        world = OneOf(room, ledger, [])
        await world.run(replies)
        await world.pacer.close()
        sent.append([shown.steps for shown in world.shown])
    assert sent[0] == sent[1]
    assert len(room.calls[EDITS]) == sum(shown.sends for shown in world.shown)


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
async def test_one_that_fails_limits_nothing_and_delays_nobody(hangs: bool) -> None:
    clock = FakeClock()
    ledger = RoomLedger(Room(clock), "p0", shared=False)
    pacer = Pacer(clock, LIMIT, ledger)
    ledger.goes_away(hangs=hangs)
    async with pacer.seat(TEAM) as seat:
        writing = start(finals(seat, LIMIT))
        await clock.advance(0.11)
        assert writing.done()
        ledger.comes_back()
        await clock.advance(BACK_S)
    assert len(ledger.room.calls[EDITS]) == LIMIT
    await pacer.close()


# --- anything -------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(lives, st.integers(0, 2)), min_size=2, max_size=45),
    pauses,
    st.sampled_from([0.0, 0.001, 0.02]),
)
def test_whatever_happens_all_processes_together_keep_the_limit(
    replies: list[tuple[Life, int]], paused: list[tuple[float, float]], delay_s: float
) -> None:
    house, seen = asyncio.run(simulate(replies, paused, delay_s))
    assert most(seen.sent) <= SCARCE
    assert seen.whole == sum(life.cancelled_after_s is None for life, _ in replies)
    assert len(house.room.calls.get(EDITS, ())) == len(seen.sent), "both count the same"


async def simulate(
    replies: list[tuple[Life, int]], paused: list[tuple[float, float]], delay_s: float
) -> tuple[House, Seen]:
    house = House(3, SCARCE, delay_s=delay_s)
    clock, seen = house.clock, Seen()

    async def pause(at: float, seconds: float) -> None:
        await clock.sleep(at)
        house.pacers[0].pause_edits(TEAM, seconds)

    async def stop(life: Life, reply: asyncio.Task[None]) -> None:
        if life.cancelled_after_s is not None:
            await clock.sleep(life.asked_at + life.cancelled_after_s)
            reply.cancel()

    under_way = [start(pause(*one)) for one in paused]
    for life, number in replies:
        reply = start(live(clock, house.pacers[number], life, seen))
        under_way += [reply, start(stop(life, reply))]
    for _ in range(100):
        await clock.advance(20)
        if all(task.done() for task in under_way):
            break
    assert all(task.done() for task in under_way), "somebody waits for ever"
    await clock.advance(2)
    assert tasks() == []
    await house.close()
    return house, seen


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
@pytest.mark.parametrize("seed", range(3))
async def test_no_outage_of_the_ledger_overdraws_much(seed: int, hangs: bool) -> None:
    """Nobody knows what the others did in the second before; all else is accounted for."""
    random.seed(seed)
    house, seen = House(limit=SCARCE, delay_s=0.001), Seen()

    def life() -> Life:
        writes = tuple((random.uniform(1, 30), random.uniform(0, 5)) for _ in range(3))
        return Life(random.uniform(0, 4), random.uniform(0, 3), writes, 0.12, True, None)

    replies = [start(live(house.clock, house.pacers[n % 2], life(), seen)) for n in range(16)]
    await house.clock.advance(random.uniform(5, 50))
    house.goes_away(hangs=hangs)
    await house.clock.advance(random.uniform(1, 60))
    house.comes_back()
    await house.clock.advance(300)
    await asyncio.gather(*replies)
    await house.close()
    assert most(seen.sent) <= SCARCE + 3
    assert len(house.room.calls[EDITS]) == pytest.approx(len(seen.sent), abs=3)


# --- no worse than one process --------------------------------------------------------------------


async def shown_by(processes: int, replies: Replies) -> list[Shown]:
    """`replies`, spread over processes that are a millisecond away from the ledger."""
    house, shown = House(processes, delay_s=0.0005), list[Shown]()
    worlds = [OneOf(house.room, ledger, shown) for ledger in house.ledgers]

    async def reply(number: int, at: float, length_s: float) -> None:
        await house.clock.sleep(at)
        await worlds[number % processes]._paced(f"C{number}", length_s)

    under_way = [start(reply(number, *one)) for number, one in enumerate(replies)]
    while not all(task.done() for task in under_way):
        await house.clock.advance(5)
    await asyncio.gather(*under_way)
    for world in worlds:
        assert world.judge.refused == 0
        await world.pacer.close()
    return shown


@pytest.mark.parametrize(
    "replies",
    [
        pytest.param(at_once(10), id="ten at once"),
        pytest.param(at_once(20, same=False), id="twenty of any length"),
        pytest.param(twelve_a_minute(), id="twelve a minute"),
    ],
)
async def test_two_processes_show_text_about_as_early_as_one(replies: Replies) -> None:
    ages_s = []
    for processes in (1, 2):
        ages = [shown.age() for shown in await shown_by(processes, replies)]
        ages_s.append(sum(total / over_s for total, over_s in ages) / len(ages))
    assert ages_s[1] <= 1.15 * ages_s[0]


@pytest.mark.parametrize("near_s", [0.001, 0.01], ids=["equally near", "one is nearer"])
async def test_of_two_processes_with_the_same_load_none_starves(near_s: float) -> None:
    house = House(limit=20)
    house.ledgers[0].delay_s = lambda: 0.001
    house.ledgers[1].delay_s = lambda: near_s
    random.seed(1)
    ended: list[list[float]] = [[], []]
    interims = [0, 0]

    async def final(number: int) -> None:
        async with house.pacers[number].seat(TEAM) as seat:
            await seat.final()
            ended[number].append(house.clock.now())

    async def interim(number: int) -> None:
        async with house.pacers[number].seat(TEAM) as seat:
            while True:
                await seat.interim()
                interims[number] += 1

    under_way = [start(final(number)) for _ in range(60) for number in (0, 1)]
    await house.clock.advance(7 * MINUTE_S)
    assert all(task.done() for task in under_way)
    began_at = ended[0][0] + 1
    early = [sum(1 for at in some if began_at < at < began_at + 2 * MINUTE_S) for some in ended]
    assert min(early) >= 0.25 * sum(early)
    under_way = [start(interim(number)) for _ in range(4) for number in (0, 1)]
    await house.clock.advance(600)
    await cancel(*under_way)
    assert min(interims) >= 0.35 * sum(interims)
    await house.close()
