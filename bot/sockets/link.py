"""One connection of Socket Mode."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import Transient

log = logging.getLogger(__name__)

PING_S: Final = 3.0
HEARD_WITHIN_S: Final = 15.0
"""A connection that was silent for longer does not count as open."""
ACK_WITHIN_S: Final = 3.0
"""Slack takes no acknowledgement later than this, so nobody waits longer for one."""
CLOSE_TIMEOUT_S: Final = 1.0

REFUSALS: Final = frozenset({"too_many_websockets", "link_disabled"})
"""Slack's reasons against this connection: another one at once would only be refused, too."""


class Refused(Transient):
    """Slack does not want this connection: ten are open, or Socket Mode is switched off."""


class Link(SocketModeClient):
    """One connection, from its hello to its end: the SDK's client, used once.

    Left alone, the SDK (3.47) closes the old connection before it opens the next; repeats an
    address that Slack admits only once, for ever; answers `too_many_websockets` with the next try
    at once; and drops a healthy connection after the process was suspended. So reconnecting is off
    here, `connect` is one try, and `Sockets` replaces what has ended.
    """

    def __init__(
        self,
        number: int,
        url: str,
        app_token: str,
        web: AsyncWebClient,
        take: Callable[[Link, SocketModeRequest], None],
    ) -> None:
        logger = logging.getLogger("slack_sdk.socket")
        logger.setLevel(logging.ERROR)
        super().__init__(app_token, logger, web, auto_reconnect_enabled=False, ping_interval=PING_S)
        self.number = number
        self.wss_uri = url
        self._take = take
        self._begun = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.heard_at = self.opened_at = now()
        self.replace_at = math.inf
        self.lifetime_s = math.inf
        self.answering: set[asyncio.Task[None]] = set()
        self.leaving: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether payloads may come through it: connected, meant to stay, not silent for long."""
        line = self.current_session
        stays = line is not None and not line.closed and self.leaving is None
        return stays and now() - self.heard_at < HEARD_WITHIN_S

    async def connect(self) -> None:
        """Return when Slack has said hello.

        Raises Refused when it says why not, Transient when the line ends before, else what aiohttp
        raises.
        """
        self.current_session = await self.aiohttp_client_session.ws_connect(
            str(self.wss_uri),
            autoping=False,
            proxy=self.proxy,
            ssl=True if self.web_client.ssl is None else self.web_client.ssl,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
        )
        self.message_receiver = asyncio.ensure_future(self.receive_messages())
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())
        await self._begun.wait()
        if self.ended.done():
            reason = self.ended.result()
            raise (Refused if reason in REFUSALS else Transient)("socket", reason)
        self.opened_at = now()

    async def receive_messages(self) -> None:
        """Read until the line ends. The SDK's own loop goes on for ever and tells nobody."""
        line = self.current_session
        assert line is not None
        try:
            async for frame in line:
                self.heard_at = now()
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._read(frame.data)
                elif frame.type is aiohttp.WSMsgType.PING:
                    await line.pong(frame.data)
        except (aiohttp.ClientError, OSError):
            pass  # a pong that could not be sent: the line is closed
        except Exception:
            log.exception("socket_crashed")
        finally:
            self._end("closed")

    async def leave(self) -> None:
        """Let what was taken be acknowledged, then close, both within their limits."""
        if self.answering:
            await asyncio.wait(self.answering, timeout=ACK_WITHIN_S)
        late = list(self.answering)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await SocketModeClient.close(self)
        own = (self.message_processor, self.message_receiver, self.current_session_monitor)
        await asyncio.gather(*(task for task in own if task), return_exceptions=True)

    def _read(self, text: str) -> None:
        message = _parsed(text)
        match message.get("type"):
            case "hello":
                self.lifetime_s = _lifetime_s(message)
                self._begun.set()
            case "disconnect":
                self._end(str(message.get("reason")))
            case _:
                if isinstance(message.get("payload"), dict):
                    request = SocketModeRequest.from_dict(message)
                    if request is not None:
                        self._take(self, request)

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
        self._begun.set()


def now() -> float:
    return asyncio.get_running_loop().time()


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _lifetime_s(hello: Mapping[str, Any]) -> float:
    """How long Slack means to keep the connection; infinite when it does not say."""
    match hello:
        case {"debug_info": {"approximate_connection_time": int() | float() as seconds}}:
            return float(seconds)
    return math.inf
