"""The beginning of a reply in plain words, for notifications and screen readers."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Final

from bot.markdown import fences, inline, tables
from bot.markdown.escaping import FALLBACK_BYTES, escaped_beginning
from bot.markdown.inert import WORD_JOINER

_LINK = re.compile(r"!?\[((?:[^\[\]\n]|\[[^\[\]\n]*\])*)\]\([^)\n]*\)")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\]:?")
_COMMENT = re.compile(r"<!--(?:(?!-->).){0,1000}-->", re.S)
_CODE = re.compile(r"(`+)(?!`)(.*?)(?<!`)\1(?!`)")
_LEAD = re.compile(r"(?:[ \t]*(?:>|[-*+][ \t](?:\[[ xX]\][ \t])?|#{1,6}[ \t]))*[ \t]*")
_DIVIDER = re.compile(r"[ \t]*(?:[-*_=][ \t]*){3,}\Z")
_EMPHASIS = re.compile(r"\*\*|__|~~|(?<![\w*\\])[*_](?=[^\s*_])|(?<=[^\s*_\\])[*_](?![\w*])|`+")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_SPARE: Final = 2_000
"""Characters of marks and link targets that may go before the limit is reached."""


def plain_beginning(text: str, max_bytes: int = FALLBACK_BYTES) -> str:
    """The beginning of `text` in plain words, escaped, for notifications and screen readers.

    At most `max_bytes` of UTF-8 after escaping; never ends inside an entity or a character.
    """
    return _beginning(text[: max_bytes + _SPARE], max_bytes)


@lru_cache(maxsize=64)
def _beginning(head: str, max_bytes: int) -> str:
    """The same of a head, which stays the same while a long reply grows."""
    lines: list[str] = []
    fence: fences.Fence | None = None
    for line in (_COMMENT.sub("", head) if "-->" in head else head).split("\n"):
        was, fence = fence, fences.next_fence(fence, line)
        if was is fence:
            lines.append(line if fence is not None else _plain(line))
    return escaped_beginning(" ".join(" ".join(lines).split()), max_bytes)


def _plain(line: str) -> str:
    """The words of a line."""
    if _DIVIDER.match(line) or ("|" in line and tables.is_separator(line)):
        return ""
    words = inline.line(_FOOTNOTE.sub("", line[_end_of_lead(line) :]))
    if words.startswith("|"):
        words = ", ".join(cell for cell in tables.cells(words) if cell)
    words = _LINK.sub(r"\1", words) if "](" in words else words
    if "`" not in words:
        return _bare(words)
    pieces = _CODE.split(words)  # text, backticks, code, text, backticks, code, …, text
    return "".join(
        _bare(piece) if at % 3 == 0 else piece for at, piece in enumerate(pieces) if at % 3 != 1
    )


def _bare(words: str) -> str:
    """Text without marks, escapes and entities."""
    words = _ESCAPE.sub(r"\1", _EMPHASIS.sub("", words))
    return html.unescape(words).replace(WORD_JOINER, "") if "&" in words else words


def _end_of_lead(line: str) -> int:
    found = _LEAD.match(line)
    return found.end() if found else 0
