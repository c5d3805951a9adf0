"""One reply at a time in a thread, so many at once, the others in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.errors import TooManyQuestions
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question
from bot.turns import places as places_module
from bot.turns.places import Places, thread_of
from tests.fake_clock import FakeClock, settle


class Room:
    """Questions that wait for their turn, and stay until they are told to leave."""

    def __init__(self, store: SqliteStore, limit: int) -> None:
        self._store = store
        self.places = Places(store, limit)
        self.inside: list[str] = []
        self.told: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    async def come(self, name: str, thread: str | None = None) -> asyncio.Task[None]:
        question = Question(
            team="T1", channel="C1", user="U1", ts=name, thread_ts=thread, surface="channel"
        )
        await self._store.accept(question)
        self._leave[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(question))
        await settle()
        return self._tasks[name]

    async def leave(self, name: str) -> None:
        self._leave[name].set()
        await self._tasks[name]
        await settle()

    async def _stay(self, question: Question) -> None:
        try:
            async with self.places.place(question, self.told.append):
                self.inside.append(question.ts)
                await self._leave[question.ts].wait()
        finally:
            await self._store.settle(question.key, Outcome.COMPLETE)
            self.places.changed(thread_of(question))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(str(tmp_path), FakeClock())
    yield opened
    await opened.close()


async def until(room: Room, *inside: str) -> None:
    async with asyncio.timeout(5):
        while room.inside != list(inside):
            await settle()


async def test_places_are_given_in_order_of_arrival(store: SqliteStore) -> None:
    room = Room(store, 2)
    for name in "abcde":
        await room.come(name)
    await until(room, "a", "b")
    await room.leave("b")
    await until(room, "a", "b", "c")
    assert len(room.told) == 3, "each that waits is told so, once"
    for name in "acde":
        await room.leave(name)
    await until(room, *"abcde")


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind(store: SqliteStore) -> None:
    room = Room(store, 1)
    await room.come("first")
    waiter = await room.come("waiter")
    await room.come("third")
    waiter.cancel()
    await asyncio.wait([waiter])
    await room.leave("first")
    await until(room, "first", "third")
    await room.leave("third")
    await room.come("fourth")
    await until(room, "first", "third", "fourth")
    await room.leave("fourth")
    assert room.places._threads == {} and not room.places._line


async def test_a_full_line_refuses_at_once(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "LINE", 1)
    room = Room(store, 1)
    await room.come("first")
    await room.come("second")
    with pytest.raises(TooManyQuestions):
        await (await room.come("too many"))
    await room.leave("first")
    await room.leave("second")


async def test_a_wait_has_a_limit(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "THREAD_WAIT_S", 0.01)
    monkeypatch.setattr(places_module, "LINE_WAIT_S", 0.01)
    room = Room(store, 1)
    await room.come("first", thread="root")
    for thread in ("root", "other"):
        with pytest.raises(TooManyQuestions):
            await (await room.come(f"in {thread}", thread=thread))
    await room.leave("first")


async def test_one_reply_at_a_time_in_a_thread_in_order(store: SqliteStore) -> None:
    room = Room(store, 10)
    await room.come("1", thread="0")
    await room.come("3", thread="0")
    await room.come("2", thread="0")
    await room.come("9", thread="8")
    await until(room, "1", "9")
    await room.leave("1")
    await until(room, "1", "9", "2")
    await room.leave("2")
    await until(room, "1", "9", "2", "3")
    for name in ("3", "9"):
        await room.leave(name)


async def test_whoever_waits_in_line_does_not_hold_up_a_late_question_before_it(
    store: SqliteStore,
) -> None:
    room = Room(store, 1)
    await room.come("1", thread="0")
    await room.come("6", thread="4")  # stands in line
    await room.come("5", thread="4")  # asked earlier, delivered later
    await room.leave("1")
    await until(room, "1", "6")
    await room.leave("6")
    await until(room, "1", "6", "5")
    await room.leave("5")


async def test_who_joins_the_line_late_but_was_accepted_early_does_not_hold_it_up(
    store: SqliteStore,
) -> None:
    room = Room(store, 1)
    await room.come("1", thread="0")
    await room.come("5")
    await room.come("2", thread="0")  # waits behind "1", not in line
    await room.come("6")
    await room.leave("1")
    await until(room, "1", "5")
    await room.leave("5")
    await until(room, "1", "5", "2")
    await room.leave("2")
    await until(room, "1", "5", "2", "6")
    await room.leave("6")
