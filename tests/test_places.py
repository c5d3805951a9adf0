"""So many at once, the others in order."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import TooManyQuestions
from bot.turns import places as places_module
from bot.turns.places import Places
from tests.fake_clock import settle


async def stay(places: Places, name: str, inside: list[str], leave: asyncio.Event) -> None:
    async with places.place(lambda number: None):
        inside.append(name)
        await leave.wait()


async def test_places_are_given_in_order_of_arrival() -> None:
    places, inside, leave = Places(2), list[str](), [asyncio.Event() for _ in range(5)]
    tasks = [
        asyncio.create_task(stay(places, str(number), inside, leave[number])) for number in range(5)
    ]
    await settle()
    assert inside == ["0", "1"]
    leave[1].set()
    await settle()
    assert inside == ["0", "1", "2"]
    for event in leave:
        event.set()
    await asyncio.gather(*tasks)
    assert inside == ["0", "1", "2", "3", "4"]


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    places, inside, leave = Places(1), list[str](), asyncio.Event()
    first = asyncio.create_task(stay(places, "first", inside, leave))
    waiter = asyncio.create_task(stay(places, "waiter", inside, leave))
    third = asyncio.create_task(stay(places, "third", inside, leave))
    await settle()
    waiter.cancel()
    await settle()
    leave.set()
    await asyncio.gather(first, third)
    assert inside == ["first", "third"]
    async with places.place(lambda number: pytest.fail("there is a free place")):
        pass


async def test_a_place_handed_to_a_waiter_that_is_cancelled_goes_to_the_next() -> None:
    places, inside, leave = Places(1), list[str](), asyncio.Event()
    first = asyncio.create_task(stay(places, "first", inside, leave))
    waiter = asyncio.create_task(stay(places, "waiter", inside, leave))
    await settle()
    leave.set()
    await first
    waiter.cancel()
    await asyncio.wait([waiter])
    async with places.place(lambda number: pytest.fail("there is a free place")):
        pass


async def test_a_full_line_refuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "LINE", 1)
    places, inside, leave = Places(1), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(stay(places, str(n), inside, leave)) for n in range(2)]
    await settle()
    with pytest.raises(TooManyQuestions):
        await stay(places, "too many", inside, leave)
    leave.set()
    await asyncio.gather(*tasks)
