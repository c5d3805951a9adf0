"""Headings that are longer than Slack's header block takes."""

from __future__ import annotations

import re
from typing import Final

from bot.markdown.graphemes import joined

LONGEST: Final = 150
"""Characters of a header block: docs.slack.dev/reference/block-kit/blocks/header-block."""
_SURE: Final = 100
"""A long heading is cut behind this character, so what is before it can be shown at once."""

_UNBROKEN = re.compile(r"`[^`]*(?:`|\Z)|!?\[[^\]]*(?:\]\([^)]*\)?|\Z)|<[^>\s]*>?|https?://\S+")


def halves(text: str) -> tuple[str, str]:
    """What stands as a heading, and what goes on below it, which nearly always is nothing."""
    if len(text) <= LONGEST:
        return text, ""
    held = _held(text)
    places = [at for at in range(LONGEST, _SURE, -1) if not _within(at, held)]
    words = [at for at in places if text[at] == " "]
    whole = [at for at in places if not joined(text, at)]
    end = next(iter(words or whole), len(text))
    return text[:end].rstrip(), text[end:].strip()


def sure(text: str) -> str:
    """As much of a half-written heading as stays in it, however long it becomes."""
    if not _SURE < len(text) <= LONGEST:
        return text
    held = _held(text)
    places = (at for at in range(len(text) - 1, _SURE, -1) if text[at] == " ")
    end = next((at for at in places if not _within(at, held)), _SURE)
    return text[: next((start for start, stop in held if start < end < stop), end)].rstrip()


def _held(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in _UNBROKEN.finditer(text)]


def _within(at: int, held: list[tuple[int, int]]) -> bool:
    return any(start < at < end for start, end in held)
