"""How a reply gets into Slack: the rule, on a fake clock, and what comes of it."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import Delivery
from bot.pacing import MINUTE_S, Pacer, Seat, Way
from bot.pacing.pacer import STARTS_PER_MINUTE
from tests.fake_clock import FakeClock
from tests.pacing_world import Shown, World

TEAM = "T1"
Replies = Sequence[tuple[float, float]]


def at_once(count: int) -> Replies:
    return [(0.003 * number, 10.0) for number in range(count)]


def sustained(a_minute: int, seconds: float, seed: int = 0) -> Replies:
    rng, at, replies = random.Random(seed), 0.0, []
    while (at := at + rng.expovariate(a_minute / 60)) < seconds:
        replies.append((at, 10.0))
    return replies


async def run(replies: Replies, delivery: Delivery = "auto") -> World:
    world = World(1, delivery=delivery, channels=10)
    await world.run(replies)
    assert world.refused == 0
    return world


def age_s(shown: Sequence[Shown]) -> float:
    ages = [one.age() for one in shown]
    return statistics.mean(total / over_s for total, over_s in ages)


def late_s(shown: Sequence[Shown], share: float = 1.0) -> float:
    lags = sorted(one.lag_s for one in shown)
    return lags[min(len(lags) - 1, int(share * len(lags)))]


@pytest.mark.parametrize(
    ("count", "most_age_s", "most_late_s"),
    [(1, 0.4, 0.7), (5, 0.45, 0.7), (20, 0.85, 0.7), (50, 2.4, 0.7), (100, 4.0, 3.5), (200, 7, 15)],
)
async def test_replies_at_once_are_lively_and_their_ends_prompt(
    count: int, most_age_s: float, most_late_s: float
) -> None:
    world = await run(at_once(count))
    assert age_s(world.shown) <= most_age_s
    assert late_s(world.shown) <= most_late_s


@pytest.mark.parametrize(("a_minute", "most_age_s"), [(6, 0.5), (20, 1.2), (60, 3.5)])
async def test_replies_that_keep_coming_are_lively_and_their_ends_prompt(
    a_minute: int, most_age_s: float
) -> None:
    worlds = [await run(sustained(a_minute, 180.0, seed)) for seed in (0, 1)]
    shown = [one for world in worlds for one in world.shown]
    assert age_s(shown) <= most_age_s
    assert late_s(shown, 0.95) <= 0.7


async def test_a_burst_on_top_of_a_steady_stream_ends_promptly() -> None:
    burst = [(100.0 + at, length_s) for at, length_s in at_once(20)]
    world = await run([*sustained(6, 180.0), *burst])
    assert late_s(world.shown, 0.95) <= 1.0


async def test_alone_edited_a_few_streamed_too_and_many_posted() -> None:
    ways = {count: (await run(at_once(count))).ways for count in (1, 10, 100)}
    assert ways[1] == {Way.EDIT: 1}
    assert set(ways[10]) == {Way.EDIT, Way.STREAM}
    assert ways[100][Way.STREAM] == STARTS_PER_MINUTE
    assert min(ways[100][Way.POST], ways[100][Way.EDIT]) > 20


@pytest.mark.parametrize("delivery", ["edit", "stream", "post"])
async def test_each_way_alone_keeps_its_budgets(delivery: Delivery) -> None:
    world = await run(at_once(30), delivery)
    expected = {"edit": {Way.EDIT}, "stream": {Way.STREAM, Way.EDIT}, "post": {Way.POST}}
    assert set(world.ways) == expected[delivery]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 90), st.floats(0.2, 60)), min_size=1, max_size=60),
    st.integers(1, 12),
)
def test_whatever_is_asked_no_call_is_refused_and_every_reply_is_whole(
    replies: list[tuple[float, float]], channels: int
) -> None:
    world = World(2, delivery="auto", channels=channels)
    asyncio.run(world.run(replies))
    assert world.refused == 0
    assert len(world.shown) == len(replies)
    assert all(one.steps[-1][1] == one.ended_at for one in world.shown)


# --- the rule -------------------------------------------------------------------------------------


async def seats(stack: AsyncExitStack, pacer: Pacer, count: int) -> list[Seat]:
    return [await stack.enter_async_context(pacer.seat(TEAM)) for _ in range(count)]


def chosen(pacer: Pacer, seat: Seat, channel: str = "C1", *, may_stream: bool = True) -> Way:
    way, stream = pacer.choose(seat, TEAM, channel, may_stream=may_stream)
    assert (stream is not None) == (way is Way.STREAM)
    if way is Way.EDIT:
        seat.step_up()
    return way


async def test_replies_that_choose_in_one_moment_know_of_each_other() -> None:
    pacer = Pacer(FakeClock(), 50, delivery="auto")
    async with AsyncExitStack() as stack:
        ways = [chosen(pacer, seat) for seat in await seats(stack, pacer, 60)]
    assert ways.count(Way.STREAM) == STARTS_PER_MINUTE
    assert 0 < ways.count(Way.EDIT) <= 50
    assert ways[0] is Way.EDIT
    assert Way.POST in ways


async def test_what_cannot_be_streamed_is_edited_or_posted() -> None:
    pacer = Pacer(FakeClock(), 50, delivery="auto")
    async with AsyncExitStack() as stack:
        ways = [chosen(pacer, seat, may_stream=False) for seat in await seats(stack, pacer, 60)]
    assert set(ways) == {Way.EDIT, Way.POST}


async def test_no_stream_begins_for_which_no_stop_would_be_free() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50, delivery="stream")
    async with AsyncExitStack() as stack:
        replies = await seats(stack, pacer, 40)
        streams = [pacer.choose(seat, TEAM, "C1", may_stream=True)[1] for seat in replies]
        open_ = [stream for stream in streams if stream is not None]
        assert len(open_) == STARTS_PER_MINUTE
        for stream in open_:
            assert await stream.start()
        await clock.advance(MINUTE_S)
        assert pacer.another_stream(TEAM) is None, "twenty are open: no stop is left"
        for stream in open_[:5]:
            await stream.stop()
            stream.close()
        assert pacer.another_stream(TEAM) is None, "five stops were just used"
        await clock.advance(MINUTE_S)
        assert pacer.another_stream(TEAM) is not None


async def test_a_paused_method_is_not_chosen() -> None:
    pacer = Pacer(FakeClock(), 50, delivery="auto")
    async with AsyncExitStack() as stack:
        replies = await seats(stack, pacer, 4)
        pacer.pause_edits(TEAM, 30)
        assert chosen(pacer, replies[0]) is Way.STREAM
        pacer.pause_stream(TEAM, "appends", 30)
        assert chosen(pacer, replies[1]) is Way.POST
        pacer.pause_stream(TEAM, "starts", 30)
        assert chosen(pacer, replies[2]) is Way.POST
        pacer.no_streams("T2")
    async with pacer.seat("T2") as other:
        assert pacer.choose(other, "T2", "C1", may_stream=True)[0] is Way.EDIT


async def test_a_reply_that_ends_leaves_nothing_behind() -> None:
    pacer = Pacer(FakeClock(), 50, delivery="post")
    async with pacer.seat(TEAM) as seat:
        chosen(pacer, seat)
        assert pacer._of(TEAM).edits.will_post_in("C1") == 1
    ways = pacer._of(TEAM)
    assert (ways.live(), ways.edits.will_post_in("C1"), ways.streams.open) == (0, 0, 0)
    assert ways.streams.spacing_s() < math.inf
