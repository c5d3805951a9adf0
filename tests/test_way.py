"""The whole way of a question, over real HTTP: the ways to ask, and what Claude is sent."""

from __future__ import annotations

import pytest

from bot.conversation import UNREAD_THREAD
from bot.listeners.question import UNKNOWN_TEAM, foreign_team
from bot.playground.claude import Reply
from bot.playground.slack import Fault
from bot.serve import Server
from bot.turns.sentences import HINT, HINT_DIRECT
from tests.conftest import World, before_the_aside, prose, same


async def test_a_mention_becomes_a_streamed_reply_in_its_thread(world: World, bot: Server) -> None:
    text = prose(1_200)
    world.claude.script(Reply(text=text, tokens_per_second=300, first_token_s=0.1))
    ts = await world.ask("tell me")
    await world.until_shown(text, ts)
    (reply,) = world.replies(ts)
    assert reply.thread_ts == ts
    methods = [revision.method for revision in reply.revisions]
    assert methods[0] == "chat.postMessage"
    assert methods.count("chat.update") >= 2
    assert "Thinking" in reply.revisions[0].text
    assert world.slack.count("chat.postMessage") == 1


async def test_private_channels_and_group_direct_messages_are_answered_too(
    world: World, bot: Server
) -> None:
    group = world.slack.add_channel("mpdm", kind="mpim", members=[world.ada, world.bob])
    for place in (world.secret, group):
        ts = await world.ask("hello", channel=place)
        await world.until(lambda ts=ts, place=place: world.replies(ts, place))
        await world.idle()
        assert len(world.replies(ts, place)) == 1


async def test_a_direct_message_is_answered_straight_below(world: World, bot: Server) -> None:
    world.claude.script(Reply(text="Straight below."))
    await world.ask("hi there", channel=world.dm)
    await world.until_shown("Straight below.", channel=world.dm)
    (reply,) = world.replies(channel=world.dm)
    assert reply.thread_ts is None


async def test_a_direct_message_in_a_thread_is_answered_in_it(world: World, bot: Server) -> None:
    root = await world.ask("first", channel=world.dm)
    await world.until(lambda: world.replies(channel=world.dm))
    await world.idle()
    world.claude.script(Reply(text="In the thread."))
    await world.ask("second", channel=world.dm, thread_ts=root)
    await world.until_shown("In the thread.", root, channel=world.dm)


async def test_a_follow_up_carries_the_thread_with_roles_and_names(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text="It is **4**.\n\n```python\nprint(2 + 2)\n```"))
    root = await world.ask("what is 2 + 2 &amp; why")
    await world.idle()
    await world.slack.say(
        world.bob, world.general, "I doubt it, see <https://x.test|this>", thread_ts=root
    )
    world.claude.script(Reply(text="Sure."))
    await world.ask("are you sure?", thread_ts=root)
    await world.idle()
    first, second, third = world.claude.requests[-1].body["messages"]
    assert first["role"] == "user" and before_the_aside(first) == "[ada] what is 2 + 2 & why"
    assert second["role"] == "assistant"
    assert "**4**" in second["content"] and "```python\nprint(2 + 2)\n```" in second["content"]
    assert before_the_aside(third) == (
        "[bob] I doubt it, see this (https://x.test)\n\n[ada] are you sure?"
    )


@pytest.mark.usefixtures("patient_twin")
async def test_a_question_that_starts_a_thread_reads_nothing(world: World, bot: Server) -> None:
    await world.ask("hello")
    await world.idle()
    assert world.slack.count("conversations.replies") == 0
    assert world.slack.count("conversations.history") == 0


