"""Stop: by button, word, reaction and Slack's own button; by whom, how often, how late."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from bot.listeners.stop_word import says_stop
from bot.playground.claude import Reply
from bot.playground.slack import Fault, Message
from bot.serve import Server
from bot.turn import Question
from bot.turns import sentences
from tests.conftest import World, is_last_edit, prose, said, same
from tests.test_buttons import buttons, labels
from tests.test_processes import Two, redis, two
from tests.test_restart import outcomes

__all__ = ["redis", "two"]  # fixtures

LONG = Reply(text=prose(20_000), tokens_per_second=100)
SLOW = Reply(text="Too late.", first_token_s=30.0)
SIGN = "octagonal_sign"


def ends_with(world: World, ts: str | None, line: str, channel: str | None = None) -> bool:
    """Whether the reply's last message ends with that line and a Retry button, and nothing else."""
    *_, last = world.replies(ts, channel)
    spoken = [block for block in last.blocks if block["type"] in ("context", "section")]
    texts = [
        text["text"] for block in spoken for text in block.get("elements", [block.get("text")])
    ]
    return texts == [line] and labels(world, ts, channel) == ["Retry"]


async def growing(world: World, ts: str | None, channel: str | None = None) -> Message:
    """The last message of a reply that grows."""
    await world.until(lambda: len(world.shown(ts, channel)) > 30)
    return world.replies(ts, channel)[-1]


async def stopped(
    world: World, ts: str | None, line: str = sentences.STOPPED, channel: str | None = None
) -> str:
    """Wait until the reply is stopped and settled; its text."""
    await world.until(lambda: world.replies(ts, channel) and ends_with(world, ts, line, channel))
    await world.idle()
    assert world.claude.open_streams == 0
    assert all(stream.end for stream in world.slack.streams)
    assert world.slack.overlapping == []
    assert ends_with(world, ts, line, channel)
    return world.shown(ts, channel)


# --- by button --------------------------------------------------------------------------------


async def test_the_button_stops_a_reply_that_grows_and_keeps_its_text(
    world: World, bot: Server
) -> None:
    world.claude.script(LONG)
    ts = await world.ask()
    reply = await growing(world, ts)
    (button,) = buttons(world, ts)
    key = f"T0EMULATOR:{world.general}:{ts}"
    assert (button["action_id"], button["text"]["text"]) == ("stop", "Stop")
    assert json.loads(button["value"]) == {"v": 1, "key": key, "run": 0, "asker": world.ada}
    assert await world.slack.press(world.ada, world.general, reply.ts, "stop") == 200
    text = await stopped(world, ts)
    assert len(text) > 30 and LONG.text.startswith(text.rstrip("…")[:30])
    assert world.claude.requests[0].closed_by_client
    assert outcomes(world.data_dir) == ["stopped"]
    assert world.slack.ephemerals == []


async def test_the_placeholder_has_the_button_and_says_who_stopped_it(
    world: World, bot: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.claude.script(SLOW)
    ts = await world.ask()
    await world.until(lambda: labels(world, ts) == ["Stop"])
    await world.claude.wait_for(lambda: world.claude.open_streams == 1)
    (reply,) = world.replies(ts)
    await world.slack.press(world.bob, world.general, reply.ts, "stop")
    assert await stopped(world, ts, "Stopped by bob.") == ""
    assert world.slack.count("chat.postMessage") == 1
    (line,) = [one.__dict__ for one in caplog.records if one.message == "turn"]
    assert (line["fields"]["outcome"], line["fields"]["stopped_by"]) == ("stopped", world.bob)


async def test_a_reply_by_edits_has_the_button_in_every_edit_but_the_last(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text=prose(600), tokens_per_second=150))
    ts = await world.ask()
    await world.until_shown(prose(600), ts)
    await world.idle()
    (reply,) = world.replies(ts)
    have = ["stop" in str(revision.blocks) for revision in reply.revisions]
    assert len(have) > 2 and have == [True] * (len(have) - 1) + [False]


