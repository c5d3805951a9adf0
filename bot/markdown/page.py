"""One message's Markdown, line by line, as Slack's `markdown` block gets it.

The lines are read once from top to bottom, and a line is given out only when nothing that may
follow can change it. So the page of half a text is a beginning of the page of the whole one, up to
the closers, which are kept apart. (The one exception: columns of a table that is shown as text
grow wider.)
"""

from __future__ import annotations

import re
from typing import Final

from bot.markdown import fences, headings, healing, inline, latex, lists, tables

_HELD_LINES: Final = 60
"""Of a formula or comment that is not closed: after so many it is text."""

_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)")
_UNDERLINE = re.compile(r"[ \t]*(?:-+|=+)[ \t]*\Z")
_FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,40})\]:[ \t]*")
_DEFINITION = re.compile(r"\[[^\]\[]+\]:")


class Page:
    """Claude's Markdown, read once, line by line, and written as Slack shows it: the whole text, or
    of a growing one as much as stays."""

    def __init__(self, text: str, *, growing: bool, patient: bool = False) -> None:
        """With `patient`, a table that is shown as text is held back until all of it is there."""
        self._lines = text.split("\n")
        self._growing = growing
        self._patient = patient
        self._at = 0
        self._out: list[str] = []
        self._fence: fences.Fence | None = None
        self._opening: str | None = None
        """The line of an open fence, held back until there is code."""
        self._shift = 0
        self._lists = lists.Lists()
        self._has_table = False
        self._needs_gap = False
        self._table_closer = ""
        self._dropped = False
        """The line before held only what is not shown."""
        self._block = 0
        """Where in `_out` the current paragraph begins."""
        self._in_text = False
        while self._at < len(self._lines) and self._step():
            pass

    @property
    def body(self) -> str:
        """Everything that stays as it is, whatever follows."""
        held = [self._opening] if self._opening is not None and not self._growing else []
        body = "\n".join([*self._out, *held])
        return body.rstrip() if self._growing else body

    @property
    def closers(self) -> str:
        """What makes the body stand alone, moved by the next rendering."""
        if self._table_closer:
            return f"\n{self._table_closer}"
        if self._fence is not None and (self._opening is None or not self._growing):
            body = self.body
            closer = f"{lists.moved(self._fence.indent, self._shift)}{self._fence.marker}"
            return closer if body.endswith("\n") else f"\n{closer}"
        if self._growing and self._in_text:
            block = "\n".join(self._out[self._block :]).rstrip()
            return healing.closers(block, is_half=self._at == len(self._lines))
        return ""

    def _is_partial(self, at: int) -> bool:
        return self._growing and at == len(self._lines) - 1

    def _step(self) -> bool:
        """Read on; False if what comes next cannot be given out yet."""
        line, partial = self._lines[self._at], self._is_partial(self._at)
        if self._fence is not None:
            return self._code(line, partial)
        if not line.strip():
            return not partial and self._blank()
        if partial and (fences.may_open(line) or healing.is_half_marker(line)):
            return False
        if not partial and (fence := fences.next_fence(None, line)) is not None:
            return self._open(line, fence)
        return self._table(line, partial) if "|" in line else self._several(line, partial)

    # --- code ---

    def _open(self, line: str, fence: fences.Fence) -> bool:
        quote = lists.QUOTE.match(line)
        self._shift = 0 if quote else self._lists.place(line).shift
        self._gap()
        self._opening = lists.moved(line, self._shift)
        self._fence = fence
        self._in_text = False
        self._at += 1
        return True

    def _code(self, line: str, partial: bool) -> bool:
        fence = self._fence
        assert fence is not None
        if partial:
            shown = healing.certain_code(line)
            if fence.may_close_on(line) or not shown.strip():
                return False
            line = shown
        if self._opening is not None:
            self._out.append(self._opening)
            self._opening = None
        self._out.append(lists.moved(line, self._shift))
        if not partial and fence.closes_on(line):
            self._fence = None
            self._shift = 0
        self._at += 1
        return True

    # --- text ---

    def _blank(self) -> bool:
        self._lists.blank()
        if not (self._dropped and (not self._out or not self._out[-1])):
            self._out.append("")
        self._in_text = self._needs_gap = self._dropped = False
        self._at += 1
        return True

    def _gap(self) -> None:
        """An empty line, where the block above would swallow what follows."""
        if self._needs_gap:
            self._out.append("")
        self._needs_gap = False

    def _several(self, line: str, partial: bool) -> bool:
        """A formula or a comment that goes over lines; anything else is one line."""
        words = lists.unquoted(line).lstrip()
        marker = lists.MARKER.match(words)
        words = words[marker.end() :] if marker else words
        opener = words[:2]
        if opener in ("$$", "\\[") and latex.CLOSERS[opener] not in words[2:]:
            return self._formula(line, partial, latex.CLOSERS[opener])
        if words.startswith("<!--") and "-->" not in words:
            return self._comment(line, partial)
        return self._text(line, partial)

    def _end(self, closer: str) -> int | None:
        """The line that holds `closer`; -1 if it may still come, None if there is none."""
        last = min(len(self._lines), self._at + _HELD_LINES)
        for at in range(self._at + 1, last):
            if closer in self._lines[at] and not self._is_partial(at):
                return at
        return -1 if self._growing and last == len(self._lines) else None

    def _formula(self, line: str, partial: bool, closer: str) -> bool:
        end = self._end(closer)
        if end is None or end < 0:
            return False if end is not None else self._text(line, partial)
        quote = lists.QUOTE.match(line)
        place = None if quote else self._lists.place(line)
        lead = quote[0] if quote else place.lead if place else ""
        rest = quote[0] if quote else " " * len(lead)
        first = line[len(lead) :] if quote else place.content if place else ""
        shift = place.shift if place else 0
        self._gap()
        self._out += [f"{lead}```", f"{rest}{first}"]
        self._out += [lists.moved(below, shift) for below in self._lines[self._at + 1 : end + 1]]
        self._out.append(f"{rest}```")
        self._in_text = False
        self._at = end + 1
        return True

    def _comment(self, line: str, partial: bool) -> bool:
        end = self._end("-->")
        if end is None or end < 0:
            return False if end is not None else self._text(line, partial)
        self._at = end
        rest = self._lines[end].partition("-->")[2]
        if not rest.strip():
            self._at += 1
            self._dropped = True
            return True
        self._lines[end] = rest
        return self._text(rest, False)

    def _text(self, line: str, partial: bool) -> bool:
        quote = lists.QUOTE.match(line)
        is_new = not self._in_text
        if quote:
            lead, content = quote[0], line[quote.end() :]
            if marker := lists.MARKER.match(content):
                lead, content = lead + marker[0], content[marker.end() :]
                is_new = True
            rest = quote[0]
        else:
            if self._in_text and not partial and _UNDERLINE.match(line):
                return self._underline(line)
            place = self._lists.place(line)
            if place.is_code:
                return self._emit(place.lead + place.content, is_new=True, is_text=False)
            lead, content, rest = place.lead, place.content, " " * len(place.lead)
            is_new = is_new or place.is_item
        if partial and (healing.is_half_marker(content) or content[:1] == "|"):
            return False
        if heading := _HEADING.match(content):
            return self._heading(lead + heading[0], content[heading.end() :], partial)
        if note := _FOOTNOTE.match(content):
            content = f"[{note[1]}] {content[note.end() :]}"
        elif _DEFINITION.match(content):
            content = f"\\{content}"
        shown = _words(content, partial)
        if not shown:
            return not partial and self._empty(lead.rstrip(), content, is_new)
        return self._emit(lead + shown.replace("\n", f"\n{rest}"), is_new=is_new)

    def _empty(self, lead: str, content: str, is_new: bool) -> bool:
        """A line without words: the marker of an item or quotation, or tags that say nothing."""
        if lead or not content:
            return self._emit(lead, is_new=is_new)
        self._dropped = True
        self._at += 1
        return True

    def _emit(self, line: str, *, is_new: bool, is_text: bool = True) -> bool:
        self._gap()
        if is_new:
            self._block = len(self._out)
        self._out.append(line)
        self._in_text = is_text
        self._at += 1
        return True

    def _underline(self, line: str) -> bool:
        """Dashes below a text are meant as a divider, not to make a heading of it."""
        text = line.strip()
        if text.startswith("-") and len(text) >= 3:
            return self._emit(f"\n{text}", is_new=True, is_text=False)
        return self._emit(f"\\{text}", is_new=False)

    def _heading(self, lead: str, content: str, partial: bool) -> bool:
        """A heading that is too long for Slack's header goes on below it in bold."""
        shown = _words(content, partial)
        if not shown:
            return not partial and self._emit(lead.rstrip(), is_new=True, is_text=False)
        above, below = headings.halves(headings.sure(shown) if partial else shown)
        self._emit(f"{lead}{above}", is_new=True)
        if below:
            below = below.replace("**", "")
            self._out.append(f"**{below}" if partial else f"**{below}**")
            self._block = len(self._out) - 1
        self._in_text = partial
        return True

    # --- tables ---

    def _table(self, line: str, partial: bool) -> bool:
        """A table from its header on, as far as its rows are there; else the line is text."""
        quote = lists.QUOTE.match(line)
        lead = quote[0] if quote else ""
        header = line[len(lead) :]
        below = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else None
        may_come = partial or (
            below is not None
            and self._is_partial(self._at + 1)
            and tables.may_be_separator(lists.unquoted(below))
        )
        if may_come:
            before = header.partition("|")[0]
            if before.strip():
                self._text(lead + before, True)
            return False
        if below is None or not tables.begins(header, _within(below, lead)):
            return self._several(line, partial)
        if lists.MARKER.match(header):
            return self._text(line, partial)
        return self._rows(lead, header, _within(below, lead).strip())

    def _rows(self, quote: str, header: str, separator: str) -> bool:
        first = end = self._at + 2
        while end < len(self._lines) and not self._is_partial(end):
            if not tables.is_row(_within(self._lines[end], quote), header):
                break
            end += 1
        rows = [_within(line, quote).strip() for line in self._lines[first:end]]
        place = self._lists.place(header)
        indent = quote or " " * len(place.lead)
        columns = len(tables.cells(header))
        rest = rows
        head = [header.strip(), separator]
        if not quote and not place.depth and not self._has_table and columns <= tables.COLUMNS:
            rest = self._native(head, rows, columns)
        self._at = end
        goes_on = self._is_partial(end) and tables.may_be_row(
            _within(self._lines[end], quote), header
        )
        if (rest is rows or rest) and not (goes_on and self._patient):
            self._as_text(indent, head, rest, goes_on)
        self._in_text = False
        return not goes_on

    def _native(self, head: list[str], rows: list[str], columns: int) -> list[str]:
        """The table as Slack shows tables, as far as it may; the rows that are too many."""
        self._has_table = True
        size, fitting = len(head[0]), 0
        for row in rows[: tables.ROWS - 1]:
            size += len(row)
            if size > tables.CELLS_CHARACTERS:
                break
            fitting += 1
        self._needs_gap |= bool(self._out and self._out[-1].strip() and head[0].startswith("|"))
        self._gap()
        self._out += [inline.line(head[0], head[0].startswith("|")), head[1]]
        self._out += [inline.line(tables.fitted(row, columns), True) for row in rows[:fitting]]
        self._needs_gap = True
        return rows[fitting:]

    def _as_text(self, indent: str, head: list[str], rows: list[str], goes_on: bool) -> None:
        self._gap()
        text = tables.aligned([inline.line(row, True) for row in [*head, *rows]])
        if not head[0].startswith("|"):  # its beginning may be shown already
            self._out.append(indent + inline.line(head[0]))
            text = text[2:]
        self._out += [f"{indent}```", *(indent + line for line in text)]
        if goes_on:
            self._table_closer = f"{indent}```"
        else:
            self._out.append(f"{indent}```")


def _words(content: str, partial: bool) -> str:
    if not partial:
        return inline.line(content)
    return healing.certain(inline.beginning(content))


def _within(line: str, quote: str) -> str:
    return lists.unquoted(line) if quote else line
