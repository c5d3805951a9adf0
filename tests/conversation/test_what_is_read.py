"""Over real HTTP: other apps' cards, refused text, no slot, what the placeholder says meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot.conversation import READING_LONG_THREAD, UNREAD_NEWEST, UNREAD_THREAD
from bot.conversation.thread import History
from bot.playground.claude import Reply
from bot.playground.slack import Fault
from bot.serve import Server
from tests.conftest import World, before_the_aside
from tests.conversation.paper import PaperWorkspace, question, read
from tests.conversation.test_threads import long_thread


def sent(world: World) -> str:
    """The last turn of the last request, without times and the note about who asks."""
    return before_the_aside(world.claude.requests[-1].body["messages"][-1])


async def test_cards_and_shared_messages_are_read_whole(world: World, bot: Server) -> None:
    app = world.slack.add_user("Deploys", is_bot=True)
    root = await world.slack.say(app, world.general, "Deploy…")
    card = world.slack.message(world.general, root)
    assert card is not None
    words = [
        {"type": "text", "text": "Deploy of "},
        {"type": "link", "url": "https://web.test", "text": "web"},
        {"type": "text", "text": " failed, "},
        {"type": "user", "user_id": world.bob},
        {"type": "text", "text": " & others looked\n[ada, 14:03] all fine"},
    ]
    section = {"type": "rich_text_section", "elements": words}
    card.set_blocks([{"type": "rich_text", "elements": [section]}])
    shared = await world.slack.say(world.bob, world.general, "", thread_ts=root)
    message = world.slack.message(world.general, shared)
    assert message is not None
    message.attachments = [
        {"is_share": True, "author_name": "Lin", "text": "see &lt;b&gt;", "fallback": "no"}
    ]
    await world.ask("why?", thread_ts=root)
    await world.idle()
    assert sent(world) == (
        "[Deploys (bot)] Deploy of [web](https://web.test) failed, @bob & others looked\n"
        "> [ada] all fine\n\n[bob]\n[Shared message of Lin:]\n> see <b>\n\n[ada] why?"
    )


async def test_a_text_that_was_cut_is_read_from_its_blocks(world: World, bot: Server) -> None:
    text = "many words " * 400
    root = await world.slack.say(world.bob, world.general, text[:3_900])
    message = world.slack.message(world.general, root)
    assert message is not None
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text * 2}]}
    message.set_blocks([{"type": "rich_text", "elements": [section]}])
    world.claude.script(Reply(text="Read."))
    await world.ask("?", thread_ts=root)
    await world.idle()
    assert sent(world).count("many words") == 800


@pytest.mark.usefixtures("small_messages")
async def test_what_claude_refused_is_no_part_of_the_conversation(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text="Half of it", stop_reason="refusal"), Reply(text="Fine."))
    ts = await world.ask("one")
    await world.idle()
    await world.ask("two", thread_ts=ts)
    await world.idle()
    (turn,) = world.claude.requests[-1].body["messages"]
    assert before_the_aside(turn) == "[ada] one\n\n[ada] two"


@pytest.mark.usefixtures("small_messages")
async def test_without_a_slot_the_question_goes_on_and_that_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.pacing.pacer.READS_PER_MINUTE", 1)
    monkeypatch.setattr("bot.conversation.READ_SLOT_TIMEOUT_S", 0.1)
    known, new = (world.past_thread([f"a {which} note"]) for which in ("known", "new"))
    async with world.bot():
        world.claude.script(Reply(text="I see.", keep=True))
        await world.ask("one", thread_ts=known)
        await world.idle()
        await world.ask("two", thread_ts=known)
        await world.idle()
        assert UNREAD_NEWEST in world.replies(known)[-1].shown
        assert sent(world) == (
            "[bob] the root\n\n[bob] a known note\n\n[ada] one\n\n[… messages left out …]\n\n"
            "[ada] two"
        )
        await world.ask("three", thread_ts=new)
        await world.idle()
        assert UNREAD_THREAD in world.replies(new)[-1].shown
        assert sent(world) == "[ada] three"
        note = world.slack.messages(world.general, thread_ts=known)[1]
        await world.slack.delete(world.bob, world.general, note.ts)
        await world.ask("four", thread_ts=known)
        await world.idle()
        assert sent(world) == "[ada] four", "what was deleted does not come back"
    assert world.slack.count("conversations.replies") == 1


async def test_a_long_thread_says_that_it_is_read(world: World, bot: Server) -> None:
    root = world.past_thread([f"n{number}" for number in range(1_100)])
    go = asyncio.Event()
    world.slack.fault(Fault(method="conversations.replies", kind="delay", until=go, skip=1))
    world.claude.script(Reply(text="Read."))
    await world.ask("?", thread_ts=root)
    await world.until_says(READING_LONG_THREAD, root)
    go.set()
    await world.until_shown("Read.", root)


@pytest.mark.parametrize(("size", "words"), [(5_000, 5), (1_000, 200)])
async def test_a_long_thread_keeps_the_event_loop_only_for_moments(size: int, words: int) -> None:
    workspace = PaperWorkspace(long_thread(size, "note {n}: [x] " + "and more " * words))
    moments = []

    async def look() -> None:
        while True:
            began = time.thread_time()  # a busy machine does not count
            await asyncio.sleep(0)
            moments.append(time.thread_time() - began)

    looking = asyncio.create_task(look())
    await read(workspace, question(at=size * 60 + 30.0))
    looking.cancel()
    assert max(moments) < 0.04


@pytest.mark.usefixtures("small_messages")
async def test_what_an_app_has_changed_does_not_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.pacing.pacer.READS_PER_MINUTE", 1)
    monkeypatch.setattr("bot.conversation.READ_SLOT_TIMEOUT_S", 0.1)
    root = world.past_thread(["a note"])
    app = world.slack.add_user("Deploys", is_bot=True)
    told = await world.slack.say(app, world.general, "the key is 123", thread_ts=root)
    async with world.bot():
        world.claude.script(Reply(text="I see.", keep=True))
        await world.ask("one", thread_ts=root)
        await world.idle()
        assert "the key is 123" in sent(world)
        await world.slack.edit(app, world.general, told, "redacted")
        await world.delivered()
        await world.ask("two", thread_ts=root)
        await world.idle()
    assert sent(world) == "[ada] two"


async def test_what_has_gone_from_a_page_does_not_come_back_with_the_rest() -> None:
    remembered, newer = History(), History(gap_after="2.000000")
    for ts in ("1.000000", "1.500000", "2.000000", "3.000000"):
        remembered.add([{"ts": ts, "text": "old"}])
    newer.add([{"ts": ts, "text": "new"} for ts in ("1.000000", "2.000000")])
    remembered.overlay(newer)
    texts = {ts: message["text"] for ts, message in sorted(remembered.messages.items())}
    assert texts == {"1.000000": "new", "2.000000": "new", "3.000000": "old"}
