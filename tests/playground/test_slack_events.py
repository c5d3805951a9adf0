"""Events over HTTP: what is delivered, how it is signed and when it comes again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from bot.playground.slack import DEFAULT_SCOPES, DEFAULT_SUBSCRIPTIONS

from .slack_kit import Received, listening, room


async def test_a_mention_is_delivered_twice_with_different_event_ids() -> None:
    async with room() as space, listening(space.slack) as app:
        ts = await space.slack.say(space.ada, space.general, "<@U0BOT> hello")
        events = await app.got(2)
        by_type = {event["type"]: event for event in events}
        assert by_type.keys() == {"app_mention", "message"}
        assert {event["ts"] for event in events} == {ts}
        assert len({event["client_msg_id"] for event in events}) == 1
        assert len({each.body["event_id"] for each in app.requests}) == 2
        assert by_type["message"]["channel_type"] == "channel"
        assert "channel_type" not in by_type["app_mention"]


async def test_every_request_is_signed_json() -> None:
    async with room() as space, listening(space.slack) as app:
        await space.slack.say(space.ada, space.slack.add_dm(space.ada), "hello")
        await app.got(1)
        request = app.requests[0]
        assert request.is_signed
        assert request.headers["Content-Type"] == "application/json"
        assert request.body["type"] == "event_callback"
        assert request.body["authorizations"][0]["user_id"] == "U0BOT"
        assert request.body["event"]["channel_type"] == "im"
        assert "x-slack-retry-num" not in request.headers


async def test_a_mention_in_a_direct_message_is_only_a_message() -> None:
    async with room() as space, listening(space.slack) as app:
        await space.slack.say(space.ada, space.slack.add_dm(space.ada), "<@U0BOT> hello")
        await space.slack.say(space.ada, space.slack.add_dm(space.ada), "again")
        assert [event["type"] for event in await app.got(2)] == ["message", "message"]


@pytest.mark.parametrize(
    ("kind", "subscription", "scope"),
    [
        ("channel", "message.channels", "channels:history"),
        ("group", "message.groups", "groups:history"),
        ("mpim", "message.mpim", "mpim:history"),
    ],
)
async def test_what_is_said_in_a_thread_comes_with_its_kind_of_conversation(
    kind: Any, subscription: str, scope: str
) -> None:
    granted = {"subscriptions": frozenset({subscription}), "scopes": frozenset({scope})}
    async with room(**granted) as space, listening(space.slack) as app:
        place = space.slack.add_channel("place", kind=kind, members=[space.ada])
        root = await space.slack.say(space.ada, place, "the root")
        await space.slack.say(space.ada, place, "no mention", thread_ts=root)
        events = {event["text"]: event for event in await app.got(2)}
        reply = events["no mention"]
        assert (reply["type"], reply["channel_type"], reply["channel"]) == ("message", kind, place)
        assert (reply["thread_ts"], reply["parent_user_id"]) == (root, space.ada)
        assert "subtype" not in reply and "thread_ts" not in events["the root"]


async def test_only_what_is_subscribed_and_granted_is_delivered() -> None:
    settings = {
        "subscriptions": DEFAULT_SUBSCRIPTIONS - {"message.channels"},
        "scopes": DEFAULT_SCOPES - {"im:history"},
    }
    async with room(**settings) as space, listening(space.slack) as app:
        await space.slack.say(space.ada, space.slack.add_dm(space.ada), "unheard")
        await space.slack.say(space.ada, space.general, "unheard too")
        await space.slack.say(space.ada, space.general, "<@U0BOT> heard")
        assert [event["text"] for event in await app.got(1)] == ["<@U0BOT> heard"]
        assert len(space.slack.events) == 1


async def test_the_app_hears_nothing_from_where_it_is_no_member() -> None:
    async with room() as space:
        space.slack.kick_bot(space.general)
        await space.slack.say(space.ada, space.general, "<@U0BOT> hello")
        assert space.slack.events == []


async def test_the_apps_own_posts_edits_and_deletions_come_back() -> None:
    async with room() as space, listening(space.slack) as app:
        ts = await space.post(text="one")
        await app.got(1)
        await space.client.chat_update(channel=space.general, ts=ts, text="two")
        await app.got(2)
        await space.client.chat_delete(channel=space.general, ts=ts)
        post, edit, deletion = await app.got(3)
        assert (post["bot_id"], post["user"], post["app_id"]) == ("B0BOT", "U0BOT", "A0EMULATOR")
        assert "subtype" not in post
        assert edit["subtype"] == "message_changed"
        assert edit["message"]["text"] == "two"
        assert edit["previous_message"]["text"] == "one"
        assert edit["message"]["edited"]["user"] == "B0BOT"
        assert edit["hidden"] is True
        assert (deletion["subtype"], deletion["deleted_ts"]) == ("message_deleted", ts)
        assert deletion["previous_message"]["bot_id"] == "B0BOT"


async def test_people_edit_and_delete_too() -> None:
    async with room() as space, listening(space.slack) as app:
        ts = await space.slack.say(space.ada, space.general, "one")
        await app.got(1)
        await space.slack.edit(space.ada, space.general, ts, "two")
        await app.got(2)
        await space.slack.delete(space.ada, space.general, ts)
        _, edit, deletion = await app.got(3)
        assert edit["message"]["edited"]["user"] == space.ada
        assert deletion["deleted_ts"] == ts


async def test_a_deleted_root_with_replies_becomes_a_tombstone() -> None:
    """Slack sends message_changed then: github.com/openclaw/openclaw/pull/22035."""
    async with room() as space, listening(space.slack) as app:
        root = await space.slack.say(space.ada, space.general, "question")
        reply = await space.post(text="answer", thread_ts=root)
        await app.got(2)
        await space.slack.delete(space.ada, space.general, root)
        changed = (await app.got(3))[-1]
        assert changed["subtype"] == "message_changed"
        assert changed["message"]["subtype"] == "tombstone"
        assert changed["message"]["ts"] == root
        assert changed["previous_message"]["text"] == "question"
        answer = await space.client.conversations_replies(channel=space.general, ts=root)
        assert [each.get("subtype") for each in answer["messages"]] == ["tombstone", None]
        await space.client.chat_delete(channel=space.general, ts=reply)
        deleted = {event.get("deleted_ts") for event in await app.got(5)}
        assert {root, reply} <= deleted


async def test_files_come_with_the_message_but_not_with_the_mention() -> None:
    async with room() as space, listening(space.slack) as app:
        file = space.slack.add_file("notes.txt", b"hello", user=space.ada)
        await space.slack.say(space.ada, space.general, "<@U0BOT> read", files=[file])
        events = {event["type"]: event for event in await app.got(2)}
        assert events["message"]["subtype"] == "file_share"
        assert events["message"]["files"][0]["size"] == 5
        assert "files" not in events["app_mention"]


async def test_replies_name_their_thread() -> None:
    async with room() as space, listening(space.slack) as app:
        root = await space.slack.say(space.ada, space.general, "one")
        await space.slack.say(space.ada, space.general, "two", thread_ts=root)
        events = {event["text"]: event for event in await app.got(2)}
        assert "thread_ts" not in events["one"]
        assert events["two"]["thread_ts"] == root
        assert events["two"]["parent_user_id"] == space.ada


async def test_a_stranger_comes_with_their_team() -> None:
    async with room() as space, listening(space.slack) as app:
        shared = space.slack.add_channel("shared", is_shared=True)
        eve = space.slack.add_user("Eve", team="T0OTHER", is_stranger=True)
        await space.slack.say(eve, shared, "hello")
        event = (await app.got(1))[0]
        assert (event["user_team"], event["source_team"]) == ("T0OTHER", "T0OTHER")
        assert app.requests[0].body["is_ext_shared_channel"] is True
        assert app.requests[0].body["team_id"] == "T0EMULATOR"


async def test_another_bot_posts_with_its_bot_id() -> None:
    async with room() as space, listening(space.slack) as app:
        robot = space.slack.add_user("Robot", is_bot=True)
        await space.slack.say(robot, space.general, "<@U0BOT> beep")
        events = await app.got(2)
        assert all(event["bot_id"] not in (None, "B0BOT") for event in events)


async def test_a_failed_delivery_comes_again_with_number_and_reason() -> None:
    async with room(retry_delays_s=(0.01, 0.01, 0.01)) as space, listening(space.slack) as app:

        async def fail(request: Received) -> web.Response:
            return web.Response(status=404)

        app.respond = fail
        await space.slack.say(space.ada, space.general, "hello")
        await app.got(4)
        await space.slack.wait_for(lambda: len(space.slack.deliveries) == 4)
        numbers = [each.headers.get("x-slack-retry-num") for each in app.requests]
        reasons = [each.headers.get("x-slack-retry-reason") for each in app.requests]
        assert numbers == [None, "1", "2", "3"]
        assert reasons == [None, "http_error", "http_error", "http_error"]
        assert len({each.body["event_id"] for each in app.requests}) == 1
        assert [each.status for each in space.slack.deliveries] == [404] * 4


async def test_an_answer_that_is_late_counts_as_none() -> None:
    settings = {"ack_timeout_s": 0.05, "retry_delays_s": (0.01,)}
    async with room(**settings) as space, listening(space.slack) as app:
        release = asyncio.Event()

        async def wait(request: Received) -> web.Response:
            if "x-slack-retry-num" not in request.headers:
                await release.wait()
            return web.Response()

        app.respond = wait
        await space.slack.say(space.ada, space.general, "hello")
        await app.got(2)
        release.set()
        await space.slack.wait_for(lambda: len(space.slack.deliveries) == 2)
        assert [each.reason for each in space.slack.deliveries] == ["http_timeout", ""]
        assert app.requests[1].headers["x-slack-retry-reason"] == "http_timeout"


async def test_no_retry_is_honoured() -> None:
    async with room(retry_delays_s=(0.01,)) as space, listening(space.slack) as app:

        async def refuse(request: Received) -> web.Response:
            return web.Response(status=500, headers={"X-Slack-No-Retry": "1"})

        app.respond = refuse
        await space.slack.say(space.ada, space.general, "hello")
        await space.slack.wait_for(lambda: space.slack.deliveries)
        await asyncio.sleep(0.05)
        assert len(app.requests) == 1


async def test_an_event_without_anybody_to_take_it_is_tried_again() -> None:
    async with room(retry_delays_s=(0.03,)) as space:
        await space.slack.say(space.ada, space.general, "hello")
        await space.slack.wait_for(lambda: space.slack.deliveries)
        assert space.slack.deliveries[0].reason == "connection_failed"
        async with listening(space.slack) as app:
            await app.got(1)
            assert app.requests[0].headers["x-slack-retry-reason"] == "connection_failed"


async def test_an_envelope_can_be_delivered_again_as_it_was() -> None:
    async with room() as space, listening(space.slack) as app:
        await space.slack.say(space.ada, space.general, "hello")
        await app.got(1)
        again = await space.slack.deliver(space.slack.events[0], retry_num=2)
        assert (again.status, again.attempt) == (200, 2)
        assert app.requests[0].body == app.requests[1].body
        assert app.requests[1].headers["x-slack-retry-num"] == "2"


async def test_a_bare_event_gets_an_envelope() -> None:
    async with room() as space, listening(space.slack) as app:
        await space.slack.deliver({"type": "app_uninstalled"})
        assert app.requests[0].body["event"] == {"type": "app_uninstalled"}


async def test_a_press_sends_block_actions_as_a_form() -> None:
    async with room() as space, listening(space.slack) as app:
        root = await space.slack.say(space.ada, space.general, "hi")
        button = {
            "type": "button",
            "text": {"type": "plain_text", "text": "Stop"},
            "action_id": "stop",
            "value": "v1",
        }
        ts = await space.post(
            text="x", thread_ts=root, blocks=[{"type": "actions", "elements": [button]}]
        )
        await app.got(2)
        assert await space.slack.press(space.ada, space.general, ts, "stop") == 200
        request = app.requests[-1]
        action = request.body["actions"][0]
        assert request.is_signed
        assert request.body["type"] == "block_actions"
        assert (action["action_id"], action["value"]) == ("stop", "v1")
        assert request.body["user"]["id"] == space.ada
        assert request.body["container"]["message_ts"] == ts
        assert request.body["container"]["thread_ts"] == root
        assert request.body["message"]["ts"] == ts


async def test_what_is_not_shown_cannot_be_pressed() -> None:
    async with room() as space:
        ts = await space.post(text="x")
        with pytest.raises(LookupError):
            await space.slack.press(space.ada, space.general, ts, "stop")


async def test_opening_the_home_tab_tells_the_app() -> None:
    async with room() as space, listening(space.slack) as app:
        await space.slack.open_home(space.ada)
        event = (await app.got(1))[0]
        assert (event["type"], event["tab"]) == ("app_home_opened", "home")


async def test_a_response_url_works_five_times() -> None:
    async with room() as space, listening(space.slack) as app:
        assert await space.slack.command(space.ada, space.general, "/claude", "help") == 200
        url = app.requests[-1].body["response_url"]
        session = space.client.session
        assert session is not None
        statuses = []
        for _ in range(6):
            async with session.post(url, json={"text": "only you see this"}) as response:
                statuses.append(response.status)
        assert statuses == [200] * 5 + [404]
        assert len(space.slack.ephemerals) == 5


async def test_a_private_message_can_be_pressed_too() -> None:
    async with room() as space, listening(space.slack) as app:
        text = {"type": "plain_text", "text": "Retry"}
        blocks = [
            {
                "type": "actions",
                "elements": [{"type": "button", "text": text, "action_id": "retry"}],
            }
        ]
        answer = await space.client.chat_postEphemeral(
            channel=space.general, user=space.ada, text="busy", blocks=blocks
        )
        ts = answer["message_ts"]
        assert await space.slack.press(space.ada, space.general, ts, "retry") == 200
        assert app.requests[-1].body["container"]["is_ephemeral"] is True
        assert "message" not in app.requests[-1].body


async def test_the_challenge_of_an_address_is_delivered_bare() -> None:
    async with room() as space, listening(space.slack) as app:
        await space.slack.deliver({"type": "url_verification", "challenge": "c"})
        assert app.requests[0].body == {"type": "url_verification", "challenge": "c"}
