"""Code fences: which one is open, what closes it, what opens it again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# A fence may stand in a quotation or in a list item, on the line of its marker.
_FENCE = re.compile(
    r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]*)*(?P<marker>`{3,}|~{3,})(?P<info>[^\n]*)"
)
_HALF_FENCE = re.compile(
    r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]*)*(?:`{1,2}|~{1,2}|`{3,}[^`]*|~{3,}.*)\Z"
)
_OPENING_CHARACTERS: Final = 80


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
        """As CommonMark has it: not further in than three columns, and in a quotation only where
        the opening stands in one."""
        text = line.lstrip(" \t>" if ">" in self.indent else " \t")
        further = len(line) - len(text) - len(self.indent)
        return (
            further <= 3 and text.startswith(self.marker) and not text.strip().strip(self.marker[0])
        )

    def may_close_on(self, line: str) -> bool:
        """Whether `line`, half-written, may become the one that closes the fence."""
        return not line.strip(" \t>").strip(self.marker[0])


def next_fence(fence: Fence | None, line: str) -> Fence | None:
    """The fence that is open after `line`, given the one that was open before it."""
    if fence is not None:
        return None if fence.closes_on(line) else fence
    if "```" not in line and "~~~" not in line:
        return None
    match = _FENCE.match(line)
    if match is None or (match["marker"][0] == "`" and "`" in match["info"]):
        return None
    kept = max(_OPENING_CHARACTERS, match.end("marker"))
    return Fence(opening=line.rstrip()[:kept], marker=match["marker"])


def may_open(line: str) -> bool:
    """Whether `line`, half-written, may become one that opens a fence."""
    return _HALF_FENCE.match(line) is not None


def open_fence(text: str) -> Fence | None:
    """The code fence that is still open at the end of `text`, if any."""
    if "```" not in text and "~~~" not in text:
        return None
    fence = None
    for line in text.split("\n"):
        fence = next_fence(fence, line)
    return fence


def close(text: str) -> str:
    """`text` that stands alone: an open code fence is closed."""
    fence = open_fence(text)
    if fence is None:
        return text
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{fence.indent}{fence.marker}"


def reopening(text: str) -> str:
    """The line that opens the fence again that is open at the end of `text`."""
    fence = open_fence(text)
    if fence is None:
        return ""
    info = fence.opening[fence.opening.index(fence.marker) :]
    return f"{fence.indent}{info}\n"
