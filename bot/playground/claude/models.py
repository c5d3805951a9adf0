"""The models that the scripted Claude knows, and what each of them accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING_TYPES = ("adaptive", "between_tools", "disabled", "enabled")
MILLION = 1_000_000


@dataclass(frozen=True)
class Model:
    """One row of docs: models/overview; thinking types as in models/*: what is missing is a 400."""

    id: str
    display_name: str
    thinking: frozenset[str]
    max_input_tokens: int = MILLION
    max_tokens: int = 128_000
    created_at: str = "2026-03-01T00:00:00Z"
    lifecycle: str = "active"
    retires_at: str | None = None
    efforts: tuple[str, ...] = EFFORTS
    takes_forced_tools: bool = True
    takes_prefill: bool = False
    has_fast_mode: bool = False
    thinks_above_high: bool = False  # thinking off is a 400 at effort xhigh and max

    @property
    def line(self) -> str:
        """opus, sonnet, haiku or fable."""
        return self.id.split("-")[1]

    def info(self) -> dict[str, Any]:
        """The model object of GET /v1/models."""
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "line": self.line,
            "lifecycle": self.lifecycle,
            "created_at": self.created_at,
            "deprecated_at": self.created_at if self.lifecycle == "deprecated" else None,
            "retires_at": self.retires_at,
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_tokens,
            "capabilities": self._capabilities(),
        }

    def _capabilities(self) -> dict[str, Any]:
        yes = {"supported": True}
        efforts = {name: {"supported": name in self.efforts} for name in EFFORTS}
        thinking = {name: {"supported": name in self.thinking} for name in THINKING_TYPES}
        return {
            "batch": yes,
            "citations": yes,
            "code_execution": yes,
            "context_management": {
                "supported": True,
                "clear_thinking_20251015": yes,
                "clear_tool_uses_20250919": yes,
                "compact_20260112": yes,
            },
            "effort": {"supported": bool(self.efforts), **efforts},
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": {"supported": True, "web_search": yes, "code_execution": yes},
            "structured_outputs": yes,
            "thinking": {"supported": True, "types": thinking},
        }


def _thinking(*types: str) -> frozenset[str]:
    return frozenset(types)


_ON = _thinking("adaptive", "disabled")
_ALWAYS = _thinking("adaptive")
_OLD = _thinking("enabled", "disabled")

# docs: build-with-claude/effort
_NO_XHIGH = ("low", "medium", "high", "max")
_UP_TO_HIGH = ("low", "medium", "high")

ALL = (
    Model("claude-fable-5-2", "Claude Fable 5.2", _ALWAYS, takes_forced_tools=False),
    Model("claude-haiku-5-5", "Claude Haiku 5.5", _ON, thinks_above_high=True),
    Model(
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        _thinking("adaptive", "between_tools"),
        thinks_above_high=True,
        takes_forced_tools=False,
    ),
    Model(
        "claude-opus-5-5",
        "Claude Opus 5.5",
        _ALWAYS,
        takes_forced_tools=False,
        has_fast_mode=True,
    ),
    Model("claude-fable-5-1", "Claude Fable 5.1", _ALWAYS, takes_forced_tools=False),
    Model("claude-fable-5", "Claude Fable 5", _ALWAYS),
    Model("claude-opus-5", "Claude Opus 5", _ON, thinks_above_high=True),
    Model("claude-sonnet-5", "Claude Sonnet 5", _ON),
    Model("claude-opus-4-8", "Claude Opus 4.8", _ON),
    Model("claude-opus-4-7", "Claude Opus 4.7", _ON),
    Model("claude-opus-4-6", "Claude Opus 4.6", _ON | {"enabled"}, efforts=_NO_XHIGH),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6", _ON | {"enabled"}, efforts=_NO_XHIGH),
    Model(
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
        _OLD,
        efforts=_UP_TO_HIGH,
        max_input_tokens=200_000,
        max_tokens=64_000,
        takes_prefill=True,
    ),
    Model(
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
        _OLD,
        efforts=(),
        max_input_tokens=200_000,
        max_tokens=64_000,
        takes_prefill=True,
    ),
    Model(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        _OLD,
        lifecycle="deprecated",
        retires_at="2026-11-30T00:00:00Z",
        efforts=(),
        max_input_tokens=200_000,
        max_tokens=64_000,
        takes_prefill=True,
    ),
)
ALIASES = {
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}
BY_ID = {model.id: model for model in ALL}


def find(model_id: object) -> Model | None:
    """The model of that id or alias; None for unknown and retired ones."""
    if not isinstance(model_id, str):
        return None
    return BY_ID.get(ALIASES.get(model_id, model_id))
