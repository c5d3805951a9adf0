"""What the tests of the Slack emulator share: a workspace in use, and an app that listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.slack import SlackEmulator

SECRET = "emulator-signing-secret"


@dataclass
class Room:
    """An emulator with Ada in #general, and the client of the app."""

    slack: SlackEmulator
    client: AsyncWebClient
    ada: str
    general: str

    async def post(self, **arguments: Any) -> str:
        """The app posts into #general: the ts."""
        answer = await self.client.chat_postMessage(channel=self.general, **arguments)
        return str(answer["ts"])


@asynccontextmanager
async def room(**settings: Any) -> AsyncIterator[Room]:
    """A workspace, and a client without any retries."""
    async with SlackEmulator(**settings) as slack, aiohttp.ClientSession() as session:
        ada = slack.add_user("Ada Lovelace", display_name="ada")
        general = slack.add_channel("general", members=[ada])
        client = AsyncWebClient(
            "xoxb-emulator", base_url=slack.api_url, session=session, retry_handlers=[]
        )
        yield Room(slack, client, ada, general)


async def error_of(call: Awaitable[Any]) -> str:
    """The error that a call is refused with."""
    try:
        await call
    except SlackApiError as refused:
        return str(refused.response["error"])
    raise AssertionError("the call was not refused")


@dataclass
class Received:
    """A request that the app got; `body` is its JSON, or the payload of an interaction."""

    body: dict[str, Any]
    headers: Any
    is_signed: bool


@dataclass
class App:
    """An app that answers every event with `respond`."""

    url: str
    requests: list[Received] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    respond: Callable[[Received], Awaitable[web.Response]] | None = None

    @property
    def events(self) -> list[dict[str, Any]]:
        """The inner events, in order of arrival."""
        return [each.body["event"] for each in self.requests if "event" in each.body]

    async def got(self, count: int) -> list[dict[str, Any]]:
        """The events once there are that many."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)
        return self.events


@asynccontextmanager
async def listening(slack: SlackEmulator) -> AsyncIterator[App]:
    """An app whose address the emulator knows."""
    app = App("")

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        verifier = SignatureVerifier(SECRET)
        signed = verifier.is_valid_request(raw, {k: str(v) for k, v in request.headers.items()})
        if request.content_type == "application/json":
            body = json.loads(raw)
        else:
            form = await request.post()
            body = json.loads(str(form["payload"])) if "payload" in form else dict(form)
        received = Received(body, request.headers, signed)
        async with app.arrived:
            app.requests.append(received)
            app.arrived.notify_all()
        return await app.respond(received) if app.respond else web.Response()

    server = web.Application()
    server.router.add_post("/slack/events", handle)
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app.url = slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield app
    finally:
        await runner.cleanup()
