"""Stops, kills and starts of the real process: nothing lost, nothing twice, nothing stuck."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from bot.clock import SystemClock
from bot.errors import StoreUnavailable
from bot.live_message.draft import STARTED_OVER
from bot.playground.claude import Damage, Reply
from bot.playground.slack import Fault, Message
from bot.slack import Mark
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question, TurnKey
from bot.turns.sentences import INTERRUPTED
from tests.bot_process import bot_process, free_port
from tests.conftest import World, code, lines, other_app_says, prose, same, touched


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
    await journal_says(data_dir, bool)


async def recorded(data_dir: Path, outcome: Outcome) -> None:
    await journal_says(data_dir, lambda found: found == [outcome])


async def journal_says(data_dir: Path, true: Callable[[list[str | None]], bool]) -> None:
    """Another process writes it, so there is nothing to wait on but the file."""
    async with asyncio.timeout(10):
        while True:
            try:
                if true(outcomes(data_dir)):
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
        assert db.execute("DELETE FROM messages").rowcount <= 1
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


async def left_open(world: World, *, age_s: float = 0.0, **changes: str) -> None:
    """Reopen the journal's entries, as a process leaves them that dies before it settles them."""
    with sqlite3.connect(world.data_dir / "bot.sqlite3") as db:
        db.execute("UPDATE turns SET outcome = NULL, accepted_at = accepted_at - ?", (age_s,))
        for name, value in changes.items():
            db.execute(f"UPDATE turns SET {name} = ?", (value,))


async def test_a_finished_reply_whose_outcome_was_not_recorded_is_left_as_it_is(
    world: World,
) -> None:
    text = prose(11_000)
    world.claude.script(Reply(text=text))
    async with world.bot() as server:
        ts = await world.ask()
        await world.until_shown(text, ts)
        await server.idle()
    for age_s in (1.0, 3_600.0):
        await left_open(world, age_s=age_s)
        async with world.bot() as server:
            await recorded(world.data_dir, Outcome.COMPLETE)
            await server.idle()
    assert same(world.shown(ts), text)
    assert len(world.claude.requests) == 1


async def test_an_old_partial_reply_keeps_its_text_and_gets_the_reason(
    world: World, port: int
) -> None:
    world.claude.script(Reply(text=prose(30_000), tokens_per_second=100))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: len(world.shown(ts)) > 300)
        await bot.kill()
    partial = world.shown(ts)
    await left_open(world, age_s=3_600.0)
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until_says(INTERRUPTED, ts)
    assert same(world.shown(ts), partial)
    assert len(world.claude.requests) == 1


async def test_what_was_shown_before_a_restart_stays_until_there_is_more(
    world: World, port: int
) -> None:
    text = prose(2_000)
    world.claude.script(Reply(text=text, tokens_per_second=250))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        ts = await world.ask()
        await world.until(lambda: len(world.shown(ts)) > 300)
        await bot.kill()
    world.claude.script(Reply(text=text, tokens_per_second=400))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until_shown(text, ts)
    (reply,) = world.replies(ts)
    words = [len(revision.markdown.split()) for revision in reply.revisions]
    assert words == sorted(words)
    assert any(STARTED_OVER in str(revision.blocks) for revision in reply.revisions)


async def test_an_open_turn_is_taken_up_although_slack_cannot_be_read_at_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.turns.recovery.LOOK_EVERY_S", 0.1)
    monkeypatch.setattr("bot.turns.recovery.AGAIN_FIRST_S", 0.1)
    async with world.bot():
        pass
    ts = await world.ask("anybody?")
    store = await SqliteStore.open(str(world.data_dir), SystemClock())
    await store.accept(
        Question(team="T0EMULATOR", channel=world.general, user=world.ada, ts=ts, surface="channel")
    )
    await store.close()
    fault = Fault(method="conversations.replies", kind="error", error="internal_error", times=3)
    world.slack.fault(fault)
    async with world.bot() as server:
        await world.until(lambda: world.shown(ts))
        await server.idle()
    assert outcomes(world.data_dir) == [Outcome.COMPLETE]
    assert len(world.claude.requests) == 1


async def test_entries_of_another_workspace_are_closed(world: World) -> None:
    async with world.bot() as server:
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        await server.idle()
    key = f"T0OTHER:{world.general}:{ts}:0"
    await left_open(world, team="T0OTHER", key=key)
    async with world.bot():
        await recorded(world.data_dir, Outcome.GONE)


async def test_a_second_process_waits_for_the_first_to_let_go_of_the_journal(
    world: World, port: int
) -> None:
    async with bot_process(world.env, port=port) as first:
        await first.ready()
        async with bot_process(world.env) as second:
            while "waiting_for_another_process" not in await second.line():
                pass
            first.terminate()
            await first.ended()
            await second.ready()


@pytest.mark.timeout(60)  # four starts of a process
async def test_a_question_that_ends_the_process_again_and_again_is_settled(
    world: World, port: int
) -> None:
    world.claude.script(*[Reply(text=prose(30_000), tokens_per_second=100)] * 5)
    asked: list[str] = []
    for number in range(1, 4):
        async with bot_process(world.env, port=port) as bot:
            await bot.ready()
            asked = asked or [await world.ask()]
            await world.claude.wait_for(lambda n=number: len(world.claude.requests) == n)
            await bot.kill()
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        await world.until_says(INTERRUPTED, asked[0])
    assert len(world.claude.requests) == 3


