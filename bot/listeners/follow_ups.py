"""Messages that may follow up on a reply without mentioning the bot, by what they say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from bot import markdown

CHANNELS: Final = ("channel", "group", "mpim")
SAYING: Final = (None, "file_share")
"""Not "thread_broadcast", which speaks to the channel, nor "me_message"."""

_SOMEBODY = re.compile(r"<(?:@[UW]|!subteam\^|!(?:here|channel|everyone)\b)")
_BY_NAME = re.compile(r"@(?!claude\b)[^\W\d_]", re.IGNORECASE)
"""A name that was typed, or pasted: Slack made no mention of it. Ours is the manifest's."""
_COMMAND = re.compile(r"/[a-z][\w-]*(?:\s|$)", re.IGNORECASE)
_EMOJI = re.compile(
    r":[^\s:<>]+:"  # Slack's own names, skin tones too
    r"|[0-9#*]\ufe0f?\u20e3"  # keycaps
    r"|.\ufe0f"  # signs that become pictures
    r"|\+1(?!\S)"
)


def may_follow_up(event: Mapping[str, Any]) -> bool:
    """Whether a `message` event without our mention may be meant for the bot, if the bot was asked
    in its thread."""
    thread_ts = event.get("thread_ts")
    if event.get("channel_type") not in CHANNELS or event.get("subtype") not in SAYING:
        return False
    if not isinstance(thread_ts, str) or thread_ts == event.get("ts"):
        return False
    text = str(event.get("text") or "").strip()
    return is_open(text) if text else bool(event.get("files"))


def is_open(text: str) -> bool:
    """Whether a text that does not mention the bot leaves open whom it addresses: it mentions
    nobody else, is no command, and says more than a reaction does."""
    if _SOMEBODY.search(text) or addresses_others(text) or _COMMAND.match(text.strip()):
        return False
    said = markdown.unescape(_EMOJI.sub(" ", text))
    return any(sign == "?" or unicodedata.category(sign)[0] in "LN" for sign in said)


def addresses_others(text: str) -> bool:
    """Whether a text that does not mention the bot begins with somebody else's name."""
    return mentions_others(text) or _BY_NAME.match(text.strip()) is not None


def mentions_others(text: str) -> bool:
    """Whether a text that does not mention the bot begins with a mention of somebody else."""
    return _SOMEBODY.match(text.strip()) is not None
