"""The budgets, on a fake clock: the rules one by one, then any replies, failures and cancels."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.pacing import MINUTE_S, POST_SPACING_S, Budget, Pacer, Seat
from bot.pacing.budget import SLOWER, SLOWEST
from bot.pacing.edits import STARVING_S
from tests.fake_clock import FakeClock, settle
from tests.pacing_world import World

TEAM = "T1"
CHANNEL = "C1"


class CountingClock(FakeClock):
    """Counts how often somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await super().sleep(seconds)


def start(waiting: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(waiting)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def timers() -> list[str]:
    return [
        task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("pacing:")
    ]


async def seats(stack: AsyncExitStack, pacer: Pacer, count: int) -> list[Seat]:
    return [await stack.enter_async_context(pacer.seat(TEAM)) for _ in range(count)]


async def edits(clock: FakeClock, seat: Seat, seconds: float) -> list[float]:
    """When a reply that always has something new would be edited in the next `seconds`."""
    sent: list[float] = []

    async def write() -> None:
        while True:
            await seat.interim()
            sent.append(clock.now())

    writing = start(write())
    await clock.advance(seconds)
    await cancel(writing)
    return sent


# --- a budget -------------------------------------------------------------------------------------


def test_a_call_counts_until_it_leaves_the_window() -> None:
    clock = FakeClock()
    budget = Budget(2, 10.0, clock)
    budget.spend(clock.now() - 9)
    budget.spend(clock.now() - 4)
    assert budget.free() == 0
    assert budget.used(in_s=2) == 1
    assert budget.wait_s() == pytest.approx(1)
    assert budget.wait_s(calls=2) == pytest.approx(6)
    assert budget.wait_s(calls=3) == math.inf
    assert budget.next_return_s(in_s=2) == pytest.approx(4)


async def test_a_429_takes_a_fifth_of_the_rate_and_each_quiet_minute_gives_a_tenth_back() -> None:
    clock = FakeClock()
    budget = Budget(50, MINUTE_S, clock)
    budget.pause(10)
    await clock.advance(10)
    assert budget.limit == 40
    assert budget.recovery_s() == pytest.approx(60)
    limits = []
    for _ in range(3):
        await clock.advance(60)
        limits.append(budget.limit)
    assert limits == [45, 50, 50]
    assert budget.recovery_s() == math.inf


async def test_calls_refused_together_slow_down_once_and_no_number_of_them_stops_all() -> None:
    clock = FakeClock()
    budget = Budget(50, MINUTE_S, clock)
    for _ in range(5):
        budget.pause(3)
    await clock.advance(3)
    assert budget.limit == 50 * SLOWER
    for _ in range(9):
        budget.pause(1)
        await clock.advance(1)
    assert budget.limit == 50 * SLOWEST


async def test_one_call_at_a_time_slows_down_by_a_wider_spacing() -> None:
    clock = FakeClock()
    budget = Budget(1, 1.0, clock)
    budget.pause(1)
    await clock.advance(1)
    assert budget.limit == 1
    assert budget.window_s == pytest.approx(1 / SLOWER)


# --- edits ----------------------------------------------------------------------------------------


async def test_a_lone_reply_is_edited_about_twice_a_second_at_first() -> None:
    clock = FakeClock()
    async with Pacer(clock, 50).seat(TEAM) as seat:
        sent = await edits(clock, seat, 10.0)
    assert 19 <= len(sent) <= 20
    assert all(b - a >= 0.5 for a, b in itertools.pairwise(sent))


async def test_a_long_lone_reply_slows_down_and_never_freezes() -> None:
    clock = FakeClock()
    async with Pacer(clock, 50).seat(TEAM) as seat:
        sent = await edits(clock, seat, 300.0)
    assert max(b - a for a, b in itertools.pairwise(sent)) < 10


async def test_a_final_goes_at_once_while_interims_wait() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 20)
    async with pacer.seat(TEAM) as one, pacer.seat(TEAM) as two:
        for _ in range(18):
            await one.final()
        waiting = start(two.interim())
        await clock.advance(1)
        assert not waiting.done()
        await two.final()
        await cancel(waiting)


