"""Lost, late and refused calls of Slack: no twin, no older text over the last one, no silence."""

from __future__ import annotations

import itertools

import pytest

from bot import slack
from bot.live_message import doubt, edits, writer
from bot.pacing import Pacer
from bot.playground.claude import Damage, Reply
from bot.playground.slack import Fault
from bot.serve import Server
from bot.turns.sentences import REFUSED
from tests.conftest import World, before_the_aside, prose, same


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "CALL_TIMEOUT_S", 0.4)
    monkeypatch.setattr(writer, "TRY_AGAIN_S", (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    monkeypatch.setattr(edits, "LOOK_AGAIN_S", (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    monkeypatch.setattr(writer, "LOOK_AFTER_S", (0.05, 0.3, 0.6))
    monkeypatch.setattr(doubt, "LOOK_AFTER_S", (0.05, 0.1, 0.1))


async def test_an_edit_that_takes_effect_late_does_not_overwrite_the_final_text(
    world: World, bot: Server
) -> None:
    text = prose(900)
    world.slack.fault(Fault(method="chat.update", kind="delay", seconds=0.9, skip=1))
    world.claude.script(Reply(text=text, tokens_per_second=300))
    ts = await world.ask()
    await world.idle()
    assert same(world.shown(ts), text)


async def test_a_post_that_takes_effect_late_leaves_no_twin(world: World, bot: Server) -> None:
    world.slack.fault(Fault(method="chat.postMessage", kind="delay", seconds=0.9))
    world.claude.script(Reply(text=prose(400), tokens_per_second=100))
    ts = await world.ask()
    await world.idle()
    assert len(world.replies(ts)) == 1
    assert same(world.shown(ts), prose(400))


async def test_a_lost_post_is_not_repeated_while_slack_cannot_be_read(
    world: World, bot: Server
) -> None:
    world.slack.fault(Fault(method="chat.postMessage", kind="lost"))
    world.slack.fault(
        Fault(method="conversations.replies", kind="error", error="internal_error", times=4)
    )
    world.claude.script(Reply(text="Only once."))
    ts = await world.ask()
    await world.until_shown("Only once.", ts)
    await world.idle()
    assert len(world.replies(ts)) == 1
    assert world.slack.count("chat.postMessage") == 1


async def test_a_refused_text_goes_also_where_its_post_was_under_way(
    world: World, bot: Server
) -> None:
    world.slack.latency_s = 0.15
    world.claude.script(Reply(text=prose(12_000), stop_reason="refusal"))
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    assert REFUSED in reply.shown and "Sentence" not in reply.shown


@pytest.mark.parametrize("when", ["the placeholder", "the second message", "the final texts"])
async def test_a_question_deleted_during_a_post_leaves_nothing_behind(
    world: World, bot: Server, when: str
) -> None:
    world.slack.latency_s = 0.15
    long = when != "the placeholder"
    text = prose(60_000 if when == "the final texts" else 11_000)
    world.claude.script(Reply(text=text, tokens_per_second=100_000 if long else 50))
    posts = {"the placeholder": 1, "the second message": 2, "the final texts": 3}[when]
    await world.ask(channel=world.dm)
    await world.until(lambda: world.slack.count("chat.postMessage") >= posts)
    question = next(m for m in world.slack.messages(world.dm) if not m.bot_id)
    await world.slack.delete(world.ada, world.dm, question.ts)
    await world.idle()
    assert world.replies(channel=world.dm) == []


@pytest.mark.parametrize(
    "error",
    [
        "metadata_too_large",
        "invalid_metadata_format",
        "no_text",
        "accesslimited",
        "an_error_of_tomorrow",
        "invalid_blocks",
        "msg_too_long",
    ],
)
@pytest.mark.parametrize("times", [1, 3])
async def test_no_error_of_an_edit_costs_the_reply(
    world: World, bot: Server, error: str, times: int
) -> None:
    text = prose(1_800)
    world.slack.fault(Fault(method="chat.update", kind="error", error=error, times=times))
    world.claude.script(Reply(text=text, tokens_per_second=2_000))
    ts = await world.ask()
    await world.until(lambda: len(world.claude.requests) == 1)
    await world.idle()
    shown = " ".join(reply.shown for reply in world.replies(ts))
    assert same(shown, text)


@pytest.mark.parametrize("error", ["edit_window_closed", "cant_update_message"])
async def test_a_message_that_cannot_be_edited_does_not_stay_on_thinking(
    world: World, bot: Server, error: str
) -> None:
    world.slack.fault(Fault(method="chat.update", kind="error", error=error))
    world.claude.script(Reply(text="In a new message."))
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    assert reply.sent_markdown == "In a new message."


async def test_a_pause_of_an_hour_does_not_hold_the_final_text(world: World, bot: Server) -> None:
    world.slack.fault(Fault(method="chat.update", kind="ratelimited", retry_after_s=3_600))
    world.claude.script(Reply(text="Posted instead."))
    ts = await world.ask()
    await world.until_shown("Posted instead.", ts)
    await world.idle()
    assert len(world.replies(ts)) == 1


async def test_a_rate_limit_on_posts_pauses_the_workspace_and_shows_the_status_line(
    world: World, bot: Server
) -> None:
    world.slack.fault(Fault(method="chat.postMessage", kind="ratelimited", retry_after_s=1))
    world.claude.script(Reply(text="Done.", keep=True))
    first = await world.ask("one")
    await world.until(lambda: world.slack.statuses)
    second = await world.ask("two", channel=world.secret)
    await world.until_shown("Done.", first)
    await world.until_shown("Done.", second, channel=world.secret)
    assert world.slack.impatient == []


async def test_a_cut_after_the_stop_reason_is_no_break(world: World, bot: Server) -> None:
    world.claude.script(Reply(text="All of it.", damage=Damage("no_stop_event")))
    ts = await world.ask()
    await world.until_shown("All of it.", ts)
    await world.idle()
    assert len(world.claude.requests) == 1
    assert "broke" not in world.replies(ts)[0].shown


async def test_half_characters_reach_neither_slack_nor_claude(world: World, bot: Server) -> None:
    world.claude.script(Reply(chunks=["a \ud83d", "\ude00 b \ud83d", " c"]))
    ts = await world.ask("what is \ud83d this")
    await world.until_shown("a 😀 b \ufffd c", ts)
    asked = world.claude.requests[0].body["messages"][0]
    assert before_the_aside(asked) == "[ada] what is \ufffd this"


@pytest.mark.parametrize("times", [2, 1_000])
async def test_edits_that_are_refused_again_and_again_cost_no_text(
    world: World, bot: Server, times: int
) -> None:
    text = prose(2_400)
    world.slack.fault(
        Fault(method="chat.update", kind="error", error="edit_window_closed", times=times)
    )
    world.claude.script(Reply(text=text, tokens_per_second=400))
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    assert same(reply.sent_markdown, text)


@pytest.mark.parametrize("kind", ["ratelimited", "reset", "lost"])
async def test_a_placeholder_that_cannot_be_deleted_at_first_is_deleted_in_the_end(
    world: World, bot: Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.live_message.clearing.TRY_AGAIN_S", (0.05, 0.1, 0.2))
    world.slack.fault(Fault(method="chat.update", kind="error", error="cant_update_message"))
    world.slack.fault(Fault(method="chat.delete", kind=kind, retry_after_s=1))  # type: ignore[arg-type]
    world.claude.script(Reply(text="In a new message."))
    ts = await world.ask()
    await world.idle()
    (reply,) = world.replies(ts)
    assert reply.sent_markdown == "In a new message."


async def test_a_file_that_fails_late_loses_no_text(world: World) -> None:
    text = prose(20_000)
    world.slack.fault(Fault(method="files.completeUploadExternal", kind="hang", seconds=0.6))
    world.claude.script(Reply(text=text, tokens_per_second=1_500))
    async with world.bot(max_messages=2):
        ts = await world.ask()
        await world.idle()
    assert same(world.shown(ts), text)


async def test_posts_of_a_channel_arrive_a_second_apart_however_the_network_delays_them(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[float] = []
    posted = Pacer.posted

    def noted(pacer: Pacer, team: str, channel: str, took_s: float) -> None:
        took.append(took_s)
        posted(pacer, team, channel, took_s)

    monkeypatch.setattr(Pacer, "posted", noted)
    for number in range(3):
        world.slack.fault(
            Fault(method="chat.postMessage", kind="delay", seconds=0.25, skip=2 * number)
        )
    world.claude.script(Reply(text="Done.", keep=True))
    asked = [await world.ask(f"question {number}") for number in range(4)]
    for ts in asked:
        await world.until_shown("Done.", ts)
    answered = [c for c in world.slack.calls if c.method == "chat.postMessage"]
    for (before, after), took_s in zip(itertools.pairwise(answered), took, strict=False):
        if took_s >= 1.0:  # a busy machine: the next one did not wait for the answer
            break
        assert after.at - (before.answered_at or before.at) >= 1.0
