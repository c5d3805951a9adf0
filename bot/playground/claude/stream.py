"""One reply on its way: the events, their pace, their faults."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf

from bot.playground.claude import events
from bot.playground.claude.answer import Answer
from bot.playground.claude.pace import Pace
from bot.playground.claude.reply import Damage, tokens
from bot.playground.claude.request import Request
from bot.playground.claude.wire import Wire

MOST_TOKENS_PER_DELTA = 50  # about 200 characters
PING_S = 1.0  # between the pings of the fault "pings"
ELSEWHERE = frozenset(  # faults that strike the order of events or the response, not a position
    {"delta_before_start", "no_stop_event", "empty", "html", "hang_headers"}
)


class Stream:
    """Plays one answer onto a wire. `play` returns when nothing more is to be said.

    A token is one delta and one write. Tokens that fall due within the same 10 ms tick share a
    delta (see `Pace`), so a fast reply costs a hundred writes a second at most.
    """

    def __init__(
        self, wire: Wire, answer: Answer, request: Request, pace: Pace, changed: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._answer = answer
        self._reply = answer.reply
        self._request = request
        self._pace = pace
        self._changed = changed
        self._pieces = deque(self._reply.chunks or tokens(answer.text))
        self._most = 1 if self._reply.chunks else MOST_TOKENS_PER_DELTA
        self._index = 0
        self._index_shift = 0
        self._position = 0
        self._ping_at = inf

    async def play(self, first_token_s: float) -> None:
        """Everything from message_start to message_stop, or to the fault that ends it."""
        faults = [fault for fault in self._reply.damages if fault.kind not in ELSEWHERE]
        if self._reply.struck_by("delta_before_start"):
            await self._send_text(self._take(1, len(self._answer.text)))
        for fault in faults:
            if fault.at < 0 and await self._strike(fault):
                return
        await self._wire.send(events.message_start(self._answer.opening()))
        await self._wire.send(events.PING)
        self._plan_ping()
        await self._pause(first_token_s, self._reply.pings_every_s)
        if self._reply.thinking:
            await self._think()
        if await self._write([fault for fault in faults if fault.at >= 0]):
            return
        end = events.message_delta(self._answer.end(), self._answer.final_usage())
        await self._wire.send(end)
        if not self._reply.struck_by("no_stop_event"):
            await self._wire.send(events.message_stop())
        self._request.finished = True

    async def _think(self) -> None:
        """A thinking block as it comes at the default display "omitted": no text, a signature."""
        block = {"type": "thinking", "thinking": "", "signature": ""}
        await self._wire.send(events.block_start(self._index, block))
        delta = {"type": "thinking_delta", "thinking": ""}
        await self._wire.send(events.block_delta(self._index, delta))
        await self._pause(self._reply.thinking_s, self._reply.pings_every_s)
        delta = {"type": "signature_delta", "signature": "c2NyaXB0ZWQ="}
        await self._wire.send(events.block_delta(self._index, delta))
        await self._wire.send(events.block_stop(self._index))
        self._index += 1

    async def _write(self, faults: list[Damage]) -> bool:
        """The text block with its faults; true if a fault ended the stream."""
        end = len(self._answer.text)
        if end:
            await self._open_text_block()
        for fault in faults:
            await self._write_until(min(fault.at, end))
            if await self._strike(fault):
                return True
        await self._write_until(end)
        if end:
            await self._wire.send(events.block_stop(self._index))
        return False

    async def _open_text_block(self) -> None:
        await self._wire.send(events.block_start(self._index, {"type": "text", "text": ""}))

    async def _write_until(self, end: int) -> None:
        """Send the text up to a position, as fast as the pace allows."""
        self._pace.restart()
        loop = asyncio.get_running_loop()
        while self._position < end:
            due = await self._pace.due(self._most)
            if due:
                await self._send_text(self._take(due, end))
            if loop.time() >= self._ping_at:
                await self._wire.send(events.PING)
                self._plan_ping()

    def _take(self, most: int, end: int) -> str:
        """The next pieces, `most` at the most and not past `end`."""
        taken: list[str] = []
        while self._pieces and len(taken) < most and self._position < end:
            piece = self._pieces.popleft()
            room = end - self._position
            if len(piece) > room:
                self._pieces.appendleft(piece[room:])
                piece = piece[:room]
            taken.append(piece)
            self._position += len(piece)
        return "".join(taken)

    async def _send_text(self, text: str) -> None:
        await self._wire.send(events.text_delta(self._index + self._index_shift, text))
        self._index_shift = 0
        if self._request.first_text_at is None:
            self._request.first_text_at = asyncio.get_running_loop().time()
        self._request.sent.append(text)
        self._changed()

    async def _strike(self, fault: Damage) -> bool:
        """Do the damage; true if nothing can come after it."""
        match fault.kind:
            case "stall":
                await self._pause(fault.seconds, None)
            case "pings":
                await self._pause(fault.seconds, self._reply.pings_every_s or PING_S)
            case "unknown_event":
                await self._wire.send(events.event("weather", forecast="sunny"))
            case "unknown_block":
                await self._unknown_block()
            case "unknown_delta":
                delta = {"type": "sparkle_delta", "sparkle": "*"}
                await self._wire.send(events.block_delta(self._index, delta))
            case "bad_index":
                self._index_shift = 7
            case "no_event_line":
                self._wire.with_event_lines = False
            case _:
                await self._end(fault)
                return True
        return False

    async def _end(self, fault: Damage) -> None:
        """The faults after which the stream is over."""
        match fault.kind:
            case "cut" | "close_delimited":
                await self._wire.cut()
            case "reset":
                await self._wire.reset()
            case "half_event":
                whole = events.text_delta(self._index, self._ahead())
                await self._wire.send(whole[: whole.index(b'"text":')])
            case "half_utf8":
                await self._half_character()
            case "bad_json":
                bad = '{"type":"content_block_delta","index":0,"delta":{"type":"text_de'
                await self._wire.send(events.record("content_block_delta", bad))
            case "error":
                await self._wire.send(events.error(fault.error_type, fault.message))
            case "error_text":
                await self._wire.send(events.record("error", fault.message))

    async def _unknown_block(self) -> None:
        """A block of an unknown type between two text blocks."""
        await self._wire.send(events.block_stop(self._index))
        self._index += 1
        block = {"type": "hologram", "light": ""}
        await self._wire.send(events.block_start(self._index, block))
        delta = {"type": "hologram_delta", "light": "green"}
        await self._wire.send(events.block_delta(self._index, delta))
        await self._wire.send(events.block_stop(self._index))
        self._index += 1
        await self._open_text_block()

    async def _half_character(self) -> None:
        ahead = self._ahead()
        wide = next((character for character in ahead if ord(character) > 0x7F), None)
        before = ahead if wide is None else ahead[: ahead.index(wide)]
        character = wide or "…"
        data = events.text_delta(self._index, before + character)
        await self._wire.send(data[: data.index(character.encode()) + 1])
        await self._wire.cut()

    def _ahead(self) -> str:
        return self._answer.text[self._position :]

    async def _pause(self, seconds: float | None, pings_every_s: float | None) -> None:
        """Wait so long, for ever if None, with pings or without; the client may leave meanwhile."""
        loop = asyncio.get_running_loop()
        until = inf if seconds is None else loop.time() + seconds
        while (left_s := until - loop.time()) > 0:
            wait_s = min(left_s, pings_every_s or inf)
            if wait_s == inf:
                await loop.create_future()
            await asyncio.sleep(wait_s)
            if pings_every_s:
                await self._wire.send(events.PING)

    def _plan_ping(self) -> None:
        now = asyncio.get_running_loop().time()
        self._ping_at = now + (self._reply.pings_every_s or inf)
