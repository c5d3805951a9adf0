"""Socket Mode, with the SDK's own client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from .slack_kit import Room, error_of, room


class Listener:
    """An app with a socket: it acknowledges while `acks` is true."""

    def __init__(self) -> None:
        self.requests: list[SocketModeRequest] = []
        self.acks = True
        self.arrived = asyncio.Condition()

    async def __call__(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if self.acks:
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
        async with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()

    async def got(self, count: int) -> list[SocketModeRequest]:
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests


@asynccontextmanager
async def socket_mode(
    space: Room, ping_interval_s: float = 5.0
) -> AsyncIterator[tuple[Listener, SocketModeClient]]:
    """The SDK's client, connected."""
    logger = logging.getLogger("slack_sdk.socket_mode.test")
    logger.setLevel(logging.CRITICAL)
    client = SocketModeClient(
        "xapp-emulator",
        web_client=AsyncWebClient(base_url=space.slack.api_url),
        ping_interval=ping_interval_s,
        logger=logger,
    )
    listener = Listener()
    client.socket_mode_request_listeners.append(listener)
    await client.connect()
    await space.slack.wait_for(lambda: space.slack.open_sockets)
    try:
        yield listener, client
    finally:
        await client.close()


async def test_a_connection_needs_the_app_token() -> None:
    async with room() as space:
        call = space.client.apps_connections_open(app_token="xoxb-emulator")
        assert await error_of(call) == "not_allowed_token_type"


async def test_events_come_through_the_socket_and_are_acknowledged() -> None:
    async with room() as space, socket_mode(space) as (listener, _):
        await space.slack.say(space.ada, space.general, "<@U0BOT> hello")
        requests = await listener.got(2)
        kinds = {request.payload["event"]["type"] for request in requests}
        assert kinds == {"app_mention", "message"}
        await space.slack.wait_for(lambda: len(space.slack.deliveries) == 2)
        assert [each.reason for each in space.slack.deliveries] == ["", ""]


async def test_what_is_not_acknowledged_comes_again() -> None:
    settings: dict[str, Any] = {"ack_timeout_s": 0.05, "retry_delays_s": (0.01,)}
    async with room(**settings) as space, socket_mode(space) as (listener, _):
        listener.acks = False
        await space.slack.say(space.ada, space.general, "hello")
        first, second = await listener.got(2)
        assert first.envelope_id != second.envelope_id
        assert first.payload["event_id"] == second.payload["event_id"]
        assert (first.retry_attempt, second.retry_attempt) == (0, 1)
        assert second.retry_reason == "timeout"


async def test_a_press_comes_through_the_socket() -> None:
    async with room() as space, socket_mode(space) as (listener, _):
        text = {"type": "plain_text", "text": "Stop"}
        button = {"type": "button", "text": text, "action_id": "stop"}
        blocks = [{"type": "actions", "elements": [button]}]
        ts = await space.post(text="x", blocks=blocks)
        await listener.got(1)
        assert await space.slack.press(space.ada, space.general, ts, "stop") == 200
        assert listener.requests[-1].type == "interactive"
        assert listener.requests[-1].accepts_response_payload


async def test_the_client_comes_back_after_a_refresh() -> None:
    async with room() as space, socket_mode(space) as (listener, _):
        await space.slack.disconnect_sockets("refresh_requested")
        await space.slack.wait_for(
            lambda: (
                space.slack.count("apps.connections.open") == 2 and space.slack.open_sockets == 1
            )
        )
        await space.slack.say(space.ada, space.general, "hello")
        await listener.got(1)


async def test_an_event_under_way_on_a_dropped_socket_comes_again() -> None:
    async with room(retry_delays_s=(0.01,)) as space, socket_mode(space) as (listener, client):
        client.auto_reconnect_enabled = False
        listener.acks = False
        await space.slack.say(space.ada, space.general, "hello")
        await listener.got(1)
        space.slack.drop_sockets()
        await space.slack.wait_for(lambda: space.slack.deliveries)
        assert space.slack.deliveries[0].reason == "connection_failed"


async def test_a_muted_socket_looks_open_but_answers_no_ping() -> None:
    async with room(ack_timeout_s=0.05) as space, aiohttp.ClientSession() as session:
        app = AsyncWebClient(base_url=space.slack.api_url)
        url = (await app.apps_connections_open(app_token="xapp-emulator"))["url"]
        async with session.ws_connect(url, autoping=False) as socket:
            assert (await socket.receive_json())["type"] == "hello"
            await socket.ping(b"a")
            assert (await socket.receive()).data == b"a"
            space.slack.mute_sockets()
            await socket.ping(b"b")
            await space.slack.say(space.ada, space.general, "hello")
            await space.slack.wait_for(lambda: space.slack.deliveries)
            assert space.slack.deliveries[0].reason == "timeout"
            assert space.slack.open_sockets == 1


async def test_an_address_admits_one_connection_and_an_app_ten() -> None:
    async with room() as space, aiohttp.ClientSession() as session:
        app = AsyncWebClient(base_url=space.slack.api_url)
        urls = [
            str((await app.apps_connections_open(app_token="xapp-emulator"))["url"])
            for _ in range(11)
        ]
        sockets = [await session.ws_connect(url) for url in urls]
        hellos = [await socket.receive_json() for socket in sockets]
        assert [hello["type"] for hello in hellos] == ["hello"] * 10 + ["disconnect"]
        assert hellos[9]["num_connections"] == 10
        assert hellos[10]["reason"] == "too_many_websockets"
        async with session.get(urls[0].replace("ws://", "http://")) as response:
            assert response.status == 401
        for socket in sockets:
            await socket.close()


async def test_each_payload_goes_to_one_connection() -> None:
    async with room() as space, socket_mode(space) as (one, _), socket_mode(space) as (two, _):
        for number in range(6):
            await space.slack.say(space.ada, space.general, str(number))
        await space.slack.wait_for(lambda: len(space.slack.deliveries) == 6)
        assert len(one.requests) + len(two.requests) == 6
        assert one.requests and two.requests
