"""Replies in a thread that were begun and never ended, and whose is which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.slack import Mark, SlackMessage, Workspace
from bot.turn import Question, TurnKey, mentions


@dataclass(frozen=True, slots=True)
class Orphan:
    """A question (without text) whose reply has no last part."""

    question: Question
    streams: Mapping[int, str]
    """ts of its messages that carry no mark, by part: native streams that were not stopped."""


def orphans(
    workspace: Workspace, history: Mapping[str, SlackMessage], question: Question
) -> list[Orphan]:
    """Whose replies in `history` (by ts) have no last part, by the marks of their messages."""
    settled: dict[TurnKey, bool] = {}
    marks: dict[TurnKey, list[Mark]] = {}
    for message in history.values():
        mark = workspace.mark_of(message)
        key = mark.key() if mark is not None else None
        if mark is not None and key is not None and key.channel == question.channel:
            settled[key] = settled.get(key, False) or mark.final
            marks.setdefault(key, []).append(mark)
    # Without a thread, what was read is the channel's: streams stand in threads alone.
    in_thread = question.thread_ts is not None
    streams = streams_of(workspace, history, question) if in_thread else {}
    for ts in streams:
        if not any(other.ts == ts for other in settled):
            key = TurnKey(question.team, question.channel, ts)
            settled[key], marks[key] = False, [Mark(str(key), -1, 0)]
    found = []
    for key, is_settled in settled.items():
        asked = history.get(key.ts)
        later = any(other.ts == key.ts and other.run > key.run for other in settled)
        if is_settled or later or asked is None or key.team != question.team:
            continue
        # A later question waits for this one, or is under way: it is not left behind.
        if key.ts >= question.ts or not isinstance(asked.get("user"), str):
            continue
        # A thread under a flat direct message is none that its reply belongs to.
        is_flat = question.surface == "direct" and asked.get("thread_ts") == key.ts
        last = marks[key][-1]
        left = Question(
            team=key.team,
            channel=key.channel,
            user=asked["user"],
            ts=key.ts,
            surface=question.surface,
            thread_ts=None if is_flat else asked.get("thread_ts"),
            run=key.run,
            reuses=last.reuses,
            continues=last.continues,
        )
        number = max(mark.part for mark in marks[key]) + 1
        found.append(Orphan(left, dict(enumerate(streams.get(key.ts, ()), start=number))))
    return found


def streams_of(
    workspace: Workspace, history: Mapping[str, SlackMessage], question: Question
) -> dict[str, list[str]]:
    """The messages (ts) of a thread that may be native streams which were not stopped, by the
    question (ts) that they belong to. They carry no mark, but replies of a thread come one after
    the other: it is the last question for the bot before them. `question` is known to be one."""
    found: dict[str, list[str]] = {}
    if question.reply_thread_ts is None:
        return found
    asked_ts = ""
    for ts, message in sorted(history.items()):
        if workspace.may_be_a_stream(message):
            if asked_ts:
                found.setdefault(asked_ts, []).append(ts)
        elif ts == question.ts or _asks(workspace, message, question):
            asked_ts = ts
    return found


def _asks(workspace: Workspace, message: SlackMessage, question: Question) -> bool:
    if workspace.is_own(message):
        return False
    text = str(message.get("text") or "")
    return question.surface == "direct" or mentions(text, workspace.identity.bot_user_id)
