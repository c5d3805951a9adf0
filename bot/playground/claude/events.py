"""The events of a stream as bytes: `event: X`, `data: {...}`, an empty line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.playground.claude.errors import error_body

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def event(name: str, **data: Any) -> bytes:
    """One record of the stream."""
    return record(name, json.dumps({"type": name, **data}, ensure_ascii=False))


def record(name: str, data: str) -> bytes:
    """One record with any data, JSON or not."""
    return f"event: {name}\ndata: {data}\n\n".encode()


def message_start(message: Mapping[str, Any]) -> bytes:
    """The first event: the message without content, with what the input cost."""
    return event("message_start", message=dict(message))


def text_delta(index: int, text: str) -> bytes:
    """The event that comes by the hundred, so it is put together by hand."""
    data = json.dumps(text, ensure_ascii=_has_half_characters(text))
    return (
        f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{index},'
        f'"delta":{{"type":"text_delta","text":{data}}}}}\n\n'
    ).encode()


def _has_half_characters(text: str) -> bool:
    """Lone surrogates have no UTF-8: only an escape can carry them."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def block_start(index: int, block: Mapping[str, Any]) -> bytes:
    """The beginning of a content block."""
    return event("content_block_start", index=index, content_block=dict(block))


def block_delta(index: int, delta: Mapping[str, Any]) -> bytes:
    """A piece of a content block of any type."""
    return event("content_block_delta", index=index, delta=dict(delta))


def block_stop(index: int) -> bytes:
    """The end of a content block."""
    return event("content_block_stop", index=index)


def message_delta(end: Mapping[str, Any], usage: Mapping[str, Any]) -> bytes:
    """Why the message stopped, and its cumulative usage."""
    return event("message_delta", delta=dict(end), usage=dict(usage))


def message_stop() -> bytes:
    """The last event of a whole stream."""
    return event("message_stop")


def error(error_type: str, message: str) -> bytes:
    """An error after the 200 has gone out."""
    return record("error", json.dumps(error_body(error_type, message), ensure_ascii=False))