@pytest.mark.usefixtures("small_messages")
async def test_only_the_last_message_of_a_long_reply_has_the_button(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text=prose(8_000), tokens_per_second=400))
    ts = await world.ask()
    await world.until(lambda: len(world.replies(ts)) == 3)
    first, second, third = world.replies(ts)
    has = ["stop" in str(message.blocks) for message in (first, second, third)]
    assert has == [False, False, True]
    await world.slack.press(world.ada, world.general, third.ts, "stop")
    await stopped(world, ts)
    assert len(first.revisions) + len(second.revisions) + len(third.revisions) < 14


@pytest.mark.parametrize("delivery", ["stream", "post"])
async def test_other_deliveries_have_no_button(world: World, delivery: str) -> None:
    async with world.bot(delivery=delivery):
        world.claude.script(Reply(text=prose(900), tokens_per_second=800))
        ts = await world.ask()
        await world.until_shown(prose(900), ts)
        await world.idle()
    shown = [revision.blocks for reply in world.replies(ts) for revision in reply.revisions]
    assert "stop" not in str(shown)


async def test_a_second_press_and_a_late_one_do_no_harm(world: World, bot: Server) -> None:
    world.claude.script(LONG)
    ts = await world.ask()
    reply = await growing(world, ts)
    presses = [world.slack.press(world.ada, world.general, reply.ts, "stop") for _ in range(2)]
    assert await asyncio.gather(*presses) == [200, 200]
    await stopped(world, ts)
    assert world.slack.ephemerals == []
    assert await world.slack.press(world.bob, world.general, reply.ts, "stop") == 200
    await world.until(lambda: world.slack.ephemerals)
    await stopped(world, ts)
    (note,) = world.slack.ephemerals
    assert (note.user, note.text) == (world.bob, sentences.NOTHING_TO_STOP)


async def test_a_stop_while_the_last_edit_is_on_its_way_leaves_the_reply_complete(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text=prose(300), tokens_per_second=400))
    slow = Fault(method="chat.update", kind="delay", seconds=0.5, when=is_last_edit)
    world.slack.fault(slow)
    ts = await world.ask()
    await world.until(lambda: slow.used)
    (reply,) = world.replies(ts)
    await world.slack.press(world.ada, world.general, reply.ts, "stop")
    await world.until_shown(prose(300), ts)
    await world.idle()
    assert labels(world, ts) == [] and outcomes(world.data_dir) == ["complete"]


async def test_a_stopped_reply_can_be_retried_and_an_old_button_does_not_stop_that(
    world: World, bot: Server
) -> None:
    world.claude.script(LONG, Reply(text=prose(700), tokens_per_second=200))
    ts = await world.ask("why?")
    reply = await growing(world, ts)
    (old,) = buttons(world, ts)
    await world.slack.press(world.ada, world.general, reply.ts, "stop")
    await stopped(world, ts)
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.claude.wait_for(lambda: len(world.claude.requests) == 2)
    await world.slack.press(world.ada, world.general, reply.ts, "stop", value=old["value"])
    await world.until(lambda: world.slack.ephemerals)
    assert world.slack.ephemerals[0].text == sentences.NOTHING_TO_STOP
    await world.until_shown(prose(700), ts)
    await world.idle()
    assert world.replies(ts) == [reply] and labels(world, ts) == []
    assert sorted(filter(None, outcomes(world.data_dir))) == ["complete", "stopped"]


async def test_only_who_may_ask_may_stop(world: World) -> None:
    async with world.bot(allowed_users=frozenset({world.ada})):
        world.claude.script(Reply(text=prose(900), tokens_per_second=200))
        ts = await world.ask()
        reply = await growing(world, ts)
        await world.slack.press(world.bob, world.general, reply.ts, "stop")
        await world.slack.react(world.bob, world.general, reply.ts, SIGN)
        await world.slack.say(world.bob, world.general, "<@U0BOT> stop", thread_ts=ts)
        await world.slack.say(world.bob, world.general, "stop", thread_ts=ts)
        await world.until_shown(prose(900), ts)
        await world.idle()
    (note,) = world.slack.ephemerals
    assert note.user == world.bob and "not on the list" in note.text
    assert len(world.claude.requests) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param("<!channel> *Eve*\n> x", "Stopped by <!channel> *Eve* > x.", id="a bad name"),
        pytest.param("", "Stopped by Robert.", id="no display name"),
        pytest.param(None, "Stopped by somebody else.", id="not told in time"),
    ],
)
async def test_the_line_says_the_name_and_nobody_is_notified(
    world: World, bot: Server, name: str | None, line: str
) -> None:
    world.claude.script(SLOW)
    eve = world.slack.add_user("Robert", display_name=name)
    if name is None:
        world.slack.fault(Fault(method="users.info", kind="delay", seconds=2.0, skip=1))
    ts = await world.ask()
    await world.until(lambda: world.slack.count("users.info"))
    await world.claude.wait_for(lambda: world.claude.open_streams == 1)
    await world.slack.press(eve, world.general, world.replies(ts)[0].ts, "stop")
    escaped = line.replace("<", "&lt;").replace(">", "&gt;")
    await stopped(world, ts, escaped)
    assert world.slack.notified == []