async def test_an_unfinished_reply_is_settled_when_its_thread_is_read_though_the_disk_is_lost(
    world: World, port: int, tmp_path: Path
) -> None:
    world.claude.script(Reply(text=prose(30_000), tokens_per_second=100))
    async with bot_process(world.env, port=port) as bot:
        await bot.ready()
        root = await world.ask("first")
        await world.until(lambda: len(world.shown(root)) > 50)
        await bot.kill()
    partial = world.shown(root)
    world.claude.script(Reply(text="Second."))
    async with world.bot(data_dir=str(tmp_path / "another disk")) as server:
        await world.ask("second", thread_ts=root)
        await world.until_says("Second.", root)
        await world.until(lambda: INTERRUPTED in world.replies(root)[0].shown)
        await server.idle()
    first, second = world.replies(root)
    assert same(first.sent_markdown, partial) and same(second.sent_markdown, "Second.")
    assert first.blocks[-1]["elements"][0]["action_id"] == "retry"
    assert len(world.claude.requests) == 2


@pytest.mark.usefixtures("small_messages")
@pytest.mark.parametrize("text", [prose(1_700), code(1_700)], ids=["prose", "code"])
async def test_an_old_partial_reply_keeps_the_text_of_all_its_messages(
    world: World, text: str
) -> None:
    world.claude.script(Reply(text=text))
    async with world.bot():
        ts = await world.ask()
        await world.until(lambda: len(world.replies(ts)) == 3)
        await world.idle()
    before = [lines(reply.sent_markdown) for reply in world.replies(ts)]
    not_ended(world.replies(ts)[-1])
    await left_open(world, age_s=3_600.0)
    async with world.bot() as server:
        await world.until_says(INTERRUPTED, ts)
        await server.idle()
    assert [lines(reply.sent_markdown) for reply in world.replies(ts)] == before


def not_ended(message: Message) -> None:
    """Mark the last message of a reply as its process would have left it before the last edit."""
    mark = Mark.of({"metadata": message.metadata})
    assert mark is not None and mark.final
    message.metadata = replace(mark, final=False).metadata()


@pytest.mark.usefixtures("small_messages")
async def test_an_unfinished_retry_whose_disk_is_lost_is_settled_with_all_its_messages(
    world: World, tmp_path: Path
) -> None:
    text = prose(1_700)
    refused = Reply(error_type="invalid_request_error", status=400)
    async with world.bot():
        world.claude.script(Reply(text=text, damage=Damage("cut", at=1_650)), refused)
        root = await world.ask("first")
        await world.until(lambda: "Retry" in str(world.replies(root)[-1:]))
        await world.idle()
    first = world.replies(root)
    assert len(first) == 3
    retry = Mark(f"T0EMULATOR:{world.general}:{root}:1", part=0, rev=9, reuses=True)
    first[0].metadata = retry.metadata()  # as far as the retry came
    async with world.bot(data_dir=str(tmp_path / "another disk")):
        world.claude.script(Reply(text="Second."))
        await world.ask("second", thread_ts=root)
        await world.until_says("Second.", root)
        await world.until(lambda: INTERRUPTED in first[-1].shown)
        await world.idle()
        assert same(" ".join(message.sent_markdown for message in first), text[:1_650])
        world.claude.script(Reply(text="Shorter."))
        await world.slack.press(world.ada, world.general, first[-1].ts, "retry")
        await world.until(lambda: [one.deleted for one in first] == [False, True, True])
        assert same(first[0].sent_markdown, "Shorter.")


async def test_the_unfinished_reply_of_another_app_is_left_alone(world: World) -> None:
    async with world.bot():
        root = await world.slack.say(world.bob, world.general, "to another app")
        turn = f"T0EMULATOR:{world.general}:{root}:0"
        theirs = await other_app_says(world, root, Mark(turn, part=0, rev=1))
        world.claude.script(Reply(text="Answer."))
        await world.ask("and you?", thread_ts=root)
        await world.until_says("Answer.", root)
        await world.idle()
    assert touched(world, theirs) == []
    assert [reply.user for reply in world.replies(root)] == [theirs.user, "U0BOT"]
    assert outcomes(world.data_dir) == [Outcome.COMPLETE]


async def test_an_outcome_that_cannot_be_recorded_does_not_block_its_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.turns.closing.RECORD_AGAIN_S", (0.01, 0.02))

    async def full(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(SqliteStore, "settle", full)
    async with world.bot():
        world.claude.script(Reply(text="One."), Reply(text="Two."))
        root = await world.ask("one")
        await world.until_says("One.", root)
        await world.idle()
        await world.ask("two", thread_ts=root)
        await world.until_says("Two.", root)
        await world.idle()
    assert outcomes(world.data_dir) == [None, None]


async def test_a_turn_that_is_being_closed_is_not_taken_for_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.turns.leases.RENEW_EVERY_S", 0.01)
    settle, renew = SqliteStore.settle, SqliteStore.renew
    renewed = asyncio.Semaphore(0)

    async def settled_and_renewed(self: SqliteStore, key: TurnKey, outcome: Outcome) -> None:
        await settle(self, key, outcome)
        while not renewed.locked():
            await renewed.acquire()
        for _ in range(2):  # the first may have begun before
            await renewed.acquire()

    async def counted(self: SqliteStore, keys: Collection[TurnKey]) -> set[TurnKey]:
        lost = await renew(self, keys)
        renewed.release()
        return lost

    monkeypatch.setattr(SqliteStore, "settle", settled_and_renewed)
    monkeypatch.setattr(SqliteStore, "renew", counted)
    async with world.bot():
        ts = await world.ask()
        await world.idle()
    assert world.shown(ts)
    assert "lease_lost" not in caplog.text
