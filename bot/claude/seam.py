"""Joins a resumed reply to the partial text before it.

Claude is asked to go on with the very next character, and mostly does. When it does not, it opens
the code fence again, begins the interrupted word, line or sentence anew, or puts white space
first; each of these is removed, and what is left is what it would have written in one go.
"""

from __future__ import annotations

from typing import Final

from bot import markdown

WINDOW: Final = 2_000
"""How far back a repetition may begin, and how much of the new text may wait for the decision."""
SURE: Final = 8
"""An overlap this long, of so many different letters, is a repetition wherever it begins."""
DIFFERENT_LETTERS: Final = 5
LEAST_LETTERS: Final = 2
"""Of a shorter one, when the partial ends within a word: "bro" and "brown"."""


class Seam:
    """Takes the new text in pieces and gives back what is to be added to `partial`."""

    def __init__(self, partial: str) -> None:
        self._tail = partial[-WINDOW:]
        self._fence = markdown.open_fence(partial)
        self._waiting = ""
        self._decided = False

    def add(self, delta: str) -> str:
        """What can be added for certain now that `delta` has come."""
        if self._decided:
            return delta
        self._waiting += delta
        return self._decide() if self._is_certain() else ""

    def rest(self) -> str:
        """What is left to add when the new text is complete."""
        return "" if self._decided else self._decide()

    def _is_certain(self) -> bool:
        """Whether more text cannot change the decision."""
        text = self._after_fence()
        if text is None or not text.strip():
            return False
        may_repeat = text in self._tail or text.lstrip() in self._tail
        return not may_repeat or len(text) >= WINDOW

    def _decide(self) -> str:
        self._decided = True
        text = self._after_fence()
        if text is None:
            text = self._waiting
        # White space may stand before what is repeated.
        for candidate in (text, text.lstrip()):
            if (length := _repeated(self._tail, candidate)) > 0:
                return candidate[length:]
        return self._without_doubled_space(text)

    def _after_fence(self) -> str | None:
        """The new text without a fence line that opens the open fence again; None if that is not
        clear yet. A bare fence line closes the block instead."""
        if self._fence is None:
            return self._waiting
        marker = self._fence.marker
        text = self._waiting.lstrip()
        if not text or (marker.startswith(text) and len(text) < len(marker)):
            return None
        if not text.startswith(marker):
            return self._waiting
        line, newline, rest = text.partition("\n")
        if not newline:
            return None
        opened = markdown.open_fence(line)
        return self._waiting if opened is None or opened.opening == marker else rest

    def _without_doubled_space(self, text: str) -> str:
        """White space that ends the partial is not begun with again; inside code it may be."""
        if self._fence is not None:
            return text
        if self._tail.endswith("\n\n"):
            return text.lstrip("\n")
        return text.lstrip(" ") if self._tail.endswith(" ") else text


def _repeated(tail: str, text: str) -> int:
    """How many characters at the beginning of `text` repeat the end of `tail`."""
    for length in range(min(len(tail), len(text)), 0, -1):
        if tail.endswith(text[:length]) and _is_repetition(tail, text, length):
            return length
    return 0


def _is_repetition(tail: str, text: str, length: int) -> bool:
    """Whether an overlap is more than chance, which also writes "None, None, " and "| - | - |"."""
    overlap = text[:length]
    if _is_periodic(overlap):
        return False
    different = len({character for character in overlap if character.isalnum()})
    if length >= SURE and different >= DIFFERENT_LETTERS:
        return True
    before = tail[-length - 1 : -length]
    begins_a_word = not (before.isalnum() or before in ("'", "’", "_"))
    letters = sum(1 for character in overlap if character.isalpha())
    return begins_a_word and overlap[-1].isalnum() and letters >= LEAST_LETTERS


def _is_periodic(text: str) -> bool:
    """Whether `text` is the same piece twice or more: then nobody can tell how often it stood."""
    return any(text[period:] == text[:-period] for period in range(1, len(text) // 2 + 1))