# --- by word ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_stop"),
    [
        ("stop", True),
        ("  STOP!!", True),
        ("!stop", True),
        ("*Stop*.", True),
        ("_stop_", True),
        ("please stop", True),
        ("Stop it, please!", True),
        ("cancel", True),
        ("<@U0BOT> stop", True),
        ("stop <@U0BOT|claude>", True),
        ("stop?", False),
        ("stop writing in German", False),
        ("<@U0ADA> stop", False),
        ("how do I stop a process", False),
        ("unstoppable", False),
        ("<@U0BOT>", False),
        ("", False),
        ("stop" + "!" * 100, False),
    ],
)
def test_what_says_stop(text: str, is_stop: bool) -> None:
    question = Question(team="T", channel="C", user="U", ts="1.1", surface="channel", text=text)
    assert says_stop(question, "U0BOT") is is_stop


@pytest.mark.parametrize(
    ("delivery", "text"),
    [("edit", "<@U0BOT> Stop!"), ("edit", "stop"), ("stream", "stop"), ("post", "<@U0BOT> stop")],
)
async def test_a_word_in_the_thread_stops_the_reply(world: World, delivery: str, text: str) -> None:
    async with world.bot(delivery=delivery):
        world.claude.script(LONG)
        ts = await world.ask()
        if delivery == "post":
            await world.claude.wait_for(lambda: any(one.sent for one in world.claude.requests))
        else:
            await growing(world, ts)
        await world.slack.say(world.bob, world.general, text, thread_ts=ts)
        await stopped(world, ts, "Stopped by bob.")
    assert len(world.claude.requests) == 1 and len(world.replies(ts)) == 1
    assert sorted(map(str, outcomes(world.data_dir))) == ["ignored", "stopped"]
    assert world.slack.ephemerals == []


async def test_a_word_stops_flat_direct_messages_and_what_waits_there(
    world: World, bot: Server
) -> None:
    world.claude.script(LONG)
    await world.ask("one", channel=world.dm)
    await growing(world, None, world.dm)
    await world.ask("two", channel=world.dm)
    await world.until(lambda: len(world.replies(channel=world.dm)) == 2)
    await world.ask("stop", channel=world.dm)
    await world.until(lambda: labels(world, None, world.dm) == ["Retry"] * 2)
    await world.idle()
    first, second = world.replies(channel=world.dm)
    assert sentences.STOPPED in first.shown and sentences.STOPPED in second.shown
    assert len(world.claude.requests) == 1 and world.claude.open_streams == 0


def twins(world: World, ts: str, root: str) -> list[dict[str, Any]]:
    """The two events of a mention that says stop."""
    event = {"user": world.ada, "ts": ts, "event_ts": ts, "thread_ts": root}
    event |= {"text": "<@U0BOT> stop", "channel": world.general, "team": "T0EMULATOR"}
    message = event | {"type": "message", "channel_type": "channel"}
    return [event | {"type": "app_mention"}, message]


