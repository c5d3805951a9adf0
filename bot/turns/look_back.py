"""What there is of a turn in Slack: its question, and its reply as far as it came.

For a turn that an earlier process, or a failure, has left open; and for one that a button begins,
whose store may be empty: all that it needs is in Slack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bot import blocks
from bot.errors import ChannelClosed, MessageGone
from bot.files import files_of
from bot.live_message import Earlier
from bot.pacing import Pacer
from bot.slack import Mark, SlackMessage, Workspace
from bot.turn import Outcome, Question

SLOT_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Before:
    """How far the turn had come."""

    question: Question
    """With its text, which the journal does not hold."""
    messages: dict[int, Earlier] = field(default_factory=dict)
    """By part; those of a kill between a post and its note too."""
    written: str = ""
    """What earlier runs have answered, if the turn goes on after them."""
    ended: Outcome | None = None
    """Nothing is left to do but to record this."""
    to_delete: list[str] = field(default_factory=list)


async def look_back(
    workspace: Workspace, pacer: Pacer, question: Question, noted: Mapping[int, str]
) -> Before:
    """Read the question and its reply back; `noted` are the messages that the journal knows.

    Raises a SlackError when Slack cannot be read now.
    """
    look = _Look(workspace, pacer, question)
    try:
        seen = await look.since()
        asked = seen.get(question.ts) or await look.message(question.ts)
        first_is_gone = 0 in noted and not (noted[0] in seen or await look.message(noted[0]))
    except (MessageGone, ChannelClosed):
        return Before(question, ended=Outcome.GONE)
    before = Before(question)
    finished = _sort(before, seen, noted)
    if asked is None or asked.get("subtype") == "tombstone" or first_is_gone:
        before.ended = Outcome.GONE
        before.to_delete = [earlier.ts for earlier in before.messages.values()]
    elif finished:
        before.ended = Outcome.COMPLETE
    else:
        text = str(asked.get("text") or "")
        before.question = replace(question, text=text, files=files_of(asked))
    return before


@dataclass(frozen=True, slots=True)
class _Look:
    """Reads where the question was asked, within the budget for reads."""

    workspace: Workspace
    pacer: Pacer
    question: Question

    async def since(self) -> dict[str, SlackMessage]:
        """The question and what was said after it, by ts."""
        return await self._read(None)

    async def message(self, ts: str) -> SlackMessage | None:
        """One message that is too far back for `since`; None if it is not there."""
        return (await self._read(ts)).get(ts)

    async def _read(self, only: str | None) -> dict[str, SlackMessage]:
        question = self.question
        found: dict[str, SlackMessage] = {}
        async for message in self.workspace.since(
            question.channel,
            question.reply_thread_ts,
            only or question.ts,
            latest=only,
            slot=lambda: self.pacer.read(question.team, SLOT_TIMEOUT_S),
        ):
            found[str(message.get("ts"))] = message
        return found


def _sort(before: Before, seen: Mapping[str, SlackMessage], noted: Mapping[int, str]) -> bool:
    """Find the reply's messages among those `seen`; whether this run, or a later one, has finished
    it."""
    question = before.question
    finished = False
    answered: list[tuple[int, int, str]] = []
    for ts, message in seen.items():
        mark = Mark.of(message)
        key = mark.key() if mark is not None else None
        if mark is None or key is None or (key.team, key.channel, key.ts) != _place(question):
            continue
        if key.run == question.run or (question.reuses and key.run == question.run - 1):
            before.messages[mark.part] = Earlier(ts, _text(message), mark.rev)
            finished = finished or (mark.final and key.run == question.run)
        elif key.run < question.run:
            answered.append((key.run, mark.part, _text(message)))
        else:
            finished = True  # a later run has answered
    for part, ts in noted.items():
        if ts in seen:
            before.messages.setdefault(part, Earlier(ts, _text(seen[ts])))
    before.written = _joined(text for _, _, text in sorted(answered)) if question.continues else ""
    return finished


def _place(question: Question) -> tuple[str, str, str]:
    return question.team, question.channel, question.ts


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text.strip())


def _text(message: SlackMessage) -> str:
    built = message.get("blocks")
    return blocks.to_text(built, own=True) if isinstance(built, list) else ""
