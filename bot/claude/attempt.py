"""One request to Claude, streamed or in one piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, cast

import anthropic
import httpx2

from bot.claude.failures import translate
from bot.claude.protocol import Protocol
from bot.claude.request import Request
from bot.claude.watch import Clocks, Watch
from bot.errors import ClaudeError, ClaudeInterrupted, ClaudeTooSlow
from bot.turn import ClaudeEvent, StreamReport, Text, Usage

EVENT_STREAM: Final = "text/event-stream"
LAST_EVENT_S: Final = 2.0
"""How long message_stop may take after the stop_reason; the reply is whole without it."""
BROKEN: Final = (anthropic.APIError, httpx2.HTTPError, httpx2.StreamError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Ended:
    """Claude's own end of one request."""

    stop_reason: str
    model: str


async def streamed(
    client: anthropic.AsyncAnthropic,
    request: Request,
    model: str,
    *,
    clocks: Clocks,
    deadline: float,
    tell: Callable[[ClaudeEvent], None],
    report: StreamReport,
) -> Ended:
    """Stream one reply, telling each event as it comes; the stream is closed in every case.

    Raises a ClaudeError when the reply is not complete; what was told before stays true. The
    records are read below the SDK's own loop, which hides pings and drops records without an
    event line, and at a third of its cost per delta (`bench/claude.py`).
    """
    report.attempts += 1
    started_at = time.monotonic()
    protocol: Protocol | None = None
    try:
        async with Watch(clocks, deadline) as watch:
            stream = await client.messages.create(**request.params(model), stream=True)
            async with stream:
                headers = stream.response.headers
                protocol = Protocol(tell, report, model, headers.get("request-id"))
                if not headers.get("content-type", "").startswith(EVENT_STREAM):
                    raise ClaudeInterrupted("the answer is not an event stream")
                records = cast(AsyncGenerator[Any], stream.raw_events(stream.response))
                async with aclosing(records):
                    async for record in records:
                        if not protocol.read(record.event, record.data):
                            watch.ping()
                            continue
                        watch.event()
                        if protocol.finished:
                            break
                        if protocol.stop_reason is not None:
                            watch.end_within(LAST_EVENT_S)
                        if report.first_event_s is None:
                            report.first_event_s = time.monotonic() - started_at
        return Ended(protocol.ended(), protocol.model)
    except (*BROKEN, ClaudeError) as error:
        if protocol is not None and protocol.stop_reason is not None:
            return Ended(protocol.stop_reason, protocol.model)  # the text was whole by then
        raise error if isinstance(error, ClaudeError) else translate(error) from error
    finally:
        if protocol is not None:
            report.spent(protocol.model, protocol.usage())


async def in_one_piece(
    client: anthropic.AsyncAnthropic,
    request: Request,
    model: str,
    *,
    timeout_s: float,
    tell: Callable[[ClaudeEvent], None],
    report: StreamReport,
) -> Ended:
    """Get one reply without streaming, within `timeout_s`; raises a ClaudeError without one."""
    report.attempts += 1
    try:
        async with asyncio.timeout(timeout_s):
            message = await client.messages.create(**request.params(model), stream=False)
    except TimeoutError as error:
        raise ClaudeTooSlow("in one piece") from error
    except (anthropic.APIError, httpx2.HTTPError, ValueError) as error:
        raise translate(error) from error
    report.spent(model, _usage(message))
    text = "".join(block.text for block in message.content if block.type == "text")
    if text:
        tell(Text(text))
    if message.stop_reason is None:
        raise ClaudeInterrupted("an answer without a stop_reason")
    return Ended(message.stop_reason, message.model)


def _usage(message: anthropic.types.Message) -> Usage:
    used = message.usage
    return Usage(
        input=used.input_tokens,
        cache_read=used.cache_read_input_tokens or 0,
        cache_write=used.cache_creation_input_tokens or 0,
        output=used.output_tokens,
    )
