"""The events of one stream, read from the wire, and whether they were whole.

Complete is a stream only if a `message_delta` with a stop_reason came: a proper end of the HTTP
body says nothing. Everything is told apart by `type` alone; what tomorrow brings is named in the
log and otherwise ignored. platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from bot import logs
from bot.claude.failures import from_event
from bot.errors import ClaudeInterrupted
from bot.markdown import scrub
from bot.turn import ClaudeEvent, Started, StreamReport, Text, Thinking, Usage

log = logging.getLogger(__name__)

KNOWN_BLOCKS: Final = frozenset({"text", "thinking", "redacted_thinking"})
KNOWN_DELTAS: Final = frozenset(
    {"text_delta", "thinking_delta", "signature_delta", "citations_delta", "input_json_delta"}
)
TOKENS_PER_CHARACTER: Final = 1 / 3
"""A careful estimate, for what a broken stream has cost."""


class Protocol:
    """Reads one stream. `tell` gets our events as they come."""

    def __init__(
        self,
        tell: Callable[[ClaudeEvent], None],
        report: StreamReport,
        model: str,
        request_id: str | None,
    ) -> None:
        self._tell = tell
        self._report = report
        self.request_id = request_id
        self._begun = False
        self._blocks: set[int] = set()
        self._usage: dict[str, int] = {}
        self._written = 0
        self._half = ""
        self.model = model
        self.stop_reason: str | None = None
        self.finished = False
        """The last event has come."""

    def read(self, event: str | None, data: str) -> bool:
        """Take one record; whether it was progress (a ping is none).

        Raises the ClaudeError that an `error` event stands for, ClaudeInterrupted when the record
        cannot be read.
        """
        if event == "ping":
            return False
        try:
            payload = json.loads(data)
        except ValueError as error:
            if event == "error":
                raise from_event(None, self.request_id) from error
            raise self._broken("malformed JSON") from error
        kind = payload.get("type", event) if isinstance(payload, dict) else event
        if kind == "ping":
            return False
        if "error" in (kind, event):
            raise from_event(payload, self.request_id)
        if event is None:
            self._note("a record without its event line")
        try:
            ours = self._take(kind, payload)
        except (AttributeError, KeyError, TypeError) as error:
            raise self._broken(f"a malformed {kind}") from error
        if ours is not None:
            self._tell(ours)
        return True

    def ended(self) -> str:
        """The reason to stop, at the end of the stream. Raises ClaudeInterrupted without one."""
        if self.stop_reason is None:
            raise self._broken("the stream ended without a stop_reason")
        return self.stop_reason

    def usage(self) -> Usage:
        """What the request has used; the output is estimated when the stream broke."""
        counts = self._usage
        output = counts.get("output_tokens", 0)
        if self.stop_reason is None:
            output = max(output, round(self._written * TOKENS_PER_CHARACTER))
        return Usage(
            input=counts.get("input_tokens", 0),
            cache_read=counts.get("cache_read_input_tokens", 0),
            cache_write=counts.get("cache_creation_input_tokens", 0),
            output=output,
            thinking=counts.get("thinking_tokens", 0),
        )

    def _take(self, kind: str | None, payload: dict[str, Any]) -> ClaudeEvent | None:
        match kind:
            case "content_block_delta":
                return self._delta(payload)
            case "content_block_start":
                return self._block(payload)
            case "message_start":
                self._begun = True
                self.model = payload["message"].get("model") or self.model
                self._count(payload["message"].get("usage"))
                return Started(self.model, self.request_id)
            case "message_delta":
                self.stop_reason = payload["delta"].get("stop_reason") or self.stop_reason
                self._count(payload.get("usage"))
            case "message_stop":
                self.finished = True
            case "content_block_stop":
                pass
            case _:
                self._note(f"an unknown event {kind}")
        return None

    def _block(self, payload: dict[str, Any]) -> ClaudeEvent | None:
        block = payload["content_block"]
        self._blocks.add(payload.get("index", -1))
        if block["type"] not in KNOWN_BLOCKS:
            self._note(f"an unknown block {block['type']}")
        if block["type"] == "thinking":
            return Thinking()
        return self._text(block.get("text") or "") if block["type"] == "text" else None

    def _delta(self, payload: dict[str, Any]) -> ClaudeEvent | None:
        delta = payload["delta"]
        if not self._begun:
            self._note("a delta before message_start")
        if payload.get("index", -1) not in self._blocks:
            self._note("a delta for a block that was not started")
        if delta["type"] == "text_delta":
            return self._text(delta["text"])
        if delta["type"] not in KNOWN_DELTAS:
            self._note(f"an unknown delta {delta['type']}")
        return None

    def _text(self, text: str) -> Text | None:
        """Pass text on; a character whose halves come in two deltas is put together first."""
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._half, text = text[-1], text[:-1]
        self._written += len(text)
        return Text(scrub(text)) if text else None

    def _count(self, usage: object) -> None:
        """Later figures are totals: they replace the earlier ones."""
        if not isinstance(usage, Mapping):
            return
        details = usage.get("output_tokens_details")
        for counts in (usage, details if isinstance(details, Mapping) else {}):
            for name, value in counts.items():
                if isinstance(value, int):
                    self._usage[name] = value

    def _note(self, damage: str) -> None:
        """Something odd that does not end the stream; once each in the log."""
        if damage not in self._report.damages:
            self._report.damages.append(damage)
            logs.warning(log, "claude_damage", damage=damage, request_id=self.request_id)

    def _broken(self, damage: str) -> ClaudeInterrupted:
        self._report.damages.append(damage)
        return ClaudeInterrupted(f"{damage} request_id={self.request_id}")
