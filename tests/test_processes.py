"""Several processes on one Redis: nothing twice, nothing stuck, whoever of them dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bot.playground.claude import Reply
from bot.serve import Server
from bot.turns.sentences import AFTER
from tests.bot_process import BotProcess, bot_process
from tests.conftest import World, prose, same
from tests.redis_server import RedisServer, need

LONG = Reply(text=prose(20_000), tokens_per_second=100)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, since the bots of all tests share a prefix."""
    need("redis-server", "redis")
    server = RedisServer()
    server.start()
    yield server
    server.remove()


class Two:
    """Two bots in this process, as two dynos behind one router."""

    def __init__(self, world: World, first: Server, second: Server) -> None:
        self._world = world
        self.first = first
        self.second = second

    def route_to(self, server: Server) -> None:
        """Slack's next events go there."""
        self._world.server = server
        self._world.slack.events_url = f"http://127.0.0.1:{server.port}/slack/events"

    async def idle(self) -> None:
        for server in (self.first, self.second, self.first):
            await server.idle()


@pytest.fixture
async def two(
    world: World, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Two]:
    monkeypatch.setattr("bot.app.LEASE_S", 1.0)
    monkeypatch.setattr("bot.turns.leases.LEASE_S", 1.0)
    monkeypatch.setattr("bot.turns.leases.RENEW_EVERY_S", 0.2)
    monkeypatch.setattr("bot.turns.recovery.LOOK_EVERY_S", 0.2)
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(world.bot(redis_url=redis.url)) for _ in range(2)
        ]
        yield Two(world, *servers)


async def test_events_that_reach_both_are_answered_once(world: World, two: Two) -> None:
    world.claude.script(Reply(text="Once.", keep=True))
    two.route_to(two.first)
    asked = [await world.ask(f"number {number}") for number in range(4)]
    two.route_to(two.second)
    mentions = [one for one in world.slack.events if one["event"]["type"] == "app_mention"]
    await asyncio.gather(*(world.slack.deliver(one, retry_num=1) for one in mentions))
    for ts in asked:
        await world.until_shown("Once.", ts)
    await two.idle()
    assert len(world.claude.requests) == 4
    assert [len(world.replies(ts)) for ts in asked] == [1] * 4


async def test_a_thread_keeps_its_order_over_processes(world: World, two: Two) -> None:
    text = prose(700)
    world.claude.script(Reply(text=text, tokens_per_second=150), Reply(text="Second."))
    two.route_to(two.first)
    root = await world.ask("first")
    await world.until(lambda: world.shown(root))
    two.route_to(two.second)
    await world.ask("second", thread_ts=root)
    await world.until(
        lambda: (
            AFTER in "".join(reply.shown for reply in world.replies(root))
            or AFTER in world.slack.status(world.general, root)
        )
    )
    await world.until_says("Second.", root)
    assert same(world.replies(root)[0].sent_markdown, text)
    assert world.claude.peak_streams == 1
    assert world.claude.requests[-1].body["messages"][1]["role"] == "assistant"


async def test_a_deletion_reaches_the_process_that_writes(world: World, two: Two) -> None:
    world.claude.script(LONG)
    two.route_to(two.first)
    ts = await world.ask(channel=world.dm)
    await world.until(lambda: world.shown(channel=world.dm))
    two.route_to(two.second)
    await world.slack.delete(world.ada, world.dm, ts)
    await world.until(lambda: not world.replies(channel=world.dm))
    await two.idle()
    assert world.claude.open_streams == 0


async def test_an_edit_reaches_the_process_that_writes(world: World, two: Two) -> None:
    world.claude.script(LONG, Reply(text="The better answer."))
    two.route_to(two.first)
    ts = await world.ask("Frnace?")
    await world.until(lambda: world.shown(ts))
    two.route_to(two.second)
    await world.slack.edit(world.ada, world.general, ts, "<@U0BOT> France?")
    await world.until_shown("The better answer.", ts)
    await two.idle()
    assert len(world.replies(ts)) == 1
    assert "France?" in world.claude.requests[-1].last_user_text


async def test_a_draining_process_hands_its_replies_over(world: World, two: Two) -> None:
    text = prose(900)
    world.claude.script(LONG, Reply(text=text))
    two.route_to(two.first)
    ts = await world.ask("long")
    await world.until(lambda: len(world.shown(ts)) > 100)
    two.route_to(two.second)
    await two.first.drain(1.2)
    await world.until_shown(text, ts)
    await two.second.idle()
    assert world.slack.count("chat.postMessage") == 1
    assert world.slack.overlapping == []
    (reply,) = world.replies(ts)
    assert all("Interrupted" not in str(revision.blocks) for revision in reply.revisions)


async def test_what_has_no_text_yet_is_handed_over_at_once(world: World, two: Two) -> None:
    world.claude.script(Reply(text="Too late.", first_token_s=30.0), Reply(text="In time."))
    two.route_to(two.first)
    ts = await world.ask("slow")
    await world.claude.wait_for(lambda: world.claude.open_streams == 1)
    two.route_to(two.second)
    draining = asyncio.create_task(two.first.drain(20.0))
    await world.until_shown("In time.", ts)
    await draining
    assert len(world.replies(ts)) == 1


