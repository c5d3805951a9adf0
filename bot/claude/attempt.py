"""One request to Claude, streamed or in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, cast

import anthropic
import httpx2
from anthropic.types import Message, RawMessageStreamEvent

from bot.claude import prices
from bot.claude.failures import translate
from bot.claude.protocol import Protocol
from bot.claude.request import Request
from bot.claude.watch import Clocks, Watch
from bot.errors import ClaudeError, ClaudeInterrupted, ClaudeTooSlow
from bot.markdown import scrub
from bot.turn import ClaudeEvent, StreamReport, Text, Usage

PATH: Final = "/v1/messages"
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
    protocol: Protocol | None = None
    try:
        async with Watch(clocks, deadline) as watch:
            stream = await _stream(client, request, model)
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
        return Ended(protocol.ended(), protocol.model)
    except (*BROKEN, ClaudeError) as error:
        if protocol is not None and protocol.stop_reason is not None:
            return Ended(protocol.stop_reason, protocol.model)  # the text was whole by then
        raise _named(error, protocol, report, request) from error
    finally:
        if protocol is not None:
            _book(report, protocol.model, protocol.usage())


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
            message = await _message(client, request, model)
    except TimeoutError as error:
        raise ClaudeTooSlow("in one piece") from error
    except (anthropic.APIError, httpx2.HTTPError, ValueError) as error:
        raise translate(error) from error
    try:
        text = "".join(block.text for block in message.content if block.type == "text")
        usage, stop_reason = _usage(message), message.stop_reason
    except (AttributeError, TypeError, LookupError) as error:
        raise ClaudeInterrupted("an answer that cannot be read") from error
    _book(report, message.model or model, usage)
    if text:
        tell(Text(scrub(text)))
    if stop_reason is None:
        raise ClaudeInterrupted("an answer without a stop_reason")
    return Ended(stop_reason, message.model or model)


async def _stream(
    client: anthropic.AsyncAnthropic, request: Request, model: str
) -> anthropic.AsyncStream[RawMessageStreamEvent]:
    """What `messages.create` does, but that it encodes large files on the event loop."""
    if not request.is_large:
        return await client.messages.create(**request.params(model), stream=True)
    pieces = await asyncio.to_thread(request.body, model, stream=True)
    return await client.post(
        PATH,
        content=_one_by_one(pieces),
        options={"headers": _length(pieces)},
        cast_to=Message,
        stream=True,
        stream_cls=anthropic.AsyncStream[RawMessageStreamEvent],
    )


async def _message(client: anthropic.AsyncAnthropic, request: Request, model: str) -> Message:
    if not request.is_large:
        return await client.messages.create(**request.params(model), stream=False)
    pieces = await asyncio.to_thread(request.body, model, stream=False)
    return await client.post(
        PATH,
        content=_one_by_one(pieces),
        options={"headers": _length(pieces)},
        cast_to=Message,
    )


async def _one_by_one(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _length(pieces: Iterable[bytes]) -> dict[str, str]:
    return {"Content-Length": str(sum(map(len, pieces)))}


def _named(
    error: Exception, protocol: Protocol | None, report: StreamReport, request: Request
) -> ClaudeError:
    """The error of ours, with the request id where there is one, noted as damage; and with the
    file that it is about."""
    ours = error if isinstance(error, ClaudeError) else translate(error)
    detail = str(ours)
    request_id = protocol.request_id if protocol is not None else None
    if protocol is not None and "request_id=" not in detail:
        detail = f"{detail} request_id={request_id}"
        report.damages.append(str(ours))
    named = type(ours)(detail, retry_after_s=ours.retry_after_s)
    named.file_id = request.file_at(*ours.block) if ours.block is not None else None
    return named


def _book(report: StreamReport, model: str, usage: Usage) -> None:
    """Add what one request has used. The price of a request depends on its own length."""
    report.spent(model, usage, prices.cost(model, usage))


def _usage(message: Message) -> Usage:
    used = message.usage
    return Usage(
        input=used.input_tokens,
        cache_read=used.cache_read_input_tokens or 0,
        cache_write=used.cache_creation_input_tokens or 0,
        output=used.output_tokens,
        thinking=getattr(used.output_tokens_details, "thinking_tokens", None) or 0,
    )
