"""Slack's messages → who said what, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bot import blocks
from bot.conversation import budget
from bot.conversation.names import one_line
from bot.conversation.pieces import in_pieces
from bot.conversation.text import Card, bot_name_of, cards_of, words_of
from bot.files import files_of
from bot.slack import SlackFile, SlackMessage, Workspace
from bot.turn import Question, TurnKey

SAID: Final = frozenset({"file_share", "thread_broadcast", "bot_message", "me_message"})
"""Subtypes that are still somebody saying something; joins, topics and the like are not."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message of somebody, or one reply of the bot."""

    ts: str
    """Of a reply: that of the question it answers, which it stands after."""
    text: str
    """mrkdwn; Markdown if it is the bot's."""
    own: bool = False
    speaker: str | None = None
    bot_name: str | None = None
    files: tuple[SlackFile, ...] = ()
    cards: tuple[Card, ...] = ()
    size: int = field(init=False)
    """About how many tokens it is."""

    def __post_init__(self) -> None:
        texts = [self.text, *(card.text for card in self.cards)]
        size = sum(budget.tokens(text) + budget.LINE_TOKENS for text in texts)
        object.__setattr__(self, "size", size)


@dataclass(slots=True)
class _Reply:
    """The messages of one run of one question."""

    reuses: bool
    """It took the messages of the run before."""
    continues: bool
    """It goes on after the run before."""
    parts: list[tuple[int, str, str]] = field(default_factory=list)
    """Number, ts, text."""
    settled: bool = False


async def lines_before(
    workspace: Workspace, history: Mapping[str, SlackMessage], question: Question
) -> list[Line]:
    """What was said before the question, oldest first. ts are strings of one shape: they sort.

    A reply of the bot is one line, whatever number of messages it takes. It stands after its
    question, whoever wrote in between: what was said while Claude answered is what Claude had not
    seen. So it belongs here if that was asked before this one, though its messages may be newer,
    and stands in the same place where its question is not among what was read.

    What stands there counts, whether or not the message is read that ends the reply (it may be
    deleted, or elsewhere: a thread can begin under any message of a reply). Replies of one place
    take turns, so none of them is growing meanwhile. The messages of an unsettled run that a later
    one has begun to take over are remains, and are left out.
    """
    found: list[Line] = []
    replies: dict[TurnKey, _Reply] = {}
    async for ts, message in in_pieces(sorted(history.items())):
        subtype = message.get("subtype")
        if subtype is not None and subtype not in SAID:
            continue
        if not workspace.is_own(message):
            if ts < question.ts:
                found += _others(ts, message)
        elif (mark := workspace.mark_of(message)) is None or (key := mark.key()) is None:
            if ts < question.ts and (text := _own_text(message)):
                found.append(Line(ts, text, own=True))
        elif key.ts < question.ts:
            reply = replies.setdefault(key, _Reply(mark.reuses, mark.continues))
            reply.parts.append((mark.part, ts, _own_text(message)))
            reply.settled = reply.settled or mark.final
    return sorted([*found, *_told(replies)], key=lambda line: line.ts)


def _told(replies: Mapping[TurnKey, _Reply]) -> list[Line]:
    """The lines of the bot's `replies`; those of one question in the order of its runs."""
    lines: list[Line] = []
    runs = sorted(replies.items(), key=lambda one: (one[0].ts, one[0].run))
    for at, (key, reply) in enumerate(runs, 1):
        text = joined(text for _, _, text in sorted(reply.parts))
        is_taken_over = at < len(runs) and runs[at][0].ts == key.ts and runs[at][1].reuses
        if not text or (is_taken_over and not reply.settled):
            continue
        if reply.continues and lines and lines[-1].ts == key.ts:
            lines[-1] = replace(lines[-1], text=gone_on(lines[-1].text, text))
        else:
            lines.append(Line(key.ts, text, own=True))
    return lines


def gone_on(text: str, more: str) -> str:
    """A reply that was cut off, and what Claude wrote to go on: in the same sentence, if so. Slack
    does not keep whether a space stood between them; most often one did."""
    in_a_sentence = text[-1:].isalnum() or text[-1:] in tuple(",;-")
    goes_on = more[:1].islower() or more[:1].isdigit()
    return f"{text} {more}" if in_a_sentence and goes_on else f"{text}\n\n{more}"


def joined(texts: Iterable[str]) -> str:
    """The messages of one reply as one text. A code block that was closed at the end of one and
    opened again in the next is whole again."""
    whole = ""
    for text in texts:
        if not text.strip():
            continue
        opening = _last_opening(whole)
        if opening and whole.rstrip().endswith("\n```") and text.startswith(f"{opening}\n"):
            whole = whole.rstrip().removesuffix("```") + text.removeprefix(f"{opening}\n")
        else:
            whole = f"{whole}\n\n{text}" if whole else text
    return whole


def _last_opening(text: str) -> str | None:
    """The line that opened the last code block of `text`."""
    fences = [line for line in text.split("\n") if line.startswith("```")]
    return fences[-2] if len(fences) >= 2 and len(fences) % 2 == 0 else None


def _others(ts: str, message: SlackMessage) -> list[Line]:
    text, files, cards = words_of(message), files_of(message), cards_of(message)
    is_bot = message.get("bot_id") is not None
    # What a person has shared is said to be there, even where it cannot be read.
    has_shared = not is_bot and bool(message.get("attachments"))
    if not (text.strip() or files or cards or has_shared):
        return []
    name = one_line(bot_name_of(message)) or "an app" if is_bot else None
    user = message.get("user")
    speaker = user if isinstance(user, str) else None
    return [Line(ts, text, speaker=speaker, bot_name=name, files=files, cards=cards)]


def _own_text(message: SlackMessage) -> str:
    """What Claude wrote in it: without status lines, notices and buttons."""
    found = message.get("blocks")
    if isinstance(found, list) and found:
        return blocks.to_text(found, own=True).strip()
    return str(message.get("text") or "").strip()
