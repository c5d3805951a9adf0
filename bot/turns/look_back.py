"""What became of a turn that an earlier process, or a failure, has left open: read from Slack."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from bot import blocks
from bot.errors import ChannelClosed, MessageGone
from bot.live_message import Earlier
from bot.slack import Mark, SlackMessage, Workspace
from bot.store import OpenTurn
from bot.turn import Outcome, Question
from bot.turns.means import Means

SLOT_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Before:
    """How far the turn had come."""

    question: Question
    """With its text, which the journal does not hold."""
    messages: dict[int, Earlier] = field(default_factory=dict)
    """By part; those of a kill between a post and its note too."""
    ended: Outcome | None = None
    """Nothing is left to do but to record this."""
    to_delete: list[str] = field(default_factory=list)


async def look_back(means: Means, entry: OpenTurn) -> Before:
    """Read the question and its reply back. Raises a SlackError when Slack cannot be read now."""
    workspace = means.slack.of(entry.question.team)
    if workspace is None:
        return Before(entry.question, ended=Outcome.GONE)
    try:
        seen = await _messages(means, workspace, entry.question)
    except (MessageGone, ChannelClosed):
        return Before(entry.question, ended=Outcome.GONE)
    before = Before(entry.question)
    finished = False
    for ts, message in seen.items():
        mark = Mark.of(message)
        if mark is not None and mark.turn == str(entry.question.key):
            before.messages[mark.part] = Earlier(ts, _text(message), mark.rev)
            finished = finished or mark.final
    for part, ts in entry.messages.items():
        if ts in seen:
            before.messages.setdefault(part, Earlier(ts, _text(seen[ts])))
    asked = seen.get(entry.question.ts)
    reply_deleted = 0 in entry.messages and entry.messages[0] not in seen
    if asked is None or asked.get("subtype") == "tombstone" or reply_deleted:
        before.ended = Outcome.GONE
        before.to_delete = [earlier.ts for earlier in before.messages.values()]
    elif finished:
        before.ended = Outcome.COMPLETE
    else:
        before.question = replace(entry.question, text=str(asked.get("text") or ""))
    return before


async def _messages(
    means: Means, workspace: Workspace, question: Question
) -> dict[str, SlackMessage]:
    found: dict[str, SlackMessage] = {}
    async for message in workspace.since(
        question.channel,
        question.reply_thread_ts,
        question.ts,
        slot=lambda: means.pacer.read(question.team, SLOT_TIMEOUT_S),
    ):
        found[str(message.get("ts"))] = message
    return found


def _text(message: SlackMessage) -> str:
    built = message.get("blocks")
    return blocks.to_text(built, own=True) if isinstance(built, list) else ""
