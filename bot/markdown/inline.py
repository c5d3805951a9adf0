"""What stands within a line: links, images, HTML, LaTeX, footnotes; code is left alone.

A line is read once from left to right. What cannot be decided before more of it is there stops
the reading, so what is given out for half a line is always a beginning of what is given out for
the whole one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bot.markdown import html, latex, links
from bot.markdown.healing import is_punctuation
from bot.markdown.inert import WORD_JOINER
from bot.markdown.reading import Reading

LABEL: Final = 500
"""Characters of a link's label: a bracket that stays open for longer is no link."""
_DESTINATION: Final = 2_000

_SPECIAL = re.compile(r"[`\\\[<$]|\*\*|!\[|!\Z")
_STARS = re.compile(r"\*+")
_RUN = re.compile(r"`+")
_HALF_TARGET = re.compile(r"\([ \t]*(?:<[^<>\n]*|(?:<[^<>\n]*>|[^\s<]*)(?:[ \t]+(?:[\"'(].*)?)?)\Z")
_HALF_ENTITY = re.compile(r"&(?:#?[0-9A-Za-z]{0,8})?\Z")


@lru_cache(maxsize=8_192)
def line(text: str, cell: bool = False) -> str:
    """A whole line as Slack can show it. Pure, so the lines above the growing one are known."""
    return _Reader(text, whole=True, cell=cell).read()


def beginning(text: str) -> str:
    """As much of a line, of which only `text` is there yet, as no further text can change."""
    return _HALF_ENTITY.sub("", _Reader(text, whole=False).read())


class _Reader:
    def __init__(self, text: str, *, whole: bool, cell: bool = False) -> None:
        self._text = text
        self._whole = whole
        self._cell = cell
        self._out: list[str] = []
        self._pairs = links.brackets(text)
        self._html = html.Line(cell=cell)
        self._is_bold = False

    def read(self) -> str:
        text, at = self._text, 0
        while (found := _SPECIAL.search(text, at)) is not None:
            self._out.append(text[at : found.start()])
            at = found.start()
            read = self._one(at)
            if read is None:
                return "".join(self._out)
            if isinstance(read, bool):
                self._out.append(text[at])
                at += 1
            else:
                self._out.append(read[0])
                at = read[1]
        self._out.append(text[at:])
        out = "".join(self._out)
        return f"{out}{self._html.closers()}" if self._whole else out

    def _one(self, at: int) -> Reading:
        """What the character at `at` begins."""
        match self._text[at]:
            case "`":
                return self._code(at)
            case "\\":
                return self._backslash(at)
            case "*":
                return self._bold(at)
            case "<":
                return self._html.turn(self._text, at, self._whole, "".join(self._out[-40:]))
            case "$":
                return latex.dollars(self._text, at, self._whole)
            case "!":
                if at + 1 == len(self._text):
                    return False if self._whole else None
                return self._link(at + 1, is_image=True)
        return self._link(at, is_image=False)

    def _code(self, at: int) -> Reading:
        """Inline code as it stands. Where it is not closed, all the rest may be code."""
        text, whole = self._text, self._whole
        run = _RUN.match(text, at)
        assert run is not None
        if run.end() == len(text) and not whole:
            return None
        for close in _RUN.finditer(text, run.end()):
            if len(close[0]) == len(run[0]):
                if close.end() == len(text) and not whole:
                    break
                return text[at : close.end()], close.end()
        rest = text[at:]
        return (rest if whole else rest.rstrip("`")), len(text)

    def _bold(self, at: int) -> Reading:
        """Bold marks. Beside the punctuation of a script without blanks a word joiner keeps them
        so: CommonMark reads none in `**注意：**次` (commonmark/commonmark-spec#650)."""
        text = self._text
        run = _STARS.match(text, at)
        assert run is not None
        end = run.end()
        if end == len(text) and not self._whole:
            return None
        if end - at != 2:
            return run[0], end
        self._is_bold = not self._is_bold
        before, after = text[at - 1 : at], text[end : end + 1]
        if before.isascii() and after.isascii():
            return "**", end
        if self._is_bold:
            stuck = before.isalnum() and is_punctuation(after)
            return (f"**{WORD_JOINER}" if stuck else "**"), end
        stuck = after.isalnum() and is_punctuation(before)
        return (f"{WORD_JOINER}**" if stuck else "**"), end

    def _backslash(self, at: int) -> Reading:
        pair = self._text[at : at + 2]
        if len(pair) < 2:
            return False if self._whole else None
        if pair in ("\\(", "\\["):
            formula = latex.bracketed(self._text, at, self._whole)
            return (pair, at + 2) if formula is False else formula
        return pair, at + 2

    def _link(self, at: int, *, is_image: bool) -> Reading:
        text = self._text
        if (note := links.FOOTNOTE.match(text, at)) is not None:
            return f"[{note[1]}]", note.end()
        close = self._pairs.get(at)
        if close is None or close - at > LABEL:
            held = not self._whole and close is None and len(text) - at <= LABEL
            return None if held else False
        after = close + 1
        if after == len(text):
            return False if self._whole else None
        if text[after] != "(":
            return False
        found = links.target(text, after)
        if found is None:
            may_come = not self._whole and len(text) - after < _DESTINATION
            return None if may_come and _HALF_TARGET.match(text, after) else False
        to, end = found
        written = text[at + 1 : close]
        if is_image:
            return links.image(written, to), end
        label = line(written, self._cell) if re.search(r"[!<$\[]", written) else written
        if label.startswith("[") and "](" in label:
            label = label[1 : label.index("](")]
        unchanged = text[at:end] if label == written else None
        return links.shown(label, to, written=unchanged, after=text[end : end + 300]), end
