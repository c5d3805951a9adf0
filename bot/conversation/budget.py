"""How much of a conversation goes along: an estimate of tokens, and where the beginning is cut."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from bot.blocks import CUT_HERE

LETTERS_PER_TOKEN: Final = 3.0
"""ASCII letters and spaces: English and most code have about 3.5 to 4."""
SIGNS_PER_TOKEN: Final = 1.5
"""ASCII digits, punctuation, line ends."""
OTHER_BYTES_PER_TOKEN: Final = 2.0
"""UTF-8 bytes of everything else. One token for each Cyrillic, Greek, Arabic or accented letter,
one and a half for each Chinese, Japanese or Korean character, two for each emoji."""
LINE_TOKENS: Final = 16
"""For the name and the time before a message, and the line end after it."""

_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123)) + b" "


def tokens(text: str) -> int:
    """About how many tokens `text` is, on the careful side.

    The tokenizers are not public and differ between models, so these are assumptions, not
    measurements: what is denser than they say (base64, rare scripts) is underestimated, and then
    Claude's refusal of a prompt that is too long is the backstop.
    """
    encoded = text.encode("utf-8", "replace")
    ascii_bytes = encoded if text.isascii() else text.encode("ascii", "ignore")
    signs = len(ascii_bytes.translate(None, _LETTERS))
    letters = len(ascii_bytes) - signs
    other = len(encoded) - len(ascii_bytes)
    return 1 + int(
        letters / LETTERS_PER_TOKEN + signs / SIGNS_PER_TOKEN + other / OTHER_BYTES_PER_TOKEN
    )


def shortened(text: str, most: int) -> str:
    """`text` if it is at most `most` tokens; else its beginning and its end."""
    size = tokens(text)
    if size <= most:
        return text
    kept = max(40, int(len(text) * most / size * 0.9))
    head = kept * 2 // 3
    return f"{text[:head]}{CUT_HERE}\n{text[len(text) - (kept - head) :]}"


def shortened_together(texts: Sequence[str], most: int) -> list[str]:
    """The `texts`, at most `most` tokens together: the long ones are shortened, to one length."""
    left = most
    for at, size in enumerate(sorted(map(tokens, texts))):
        share = left // (len(texts) - at)
        if size > share:
            return [shortened(text, share) for text in texts]
        left -= size
    return list(texts)


def end_of(text: str, most: int) -> str:
    """`text` if it is at most `most` tokens; else its end."""
    size = tokens(text)
    return text if size <= most else text[-max(40, int(len(text) * most / size * 0.9)) :]


def first_kept(
    sizes: Sequence[int], names: Sequence[str], most: int, *, is_part: bool = False
) -> int:
    """The index of the first message that goes along, when those from there on may have `most`
    tokens together.

    Not the first that fits: what is cut is cut down to something between half of `most` and all of
    it, at the message there whose name (its ts) has the lowest checksum. Which one that is changes
    only when it falls out of the budget or a lower one comes in, about twice while the thread grows
    by half the budget; so the request begins with the same words for many questions, and Claude's
    prompt cache holds. That needs no memory, and no count of what came before. Where the messages
    are themselves only a part, which begins elsewhere with every question, it is cut all the same.
    """
    if sum(sizes) <= (most // 2 if is_part else most):
        return 0
    first = half = len(sizes)
    size = 0
    while first and size + sizes[first - 1] <= most:
        first -= 1
        size += sizes[first]
        if size <= most // 2:
            half = first
    if first == len(sizes):
        return first
    return min(range(first, max(first + 1, half)), key=lambda at: zlib.crc32(names[at].encode()))
