"""The edit budget, on a fake clock."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.pacing import MINUTE_S, Pacer, Seat
from tests.fake_clock import FakeClock, settle

TEAM = "T1"


async def test_a_lone_reply_is_edited_about_twice_a_second_at_first() -> None:
    clock = FakeClock()
    async with Pacer(clock, 50).seat(TEAM) as seat:
        sent = await edits(clock, seat, 5.0)
    assert 7 <= len(sent) <= 11
    assert all(b - a >= 0.5 for a, b in itertools.pairwise(sent))


async def edits(clock: FakeClock, seat: Seat, seconds: float) -> list[float]:
    """When a reply that always has something new would be edited in the next `seconds`."""
    sent: list[float] = []

    async def write() -> None:
        while True:
            await seat.interim()
            sent.append(clock.now())

    writing = asyncio.create_task(write())
    await clock.advance(seconds)
    writing.cancel()
    await settle()
    return sent


async def test_a_final_goes_at_once_while_interims_wait() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 20)
    async with pacer.seat(TEAM) as one, pacer.seat(TEAM) as two:
        for _ in range(14):
            await one.final()
        waiting = asyncio.create_task(two.interim())
        await clock.advance(0.1)
        assert not waiting.done()
        final = asyncio.create_task(two.final())
        await clock.advance(0.1)
        assert final.done()
        waiting.cancel()
        await settle()


async def test_a_pause_is_a_deadline_that_no_shorter_one_lifts() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    async with pacer.seat(TEAM) as seat:
        pacer.pause_edits(TEAM, 10)
        pacer.pause_edits(TEAM, 1)
        final = asyncio.create_task(seat.final())
        await clock.advance(9.9)
        assert not final.done()
        await clock.advance(0.2)
        assert final.done()


async def test_workspaces_do_not_share_a_budget() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    pacer.pause_edits("T2", 100)
    async with pacer.seat(TEAM) as seat:
        assert len(await edits(clock, seat, 2.0)) >= 3


async def test_one_post_a_second_and_channel() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    assert pacer.book_post(TEAM, "C1")
    assert not pacer.book_post(TEAM, "C1")
    assert pacer.book_post(TEAM, "C2")
    assert 1.0 <= pacer.post_wait_s(TEAM, "C1") <= 1.1


async def test_a_read_without_a_slot_in_time_says_so() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, 50)
    for _ in range(50):
        assert await pacer.read(TEAM, 2.0)
    assert not await pacer.read(TEAM, 2.0)


@settings(max_examples=40, deadline=None)
@given(
    lives=st.lists(st.tuples(st.floats(0, 60), st.floats(0.5, 40)), min_size=1, max_size=25),
    pauses=st.lists(st.tuples(st.floats(0, 90), st.floats(0.5, 20)), max_size=3),
)
def test_never_more_than_the_budget_in_any_minute_and_every_final_is_sent(
    lives: list[tuple[float, float]], pauses: list[tuple[float, float]]
) -> None:
    sent, finals = asyncio.run(simulate(lives, pauses))
    sent.sort()
    for index, at in enumerate(sent):
        assert sum(1 for other in sent[index:] if other < at + MINUTE_S) <= 30
    assert finals == len(lives)


async def simulate(
    lives: list[tuple[float, float]], pauses: list[tuple[float, float]]
) -> tuple[list[float], int]:
    clock = FakeClock()
    pacer = Pacer(clock, 30)
    sent: list[float] = []
    finals = 0

    async def reply(starts_at: float, lasts_s: float) -> None:
        nonlocal finals
        await clock.sleep(starts_at)
        async with pacer.seat(TEAM) as seat:
            writing = asyncio.create_task(interims(seat))
            await clock.sleep(lasts_s)
            writing.cancel()
            await asyncio.wait([writing])
            await seat.final()
            sent.append(clock.now())
            finals += 1

    async def interims(seat: Seat) -> None:
        while True:
            await seat.interim()
            sent.append(clock.now())

    async def pause(at: float, seconds: float) -> None:
        await clock.sleep(at)
        pacer.pause_edits(TEAM, seconds)

    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(reply(*life)) for life in lives]
        tasks += [asyncio.create_task(pause(*one)) for one in pauses]
        stack.push_async_callback(asyncio.gather, *tasks, return_exceptions=True)
        await clock.advance(400)
    return sent, finals
