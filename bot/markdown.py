"""Claude's Markdown → what Slack accepts: neutralise, close, cut, plain beginning. Pure functions.

Nothing here parses Markdown fully: a reply is cut and closed while it is still being written, so
the only structure that matters is the line, the paragraph and the code fence.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

WORD_JOINER: Final = "\u2060"
"""Invisible, without width; after `<` it keeps Slack from reading a control sequence."""

FALLBACK_BYTES: Final = 3_900
"""`chat.update` refuses a `text` of more than 4,000 UTF-8 bytes, also beside blocks."""

# What notifies somebody: docs.slack.dev/messaging/formatting-message-text. Everything else that
# begins with `<` (links, tags, `<!DOCTYPE`) reads as written and is left alone.
_LIVE = re.compile(r"<(?=!(?:channel|here|everyone|group)\b|!subteam\^|@[UWB][A-Z0-9])", re.I)

# A fence may stand in a quotation or in a list item, on the line of its marker.
_FENCE = re.compile(
    r"[ \t]*(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]+|>)*[ \t]*(?P<marker>`{3,}|~{3,})(?P<info>[^\n]*)"
)

_SENTENCE_END = re.compile(r"[.!?…]['\")\]]*\s|[。！？]")
_ZERO_WIDTH_JOINER: Final = "\u200d"


def neutralise(text: str) -> str:
    """`text` with every live control sequence made inert (design law 7)."""
    return _LIVE.sub("<" + WORD_JOINER, text)


def escape(text: str) -> str:
    """`text` for Slack's mrkdwn fields: `&`, `<`, `>` as entities, so that it reads as written."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def scrub(text: str) -> str:
    """`text` without lone surrogates, which neither Slack nor Claude can be sent."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def unescape(text: str) -> str:
    """The inverse of `escape`, for text that comes from Slack."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code fence: what its line says, and what closes it."""

    opening: str
    marker: str

    @property
    def indent(self) -> str:
        """What stands before the marker, a list's number as blanks."""
        lead = self.opening[: self.opening.index(self.marker)]
        return re.sub(r"[^\s>]", " ", lead)

    def closes_on(self, line: str) -> bool:
        text = line.lstrip(" \t>")
        return text.startswith(self.marker) and not text.strip().strip(self.marker[0])


def _next_fence(fence: Fence | None, line: str) -> Fence | None:
    """The fence that is open after `line`, given the one that was open before it."""
    if fence is not None:
        return None if fence.closes_on(line) else fence
    match = _FENCE.match(line)
    if match is None or (match["marker"][0] == "`" and "`" in match["info"]):
        return None
    return Fence(opening=line.rstrip()[:80], marker=match["marker"])


def open_fence(text: str) -> Fence | None:
    """The code fence that is still open at the end of `text`, if any."""
    fence = None
    for line in text.split("\n"):
        fence = _next_fence(fence, line)
    return fence


def close(text: str) -> str:
    """`text` that stands alone: an open code fence is closed."""
    fence = open_fence(text)
    if fence is None:
        return text
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{fence.indent}{fence.marker}"


def reopening(text: str) -> str:
    """What the next message must begin with when the one before ends with `text`."""
    fence = open_fence(text)
    if fence is None:
        return ""
    info = fence.opening[fence.opening.index(fence.marker) :]
    return f"{fence.indent}{info}\n"


def cut(text: str, limit: int, floor: int = 1) -> int:
    """Where to end a message: the best position in `text` between `floor` and `limit`, inclusive.

    A blank line outside code is best (in the upper half, so that messages are not small), then a
    line outside code, a line inside code, a sentence, a word. Only a text without any of these is
    cut between two characters, and never inside one that a person sees as one.
    """
    if len(text) <= limit:
        return len(text)
    best = _line_ends(text, limit, floor)
    for kind, least in (("blank", limit // 2), ("line", limit * 2 // 3), ("code", 0)):
        if best.get(kind, 0) >= max(floor, least, 1):
            return best[kind]
    return last_break(text, limit, floor)


def _line_ends(text: str, limit: int, floor: int) -> dict[str, int]:
    """The last position of each kind of line end that is not above `limit`."""
    best: dict[str, int] = {}
    fence: Fence | None = None
    position = 0
    while (end := text.find("\n", position)) != -1 and end + 1 <= limit:
        line = text[position:end]
        before, fence = fence, _next_fence(fence, line)
        position = end + 1
        if position < floor:
            continue
        if fence is None:
            best["line" if line.strip() else "blank"] = position
        elif before is not None:
            best["code"] = position
    return best


def last_break(text: str, limit: int, floor: int = 1) -> int:
    """The last line, sentence or word end in `text` from `floor` to `limit`; else a character."""
    nearest = max(floor, limit - 1_000, 1)
    line = text.rfind("\n", nearest - 1, limit) + 1
    if line >= nearest:
        return line
    sentences = [match.end() for match in _SENTENCE_END.finditer(text, nearest - 1, limit)]
    if sentences and sentences[-1] >= nearest:
        return sentences[-1]
    for position in range(limit, nearest - 1, -1):
        if text[position - 1].isspace():
            return position
    return _character_break(text, limit, max(floor, 1))


def _character_break(text: str, limit: int, floor: int) -> int:
    """The last position between two visible characters; `floor` if there is none."""
    for position in range(min(limit, len(text)), max(floor, limit - 64) - 1, -1):
        if position == len(text) or not _joins(text[position - 1], text[position]):
            return position
    return max(floor, min(limit, len(text)))


def _joins(left: str, right: str) -> bool:
    """Whether two code points belong to one visible character (accents, emoji sequences, flags)."""
    code = ord(right)
    return (
        right == _ZERO_WIDTH_JOINER
        or left == _ZERO_WIDTH_JOINER
        or unicodedata.combining(right) != 0
        or 0xFE00 <= code <= 0xFE0F  # variation selectors
        or 0x1F3FB <= code <= 0x1F3FF  # skin tones
        or (0x1F1E6 <= code <= 0x1F1FF and 0x1F1E6 <= ord(left) <= 0x1F1FF)  # flags
        or unicodedata.category(right) in ("Mn", "Me", "Mc")
    )


_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_MARKS = re.compile(r"^\s{0,3}(?:#{1,6}\s+|>\s?)|^\s*(?:```|~~~).*$|\*\*|__|~~|`", re.M)


def plain_beginning(text: str, max_bytes: int = FALLBACK_BYTES) -> str:
    """The beginning of `text` in plain words, escaped, for notifications and screen readers.

    At most `max_bytes` of UTF-8 after escaping; never ends inside an entity or a character.
    """
    head = text[: max_bytes + 500]
    words = " ".join(_MARKS.sub("", _LINK.sub(r"\1", head)).split())
    return escaped_beginning(words, max_bytes)


def escaped_beginning(text: str, max_bytes: int = FALLBACK_BYTES) -> str:
    """The beginning of `text`, escaped: at most `max_bytes` of UTF-8, then an ellipsis."""
    size = 0
    kept: list[str] = []
    for character in text[: max_bytes + 1]:
        piece = escape(character)
        size += len(piece.encode("utf-8", "replace"))
        if size > max_bytes - 3:
            kept.append("…")
            break
        kept.append(piece)
    return "".join(kept)
