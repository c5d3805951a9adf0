"""Tables: what is one, what Slack's table block takes, and the others as aligned text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

ROWS: Final = 100
COLUMNS: Final = 20
CELLS_CHARACTERS: Final = 9_500
"""A table block takes 100 rows of 20 cells and 10,000 characters in all, and a message takes one
table: docs.slack.dev/reference/block-kit/blocks/table-block."""

PADDING: Final = 1_500
"""Blanks that align one table, at most: so much may a message grow when a wide cell arrives."""
_WIDTHS: Final = (40, 24, 16, 12, 8, 4, 0)

_SEPARATOR = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
_HALF_SEPARATOR = re.compile(r"[|:\- \t]*")
_CODE_OR_PIPE = re.compile(r"\\.|(`+)(?!`)[^`]*(?:(?!\1)`+[^`]*)*?(?<!`)\1(?!`)|\|")
_BARE_PIPE = re.compile(r"(?<!\\)\|")
_PIPE = re.compile(r"\\.|\|")
_LINK = re.compile(r"!?\[([^\]]*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\))?[^\s()<>]*)>?[^)]*\)")
_MARKS = re.compile(r"\*\*|~~|(?<![\w*])[*_](?=\S)|(?<=\S)[*_](?![\w*])|`+|\\(?=[!-/:-@\[-`{-~])")


def is_separator(line: str) -> bool:
    """Whether `line` stands between a header and its rows."""
    text = line.strip()
    return "-" in text and _SEPARATOR.fullmatch(text) is not None


def may_be_separator(line: str) -> bool:
    """Whether `line`, half-written, may become one."""
    return _HALF_SEPARATOR.fullmatch(line) is not None


def begins(header: str, separator: str) -> bool:
    """Whether two lines begin a table (github.github.com/gfm/#tables-extension-)."""
    if "|" not in header or not is_separator(separator):
        return False
    return len(cells(header)) == len(_split(separator, _PIPE))


def is_row(line: str, header: str) -> bool:
    """Whether a line below a table goes on with it. Without a pipe at its begin, one within."""
    text = line.lstrip()
    return text.startswith("|") if header.lstrip().startswith("|") else "|" in text


def may_be_row(line: str, header: str) -> bool:
    """The same of a line that is half-written."""
    text = line.strip()
    return not text or text.startswith("|") or not header.lstrip().startswith("|")


@lru_cache(maxsize=4_096)
def cells(row: str) -> tuple[str, ...]:
    """The cells of a row; a pipe in inline code is none between cells."""
    return _split(row, _CODE_OR_PIPE)


def fitted(row: str, columns: int) -> str:
    """`row` with no cell too many, since Slack would drop those: they join the last one."""
    found = cells(row)
    if len(found) <= columns and len(_split(row, _PIPE)) <= columns:
        return row
    kept = [*found[: columns - 1], " | ".join(found[columns - 1 :])]
    escaped = [_BARE_PIPE.sub(r"\\|", cell) for cell in kept]
    return f"| {' | '.join(escaped)} |"


def aligned(rows: Sequence[str], separator: int = 1) -> list[str]:
    """Rows as text in columns. The row that separates the header is short in every width."""
    table = [[_plain(cell) for cell in cells(row)] for row in rows]
    if len(table) > separator:
        table[separator] = ["---"] * len(table[0])
    widths = _fitting(table)
    lines = []
    for row in table:
        padded = [
            f"{cell}{' ' * max(0, widths[column] - _width(cell))}"
            for column, cell in enumerate(row)
        ]
        lines.append(" | ".join(padded).rstrip())
    return lines


def _split(row: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    text = row.strip().removeprefix("|")
    found: list[str] = []
    start = 0
    for pipe in pattern.finditer(text):
        if pipe[0] == "|":
            found.append(text[start : pipe.start()].strip())
            start = pipe.end()
    if text[start:].strip() or not found:
        found.append(text[start:].strip())
    return tuple(found)


@lru_cache(maxsize=4_096)
def _plain(cell: str) -> str:
    """A cell without marks, which would read as such in a code fence; a link shows its target."""
    text = _LINK.sub(_link, cell.replace("\\|", "|"))
    return _MARKS.sub("", text)


def _link(found: re.Match[str]) -> str:
    label, to = found[1], found[2]
    return label if not to or label == to else f"{label} ({to})"


def _fitting(table: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns: as wide as their cells, as far as the padding allows."""
    sizes = [[_width(cell) for cell in row] for row in table]
    columns = max(map(len, sizes))
    for limit in _WIDTHS:
        widths = [
            max((row[at] for row in sizes if at < len(row) and row[at] <= limit), default=0)
            for at in range(columns)
        ]
        padding = sum(max(0, widths[at] - size) for row in sizes for at, size in enumerate(row))
        if padding <= PADDING:
            return widths
    return [0] * columns


def _width(text: str) -> int:
    """Columns on a screen: those of East Asian characters are two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
