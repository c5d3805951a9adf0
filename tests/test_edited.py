"""A question that is edited while its reply grows: the reply begins again, in the same messages."""

from __future__ import annotations

from typing import Any

import pytest

from bot.errors import StoreUnavailable
from bot.playground.claude import Reply
from bot.playground.slack import Fault
from bot.serve import Server
from bot.store.sqlite import SqliteStore
from bot.turn import Question
from tests.conftest import World, is_last_edit, prose, same
from tests.test_restart import outcomes

LONG = Reply(text=prose(20_000), tokens_per_second=100)


async def edit(world: World, ts: str, text: str, channel: str | None = None) -> None:
    await world.slack.edit(world.ada, channel or world.general, ts, text)


async def test_the_reply_to_an_edited_question_begins_again(world: World, bot: Server) -> None:
    world.claude.script(LONG, Reply(text="The better answer."))
    ts = await world.ask("the capital of Frnace?")
    await world.until(lambda: world.shown(ts))
    before = [reply.ts for reply in world.replies(ts)]
    await edit(world, ts, "<@U0BOT> the capital of France?")
    await world.until_shown("The better answer.", ts)
    await world.idle()
    assert [reply.ts for reply in world.replies(ts)] == before
    assert "France" in world.claude.requests[-1].last_user_text
    assert world.claude.open_streams == 0
    assert sorted(filter(None, outcomes(world.data_dir))) == ["complete", "superseded"]
    assert world.slack.overlapping == []


async def test_an_edit_of_an_answered_question_changes_nothing(world: World, bot: Server) -> None:
    world.claude.script(Reply(text="Answer."))
    ts = await world.ask()
    await world.idle()
    await edit(world, ts, "<@U0BOT> something else?")
    await world.idle()
    assert len(world.claude.requests) == 1 and same(world.shown(ts), "Answer.")


async def test_several_edits_end_with_the_last_text(world: World, bot: Server) -> None:
    world.claude.script(
        Reply(text="To the last one.", when="number 3"),
        Reply(text=prose(20_000), tokens_per_second=100, keep=True),
    )
    await world.ask("number 0", channel=world.dm)
    await world.until(lambda: world.shown(channel=world.dm))
    (asked,) = [one for one in world.slack.messages(world.dm) if not one.bot_id]
    for number in (1, 2, 3):
        await edit(world, asked.ts, f"number {number}", world.dm)
    await world.until_shown("To the last one.", channel=world.dm)
    await world.idle()
    assert len(world.replies(channel=world.dm)) == 1
    assert outcomes(world.data_dir).count("complete") == 1


async def test_an_edit_that_arrives_late_does_not_bring_an_old_text_back(
    world: World, bot: Server
) -> None:
    world.claude.script(LONG, LONG, LONG)
    ts = await world.ask("one")
    await world.until(lambda: world.shown(ts))
    await edit(world, ts, "<@U0BOT> two")
    await world.claude.wait_for(lambda: len(world.claude.requests) == 2)
    first = [one for one in world.slack.events if one["event"].get("subtype") == "message_changed"]
    await edit(world, ts, "<@U0BOT> three")
    await world.claude.wait_for(lambda: len(world.claude.requests) == 3)
    human = [one for one in first if "bot_id" not in one["event"]["message"]]
    await world.slack.deliver({**human[0], "event_id": "EvAGAIN"})
    await world.slack.delete(world.ada, world.general, ts)
    await world.idle()
    assert len(world.claude.requests) == 3


async def test_edits_there_and_back_that_arrive_in_the_wrong_order_change_nothing(
    world: World, bot: Server
) -> None:
    world.claude.script(LONG, LONG, LONG)
    ts = await world.ask("one")
    await world.until(lambda: world.shown(ts))
    there = edit_event(world, ts, "one", "two", "2000000001.000000")
    back = edit_event(world, ts, "two", "one", "2000000002.000000")
    for event in (back, there):
        assert (await world.slack.deliver(event)).status == 200
    assert outcomes(world.data_dir) == [None]
    await world.slack.delete(world.ada, world.general, ts)
    await world.idle()
    assert len(world.claude.requests) == 1


def edit_event(world: World, ts: str, before: str, after: str, edited_ts: str) -> dict[str, Any]:
    """What Slack sends of an edit of Ada's question, to be delivered at any time."""
    asked = {"type": "message", "ts": ts, "user": world.ada, "text": f"<@U0BOT> {before}"}
    edited = {"user": world.ada, "ts": edited_ts}
    return {
        "type": "message",
        "subtype": "message_changed",
        "channel": world.general,
        "channel_type": "channel",
        "ts": edited_ts,
        "event_ts": edited_ts,
        "message": {**asked, "text": f"<@U0BOT> {after}", "edited": edited},
        "previous_message": asked,
    }