@pytest.mark.parametrize("order", [1, -1], ids=["mention first", "message first"])
async def test_the_twins_of_a_word_do_not_stop_and_ask(
    world: World, bot: Server, order: int
) -> None:
    world.claude.script(LONG)
    ts = await world.ask()
    await growing(world, ts)
    world.slack.settings.subscriptions = frozenset()
    word = await world.slack.say(world.ada, world.general, "<@U0BOT> stop", thread_ts=ts)
    first, second = twins(world, word, ts)[::order]
    assert (await world.slack.deliver(first)).status == 200
    await stopped(world, ts)
    assert (await world.slack.deliver(second)).status == 200
    await world.idle()
    assert len(world.claude.requests) == 1 and len(world.replies(ts)) == 1


async def test_where_nothing_is_under_way_a_word_is_a_question_or_nothing(
    world: World, bot: Server
) -> None:
    world.claude.script(*[Reply(text="All right.", keep=True)])
    ts = await world.ask()
    await world.until_shown("All right.", ts)
    await world.idle()
    await world.slack.say(world.ada, world.general, "stop", thread_ts=ts)
    await world.idle()
    assert len(world.claude.requests) == 1
    await world.ask("stop", thread_ts=ts)
    await world.ask("stop", channel=world.dm)
    await world.until(lambda: len(world.replies(ts)) == 2 and world.replies(channel=world.dm))
    await world.idle()
    assert len(world.claude.requests) == 3
    assert outcomes(world.data_dir) == ["complete"] * 3


async def test_a_word_in_a_thread_under_a_flat_reply_stops_it(world: World, bot: Server) -> None:
    world.claude.script(LONG)
    await world.ask(channel=world.dm)
    reply = await growing(world, None, world.dm)
    await world.ask("stop", channel=world.dm, thread_ts=reply.ts)
    await stopped(world, None, channel=world.dm)
    assert len(world.claude.requests) == 1


async def test_a_message_that_may_not_be_for_the_bot_is_stopped_in_silence(world: World) -> None:
    root = world.past_thread(["earlier"])
    async with world.bot(follow_ups="all"):
        hold = asyncio.Event()
        world.slack.fault(Fault(method="conversations.replies", kind="delay", until=hold))
        ts = await world.slack.say(world.ada, world.general, "and this?", thread_ts=root)
        await world.until(lambda: world.slack.count("conversations.replies"))
        await world.slack.react(world.ada, world.general, ts, SIGN)
        await world.idle()
        hold.set()
    assert outcomes(world.data_dir) == ["ignored"]
    assert world.replies(root) == [] and world.claude.requests == []


async def test_who_only_stops_has_not_asked_in_the_thread(world: World) -> None:
    async with world.bot(follow_ups="own"):
        world.claude.script(LONG)
        ts = await world.ask()
        await growing(world, ts)
        await world.slack.say(world.bob, world.general, "<@U0BOT> stop", thread_ts=ts)
        await stopped(world, ts, "Stopped by bob.")
        await world.slack.say(world.bob, world.general, "Let us talk.", thread_ts=ts)
        await world.idle()
    assert len(world.claude.requests) == 1


# --- by reaction, and with Slack's own button -------------------------------------------------


@pytest.mark.parametrize(
    ("delivery", "on"),
    [("edit", "question"), ("edit", "reply"), ("stream", "reply"), ("post", "question")],
)
async def test_a_stop_sign_on_the_question_or_the_reply_stops_it(
    world: World, delivery: str, on: str
) -> None:
    async with world.bot(delivery=delivery):
        world.claude.script(LONG)
        ts = await world.ask()
        if delivery == "post":  # nothing but the question is there yet
            at = ts
            await world.claude.wait_for(lambda: any(one.sent for one in world.claude.requests))
        else:
            reply = await growing(world, ts)
            at = reply.ts if on == "reply" else ts
        await world.slack.react(world.ada, world.general, at, "eyes")
        await world.delivered()
        assert world.claude.open_streams == 1
        await world.slack.react(world.ada, world.general, at, "black_square_for_stop")
        assert len(await stopped(world, ts)) > 1
        await world.slack.unreact(world.ada, world.general, at, "black_square_for_stop")
        await world.idle()
    assert len(world.claude.requests) == 1


