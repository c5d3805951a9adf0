"""Follow-ups without a mention, in threads where the bot was asked (FOLLOW_UPS)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import SystemClock
from bot.errors import StoreUnavailable
from bot.listeners.follow_ups import is_open
from bot.playground.claude import Reply
from bot.playground.slack import Fault
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question
from tests.conftest import World, before_the_aside, prose
from tests.test_restart import outcomes

LONG = Reply(text=prose(20_000), tokens_per_second=100)
ANSWER = Reply(text="Answer.", keep=True)


@pytest.fixture(autouse=True)
def quick_posts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several replies in one channel without a second between two posts."""
    if "world" in request.fixturenames:
        monkeypatch.setattr("bot.pacing.pacer.POST_SPACING_S", 0.01)
        request.getfixturevalue("world").slack.enforce_limits = False


async def follow_up(
    world: World, root: str, text: str = "and why?", *, user: str | None = None, **more: Any
) -> str:
    """Ada, or `user`, writes in the thread without a mention."""
    channel = more.pop("channel", world.general)
    return await world.slack.say(user or world.ada, channel, text, thread_ts=root, **more)


async def answered(world: World, root: str) -> int:
    """How many replies the thread has, once nothing is under way."""
    await world.idle()
    return len(world.replies(root))


def last_said(world: World) -> str:
    """The last turn of the last conversation that Claude was sent."""
    return before_the_aside(world.claude.requests[-1].body["messages"][-1])


# --- who is followed --------------------------------------------------------------------------


async def test_by_default_nobody_is_followed(world: World) -> None:
    async with world.bot():
        root = await world.ask()
        await world.idle()
        await follow_up(world, root)
        assert await answered(world, root) == 1


async def test_own_follows_those_who_have_asked_in_the_thread(world: World) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
        await follow_up(world, root, user=world.bob)
        assert await answered(world, root) == 1
        await follow_up(world, root)
        assert await answered(world, root) == 2
        await follow_up(world, root, "<@U0BOT> and I?", user=world.bob)
        assert await answered(world, root) == 3
        await follow_up(world, root, user=world.bob)
        assert await answered(world, root) == 4


async def test_all_follows_everybody_in_a_thread_where_somebody_asked(world: World) -> None:
    async with world.bot(follow_ups="all"):
        root = await world.slack.say(world.bob, world.general, "a root of Bob's")
        await world.ask(thread_ts=root)
        await world.idle()
        await follow_up(world, root, "what about me?", user=world.bob)
        assert await answered(world, root) == 2
        assert last_said(world).endswith("[bob] what about me?")
        assert world.slack.ephemerals == []


async def test_other_threads_and_the_channel_are_left_alone(world: World) -> None:
    async with world.bot(follow_ups="all"):
        await world.ask()
        other = await world.slack.say(world.bob, world.general, "Who has the keys?")
        await follow_up(world, other, "I have.")
        await world.idle()
        assert len(world.claude.requests) == 1
        assert world.slack.count("conversations.replies") == 0


@pytest.mark.parametrize("kind", ["group", "mpim"])
async def test_private_conversations_have_follow_ups_too(world: World, kind: Any) -> None:
    async with world.bot(follow_ups="own"):
        place = world.slack.add_channel("private", kind=kind, members=[world.ada, world.bob])
        root = await world.ask(channel=place)
        await world.idle()
        await follow_up(world, root, channel=place)
        await world.slack.say(world.ada, place, "Not in the thread.")
        await world.idle()
        assert len(world.replies(root, place)) == len(world.claude.requests) == 2


async def test_who_may_not_ask_is_ignored_in_silence(world: World) -> None:
    async with world.bot(follow_ups="all", allowed_users=frozenset({world.ada})):
        stranger = world.slack.add_user("Eve", team="T0OTHER", is_stranger=True)
        root = await world.ask()
        await world.idle()
        await follow_up(world, root, user=world.bob)
        await follow_up(world, root, user=stranger)
        assert await answered(world, root) == 1
        assert world.slack.ephemerals == []


