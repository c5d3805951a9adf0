"""One message's part of Claude's Markdown → what Slack's `markdown` block gets."""

from __future__ import annotations

from bot.markdown import fences, inert, tables
from bot.markdown.page import Page


def render(text: str, *, prefix: str = "", growing: bool = False) -> str:
    """`prefix` (what the message before left open) and `text` as Slack shows them well.

    Inert (design law 7), fences closed; while `growing` also healed: what is half-written at the
    end is closed or held back, so that nothing flashes and nothing disappears (law 4).
    """
    body, closers = render_apart(text, prefix=prefix, growing=growing)
    return body + closers


def render_apart(
    text: str, *, prefix: str = "", growing: bool = False, patient: bool = False
) -> tuple[str, str]:
    """What stays whatever follows, and the closers that the next rendering moves. Only the columns
    of a table that is shown as text may grow wider, unless `patient` holds it back meanwhile."""
    if not text.strip():
        return "", ""
    page = Page(_begun(prefix, text), growing=growing, patient=patient)
    body = inert.neutralise(page.body)
    return (body, page.closers) if body.strip() else ("", "")


def continuation(text: str) -> str:
    """What the next message must begin with when the one before ends with `text` (as sent: its
    own prefix and its text): an open fence's line, or the header of a table that may go on.

    A list needs nothing: its items keep their numbers, and `render` moves what a message begins
    with to the left.
    """
    if fences.open_fence(text) is not None:
        return fences.reopening(text)
    if not text.endswith("\n") or not text[:-1].rpartition("\n")[2].strip():
        return ""
    return _table_head(text[:-1].split("\n"))


def _table_head(lines: list[str]) -> str:
    """The header and separator of the table that the last of `lines` belongs to."""
    for at in range(len(lines) - 1, 0, -1):
        if tables.begins(lines[at - 1], lines[at]):
            rows = lines[at + 1 :]
            is_table = all(tables.is_row(row, lines[at - 1]) for row in rows)
            return f"{lines[at - 1]}\n{lines[at]}\n" if is_table else ""
        if not lines[at].strip() or "|" not in lines[at]:
            return ""
    return ""


def _begun(prefix: str, text: str) -> str:
    """`prefix` and `text`, without a fence that `text` closes at once or a table without rows."""
    if not prefix:
        return text
    first, newline, rest = text.partition("\n")
    fence = fences.open_fence(prefix)
    if fence is not None:
        bare = text.lstrip("\n")
        first, newline, rest = bare.partition("\n")
        return rest if fence.closes_on(first) and bare else prefix + text
    header = prefix.partition("\n")[0]
    may_be_row = not newline and not first.strip()
    return prefix + text if may_be_row or tables.is_row(first, header) else text
