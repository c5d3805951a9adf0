"""Retry and Continue: pressed once or twice, by whom, with nothing left but what is in Slack."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StoreUnavailable
from bot.live_message.draft import IN_THE_FILE
from bot.playground.claude import Damage, Reply
from bot.playground.slack import Fault
from bot.serve import Server
from bot.slack import Mark
from bot.store.sqlite import SqliteStore
from bot.turns import again, sentences
from bot.turns.buttons import RUNS
from tests.conftest import (
    World,
    code,
    is_last_edit,
    lines,
    other_app_says,
    prose,
    said,
    same,
    touched,
)

BROKEN = Reply(error_type="invalid_request_error", status=400)


def buttons(world: World, ts: str | None, channel: str | None = None) -> list[dict[str, Any]]:
    """What can be pressed under the reply."""
    found = []
    for reply in world.replies(ts, channel):
        for block in reply.blocks:
            found += block["elements"] if block["type"] == "actions" else []
    return found


def labels(world: World, ts: str | None, channel: str | None = None) -> list[str]:
    return [button["text"]["text"] for button in buttons(world, ts, channel)]


async def test_a_failed_reply_can_be_retried_in_the_same_message(world: World, bot: Server) -> None:
    world.claude.script(BROKEN)
    ts = await world.ask("why?")
    await world.idle()
    (reply,) = world.replies(ts)
    (button,) = buttons(world, ts)
    key = f"T0EMULATOR:{world.general}:{ts}"
    assert (button["action_id"], button["text"]["text"]) == ("retry", "Retry")
    assert json.loads(button["value"]) == {"v": 1, "key": key, "run": 0, "asker": world.ada}
    world.claude.script(Reply(text="Because."))
    assert await world.slack.press(world.ada, world.general, reply.ts, "retry") == 200
    await world.until_shown("Because.", ts)
    await world.idle()
    assert [one.ts for one in world.replies(ts)] == [reply.ts]
    assert buttons(world, ts) == []
    assert "why?" in world.claude.requests[-1].last_user_text
    assert world.slack.count("chat.postMessage") == 1


async def test_partial_text_stays_until_the_retry_has_more(world: World, bot: Server) -> None:
    text = prose(2_000)
    world.claude.script(
        Reply(text=text, damage=Damage("cut", at=700)),
        BROKEN,
    )
    ts = await world.ask()
    await world.idle()
    assert labels(world, ts) == ["Retry"]
    partial = world.shown(ts)
    assert len(partial) > 500
    world.claude.script(Reply(text=text, tokens_per_second=400))
    (reply,) = world.replies(ts)
    before = len(reply.revisions)
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.until_shown(text, ts)
    (reply,) = world.replies(ts)
    words = [len(revision.markdown.split()) for revision in reply.revisions[before:]]
    assert min(words) >= len(partial.split()) - 1 and words == sorted(words)


async def test_a_flat_direct_message_can_be_retried(world: World, bot: Server) -> None:
    world.claude.script(BROKEN)
    await world.ask("why?", channel=world.dm)
    await world.idle()
    (reply,) = world.replies(channel=world.dm)
    world.claude.script(Reply(text="Because."))
    await world.slack.press(world.ada, world.dm, reply.ts, "retry")
    await world.until_shown("Because.", channel=world.dm)
    assert [one.ts for one in world.replies(channel=world.dm)] == [reply.ts]


async def test_pressed_twice_is_once(world: World, bot: Server) -> None:
    world.claude.script(BROKEN)
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    world.claude.script(Reply(text="Once.", first_token_s=0.2), Reply(text="Twice."))
    presses = [world.slack.press(world.ada, world.general, reply.ts, "retry") for _ in range(3)]
    assert await asyncio.gather(*presses) == [200, 200, 200]
    await world.until_shown("Once.", ts)
    await world.idle()
    assert len(world.claude.requests) == 2
    assert [note.text for note in world.slack.ephemerals] == [sentences.ALREADY] * 2


async def test_a_retry_that_fails_can_be_retried(world: World, bot: Server) -> None:
    world.claude.script(BROKEN, BROKEN)
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.until(lambda: '"run":1' in str(buttons(world, ts)))
    world.claude.script(Reply(text="At last."))
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.until_shown("At last.", ts)


async def test_only_who_may_ask_may_press(world: World) -> None:
    async with world.bot(allowed_users=frozenset({world.ada})):
        world.claude.script(BROKEN)
        ts = await world.ask()
        await world.idle()
        (reply,) = world.replies(ts)
        assert await world.slack.press(world.bob, world.general, reply.ts, "retry") == 200
        await world.until(lambda: world.slack.ephemerals)
        await world.idle()
        (note,) = world.slack.ephemerals
        assert note.user == world.bob and "not on the list" in note.text
        assert len(world.claude.requests) == 1
        assert labels(world, ts) == ["Retry"]


async def test_the_presser_is_judged_and_not_the_asker(world: World) -> None:
    async with world.bot():
        world.claude.script(BROKEN)
        ts = await world.ask()
        await world.idle()
    async with world.bot(allowed_users=frozenset({world.bob})):
        (reply,) = world.replies(ts)
        world.claude.script(Reply(text="For Bob."))
        await world.slack.press(world.bob, world.general, reply.ts, "retry")
        await world.until_shown("For Bob.", ts)
    assert world.slack.ephemerals == []


async def test_a_flat_reply_under_which_a_thread_was_opened_is_retried_in_place(
    world: World, bot: Server
) -> None:
    world.claude.script(BROKEN, Reply(text="In the thread."))
    await world.ask("why?", channel=world.dm)
    await world.idle()
    (reply,) = world.replies(channel=world.dm)
    await world.ask("what is wrong?", channel=world.dm, thread_ts=reply.ts)
    await world.until_says("In the thread.", channel=world.dm)
    await world.idle()
    world.claude.script(Reply(text="Because."))
    await world.slack.press(world.ada, world.dm, reply.ts, "retry")
    await world.until(lambda: same(reply.sent_markdown, "Because."))
    await world.idle()
    flat = [one for one in world.replies(channel=world.dm) if one.thread_ts is None]
    assert flat == [reply] and len(world.replies(channel=world.dm)) == 2


async def test_a_flat_reply_is_retried_in_place_though_a_thousand_messages_came_after_it(
    world: World, bot: Server
) -> None:
    world.claude.script(BROKEN)
    await world.ask("why?", channel=world.dm)
    await world.idle()
    (reply,) = world.replies(channel=world.dm)
    world.slack.settings.subscriptions = frozenset()  # nobody tells the bot of them
    for number in range(1_001):
        await world.slack.say(world.ada, world.dm, f"n{number}")
    world.claude.script(Reply(text="Because."))
    await world.slack.press(world.ada, world.dm, reply.ts, "retry")
    await world.until(lambda: same(reply.sent_markdown, "Because."))
    await world.idle()
    assert world.replies(channel=world.dm) == [reply]
    assert "why?" in world.claude.requests[-1].last_user_text


@pytest.mark.parametrize("kind", ["lost", "apply_http"])
async def test_a_retry_stands_though_the_last_edit_of_the_failed_reply_is_in_doubt(
    world: World, bot: Server, kind: Any
) -> None:
    world.claude.script(BROKEN)
    world.slack.fault(Fault(method="chat.update", kind=kind, when=is_last_edit))
    ts = await world.ask("why?")
    await world.until(lambda: labels(world, ts) == ["Retry"])
    (reply,) = world.replies(ts)
    world.claude.script(Reply(text="Because."))
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.until_shown("Because.", ts)
    await world.idle()
    assert same(world.shown(ts), "Because.")
    assert labels(world, ts) == []


async def test_a_retry_waits_for_slack_when_its_question_cannot_be_read_yet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.turns.recovery.LOOK_EVERY_S", 0.05)
    async with world.bot():
        world.claude.script(BROKEN)
        ts = await world.ask("why?")
        await world.idle()
        (reply,) = world.replies(ts)
        limit = Fault(method="conversations.replies", kind="ratelimited", retry_after_s=1)
        world.slack.fault(limit)
        world.claude.script(Reply(text="Because."))
        await world.slack.press(world.ada, world.general, reply.ts, "retry")
        await world.until_shown("Because.", ts)
        await world.idle()
    assert limit.used == 1 and world.slack.impatient == []
    assert [note.text for note in world.slack.ephemerals] == [sentences.UNREAD_YET]


async def test_a_mark_of_another_app_does_not_block_a_retry(world: World, bot: Server) -> None:
    world.claude.script(BROKEN)
    ts = await world.ask("why?")
    await world.idle()
    (reply,) = world.replies(ts)
    turn = f"T0EMULATOR:{world.general}:{ts}:7"
    await other_app_says(world, ts, Mark(turn, part=0, rev=1, final=True))
    world.claude.script(Reply(text="Because."))
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.until(lambda: same(reply.sent_markdown, "Because."))


async def test_a_message_that_another_app_has_marked_is_not_taken_away_with_the_reply(
    world: World, bot: Server
) -> None:
    world.claude.script(BROKEN)
    ts = await world.ask("why?")
    await world.idle()
    (reply,) = world.replies(ts)
    turn = f"T0EMULATOR:{world.general}:{ts}:0"
    theirs = await other_app_says(world, ts, Mark(turn, part=1, rev=1))
    await world.slack.delete(world.ada, world.general, ts)
    await world.slack.press(world.ada, world.general, reply.ts, "retry")
    await world.until(lambda: reply.deleted)
    await world.idle()
    assert touched(world, theirs) == []


@pytest.mark.usefixtures("small_messages")
@pytest.mark.parametrize("text", [prose(1_700), code(1_700)], ids=["prose", "code"])
async def test_a_retry_that_fails_leaves_the_text_of_all_messages_as_it_was(
    world: World, bot: Server, text: str
) -> None:
    ts = await cut_off_in_the_third_message(world, text)
    before = [lines(reply.sent_markdown) for reply in world.replies(ts)]
    world.claude.script(BROKEN)
    await world.slack.press(world.ada, world.general, world.replies(ts)[-1].ts, "retry")
    await world.until(lambda: '"run":1' in str(buttons(world, ts)))
    await world.idle()
    assert [lines(reply.sent_markdown) for reply in world.replies(ts)] == before
    assert labels(world, ts) == ["Retry"]


@pytest.mark.usefixtures("small_messages")
async def test_a_retry_keeps_the_order_though_the_first_message_was_deleted(
    world: World, bot: Server
) -> None:
    text = prose(1_700)
    ts = await cut_off_in_the_third_message(world, text)
    first, *left = world.replies(ts)
    await world.slack.delete(world.ada, world.general, first.ts)
    world.claude.script(Reply(text=text))
    await world.slack.press(world.ada, world.general, left[-1].ts, "retry")
    await world.until_shown(text, ts)
    await world.idle()
    assert world.replies(ts)[:2] == left and same(world.shown(ts), text)


async def cut_off_in_the_third_message(world: World, text: str) -> str:
    """The ts of a question whose reply, three small messages long, broke near its end."""
    world.claude.script(Reply(text=text, damage=Damage("cut", at=len(text) - 50)), BROKEN)
    ts = await world.ask()
    await world.until(lambda: labels(world, ts) == ["Retry"])
    await world.idle()
    assert len(world.replies(ts)) == 3
    return ts


async def test_a_reply_at_its_length_limit_goes_on_below(world: World, bot: Server) -> None:
    text = prose(1_500)
    world.claude.script(Reply(text=text, stop_reason="max_tokens"))
    ts = await world.ask("count!")
    await world.until(lambda: labels(world, ts) == ["Continue"])
    await world.idle()
    (first,) = world.replies(ts)
    world.claude.script(Reply(text="And so on.", stop_reason="max_tokens"))
    await world.slack.press(world.bob, world.general, first.ts, "continue")
    await world.until(lambda: len(world.replies(ts)) == 2)
    await world.until_says("And so on.", ts)
    await world.idle()
    turns = world.claude.requests[-1].body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert "count!" in said(turns[0]) and same(turns[1]["content"], text)
    second = world.replies(ts)[-1]
    world.claude.script(Reply(text="The end."))
    await world.slack.press(world.ada, world.general, second.ts, "continue")
    await world.until_says("The end.", ts)
    assert "And so on." in world.claude.requests[-1].body["messages"][1]["content"]
    assert same(world.replies(ts)[0].sent_markdown, text)


@pytest.mark.usefixtures("small_messages")
async def test_a_reply_whose_rest_is_in_a_file_cannot_be_continued(world: World) -> None:
    async with world.bot(max_messages=1):
        world.claude.script(Reply(text=prose(1_500), stop_reason="max_tokens"))
        ts = await world.ask()
        await world.until_says(sentences.TRUNCATED, ts)
        await world.idle()
    shown = " ".join(reply.shown for reply in world.replies(ts))
    assert IN_THE_FILE in shown and any(reply.files for reply in world.replies(ts))
    assert labels(world, ts) == []


async def test_a_continuation_that_fails_is_retried_as_one(world: World, bot: Server) -> None:
    world.claude.script(Reply(text="One.", stop_reason="max_tokens"), BROKEN)
    ts = await world.ask("count!")
    await world.until(lambda: labels(world, ts) == ["Continue"])
    await world.slack.press(world.ada, world.general, world.replies(ts)[0].ts, "continue")
    await world.until(lambda: labels(world, ts) == ["Continue", "Retry"])
    await world.idle()
    world.claude.script(Reply(text="Two."))
    await world.slack.press(world.ada, world.general, world.replies(ts)[1].ts, "retry")
    await world.until_says("Two.", ts)
    assert "One." in world.claude.requests[-1].body["messages"][1]["content"]
    assert len(world.replies(ts)) == 2


async def test_retry_works_with_an_empty_store(world: World, tmp_path: Path) -> None:
    async with world.bot():
        world.claude.script(BROKEN)
        root = await world.slack.say(world.bob, world.general, "earlier")
        ts = await world.ask("why?", thread_ts=root)
        await world.idle()
    async with world.bot(data_dir=str(tmp_path / "another disk")):
        world.claude.script(Reply(text="Because."))
        reply = world.replies(root)[0]
        await world.slack.press(world.ada, world.general, reply.ts, "retry")
        await world.until_shown("Because.", root)
        await world.idle()
    asked = world.claude.requests[-1].last_user_text
    assert ts and "earlier" in asked and "why?" in asked


async def test_a_stale_press_after_the_store_was_lost_changes_nothing(
    world: World, tmp_path: Path
) -> None:
    async with world.bot():
        world.claude.script(BROKEN, Reply(text="Because."))
        ts = await world.ask("why?")
        await world.idle()
        (reply,) = world.replies(ts)
        await world.slack.press(world.ada, world.general, reply.ts, "retry")
        await world.until_shown("Because.", ts)
        await world.idle()
    async with world.bot(data_dir=str(tmp_path / "another disk")):
        await world.slack.press(world.ada, world.general, reply.ts, "retry")
        await world.until(lambda: world.slack.ephemerals)
        await world.idle()
    assert world.slack.ephemerals[-1].text == sentences.ALREADY
    assert len(world.claude.requests) == 2 and same(world.shown(ts), "Because.")


@pytest.mark.parametrize("value", ["", "{}", '{"v":2,"key":"a:b:c","run":0,"asker":"U1"}', "null"])
async def test_a_button_of_another_version_is_answered_politely(
    world: World, bot: Server, value: str
) -> None:
    world.claude.script(BROKEN)
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    pressed = await world.slack.press(world.ada, world.general, reply.ts, "retry", value=value)
    assert pressed == 200
    await world.until(lambda: world.slack.ephemerals)
    assert [note.text for note in world.slack.ephemerals] == [sentences.OUTDATED]


async def test_a_press_while_the_store_is_away_says_so_in_time(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude.script(BROKEN)
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)

    async def away(*_: object) -> bool:
        raise StoreUnavailable("away")

    monkeypatch.setattr(SqliteStore, "accept", away)
    assert await world.slack.press(world.ada, world.general, reply.ts, "retry") == 200
    await world.until(lambda: world.slack.ephemerals)
    assert world.slack.ephemerals[0].text == sentences.NOT_NOW
    assert labels(world, ts) == ["Retry"]


async def test_a_retry_of_a_deleted_question_takes_the_reply_away(
    world: World, bot: Server
) -> None:
    world.claude.script(BROKEN)
    await world.ask(channel=world.dm)
    await world.idle()
    (reply,) = world.replies(channel=world.dm)
    (asked,) = [one for one in world.slack.messages(world.dm) if not one.bot_id]
    await world.slack.delete(world.ada, world.dm, asked.ts)
    await world.slack.press(world.ada, world.dm, reply.ts, "retry")
    await world.until(lambda: not world.replies(channel=world.dm))


@pytest.mark.parametrize(
    ("changed", "is_ours"),
    [
        pytest.param({}, True, id="the value as it was written"),
        pytest.param({"run": RUNS - 1}, True, id="the last run"),
        pytest.param({"run": RUNS}, False, id="a run too many"),
        pytest.param({"run": -1}, False, id="a run before the first"),
        pytest.param({"key": "T1:C2:1.1"}, False, id="a question of another channel"),
        pytest.param({"key": "T1:C1:99e9"}, False, id="no time of a message"),
        pytest.param({"asker": "U\ud83d"}, False, id="half a sign in an id"),
    ],
)
def test_a_button_counts_only_for_a_run_of_a_question_of_its_channel(
    changed: dict[str, object], is_ours: bool
) -> None:
    value = {"v": 1, "key": "T1:C1:1.1", "run": 0, "asker": "U1"} | changed
    assert (again.pressed("retry", json.dumps(value), "C1", None) is not None) is is_ours


@given(
    st.text(),
    st.text()
    | st.builds(
        json.dumps,
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["v", "key", "run", "asker", "continues"]) | st.text(), inner
                )
            ),
        ),
    ),
)
def test_no_value_of_a_button_is_too_strange(action: str, value: str) -> None:
    again.pressed(action, value, "C1", None)
