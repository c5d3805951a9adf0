"""How far a half-written text may be shown where nothing can be taken back."""

from __future__ import annotations

import re
from typing import Final

from bot.markdown import fences, healing
from bot.markdown.cutting import is_free, whole_spans
from bot.markdown.graphemes import joined
from bot.markdown.rendering import render_apart

_REACH: Final = 200
"""Words are held back for so long until the emphasis that they stand in is closed."""
_PATIENCE: Final = 80
"""A text of which so much has no end of a word is cut between two characters."""

_CODE_REACH: Final = 400
"""So far back a line of code is looked for that the next one begins at the left after."""

_WORD_END = re.compile(r"\s(?=\S)|[、，；：・。！？।॥](?=\S)")
_LINE_END = re.compile(r"\n(?=[\s\S])")


def committable(text: str, floor: int, *, prefix: str = "") -> int:
    """Where to end what is shown of `text` for good: after the last word that is complete, after a
    line in code or a table, not within a link or emphasis; `floor` (what is shown already) if
    nothing more is. `prefix` is what the message begins with."""
    line = text.rfind("\n", floor) + 1
    if fences.open_fence(prefix + text[: line or floor]) is not None:
        return _line_of_code(text, floor)
    begin = text.rfind("\n", 0, len(text)) + 1
    if "|" in text[begin:] and begin > floor:
        return begin
    return _word(text, floor)


def committed(text: str, floor: int, *, prefix: str = "") -> str:
    """`text` as it may be shown for good, when `floor` characters of that are shown already. It
    ends with white space where it can: a text that is appended should not begin with it, since
    Slack may drop it there (github.com/NousResearch/hermes-agent/issues/59010)."""
    whole, _ = render_apart(text, prefix=prefix, growing=True, patient=True)
    return whole[: committable(whole, floor)]


def _line_of_code(text: str, floor: int) -> int:
    """The last line end, if possible one that is followed by a line which begins at the left."""
    ends = [found.end() for found in _LINE_END.finditer(text, floor)]
    near = [at for at in ends if not text[at].isspace() and len(text) - at < _CODE_REACH]
    return (near or ends or [floor])[-1]


def _word(text: str, floor: int) -> int:
    kept = whole_spans(text, max(1, floor), len(text))
    begin = text.rfind("\n\n") + 1
    fallback = floor
    for end in reversed([found.end() for found in _WORD_END.finditer(text, max(0, floor - 1))]):
        if end <= floor:
            break
        line = text[text.rfind("\n", 0, end) + 1 : end]
        if healing.is_half_marker(line) or not is_free(text, end, kept):
            continue
        if end <= begin or not healing.closers(text[begin:end].strip()):
            return end
        fallback = max(fallback, end)
        if len(text) - end > _REACH:
            return fallback
    if fallback == floor and len(text) - floor > _PATIENCE:
        return next((at for at in range(len(text) - 1, floor, -1) if not joined(text, at)), floor)
    return floor
