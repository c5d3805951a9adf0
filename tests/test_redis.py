"""What only Redis can do: several processes, and a server that goes away. The contract of the
store is in `test_store.py`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from bot.clock import SystemClock
from bot.errors import StoreUnavailable
from bot.store import ASKED_DAYS, BEHIND_A_REPLY, CLAIM_HOURS, LEASE_S, News
from bot.store.ledger import Claim, Demand, Live, Spent
from bot.store.redis import RedisStore
from bot.store.redis import ledger as ledger_module
from bot.store.redis import link as link_module
from bot.turn import Outcome
from tests.redis_server import RedisServer, need, redis_server
from tests.test_store import (
    DYING_S,
    EDITS,
    KEY,
    ONLY_SHARED,
    QUESTION,
    VERBS,
    RedisProcesses,
    accepted,
    asked,
    open_keys,
)

__all__ = ["redis_server"]  # a fixture

Open = Callable[..., Awaitable[RedisStore]]


@asynccontextmanager
async def opening(server: RedisServer) -> AsyncIterator[Open]:
    """Opens stores with a prefix of their own, one for each process."""
    processes = RedisProcesses(server)
    async with AsyncExitStack() as stack:

        async def opened(*, owner: str | None = None, lease_s: float = LEASE_S) -> RedisStore:
            store = await processes.open(owner=owner, lease_s=lease_s)
            stack.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture
async def process(redis_server: RedisServer) -> AsyncIterator[Open]:
    async with opening(redis_server) as opened:
        yield opened


@pytest.fixture
def own_server(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def own_process(own_server: RedisServer) -> AsyncIterator[Open]:
    async with opening(own_server) as opened:
        yield opened


@asynccontextmanager
async def looking_at(store: RedisStore, server: RedisServer) -> AsyncIterator[tuple[Redis, str]]:
    """A client of the test's own, and the prefix of the store's keys."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        yield client, store._link.channel.removesuffix("news")


async def test_askers_are_forgotten_after_a_month(process: Open, redis_server: RedisServer) -> None:
    store = await process()
    await accepted(store, QUESTION)
    async with looking_at(store, redis_server) as (client, prefix):
        asked = f"{prefix}asked:T1:C1:{KEY.ts}"
        month_s = ASKED_DAYS * 86_400
        assert month_s - 60 < await client.ttl(asked) <= month_s
        assert month_s - 60 < await client.ttl(asked.replace(":asked:", ":first:")) <= month_s
        await client.zadd(asked, {"U2": (time.time() - month_s - 60) * 1e6})
    assert await store.asked_in("T1", "C1", KEY.ts) == {"U1": KEY.ts}


async def test_a_redis_that_came_back_empty_says_so_when_it_is_asked_for_askers(
    process: Open, redis_server: RedisServer
) -> None:
    store = await process()
    since = store.remembers_since
    async with looking_at(store, redis_server) as (client, prefix):
        await client.delete(f"{prefix}since")
    assert await store.asked_in("T1", "C1", KEY.ts) == {}
    assert store.remembers_since > since


# --- several processes ------------------------------------------------------------------------


async def test_of_many_that_accept_a_question_one_does(process: Open) -> None:
    stores = [await process() for _ in range(2)]
    said = await asyncio.gather(*(stores[n % 2].accept(QUESTION) for n in range(40)))
    assert sorted(said) == [False] * 39 + [True]


async def test_of_many_that_take_up_a_turn_one_does(process: Open) -> None:
    dying, *stores = await process(lease_s=DYING_S), await process(), await process()
    keys = await accepted(dying, *(asked(number) for number in range(8)))
    assert not await stores[0].take_up(keys[0]), "its owner lives"
    await asyncio.sleep(DYING_S + 0.01)
    for key in keys:
        assert sorted(await asyncio.gather(*(one.take_up(key) for one in stores))) == [False, True]
    assert await dying.renew(keys) == set(keys)
    assert await dying.take_place(keys[0], 9) == BEHIND_A_REPLY
    await dying.release(keys[0])
    assert await stores[0].abandoned() == [], "only who has it can release it"