async def test_a_flat_direct_message_remembers_the_last_hours(world: World, bot: Server) -> None:
    world.claude.script(Reply(text="Nice to meet you, Ada."), Reply(text="Ada."))
    await world.ask("I am Ada", channel=world.dm)
    await world.idle()
    await world.ask("who am I?", channel=world.dm)
    await world.idle()
    turns = world.claude.requests[-1].body["messages"]
    said = [(turn["role"], before_the_aside(turn)) for turn in turns]
    assert said == [
        ("user", "I am Ada"),
        ("assistant", "Nice to meet you, Ada."),
        ("user", "who am I?"),
    ]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        pytest.param("<@U0BOT> hi", "hi", id="a leading mention is removed"),
        pytest.param("hi <@U0BOT>", "hi", id="a trailing mention is removed"),
        pytest.param("ask <@U0BOT> this", "ask @Claude this", id="an inner one is a name"),
        pytest.param("<@U0BOT|claude>: hi", "hi", id="a mention with a label is removed"),
        pytest.param("<@U0BOT> 1 &lt; 2 &amp;&amp; x", "1 < 2 && x", id="entities are read"),
        pytest.param("<@U0BOT> <!here> look", "@here look", id="broadcasts are words"),
    ],
)
async def test_the_question_reaches_claude_as_a_person_reads_it(
    world: World, bot: Server, text: str, asked: str
) -> None:
    await world.slack.say(world.ada, world.general, text)
    await world.idle()
    (turn,) = world.claude.requests[-1].body["messages"]
    assert before_the_aside(turn) == f"[ada] {asked}"


async def test_a_mention_without_text_gets_a_hint_and_costs_nothing(
    world: World, bot: Server
) -> None:
    ts = await world.slack.say(world.ada, world.general, "<@U0BOT>")
    await world.until_says(HINT, ts)
    await world.slack.say(world.ada, world.dm, "  ")
    await world.until_says(HINT_DIRECT, channel=world.dm)
    assert world.claude.requests == []


async def test_a_mention_that_slack_delivers_in_two_events_is_answered_once(
    world: World, bot: Server
) -> None:
    ts = await world.ask("once")
    await world.idle()
    sent = [delivery.type for delivery in world.slack.deliveries if delivery.status == 200]
    assert sent.count("app_mention") == 1
    assert sent.count("message") >= 1
    assert len(world.claude.requests) == 1
    assert len(world.replies(ts)) == 1


async def test_slacks_retries_are_acknowledged_and_answered_once(world: World, bot: Server) -> None:
    ts = await world.ask("again")
    await world.idle()
    (mention,) = [body for body in world.slack.events if body["event"]["type"] == "app_mention"]
    for number in (1, 2, 3):
        await world.slack.deliver(mention, retry_num=number)
    assert len(world.claude.requests) == 1
    assert len(world.replies(ts)) == 1


async def test_every_event_that_slack_sends_is_answered_with_200(world: World, bot: Server) -> None:
    ts = await world.ask("hello")
    await world.idle()
    await world.slack.edit(world.ada, world.general, ts, "<@U0BOT> hello again")
    await world.slack.say(world.ada, world.general, "joined", subtype="channel_join")
    await world.slack.open_home(world.ada, "messages")
    for kind in ("reaction_added", "team_join", "something_of_tomorrow"):
        await world.slack.deliver({"type": kind, "user": world.ada})
    await world.until(lambda: all(d.status for d in world.slack.deliveries))
    assert {delivery.status for delivery in world.slack.deliveries} == {200}


async def test_other_bots_and_our_own_echoes_are_not_answered(world: World, bot: Server) -> None:
    await world.slack.deliver(
        {
            "type": "app_mention",
            "user": world.bob,
            "bot_id": "B0OTHER",
            "text": "<@U0BOT> loop?",
            "channel": world.general,
            "ts": "1700000000.000100",
        }
    )
    await world.slack.deliver(
        {
            "type": "message",
            "user": "U0BOT",
            "channel_type": "im",
            "text": "myself",
            "channel": world.dm,
            "ts": "1700000000.000200",
        }
    )
    await world.idle()
    assert world.claude.requests == []


@pytest.mark.parametrize("subtype", ["me_message", "thread_broadcast"])
async def test_a_person_may_ask_in_other_ways(world: World, bot: Server, subtype: str) -> None:
    await world.slack.say(world.ada, world.dm, "wonders why", subtype=subtype)
    await world.idle()
    assert len(world.claude.requests) == 1


