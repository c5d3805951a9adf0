"""Characters that Slack's text fields need escaped, and what neither side can be sent."""

from __future__ import annotations

import re
from typing import Final

from bot.markdown.graphemes import joined

FALLBACK_BYTES: Final = 3_900
"""`chat.update` refuses a `text` of more than 4,000 UTF-8 bytes, also beside blocks."""

_HALF_ENTITY = re.compile(r"&[a-z]{0,3}$")


def escape(text: str) -> str:
    """`text` for Slack's mrkdwn fields: `&`, `<`, `>` as entities, so that it reads as written."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    """The inverse of `escape`, for text that comes from Slack."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def scrub(text: str) -> str:
    """`text` without lone surrogates, which neither Slack nor Claude can be sent."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def escaped_beginning(text: str, max_bytes: int = FALLBACK_BYTES) -> str:
    """The beginning of `text`, escaped: at most `max_bytes` of UTF-8, an ellipsis where it is cut.

    Never ends inside an entity or inside what a person sees as one character.
    """
    whole = escape(scrub(text[: max_bytes + 1]))
    encoded = whole.encode()
    if len(encoded) <= max_bytes:
        return whole
    kept = encoded[: max(0, max_bytes - 3)].decode("utf-8", "ignore")
    kept = _HALF_ENTITY.sub("", kept)
    while kept and joined(whole, len(kept)):
        kept = _HALF_ENTITY.sub("", kept[:-1])
    return f"{kept}…"