async def test_a_turn_that_nobody_took_up_is_still_its_owners(process: Open) -> None:
    asleep, awake = await process(owner="one", lease_s=DYING_S), await process(owner="one")
    other = await process()
    await accepted(asleep, QUESTION)
    await asyncio.sleep(DYING_S + 0.01)
    assert await open_keys(other) == [KEY]
    assert await awake.renew([KEY]) == set()
    assert await open_keys(other) == []
    assert not await other.take_up(KEY)


async def test_a_take_up_whose_answer_was_lost_can_be_repeated(process: Open) -> None:
    first, second = await process(), await process()
    await accepted(first, QUESTION)
    await first.release(KEY)
    assert [await second.take_up(KEY), await second.take_up(KEY)] == [True, True]
    assert not await first.take_up(KEY)


async def test_the_processes_know_how_many_they_are(process: Open) -> None:
    first, second = await process(lease_s=DYING_S), await process()
    assert await second.peers() == 1
    assert await first.peers() == 1
    await asyncio.sleep(DYING_S + 0.01)
    assert await first.peers() == 0, "it has heard of nobody for as long as its lease lasts"
    await second.renew([])
    assert await first.peers() == 1
    await second.close()
    assert await first.peers() == 0


async def test_a_settled_turn_that_was_never_accepted_is_not_answered(process: Open) -> None:
    store = await process()
    await store.settle(KEY, Outcome.GONE)
    assert not await store.accept(QUESTION)


async def test_there_are_never_more_replies_than_places(process: Open) -> None:
    stores = [await process() for _ in range(3)]
    keys = [
        await accepted(store, *(asked(10 * n + m) for m in range(8)))
        for n, store in enumerate(stores)
    ]
    everybody = [(store, key) for store, own in zip(stores, keys, strict=True) for key in own]
    for _ in range(2):
        numbers = await asyncio.gather(*(store.take_place(key, 5) for store, key in everybody))
    assert numbers.count(0) == 5
    assert sorted(numbers)[5:] == list(range(1, 20))


async def test_the_line_does_not_wait_for_the_dead_but_their_places_are_taken(
    process: Open,
) -> None:
    dying, living = await process(lease_s=DYING_S), await process()
    replying, waiting = await accepted(dying, asked(1), asked(2))
    (other,) = await accepted(living, asked(3))
    assert [await dying.take_place(key, 1) for key in (replying, waiting)] == [0, 1]
    assert await living.take_place(other, 1) == 2
    await asyncio.sleep(DYING_S + 0.01)
    assert await living.take_place(other, 1) == 2, "the reply will be taken up"
    assert await living.take_up(replying)
    assert await living.take_place(replying, 1) == 0
    await living.settle(replying, Outcome.INTERRUPTED)
    assert await living.take_place(other, 1) == 0


async def test_a_turn_that_was_handed_over_keeps_its_number_in_line(process: Open) -> None:
    store = await process()
    replying, first, second = await accepted(store, asked(1), asked(2), asked(3))
    await store.take_place(replying, 1)
    await store.release(first)
    assert await store.take_up(first)
    assert [await store.take_place(key, 1) for key in (second, first)] == [1, 1]
    assert await store.take_place(second, 1) == 2


# --- the ledger -------------------------------------------------------------------------------


async def test_processes_together_do_not_spend_more_than_the_limit(process: Open) -> None:
    stores = [await process() for _ in range(2)]
    kept = replace(EDITS, limit=12, kept=2)
    taken = await asyncio.gather(*(stores[n % 2].ledger.take([kept], {}) for n in range(30)))
    assert sum(one.ok for one in taken) == 10
    last = await stores[0].ledger.take([replace(kept, kept=0)], {})
    assert last.ok and len(last.spent["T1:edits"].ages_s) == 11


