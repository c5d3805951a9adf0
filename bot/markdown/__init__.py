"""Claude's Markdown → what Slack accepts: rendered, healed, cut, plain. Pure functions.

`render` makes one message's part of the text into what a `markdown` block gets; `cut` says where
that part ends, `continuation` what the next one begins with. Text is read once, forwards: a
character that was shown stays shown (design law 4), and the cost is linear in the length.
"""

from __future__ import annotations

from bot.markdown.committing import committable, committed
from bot.markdown.cutting import cut, last_break
from bot.markdown.escaping import FALLBACK_BYTES, escape, escaped_beginning, scrub, unescape
from bot.markdown.fences import Fence, close, open_fence, reopening
from bot.markdown.inert import WORD_JOINER, neutralise
from bot.markdown.plain import plain_beginning
from bot.markdown.rendering import continuation, render, render_apart

__all__ = [
    "FALLBACK_BYTES",
    "WORD_JOINER",
    "Fence",
    "close",
    "committable",
    "committed",
    "continuation",
    "cut",
    "escape",
    "escaped_beginning",
    "last_break",
    "neutralise",
    "open_fence",
    "plain_beginning",
    "render",
    "render_apart",
    "reopening",
    "scrub",
    "unescape",
]
