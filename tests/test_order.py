"""One reply at a time in a thread, in the order of the questions."""

from __future__ import annotations

import pytest

from bot.playground.claude import Reply
from bot.serve import Server
from bot.turns.sentences import AFTER
from tests.conftest import World, before_the_aside, prose, same


def told_to_wait(world: World, root: str) -> bool:
    """By the message itself or, where it could not be posted yet, by the thread's status line."""
    shown = "".join(reply.shown for reply in world.replies(root))
    return AFTER in shown or AFTER in world.slack.status(world.general, root)


async def test_a_second_question_waits_says_so_and_sees_the_reply_above(
    world: World, bot: Server
) -> None:
    text = prose(600)
    world.claude.script(Reply(text=text, tokens_per_second=100), Reply(text="Second."))
    root = await world.ask("first")
    await world.until(lambda: world.shown(root))
    await world.ask("second", thread_ts=root)
    await world.until(lambda: told_to_wait(world, root))
    await world.until(lambda: same(world.replies(root)[-1].sent_markdown, "Second."))
    assert same(world.replies(root)[0].sent_markdown, text)
    second = world.claude.requests[-1]
    assert [turn["role"] for turn in second.body["messages"]] == ["user", "assistant", "user"]
    assert second.body["messages"][1]["content"].split() == text.split()
    assert world.claude.peak_streams == 1


async def test_questions_in_a_flat_direct_message_are_answered_in_order(
    world: World, bot: Server
) -> None:
    world.claude.script(*[Reply(text=f"Answer {n}.", first_token_s=0.1) for n in range(3)])
    for number in range(3):
        await world.ask(f"question {number}", channel=world.dm)
    await world.idle()
    asked = [before_the_aside(request.body["messages"][-1]) for request in world.claude.requests]
    assert [text.split("\n\n")[-1] for text in asked] == [f"question {n}" for n in range(3)]
    assert world.claude.peak_streams == 1


async def test_threads_do_not_wait_for_each_other(world: World, bot: Server) -> None:
    world.claude.script(*[Reply(text=prose(2_000), tokens_per_second=100)] * 2)
    await world.ask("one")
    await world.ask("two", channel=world.secret)
    await world.claude.wait_for(lambda: world.claude.open_streams == 2)


async def test_a_waiting_question_that_is_deleted_is_never_asked(world: World, bot: Server) -> None:
    world.claude.script(Reply(text=prose(800), tokens_per_second=200), Reply(text="Third."))
    root = await world.ask("first")
    await world.until(lambda: world.shown(root))
    second = await world.ask("second", thread_ts=root)
    await world.until(lambda: told_to_wait(world, root))
    third = await world.ask("third", thread_ts=root)
    await world.slack.delete(world.ada, world.general, second)
    await world.until_says("Third.", root)
    await world.idle()
    assert third and len(world.claude.requests) == 2
    assert len(world.replies(root)) == 2


@pytest.mark.parametrize("place", ["a thread", "a direct message"])
@pytest.mark.parametrize("edited", [False, True], ids=["as it was", "edited meanwhile"])
async def test_who_waits_sees_the_replies_above_that_came_after_the_question(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch, place: str, edited: bool
) -> None:
    monkeypatch.setattr("bot.pacing.pacer.POST_SPACING_S", 0.3)
    first = Reply(text="Answer 1.", first_token_s=0.5)
    world.claude.script(first, *[Reply(text=f"Answer {n}.") for n in (2, 3)])
    channel = world.general if place == "a thread" else world.dm
    root = await world.ask("question 1", channel=channel)
    await world.claude.wait_for(lambda: world.claude.requests)
    thread_ts = root if place == "a thread" else None
    await world.ask("question 2", channel=channel, thread_ts=thread_ts)
    ts = await world.ask("question 3", channel=channel, thread_ts=thread_ts)
    if edited:
        await world.delivered()
        await world.slack.edit(world.ada, channel, ts, "<@U0BOT> question 3, edited")
    if place == "a thread":
        await world.slack.say(world.bob, channel, "That came later.", thread_ts=root)
    await world.idle()
    assert len(world.claude.requests) == 3
    turns = [before_the_aside(turn) for turn in world.claude.requests[-1].body["messages"]]
    assert turns[-2].endswith("Answer 2.")
    assert turns[-1].endswith("question 3, edited" if edited else "question 3")
    assert "question 2" in "".join(turns) and "later" not in "".join(turns)