async def test_a_call_is_counted_in_every_budget_or_in_none(process: Open) -> None:
    ledger = (await process()).ledger
    posts = Claim("T1:posts:C1", 1, 60.0)
    assert (await ledger.take([EDITS, posts], {})).ok
    refused = await ledger.take([EDITS, posts], {"T1:edits": [7.0], "T1:reads": [8.0]})
    assert not refused.ok
    counted = {budget: len(spent.ages_s) for budget, spent in refused.spent.items()}
    assert counted == {"T1:edits": 2, "T1:posts:C1": 1, "T1:reads": 1}, "what is late has been"


async def test_the_window_slides(process: Open) -> None:
    ledger, claim = (await process()).ledger, Claim("T1:posts:C1", 1, 0.05)
    assert [(await ledger.take([claim], {})).ok for _ in range(2)] == [True, False]
    await asyncio.sleep(0.06)
    assert (await ledger.take([claim], {})).ok


async def test_a_pause_is_a_pause_for_all_and_the_longer_one_stays(process: Open) -> None:
    first, second = (await process()).ledger, (await process()).ledger
    await first.pause("T1:edits", Spent(paused_s=30.0, share=0.8))
    await second.pause("T1:edits", Spent(paused_s=3.0, share=0.5))
    refused = await second.take([EDITS], {})
    assert not refused.ok
    assert refused.spent["T1:edits"].paused_s == pytest.approx(30.0, abs=1.0)
    assert refused.spent["T1:edits"].share == 0.8
    await second.pause("T2:edits", Spent(paused_s=0.02, share=0.5))
    await asyncio.sleep(0.03)
    over = await first.take([replace(EDITS, budget="T2:edits")], {})
    assert over.ok
    assert -1.0 < over.spent["T2:edits"].paused_s < 0.0
    assert over.spent["T2:edits"].share == 0.5


async def test_a_process_takes_back_only_calls_of_its_own(process: Open) -> None:
    first, second = (await process()).ledger, (await process()).ledger
    await first.take([EDITS], {"T1:edits": [20.0]})
    await second.take([EDITS], {})
    await first.give_back(["T1:edits"])
    await first.put_off(["T1:edits"])
    _, spent = await second.exchange("T1", Live())
    assert spent["T1:edits"].ages_s == pytest.approx((0.0, 0.0), abs=1.0), "the late one is now"
    await first.give_back(["T1:edits", "T1:edits", "T1:reads"])
    _, spent = await second.exchange("T1", Live())
    assert len(spent["T1:edits"].ages_s) == 1