async def test_a_stop_that_comes_again_does_not_stop_the_retry(world: World, bot: Server) -> None:
    text = prose(700)
    world.claude.script(LONG, Reply(text=text, tokens_per_second=200))
    ts = await world.ask()
    reply = await growing(world, ts)
    await world.slack.react(world.ada, world.general, ts, SIGN)
    await world.slack.say(world.ada, world.general, "stop", thread_ts=ts)
    await stopped(world, ts)
    old = [one for one in world.slack.events if one["event"]["type"] == "reaction_added"]
    old += [one for one in world.slack.events if one["event"].get("text") == "stop"]
    assert len(old) == 2
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.claude.wait_for(lambda: len(world.claude.requests) == 2)
    for event in old:
        assert (await world.slack.deliver(event, retry_num=1)).status == 200
    await world.until_shown(text, ts)
    await world.idle()
    assert labels(world, ts) == []


@pytest.mark.parametrize("stays_open", [False, True])
async def test_slacks_own_button_stops_a_streamed_reply(world: World, stays_open: bool) -> None:
    async with world.bot(delivery="stream"):
        world.claude.script(LONG)
        ts = await world.ask()
        reply = await growing(world, ts)
        await world.slack.stop_stream(world.bob, world.general, reply.ts, stays_open=stays_open)
        assert len(await stopped(world, ts, "Stopped by bob.")) > 30
    assert len(world.replies(ts)) == 1 and outcomes(world.data_dir) == ["stopped"]


async def test_a_session_without_a_stream_is_stopped_by_its_thread(
    world: World, bot: Server
) -> None:
    world.claude.script(SLOW, LONG)
    ts = await world.ask("one")
    other = await world.ask("two")
    await world.claude.wait_for(lambda: world.claude.open_streams == 2)
    event = {"type": "agent_session_stopped", "channel": world.general, "user": world.ada}
    event |= {"thread_ts": ts, "streaming_message_ts": [], "event_ts": "2000000000.000001"}
    assert (await world.slack.deliver(event)).status == 200
    await world.until(lambda: ends_with(world, ts, sentences.STOPPED))
    await world.until(lambda: len(world.shown(other)) > 30)
    await world.slack.react(world.ada, world.general, other, SIGN)
    await stopped(world, other)


async def test_a_stranger_in_a_shared_channel_may_not_stop_a_reply(
    world: World, bot: Server
) -> None:
    shared = world.slack.add_channel("shared", members=[world.ada], is_shared=True)
    eve = world.slack.add_user("Eve", team="T0OTHER", is_stranger=True)
    world.claude.script(LONG)
    ts = await world.ask(channel=shared)
    reply = await growing(world, ts, shared)
    await world.slack.react(eve, shared, reply.ts, SIGN)
    await world.slack.press(eve, shared, reply.ts, "stop")
    await world.slack.say(eve, shared, "stop", thread_ts=ts)
    await world.until(lambda: world.slack.ephemerals)
    await world.delivered()
    assert world.claude.open_streams == 1 and labels(world, ts, shared) == ["Stop"]
    await world.slack.react(world.ada, shared, reply.ts, SIGN)
    await stopped(world, ts, channel=shared)


# --- wherever the reply is --------------------------------------------------------------------


async def test_a_question_that_waits_is_stopped_alone(world: World, bot: Server) -> None:
    text = prose(700)
    world.claude.script(Reply(text=text, tokens_per_second=200))
    root = await world.ask("first")
    await growing(world, root)
    second = await world.ask("second", thread_ts=root)
    await world.until(
        lambda: (
            sentences.AFTER
            in world.replies(root)[-1].shown + world.slack.status(world.general, root)
        )
    )
    await world.slack.react(world.ada, world.general, second, SIGN)
    await world.until(lambda: labels(world, root)[-1:] == ["Retry"])
    await world.until(lambda: same(world.replies(root)[0].sent_markdown, text))
    await world.idle()
    assert len(world.claude.requests) == 1
    assert sorted(map(str, outcomes(world.data_dir))) == ["complete", "stopped"]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(status=429, error_type="rate_limit_error", retry_after=30), id="waits"),
        pytest.param(Reply(text="x", thinking=True, thinking_s=30.0), id="thinks"),
    ],
)
async def test_a_stop_is_heeded_while_claude_waits_or_thinks(
    world: World, bot: Server, reply: Reply
) -> None:
    world.claude.script(reply)
    ts = await world.ask()
    await world.claude.wait_for(lambda: world.claude.requests)
    await world.until(lambda: labels(world, ts) == ["Stop"])
    await world.slack.press(world.ada, world.general, world.replies(ts)[0].ts, "stop")
    await stopped(world, ts)
    assert len(world.claude.requests) == 1


