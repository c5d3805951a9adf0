"""What a reply becomes for one request: the text within its limits, and its usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.playground.claude.errors import new_id
from bot.playground.claude.reply import CHARACTERS_PER_TOKEN, Reply, count_tokens

THINKING_TOKENS = 32  # what a scripted thinking block counts


@dataclass(frozen=True)
class Answer:
    """A reply after max_tokens and the context window have had their say."""

    reply: Reply
    text: str
    stop_reason: str
    model: str
    input_tokens: int
    id: str = field(default_factory=lambda: new_id("msg"))

    @classmethod
    def to(
        cls, body: Mapping[str, Any], reply: Reply, *, input_tokens: int, context_tokens: int
    ) -> Answer:
        """Cut the reply where the API would stop: thinking counts toward max_tokens too."""
        room = context_tokens - input_tokens
        most, reason = int(body["max_tokens"]), "max_tokens"
        if room < most:
            most, reason = room, "model_context_window_exceeded"
        if reply.thinking:
            most -= THINKING_TOKENS
        text, stop_reason = reply.text, reply.stop_reason
        if count_tokens(text) > most:
            text, stop_reason = text[: max(most, 0) * CHARACTERS_PER_TOKEN], reason
        return cls(reply, text, stop_reason, reply.model or str(body["model"]), input_tokens)

    def opening(self) -> dict[str, Any]:
        """The message in message_start: no content, no stop reason, a first usage."""
        return self._message([], {"stop_reason": None, "stop_sequence": None}, self._usage(1))

    def whole(self) -> dict[str, Any]:
        """The message of an answer that is not streamed."""
        content: list[dict[str, Any]] = []
        if self.reply.thinking:
            content.append({"type": "thinking", "thinking": "", "signature": "c2NyaXB0ZWQ="})
        if self.text:
            content.append({"type": "text", "text": self.text})
        return self._message(content, self.end(), self._usage(self._output_tokens()))

    def end(self) -> dict[str, Any]:
        """Why it stopped; a refusal always says something in stop_details."""
        details = self.reply.stop_details
        if details is None and self.stop_reason == "refusal":
            details = {"type": "refusal", "category": None, "explanation": None}
        return {
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "stop_details": dict(details) if details is not None else None,
        }

    def final_usage(self) -> dict[str, Any]:
        """The cumulative usage of message_delta."""
        usage = self._usage(self._output_tokens())
        del usage["cache_creation"], usage["service_tier"], usage["inference_geo"]
        return usage

    def _output_tokens(self) -> int:
        return count_tokens(self.text) + (THINKING_TOKENS if self.reply.thinking else 0)

    def _message(
        self, content: list[dict[str, Any]], end: dict[str, Any], usage: dict[str, Any]
    ) -> dict[str, Any]:
        head = {"model": self.model, "id": self.id, "type": "message", "role": "assistant"}
        return {**head, "content": content, **end, "usage": usage}

    def _usage(self, output_tokens: int) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": "global",
        }
        if self.reply.thinking and output_tokens > 1:
            usage["output_tokens_details"] = {"thinking_tokens": THINKING_TOKENS}
        return usage | dict(self.reply.usage or {})
