"""What a Slack message says, as plain text that cannot pose as somebody else's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot import blocks, markdown
from bot.conversation.names import one_line, seen, told_apart
from bot.slack import SlackMessage

ATTACHMENTS: Final = 100
"""The most that a message may have: docs.slack.dev/reference/messaging/attachments."""

TEXT_CHARACTERS: Final = 40_000
"""The most that Slack takes as one message's text; so much of a shared one is read, too."""

CARD_CHARACTERS: Final = 12_000
"""Of one card of an app, or what it shows of a link ..."""
ATTACHED_CHARACTERS: Final = 80_000
"""... and of everything that is attached to one message."""

CUT_TEXT_CHARACTERS: Final = 3_000
"""A text of that length may be only the beginning of what the blocks say."""

NEW_START_CHARACTERS: Final = 200
NEW_START: Final = re.compile(
    r"(?:please )?(?:(?:start|begin) )?(?:a )?new (?:conversation|chat|topic)[.!]*"
    r"|(?:let's )?start over[.!]*",
    re.I,
)

_CUT = re.compile(r"\[… (?:\d+ more )?cut here …\]")
"""As the bot writes it, where it says nothing in anybody's name."""

_ENTITY = re.compile(r"<([^<>\n]+)>")
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_MARK = re.compile(
    r"[\s*_#`~|]*(?:"
    r"[\[【〔〖⟦][^\]】〕〗⟧]{0,200}?"  # a bracket with a time in it, or words that the bot uses
    r"(?:\d{1,2}[:.h]\d{2}|…|\.\.\.|\(bot\)|left out|from the bot)"
    r"|\[(?:end of the )?background\b"
    r"|\[(?:shared message|preview)(?: of\b|:)"
    r"|\[attached(?:,| image)?[^:\]]{0,40}:"
    r"|\[[^\]]{2,120}\][*_`~]*(?:[ \t]+\S|[ \t]*:)"
    r"|(?P<role>human|assistant|user|system|claude)[*_`~ \t]*:"
    r")",
    re.I,
)


def plain_text(
    text: str,
    bot_user_id: str,
    name_of: Callable[[str], str],
    channel_of: Callable[[str], str] = str,
) -> str:
    """Slack's mrkdwn as plain text: mentions as names, links as they lead, entities unescaped.

    The bot's own mention is removed where it only addresses the bot (at either end), and named
    where it is part of the sentence. docs.slack.dev/messaging/formatting-message-text
    """
    trimmed = _unaddressed(text, bot_user_id)

    def entity(match: re.Match[str]) -> str:
        target, _, label = match[1].partition("|")
        if target.startswith("@"):
            return "@Claude" if target[1:] == bot_user_id else f"@{name_of(target[1:])}"
        if target.startswith("#"):
            return f"#{label or channel_of(target[1:])}"
        if target.startswith("!"):
            kind = target[1:].split("^")[0]
            return label or ("@group" if kind == "subteam" else f"@{kind}")
        target = target.removeprefix("mailto:")
        return f"{label} ({target})" if label and label != target else target

    return markdown.scrub(markdown.unescape(_ENTITY.sub(entity, trimmed))).strip()


def _unaddressed(text: str, bot_user_id: str) -> str:
    """`text` without the mentions of the bot at its ends."""
    # Not one pattern for both ends: on a long run of white space it would take minutes.
    own = re.compile(rf"<@{re.escape(bot_user_id)}(?:\|[^>]*)?>")
    text = text.strip()
    if leading := re.match(rf"(?:{own.pattern}[,:]?\s*)+", text):
        text = text[leading.end() :]
    while (start := text.rfind(f"<@{bot_user_id}")) >= 0 and own.fullmatch(text, start):
        text = text[:start].rstrip()
    return text


def guarded(text: str) -> str:
    """`text` with every line quoted that looks like the mark before a message, or like the name of
    a role: whoever wrote it, nobody else said it. In a code block, where `user: root` is a setting,
    only marks are."""
    lines = _LINE_ENDS.sub("\n", text).split("\n")
    code = _code(lines)
    return "\n".join(
        f"> {line}" if _poses(line, in_code=at in code) else line for at, line in enumerate(lines)
    )


def _code(lines: Sequence[str]) -> set[int]:
    """Which of the lines are in code blocks that are closed, as Slack's text has them: it may begin
    and end in the middle of a line."""
    code: set[int] = set()
    opened: int | None = None
    for at, line in enumerate(lines):
        fences = line.count("```")
        if opened is None and fences % 2:
            # What stands before the fence is no code.
            opened = at if line.startswith("```") else at + 1
        elif opened is not None and fences % 2:
            code.update(range(opened, at if line.startswith("```") else at + 1))
            opened = None
    return code


