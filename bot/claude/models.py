"""What older models refuse, so that any model may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bot.config import EFFORTS, Effort

# platform.claude.com/docs/en/build-with-claude/effort: xhigh came with Opus 4.7, max with 4.6.
EFFORT_OF_OLDER: Final[Mapping[str, tuple[Effort, ...]]] = {
    "claude-opus-4-6": ("low", "medium", "high", "max"),
    "claude-sonnet-4-6": ("low", "medium", "high", "max"),
    "claude-opus-4-5": ("low", "medium", "high"),
    "claude-sonnet-4-5": (),
    "claude-haiku-4-5": (),
}
# platform.claude.com/docs/en/about-claude/models/overview.
MOST_TOKENS: Final = 128_000
MOST_TOKENS_OF_OLDER: Final[Mapping[str, int]] = {
    "claude-opus-4-5": 64_000,
    "claude-sonnet-4-5": 64_000,
    "claude-haiku-4-5": 64_000,
}


def undated(model: str) -> str:
    """The model's name; ids before 4.6 may have a date behind it (claude-haiku-4-5-20251001)."""
    name, _, date = model.rpartition("-")
    return name if len(date) == 8 and date.isdigit() else model


def effort(model: str, wanted: Effort) -> Effort | None:
    """The effort to ask `model` for: what is wanted, or the next lower one that it takes; None if
    it takes none."""
    taken = EFFORT_OF_OLDER.get(undated(model))
    if taken is None or wanted in taken:
        return wanted
    lower = [one for one in taken if EFFORTS.index(one) < EFFORTS.index(wanted)]
    return lower[-1] if lower else None


def most_tokens(model: str) -> int:
    """The longest reply of `model`."""
    return MOST_TOKENS_OF_OLDER.get(undated(model), MOST_TOKENS)
