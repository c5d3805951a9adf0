"""Replies in a thread that were begun and never ended, and whose is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.slack import Mark, SlackMessage, Workspace
from bot.turn import Question, TurnKey, mentions


@dataclass(frozen=True, slots=True)
class Orphan:
    """A question (without text) whose reply has no last part."""

    question: Question
    streams: Mapping[int, str]
    """ts of its messages that carry no mark, by part: native streams that were not stopped."""


@dataclass(slots=True)
class _Reply:
    """What there is of the reply to one run of a question."""

    marks: list[Mark]
    settled: bool = False


def orphans(
    workspace: Workspace, history: Mapping[str, SlackMessage], question: Question
) -> list[Orphan]:
    """Whose replies in `history` (by ts) have no last part, by the marks of their messages."""
    replies: dict[TurnKey, _Reply] = {}
    for message in history.values():
        mark = workspace.mark_of(message)
        key = mark.key() if mark is not None else None
        if mark is not None and key is not None and key.channel == question.channel:
            reply = replies.setdefault(key, _Reply([]))
            reply.marks.append(mark)
            reply.settled = reply.settled or mark.final
    # Without a thread, what was read is the channel's: streams stand in threads alone.
    streams = _streams(workspace, history, question, replies) if question.thread_ts else {}
    for key in streams:
        replies.setdefault(key, _Reply([]))
    return [
        Orphan(_asked(history[key.ts], key, reply, question), _numbered(streams.get(key), reply))
        for key, reply in replies.items()
        if not reply.settled and _is_left_behind(key, replies, history, question)
    ]


def _is_left_behind(
    key: TurnKey,
    replies: Mapping[TurnKey, _Reply],
    history: Mapping[str, SlackMessage],
    question: Question,
) -> bool:
    """A later question than `question` waits for it, or is under way; and so is a later run."""
    later = any(other.ts == key.ts and other.run > key.run for other in replies)
    if later or key.team != question.team or key.ts >= question.ts:
        return False
    return isinstance(history.get(key.ts, {}).get("user"), str)


def _asked(asked: SlackMessage, key: TurnKey, reply: _Reply, question: Question) -> Question:
    # A thread under a flat direct message is none that its reply belongs to.
    is_flat = question.surface == "direct" and asked.get("thread_ts") == key.ts
    last = reply.marks[-1] if reply.marks else None
    return Question(
        team=key.team,
        channel=key.channel,
        user=asked["user"],
        ts=key.ts,
        surface=question.surface,
        thread_ts=None if is_flat else asked.get("thread_ts"),
        run=key.run,
        reuses=last is not None and last.reuses,
        continues=last is not None and last.continues,
    )


def _numbered(streams: Sequence[str] | None, reply: _Reply) -> dict[int, str]:
    first = max((mark.part for mark in reply.marks), default=-1) + 1
    return dict(enumerate(streams or (), start=first))


def _streams(
    workspace: Workspace,
    history: Mapping[str, SlackMessage],
    question: Question,
    replies: Mapping[TurnKey, _Reply],
) -> dict[TurnKey, list[str]]:
    """The messages of a thread that may be native streams which were not stopped, by the reply that
    they belong to. They carry no mark, but replies come in the order of the questions: it is one
    whose marked messages stand before it, or the first question since then that has none."""
    found: dict[TurnKey, list[str]] = {}
    answered = {key.ts for key in replies}
    unanswered: list[TurnKey] = []
    begun: TurnKey | None = None
    for ts, message in sorted(history.items()):
        mark = workspace.mark_of(message)
        if mark is not None:
            key = mark.key()
            reply = replies.get(key) if key is not None else None
            begun = key if reply is not None and not reply.settled else None
            unanswered = [one for one in unanswered if key is None or one.ts > key.ts]
        elif workspace.may_be_a_stream(message):
            if begun is None and unanswered:
                begun = unanswered.pop(0)
            if begun is not None:
                found.setdefault(begun, []).append(ts)
                begun = None if unanswered else begun
        elif ts < question.ts and ts not in answered and _asks(workspace, message, question):
            unanswered.append(TurnKey(question.team, question.channel, ts))
    return found


def _asks(workspace: Workspace, message: SlackMessage, question: Question) -> bool:
    if workspace.is_own(message):
        return False
    text = str(message.get("text") or "")
    return question.surface == "direct" or mentions(text, workspace.identity.bot_user_id)
