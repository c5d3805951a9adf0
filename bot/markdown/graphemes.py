"""What a person sees as one character, of any script (Unicode Standard Annex 29)."""

from __future__ import annotations

import unicodedata
from typing import Final

_ZERO_WIDTH_JOINER: Final = "\u200d"
# Viramas bind the consonant that follows into one visible cluster (UAX 29, rule GB9c).
_VIRAMAS: Final = frozenset("\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u1039\u17d2")
# Thai and Lao vowels: written before the consonant they belong to, or spacing after it.
_VOWELS_BEFORE: Final = frozenset("เแโใไເແໂໃໄ")
_VOWELS_AFTER: Final = frozenset("ะาำໍະາຳ")


def joined(text: str, position: int) -> bool:
    """Whether a cut at `position` would go through one visible character."""
    if not 0 < position < len(text):
        return False
    left, right = text[position - 1], text[position]
    if left < "\x80" and right < "\x80":
        return left == "\r" and right == "\n"
    if _is_flag_half(left) and _is_flag_half(right):
        return _flag_halves_before(text, position) % 2 == 1
    return _extends(left, right) or _is_syllable(left, right)


def _extends(left: str, right: str) -> bool:
    """Accents, variation selectors, skin tones, keycaps, tags, joiners, vowels, surrogates."""
    code = ord(right)
    return (
        unicodedata.category(right) in ("Mn", "Me", "Mc")
        or right in (_ZERO_WIDTH_JOINER, "\u200c")
        or left == _ZERO_WIDTH_JOINER
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE007F
        or (left in _VIRAMAS and right.isalpha())
        or left in _VOWELS_BEFORE
        or right in _VOWELS_AFTER
        or (0xD800 <= ord(left) <= 0xDBFF and 0xDC00 <= code <= 0xDFFF)
    )


def _is_syllable(left: str, right: str) -> bool:
    """Hangul letters (conjoining jamo) of one syllable: rules GB6 to GB8."""
    first, second = _hangul(left), _hangul(right)
    return (
        (first == "L" and second in ("L", "V", "LV", "LVT"))
        or (first in ("V", "LV") and second in ("V", "T"))
        or (first in ("T", "LVT") and second == "T")
    )


def _hangul(character: str) -> str:
    code = ord(character)
    if 0x1100 <= code <= 0x115F:
        return "L"
    if 0x1160 <= code <= 0x11A7:
        return "V"
    if 0x11A8 <= code <= 0x11FF:
        return "T"
    if 0xAC00 <= code <= 0xD7A3:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    return ""


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_halves_before(text: str, position: int) -> int:
    start = position
    while start > max(0, position - 200) and _is_flag_half(text[start - 1]):
        start -= 1
    return position - start
