"""The connection under a stream, with every way to end it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

CONTENT_TYPE = "text/event-stream; charset=utf-8"


class Wire:
    """Sends the records of one stream; the faults go straight to the transport.

    Normally one write, and so one HTTP chunk, per record. After `cut` and `reset` the transport is
    closing, and aiohttp then leaves out the last chunk by which a body ends properly.
    """

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-cache", **headers}
        self.response = web.StreamResponse(headers=self._headers)
        self._delimited_by_close = False
        self.with_event_lines = True

    async def open(self, *, delimited_by_close: bool = False) -> None:
        """Send the response headers; those of a broken proxy announce no length and no chunks."""
        self._delimited_by_close = delimited_by_close
        if not delimited_by_close:
            await self.response.prepare(self._request)
            return
        lines = [f"{name}: {value}" for name, value in self._headers.items()]
        head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "Connection: close", "", ""])
        await self.send_raw(head.encode())

    async def send(self, records: bytes) -> None:
        """Send whole records, waiting where the client reads slowly."""
        if not self.with_event_lines:
            lines = records.splitlines(keepends=True)
            records = b"".join(line for line in lines if not line.startswith(b"event:"))
        if self._delimited_by_close:
            await self.send_raw(records)
        else:
            await self.response.write(records)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, outside HTTP's framing."""
        transport = self._transport()
        if transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(data)
        await asyncio.sleep(0)

    async def cut(self) -> None:
        """FIN, with the body unfinished."""
        self._transport().close()

    async def reset(self) -> None:
        """RST. What was sent before is on its way first, else the RST would overtake it."""
        await asyncio.sleep(0.01)
        transport = self._transport()
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def _transport(self) -> asyncio.Transport:
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        assert isinstance(transport, asyncio.Transport)
        return transport
