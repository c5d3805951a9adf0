"""LaTeX, which Slack does not set: left as written, as code, so that nothing in it is a mark."""

from __future__ import annotations

import re
from typing import Final

from bot.markdown.reading import Reading

LONGEST: Final = 400
"""Of a formula within a line."""

_DOLLARS = re.compile(r"\$\$(?:[^$\\\n]|\\.){1,400}\$\$|\$(?:[^$\\\n`]|\\.){1,400}\$(?!\d)")
_ESCAPED = re.compile(r"\\.")
_SIGNS = re.compile(r"[\\^_{}=()|]")
_SUM = re.compile(r"[-+*/<>0-9]")
_MARKS = re.compile(r"[\\_*~<\[`]")
CLOSERS: Final = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_LONGEST_WORD: Final = 80


def dollars(text: str, position: int, whole: bool) -> Reading:
    """The formula at the `$` at `position`."""
    opening = 2 if text.startswith("$$", position) else 1
    inner = text[position + opening : position + opening + LONGEST]
    if not inner and not whole:
        return None
    if not _may_be_formula(inner, opening):
        return False
    found = _DOLLARS.match(text, position)
    if found is None:
        seen = _ESCAPED.sub("", inner)
        closed = "$" in (seen.removesuffix("$") if opening == 2 else seen)
        return None if not whole and not closed and len(inner) < LONGEST else False
    if found[0][-opening - 1].isspace():
        return False
    # A digit after it would say that it was a price.
    if found.end() == len(text) and not whole:
        return None
    content = found[0].strip("$")
    if opening == 1 and not (_SIGNS.search(content) or len(content) <= 2):
        return False
    return written(found[0]), found.end()


def bracketed(text: str, position: int, whole: bool) -> Reading:
    r"""The formula `\(…\)` or `\[…\]` at `position`."""
    closer = CLOSERS[text[position : position + 2]]
    end = text.find(closer, position + 2, position + 2 + LONGEST)
    if end == -1:
        return None if not whole and len(text) - position < LONGEST else False
    inner = text[position + 2 : end].strip()
    if inner.isdigit() or not (_SIGNS.search(inner) or len(inner) <= 3 or _SUM.search(inner)):
        return False
    return as_code(text[position : end + 2]), end + 2


def written(formula: str) -> str:
    """As code where Markdown would read something in it as a mark, else as it stands."""
    return as_code(formula) if _MARKS.search(formula) else formula


def as_code(text: str) -> str:
    """`text` as inline code, whatever backticks are in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest and (text[0] == "`" or text[-1] == "`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _may_be_formula(inner: str, opening: int) -> bool:
    """Whether what follows a `$` may be a formula: a price or a variable of the shell is none.

    The first word decides, so that a line with a `$` in it is not held back to its end."""
    if not inner or inner[0].isspace() or inner[0] == "$":
        return False
    if opening == 2:
        return True
    word, space, _ = inner.partition(" ")
    if not space:
        return len(word) <= _LONGEST_WORD or "$" in word
    return bool(_SIGNS.search(word)) or (len(word) <= 2 and word.isalpha()) or "$" in word