async def test_a_process_that_lost_its_lease_writes_nothing_more(
    world: World, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = prose(600)
    world.claude.script(LONG, Reply(text=text))
    two.route_to(two.first)
    ts = await world.ask()
    await world.until(lambda: len(world.shown(ts)) > 100)
    store = two.first._bot.store
    asleep = asyncio.Event()
    renew = store.renew

    async def late(keys: object) -> object:
        await asleep.wait()
        return await renew(keys)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "renew", late)
    await world.until_shown(text, ts)
    calls = len(world.slack.calls)
    asleep.set()
    await two.idle()
    await asyncio.sleep(0.5)
    assert len(world.slack.calls) - calls <= 1, "but for a call that was under way"
    assert same(world.shown(ts), text)
    assert world.claude.open_streams == 0


async def test_while_redis_is_away_replies_go_on_and_nothing_new_is_accepted(
    world: World, two: Two, redis: RedisServer
) -> None:
    text = prose(1_500)
    world.claude.script(Reply(text=text, tokens_per_second=150), Reply(text="Later."))
    two.route_to(two.first)
    ts = await world.ask("first")
    await world.until(lambda: world.shown(ts))
    await asyncio.to_thread(redis.kill)
    later = await world.ask("second")
    await world.until(lambda: 503 in {one.status for one in world.slack.deliveries})
    await world.until_shown(text, ts)
    await asyncio.to_thread(redis.start)
    mention = [one for one in world.slack.events if one["event"]["type"] == "app_mention"][-1]
    status = 0
    while status != 200:
        status = (await world.slack.deliver(mention, retry_num=1)).status
    await world.until_shown("Later.", later)
    await two.idle()
    assert len(world.claude.requests) == 2
    assert len(world.replies(ts)) == 1 == len(world.replies(later))


async def test_places_are_shared(world: World, redis: RedisServer) -> None:
    async with (
        world.bot(redis_url=redis.url, max_concurrent_replies=1) as first,
        world.bot(redis_url=redis.url, max_concurrent_replies=1) as second,
    ):
        both = Two(world, first, second)
        world.claude.script(*[Reply(text=prose(300), tokens_per_second=150)] * 3)
        for server in (first, second, first):
            both.route_to(server)
            await world.ask()
        await world.claude.wait_for(lambda: len(world.claude.requests) == 3)
        await both.idle()
    assert world.claude.peak_streams == 1


@pytest.mark.timeout(60)
async def test_a_killed_process_is_taken_over_within_15_seconds(
    world: World, redis: RedisServer
) -> None:
    text = prose(900)
    world.claude.script(LONG, Reply(text=text))
    env = {**world.env, "REDIS_URL": redis.url}
    async with bot_process(env) as first, bot_process(env) as second:
        await first.ready()
        await second.ready()
        world.slack.events_url = f"{first.url}/slack/events"
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        world.slack.events_url = f"{second.url}/slack/events"
        await first.kill()
        await world.until_shown(text, ts, timeout_s=15.0)
        await stopped(second)
    assert world.slack.count("chat.postMessage") == 1
    assert len(world.replies(ts)) == 1


async def stopped(bot: BotProcess) -> None:
    bot.terminate()
    code, errors = await bot.ended()
    assert code == 0, errors


async def test_a_redis_that_cannot_be_reached_stops_the_start_with_a_sentence(
    world: World,
) -> None:
    env = {**world.env, "REDIS_URL": "redis://:secret@127.0.0.1:1/0"}
    async with bot_process(env) as bot:
        code, errors = await bot.ended()
    assert code != 0
    assert "REDIS_URL cannot be used" in errors and "secret" not in errors


async def test_every_process_follows_a_thread_that_one_was_asked_in(
    world: World, redis: RedisServer
) -> None:
    changes = {"redis_url": redis.url, "follow_ups": "own"}
    async with world.bot(**changes) as first, world.bot(**changes) as second:
        two = Two(world, first, second)
        two.route_to(first)
        root = await world.ask()
        await world.idle()
        two.route_to(second)
        await world.slack.say(world.bob, world.general, "Hm.", thread_ts=root)
        await world.slack.say(world.ada, world.general, "and why?", thread_ts=root)
        await world.idle()
        assert len(world.replies(root)) == len(world.claude.requests) == 2
        assert world.slack.count("conversations.replies") == 1, "the conversation's"


async def test_a_reply_that_waits_behind_a_stream_does_not_take_it_when_it_is_handed_over(
    world: World, redis: RedisServer
) -> None:
    first, second = prose(2_000), prose(600).replace("Sentence", "Phrase")

    def answer(body: dict[str, Any]) -> Reply:
        is_second = "second" in str(body["messages"][-1])
        return Reply(text=second) if is_second else Reply(text=first, tokens_per_second=300)

    world.claude.default = answer
    async with AsyncExitStack() as stack:
        leaving, staying = [
            await stack.enter_async_context(world.bot(redis_url=redis.url, delivery="stream"))
            for _ in range(2)
        ]
        both = Two(world, leaving, staying)
        both.route_to(leaving)
        ts = await world.ask("first")
        await world.until(lambda: world.slack.count("chat.appendStream"))
        await world.ask("second", thread_ts=ts)
        both.route_to(staying)
        await leaving.drain(20.0)
        await world.until(lambda: second[-20:] in world.shown(ts))
        await staying.idle()
    one, other = world.replies(ts)
    assert same(one.sent_markdown, first)
    assert same(other.sent_markdown, second)
