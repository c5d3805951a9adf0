"""Where a reply is cut into messages: where it reads well, never within what belongs together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bot.markdown import fences, tables
from bot.markdown.graphemes import joined

WINDOW: Final = 1_000
"""How far back from the limit a line, sentence or word end is looked for."""
_REACH: Final = 3_000
"""How far a link may reach around the limit."""

# Latin and Greek sentences end before a blank; those of Chinese, Japanese, Hindi, Thai, Arabic and
# Armenian end with their own signs (Unicode Standard Annex 29, Sentence_Terminal).
_SENTENCE_END = re.compile(r"[.!?…;][\"')\]”’*_]*\s|[。！？｡؟։।॥။።][」』）】”’\"')*_]*\s?")
_WORD_END = re.compile(r"\s(?=\S)|[、，；：・,]")

# What must stay in one piece: inline code, links and images, addresses, formulas, emphasis.
_WHOLE = re.compile(
    r"(?P<code>`+)(?!`)[^\n]*?(?<!`)(?P=code)(?!`)"
    r"|!?\[(?:[^\[\]\n]|\[[^\[\]\n]*\](?:\([^()\s]*\))?){0,500}\](?:\([^\n)]{0,2000}(?:\)|\Z)|\Z)"
    r"|!?\[[^\[\]\n]{0,500}\Z"
    r"|<(?:https?:|mailto:|[!@#])[^>\s]{0,2000}>?|https?://[^\s<>]{1,2000}"
    r"|\$(?! )[^$\n]{1,300}(?<! )\$|\\\([^\n]{1,300}?\\\)"
    r"|\*\*[^*\n]{1,200}\*\*|(?<!\w)[*_](?=\w)[^*_\n]{1,200}[*_](?!\w)|~~[^~\n]{1,200}~~"
    r"|&#?\w{1,8};|[*_~`|]{2,}|</?\w[^<>\n]{0,200}>"
)
_HEADING = re.compile(r"[ \t>]*#{1,6}[ \t]|[ \t]*\*\*[^*\n]+\*\*:?[ \t]*\Z")
_INTRODUCES = re.compile(r"[:：][*_\s]*\Z")
_DISPLAY = re.compile(r"\s*(?:\$\$|\\\[|\\\])")


def cut(text: str, limit: int, floor: int = 1, *, prefix: str = "") -> int:
    """Where to end a message: the best position in `text` between `floor` and `limit`, inclusive.

    The end of a paragraph is best (in the upper half, so that messages are not small), then that
    of a line (an item, a row), a line of code, a sentence, a word. A heading, or a line that
    introduces what follows, is not left alone at the end. Only a text without any of these is
    cut between two characters, and never inside one that a person sees as one. `prefix` is what
    the message begins with: the text may go on with code.
    """
    if len(text) <= limit:
        return len(text)
    best = _Ends(text, limit, floor, fences.open_fence(prefix)).best
    for kind, least in _PREFERENCE:
        if best.get(kind, 0) >= max(floor, int(limit * least), 1):
            return best[kind]
    return last_break(text, limit, floor)


_PREFERENCE: Final = (
    ("paragraph", 1 / 2),
    ("line", 2 / 3),
    ("gap in code", 2 / 3),
    ("code", 1 / 2),
    ("paragraph", 1 / 4),
    ("line", 1 / 4),
    ("code", 0),
)


@dataclass(slots=True)
class _Ends:
    """The last position of each kind of line end that is not above the limit."""

    text: str
    limit: int
    floor: int
    fence: fences.Fence | None
    """The one that is open where the text begins."""
    best: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fence = self.fence
        before = ""
        in_formula = False
        for line, end in self._lines():
            was, fence = fence, fences.next_fence(fence, line)
            if _DISPLAY.match(line) and fence is None and line.count("$$") != 2:
                in_formula = not in_formula if "$$" in line else line.lstrip()[1] == "["
                in_formula = in_formula and "\\]" not in line
            if kind := self._kind(line, before, was, fence, in_formula, end):
                self.best[kind] = end
            before = line if line.strip() else before

    def _lines(self) -> Iterator[tuple[str, int]]:
        start = 0
        while (end := self.text.find("\n", start)) != -1 and end + 1 <= self.limit:
            yield self.text[start:end], end + 1
            start = end + 1

    def _kind(
        self,
        line: str,
        before: str,
        was: fences.Fence | None,
        fence: fences.Fence | None,
        in_formula: bool,
        end: int,
    ) -> str | None:
        if end < self.floor or in_formula:
            return None
        if fence is not None:
            if was is None or fence.closes_on(self._below(end)):
                return None
            return "code" if line.strip() else "gap in code"
        last = line if line.strip() else before
        if was is None and (_HEADING.match(last) or _INTRODUCES.search(last)):
            return None
        below = self._below(end)
        if "|" in line and (tables.is_separator(line) or tables.is_separator(below)):
            return None
        return "line" if line.strip() else "paragraph"

    def _below(self, start: int) -> str:
        end = self.text.find("\n", start, start + 500)
        return self.text[start:end] if end != -1 else self.text[start : start + 500]


def last_break(text: str, limit: int, floor: int = 1) -> int:
    """The last line, sentence or word end in `text` from `floor` to `limit`; else a character."""
    limit = min(limit, len(text))
    nearest = max(floor, limit - WINDOW, 1)
    kept = whole_spans(text, nearest, limit)
    line = text.rfind("\n", nearest - 1, limit) + 1
    if line >= nearest:
        return line
    for pattern in (_SENTENCE_END, _WORD_END):
        ends = [found.end() for found in pattern.finditer(text, max(0, nearest - 12), limit)]
        for position in reversed(ends):
            if nearest <= position <= limit and is_free(text, position, kept):
                return position
    if limit == len(text) or (text[limit].isspace() and is_free(text, limit, kept)):
        return limit
    return _character_break(text, limit, max(floor, 1), kept)


def _character_break(text: str, limit: int, floor: int, kept: list[tuple[int, int]]) -> int:
    """The last position between two visible characters, outside links if possible."""
    for start, end in kept:
        if start < limit < end and start >= floor:
            return start
    for position in range(limit, max(floor, limit - 256) - 1, -1):
        if not joined(text, position):
            return position
    return max(floor, limit)


def whole_spans(text: str, nearest: int, limit: int) -> list[tuple[int, int]]:
    """What may not be cut, between `nearest` and `limit`; read from the begin of its line."""
    start = text.rfind("\n", max(0, nearest - _REACH), nearest) + 1 or max(0, nearest - _REACH)
    end = text.find("\n", limit, limit + _REACH)
    end = min(len(text), limit + _REACH) if end == -1 else end
    return [found.span() for found in _WHOLE.finditer(text, start, end)]


def is_free(text: str, position: int, kept: list[tuple[int, int]]) -> bool:
    """Whether `position` is between two visible characters, and in none of the spans."""
    return not joined(text, position) and not any(start < position < end for start, end in kept)