async def test_an_edit_while_the_last_edit_of_the_reply_is_on_its_way_gives_one_reply(
    world: World, bot: Server
) -> None:
    world.claude.script(
        Reply(text="To the second.", when="two"),
        Reply(text=prose(300), tokens_per_second=400),
    )
    slow = Fault(method="chat.update", kind="delay", seconds=0.8, when=is_last_edit)
    world.slack.fault(slow)
    ts = await world.ask("one")
    await world.until(lambda: slow.used)
    await edit(world, ts, "<@U0BOT> two")
    await world.until_shown("To the second.", ts)
    await world.idle()
    assert len(world.replies(ts)) == 1 and same(world.shown(ts), "To the second.")
    assert sorted(filter(None, outcomes(world.data_dir))) == ["complete", "superseded"]


async def test_an_edit_that_met_an_unreachable_store_is_heeded_at_its_redelivery(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude.script(Reply(text="The better answer.", when="two"), LONG)
    ts = await world.ask("one")
    await world.until(lambda: world.shown(ts))
    accept = SqliteStore.accept

    async def away_once(store: SqliteStore, question: Question) -> bool:
        monkeypatch.setattr(SqliteStore, "accept", accept)
        raise StoreUnavailable("away")

    monkeypatch.setattr(SqliteStore, "accept", away_once)
    await edit(world, ts, "<@U0BOT> two")
    await world.until_shown("The better answer.", ts)
    await world.idle()
    assert [one.status for one in world.slack.deliveries].count(503) == 1
    assert len(world.replies(ts)) == 1


async def test_a_changed_message_with_the_same_text_is_no_edit(world: World, bot: Server) -> None:
    world.claude.script(Reply(text=prose(800), tokens_per_second=300))
    ts = await world.ask("see https://example.com")
    await world.until(lambda: world.shown(ts))
    await edit(world, ts, "<@U0BOT> see https://example.com")
    await world.until_shown(prose(800), ts)
    await world.idle()
    assert len(world.claude.requests) == 1


async def test_a_question_that_waits_is_asked_as_it_was_edited(world: World, bot: Server) -> None:
    world.claude.script(Reply(text=prose(600), tokens_per_second=150), Reply(text="Second."))
    root = await world.ask("first")
    await world.until(lambda: world.shown(root))
    second = await world.ask("scond", thread_ts=root)
    await world.until(
        lambda: world.slack.count("assistant.threads.setStatus") or len(world.replies(root)) == 2
    )
    await edit(world, second, "<@U0BOT> second")
    await world.until_says("Second.", root)
    await world.idle()
    assert "second" in world.claude.requests[-1].last_user_text
    assert len(world.claude.requests) == 2 and len(world.replies(root)) == 2


async def test_a_placeholder_that_waits_for_its_deletion_goes_though_the_question_is_edited(
    world: World,
) -> None:
    world.claude.script(
        Reply(text="The better answer.", when="two"),
        Reply(text=prose(3_000), tokens_per_second=150, first_token_s=0.4),
    )
    async with world.bot(delivery="edit") as server:
        ts = await posted_anew(world, server)
        await edit(world, ts, "<@U0BOT> two")
        await world.until_says("The better answer.", ts)
        await world.idle()
    (reply,) = world.replies(ts)
    assert reply.sent_markdown == "The better answer."


async def test_a_placeholder_that_waits_for_its_deletion_goes_though_the_reply_is_deleted(
    world: World,
) -> None:
    world.claude.script(Reply(text=prose(3_000), tokens_per_second=150, first_token_s=0.4))
    async with world.bot(delivery="edit") as server:
        ts = await posted_anew(world, server)
        await world.slack.delete(world.ada, world.general, world.replies(ts)[1].ts)
        await world.idle()
    assert world.replies(ts) == []


async def posted_anew(world: World, server: Server) -> str:
    """Ask a question whose first words come in a new message, while the placeholder cannot be
    deleted; its ts."""
    refused = Fault(method="chat.delete", kind="ratelimited", retry_after_s=1)
    world.slack.fault(refused)
    ts = await world.ask("one")
    await world.until(lambda: len(world.replies(ts)) == 1)
    server._bot.turns._means.pacer.pause_edits("T0EMULATOR", 2.0)
    await world.until(lambda: len(world.replies(ts)) == 2 and refused.used)
    return ts
