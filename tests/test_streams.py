"""A reply that goes through Slack's native stream: whole, once, always stopped, whatever fails."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.live_message import doubt, edits, streams, writer
from bot.playground.claude import Damage, Reply
from bot.playground.slack import Call, Fault
from bot.playground.slack.faults import FaultKind
from bot.serve import Server
from bot.store import BEGINS
from bot.store.sqlite import SqliteStore
from bot.turn import TurnKey
from tests.conftest import World, code, going_on, prose, same

START, APPEND, STOP, UPDATE = (
    "chat.startStream",
    "chat.appendStream",
    "chat.stopStream",
    "chat.update",
)
STREAMS = (START, APPEND, STOP)
SLOWLY = 1_000.0
"""Tokens per second: prose of 3,000 characters takes some three quarters of a second."""

AGAIN = (0.1,) * 40
"""When Slack delivers events again that come while no bot is there."""


@pytest.fixture
async def streaming(world: World) -> AsyncIterator[Server]:
    async with world.bot(delivery="stream") as server:
        yield server


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.pacing.edits.EDIT_SPACING_S", 0.1)
    monkeypatch.setattr(writer, "TRY_AGAIN_S", (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    monkeypatch.setattr(edits, "LOOK_AGAIN_S", (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    monkeypatch.setattr(writer, "LOOK_AFTER_S", (0.05, 0.3))
    monkeypatch.setattr(doubt, "LOOK_AFTER_S", (0.05, 0.1, 0.2))


def calls(world: World, *methods: str) -> list[Call]:
    return [call for call in world.slack.calls if call.method in methods]


def taken(world: World, *methods: str) -> list[Call]:
    """Calls that Slack took."""
    return [call for call in calls(world, *methods) if call.status == 200 and not call.error]


def streamed(world: World) -> str:
    return "".join(str(call.args.get("markdown_text") or "") for call in taken(world, *STREAMS))


Note = Callable[[SqliteStore, TurnKey, int, str], Awaitable[None]]


def noting_only_beginnings(note: Note) -> Note:
    """What is like a kill between a start and the note of its ts."""

    async def noting(self: SqliteStore, key: TurnKey, part: int, ts: str) -> None:
        if ts != BEGINS:
            await asyncio.get_running_loop().create_future()
        await note(self, key, part, ts)

    return noting


def answering(
    first: str, second: str, *, tokens_per_second: float
) -> Callable[[dict[str, Any]], Reply]:
    """Answers "second" with `second`, "third" briefly, and all else, later, with `first`."""

    def answer(body: dict[str, Any]) -> Reply:
        asked = str(body["messages"][-1])
        if "third" in asked:
            return Reply(text="The third.")
        if "second" in asked:
            return Reply(text=second, tokens_per_second=tokens_per_second)
        return Reply(text=first, tokens_per_second=tokens_per_second, first_token_s=0.4)

    return answer


async def settled(world: World, text: str, ts: str) -> None:
    """The reply says `text`, once, and no stream is open."""
    await world.until_shown(text, ts, timeout_s=15)
    await world.idle()
    assert same(world.shown(ts), text)
    assert all(stream.end for stream in world.slack.streams)
    assert all(message.metadata for message in world.replies(ts))


async def test_a_reply_is_streamed_and_its_stop_carries_the_rest(
    world: World, streaming: Server
) -> None:
    text = prose(3_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    ts = await world.ask()
    await settled(world, text, ts)
    assert len(calls(world, START)) == len(calls(world, STOP)) == 1
    assert len(calls(world, APPEND)) > 1
    assert same(streamed(world), text)
    assert calls(world, UPDATE, "chat.postMessage", "chat.delete") == []
    (start,) = calls(world, START)
    assert start.args["recipient_user_id"] == world.ada
    assert start.args["recipient_team_id"] == "T0EMULATOR"
    (line, *_) = world.slack.status_lines
    assert line.end == "posted"


async def test_appends_are_whole_words_and_whole_lines_of_code(
    world: World, streaming: Server
) -> None:
    text = prose(900) + "\n\n" + code(2_500)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    ts = await world.ask()
    await settled(world, text, ts)
    shown = ""
    parts = [str(call.args["markdown_text"]) for call in taken(world, START, APPEND)]
    for part in parts:
        shown += part
        in_code = shown.count("```") % 2 == 1
        assert shown.endswith("\n") if in_code else re.search(r"\s\Z", shown), shown[-80:]
    assert len(parts) > 3


async def test_a_long_reply_goes_on_in_a_new_stream_before_the_old_one_is_full(
    world: World, streaming: Server
) -> None:
    text = prose(12_000) + "\n\n" + code(9_000)
    world.claude.script(Reply(text=text, tokens_per_second=4_000))
    ts = await world.ask()
    await settled(world, text, ts)
    replies = world.replies(ts)
    assert len(replies) > 2
    for reply in replies:
        assert len(reply.sent_markdown.encode()) <= 9_000
        assert reply.sent_markdown.count("```") % 2 == 0
    assert len(world.slack.streams) >= 2


async def test_a_stream_is_left_before_slack_closes_it(
    world: World, streaming: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ROLL_S", 0.3)
    text = prose(3_000) + "\n\n" + code(1_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    ts = await world.ask()
    await settled(world, text, ts)
    assert len(world.slack.streams) > 1
    assert {stream.end for stream in world.slack.streams} == {"stopped"}
    ends = [reply.sent_markdown for reply in world.replies(ts)]
    assert not any(re.search(r"\w\Z", end) for end in ends[:-1]), "cut within a word"


async def test_a_stream_that_slack_closed_goes_on_as_edits(world: World) -> None:
    world.slack.settings.stream_lifetime_s = 0.3
    text = prose(3_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    async with world.bot(delivery="stream"):
        ts = await world.ask()
        await settled(world, text, ts)
    assert len(world.replies(ts)) == 1
    assert taken(world, UPDATE)


@pytest.mark.parametrize("stays_open", [False, True])
async def test_a_stream_that_a_person_stopped_goes_on_as_edits(
    world: World, streaming: Server, stays_open: bool
) -> None:
    """Where Slack does not tell the bot who stopped it: an app of before Stop."""
    world.slack.settings.subscriptions -= {"agent_session_stopped"}
    text = prose(3_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    ts = await world.ask()
    await world.until(lambda: taken(world, START))
    (message,) = world.replies(ts)
    await world.slack.stop_stream(world.ada, world.general, message.ts, stays_open=stays_open)
    await settled(world, text, ts)
    assert len(world.replies(ts)) == 1


def rows(count: int) -> str:
    """A table whose later half is wider than its first."""
    cells = (f"{'x' * (4 if n < count // 2 else 12)}{n} | some words {n}" for n in range(count))
    return "| key | value |\n| --- | --- |\n" + "\n".join(f"| {cell} |" for cell in cells)


async def test_a_table_that_slack_cannot_show_is_streamed_once_all_of_it_is_there(
    world: World, streaming: Server
) -> None:
    text = f"First.\n\n{rows(2)}\n\nBetween.\n\n{rows(40)}\n\nLast. {prose(400)}"
    world.claude.script(Reply(text=text, tokens_per_second=400))
    ts = await world.ask()
    await world.until_says("Sentence number 7", ts)
    await world.idle()
    (reply,) = world.replies(ts)
    for once in ("First.", "Between.", "Last.", "x4 ", "x" * 12 + "39 "):
        assert reply.sent_markdown.count(once) == 1
    assert calls(world, UPDATE) == []


@pytest.mark.parametrize("speed", [1_500, 2_500, 4_000])
async def test_a_message_that_becomes_full_is_neither_repeated_nor_left_unmarked(
    world: World, streaming: Server, speed: int
) -> None:
    text = prose(9_800)
    world.claude.script(Reply(text=text, tokens_per_second=speed))
    ts = await world.ask()
    await settled(world, text, ts)
    assert [call.error for call in calls(world, *STREAMS) if call.error] == []
    assert calls(world, UPDATE) == []


def left_open(server: Server) -> int:
    return server._bot.turns._means.pacer._of("T0EMULATOR").streams.open


@pytest.mark.parametrize("how", ["deleted", "refused", "begun again"])
async def test_no_stream_counts_as_open_once_its_reply_has_ended(
    world: World, streaming: Server, small_streams: None, how: str
) -> None:
    text = prose(2_400)
    if how == "begun again":
        damage = Damage("cut", at=2_000)
        world.claude.script(Reply(text=text, tokens_per_second=SLOWLY, damage=damage))
        world.claude.default = lambda body: Reply(text="A shorter one.")
    else:
        reason = "refusal" if how == "refused" else "end_turn"
        world.claude.script(Reply(text=text, tokens_per_second=SLOWLY, stop_reason=reason))
    ts = await world.ask()
    await world.until(lambda: len(taken(world, START)) == 2)
    if how == "deleted":
        await world.slack.delete(world.ada, world.general, ts)
    await world.idle()
    assert left_open(streaming) == 0
    assert all(stream.end for stream in world.slack.streams)


async def test_a_start_that_slack_refused_does_not_count_as_an_open_stream(
    world: World, streaming: Server
) -> None:
    world.slack.fault(Fault(method=START, kind="ratelimited"))
    world.claude.script(Reply(text=prose(4_000), tokens_per_second=200))
    ts = await world.ask()
    await world.until(lambda: "Sentence" in world.shown(ts))
    assert left_open(streaming) == 0
    await world.slack.delete(world.ada, world.general, ts)
    await world.idle()


@pytest.fixture
def small_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.live_message.draft.STREAM_BYTES", 900)


async def test_the_status_line_goes_when_the_reply_ends_without_a_post(
    world: World, streaming: Server
) -> None:
    text = prose(1_600)
    damage = Damage("cut", at=1_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY, damage=damage))
    world.claude.default = lambda body: Reply(status=401, error_type="authentication_error")
    ts = await world.ask()
    await world.until(lambda: "Retry" in str([reply.blocks for reply in world.replies(ts)]))
    await world.idle()
    assert len(world.slack.status_lines) > 1
    assert world.slack.status_lines[-1].end == "cleared"


async def test_a_status_that_comes_late_does_not_stay(world: World, streaming: Server) -> None:
    fault = Fault(method="assistant.threads.setStatus", kind="delay", seconds=0.3)
    world.slack.fault(fault)
    world.claude.script(Reply(text="At once."))
    ts = await world.ask()
    await settled(world, "At once.", ts)
    assert [line.end for line in world.slack.status_lines] == ["cleared"]


@pytest.mark.parametrize("kind", ["lost", "apply_http"])
async def test_a_status_whose_answer_was_lost_does_not_stay(
    world: World, streaming: Server, kind: FaultKind
) -> None:
    text = prose(1_600)
    damage = Damage("cut", at=1_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY, damage=damage))
    world.claude.default = going_on(text)
    lost = Fault(method="assistant.threads.setStatus", kind=kind, skip=1)
    world.slack.fault(lost)
    ts = await world.ask()
    await settled(world, text, ts)
    assert lost.used
    assert world.slack.status(world.general, ts) == ""


async def test_a_stop_that_would_come_late_becomes_a_post(
    world: World, streaming: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "FINAL_WAIT_S", 0.2)
    world.slack.fault(Fault(method=STOP, kind="ratelimited", retry_after_s=1))
    text = prose(1_200)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    ts = await world.ask()
    await settled(world, text, ts)
    assert len(world.replies(ts)) == 1
    assert [call.method for call in calls(world, "chat.postMessage", STOP)][:2] == [
        STOP,
        "chat.postMessage",
    ]


async def test_a_reply_that_ends_while_the_stop_of_a_full_stream_is_late_becomes_a_post(
    world: World, streaming: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "FINAL_WAIT_S", 0.2)
    monkeypatch.setattr(streams, "ROLL_S", 0.3)
    late = Fault(method=STOP, kind="ratelimited", retry_after_s=3)
    world.slack.fault(late)
    text = prose(1_600)
    world.claude.script(Reply(text=text, tokens_per_second=400))
    ts = await world.ask()
    await settled(world, text, ts)
    (first, *_) = calls(world, STOP)
    posted = calls(world, "chat.postMessage")[0]
    assert late.used and posted.at - first.at < 2.0


async def test_a_reply_that_ends_while_the_stop_of_a_left_stream_is_late_becomes_a_post(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    monkeypatch.setattr(edits, "FINAL_WAIT_S", 0.2)
    text = prose(2_400)
    world.claude.script(Reply(text=text, tokens_per_second=100))
    async with world.bot(delivery="stream"):
        ts = await world.ask()
        await world.until(lambda: taken(world, APPEND))
    world.slack.fault(Fault(method=STOP, kind="ratelimited", retry_after_s=3))
    world.claude.script(Reply(text=text))
    async with world.bot(delivery="stream"):
        await settled(world, text, ts)
    assert len(world.replies(ts)) == 1
    (first, *_) = calls(world, STOP)
    assert calls(world, "chat.postMessage")[0].at - first.at < 2.0


async def test_where_slack_shows_no_status_a_placeholder_is_posted(world: World) -> None:
    fault = Fault(
        method="assistant.threads.setStatus", kind="error", error="invalid_thread_ts", times=5
    )
    world.slack.fault(fault)
    text = prose(1_200)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY, first_token_s=0.3))
    async with world.bot(delivery="post"):
        ts = await world.ask()
        await world.until_says("Thinking…", ts)
        await settled(world, text, ts)


FAULTS = [
    pytest.param({"kind": "ratelimited", "retry_after_s": 1}, id="429"),
    pytest.param({"kind": "ok_false_ratelimited"}, id="a rate limit with status 200"),
    pytest.param({"kind": "http", "status": 500}, id="500"),
    pytest.param({"kind": "apply_http", "status": 500}, id="500 after the effect"),
    pytest.param({"kind": "html"}, id="a proxy's page"),
    pytest.param({"kind": "reset"}, id="a reset"),
    pytest.param({"kind": "lost"}, id="a lost answer"),
    pytest.param({"kind": "late", "seconds": 0.3}, id="a late answer"),
    pytest.param({"kind": "error", "error": "internal_error"}, id="an internal error"),
    pytest.param({"kind": "error", "error": "service_unavailable"}, id="unavailable"),
    pytest.param({"kind": "error", "error": "msg_too_long"}, id="too long"),
    pytest.param({"kind": "error", "error": "invalid_blocks"}, id="blocks refused"),
    pytest.param({"kind": "error", "error": "stopped_by_user"}, id="stopped by a person"),
    pytest.param({"kind": "error", "error": "message_not_in_streaming_state"}, id="not open"),
    pytest.param({"kind": "error", "error": "unknown_method"}, id="unknown"),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", STREAMS)
async def test_the_whole_text_arrives_once_whatever_a_call_meets(
    world: World,
    streaming: Server,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    fault: dict[str, object],
) -> None:
    monkeypatch.setattr("bot.slack.calls.PAUSE_WITHOUT_HEADER_S", 0.1)
    text = prose(1_200)
    world.claude.script(Reply(text=text, tokens_per_second=800))
    world.slack.fault(Fault(method=method, **fault))  # type: ignore[arg-type]
    ts = await world.ask()
    await settled(world, text, ts)
    assert len(world.replies(ts)) == 1
    appended = [str(call.args.get("markdown_text") or "") for call in calls(world, APPEND)]
    if fault["kind"] in ("http", "apply_http", "lost", "html", "reset") and method == APPEND:
        assert len(appended) == 1, "nothing is appended after one whose answer was lost"


async def test_everything_that_is_shown_stays_shown(world: World, streaming: Server) -> None:
    world.slack.fault(Fault(method=APPEND, kind="lost", skip=1))
    text = prose(3_000)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    ts = await world.ask()
    await settled(world, text, ts)
    (reply,) = world.replies(ts)
    texts = [revision.markdown.rstrip() for revision in reply.revisions]
    for before, after in itertools.pairwise(texts):
        assert after.startswith(before)


async def test_a_reply_that_claude_takes_back_is_withdrawn(world: World, streaming: Server) -> None:
    world.claude.script(Reply(text=prose(1_200), tokens_per_second=SLOWLY, stop_reason="refusal"))
    ts = await world.ask()
    await world.until_says("declined", ts)
    await world.idle()
    assert all(stream.end for stream in world.slack.streams)
    assert "Sentence number 0" not in world.shown(ts)


async def test_a_stream_of_claude_that_breaks_goes_on_in_the_same_stream(
    world: World, streaming: Server
) -> None:
    text = prose(2_400)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY, damage=Damage("cut", at=1_000)))
    world.claude.default = going_on(text)
    ts = await world.ask()
    await settled(world, text, ts)
    assert len(calls(world, START)) == 1
    assert calls(world, UPDATE) == []


async def test_a_deleted_question_stops_the_stream_and_takes_it_away(
    world: World, streaming: Server
) -> None:
    world.claude.script(Reply(text=prose(4_000), tokens_per_second=200))
    ts = await world.ask()
    await world.until(lambda: taken(world, APPEND))
    await world.slack.delete(world.ada, world.general, ts)
    await world.until(lambda: not world.replies(ts))
    await world.idle()
    assert all(stream.end for stream in world.slack.streams)


@pytest.mark.parametrize("kind", [None, "ratelimited", "http"])
async def test_a_stream_is_stopped_and_stays_where_another_message_of_its_reply_is_deleted(
    world: World, streaming: Server, small_streams: None, kind: FaultKind | None
) -> None:
    world.claude.script(Reply(text=prose(4_000), tokens_per_second=200))
    ts = await world.ask()
    await world.until(lambda: len(taken(world, START)) == 2)
    if kind is not None:
        world.slack.fault(Fault(method=STOP, kind=kind))
    first, second = world.replies(ts)
    await world.slack.delete(world.ada, world.general, first.ts)
    await world.idle()
    assert left_open(streaming) == 0
    assert [stream.end for stream in world.slack.streams] == ["stopped", "stopped"]
    (reply,) = world.replies(ts)
    assert reply.ts == second.ts and "Sentence" in reply.sent_markdown
    assert reply.metadata


@pytest.mark.parametrize("gone", ["the question", "the reply"])
async def test_a_stream_that_was_begun_unseen_goes_with_its_reply(
    world: World, streaming: Server, gone: str
) -> None:
    ts = await begun_unseen(world)
    (stray,) = world.slack.streams
    await world.until(lambda: len(world.replies(ts)) == 2)
    shown = next(reply.ts for reply in world.replies(ts) if reply.ts != stray.ts)
    await world.slack.delete(world.ada, world.general, ts if gone == "the question" else shown)
    await world.idle()
    assert world.replies(ts) == []
    assert stray.end


@pytest.mark.parametrize("later", [False, True])
async def test_a_stream_that_was_begun_unseen_goes_when_the_question_is_edited(
    world: World, streaming: Server, later: bool
) -> None:
    ts = await begun_unseen(world)
    if later:
        await world.until(lambda: len(world.replies(ts)) == 2)
    await world.slack.edit(world.ada, world.general, ts, "<@U0BOT> better")
    await settled(world, "The better answer.", ts)
    assert len(world.replies(ts)) == 1


async def begun_unseen(world: World) -> str:
    """Ask a question whose stream is begun without an answer, while its thread cannot be read; its
    ts."""
    world.claude.script(
        Reply(text="The better answer.", when="better"),
        Reply(text=prose(4_000), tokens_per_second=150),
    )
    world.slack.fault(Fault(method=START, kind="lost"))
    world.slack.fault(Fault(method="conversations.replies", kind="http", status=500, times=6))
    ts = await world.ask()
    await world.until(lambda: world.slack.streams)
    return ts


async def test_a_stream_that_ends_while_it_is_being_deleted_is_deleted_all_the_same(
    world: World, streaming: Server
) -> None:
    world.claude.script(Reply(text=prose(4_000), tokens_per_second=200))
    ts = await world.ask()
    await world.until(lambda: taken(world, APPEND))
    world.slack.fault(Fault(method="chat.delete", kind="error", error="cant_delete_message"))
    closed = Fault(method=STOP, kind="error", error="message_not_in_streaming_state")
    world.slack.fault(closed)
    (message,) = world.replies(ts)
    await world.slack.stop_stream(world.ada, world.general, message.ts)
    await world.slack.delete(world.ada, world.general, ts)
    await world.idle()
    assert closed.used
    assert world.replies(ts) == []


@pytest.mark.parametrize("surface", ["a flat direct message", "a shared channel"])
async def test_where_slack_has_no_stream_for_it_a_reply_is_edited(
    world: World, streaming: Server, surface: str
) -> None:
    text = prose(1_200)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    channel = world.dm
    if surface == "a shared channel":
        channel = world.slack.add_channel("shared", members=[world.ada], is_shared=True)
    ts = await world.ask(channel=channel)
    where = None if channel == world.dm else ts
    await world.until_shown(text, where, channel=channel)
    await world.idle()
    assert calls(world, START) == []
    assert taken(world, UPDATE)


async def test_a_workspace_without_streams_is_not_asked_again(
    world: World, streaming: Server
) -> None:
    world.slack.fault(Fault(method=START, kind="error", error="feature_not_enabled", times=10))
    for _ in range(2):
        text = prose(1_200)
        world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
        await settled(world, text, await world.ask())
    assert len(calls(world, START)) == 1


async def test_at_the_end_of_the_process_streams_are_stopped_with_the_reason(
    world: World,
) -> None:
    world.claude.script(Reply(text=prose(6_000), tokens_per_second=100))
    async with world.bot(delivery="stream") as server:
        ts = await world.ask()
        await world.until(lambda: taken(world, APPEND))
        await server.drain(1.0)
    (stream,) = world.slack.streams
    assert stream.end == "stopped"
    (reply,) = world.replies(ts)
    assert "Retry" in str(reply.blocks)


async def test_a_stream_that_a_killed_process_left_open_is_taken_over(world: World) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    text = prose(2_400)
    world.claude.script(Reply(text=text, tokens_per_second=100))
    async with world.bot(delivery="stream"):
        ts = await world.ask()
        await world.until(lambda: taken(world, APPEND))
    assert [stream.end for stream in world.slack.streams] == [""]
    world.claude.script(Reply(text=text))
    async with world.bot(delivery="stream"):
        await settled(world, text, ts)
    assert len(world.replies(ts)) == 1


async def test_a_stream_that_no_store_knows_is_ended_when_its_thread_is_read(
    world: World, tmp_path: Path
) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    world.claude.script(Reply(text=prose(2_400), tokens_per_second=100))
    async with world.bot(delivery="stream"):
        ts = await world.ask()
        await world.until(lambda: taken(world, APPEND))
    world.claude.script(Reply(text="The next answer."))
    async with world.bot(delivery="stream", data_dir=str(tmp_path / "empty")):
        await world.ask("and?", thread_ts=ts)
        await world.until(lambda: "Retry" in str(world.replies(ts)[0].blocks))
        await world.until(lambda: "The next answer." in world.shown(ts))
        await world.idle()
    left, answered = world.replies(ts)
    assert "Sentence number 0" in left.sent_markdown
    assert answered.sent_markdown == "The next answer."
    assert all(stream.end for stream in world.slack.streams)


async def test_a_left_stream_is_ended_while_the_next_reply_of_its_thread_is_streamed(
    world: World, tmp_path: Path
) -> None:
    """Neither takes the other's message, whoever reads the thread when."""
    world.slack.settings.retry_delays_s = AGAIN
    world.claude.script(Reply(text=prose(2_400), tokens_per_second=100))
    async with world.bot(delivery="stream"):
        ts = await world.ask()
        await world.until(lambda: taken(world, APPEND))
    text = code(2_000)
    world.claude.script(Reply(text=text, tokens_per_second=300))
    begun = asyncio.Event()
    world.slack.fault(Fault(method="conversations.replies", kind="delay", until=begun, skip=1))
    async with world.bot(delivery="stream", data_dir=str(tmp_path / "empty")):
        await world.ask("and?", thread_ts=ts)
        await world.until(lambda: len(taken(world, START)) == 2)
        begun.set()
        await world.until(lambda: "Retry" in str(world.replies(ts)[0].blocks))
        await world.until(lambda: same(world.replies(ts)[-1].sent_markdown, text))
        await world.idle()
    left, _ = world.replies(ts)
    assert "Sentence number 0" in left.sent_markdown
    assert all(stream.end == "stopped" for stream in world.slack.streams)