async def test_the_final_whose_text_ended_first_goes_first() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 3)
    went: list[str] = []

    async def final(seat: Seat, name: str) -> None:
        await seat.final()
        went.append(name)

    async with AsyncExitStack() as stack:
        late, early, other = await seats(stack, pacer, 3)
        for _ in range(3):
            await other.final()
        early.text_ended()
        await clock.advance(1)
        tasks = [start(final(late, "late")), start(final(early, "early"))]
        interim = start(other.interim())
        await clock.advance(MINUTE_S)
        assert went == ["early", "late"]
        await cancel(interim, *tasks)


async def test_first_words_go_before_an_interim_edit_that_waits_longer() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 3)
    async with pacer.seat(TEAM) as one, pacer.seat(TEAM) as two:
        await one.first()
        assert two.first_wait_s() == pytest.approx(MINUTE_S)
        interim = start(one.interim())
        await clock.advance(1)
        first = start(two.first())
        await clock.advance(MINUTE_S - 0.9)
        assert (first.done(), interim.done()) == (True, False)
        await cancel(interim)


async def test_of_two_that_are_due_the_longest_unseen_goes_first() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    went: list[int] = []

    async def interim(seat: Seat, number: int) -> None:
        await seat.interim()
        went.append(number)

    async with AsyncExitStack() as stack:
        one, two = await seats(stack, pacer, 2)
        pacer.pause_edits(TEAM, 5)
        tasks = [start(interim(two, 2))]
        await clock.advance(1)
        tasks.append(start(interim(one, 1)))
        await clock.advance(5)
        assert went == [2, 1]
        await asyncio.gather(*tasks)


async def test_interim_edits_leave_a_slot_for_each_live_reply() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    async with AsyncExitStack() as stack:
        live = await seats(stack, pacer, 10)
        tasks = [start(write_on(seat)) for seat in live]
        await clock.advance(40)
        await cancel(*tasks)
        finals = [start(seat.final()) for seat in live]
        await settle()
        assert all(final.done() for final in finals)


async def test_a_steady_stream_of_questions_leaves_slots_for_the_next_ones() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    async with AsyncExitStack() as stack:
        tasks = []
        live = await seats(stack, pacer, 12)
        for seat in live:
            tasks.append(start(write_on(seat)))
            await clock.advance(5)
        await cancel(*tasks)
        newcomers = await seats(stack, pacer, 2)
        finals = [start(seat.final()) for seat in newcomers]
        await settle()
        assert all(final.done() for final in finals)


async def write_on(seat: Seat) -> None:
    while True:
        await seat.interim()


async def test_edits_are_short_when_not_all_live_replies_can_have_one_every_half_second() -> None:
    pacer = Pacer(FakeClock(), 50)
    async with AsyncExitStack() as stack:
        short = []
        for _ in range(4):
            await seats(stack, pacer, 1)
            short.append(pacer.edits_are_short(TEAM))
    assert short == [False, True, True, True]


async def test_a_reply_that_leaves_lets_first_words_go_at_once() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 2)
    async with pacer.seat(TEAM) as seat:
        async with pacer.seat(TEAM):
            assert seat.first_wait_s() == math.inf
            first = start(seat.first())
            await clock.advance(30)
            assert not first.done()
            assert timers(), "it would starve otherwise"
        await settle()
        assert first.done()


async def test_a_waiter_sleeps_until_its_moment_and_does_not_poll() -> None:
    clock = CountingClock()
    pacer = Pacer(clock, 20)
    async with pacer.seat(TEAM) as seat:
        for _ in range(20):
            await seat.final()
        await clock.advance(1)
        waiting = [start(seat.final()) for _ in range(10)]
        await clock.advance(MINUTE_S)
        assert all(final.done() for final in waiting)
        assert clock.sleeps <= 2


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_gives_the_slot_back() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 1)
    async with pacer.seat(TEAM) as one, pacer.seat(TEAM) as two:
        await one.final()
        first, second = start(one.final()), start(two.final())
        await settle()
        clock._now += MINUTE_S  # the timer has not run, as when both happen in one moment
        pacer._of(TEAM).review()
        assert pacer.edit_wait_s(TEAM) > 0
        first.cancel()
        await settle()
        assert (first.cancelled(), second.done()) == (True, True)