CHANGED = {"ts": "1.1", "text": "hi", "edited": {"ts": "1.2"}, "subtype": []}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"text": "<@U0BOTTLE> hi"}, id="a mention of somebody with a longer id"),
        pytest.param({"user": "USLACK", "channel_type": "im"}, id="Slack itself"),
        pytest.param({"thread_ts": ["1"], "channel_type": "im"}, id="a thread that is no text"),
        pytest.param({"user": None, "channel_type": "im"}, id="nobody"),
        pytest.param({"user": "U\ud83d", "channel_type": "im"}, id="half a sign in an id"),
        pytest.param({"channel": "D0:1", "channel_type": "im"}, id="an id that is none"),
        pytest.param({"ts": "9" * 400, "channel_type": "im"}, id="a time without an end"),
        pytest.param({"ts": "1700000000.\ud83d", "channel_type": "im"}, id="half a sign in a ts"),
        pytest.param({"thread_ts": "9" * 20 + ".1", "channel_type": "im"}, id="a far thread"),
        pytest.param(
            {"channel_type": ["im"], "text": "hi", "thread_ts": "1.1"},
            id="a kind of channel that is no text",
        ),
        pytest.param({"subtype": "message_changed", "message": CHANGED}, id="a change of no kind"),
        pytest.param({"subtype": "channel_join", "text": "<@U0BOT> joined"}, id="a join"),
    ],
)
async def test_what_asks_nothing_is_taken_and_left_alone(
    world: World, bot: Server, event: dict[str, object]
) -> None:
    message = {"type": "message", "user": world.ada, "text": "<@U0BOT>", "ts": "1700000000.000100"}
    delivery = await world.slack.deliver({**message, "channel": world.general, **event})
    assert delivery.status == 200
    await world.idle()
    assert world.claude.requests == []
    assert world.replies() == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"enterprise_id": "E1"}, id="the envelope's"),
        pytest.param({"authorizations": [{"enterprise_id": "E1"}]}, id="the authorization's"),
        pytest.param({"enterprise_id": "E1", "context_enterprise_id": ["E1"]}, id="beside a list"),
        pytest.param(
            {"enterprise_id": {}, "authorizations": [{"enterprise_id": "E1", "team_id": {}}]},
            id="beside objects",
        ),
    ],
)
async def test_members_of_the_same_organisation_are_no_strangers(
    world: World, bot: Server, body: dict[str, object]
) -> None:
    await world.slack.deliver(
        {
            "type": "event_callback",
            "event_id": "Ev1",
            "team_id": "T0EMULATOR",
            **body,
            "event": {
                "type": "app_mention",
                "user": world.ada,
                "user_team": "E1",
                "text": "<@U0BOT> hi",
                "channel": world.general,
                "ts": "1700000000.000100",
            },
        }
    )
    await world.claude.wait_for(lambda: world.claude.requests)
    await bot.idle()


@pytest.mark.parametrize(
    ("team", "foreign"),
    [
        pytest.param(None, None, id="none named"),
        pytest.param("E1", None, id="the bot's own organisation"),
        pytest.param("T0OTHER", "T0OTHER", id="another team"),
        pytest.param("\ud83d", UNKNOWN_TEAM, id="half a sign"),
        pytest.param(["E1"], UNKNOWN_TEAM, id="a list"),
    ],
)
def test_a_team_that_cannot_be_read_is_foreign(team: object, foreign: str | None) -> None:
    assert foreign_team(team, {"enterprise_id": "E1"}) == foreign


async def test_people_of_other_organisations_are_told_no_privately(
    world: World, bot: Server
) -> None:
    shared = world.slack.add_channel("shared", members=[world.ada], is_shared=True)
    stranger = world.slack.add_user("Eve", team="T0OTHER", is_stranger=True)
    await world.slack.say(stranger, shared, "<@U0BOT> hello")
    await world.until(lambda: world.slack.ephemerals)
    assert world.slack.ephemerals[0].user == stranger
    assert world.claude.requests == []


async def test_claude_is_asked_with_current_parameters_and_an_opaque_user(
    world: World, bot: Server
) -> None:
    await world.ask("hello")
    await world.idle()
    body = world.claude.requests[-1].body
    assert body["stream"] is True
    assert body["model"] == "claude-sonnet-5-5"
    assert body["output_config"] == {"effort": "low"}
    assert body["cache_control"] == {"type": "ephemeral"}
    assert world.ada not in str(body["metadata"])
    assert not {"temperature", "top_p", "top_k"} & set(body)


async def test_a_thread_that_cannot_be_read_is_said_and_the_question_answered(
    world: World, bot: Server
) -> None:
    root = await world.slack.say(world.bob, world.general, "a root")
    world.slack.fault(Fault(method="conversations.replies", kind="error", error="missing_scope"))
    world.claude.script(Reply(text="Without it."))
    await world.ask("and now?", thread_ts=root)
    await world.until_says(UNREAD_THREAD, root)
    assert same(world.shown(root), "Without it.")
