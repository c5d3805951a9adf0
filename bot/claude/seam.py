"""Joins a resumed reply to the partial text before it.

Claude is asked to go on with the very next character, and mostly does. When it does not, it begins
the interrupted word, line or sentence anew, opens the code fence again, puts white space first, or
even begins the whole reply again; each of these is removed, and what is left is what it would have
written in one go. Text that repeats itself (tables, refrains, rows of equal values) must not be
taken for a repetition: it is left as it comes.
"""

from __future__ import annotations

from typing import Final

from bot import markdown

UNIQUE: Final = 100
"""Characters by which a place in the partial is known: text that has them twice repeats itself."""
FROM_THE_START: Final = 40
"""New text that begins with so much of the partial's beginning is the whole reply again."""
SURE: Final = 12
"""Characters of an overlap that is a repetition wherever it begins; a table row's cells are often
equal, so that they need more."""
SURE_IN_A_TABLE: Final = 30
SURE_OF_A_SENTENCE: Final = 8
DIFFERENT_LETTERS: Final = 5
WIDE: Final = 3
"""What a Chinese, Japanese or Korean character counts: about a syllable or a word."""


class Seam:
    """Takes the new text in pieces and gives back what is to be added to `partial`."""

    def __init__(self, partial: str) -> None:
        self._partial = partial
        self._fence = markdown.open_fence(partial)
        self._waiting = ""
        self._decided = False
        self.starts_over = False
        """The new text is another reply from the start, not the rest of this one."""

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
        if self._is_whole_reply(text):
            return not self._partial.startswith(text)
        if text not in self._partial and text.lstrip() not in self._partial:
            return True
        return len(text) >= UNIQUE and self._partial.count(text[:UNIQUE]) != 1

    def _decide(self) -> str:
        self._decided = True
        text = self._after_fence()
        if text is None:
            text = self._waiting
        if self._is_whole_reply(text):
            self.starts_over = not text.startswith(self._partial)
            return text if self.starts_over else text[len(self._partial) :]
        # White space may stand before what is repeated.
        for candidate in (text, text.lstrip()):
            if (length := _repeated(self._partial, candidate)) > 0:
                return candidate[length:]
        return self._without_doubled_space(text)

    def _is_whole_reply(self, text: str) -> bool:
        head = self._partial[:FROM_THE_START]
        return len(self._partial) > 2 * FROM_THE_START and text.startswith(head)

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
        """White space that ends the partial is not begun with again; inside code, and where it
        indents a line, it may be."""
        last_line = self._partial.rpartition("\n")[2]
        if self._fence is not None:
            return text
        if self._partial.endswith("\n\n"):
            return text.lstrip("\n")
        return text.lstrip(" ") if last_line.strip() and last_line.endswith(" ") else text


def _repeated(partial: str, text: str) -> int:
    """How many characters at the beginning of `text` repeat the end of `partial`."""
    for length in range(min(len(partial), len(text)), 0, -1):
        if partial.endswith(text[:length]) and _is_repetition(partial, text[:length]):
            return length
    return 0


def _is_repetition(partial: str, overlap: str) -> bool:
    """Whether an overlap is more than chance."""
    if _is_periodic(overlap):
        return False
    before = partial[: -len(overlap)]
    if overlap == partial.rpartition("\n")[2] and _is_a_beginning(overlap):
        return True
    begins_a_word = not (before[-1:].isalnum() or before[-1:] in ("'", "’", "_"))
    if begins_a_word and overlap.isalpha() and len(overlap) > 1:
        return True
    different = len({character for character in overlap if character.isalnum()})
    return (
        different >= DIFFERENT_LETTERS
        and _weight(overlap) >= _sure(before, overlap)
        and not before.endswith(overlap)  # a row that stands there twice may come again
    )


def _is_a_beginning(line: str) -> bool:
    """Whether an unfinished line, repeated from its start, is one: not "| ", not "--"."""
    return len(line) > 1 and "|" not in line and (line[0].isspace() or len(set(line)) > 1)


def _sure(before: str, overlap: str) -> int:
    """The weight that an overlap must have, by where it begins."""
    if "|" in overlap:
        return SURE_IN_A_TABLE
    begins_a_sentence = before.rstrip(" ")[-1:] in ("", "\n", ".", "!", "?", "。", "！", "？")
    return SURE_OF_A_SENTENCE if begins_a_sentence else SURE


def _weight(text: str) -> int:
    return sum(WIDE if character > "\u2e7f" else 1 for character in text)


def _is_periodic(text: str) -> bool:
    """Whether `text` is the same piece twice or more: then nobody can tell how often it stood."""
    return any(text[period:] == text[:-period] for period in range(1, len(text) // 2 + 1))
