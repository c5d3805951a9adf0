"""The growing message: whole, forward, one writer, whatever Slack does."""

from __future__ import annotations

import itertools

import pytest

from bot.live_message import doubt, edits, writer
from bot.live_message.draft import IN_THE_FILE
from bot.playground.claude import Reply
from bot.playground.slack import Fault, Message
from bot.serve import Server
from tests.conftest import World, is_last_edit, prose, same

FASTEST = 100_000.0


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "TRY_AGAIN_S", (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    monkeypatch.setattr(edits, "LOOK_AGAIN_S", (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    monkeypatch.setattr(writer, "LOOK_AFTER_S", (0.05, 0.3, 0.6))
    monkeypatch.setattr(doubt, "LOOK_AFTER_S", (0.05, 0.1, 0.2))


def code(lines: int) -> str:
    body = "\n".join(
        f"value_{number} = compute({number})  # line {number}" for number in range(lines)
    )
    return f"Here is the code:\n\n```python\n{body}\n```\n\nThat is all."


@pytest.mark.parametrize("characters", [5_000, 15_000, 45_000])
async def test_a_long_answer_arrives_whole(world: World, bot: Server, characters: int) -> None:
    text = prose(characters)
    world.claude.script(Reply(text=text))
    ts = await world.ask()
    await world.until_shown(text, ts, timeout_s=20)
    replies = world.replies(ts)
    assert all(len(reply.sent_markdown) <= 10_000 for reply in replies)
    assert all(reply.thread_ts == ts for reply in replies)


async def test_a_code_block_that_is_cut_is_closed_and_reopened(world: World, bot: Server) -> None:
    text = code(600)
    world.claude.script(Reply(text=text))
    ts = await world.ask()
    await world.until_shown(text, ts, timeout_s=20)
    replies = world.replies(ts)
    assert len(replies) > 1
    for reply in replies:
        assert reply.sent_markdown.count("```") % 2 == 0
    assert replies[1].sent_markdown.startswith("```python\n")


async def test_every_edit_shows_at_least_what_the_one_before_showed(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text=code(450), tokens_per_second=1_500))
    ts = await world.ask()
    await world.idle()
    for reply in world.replies(ts):
        texts = [revision.markdown.removesuffix("```").rstrip() for revision in reply.revisions]
        for before, after in itertools.pairwise(texts):
            assert after.startswith(before)
    assert len(world.replies(ts)[0].revisions) > 3


async def test_a_further_message_of_a_flat_direct_message_stands_below_too(
    world: World, bot: Server
) -> None:
    text = prose(12_000)
    world.claude.script(Reply(text=text))
    await world.ask("long please", channel=world.dm)
    await world.until_shown(text, channel=world.dm)
    assert {reply.thread_ts for reply in world.replies(channel=world.dm)} == {None}


async def test_the_fallback_text_stays_under_slacks_limit_in_bytes(
    world: World, bot: Server
) -> None:
    text = "<é & 漢字> " * 900
    world.claude.script(Reply(text=text))
    ts = await world.ask()
    await world.until_shown(text, ts)
    for reply in world.replies(ts):
        for revision in reply.revisions:
            assert len(revision.text.encode()) <= 3_900


async def test_nothing_that_claude_writes_notifies_anybody(world: World, bot: Server) -> None:
    live = "<!channel> <!here|x> <!everyone> <!subteam^S01|team> <@U0ADA> <@W123|w>"
    text = f"{live} and `{live}`\n\n```\n{live}\n```\n<!DOCTYPE html> <b> a < b"
    world.claude.script(Reply(text=text, chunks=[*text], tokens_per_second=FASTEST))
    ts = await world.ask()
    await world.until_shown(text, ts)
    assert "<!DOCTYPE html> <b> a < b" in world.replies(ts)[0].sent_markdown
    assert world.slack.notified == []


def update_fault(kind: str, **more: object) -> Fault:
    return Fault(method="chat.update", kind=kind, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "ratelimited", "retry_after_s": 1}, id="429"),
        pytest.param({"kind": "ok_false_ratelimited"}, id="a rate limit with status 200"),
        pytest.param({"kind": "http", "status": 500}, id="500"),
        pytest.param({"kind": "http", "status": 503}, id="503"),
        pytest.param({"kind": "html"}, id="a proxy's page"),
        pytest.param({"kind": "garbage"}, id="an answer that is not JSON"),
        pytest.param({"kind": "reset"}, id="a reset"),
        pytest.param({"kind": "lost"}, id="a lost answer"),
        pytest.param({"kind": "error", "error": "internal_error"}, id="an internal error"),
        pytest.param({"kind": "error", "error": "invalid_blocks"}, id="blocks refused"),
        pytest.param({"kind": "error", "error": "msg_too_long"}, id="too long"),
        pytest.param({"kind": "error", "error": "edit_window_closed"}, id="no longer editable"),
        pytest.param({"kind": "error", "error": "cant_update_message"}, id="not ours"),
    ],
)
@pytest.mark.parametrize("skip", [0, 1], ids=["at the first edit", "later"])
async def test_the_whole_text_survives_an_edit_that_fails(
    world: World,
    bot: Server,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, object],
    skip: int,
) -> None:
    monkeypatch.setattr("bot.slack.calls.PAUSE_WITHOUT_HEADER_S", 0.3)
    text = prose(1_500)
    world.claude.script(Reply(text=text, tokens_per_second=600))
    world.slack.fault(Fault(method="chat.update", skip=skip, **fault))  # type: ignore[arg-type]
    ts = await world.ask()
    await world.until(lambda: says(world.replies(ts), text))
    await world.idle()
    assert says(world.replies(ts), text)


