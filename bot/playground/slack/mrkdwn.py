"""Slack's own text format: what Slack makes of the `text` of a message."""

from __future__ import annotations

import re

from .limits import SPLIT_PART

# What notifies people: docs.slack.dev/messaging/formatting-message-text
LIVE = re.compile(
    r"<(?:!(?:channel|here|everyone)(?:\|[^<>]*)?"
    r"|!subteam\^[A-Z0-9]+(?:\|[^<>]*)?"
    r"|@[UW][A-Z0-9]+(?:\|[^<>]*)?)>"
)
_CONTROL = re.compile(
    r"<(?:[@#][A-Z0-9]+|![a-z]+(?:\^[^<>|]*)*|(?:https?|mailto|tel|slack):[^<>|\s]+)(?:\|[^<>]*)?>"
)
_LOOSE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt);)")
_URL = re.compile(r"https?://[^\s<>|)\]\"'`]+")


def live_mentions(text: str) -> list[str]:
    """Every sequence in it that notifies somebody, wherever it stands, in code too."""
    return LIVE.findall(text) if "<" in text else []


def first_url(text: str) -> str | None:
    """The first link in it, or None."""
    found = _URL.search(text) if "://" in text else None
    return found.group() if found else None


def escaped(text: str) -> str:
    """`& < >` as entities, except where they are Slack's control sequences."""
    if not any(character in text for character in "&<>"):
        return text
    text = _LOOSE_AMPERSAND.sub("&amp;", text)
    parts: list[str] = []
    end = 0
    for found in _CONTROL.finditer(text):
        parts += [_entities(text[end : found.start()]), found.group()]
        end = found.end()
    return "".join([*parts, _entities(text[end:])])


def stored_text(text: str) -> str:
    """The `text` as Slack gives it back: escaped, with bare links in angle brackets."""
    text = escaped(text)
    if "://" not in text:
        return text
    parts: list[str] = []
    end = 0
    for found in _CONTROL.finditer(text):
        parts += [_URL.sub(r"<\g<0>>", text[end : found.start()]), found.group()]
        end = found.end()
    return "".join([*parts, _URL.sub(r"<\g<0>>", text[end:])])


def split(text: str, size: int = SPLIT_PART) -> list[str]:
    """The pieces into which Slack breaks a long text, preferably at lines or words."""
    parts: list[str] = []
    while len(text) > size:
        cut = max(text.rfind("\n", 1, size), 0) or max(text.rfind(" ", 1, size), 0) or size
        parts.append(text[:cut])
        text = text[cut:].lstrip("\n ") if cut < size else text[cut:]
    return [*parts, text] if text else parts


def _entities(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
