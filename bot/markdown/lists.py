"""Where a line stands in nested lists, and how far it is indented for Slack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEEPEST: Final = 6
"""Levels of lists; what is deeper stands at the last one. Slack documents no depth, and a phone
has no room for more (docs.slack.dev/reference/block-kit/blocks/markdown-block)."""

QUOTE = re.compile(r"(?: {0,3}>[ \t]?)+")
MARKER = re.compile(
    r"(?P<indent>[ \t]*)(?P<marker>[-*+]|\d{1,9}[.)])(?P<gap>[ \t]+(?=\S)|[ \t]*\Z)"
)
_INDENT = re.compile(r"[ \t]*")
_CODE: Final = 4
"""Columns that make indented code: spec.commonmark.org/0.31.2/#indented-code-blocks."""


@dataclass(slots=True)
class _Item:
    marker_at: int
    content_at: int
    shown_at: int
    """Where its marker stands for Slack."""
    shown_content: int


@dataclass(frozen=True, slots=True)
class Place:
    """A line: what stands before its words for Slack, its words, and how far they moved."""

    lead: str
    content: str
    shift: int
    is_item: bool
    depth: int
    is_code: bool = False


class Lists:
    """The lists that are open, line after line.

    A message may begin within a list that the one before began: what is indented there moves
    left, so that it does not become code; a numbered item keeps its number in any case.
    """

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._base: int | None = None
        self._after_blank = True
        self._in_code = False

    def blank(self) -> None:
        self._after_blank = True

    def place(self, line: str) -> Place:
        found = MARKER.match(line)
        indent = _columns(line)
        if self._base is None:
            self._base = indent
        self._base = min(self._base, indent)
        place = self._item(line, found, indent) if found else self._text(line, indent)
        self._after_blank = False
        return place

    def _item(self, line: str, found: re.Match[str], indent: int) -> Place:
        while self._items and indent < self._items[-1].marker_at + 2:
            self._items.pop()
        assert self._base is not None
        if not self._items and indent - self._base >= _CODE:
            return self._text(line, indent)
        self._in_code = False
        gap = min(len(found["gap"]), 4) or 1
        width = len(found["marker"]) + gap
        parent = self._items[-1] if self._items else None
        if parent is None:
            shown = indent - self._base
        elif len(self._items) >= DEEPEST:
            shown = parent.shown_at
        else:
            shown = parent.shown_content + min(max(0, indent - parent.content_at), 3)
        item = _Item(indent, indent + width, shown, shown + width)
        if len(self._items) < DEEPEST:
            self._items.append(item)
        lead = f"{' ' * shown}{found['marker']}{' ' * gap}"
        content = line[found.end() :]
        return Place(lead, content, shown - indent, True, len(self._items))

    def _text(self, line: str, indent: int) -> Place:
        assert self._base is not None
        words = line.lstrip(" \t")
        if self._after_blank:
            while self._items and indent <= self._items[-1].marker_at:
                self._items.pop()
        if not self._items:
            shown = indent - self._base
            is_code = self._code(shown)
            return Place(" " * shown, words, shown - indent, False, 0, is_code)
        item = self._items[-1]
        shown = item.shown_content + max(0, indent - item.content_at)
        if not self._after_blank and indent < item.content_at:
            shown = indent
        is_code = self._code(shown - item.shown_content)
        return Place(" " * shown, words, shown - indent, False, len(self._items), is_code)

    def _code(self, columns: int) -> bool:
        self._in_code = columns >= _CODE and (self._after_blank or self._in_code)
        return self._in_code


def moved(line: str, shift: int) -> str:
    """`line` of a code block that moved with its fence."""
    if shift >= 0:
        return f"{' ' * shift}{line}" if line.strip() else line
    return line[min(-shift, len(line) - len(line.lstrip(" "))) :]


def _columns(line: str) -> int:
    found = _INDENT.match(line)
    assert found is not None
    return len(found[0].expandtabs(4))


def unquoted(line: str) -> str:
    """`line` without the marks of the quotation it stands in."""
    quote = QUOTE.match(line)
    return line[quote.end() :] if quote else line
