"""A real Bolt app against the emulator, by HTTP and by socket."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

from .slack_kit import SECRET, Room, room


def bolt(space: Room) -> AsyncApp:
    """An app that answers mentions, and a press of its button."""
    app = AsyncApp(client=space.client, signing_secret=SECRET)

    @app.event("app_mention")
    async def on_mention(event: dict[str, Any]) -> None:
        text = {"type": "plain_text", "text": "Stop"}
        actions = {"type": "actions", "elements": [{"type": "button", "text": text}]}
        actions["elements"][0]["action_id"] = "stop"  # type: ignore[index]
        await space.client.chat_postMessage(
            channel=event["channel"], thread_ts=event["ts"], text="hello", blocks=[actions]
        )

    @app.action("stop")
    async def on_stop(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        container = body["container"]
        await space.client.chat_update(
            channel=container["channel_id"], ts=container["message_ts"], text="stopped"
        )

    @app.event("message")
    async def on_message() -> None:
        return None

    return app


async def a_conversation(space: Room) -> None:
    root = await space.slack.say(space.ada, space.general, "<@U0BOT> hi")
    await space.slack.wait_for(lambda: len(space.slack.messages(space.general, root)) == 2)
    reply = space.slack.messages(space.general, root)[1]
    assert await space.slack.press(space.ada, space.general, reply.ts, "stop") == 200
    await space.slack.wait_for(lambda: reply.text == "stopped")
    await space.slack.wait_for(lambda: len(space.slack.deliveries) >= 4)
    assert {each.status for each in space.slack.deliveries} == {200}


async def test_a_bolt_app_answers_by_http() -> None:
    async with room() as space:
        runner = web.AppRunner(bolt(space).web_app(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        space.slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        await a_conversation(space)
        await runner.cleanup()


async def test_a_bolt_app_answers_by_socket() -> None:
    async with room() as space:
        handler = AsyncSocketModeHandler(bolt(space), "xapp-emulator")
        await handler.connect_async()
        await space.slack.wait_for(lambda: space.slack.open_sockets)
        await a_conversation(space)
        await handler.close_async()
