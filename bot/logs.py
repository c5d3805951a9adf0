"""One log format, with the key of the turn bound to every line that the turn writes."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

turn_key: contextvars.ContextVar[str] = contextvars.ContextVar("turn_key", default="")

# These log message text, headers or one line per request at INFO (facts: a rejected signature's
# whole body, every prompt at DEBUG), and none of it may reach our log (design law 8).
NOISY = ("slack_bolt", "slack_sdk", "anthropic", "httpx2", "httpcore2", "aiohttp.access")


def event(logger: logging.Logger, name: str, **fields: object) -> None:
    """Log one structured line: an event's name and its fields. Never pass message text."""
    logger.info(name, extra={"fields": fields})


def warning(logger: logging.Logger, name: str, **fields: object) -> None:
    """Like `event`, for something an operator should look at."""
    logger.warning(name, extra={"fields": fields})


class _Formatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields = self._fields(record)
        if self._as_json:
            return json.dumps(fields, default=str, ensure_ascii=False)
        head = f"{fields.pop('at')} {fields.pop('level')} {fields.pop('event')}"
        return " ".join([head, *(f"{name}={_plain(value)}" for name, value in fields.items())])

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "at": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "event": record.getMessage(),
        }
        if key := turn_key.get():
            fields["turn"] = key
        extra = getattr(record, "fields", None)
        if isinstance(extra, Mapping):
            fields |= {name: value for name, value in extra.items() if value is not None}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return fields


def _plain(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ' "=\n') else text


def setup(*, level: str, as_json: bool, stream: TextIO | None = None) -> None:
    """Send every log line to `stream` (standard error by default) in our format."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
