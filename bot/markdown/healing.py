"""Half-written text: which marks are open at its end, and what is held back there."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from bot.markdown import inert

# What may become the marker of a heading, a list, a quotation, a fence, a divider or a table.
_HALF_MARKER = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]*|[-*_=][-*_= \t]*|\+|\d{1,9}[.)]?[ \t]*|>[> \t]*|`+|~+"
    r"|[|:\-][|:\- \t]*)\Z"
)
_TOKEN = re.compile(
    r"\\.|(?P<code>`+)|\]\([^)\s]*\)|<[^<>\s]*>|https?://[^\s*~]+|(?P<mark>\*+|_+|~~)", re.S
)
_HALF_ENTITY = re.compile(r"&[#\w]{0,8}\Z")
_RUN = re.compile(r"`+")


@dataclass(slots=True)
class _Open:
    mark: str
    count: int


def is_half_marker(line: str) -> bool:
    """Whether all of a half-written line may still become the marker of a block."""
    return _HALF_MARKER.match(line) is not None


def certain(text: str) -> str:
    """`text` without what at its end the next character may make into something else."""
    while True:
        kept = steady(text)
        kept = kept[: inert.half_control(kept)]
        if len(kept) == len(text):
            return text
        text = kept


def certain_code(text: str) -> str:
    """The same within code, where nothing is a mark; what calls somebody calls there too."""
    while True:
        kept = _HALF_ENTITY.sub("", text.rstrip()).rstrip("\\")
        kept = kept[: inert.half_control(kept)]
        if len(kept) == len(text):
            return text
        text = kept


def steady(text: str) -> str:
    """`text` without white space and marks at its end, whose meaning the next character fixes."""
    while True:
        kept = text.rstrip().rstrip("\u200d")
        bare = kept.rstrip("*_~`")
        kept = kept if bare.endswith("\\") else bare
        if len(kept) == len(text):
            return text
        text = kept


def closers(text: str, *, is_half: bool = True) -> str:
    """What closes the inline code, emphasis and strikethrough that are open at the end of a
    paragraph, innermost first (spec.commonmark.org/0.31.2/#emphasis-and-strong-emphasis).

    In a line that is complete, code that was not closed is none; the last one may be half-written.
    """
    open_: list[_Open] = []
    at = 0
    while (found := _TOKEN.search(text, at)) is not None:
        at = found.end()
        if code := found["code"]:
            line_end = text.find("\n", at) % (len(text) + 1)
            runs = _RUN.finditer(text, at, line_end)
            close = next((run for run in runs if len(run[0]) == len(code)), None)
            if close is None and is_half and line_end == len(text):
                return code + _closing(open_)
            at = close.end() if close else line_end
        elif mark := found["mark"]:
            _meet(open_, mark, text, found.start(), at)
    return _closing(open_)


def _closing(open_: list[_Open]) -> str:
    return "".join(one.mark * one.count for one in reversed(open_))


def _meet(open_: list[_Open], mark: str, text: str, start: int, end: int) -> None:
    """One run of marks: it closes what is open as far as it can; the rest of it may open."""
    before, after = text[start - 1 : start] or " ", text[end : end + 1] or " "
    sign, count = mark[0], len(mark)
    if _may_close(before, after, sign):
        count = _close(open_, sign, count)
    if count and _may_open(before, after) and count <= 3:
        open_.append(_Open(sign, count))


def _close(open_: list[_Open], sign: str, count: int) -> int:
    for index in range(len(open_) - 1, -1, -1):
        one = open_[index]
        if one.mark != sign or not count:
            continue
        used = min(one.count, count)
        one.count -= used
        count -= used
        del open_[index + (1 if one.count else 0) :]
    return count


def _may_open(before: str, after: str) -> bool:
    """Left-flanking, and not within a word: `2*3` and `snake_case` open nothing."""
    if after.isspace() or (before.isalnum() and after.isalnum()):
        return False
    return not is_punctuation(after) or before.isspace() or is_punctuation(before)


def _may_close(before: str, after: str, sign: str) -> bool:
    if before.isspace() or (sign == "_" and after.isalnum()):
        return False
    return not is_punctuation(before) or after.isspace() or is_punctuation(after)


_ASCII_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def is_punctuation(character: str) -> bool:
    """As CommonMark means it: Unicode's punctuation and symbols."""
    if not character:
        return False
    if character < "\x80":
        return character in _ASCII_PUNCTUATION
    return unicodedata.category(character)[0] in "PS"