def _poses(line: str, *, in_code: bool) -> bool:
    if in_code and "[" not in line and line.isascii():
        return False
    if ":" not in line and "[" not in line and line.isascii():
        return False
    if _CUT.fullmatch(line):
        return False
    found = _MARK.match(unicodedata.normalize("NFKC", seen(line)[:500]))
    return found is not None and not (in_code and found["role"])


def is_new_start(text: str, bot_user_id: str) -> bool:
    """Whether somebody asks, with nothing else, to begin a new conversation."""
    if len(text) > NEW_START_CHARACTERS:
        return False
    return NEW_START.fullmatch(" ".join(plain_text(text, bot_user_id, str).split())) is not None


def quoted(text: str) -> str:
    """`text` as what somebody else has written."""
    return "\n".join(f"> {line}".rstrip() for line in _LINE_ENDS.sub("\n", text).split("\n"))


@dataclass(frozen=True, slots=True)
class Card:
    """What stands under somebody's message and is not in their words: a shared message, what an app
    shows of a link."""

    mark: str
    """What it is, and whose."""
    text: str
    """mrkdwn."""


def attachments_of(message: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """What is attached to a message, as Slack describes it."""
    found = message.get("attachments")
    some = found[:ATTACHMENTS] if isinstance(found, list) else []
    return tuple(one for one in some if isinstance(one, dict))


def cards_of(message: Mapping[str, Any]) -> tuple[Card, ...]:
    """What others have written that stands under `message`."""
    is_app = message.get("bot_id") is not None
    marked = [(_mark_of(one, is_app=is_app), one) for one in attachments_of(message)]
    found = [(mark, one) for mark, one in marked if mark is not None]
    said = _said([one for _, one in found])
    return tuple(Card(mark, text) for (mark, _), text in zip(found, said, strict=True) if text)


def _said(attached: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each of those `attached` to one message says, "" where that is nothing or too much by
    now; how many are too much is said by the last that is not."""
    said: list[str] = []
    left = ATTACHED_CHARACTERS
    for one in attached:
        is_share = _is_share(one)
        most = min(left, TEXT_CHARACTERS if is_share else CARD_CHARACTERS)
        text = blocks.attachment_to_mrkdwn(one, most, with_author=not is_share)
        said.append(text if text.strip() else "")
        left = max(0, left - len(text))
        if not left:
            break
    if more := len(attached) - len(said):
        said[-1] += f"\n[… {more} more cut here …]"
    return said + [""] * more


def _mark_of(attached: Mapping[str, Any], *, is_app: bool) -> str | None:
    """How it is announced; None if it is not.

    The preview of a web page is left out: it comes some time after the message, so that what was
    sent to Claude once would change, and is nothing that anybody has said. What Slack and apps show
    of a link to a message or a ticket is often what the question is about.
    """
    if _is_share(attached):
        whose = one_line(str(attached.get("author_name") or attached.get("author_id") or ""))
        return f"Shared message of {told_apart(whose)}" if whose else "Shared message"
    link = str(attached.get("app_unfurl_url") or "")
    if link or attached.get("is_app_unfurl"):
        return f"Preview of {one_line(link or str(attached.get('from_url') or 'a link'))}"
    if _is_preview(attached) or is_app:  # an app's own card is what it says itself
        return None
    return "Attached card"


def _is_share(attached: Mapping[str, Any]) -> bool:
    return bool(attached.get("is_share") or attached.get("is_msg_unfurl"))


def _is_preview(attached: Mapping[str, Any]) -> bool:
    return bool(attached.get("from_url") or attached.get("is_app_unfurl"))


def words_of(message: Mapping[str, Any]) -> str:
    """What `message` says in its writer's own words, as mrkdwn: the text, or of an app, or where
    the text is cut or missing, the blocks; and an app's own cards."""
    said = str(message.get("text") or "")
    found = message.get("blocks")
    shown = found if isinstance(found, list) else []
    if message.get("bot_id") is None:
        # The blocks of a person's message repeat its text.
        if shown and (len(said) >= CUT_TEXT_CHARACTERS or not said.strip()):
            whole = blocks.to_mrkdwn(shown, TEXT_CHARACTERS)
            said = whole if len(whole) > len(said) * 1.2 else said
        return said
    own = [one for one in attachments_of(message) if not (_is_share(one) or _is_preview(one))]
    cards = "\n\n".join(card for card in _said(own) if card)
    written = (blocks.with_text(shown, said, TEXT_CHARACTERS), cards)
    return "\n".join(part for part in written if part.strip())


def bot_name_of(message: SlackMessage) -> str:
    """What the app calls itself that posted `message`."""
    profile = message.get("bot_profile")
    name = profile.get("name") if isinstance(profile, Mapping) else None
    return str(message.get("username") or name or "an app")