async def test_cancelled_waiters_leave_nothing_behind() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 3)
    async with pacer.seat(TEAM) as seat:
        for _ in range(3):
            await seat.final()
        kinds = (seat.final, seat.first, seat.interim)
        waiting = [start(kind()) for kind in kinds]
        waiting += [start(pacer.post(TEAM, CHANNEL)) for _ in range(3)]
        waiting += [start(pacer.read(TEAM, 61)) for _ in range(51)]
        await settle()
        assert len(timers()) == 3
        await cancel(*waiting)
        await settle()
        assert timers() == []
    assert pacer.live(TEAM) == 0
    assert pacer._of(TEAM).edits.waiting == 0


async def test_words_unseen_for_a_minute_go_even_if_finals_own_every_slot() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 10)
    async with AsyncExitStack() as stack:
        live = await seats(stack, pacer, 50)
        waiting = [start(seat.interim()) for seat in live]
        await clock.advance(STARVING_S - 1)
        assert sum(one.done() for one in waiting) == 0
        await clock.advance(2)
        assert sum(one.done() for one in waiting) == 2
        await cancel(*waiting)


async def test_a_pause_is_a_deadline_that_no_shorter_one_lifts() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    async with pacer.seat(TEAM) as seat:
        pacer.pause_edits(TEAM, 10)
        pacer.pause_edits(TEAM, 1)
        final = start(seat.final())
        await clock.advance(9.9)
        assert not final.done()
        await clock.advance(0.2)
        assert final.done()


async def test_a_pause_that_comes_while_somebody_waits_holds_too() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 1)
    async with pacer.seat(TEAM) as seat:
        await seat.final()
        final = start(seat.final())
        await clock.advance(50)
        pacer.pause_edits(TEAM, 30)
        await clock.advance(29.9)
        assert not final.done()
        await clock.advance(0.2)
        assert final.done()


async def test_workspaces_do_not_share_a_budget() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    pacer.pause_edits("T2", 100)
    async with pacer.seat(TEAM) as seat:
        assert len(await edits(clock, seat, 2.0)) >= 3


async def test_the_lengths_of_replies_are_learned_told_or_not() -> None:
    clock = FakeClock()
    told, guessed = Pacer(clock, 50), Pacer(clock, 50)
    async with told.seat(TEAM) as one, guessed.seat(TEAM) as two:
        one.text_began()
        await two.first()
        await clock.advance(15)
        one.text_began()
        await clock.advance(15)
        one.text_ended()
        await two.final()
    for pacer in (told, guessed):
        forecast = pacer._of(TEAM).forecast
        assert forecast.length_s == pytest.approx(12)
        assert forecast.spread_s == pytest.approx(2.9)


@pytest.mark.parametrize(
    ("at_once", "age_s"),
    [
        pytest.param(1, 0.4, id="one reply is shown as fast as can be"),
        pytest.param(5, 0.75, id="five replies share the minute's edits evenly"),
        pytest.param(20, 2.5, id="so do twenty"),
    ],
)
async def test_replies_asked_for_at_once(at_once: int, age_s: float) -> None:
    world = World(seed=1)
    await world.run([(0.003 * number, 10.0) for number in range(at_once)])
    ages = [total / over_s for total, over_s in (shown.age() for shown in world.shown)]
    assert sum(ages) / at_once <= age_s
    assert max(shown.first_s for shown in world.shown) <= 0.3
    assert max(shown.lag_s for shown in world.shown) <= 0.7
    assert world.judge.refused == 0


# --- posts and reads ------------------------------------------------------------------------------


async def test_one_post_a_second_and_channel() -> None:
    pacer = Pacer(FakeClock(), 50)
    assert pacer.book_post(TEAM, "C1")
    assert not pacer.book_post(TEAM, "C1")
    assert pacer.book_post(TEAM, "C2")
    assert pacer.post_wait_s(TEAM, "C1") == pytest.approx(POST_SPACING_S)