def says(replies: list[Message], text: str) -> bool:
    """Whether the replies that carry text show it whole, as Markdown or as plain text."""
    words = text.split()
    shown = " ".join(reply.shown for reply in replies[-1:]).split()
    return shown[: len(words)] == words or same(
        " ".join(reply.shown for reply in replies).replace("Thinking…", ""), text
    )


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "lost"}, id="a lost answer"),
        pytest.param({"kind": "apply_http", "status": 500}, id="a 500 that took effect"),
        pytest.param({"kind": "apply_http", "status": 503}, id="a 503 that took effect"),
        pytest.param({"kind": "reset"}, id="a reset"),
        pytest.param({"kind": "http", "status": 502}, id="a 502"),
        pytest.param({"kind": "ratelimited", "retry_after_s": 1}, id="429"),
        pytest.param({"kind": "error", "error": "service_unavailable"}, id="unavailable"),
    ],
)
@pytest.mark.parametrize("where", ["general", "dm"])
async def test_a_post_is_never_doubled(
    world: World, bot: Server, fault: dict[str, object], where: str
) -> None:
    channel = world.general if where == "general" else world.dm
    world.slack.fault(Fault(method="chat.postMessage", **fault))  # type: ignore[arg-type]
    world.claude.script(Reply(text="Only once."))
    await world.ask(channel=channel)
    await world.until(lambda: any("Only once." in m.shown for m in replies(world, channel)))
    await world.idle()
    assert len(replies(world, channel)) == 1


def replies(world: World, channel: str) -> list[Message]:
    """The bot's messages of a channel, in its threads too."""
    roots = world.slack.messages(channel)
    found = [*roots, *(m for root in roots for m in world.slack.messages(channel, root.ts))]
    return list({m.ts: m for m in found if m.bot_id and not m.deleted}.values())


async def test_a_deleted_reply_closes_claudes_stream_and_is_not_posted_again(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text=prose(20_000), tokens_per_second=100))
    ts = await world.ask()
    await world.until(lambda: world.shown(ts))
    await world.slack.delete(world.ada, world.general, world.replies(ts)[0].ts)
    await world.claude.wait_for(lambda: world.claude.requests[-1].closed_by_client)
    await world.idle()
    assert world.replies(ts) == []


async def test_a_deleted_question_takes_its_reply_with_it(world: World, bot: Server) -> None:
    world.claude.script(Reply(text=prose(20_000), tokens_per_second=100))
    ts = await world.ask()
    await world.until(lambda: world.shown(ts))
    await world.slack.delete(world.ada, world.general, ts)
    await world.claude.wait_for(lambda: world.claude.requests[-1].closed_by_client)
    await world.idle()
    assert world.replies(ts) == []


async def test_an_archived_channel_ends_the_turn_and_closes_claudes_stream(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text=prose(20_000), tokens_per_second=100))
    ts = await world.ask()
    await world.until(lambda: world.shown(ts))
    world.slack.archive(world.general)
    await world.claude.wait_for(lambda: world.claude.requests[-1].closed_by_client)
    await world.idle()


async def test_a_busy_channel_shows_the_status_line_until_the_first_words(
    world: World, bot: Server
) -> None:
    world.claude.script(*[Reply(text="Done.", first_token_s=0.2)] * 3)
    asked = [await world.ask(f"question {number}") for number in range(3)]
    await world.until(lambda: len(world.slack.statuses) >= 2)
    for ts in asked:
        await world.until_shown("Done.", ts)
    await world.idle()
    assert world.slack.over_one_per_second == 0


async def test_many_replies_at_once_are_whole_and_within_every_budget(
    world: World, bot: Server
) -> None:
    rooms = [world.slack.add_channel(f"room{n}", members=[world.ada]) for n in range(12)]
    texts = [f"Reply {n}. {prose(1_500)}" for n in range(12)]
    for number, text in enumerate(texts):
        world.claude.script(Reply(text=text, when=f"number {number}.", tokens_per_second=400))
    asked = [await world.ask(f"number {n}.", channel=room) for n, room in enumerate(rooms)]
    for ts, room, text in zip(asked, rooms, texts, strict=True):
        await world.until_shown(text, ts, channel=room, timeout_s=20)
    assert world.slack.count("chat.update", "ratelimited") == 0
    assert world.slack.count("chat.postMessage", "ratelimited") == 0