async def test_a_mention_by_somebody_who_may_not_ask_opens_no_thread(world: World) -> None:
    async with world.bot(follow_ups="all", allowed_users=frozenset({world.ada})):
        root = await world.slack.say(world.bob, world.general, "<@U0BOT> me?")
        await world.idle()
        assert len(world.slack.ephemerals) == 1
        await follow_up(world, root, "You cannot, Bob.")
        assert await answered(world, root) == 0


# --- to whom a message is addressed -----------------------------------------------------------


async def test_what_is_meant_for_others_or_says_nothing_is_left_alone(world: World) -> None:
    async with world.bot(follow_ups="all"):
        root = await world.ask()
        await world.idle()
        app = world.slack.add_user("Another app", is_bot=True)
        for text in (f"<@{world.bob}> do you know?", "<!here> look", ":+1:", " ", "/remind me"):
            await follow_up(world, root, text)
        await follow_up(world, root, "for the channel", subtype="thread_broadcast")
        await follow_up(world, root, "an app's words", user=app)
        ts = await follow_up(world, root, ":tada:")
        await world.idle()
        await world.slack.edit(world.ada, world.general, ts, "Now it says something.")
        await world.slack.delete(world.ada, world.general, ts)
        await world.idle()
        assert len(world.claude.requests) == 1
        await follow_up(world, root, "thanks")
        await world.idle()
        assert len(world.claude.requests) == 2


async def test_a_follow_up_of_files_alone_is_not_ignored(world: World) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
        file = world.slack.add_file("a.txt", b"hello", world.ada)
        await follow_up(world, root, "", files=[file])
        assert await answered(world, root) == 2
        assert "hello" in str(world.claude.requests[-1].body["messages"][-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("and why?", True, id="words"),
        pytest.param("?", True, id="a question mark"),
        pytest.param("42", True, id="a number"),
        pytest.param("なぜ", True, id="words of any script"),
        pytest.param("thanks :+1:", True, id="words and an emoji"),
        pytest.param("<https://x.test>", True, id="a link"),
        pytest.param("see <#C1|general>", True, id="a channel"),
        pytest.param("/etc/hosts is broken", True, id="a path"),
        pytest.param("type &lt;@U1&gt; to mention", True, id="a mention that is none"),
        pytest.param("<@U1> why?", False, id="somebody"),
        pytest.param("<@W1|eve>, why?", False, id="somebody with a label"),
        pytest.param("ask <@U1>", False, id="somebody further on"),
        pytest.param("<!subteam^S1|@team> why?", False, id="a group"),
        pytest.param("why, <!channel>?", False, id="everybody here"),
        pytest.param("@bob can you check?", False, id="somebody by a typed name"),
        pytest.param(" @Müller, why?", False, id="a typed name of any script"),
        pytest.param("@claude and why?", True, id="ourselves by a typed name"),
        pytest.param("mail ada@web.test", True, id="an address"),
        pytest.param("@ 5 pm?", True, id="a sign that is no name"),
        pytest.param(":+1::skin-tone-2: :tada:", False, id="emoji by name"),
        pytest.param("👍🏽 👩‍💻 1️⃣ ❤️ 🇫🇷", False, id="emoji"),
        pytest.param("+1", False, id="a vote"),
        pytest.param("…!", False, id="signs"),
        pytest.param(" /remind me", False, id="a command"),
    ],
)
def test_whether_a_text_leaves_open_whom_it_addresses(text: str, expected: bool) -> None:
    assert is_open(text) is expected


WORDS = st.sampled_from(["why", "and?", "I", "no.", "42", "été", "なぜ", "a:b", "<https://x.test>"])
SOMEBODY = st.sampled_from(["<@U0BOB>", "<@W1|eve>", "<!here>", "<!channel>", "<!subteam^S1|@x>"])
SIGNS = st.sampled_from([":tada:", ":+1::skin-tone-3:", "👍🏽", "❤️", "2️⃣", "+1", "!!", "—", "&amp;"])


