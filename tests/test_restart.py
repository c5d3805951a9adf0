"""Stops, kills and starts of the real process: nothing lost, nothing twice, nothing stuck."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from bot.clock import SystemClock
from bot.playground.claude import Reply
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question
from bot.turns.sentences import INTERRUPTED
from tests.bot_process import bot_process, free_port
from tests.conftest import World, prose


@pytest.fixture
def port(world: World) -> int:
    """One port for all processes of a test, as a deploy keeps its address."""
    found = free_port()
    world.slack.events_url = f"http://127.0.0.1:{found}/slack/events"
    return found


def outcomes(data_dir: Path) -> list[str | None]:
    with sqlite3.connect(data_dir / "bot.sqlite3") as db:
        return [outcome for (outcome,) in db.execute("SELECT outcome FROM turns")]


async def journal_has_entry(data_dir: Path) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if outcomes(data_dir):
                    return
            except sqlite3.Error:
                pass
            await asyncio.sleep(0.001)


async def test_sigterm_lets_a_short_reply_finish_and_ends_with_0(world: World, port: int) -> None:
    text = prose(1_000)
    world.claude.script(Reply(text=text, tokens_per_second=250))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        bot.terminate()
        code, errors = await bot.ended()
    assert code == 0, errors
    await world.until_shown(text, ts)
    assert outcomes(world.data_dir) == [Outcome.COMPLETE]


async def test_sigterm_settles_a_long_reply_within_the_grace(world: World, port: int) -> None:
    world.claude.script(Reply(text=prose(60_000), tokens_per_second=100))
    env = {**world.env, "SHUTDOWN_GRACE_S": "2"}
    async with bot_process(env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        bot.terminate()
        code, errors = await bot.ended(timeout_s=6)
    assert code == 0, errors
    (reply,) = world.replies(ts)
    assert INTERRUPTED in reply.shown and len(reply.sent_markdown) > 100
    assert outcomes(world.data_dir) == [Outcome.INTERRUPTED]
    assert world.claude.open_streams == 0


async def test_while_draining_it_is_not_ready_and_takes_nothing_new(
    world: World, port: int
) -> None:
    world.claude.script(Reply(text=prose(60_000), tokens_per_second=100))
    async with bot_process({**world.env, "SHUTDOWN_GRACE_S": "3"}, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        bot.terminate()
        async with aiohttp.ClientSession() as session:
            status = 200
            while status == 200:
                async with session.get(f"{bot.url}/readyz") as response:
                    status = response.status
        assert status == 503
        await world.ask("too late")
        await world.until(lambda: 503 in {one.status for one in world.slack.deliveries})
    assert len(world.claude.requests) == 1


async def test_a_second_signal_does_not_wait(world: World, port: int) -> None:
    world.claude.script(Reply(text=prose(60_000), tokens_per_second=100))
    async with bot_process({**world.env, "SHUTDOWN_GRACE_S": "60"}, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        bot.terminate()
        await asyncio.sleep(0.1)
        bot.terminate()
        code, errors = await bot.ended(timeout_s=8)
    assert code == 0, errors


async def test_a_kill_between_accept_and_200_costs_nobody_an_answer(
    world: World, port: int
) -> None:
    world.claude.script(Reply(text="Answered after all.", first_token_s=0.3, keep=True))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await journal_has_entry(world.data_dir)
        await bot.kill()
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until_shown("Answered after all.", ts)
        (mention,) = [e for e in world.slack.events if e["event"]["type"] == "app_mention"]
        delivery = await world.slack.deliver(mention, retry_num=1)
        assert delivery.status == 200
        bot.terminate()
        await bot.ended()
    assert len(world.replies(ts)) == 1
    assert outcomes(world.data_dir) == [Outcome.COMPLETE]


async def test_a_question_whose_process_died_right_after_the_claim_is_answered(
    world: World,
) -> None:
    ts = await world.ask("are you there?")
    store = await SqliteStore.open(str(world.data_dir), SystemClock())
    question = Question(
        team="T0EMULATOR", channel=world.general, user=world.ada, ts=ts, surface="channel"
    )
    assert await store.accept(question)
    await store.close()
    async with world.bot() as server:
        await world.until(lambda: world.shown(ts))
        await server.idle()
    assert "are you there?" in world.claude.requests[0].last_user_text
    assert len(world.claude.requests) == 1
    assert outcomes(world.data_dir) == [Outcome.COMPLETE]


async def test_a_kill_in_mid_reply_is_answered_again_in_the_same_messages(
    world: World, port: int
) -> None:
    text = prose(14_000)
    world.claude.script(Reply(text=text, tokens_per_second=2_000))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: len(world.replies(ts)) == 2)
        before = [reply.ts for reply in world.replies(ts)]
        await bot.kill()
    world.claude.script(Reply(text=text))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until_shown(text, ts)
    assert [reply.ts for reply in world.replies(ts)] == before


async def test_a_shorter_second_answer_leaves_no_surplus_message(world: World, port: int) -> None:
    world.claude.script(Reply(text=prose(14_000), tokens_per_second=2_000))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: len(world.replies(ts)) == 2)
        await bot.kill()
    world.claude.script(Reply(text="Shorter."))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until(lambda: len(world.replies(ts)) == 1)
        await world.until_shown("Shorter.", ts)


async def test_a_post_that_was_not_noted_before_the_kill_is_found_by_its_metadata(
    world: World, port: int
) -> None:
    world.claude.script(Reply(text=prose(30_000), tokens_per_second=50))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        await bot.kill()
    with sqlite3.connect(world.data_dir / "bot.sqlite3") as db:
        assert db.execute("DELETE FROM messages").rowcount == 1
    world.claude.script(Reply(text="Found again."))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until_shown("Found again.", ts)
    assert world.slack.count("chat.postMessage") == 1


async def test_a_question_deleted_during_the_outage_takes_its_reply_with_it(
    world: World, port: int
) -> None:
    world.claude.script(Reply(text=prose(30_000), tokens_per_second=50))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.ask("flat", channel=world.dm)
        await world.until(lambda: world.shown(channel=world.dm))
        await bot.kill()
    question = next(m for m in world.slack.messages(world.dm) if not m.bot_id)
    await world.slack.delete(world.ada, world.dm, question.ts)
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until(lambda: not world.replies(channel=world.dm))
    assert len(world.claude.requests) == 1