async def test_posts_go_in_the_order_in_which_they_were_asked_for() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    went: list[tuple[int, float]] = []

    async def post(number: int) -> None:
        await pacer.post(TEAM, CHANNEL)
        went.append((number, round(clock.now() - began_at, 2)))

    began_at = clock.now()
    tasks = [start(post(number)) for number in range(4)]
    await settle()
    assert pacer.post_wait_s(TEAM, CHANNEL) == pytest.approx(4 * POST_SPACING_S)
    await clock.advance(1)
    assert not pacer.book_post(TEAM, CHANNEL), "nobody jumps the queue"
    await cancel(tasks[1])
    await clock.advance(3)
    assert went == [(0, 0.0), (2, 1.05), (3, 2.1)]


async def test_the_post_that_ends_a_reply_goes_ahead_of_those_that_begin_one() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    went: list[str] = []

    async def post(name: str, is_final: bool) -> None:
        await pacer.post(TEAM, CHANNEL, is_final=is_final)
        went.append(name)

    posts = [("begins", False), ("begins, too", False), ("ends", True), ("ends later", True)]
    tasks = []
    for name, is_final in posts:
        tasks.append(start(post(name, is_final)))
        await clock.advance(0.01)
    await clock.advance(5)
    await asyncio.gather(*tasks)
    assert went == ["begins", "ends", "ends later", "begins, too"]


async def test_a_pause_of_posts_holds_in_its_channel_or_in_the_workspace() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    pacer.pause_posts(TEAM, "C1", 5)
    assert pacer.post_wait_s(TEAM, "C1") == 5
    assert pacer.book_post(TEAM, "C2")
    pacer.pause_posts(TEAM, None, 9)
    assert pacer.post_wait_s(TEAM, "C2") == 9
    assert pacer.post_wait_s("T2", "C2") == 0


async def test_posts_to_many_channels_stay_within_the_workspace_too() -> None:
    pacer = Pacer(FakeClock(), 50)
    booked = [pacer.book_post(TEAM, f"C{number}") for number in range(300)]
    assert sum(booked) == 240


async def test_queues_of_idle_channels_are_forgotten() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    for number in range(1_500):
        pacer.post_wait_s(TEAM, f"C{number}")
    assert len(pacer._posts) <= 1_000


async def test_a_read_without_a_slot_in_time_says_so() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    for _ in range(50):
        assert await pacer.read(TEAM, 2.0)
    assert not await pacer.read(TEAM, 2.0)


async def test_a_read_gives_up_at_its_time_if_a_pause_comes() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    for _ in range(50):
        await pacer.read(TEAM, 1)
    read = start(pacer.read(TEAM, 61))
    await clock.advance(1)
    pacer.pause_reads(TEAM, 100)
    await clock.advance(60.1)
    assert read.result() is False
    assert timers() == []


async def test_look_ups_stop_at_their_limit_and_in_a_pause() -> None:
    pacer = Pacer(FakeClock(), 50)
    assert sum([await pacer.look_up(TEAM) for _ in range(100)]) == 90
    pacer.pause_look_ups("T2", 3)
    assert not await pacer.look_up("T2")


# --- anything -------------------------------------------------------------------------------------


LIMIT = 30
LOWEST = int(LIMIT * SLOWEST)


@dataclass(frozen=True)
class Life:
    """A reply: asked for at a moment, writing in stretches with stalls between, maybe cancelled."""

    asked_at: float
    thinks_s: float
    writes: tuple[tuple[float, float], ...]
    """(for how long it writes, for how long it stalls then)"""
    latency_s: float
    tells: bool
    cancelled_after_s: float | None


@dataclass
class Seen:
    """What the callers saw."""

    sent: list[float] = field(default_factory=list)
    finals: list[tuple[float, int]] = field(default_factory=list)
    """How long each waited, and how many others waited when it began to."""
    interims: list[float] = field(default_factory=list)
    waiting: int = 0
    whole: int = 0


