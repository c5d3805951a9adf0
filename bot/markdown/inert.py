"""Control sequences that would notify somebody, made inert (design law 7)."""

from __future__ import annotations

import html
import re
from typing import Final

WORD_JOINER: Final = "\u2060"
"""Invisible, without width; after `<` it keeps Slack from reading a control sequence."""

# What notifies somebody: docs.slack.dev/messaging/formatting-message-text. Everything else that
# begins with `<` (links, tags, `<!DOCTYPE`) reads as written and is left alone.
_LIVE = re.compile(r"!(?:channel|here|everyone|group)\b|!subteam\^|@[UWB][A-Z0-9]", re.I)
_FORMS: Final = ("!channel", "!here", "!everyone", "!group", "!subteam^", "@u", "@w", "@b")

# A `markdown` block decodes entities and backslash escapes, so `&lt;!here>` and `<\!here>` are
# `<!here>` once Slack has translated it.
_LESS_THAN = re.compile(r"(?:<|&lt;?|&#0*60;?|&#x0*3c;?)(?=[!@&\\])", re.I)
_BEGINNING = re.compile(r"<|&lt;?|&#0*60;?|&#x0*3c;?", re.I)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_LONGEST: Final = 80


def neutralise(text: str) -> str:
    """`text` with every live control sequence made inert, however it is spelt."""
    if "<" not in text and "&" not in text:
        return text
    return _LESS_THAN.sub(_joined_if_live, text)


def half_control(text: str) -> int:
    """Where a control sequence begins that the end of `text` may be half of; else its length."""
    for sign in _BEGINNING.finditer(text, max(0, len(text) - _LONGEST)):
        begun = _decoded(text[sign.end() :]).lower().removesuffix("\\")  # half of an escape
        if any(form.startswith(begun) for form in _FORMS):
            return _before_signs(text, sign.start())
    return len(text)


def _before_signs(text: str, end: int) -> int:
    """Where a row of less-than signs begins that ends at `end`."""
    while end:
        if text[end - 1] == "<":
            end -= 1
        elif text[max(0, end - 4) : end].lower() == "&lt;":
            end -= 4
        else:
            break
    return end


def _joined_if_live(found: re.Match[str]) -> str:
    after = found.string[found.end() : found.end() + _LONGEST]
    return found[0] + (WORD_JOINER if _LIVE.match(_decoded(after)) else "")


def _decoded(text: str) -> str:
    return _ESCAPED.sub(r"\1", html.unescape(text))
