"""The contract of the store, over every implementation; then what only Redis can do."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import SystemClock
from bot.errors import StoreUnavailable
from bot.store import ASKED_DAYS, ASKERS, BEGINS, BEHIND_A_REPLY, CLAIM_HOURS, LEASE_S, News, Store
from bot.store.ledger import Claim, Live, Spent
from bot.store.redis import RedisStore
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question, TurnKey
from tests.fake_clock import FakeClock
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture

QUESTION = Question(
    team="T1", channel="C1", user="U1", ts="1700000000.000100", surface="channel", text="private"
)
KEY = QUESTION.key
EDITS = Claim("T1:edits", 10, 60.0)
DYING_S = 0.3
"""The leases of a process that is about to die."""
PREFIXES = (f"{random.randrange(10**6)}-{number}:" for number in itertools.count())


def asked(number: int, thread: int | None = None) -> Question:
    """Question `number` in a channel: it starts a thread, or belongs to one."""
    root = None if thread is None else f"1600000000.{thread:06}"
    return replace(QUESTION, ts=f"1700000000.{number:06}", thread_ts=root)


async def accepted(store: Store, *questions: Question) -> list[TurnKey]:
    """The keys of `questions`, which the store takes in this order."""
    for question in questions:
        assert await store.accept(question)
    return [question.key for question in questions]


async def open_keys(store: Store) -> list[TurnKey]:
    return [turn.question.key for turn in await store.abandoned()]


class Backend(Protocol):
    """One implementation with data of its own."""

    async def open(self, *, lease_s: float = LEASE_S) -> Store:
        """The store of another process (SQLite has one at a time)."""

    async def killed(self, store: Store) -> None:
        """The process of `store`, opened with DYING_S, goes without a word; its leases end."""

    async def pass_s(self, seconds: float) -> None:
        """Let time go by."""

    def wall(self) -> float:
        """What time it is for the store."""


@dataclass
class Sqlite:
    directory: Path
    clock: FakeClock = field(default_factory=FakeClock)

    async def open(self, *, lease_s: float = LEASE_S) -> SqliteStore:
        return await SqliteStore.open(str(self.directory), self.clock)

    async def killed(self, store: Store) -> None:
        await store.close()

    async def pass_s(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    def wall(self) -> float:
        return self.clock.wall()


@dataclass
class RedisProcesses:
    server: RedisServer
    prefix: str = field(default_factory=lambda: next(PREFIXES))

    async def open(self, *, owner: str | None = None, lease_s: float = LEASE_S) -> RedisStore:
        return await RedisStore.open(
            self.server.url, SystemClock(), prefix=self.prefix, owner=owner, lease_s=lease_s
        )

    async def killed(self, store: Store) -> None:
        await self.pass_s(DYING_S + 0.01)
        await store.close()

    async def pass_s(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def wall(self) -> float:
        return time.time()


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    return RedisProcesses(request.getfixturevalue("redis_server"))


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    opened = await backend.open()
    yield opened
    await opened.close()


@pytest.fixture
async def after(backend: Backend) -> AsyncIterator[Callable[[Store], Awaitable[Store]]]:
    """The store of the process that comes after the one that was killed."""
    async with AsyncExitStack() as stack:

        async def opened(dying: Store) -> Store:
            await backend.killed(dying)
            successor = await backend.open()
            stack.push_async_callback(successor.close)
            return successor

        yield opened


After = Callable[[Store], Awaitable[Store]]


# --- the journal ------------------------------------------------------------------------------


async def test_a_question_is_accepted_once(store: Store) -> None:
    assert await store.accept(QUESTION)
    assert not await store.accept(QUESTION)
    assert await store.accept(replace(QUESTION, run=1))


async def test_a_claim_outlives_the_settling_and_the_process(
    backend: Backend, after: After
) -> None:
    dying = await backend.open(lease_s=DYING_S)
    await accepted(dying, QUESTION)
    await dying.settle(KEY, Outcome.COMPLETE)
    assert not await (await after(dying)).accept(QUESTION)


async def test_open_turns_come_back_with_their_messages_and_without_text(
    backend: Backend, after: After
) -> None:
    question = replace(
        QUESTION,
        thread_ts="1700000000.000001",
        user_team="T2",
        is_shared=True,
        reuses=True,
        continues=True,
        in_doubt=True,
        run=3,
        files=({"id": "F1"},),
        attachments=({"text": "forwarded"},),
    )
    dying, accepted_at = await backend.open(lease_s=DYING_S), backend.wall()
    await accepted(dying, question)
    for part, ts in (0, "1700000001.000100"), (1, "1700000002.000100"), (1, "1700000003.000100"):
        await dying.note_message(question.key, part, ts)
    (entry,) = await (await after(dying)).abandoned()
    assert entry.question == replace(question, text="", files=(), attachments=())
    assert entry.messages == {0: "1700000001.000100", 1: "1700000003.000100"}
    assert entry.accepted_at == pytest.approx(accepted_at, abs=1.0)
    assert entry.begins is None


async def test_a_message_that_was_about_to_begin_is_told_from_one_that_has(
    backend: Backend, after: After
) -> None:
    dying = await backend.open(lease_s=DYING_S)
    await accepted(dying, QUESTION)
    await dying.note_message(KEY, 0, "1700000001.000100")
    await dying.note_message(KEY, 1, BEGINS)
    store = await after(dying)
    (entry,) = await store.abandoned()
    assert (entry.messages, entry.begins) == ({0: "1700000001.000100"}, 1)
    assert await store.take_up(KEY)
    await store.note_message(KEY, 1, "1700000002.000100")
    await store.release(KEY)
    (entry,) = await store.abandoned()
    assert entry.messages == {0: "1700000001.000100", 1: "1700000002.000100"}
    assert entry.begins is None


async def test_open_turns_come_back_oldest_first(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    keys = await accepted(dying, asked(3), asked(1), asked(2))
    assert await open_keys(await after(dying)) == keys


async def test_a_turn_is_open_until_it_is_settled(store: Store) -> None:
    assert not await store.is_open(KEY)
    await accepted(store, QUESTION)
    assert await store.is_open(KEY)
    assert not await store.is_open(replace(KEY, run=1))
    await store.release(KEY)
    assert await store.is_open(KEY)
    await store.settle(KEY, Outcome.STOPPED)
    assert not await store.is_open(KEY)


async def test_the_turns_of_the_living_are_not_abandoned(store: Store) -> None:
    await accepted(store, QUESTION)
    assert await store.abandoned() == []
    assert await store.renew([KEY]) == set()


async def test_settled_turns_are_not_open(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    await accepted(dying, QUESTION)
    await dying.settle(KEY, Outcome.FAILED)
    assert await dying.renew([KEY]) == {KEY}
    successor = await after(dying)
    assert await successor.abandoned() == []
    assert not await successor.take_up(KEY)


async def test_an_abandoned_turn_is_taken_up_once(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    await accepted(dying, QUESTION)
    successor = await after(dying)
    assert await successor.take_up(KEY)
    assert await successor.abandoned() == []
    assert await successor.renew([KEY]) == set()


async def test_a_released_turn_can_be_taken_up_at_once(store: Store) -> None:
    await accepted(store, QUESTION)
    await store.release(KEY)
    assert await open_keys(store) == [KEY]
    assert await store.renew([KEY]) == {KEY}
    assert await store.take_up(KEY)
    assert await store.abandoned() == []


async def test_nobody_takes_up_what_is_not_there(store: Store) -> None:
    assert not await store.take_up(KEY)
    assert await store.count_try(KEY) == 0
    await store.release(KEY)


async def test_tries_are_counted_unless_they_were_none(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    await accepted(dying, QUESTION)
    assert [await dying.count_try(KEY) for _ in range(3)] == [1, 2, 3]
    await dying.release(KEY, tried=False)
    successor = await after(dying)
    assert await successor.take_up(KEY)
    assert await successor.count_try(KEY) == 3
    await successor.release(KEY)
    assert await successor.take_up(KEY)
    assert await successor.count_try(KEY) == 4


async def test_tries_do_not_fall_below_zero(store: Store) -> None:
    await accepted(store, QUESTION)
    await store.release(KEY, tried=False)
    assert await store.take_up(KEY)
    assert await store.count_try(KEY) == 1


async def test_the_next_run_ends_the_one_before(backend: Backend, after: After) -> None:
    dying, other = await backend.open(lease_s=DYING_S), asked(7)
    again = replace(QUESTION, run=1)
    await accepted(dying, QUESTION, other, again)
    assert await dying.renew([KEY, other.key, again.key]) == {KEY}
    assert await dying.take_place(again.key, 1) == 0
    assert await open_keys(await after(dying)) == [other.key, again.key]


async def test_old_claims_are_forgotten_but_open_turns_are_not(tmp_path: Path) -> None:
    backend = Sqlite(tmp_path)
    store, still_open = await backend.open(), asked(2)
    await accepted(store, QUESTION, still_open)
    await store.settle(KEY, Outcome.COMPLETE)
    await store.close()
    await backend.pass_s(CLAIM_HOURS * 3_600 + 1)
    second = await backend.open()
    assert await open_keys(second) == [still_open.key]
    assert await second.accept(QUESTION)
    await second.close()


async def test_the_sqlite_file_holds_no_text(tmp_path: Path) -> None:
    store = await Sqlite(tmp_path).open()
    await accepted(store, QUESTION)
    await store.close()
    assert b"private" not in (tmp_path / "bot.sqlite3").read_bytes()


VERBS: dict[str, Callable[[Store], Coroutine[Any, Any, object]]] = {
    "accept": lambda store: store.accept(QUESTION),
    "abandoned": lambda store: store.abandoned(),
    "take_up": lambda store: store.take_up(KEY),
    "count_try": lambda store: store.count_try(KEY),
    "release": lambda store: store.release(KEY, tried=False),
    "is_open": lambda store: store.is_open(KEY),
    "note_message": lambda store: store.note_message(KEY, 0, "1700000000.000200"),
    "settle": lambda store: store.settle(KEY, Outcome.COMPLETE),
    "asked_in": lambda store: store.asked_in(*THREAD),
    "note_askers": lambda store: store.note_askers(*THREAD, {"U1": KEY.ts}),
    "ping": lambda store: store.ping(),
    "ledger.take": lambda store: store.ledger.take([EDITS], {}),
    "ledger.put_off": lambda store: store.ledger.put_off([EDITS.budget]),
    "ledger.give_back": lambda store: store.ledger.give_back([EDITS.budget]),
    "ledger.pause": lambda store: store.ledger.pause(EDITS.budget, Spent(paused_s=1.0)),
}
ONLY_SHARED: dict[str, Callable[[Store], Coroutine[Any, Any, object]]] = {
    "renew": lambda store: store.renew([KEY]),
    "take_place": lambda store: store.take_place(KEY, 1),
    "tell": lambda store: store.tell(News("deleted", "T1", "C1", KEY.ts)),
    "peers": lambda store: store.peers(),
    "ledger.exchange": lambda store: store.ledger.exchange("T1", Live()),
}
"""What SQLite does in memory."""


@pytest.mark.parametrize("verb", VERBS)
async def test_a_closed_store_is_unavailable(backend: Backend, verb: str) -> None:
    store = await backend.open()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await VERBS[verb](store)


def test_a_key_can_be_written_and_read() -> None:
    key = TurnKey("T1", "C1", "1700000000.000100", 2)
    assert TurnKey.parse(str(key)) == key


# --- places -----------------------------------------------------------------------------------


async def test_places_are_given_in_the_order_of_acceptance(store: Store) -> None:
    keys = await accepted(store, asked(3), asked(1), asked(4), asked(2))
    assert [await store.take_place(key, 2) for key in keys] == [0, 0, 1, 2]
    assert await store.take_place(keys[0], 2) == 0, "it has one"
    await store.settle(keys[1], Outcome.COMPLETE)
    assert await store.take_place(keys[3], 2) == 1, "the free one is not for the second in line"
    assert await store.take_place(keys[2], 2) == 0
    await store.release(keys[0])
    assert await store.take_place(keys[3], 2) == 0


async def test_who_comes_to_the_line_late_stands_where_it_was_accepted(store: Store) -> None:
    keys = await accepted(store, asked(1), asked(2), asked(3))
    assert await store.take_place(keys[0], 1) == 0
    assert await store.take_place(keys[2], 1) == 1
    assert await store.take_place(keys[1], 1) == 1
    assert await store.take_place(keys[2], 1) == 2


async def test_one_reply_at_a_time_in_a_thread_in_the_order_of_the_questions(
    store: Store,
) -> None:
    third, first, second = await accepted(store, asked(3, 1), asked(1, 1), asked(2, 1))
    assert [await store.take_place(key, 9) for key in (third, second)] == [BEHIND_A_REPLY] * 2
    assert await store.take_place(first, 9) == 0
    assert await store.take_place(second, 9) == BEHIND_A_REPLY
    await store.settle(first, Outcome.COMPLETE)
    assert await store.take_place(third, 9) == BEHIND_A_REPLY, "an earlier one waits"
    assert await store.take_place(second, 9) == 0
    await store.release(second)
    assert await store.take_place(third, 9) == 0
    assert await store.take_up(second)
    assert await store.take_place(second, 9) == BEHIND_A_REPLY, "a later one replies"


async def test_who_waits_in_a_thread_holds_nobody_up_in_the_line(store: Store) -> None:
    replying, waiting, other = await accepted(store, asked(1, 1), asked(2, 1), asked(3))
    assert await store.take_place(replying, 1) == 0
    assert await store.take_place(waiting, 1) == BEHIND_A_REPLY
    assert await store.take_place(other, 1) == 1
    assert await store.take_place(waiting, 2) == BEHIND_A_REPLY
    assert await store.take_place(other, 2) == 0


async def test_an_earlier_question_that_comes_late_does_not_overtake_the_line(
    store: Store,
) -> None:
    other, later = await accepted(store, asked(9), asked(2, 1))
    assert await store.take_place(other, 1) == 0
    assert await store.take_place(later, 1) == 1
    (earlier,) = await accepted(store, asked(1, 1))
    assert await store.take_place(earlier, 1) == 2
    await store.settle(other, Outcome.COMPLETE)
    assert await store.take_place(later, 1) == 0
    assert await store.take_place(earlier, 1) == BEHIND_A_REPLY


async def test_what_counts_as_one_thread(store: Store) -> None:
    flat = replace(QUESTION, channel="D1", surface="direct")
    root, reply, same_ts, *direct = await accepted(
        store,
        QUESTION,
        replace(QUESTION, ts="1700000000.000200", thread_ts=QUESTION.ts),
        replace(QUESTION, channel="C2", ts="1700000000.000300", thread_ts=QUESTION.ts),
        flat,
        replace(flat, ts="1700000000.000200"),
        replace(flat, ts="1700000000.000300", thread_ts=QUESTION.ts),
    )
    numbers = [await store.take_place(key, 9) for key in (root, reply, same_ts, *direct)]
    assert numbers == [0, BEHIND_A_REPLY, 0, 0, BEHIND_A_REPLY, 0]


async def test_an_abandoned_turn_keeps_its_thread_waiting(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    first, second = await accepted(dying, asked(1, 1), asked(2, 1))
    successor = await after(dying)
    assert await successor.take_up(second)
    assert await successor.take_place(second, 9) == BEHIND_A_REPLY
    assert await successor.take_up(first)
    await successor.settle(first, Outcome.INTERRUPTED)
    assert await successor.take_place(second, 9) == 0


# --- who has asked in a thread ----------------------------------------------------------------

THREAD = ("T1", "C1", QUESTION.ts)
FOLLOW_UP = replace(QUESTION, ts="1700000000.000200", thread_ts=QUESTION.ts)
FOLLOW_UP_AGAIN = replace(FOLLOW_UP, ts="1700000000.000300")


async def test_who_asks_in_a_channel_has_asked_in_that_thread(
    backend: Backend, after: After
) -> None:
    dying = await backend.open(lease_s=DYING_S)
    assert await dying.asked_in(*THREAD) == {}
    await accepted(dying, QUESTION, replace(FOLLOW_UP, user="U2"), FOLLOW_UP_AGAIN)
    await dying.settle(KEY, Outcome.FAILED)
    successor = await after(dying)
    assert await successor.asked_in(*THREAD) == {"U1": KEY.ts, "U2": FOLLOW_UP.ts}
    for other in (("T2", *THREAD[1:]), ("T1", "C2", KEY.ts), ("T1", "C1", FOLLOW_UP.ts)):
        assert await successor.asked_in(*other) == {}


async def test_who_writes_directly_or_is_in_doubt_does_not_count_among_the_askers(
    store: Store,
) -> None:
    await accepted(
        store,
        replace(QUESTION, in_doubt=True),
        replace(FOLLOW_UP, surface="direct"),
        replace(QUESTION, channel="D1", surface="direct"),
    )
    assert await store.asked_in(*THREAD) == {}
    assert await store.asked_in("T1", "D1", KEY.ts) == {}


async def test_a_question_that_was_claimed_before_adds_no_asker(store: Store) -> None:
    await accepted(store, QUESTION)
    assert not await store.accept(replace(QUESTION, user="U2"))
    assert await store.asked_in(*THREAD) == {"U1": KEY.ts}


async def test_who_was_declined_has_not_asked(store: Store) -> None:
    await accepted(store, QUESTION, replace(FOLLOW_UP, user="U2"))
    await store.settle(FOLLOW_UP.key, Outcome.DECLINED)
    assert await store.asked_in(*THREAD) == {"U1": KEY.ts}
    await store.settle(KEY, Outcome.DECLINED)
    assert await store.asked_in(*THREAD) == {}
    await accepted(store, FOLLOW_UP_AGAIN)
    assert await store.asked_in(*THREAD) == {"U1": FOLLOW_UP_AGAIN.ts}


async def test_who_was_ignored_has_not_asked_unless_before(store: Store) -> None:
    await accepted(store, QUESTION, FOLLOW_UP, replace(FOLLOW_UP_AGAIN, user="U2"))
    for key in (FOLLOW_UP.key, FOLLOW_UP_AGAIN.key):
        await store.settle(key, Outcome.IGNORED)
    assert await store.asked_in(*THREAD) == {"U1": KEY.ts}


async def test_askers_can_be_noted(store: Store) -> None:
    await store.note_askers(*THREAD, {})
    await store.note_askers(*THREAD, {"U2": "2.0", "U3": "3.0"})
    await store.note_askers(*THREAD, {"U2": "1.0", "U3": "4.0"})
    assert await store.asked_in(*THREAD) == {"U2": "1.0", "U3": "3.0"}


async def test_of_many_askers_the_last_ones_are_kept(store: Store) -> None:
    users = [f"U{number}" for number in range(ASKERS + 2)]
    for user in [*users, users[2]]:
        await store.note_askers(*THREAD, {user: KEY.ts})
    await store.note_askers("T1", "C1", FOLLOW_UP.ts, {"U9999": KEY.ts})
    assert (await store.asked_in(*THREAD)).keys() == set(users[2:])
    await store.note_askers(*THREAD, {"U1000": FOLLOW_UP.ts})
    assert (await store.asked_in(*THREAD)).keys() == {*users[2:3], *users[4:], "U1000"}
    await store.note_askers(*THREAD, {users[0]: FOLLOW_UP.ts})
    assert (await store.asked_in(*THREAD))[users[0]] == FOLLOW_UP.ts


async def test_a_store_that_lasts_remembers_since_it_was_made(
    backend: Backend, after: After
) -> None:
    dying = await backend.open(lease_s=DYING_S)
    since = dying.remembers_since
    assert since == pytest.approx(backend.wall(), abs=5.0)
    await backend.pass_s(0.05)
    successor = await after(dying)
    await successor.asked_in(*THREAD)
    assert successor.remembers_since == since


async def test_askers_are_forgotten_after_a_month(tmp_path: Path) -> None:
    backend = Sqlite(tmp_path)
    store = await backend.open()
    await accepted(store, QUESTION, replace(FOLLOW_UP, user="U2"))
    await backend.pass_s(ASKED_DAYS * 86_400 - 1)
    await store.note_askers(*THREAD, {"U2": FOLLOW_UP.ts})
    await backend.pass_s(1)
    assert await store.asked_in(*THREAD) == {"U2": FOLLOW_UP.ts}
    await store.close()
    second = await backend.open()
    assert await second.asked_in(*THREAD) == {"U2": FOLLOW_UP.ts}
    assert await second._file.do(lambda: _rows(second)) == 1
    await second.close()


def _rows(store: SqliteStore) -> int:
    return int(store._file.db.execute("SELECT count(*) FROM askers").fetchone()[0])


# --- the ledger -------------------------------------------------------------------------------


async def test_a_new_store_has_no_memory(store: Store) -> None:
    assert await store.ledger.recall() is None


async def test_a_restart_forgets_nothing_that_was_spent(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    for late in ({}, {"T1:edits": [30.0, 5.0], "T1:reads": [2.0]}, {}):
        assert (await dying.ledger.take([EDITS], late)).ok
    await dying.ledger.give_back(["T1:edits"])
    await dying.ledger.pause("T2:edits", Spent(paused_s=40.0, share=0.8))
    await dying.ledger.pause("T2:edits", Spent(paused_s=3.0, share=0.5))
    recalled = await (await after(dying)).ledger.recall()
    assert recalled is not None and recalled.keys() == {"T1:edits", "T1:reads", "T2:edits"}
    assert recalled["T1:edits"].ages_s == pytest.approx((30.0, 5.0, 0.0, 0.0), abs=1.0)
    assert recalled["T1:reads"].ages_s == pytest.approx((2.0,), abs=1.0)
    assert recalled["T1:edits"].share == 1.0 and recalled["T1:edits"].paused_s < -1e6
    assert recalled["T2:edits"].paused_s == pytest.approx(40.0, abs=1.0)
    assert recalled["T2:edits"].share == 0.8


async def test_a_call_can_be_put_off(backend: Backend, after: After) -> None:
    dying = await backend.open(lease_s=DYING_S)
    for _ in range(2):
        await dying.ledger.take([EDITS], {})
        await backend.pass_s(0.03)
    await dying.ledger.put_off(["T1:edits", "T1:reads"])
    await backend.pass_s(0.03)
    recalled = await (await after(dying)).ledger.recall()
    assert recalled is not None
    older_s, newer_s = recalled["T1:edits"].ages_s
    assert older_s - newer_s > 0.059


# --- the same answers -------------------------------------------------------------------------

ASKED = [asked(0, 1), asked(1, 1), asked(2, 2), asked(3, 1), asked(4, 2), asked(5, 3), asked(6, 4)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["place", "place", "place", "settle", "release", "take_up", "again"]),
        st.integers(0, len(ASKED) - 1),
    ),
    min_size=5,
    max_size=25,
)


async def answers(store: Store, order: list[int], steps: list[tuple[str, int]]) -> list[object]:
    """What the store says to one process, which asks only about turns that it has leased."""
    said, runs, handed_over = list[object](), dict.fromkeys(order, 0), set[TurnKey]()
    leased = dict(zip(order, await accepted(store, *(ASKED[n] for n in order)), strict=True))
    for verb, number in steps:
        key = replace(ASKED[number].key, run=runs[number])
        match verb:
            # Where a turn that was handed over stands in line is up to the store.
            case "place" if number in leased and key not in handed_over:
                said.append(await store.take_place(key, 2))
            case "settle":
                said.append(await store.settle(key, Outcome.COMPLETE))
                leased.pop(number, None)
            case "release" if number in leased:
                said.append(await store.release(leased.pop(number)))
                handed_over.add(key)
            case "take_up" if number not in leased:
                said.append(is_mine := await store.take_up(key))
                leased |= {number: key} if is_mine else {}
            case "again":
                runs[number] += 1
                (leased[number],) = await accepted(store, replace(ASKED[number], run=runs[number]))
    return [*said, await open_keys(store), await store.renew(leased.values())]


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(len(ASKED))), steps=STEPS)
async def test_both_stores_give_the_same_answers(
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    steps: list[tuple[str, int]],
) -> None:
    said = []
    for backend in (Sqlite(tmp_path_factory.mktemp("s")), RedisProcesses(redis_server)):
        opened = await backend.open()
        said.append(await answers(opened, order, steps))
        await opened.close()
    assert said[0] == said[1]