spans = st.floats(0.1, 25).map(lambda value: round(value, 2))
lives = st.builds(
    Life,
    asked_at=st.floats(0, 90) | st.just(0.0),
    thinks_s=st.floats(0, 5),
    writes=st.lists(st.tuples(spans, spans | st.just(0.0)), min_size=1, max_size=4).map(tuple),
    latency_s=st.floats(0.03, 2),
    tells=st.booleans(),
    cancelled_after_s=st.none() | st.floats(0, 60),
)
pauses = st.lists(st.tuples(st.floats(0, 200), st.floats(0.5, 30)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(lives, min_size=1, max_size=45), pauses)
def test_whatever_happens_the_budget_holds_and_everyone_has_their_turn(
    replies: list[Life], paused: list[tuple[float, float]]
) -> None:
    seen = asyncio.run(simulate(replies, paused))
    sent = sorted(seen.sent)
    for index, at in enumerate(sent[LIMIT:]):
        assert at - sent[index] >= MINUTE_S - 1e-6, "more than the limit in one minute"
    assert seen.whole == sum(life.cancelled_after_s is None for life in replies)
    pauses_s = sum(seconds for _, seconds in paused)
    for waited_s, ahead in seen.finals:
        assert waited_s <= (ahead // LOWEST + 1) * MINUTE_S + pauses_s + 1e-6
    starving_slots = math.ceil(LOWEST * 0.2)
    turns = len(replies) // starving_slots + len(replies) // LOWEST + 2
    for waited_s in seen.interims:
        assert waited_s <= STARVING_S + turns * MINUTE_S + pauses_s


async def simulate(replies: list[Life], paused: list[tuple[float, float]]) -> Seen:
    clock = FakeClock()
    pacer = Pacer(clock, LIMIT)
    seen = Seen()

    async def pause(at: float, seconds: float) -> None:
        await clock.sleep(at)
        pacer.pause_edits(TEAM, seconds)

    async def stop(life: Life, task: asyncio.Task[None]) -> None:
        if life.cancelled_after_s is not None:
            await clock.sleep(life.asked_at + life.cancelled_after_s)
            task.cancel()

    tasks = [start(pause(*one)) for one in paused]
    for life in replies:
        living = start(live(clock, pacer, life, seen))
        tasks += [living, start(stop(life, living))]
    for _ in range(100):
        await clock.advance(20)
        if all(task.done() for task in tasks):
            break
    assert all(task.done() for task in tasks), "somebody waits for ever"
    line = pacer._of(TEAM).edits
    assert (pacer.live(TEAM), line.waiting, timers()) == (0, 0, [])
    return seen


async def live(clock: FakeClock, pacer: Pacer, life: Life, seen: Seen) -> None:
    await clock.sleep(life.asked_at)
    async with pacer.seat(TEAM) as seat:
        await clock.sleep(life.thinks_s)
        if life.tells:
            seat.text_began()
        asked_for = seat.first
        for writes_s, stalls_s in life.writes:
            writing = start(write(clock, asked_for, seat, life, seen))
            await sleep_or_cancel(clock, writes_s, writing)
            await clock.sleep(stalls_s)
            asked_for = seat.interim
        asked_at, ahead = clock.now(), seen.waiting
        seen.waiting += 1
        try:
            await seat.final()
        finally:
            seen.waiting -= 1
        seen.sent.append(clock.now())
        seen.finals.append((clock.now() - asked_at, ahead))
        seen.whole += life.cancelled_after_s is None
        await clock.sleep(life.latency_s)


async def sleep_or_cancel(clock: FakeClock, seconds: float, writing: asyncio.Task[None]) -> None:
    try:
        await clock.sleep(seconds)
    finally:
        await cancel(writing)


async def write(clock: FakeClock, ask: Any, seat: Seat, life: Life, seen: Seen) -> None:
    while True:
        asked_at = clock.now()
        await ask()
        seen.sent.append(clock.now())
        seen.interims.append(clock.now() - asked_at)
        await clock.sleep(life.latency_s)
        ask = seat.interim
