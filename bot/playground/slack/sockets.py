"""Socket Mode: docs.slack.dev/apis/events-api/using-socket-mode."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import socket
import struct
import uuid
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from .delivery import Attempt
from .records import Json
from .workspace import Workspace

MOST_CONNECTIONS = 10
_CONNECTION_TIME_S = 3_600
_GRACE_S = 10.0  # how long a connection that was told to go may stay


class Connection:
    """One open WebSocket of the app."""

    def __init__(self, socket_: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket_
        self.transport = request.transport
        self.is_leaving = False
        self.is_muted = False
        self._farewell: asyncio.TimerHandle | None = None

    def leave_within(self, seconds: float) -> None:
        """Drop the connection unless it left by itself."""
        self.forget()
        self._farewell = asyncio.get_running_loop().call_later(seconds, self.drop)

    def forget(self) -> None:
        """It is closed."""
        if self._farewell is not None:
            self._farewell.cancel()

    def drop(self) -> None:
        """Reset the connection, without a close frame."""
        if self.transport is None or self.transport.is_closing():
            return
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


class Sockets:
    """All Socket Mode connections of the app; each payload goes to one of them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tickets: set[str] = set()
        self._connections: list[Connection] = []
        self._turn = itertools.count()
        self._acks: dict[str, tuple[Connection, asyncio.Future[Attempt]]] = {}
        self._is_muted = False

    @property
    def is_open(self) -> bool:
        """Whether a connection takes payloads."""
        return any(not connection.is_leaving for connection in self._connections)

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def unacknowledged(self) -> int:
        """Envelopes that wait for their acknowledgement."""
        return len(self._acks)

    def new_url(self) -> str:
        """An address that admits one connection."""
        ticket = secrets.token_urlsafe(24)
        self._tickets.add(ticket)
        base = self._workspace.base_url.replace("http://", "ws://", 1)
        return f"{base}socket/{ticket}?app_id={self._workspace.settings.app_id}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A connection, from its hello to its end."""
        ticket = request.match_info["ticket"]
        if ticket not in self._tickets:
            return web.Response(status=401, text="invalid ticket")
        self._tickets.discard(ticket)
        # Pings are answered here, because muted sockets must not.
        socket_ = web.WebSocketResponse(autoping=False, timeout=0.5)
        await socket_.prepare(request)
        connection = Connection(socket_, request)
        if len(self._connections) >= MOST_CONNECTIONS:
            await socket_.send_json(_disconnect("too_many_websockets"))
            await socket_.close()
            return socket_
        self._connections.append(connection)
        self._workspace.watch.bump()
        try:
            if not self._is_muted:
                await socket_.send_json(self._hello())
            await self._read(connection)
        except ConnectionResetError:
            pass  # the app left, or was dropped on purpose
        finally:
            self._forget(connection)
        return socket_

    async def send(self, kind: str, payload: Json, attempt: int, reason: str) -> Attempt:
        """One envelope to one connection; acknowledged in time or not."""
        open_ones = [each for each in self._connections if not each.is_leaving]
        connection = open_ones[next(self._turn) % len(open_ones)]
        envelope_id = str(uuid.uuid4())
        envelope: Json = {"envelope_id": envelope_id, "type": kind, "payload": payload}
        envelope["accepts_response_payload"] = kind != "events_api"
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        acked: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()
        self._acks[envelope_id] = (connection, acked)
        self._workspace.watch.bump()
        try:
            async with asyncio.timeout(self._workspace.settings.ack_timeout_s):
                if not self._is_silent(connection):
                    await connection.socket.send_json(envelope)
                return await acked
        except TimeoutError:
            return Attempt(0, "timeout")
        except ConnectionError:
            return Attempt(0, "connection_failed")
        finally:
            del self._acks[envelope_id]

    async def disconnect(self, reason: str, which: int | None = None) -> None:
        """Ask a connection (by default every one) to leave; it is closed if it stays for long.

        `warning` comes about ten seconds ahead and changes nothing until then; with any other
        reason the connection gets no more payloads.
        """
        leaving = [each for each in self._chosen(which) if not each.is_leaving]
        for connection in leaving:
            connection.is_leaving = reason != "warning"
            connection.leave_within(_GRACE_S)
            if not self._is_silent(connection):
                await connection.socket.send_json(_disconnect(reason))

    def drop(self, which: int | None = None) -> None:
        """Reset a connection, by default every one."""
        for connection in self._chosen(which):
            connection.drop()

    def mute(self, muted: bool = True, which: int | None = None) -> None:
        """No payloads and no pongs, while the connections look alive. Without `which` also for
        those that are opened later: they get no hello."""
        if which is None:
            self._is_muted = muted
        for connection in self._chosen(which):
            connection.is_muted = muted

    async def close(self) -> None:
        """End every connection."""
        for connection in tuple(self._connections):
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)

    async def _read(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type is WSMsgType.PING:
                if not self._is_silent(connection):
                    await connection.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                self._acknowledged(message.data)

    def _is_silent(self, connection: Connection) -> bool:
        return self._is_muted or connection.is_muted

    def _chosen(self, which: int | None) -> list[Connection]:
        """Those of that number, counted from the oldest that is open; all without one."""
        return self._connections[:] if which is None else [self._connections[which]]

    def _acknowledged(self, text: str) -> None:
        try:
            answer: Any = json.loads(text)
        except ValueError:
            return
        if not isinstance(answer, dict):
            return
        _, acked = self._acks.get(str(answer.get("envelope_id")), (None, None))
        if acked is not None and not acked.done():
            acked.set_result(Attempt(200, "", payload=answer.get("payload")))

    def _forget(self, connection: Connection) -> None:
        self._connections.remove(connection)
        connection.forget()
        for owner, acked in self._acks.values():
            if owner is connection and not acked.done():
                acked.set_result(Attempt(0, "connection_failed"))
        self._workspace.watch.bump()

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self._connections),
            "debug_info": {
                "host": "applink-emulator",
                "build_number": 1,
                "approximate_connection_time": _CONNECTION_TIME_S,
            },
            "connection_info": {"app_id": self._workspace.settings.app_id},
        }


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-emulator"}}
