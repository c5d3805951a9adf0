"""The contract of the store, over every implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import StoreUnavailable
from bot.store import CLAIM_HOURS, Store
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question, TurnKey
from tests.fake_clock import FakeClock

QUESTION = Question(
    team="T1", channel="C1", user="U1", ts="1700000000.000100", surface="channel", text="private"
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Store]:
    opened = await SqliteStore.open(str(tmp_path), clock)
    yield opened
    await opened.close()


async def test_a_question_is_accepted_once(store: Store) -> None:
    assert await store.accept(QUESTION)
    assert not await store.accept(QUESTION)
    assert await store.accept(replace(QUESTION, run=1))


async def test_a_claim_outlives_the_settling_and_the_process(
    store: Store, tmp_path: Path, clock: FakeClock
) -> None:
    await store.accept(QUESTION)
    await store.settle(QUESTION.key, Outcome.COMPLETE)
    second = await SqliteStore.open(str(tmp_path), clock)
    assert not await second.accept(QUESTION)
    await second.close()


async def test_open_turns_come_back_with_their_messages_and_without_text(
    store: Store, clock: FakeClock
) -> None:
    question = replace(QUESTION, thread_ts="1700000000.000001", user_team="T2", is_shared=True)
    await store.accept(question)
    await store.note_message(question.key, 0, "1700000001.000100")
    await store.note_message(question.key, 1, "1700000002.000100")
    await store.note_message(question.key, 1, "1700000003.000100")
    (entry,) = await store.open_turns()
    assert entry.question == replace(question, text="")
    assert entry.messages == {0: "1700000001.000100", 1: "1700000003.000100"}
    assert entry.accepted_at == clock.wall()


async def test_tries_are_counted(store: Store) -> None:
    await store.accept(QUESTION)
    assert [await store.take_up(QUESTION.key) for _ in range(3)] == [1, 2, 3]


async def test_settled_turns_are_not_open(store: Store) -> None:
    await store.accept(QUESTION)
    await store.settle(QUESTION.key, Outcome.FAILED)
    assert await store.open_turns() == []


async def test_old_claims_are_forgotten_but_open_turns_are_not(
    store: Store, tmp_path: Path, clock: FakeClock
) -> None:
    await store.accept(QUESTION)
    await store.settle(QUESTION.key, Outcome.COMPLETE)
    still_open = replace(QUESTION, ts="1700000000.000200")
    await store.accept(still_open)
    await clock.advance(CLAIM_HOURS * 3_600 + 1)
    second = await SqliteStore.open(str(tmp_path), clock)
    assert [entry.question.ts for entry in await second.open_turns()] == [still_open.ts]
    assert await second.accept(QUESTION)
    await second.close()


async def test_the_journal_holds_no_text(tmp_path: Path, clock: FakeClock) -> None:
    store = await SqliteStore.open(str(tmp_path), clock)
    await store.accept(QUESTION)
    await store.close()
    assert b"private" not in (tmp_path / "bot.sqlite3").read_bytes()


async def test_a_closed_store_is_unavailable(tmp_path: Path, clock: FakeClock) -> None:
    store = await SqliteStore.open(str(tmp_path), clock)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()


def test_a_key_can_be_written_and_read() -> None:
    key = TurnKey("T1", "C1", "1700000000.000100", 2)
    assert TurnKey.parse(str(key)) == key