async def test_processes_tell_each_other_of_their_live_replies(
    process: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (await process()).ledger, (await process()).ledger
    await first.take([EDITS, Claim("T1:posts:C1", 1, 1.0), replace(EDITS, budget="T2:edits")], {})
    assert (await first.exchange("T1", Live(Demand(3, (1.26, 0.5)), Demand(2, (0.71,)), 0.25)))[
        0
    ] == []
    told, spent = await second.exchange("T1", Live(Demand(1)))
    assert told == [Live(Demand(3, (1.3, 0.5)), Demand(2, (0.7,)), 0.25)]
    assert spent.keys() == {"T1:edits"}
    told, spent = await second.exchange("T2", Live())
    assert (told, spent.keys()) == ([], {"T2:edits"})
    await asyncio.sleep(0.02)
    monkeypatch.setattr(ledger_module, "STALE_S", 0.01)
    assert (await second.exchange("T1", Live()))[0] == [], "what was told long ago"


async def test_a_process_that_joins_others_learns_what_was_spent(process: Open) -> None:
    first = await process()
    assert await first.ledger.recall() is None
    await first.ledger.take([EDITS, Claim("T1:posts:C1", 1, 1.0)], {})
    recalled = await (await process()).ledger.recall()
    assert recalled is not None
    assert {budget: len(spent.ages_s) for budget, spent in recalled.items()} == {"T1:edits": 1}


# --- news -------------------------------------------------------------------------------------


@asynccontextmanager
async def hearing(store: RedisStore, server: RedisServer) -> AsyncIterator[asyncio.Queue[News]]:
    """The news that `store` hears from now on."""
    heard = asyncio.Queue[News]()

    async def hear() -> None:
        async for news in store.news():
            heard.put_nowait(news)

    task = asyncio.create_task(hear())
    await until_heard(store, server)
    yield heard
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until_heard(store: RedisStore, server: RedisServer) -> None:
    async with asyncio.timeout(5.0), looking_at(store, server) as (client, _):
        channel = store._link.channel
        while not dict(await client.pubsub_numsub(channel))[channel]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_what_a_process_tells_the_others_hear(
    process: Open, redis_server: RedisServer
) -> None:
    first, second = await process(), await process()
    async with hearing(first, redis_server) as by_first:
        told = [News("deleted", "T1", "C1", "1.2"), News("edited", "T1", "C1", "1.3")]
        await first.tell(told[0])
        await second.tell(told[0])
        await second.tell(told[1])
        assert [await by_first.get() for _ in told] == told
        assert by_first.empty(), "a process does not hear itself"


async def test_who_waits_elsewhere_hears_when_a_turn_ends_or_is_handed_over(
    process: Open, redis_server: RedisServer
) -> None:
    first, second = await process(), await process()
    direct = replace(QUESTION, channel="D1", surface="direct")
    threaded = replace(QUESTION, ts="1700000000.000300", thread_ts="1700000000.000001")
    async with hearing(first, redis_server) as heard:
        await accepted(second, QUESTION, direct, threaded)
        await second.settle(direct.key, Outcome.COMPLETE)
        assert await heard.get() == News("settled", "T1", "D1", "")
        await second.settle(direct.key, Outcome.COMPLETE)
        await second.settle(threaded.key, Outcome.COMPLETE)
        assert await heard.get() == News("settled", "T1", "C1", "1700000000.000001")
        await second.release(KEY)
        assert await heard.get() == News("released", "T1", "C1", QUESTION.ts)
        await accepted(second, replace(QUESTION, run=1))
        assert await heard.get() == News("settled", "T1", "C1", QUESTION.ts)
        assert heard.empty()


async def test_news_go_on_after_the_server_was_away(
    own_process: Open, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await own_process(), await own_process()
    async with hearing(first, own_server) as heard:
        for _ in range(2):
            await asyncio.to_thread(own_server.kill)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own_server.start)
            await until_heard(first, own_server)
            await second.tell(News("edited", "T1", "C1", "1.2"))
            assert await heard.get() == News("edited", "T1", "C1", "1.2")
    assert [record.message for record in caplog.records] == ["news_unheard"] * 2


async def test_news_end_with_the_store(process: Open, redis_server: RedisServer) -> None:
    store = await process()
    task = asyncio.ensure_future(anext(store.news()))
    await until_heard(store, redis_server)
    await store.close()
    with pytest.raises(StopAsyncIteration):
        await task


async def test_what_another_version_tells_is_left_alone(
    process: Open, redis_server: RedisServer
) -> None:
    store = await process()
    async with (
        hearing(store, redis_server) as heard,
        looking_at(store, redis_server) as (client, prefix),
    ):
        for kind in ("moved", "edited"):
            for said in ("?", "2", '["other"]', json.dumps(["other", kind, "T1", "C1", "1.2"])):
                await client.publish(f"{prefix}news", said)
        assert await heard.get() == News("edited", "T1", "C1", "1.2")


# --- a server that goes away ------------------------------------------------------------------


async def test_a_server_that_is_away_is_said_at_once_and_found_again(
    own_process: Open, own_server: RedisServer
) -> None:
    store = await own_process()
    await asyncio.to_thread(own_server.kill)
    began = time.monotonic()
    for verb in (VERBS | ONLY_SHARED).values():
        with pytest.raises(StoreUnavailable, match="redis: "):
            await verb(store)
    assert time.monotonic() - began < 2.0
    await asyncio.to_thread(own_server.start)
    assert await store.accept(QUESTION)


async def test_a_server_that_does_not_answer_is_not_waited_for(
    own_process: Open, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CALL_S", 0.2)
    store = await own_process()
    own_server.freeze()
    began = time.monotonic()
    verbs = [verb(store) for verb in (VERBS | ONLY_SHARED).values()]
    said = await asyncio.gather(*verbs, return_exceptions=True)
    assert time.monotonic() - began < 1.0
    assert {type(error) for error in said} == {StoreUnavailable}
    own_server.thaw()
    await store.ping()


async def test_scripts_are_loaded_again(process: Open, redis_server: RedisServer) -> None:
    store = await process()
    assert await store.accept(QUESTION)
    async with looking_at(store, redis_server) as (client, _):
        await client.script_flush()
    assert not await store.accept(QUESTION)


async def test_a_server_that_lost_its_data_stops_no_reply(
    own_process: Open, own_server: RedisServer
) -> None:
    store, other = await own_process(), await own_process()
    replying, waiting, foreign = await accepted(store, asked(1), asked(2), asked(3))
    assert [await store.take_place(key, 1) for key in (replying, waiting)] == [0, 1]
    await store.note_message(replying, 0, "1700000001.000100")
    await asyncio.to_thread(own_server.restart)
    assert not await other.take_up(replying)
    assert await other.renew([foreign]) == set()
    assert await store.take_place(waiting, 1) == BEHIND_A_REPLY, "who has the place is not known"
    assert other.is_doubtful
    assert await store.renew([replying, waiting]) == set()
    assert await store.take_place(replying, 1) == 0
    assert await store.take_place(waiting, 1) == BEHIND_A_REPLY
    await store.release(replying)
    (entry,) = await other.abandoned()
    assert entry.question == replace(asked(1), text="")
    assert entry.messages == {0: "1700000001.000100"}
    assert not await other.accept(asked(1))


async def test_leases_go_on_over_a_restart_that_kept_the_data(
    own_process: Open, own_server: RedisServer
) -> None:
    store, other = await own_process(), await own_process()
    await accepted(store, QUESTION)
    await asyncio.to_thread(lambda: own_server.restart(keep=True))
    assert not await other.take_up(KEY)
    assert await store.renew([KEY]) == set()
    assert not await store.accept(QUESTION)


async def test_a_cancelled_call_does_not_spoil_the_next_one(process: Open) -> None:
    store = await process()
    for _ in range(12):
        task = asyncio.create_task(store.abandoned())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [await store.accept(QUESTION), await store.peers()] == [True, 0]


# --- opening ----------------------------------------------------------------------------------


async def refusal(url: str) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        await RedisStore.open(url, SystemClock(), prefix="test:")
    return str(raised.value)


async def test_an_operator_is_told_what_to_look_at(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_server.stop()
    monkeypatch.setattr(link_module, "OPEN_S", 0.0)
    url = own_server.url.replace("//", "//:secret@")
    said = await refusal(url)
    assert "Check that Redis runs and that REDIS_URL leads to it." in said
    assert "secret" not in said


async def test_a_start_that_waits_for_redis_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "OPEN_S", 0.05)
    monkeypatch.setattr(link_module, "OPEN_AGAIN_S", 0.01)
    await refusal("redis://:secret@127.0.0.1:1/0")
    (told,) = [record for record in caplog.records if record.message == "redis_unreachable"]
    assert "secret" not in str(vars(told)) and vars(told)["fields"]["waits_s"] == 0.05


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@host",
        "redis://:sec/ret@host:1",
        "redis://:secret@host/0?db=secret",
        "secret",
    ],
)
async def test_an_unreadable_url_is_not_quoted(url: str) -> None:
    said = await refusal(url)
    assert said.startswith("redis: REDIS_URL cannot be read.")
    assert "sec" not in said.replace("redis://:password@", "")