async def test_a_retry_leaves_the_stream_of_a_later_question_alone(
    world: World, streaming: Server
) -> None:
    world.claude.script(Reply(status=400, error_type="invalid_request_error"))
    ts = await world.ask()
    await world.until(lambda: "Retry" in str(world.replies(ts)))
    await world.idle()
    (failed,) = world.replies(ts)
    text = prose(2_400)
    world.claude.script(Reply(text=text, tokens_per_second=300), Reply(text="At last."))
    await world.ask("and?", thread_ts=ts)
    await world.until(lambda: taken(world, APPEND))
    assert await world.slack.press(world.ada, world.general, failed.ts, "retry") == 200
    await world.until(lambda: "At last." in world.replies(ts)[0].sent_markdown)
    await world.idle()
    first, second = world.replies(ts)
    assert first.sent_markdown == "At last."
    assert same(second.sent_markdown, text)


async def test_a_kill_between_the_start_of_a_stream_and_its_note_leaves_no_second_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    text = prose(1_200)
    world.claude.script(Reply(text=text, tokens_per_second=SLOWLY))
    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "note_message", noting_only_beginnings(SqliteStore.note_message))
        async with world.bot(delivery="stream"):
            ts = await world.ask()
            await world.until(lambda: taken(world, START))
    world.claude.script(Reply(text=text))
    async with world.bot(delivery="stream"):
        await settled(world, text, ts)
    assert len(world.replies(ts)) == 1