async def test_one_call_is_in_flight_per_message_and_the_last_one_is_the_final_text(
    world: World, bot: Server
) -> None:
    world.slack.latency_s = 0.12
    text = prose(4_000)
    world.claude.script(Reply(text=text, tokens_per_second=600))
    ts = await world.ask()
    await world.until_shown(text, ts)
    await world.idle()
    (reply,) = world.replies(ts)
    edits = [call for call in world.slack.calls if call.method == "chat.update"]
    assert all(b.at - a.at >= 0.12 for a, b in itertools.pairwise(edits))
    assert same(reply.revisions[-1].markdown, text)


async def test_a_reply_beyond_the_messages_it_may_take_is_attached_as_a_file(
    world: World,
) -> None:
    text = prose(40_000)
    world.claude.script(Reply(text=text))
    async with world.bot(max_messages=2):
        ts = await world.ask()
        await world.idle()
    parts = [reply for reply in world.replies(ts) if not reply.files]
    assert len(parts) == 2
    assert IN_THE_FILE in parts[1].shown
    assert text.startswith(parts[0].sent_markdown)
    (shared,) = [reply for reply in world.replies(ts) if reply.files]
    assert world.slack.file(shared.files[0]["id"]).content.decode() == text


async def test_without_the_file_the_rest_comes_in_further_messages(world: World) -> None:
    text = prose(30_000)
    world.claude.script(Reply(text=text))
    error = Fault(method="files.getUploadURLExternal", kind="error", error="missing_scope")
    world.slack.fault(error)
    async with world.bot(max_messages=2):
        ts = await world.ask()
        await world.until_shown(text, ts)
        await world.idle()
    assert len(world.replies(ts)) == 4


async def test_120_000_characters_arrive_whole(world: World) -> None:
    text = prose(120_000)
    world.claude.script(Reply(text=text, tokens_per_second=100_000))
    async with world.bot(claude_max_tokens=40_000):
        ts = await world.ask()
        await world.until_shown(text, ts, timeout_s=25)
    assert len(world.replies(ts)) == 13


async def test_when_slack_finds_a_message_too_long_no_text_is_ever_out_of_sight(
    world: World, bot: Server
) -> None:
    text = " ".join(f"word{number}" for number in range(700))
    world.slack.fault(
        Fault(
            method="chat.update",
            kind="error",
            error="msg_too_long",
            times=99,
            when=lambda args: len(str(args["blocks"])) > 4_500,
        )
    )
    world.claude.script(Reply(text=text, tokens_per_second=1_000))
    seen: set[str] = set()
    ts = await world.ask()

    def shown() -> bool:
        there = {word for m in world.replies(ts) for word in m.sent_markdown.split()[:-1]}
        assert seen <= there | {
            m.sent_markdown.split()[-1] for m in world.replies(ts) if m.sent_markdown
        }
        seen.update(there)
        return same(world.shown(ts), text)

    await world.until(shown)
    await world.idle()
    assert same(world.shown(ts), text)


async def test_when_edits_run_out_words_and_finals_come_as_posts_and_no_placeholder_stays(
    world: World,
) -> None:
    rooms = [world.slack.add_channel(f"room{n}", members=[world.ada]) for n in range(16)]
    text = prose(600)
    world.claude.script(Reply(text=text, keep=True, first_token_s=0.6, tokens_per_second=80))
    async with world.bot(edits_per_minute=10):
        asked = [(room, await world.ask(channel=room)) for room in rooms]
        for room, ts in asked:
            await world.until_shown(text, ts, channel=room, timeout_s=20)
        await world.idle()
    for room, ts in asked:
        assert len(world.replies(ts, room)) == 1
        assert "Thinking" not in world.replies(ts, room)[0].shown
    assert world.slack.count("chat.update") <= 10


@pytest.mark.usefixtures("small_messages")
async def test_the_last_edit_of_a_full_message_is_not_left_out(world: World, bot: Server) -> None:
    text = prose(2_500)
    world.claude.script(Reply(text=text, tokens_per_second=400))
    full = Fault(
        method="chat.update",
        kind="error",
        error="an_error_of_tomorrow",
        when=lambda args: "stop" not in str(args.get("blocks")) and not is_last_edit(args),
    )
    world.slack.fault(full)
    ts = await world.ask()
    await world.idle()
    assert full.used
    assert same(world.shown(ts), text)
    assert "Stop" not in str([reply.blocks for reply in world.replies(ts)])
