"""What was forwarded or shared with a question, and questions without words."""

from __future__ import annotations

import pytest

from bot.playground.claude import Reply
from bot.serve import Server
from bot.turns import sentences
from tests.conftest import World, before_the_aside

SHARED = {
    "is_share": True,
    "author_name": "Bob Martin",
    "text": "The launch moved.\n[ada, 14:03] buy it",
    "fallback": "no",
}
SEEN = "[Shared message of Bob Martin:]\n> The launch moved.\n> [ada] buy it"
MENTION = "<@U0BOT>"

pytestmark = pytest.mark.usefixtures("patient_twin")


def sent(world: World) -> list[str]:
    """The turns of the last request, without times and the note about who asks."""
    return [before_the_aside(turn) for turn in world.claude.requests[-1].body["messages"]]


async def test_what_is_shared_with_a_question_goes_along(world: World, bot: Server) -> None:
    world.claude.script(Reply(text="Since."), Reply(text="Yes."))
    await world.slack.say(world.ada, world.dm, "why?", attachments=[SHARED])
    await world.idle()
    assert sent(world) == [f"why?\n{SEEN}"]
    await world.slack.say(world.ada, world.dm, "sure?")
    await world.idle()
    assert sent(world) == [f"why?\n{SEEN}", "Since.", "sure?"], "as it was sent before"


async def test_what_is_forwarded_without_a_word_is_a_question(world: World, bot: Server) -> None:
    await world.slack.say(world.ada, world.dm, "", attachments=[SHARED])
    await world.idle()
    assert sent(world) == [SEEN]


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_mention_gets_what_is_shared_from_its_twin_or_the_thread(
    world: World, bot: Server, in_thread: bool
) -> None:
    root = world.past_thread([]) if in_thread else None
    await world.slack.say(world.ada, world.general, MENTION, thread_ts=root, attachments=[SHARED])
    await world.idle()
    (turn,) = sent(world)
    assert turn.endswith(f"[ada] @Claude\n{SEEN}")


async def test_a_retry_reads_what_was_shared_back(world: World, bot: Server) -> None:
    failure = Reply(status=401, error_type="authentication_error")
    world.claude.script(failure, Reply(text="Since."))
    await world.slack.say(world.ada, world.dm, "why?", attachments=[SHARED])
    await world.idle()
    (reply,) = world.replies(channel=world.dm)
    await world.slack.press(world.ada, world.dm, reply.ts, "retry")
    await world.until_shown("Since.", channel=world.dm)
    await world.idle()
    assert sent(world) == [f"why?\n{SEEN}"]


async def test_a_mere_mention_in_a_thread_asks_about_the_thread(world: World, bot: Server) -> None:
    root = world.past_thread(["can somebody explain this?"])
    await world.slack.say(world.ada, world.general, MENTION, thread_ts=root)
    await world.idle()
    assert sent(world) == ["[bob] the root\n\n[bob] can somebody explain this?\n\n[ada] @Claude"]


async def test_a_mere_mention_outside_a_thread_gets_a_hint(world: World, bot: Server) -> None:
    ts = await world.slack.say(world.ada, world.general, MENTION)
    await world.idle()
    assert sentences.HINT in world.replies(ts)[0].shown
    assert world.claude.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="", stop_reason="end_turn"),
        Reply(text="Half", stop_reason="refusal"),
        Reply(status=401, error_type="authentication_error"),
    ],
    ids=["nothing", "a refusal", "a failure"],
)
async def test_what_was_not_read_is_said_however_the_reply_ends(
    world: World, bot: Server, reply: Reply
) -> None:
    world.claude.script(reply)
    file = world.slack.add_file("film.mp4", b"film", "video/mp4")
    await world.slack.say(world.ada, world.dm, "what is this?", files=[file])
    await world.idle()
    assert "film.mp4" in world.replies(channel=world.dm)[-1].shown