async def test_a_stop_is_heeded_while_claude_writes_in_one_piece(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.claude.BACKOFF_S", 0.01)
    async with world.bot(claude_fallback_model=None):
        whole = Reply(
            text="Too late.", first_token_s=30.0, when=lambda body: not body.get("stream")
        )
        world.claude.script(whole, Reply(status=500, error_type="api_error", keep=True))
        ts = await world.ask()
        await world.claude.wait_for(
            lambda: any(not one.body.get("stream") for one in world.claude.requests)
        )
        await world.slack.react(world.ada, world.general, ts, SIGN)
        await stopped(world, ts)
        await world.claude.wait_for(lambda: world.claude.requests[-1].closed_by_client)


async def test_what_was_written_belongs_to_the_conversation(world: World, bot: Server) -> None:
    world.claude.script(LONG, Reply(text="As I said."))
    ts = await world.ask()
    await growing(world, ts)
    await world.slack.say(world.ada, world.general, "stop", thread_ts=ts)
    text = await stopped(world, ts)
    await world.ask("and then?", thread_ts=ts)
    await world.until_says("As I said.", ts)
    turns = world.claude.requests[-1].body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert same(said(turns[1]), text) and sentences.STOPPED not in said(turns[1])


# --- several processes ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["button", "word", "plain word", "reaction", "native"])
async def test_a_stop_reaches_the_process_that_writes(world: World, two: Two, way: str) -> None:
    world.claude.script(LONG)
    two.route_to(two.first)
    ts = await world.ask()
    reply = await growing(world, ts)
    await world.delivered()
    two.route_to(two.second)
    match way:
        case "button":
            assert await world.slack.press(world.ada, world.general, reply.ts, "stop") == 200
        case "word":
            await world.ask("stop", thread_ts=ts)
        case "plain word":
            await world.slack.say(world.ada, world.general, "stop", thread_ts=ts)
        case "reaction":
            await world.slack.react(world.ada, world.general, reply.ts, SIGN)
        case _:
            event = {"type": "agent_session_stopped", "channel": world.general, "user": world.ada}
            event |= {"thread_ts": ts, "streaming_message_ts": [], "event_ts": "2000000000.000001"}
            await world.slack.deliver(event)
    await world.until(lambda: ends_with(world, ts, sentences.STOPPED))
    await two.idle()
    assert world.claude.open_streams == 0
    assert len(world.claude.requests) == 1 and len(world.replies(ts)) == 1
    if way == "button":
        await world.slack.press(world.ada, world.general, reply.ts, "stop")
        await world.until(lambda: world.slack.ephemerals)
        assert world.slack.ephemerals[0].text == sentences.NOTHING_TO_STOP


async def test_the_button_of_the_run_before_an_edit_of_the_question_counts(
    world: World, bot: Server
) -> None:
    world.claude.script(LONG, LONG)
    ts = await world.ask()
    reply = await growing(world, ts)
    shown = Fault(
        method="chat.update",
        kind="delay",
        seconds=0.5,
        when=lambda args: f"{ts}:1" in str(args.get("metadata")),
    )
    world.slack.fault(shown)
    await world.slack.edit(world.ada, world.general, ts, "<@U0BOT> something else?")
    await world.until(lambda: shown.used)
    assert await world.slack.press(world.ada, world.general, reply.ts, "stop") == 200
    await stopped(world, ts)
    assert not world.slack.ephemerals


async def test_the_word_counts_while_the_process_drains(world: World) -> None:
    world.claude.script(LONG)
    async with world.bot() as server:
        await world.ask(channel=world.dm)
        await growing(world, None, world.dm)
        draining = asyncio.create_task(server.drain(5.0))
        await asyncio.sleep(0)
        await world.ask("stop", channel=world.dm)
        await draining
    assert ends_with(world, None, sentences.STOPPED, world.dm)
