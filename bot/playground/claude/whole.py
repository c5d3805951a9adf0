"""An answer that is not streamed: one JSON body after the whole time of writing."""

from __future__ import annotations

import asyncio
import json
from math import inf

from aiohttp import web

from bot.playground.claude.answer import Answer
from bot.playground.claude.errors import STATUSES, ApiError
from bot.playground.claude.pace import Pace
from bot.playground.claude.reply import count_tokens
from bot.playground.claude.wire import Wire


async def write_whole(answer: Answer, pace: Pace, first_token_s: float) -> bytes:
    """Take the time that a stream would take, then give the body.

    Of the faults of streams only those exist here that mean something without a stream.
    """
    reply = answer.reply
    if (fault := reply.struck_by("error", "error_text")) is not None:
        raise ApiError(
            STATUSES.get(fault.error_type, 500), fault.message, error_type=fault.error_type
        )
    await asyncio.sleep(first_token_s + (reply.thinking_s if reply.thinking else 0.0))
    left = count_tokens(answer.text)
    pace.restart()
    while left > 0:
        left -= await pace.due(left)
    if (fault := reply.struck_by("stall", "pings")) is not None:
        await asyncio.sleep(inf if fault.seconds is None else fault.seconds)
    body = json.dumps(answer.whole(), ensure_ascii=False).encode()
    return body[: len(body) // 2] if reply.struck_by("bad_json") else body


async def break_off(wire: Wire, answer: Answer, body: bytes, request: web.Request) -> bool:
    """Send half the body and break the connection, if the reply says so."""
    fault = answer.reply.struck_by("cut", "reset")
    if fault is None:
        return False
    wire.response.content_type = "application/json"
    wire.response.content_length = len(body)
    await wire.response.prepare(request)
    await wire.response.write(body[: len(body) // 2])
    await (wire.cut() if fault.kind == "cut" else wire.reset())
    return True