KINDS = {"words": WORDS, "somebody": SOMEBODY, "signs": SIGNS}
PIECES = st.one_of([st.tuples(st.just(kind), pieces) for kind, pieces in KINDS.items()])


async def test_a_follow_up_that_is_edited_to_be_for_somebody_else_has_no_reply(
    world: World,
) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
        world.claude.script(LONG)
        ts = await follow_up(world, root)
        await world.until(lambda: len(world.replies(root)) == 2 and world.claude.open_streams)
        await world.slack.edit(world.ada, world.general, ts, f"<@{world.bob}> and you?")
        assert await answered(world, root) == 1
        assert len(world.claude.requests) == 2 and world.claude.open_streams == 0
        assert outcomes(world.data_dir).count("gone") == 1


async def test_a_question_that_is_edited_to_be_for_somebody_else_begins_again(
    world: World,
) -> None:
    async with world.bot():
        world.claude.script(LONG, ANSWER)
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))
        await world.slack.edit(world.ada, world.general, ts, f"<@{world.bob}> and you?")
        await world.until_shown("Answer.", ts)
        await world.idle()


@given(pieces=st.lists(PIECES, max_size=6))
def test_words_that_mention_nobody_are_open_and_nothing_else(pieces: list[tuple[str, str]]) -> None:
    kinds = {kind for kind, _ in pieces}
    text = " ".join(piece for _, piece in pieces)
    assert is_open(text) is ("words" in kinds and "somebody" not in kinds)


@given(before=st.text(), somebody=SOMEBODY, after=st.text())
def test_a_mention_of_others_is_seen_in_any_text(before: str, somebody: str, after: str) -> None:
    assert not is_open(before + somebody + after)


# --- once, and in order -----------------------------------------------------------------------


@pytest.mark.parametrize("first", ["app_mention", "message"])
async def test_a_mention_in_a_followed_thread_is_answered_once(world: World, first: str) -> None:
    async with world.bot(follow_ups="all"):
        root = await world.ask()
        await world.idle()
        said = {
            "user": world.ada,
            "text": "<@U0BOT> once more",
            "ts": f"{int(root.partition('.')[0]) + 1}.000100",
            "thread_ts": root,
            "channel": world.general,
        }
        twins: list[dict[str, Any]] = [
            {**said, "type": "app_mention"},
            {**said, "type": "message", "channel_type": "channel"},
        ]
        for event in sorted(twins, key=lambda event: event["type"] != first):
            assert (await world.slack.deliver(event)).status == 200
        assert await answered(world, root) == 2
        assert len(world.claude.requests) == 2


async def test_slacks_retries_of_a_follow_up_are_answered_once(world: World) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
        ts = await follow_up(world, root)
        await world.idle()
        (event,) = [body for body in world.slack.events if body["event"]["ts"] == ts]
        assert (await world.slack.deliver(event, retry_num=1)).status == 200
        assert await answered(world, root) == 2


async def test_quick_follow_ups_are_answered_in_their_order(world: World) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask("first")
        await world.claude.wait_for(lambda: world.claude.requests)
        await follow_up(world, root, "second")
        await follow_up(world, root, "third")
        assert await answered(world, root) == 3
        turns = [request.body["messages"][-1] for request in world.claude.requests]
        asked = [before_the_aside(turn).split()[-1] for turn in turns]
        assert asked == ["first", "second", "third"]


async def test_an_edited_follow_up_begins_again_and_a_deleted_one_takes_its_reply_along(
    world: World,
) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
        world.claude.script(LONG, LONG)
        ts = await follow_up(world, root, "and wyh?")
        await world.claude.wait_for(lambda: len(world.claude.requests) == 2)
        await world.slack.edit(world.ada, world.general, ts, "and why?")
        await world.claude.wait_for(lambda: len(world.claude.requests) == 3)
        assert last_said(world).endswith("and why?")
        await world.slack.delete(world.ada, world.general, ts)
        assert await answered(world, root) == 1