async def test_a_wrong_password_is_said_at_once(redis_server: RedisServer) -> None:
    server = RedisServer("--requirepass", "right")
    server.start()
    try:
        began = time.monotonic()
        said = await refusal(server.url.replace("//", "//:wrong@"))
        assert time.monotonic() - began < 1.0
        assert "REDIS_URL" in said and "wrong@" not in said
        url = server.url.replace("//", "//:right@")
        store = await RedisStore.open(url, SystemClock(), prefix="test:")
        await store.close()
    finally:
        server.remove()


async def test_a_server_that_is_just_starting_is_waited_for(own_server: RedisServer) -> None:
    own_server.stop()
    opening = asyncio.create_task(RedisStore.open(own_server.url, SystemClock(), prefix="test:"))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(own_server.start)
    await (await opening).close()


@pytest.fixture
def secure_server(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that speaks TLS with a certificate of its own making, as Heroku's do."""
    need("openssl", "redis")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=redis", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server = RedisServer(certificate=certificate, key=key)
    server.start()
    yield server
    server.remove()


async def test_a_certificate_is_checked_only_on_request(
    secure_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = secure_server.url
    assert url.startswith("rediss://")
    store = await RedisStore.open(url, SystemClock(), prefix="test:")
    assert await store.accept(QUESTION)
    await store.close()
    monkeypatch.setattr(link_module, "OPEN_S", 0.0)
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(f"{url}?ssl_cert_reqs=required")


# --- what is stored ---------------------------------------------------------------------------


async def contents(client: Redis, key: str) -> object:
    match await client.type(key):
        case "hash":
            return await cast(Awaitable[dict[str, str]], client.hgetall(key))
        case "zset":
            return await client.zrange(key, 0, -1, withscores=True)
        case "set":
            return await cast(Awaitable[set[str]], client.smembers(key))
        case _:
            return await client.get(key)


async def test_every_key_has_the_prefix_ends_by_itself_and_holds_no_text(
    own_process: Open, own_server: RedisServer
) -> None:
    store = await own_process()
    settled, replying, waiting, released = await accepted(store, *(asked(n) for n in range(4)))
    await store.settle(settled, Outcome.COMPLETE)
    await store.take_place(replying, 1)
    await store.take_place(waiting, 1)
    await store.count_try(replying)
    await store.note_message(replying, 0, "1700000001.000100")
    await store.release(released)
    await store.ledger.take([EDITS, Claim("T1:posts:C1", 1, 1.0)], {"T1:reads": [1.0]})
    await store.ledger.pause("T1:edits", Spent(paused_s=3.0, share=0.8))
    await store.ledger.exchange("T1", Live(Demand(1, (1.0,)), rate_per_s=0.5))
    await store.renew([])
    async with looking_at(store, own_server) as (client, prefix):
        keys = {key: await client.ttl(key) for key in await client.keys("*")}
        assert {key.removeprefix(prefix).split(":")[0] for key in keys} == {
            *("turn", "open", "thread", "line", "places", "peers", "since"),
            *("asked", "first"),
            *("calls", "pause", "teams", "budgets", "live"),
        }
        names = (f"{prefix}asked:", f"{prefix}first:")
        asked_in = [key for key in keys if key.startswith(names)]
        assert all(0 < keys.pop(key) <= ASKED_DAYS * 86_400 for key in asked_in)
        assert all(0 < ttl <= CLAIM_HOURS * 3_600 for ttl in keys.values()), keys
        assert [key for key in keys if not key.startswith(prefix)] == []
        shown = {key: await contents(client, key) for key in (*keys, *asked_in)}
        assert "private" not in str(shown)
        assert shown[f"{prefix}turn:{settled}"] == {"outcome": "complete"}
        assert keys[f"{prefix}turn:{settled}"] > CLAIM_HOURS * 3_600 - 60


async def test_entries_that_went_away_by_themselves_hold_no_place(
    process: Open, redis_server: RedisServer
) -> None:
    store, other = await process(lease_s=DYING_S), await process()
    gone, first = await accepted(store, asked(1, 1), asked(2, 1))
    assert await store.take_place(gone, 1) == 0
    async with looking_at(store, redis_server) as (client, prefix):
        await client.delete(f"{prefix}turn:{gone}")
    await asyncio.sleep(DYING_S + 0.01)
    assert await open_keys(other) == [first]
    assert await open_keys(other) == [first]
    assert await other.take_up(first)
    assert await other.take_place(first, 1) == 0
