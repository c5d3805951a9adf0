"""HTML in Claude's Markdown, which Slack does not read: as Markdown, or left as written."""

from __future__ import annotations

import html
import re
from typing import Final

from bot.markdown import latex, links
from bot.markdown.reading import Reading

LONGEST: Final = 1_000
"""Of a tag with its attributes, and of what is turned over as one piece."""

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<attributes>\s[^<>]*)?/?>")
_HALF_TAG = re.compile(r"</?(?P<name>[A-Za-z][A-Za-z0-9]*)?(?P<rest>[\s/][^<>]*)?\Z")
_AUTOLINK = re.compile(r"<(?P<to>(?:https?://|mailto:)[^\s<>|]+)(?:\|(?P<label>[^<>\n]+))?>", re.I)
_HALF_AUTOLINK = re.compile(
    r"<(?:h|ht|htt|https?|https?:[^\s<>]*(?:\|[^<>]*)?|m|mai?|mailt?o?|mailto:\S*)\Z", re.I
)
_ATTRIBUTE = re.compile(r"""(href|src|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.I)

MARKS: Final = {
    **dict.fromkeys(("b", "strong"), "**"),
    **dict.fromkeys(("i", "em"), "*"),
    **dict.fromkeys(("s", "del", "strike"), "~~"),
    **dict.fromkeys(("u", "ins", "mark", "small", "big", "span", "font", "abbr", "cite"), ""),
}
_PIECES: Final = frozenset(("code", "kbd", "samp", "tt", "sup", "sub", "a"))
_SINGLE: Final = frozenset(("br", "hr", "img", "wbr"))
# Of the page's structure: only where a line begins with it; in a sentence they are words.
_STRUCTURE: Final = {
    **dict.fromkeys(("summary", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "caption"), "**"),
    **dict.fromkeys(("p", "div", "center", "section", "article", "details", "blockquote"), ""),
    **dict.fromkeys(("ul", "ol", "li", "dl", "dd", "figure", "figcaption", "picture"), ""),
    **dict.fromkeys(("table", "thead", "tbody", "tfoot", "tr", "th", "td"), ""),
}
_KNOWN: Final = frozenset({*MARKS, *_PIECES, *_SINGLE, *_STRUCTURE})
_RAISED = str.maketrans("0123456789+-=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ")
_LOWERED = str.maketrans("0123456789+-=()aeox", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓ")


class Line:
    """The HTML of one line: what is open, and whether the line is made of tags."""

    def __init__(self, *, cell: bool = False) -> None:
        self.opened: list[str] = []
        self.is_structure = False
        self._break = " · " if cell else "\n"

    def closers(self) -> str:
        return "".join(mark for mark in reversed(self.opened) if mark)

    def turn(self, text: str, at: int, whole: bool, out: str) -> Reading:
        """The tag, comment or link at `at`, where `out` stands before it."""
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
            if end == -1:
                return None if not whole and len(text) - at < LONGEST else False
            return "", end + 3
        if (found := _AUTOLINK.match(text, at)) is not None:
            return _autolink(found), found.end()
        tag = _TAG.match(text, at, at + LONGEST)
        if tag is None:
            return None if not whole and _is_half(text[at : at + LONGEST]) else False
        name = tag["name"].lower()
        if name not in _KNOWN or (len(name) == 1 and not tag["end"] and _is_generic(text, at)):
            return False
        if name in _PIECES:
            return _piece(text, tag, name, whole)
        if name in _SINGLE:
            return self._single(tag, name, out)
        if name in MARKS:
            return self._mark(text, tag, MARKS[name], whole, out)
        return self._structure(tag, name, out)

    def _single(self, tag: re.Match[str], name: str, out: str) -> Reading:
        if name == "img":
            known = _attributes(tag)
            return links.image(known.get("alt", ""), known.get("src", "")), tag.end()
        if name == "hr":
            return False if out.strip() else ("---", tag.end())
        return ("" if name == "wbr" else self._break), tag.end()

    def _mark(self, text: str, tag: re.Match[str], mark: str, whole: bool, out: str) -> Reading:
        if tag["end"]:
            if mark not in self.opened:
                return False
            self.opened.reverse()
            self.opened.remove(mark)
            self.opened.reverse()
            return mark, tag.end()
        if tag.end() == len(text):
            return False if whole else None
        if text[tag.end()].isspace():
            return False
        self.opened.append(mark)
        return mark, tag.end()

    def _structure(self, tag: re.Match[str], name: str, out: str) -> Reading:
        mark = _STRUCTURE[name]
        if not self.is_structure:
            if out.strip():
                return False
            self.is_structure = True
        begun = bool(out.rpartition("\n")[2].strip())
        if tag["end"]:
            if mark in self.opened and mark:
                self.opened.remove(mark)
                return f"{mark}\n", tag.end()
            return "", tag.end()
        if name in ("td", "th"):
            return (" | " if begun else ""), tag.end()
        if mark:
            self.opened.append(mark)
        bullet = "- " if name == "li" else "> " if name == "blockquote" else ""
        return ("\n" if begun else "") + bullet + mark, tag.end()


def _piece(text: str, tag: re.Match[str], name: str, whole: bool) -> Reading:
    """What is turned over together with what it holds: code, raised and lowered text, links."""
    if tag["end"]:
        return False
    end = re.compile(rf"</{name}\s*>", re.I).search(text, tag.end(), tag.end() + LONGEST)
    if end is None:
        return None if not whole and len(text) - tag.end() < LONGEST else False
    inner = text[tag.end() : end.start()]
    if name == "a":
        plain = re.sub(r"<[^<>]*>", "", inner)
        return links.shown(plain, _attributes(tag).get("href", "")), end.end()
    if name in ("sup", "sub"):
        small = inner.strip().translate(_RAISED if name == "sup" else _LOWERED)
        sign = "^" if name == "sup" else "_"
        if not re.search(r"[A-Za-z0-9+\-=]", small) or not small:
            return small, end.end()
        return (f"{sign}{inner}" if inner.isalnum() else f"{sign}({inner})"), end.end()
    return (latex.as_code(html.unescape(inner)) if inner else ""), end.end()


def _autolink(found: re.Match[str]) -> str:
    return links.shown(found["label"], found["to"]) if found["label"] else found[0]


def _attributes(tag: re.Match[str]) -> dict[str, str]:
    found = _ATTRIBUTE.findall(tag["attributes"] or "")
    return {name.lower(): html.unescape(a or b or c).strip() for name, a, b, c in found}


def _is_half(text: str) -> bool:
    """Whether the end of the text is within what may become a tag, a comment or a link."""
    if "<!--".startswith(text) or _HALF_AUTOLINK.match(text):
        return True
    found = _HALF_TAG.match(text)
    if found is None or len(text) >= LONGEST:
        return False
    name = (found["name"] or "").lower()
    return name in _KNOWN if found["rest"] else any(known.startswith(name) for known in _KNOWN)


def _is_generic(text: str, at: int) -> bool:
    """Whether `<b>` is a type's argument, as in `List<b>`."""
    return at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_`")