@pytest.mark.parametrize("how", ["away", "silent"])
async def test_a_store_that_does_not_answer_leaves_the_message_to_slacks_next_try(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("bot.turns.ACCEPT_TIMEOUT_S", 0.5)
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
        asked_in = SqliteStore.asked_in

        async def away_once(store: SqliteStore, *thread: str) -> dict[str, str]:
            monkeypatch.setattr(SqliteStore, "asked_in", asked_in)
            if how == "silent":
                await asyncio.Event().wait()
            raise StoreUnavailable("away")

        monkeypatch.setattr(SqliteStore, "asked_in", away_once)
        await follow_up(world, root)
        assert await answered(world, root) == 2
        assert [one.status for one in world.slack.deliveries].count(503) == 1


# --- restarts, and a store that was lost ------------------------------------------------------


async def test_a_restart_goes_on_following(world: World) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
    async with world.bot(follow_ups="own"):
        await follow_up(world, root, user=world.bob)
        await follow_up(world, root)
        assert await answered(world, root) == 2
        assert world.slack.count("conversations.replies") == 1, "the conversation's"


async def test_a_lost_store_is_made_up_for_by_one_look_into_slack(
    world: World, tmp_path: Path
) -> None:
    world.claude.script(ANSWER)
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        other = await world.slack.say(world.bob, world.general, "Who has the keys?")
        await world.idle()
    another = str(tmp_path / "another disk")
    async with world.bot(follow_ups="own", data_dir=another):
        for text in ("I have.", "No, I.", "Really?"):
            await follow_up(world, other, text)
        await world.idle()
        written = len(outcomes(tmp_path / "another disk"))
        await follow_up(world, other, "Here they are.")
        await world.idle()
        assert world.slack.count("conversations.replies") == 1
        assert len(outcomes(tmp_path / "another disk")) == written
        await follow_up(world, root, user=world.bob)
        await follow_up(world, root, "one")
        await follow_up(world, root, "two")
        assert await answered(world, root) == 3
        assert world.slack.count("conversations.replies") == 4, "a look, two conversations"
        assert world.slack.ephemerals == []
    found = outcomes(tmp_path / "another disk")
    assert found.count(Outcome.COMPLETE) == 2 and set(found) == {"complete", "ignored"}
    async with world.bot(follow_ups="own", data_dir=another):
        await follow_up(world, root, "three")
        assert await answered(world, root) == 4
        assert world.slack.count("conversations.replies") == 5


async def test_all_finds_a_thread_that_somebody_else_asked_in(world: World, tmp_path: Path) -> None:
    async with world.bot(follow_ups="all"):
        root = await world.ask()
        await world.idle()
    async with world.bot(follow_ups="all", data_dir=str(tmp_path / "another disk")):
        await follow_up(world, root, user=world.bob)
        assert await answered(world, root) == 2


async def test_what_was_said_before_the_first_mention_is_not_answered_later(
    world: World, tmp_path: Path
) -> None:
    root = world.past_thread([], root="Who has the keys?")
    async with world.bot(follow_ups="all"):
        slow = Fault(method="conversations.replies", kind="delay", seconds=0.3)
        world.slack.fault(slow)
        await follow_up(world, root, "Let us ask Claude.")
        await world.until(lambda: slow.used)
        await world.ask("who has the keys?", thread_ts=root)
        assert await answered(world, root) == 1
        await follow_up(world, root, "and the car?", user=world.bob)
        assert await answered(world, root) == 2
    assert outcomes(world.data_dir).count(Outcome.IGNORED) == 1


async def test_a_message_in_doubt_waits_until_slack_can_be_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.turns.recovery.LOOK_EVERY_S", 0.1)
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
    async with world.bot(follow_ups="own", data_dir=str(tmp_path / "another disk")):
        fault = Fault(method="conversations.replies", kind="http", status=500, times=2)
        world.slack.fault(fault)
        await follow_up(world, root)
        await world.until(lambda: len(world.replies(root)) == 2)
        assert await answered(world, root) == 2 and fault.used == 2


async def test_a_message_in_doubt_outlives_the_process(world: World, tmp_path: Path) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
    another = tmp_path / "another disk"
    async with world.bot(follow_ups="own", data_dir=str(another), shutdown_grace_s=0.2):
        hanging = Fault(method="conversations.replies", kind="hang")
        world.slack.fault(hanging)
        await follow_up(world, root)
        await world.until(lambda: hanging.used)
    assert outcomes(another) == [None]
    async with world.bot(follow_ups="own", data_dir=str(another)):
        await world.until(lambda: len(world.replies(root)) == 2)
        assert await answered(world, root) == 2
    assert outcomes(another) == [Outcome.COMPLETE]


async def test_a_message_in_doubt_that_is_deleted_is_not_answered(
    world: World, tmp_path: Path
) -> None:
    async with world.bot(follow_ups="own"):
        root = await world.ask()
        await world.idle()
    async with world.bot(follow_ups="own", data_dir=str(tmp_path / "another disk")):
        slow = Fault(method="conversations.replies", kind="delay", seconds=0.5)
        world.slack.fault(slow)
        ts = await follow_up(world, root)
        await world.until(lambda: slow.used)
        await world.slack.delete(world.ada, world.general, ts)
        assert await answered(world, root) == 1
    assert outcomes(tmp_path / "another disk") == [Outcome.GONE]
    assert len(world.claude.requests) == 1


async def test_what_failed_to_come_before_the_first_mention_is_no_follow_up(world: World) -> None:
    async with world.bot(follow_ups="all"):
        root = await world.slack.say(world.bob, world.general, "Who has the keys?")
        early = await follow_up(world, root, "Let us ask Claude.")
        await world.ask("who has the keys?", thread_ts=root)
        assert await answered(world, root) == 1
        await follow_up(world, root, "and the car?")
        assert await answered(world, root) == 2
        (event,) = [body for body in world.slack.events if body["event"]["ts"] == early]
        assert (await world.slack.deliver(event, retry_num=1)).status == 200
        assert await answered(world, root) == 2


@pytest.mark.parametrize("mention", [True, False], ids=["a mention", "a follow-up"])
async def test_only_a_mention_is_told_after_a_restart_that_its_writer_may_not_ask(
    world: World, mention: bool
) -> None:
    root = world.past_thread([], root="Who has the keys?")
    text = "<@U0BOT> and why?" if mention else "and why?"
    ts = await follow_up(world, root, text)
    store = await SqliteStore.open(str(world.data_dir), SystemClock())
    assert await store.accept(
        Question(
            team="T0EMULATOR",
            channel=world.general,
            user=world.ada,
            ts=ts,
            surface="channel",
            thread_ts=root,
        )
    )
    await store.close()
    async with world.bot(follow_ups="own", allowed_users=frozenset({world.bob})) as server:
        await world.until(lambda: world.slack.count("conversations.replies"))
        await server.idle()
    assert outcomes(world.data_dir) == [Outcome.DECLINED]
    assert len(world.slack.ephemerals) == int(mention)
    assert world.replies(root) == []


async def test_a_start_without_the_scopes_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.slack.settings.scopes -= {"groups:history", "mpim:history"}
    async with world.bot():
        assert "follow_ups_unheard" not in caplog.text
    async with world.bot(follow_ups="own"):
        (record,) = [one for one in caplog.records if one.message == "follow_ups_unheard"]
        assert "groups:history,mpim:history" in str(vars(record))