async def test_a_stream_is_not_taken_for_the_reply_that_waits_behind_it(world: World) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    first, second = prose(2_000), code(1_000)
    world.claude.default = answering(first, second, tokens_per_second=150)
    async with world.bot(delivery="stream"):
        ts = await world.ask("first")
        await world.ask("second", thread_ts=ts)
        await world.until(lambda: taken(world, APPEND))
    world.claude.default = answering(first, second, tokens_per_second=SLOWLY)
    async with world.bot(delivery="stream"):
        await world.until(lambda: second[-20:] in world.shown(ts), 15)
        await world.idle()
    one, other = world.replies(ts)
    assert same(one.sent_markdown, first)
    assert same(other.sent_markdown, second)
    assert all(stream.end for stream in world.slack.streams)


async def test_a_left_stream_belongs_to_the_first_question_that_has_no_reply(
    world: World, tmp_path: Path
) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    world.claude.default = answering(prose(2_000), code(1_000), tokens_per_second=150)
    async with world.bot(delivery="stream"):
        ts = await world.ask("first")
        await world.ask("second", thread_ts=ts)
        await world.until(lambda: taken(world, APPEND))
    world.claude.default = answering("", "", tokens_per_second=SLOWLY)
    async with world.bot(delivery="stream", data_dir=str(tmp_path / "empty")):
        await world.ask("third", thread_ts=ts)
        await world.until(lambda: "Retry" in str(world.replies(ts)[0].blocks))
        await world.idle()
    left = world.replies(ts)[0]
    assert left.metadata is not None
    assert left.metadata["event_payload"]["turn"].split(":")[2] == ts


