"""Handing events to the app: signed HTTP or Socket Mode, with Slack's retries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp

from .events import envelope
from .records import Channel, Delivery, Json
from .workspace import Workspace, now

_REDIRECTS = 2  # docs.slack.dev/apis/events-api
_USER_AGENT = "Slackbot 1.0 (+https://api.slack.com/robots)"


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt: `status` 0 without an answer, `reason` "" when it succeeded."""

    status: int
    reason: str
    may_retry: bool = True
    payload: Any = None


class SocketPool(Protocol):
    """Where payloads go while a Socket Mode connection is open."""

    @property
    def is_open(self) -> bool:
        """Whether one is open."""

    async def send(self, kind: str, payload: Json, attempt: int, reason: str) -> Attempt:
        """Send to any one connection and wait for its acknowledgement."""


def signed_headers(secret: str, body: bytes, content_type: str) -> dict[str, str]:
    """The headers of a request from Slack: docs.slack.dev/authentication."""
    timestamp = str(int(time.time()))
    base = b"v0:" + timestamp.encode() + b":" + body
    signature = "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {
        "Content-Type": content_type,
        "User-Agent": _USER_AGENT,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature,
    }


class Outbox:
    """Every delivery under way, each a task of its own: Slack promises no order."""

    def __init__(self, workspace: Workspace, sockets: SocketPool) -> None:
        self._workspace = workspace
        self._sockets = sockets
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._early: list[Json] = []
        self.bodies: list[Json] = []

    async def open(self) -> None:
        """Begin to deliver, with what was published before."""
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector)
        early, self._early = self._early, []
        for body in early:
            self._start(self._deliver(body))

    async def close(self) -> None:
        """Give up every delivery under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def publish(self, kind: str, event: Json, channel: Channel | None) -> None:
        """Deliver an event in its own time, with retries."""
        body = envelope(self._workspace, event, channel)
        self.bodies.append(body)
        if self._session is None:
            self._early.append(body)
        else:
            self._start(self._deliver(body))

    async def deliver_once(self, body: Json, retry_num: int | None, reason: str) -> Delivery:
        """One attempt, as Slack's attempt number `retry_num`."""
        _, delivery = await self._attempt(body, retry_num or 0, reason if retry_num else "")
        return delivery

    async def interact(self, payload: Json, kind: str = "interactive") -> Attempt:
        """A press or a command; Slack tries these only once."""
        if self._sockets.is_open:
            return await self._sockets.send(kind, payload, 0, "")
        fields = {"payload": json.dumps(payload)} if kind == "interactive" else payload
        settings = self._workspace.settings
        url = settings.interactivity_url or settings.events_url
        body = urlencode(fields).encode()
        return await self._post(url, body, "application/x-www-form-urlencoded", {})

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, body: Json) -> None:
        reason = ""
        for number, delay_s in enumerate((0.0, *self._workspace.settings.retry_delays_s)):
            if delay_s:
                await asyncio.sleep(delay_s)
            attempt, _ = await self._attempt(body, number, reason)
            if not attempt.reason or not attempt.may_retry:
                return
            reason = attempt.reason

    async def _attempt(self, body: Json, number: int, reason: str) -> tuple[Attempt, Delivery]:
        started = now()
        if self._sockets.is_open:
            attempt = await self._sockets.send("events_api", body, number, reason)
        else:
            headers = {}
            if number:
                headers = {"x-slack-retry-num": str(number), "x-slack-retry-reason": reason}
            raw = json.dumps(body).encode()
            url = self._workspace.settings.events_url
            attempt = await self._post(url, raw, "application/json", headers)
        kind = str(body.get("event", body).get("type"))
        event_id = str(body.get("event_id", ""))
        took_s = now() - started
        delivery = Delivery(event_id, kind, number, attempt.status, took_s, attempt.reason)
        self._workspace.deliveries.append(delivery)
        self._workspace.watch.bump()
        return attempt, delivery

    async def _post(
        self, url: str | None, body: bytes, content_type: str, headers: dict[str, str]
    ) -> Attempt:
        if url is None or self._session is None:
            return Attempt(0, "connection_failed")
        secret = self._workspace.settings.signing_secret
        signed = signed_headers(secret, body, content_type) | headers
        timeout = aiohttp.ClientTimeout(total=self._workspace.settings.ack_timeout_s)
        try:
            async with self._session.post(
                url, data=body, headers=signed, timeout=timeout, max_redirects=_REDIRECTS + 1
            ) as response:
                answer = await response.read()
                failed = not 200 <= response.status < 300
                no_retry = response.headers.get("x-slack-no-retry") == "1"
                reason = "http_error" if failed else ""
                return Attempt(response.status, reason, not no_retry, answer)
        except TimeoutError:
            return Attempt(0, "http_timeout")
        except aiohttp.TooManyRedirects:
            return Attempt(0, "too_many_redirects")
        except aiohttp.ClientSSLError:
            return Attempt(0, "ssl_error")
        except aiohttp.ClientConnectionError:
            return Attempt(0, "connection_failed")
        except aiohttp.ClientError:
            return Attempt(0, "unknown_error")