async def test_a_kill_as_a_reply_goes_on_below_a_later_one_leaves_no_second_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slack.settings.retry_delays_s = AGAIN
    more = code(900)
    world.claude.script(Reply(text=prose(600), stop_reason="max_tokens"), Reply(text="The second."))
    world.claude.default = lambda body: Reply(text=more, tokens_per_second=300)
    async with world.bot(delivery="stream"):
        ts = await world.ask("first")
        await world.idle()
        await world.ask("second", thread_ts=ts)
        await world.idle()
        cut_off = world.replies(ts)[0]
        with monkeypatch.context() as patch:
            noting = noting_only_beginnings(SqliteStore.note_message)
            patch.setattr(SqliteStore, "note_message", noting)
            assert await world.slack.press(world.ada, world.general, cut_off.ts, "continue") == 200
            await world.until(lambda: len(taken(world, START)) == 3)
    async with world.bot(delivery="stream"):
        await world.until(lambda: same(world.replies(ts)[-1].sent_markdown, more))
        await world.idle()
    assert len(world.replies(ts)) == 3
    assert all(stream.end for stream in world.slack.streams)


async def test_a_reply_posted_whole_shows_a_status_line_until_then(world: World) -> None:
    text = prose(12_000)
    world.claude.script(Reply(text=text, tokens_per_second=1_500))
    async with world.bot(delivery="post"):
        ts = await world.ask()
        await settled(world, text, ts)
    assert len(world.replies(ts)) == 2
    assert calls(world, UPDATE, *STREAMS) == []
    lines = [line for line in world.slack.status_lines if line.thread_ts == ts]
    assert [line.end for line in lines] == ["replaced", "posted"]
    assert all(len(reply.revisions) == 1 for reply in world.replies(ts))


async def test_the_status_line_is_renewed_before_it_lapses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.live_message.status_line.LAPSES_S", 0.3)
    world.slack.settings.status_lifetime_s = 0.6
    text = prose(2_400)
    world.claude.script(Reply(text=text, tokens_per_second=300))
    async with world.bot(delivery="post"):
        ts = await world.ask()
        await settled(world, text, ts)
    lines = [line for line in world.slack.status_lines if line.thread_ts == ts]
    assert "lapsed" not in {line.end for line in lines}
    assert len(lines) > 2
