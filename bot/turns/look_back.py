"""What there is of a turn in Slack: its question, and its reply as far as it came.

For a turn that an earlier process, or a failure, has left open; and for one that a button begins,
whose store may be empty: all that it needs is in Slack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bot import blocks
from bot.conversation import attachments_of, words_of
from bot.errors import ChannelClosed, MessageGone, RateLimited
from bot.files import files_of
from bot.live_message import Earlier
from bot.pacing import Pacer
from bot.slack import Mark, SlackMessage, Workspace
from bot.turn import Outcome, Question, TurnKey

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
    edited_ts: str = ""
    """When the question got its text, if not at first."""


async def look_back(
    workspace: Workspace,
    pacer: Pacer,
    question: Question,
    noted: Mapping[int, str],
    *,
    begins: int | None = None,
    beside: str | None = None,
) -> Before:
    """Read the question and its reply back; `noted` are the messages that the journal knows,
    `begins` is the part that was about to be begun as a stream, `beside` the ts of a message
    that the reply stands beside, since it may be far back.

    Raises a SlackError when Slack cannot be read now.
    """
    look = _Look(workspace, pacer, question)
    try:
        seen = await look.since()
        if beside is not None and beside not in seen:
            seen |= await look.until(beside)
        asked = seen.get(question.ts) or await look.message(question.ts)
        first_is_gone = 0 in noted and not (noted[0] in seen or await look.message(noted[0]))
    except (MessageGone, ChannelClosed):
        return Before(question, ended=Outcome.GONE)
    before = Before(question)
    if begins is not None and (begun := _begun(workspace, question, seen, noted)) is not None:
        noted = {**noted, begins: begun}
    finished = _sort(workspace, before, seen, noted)
    if asked is None or asked.get("subtype") == "tombstone" or first_is_gone:
        before.ended = Outcome.GONE
        before.to_delete += [earlier.ts for earlier in before.messages.values()]
    elif finished:
        before.ended = Outcome.COMPLETE
    else:
        edited = asked.get("edited")
        before.edited_ts = str(edited.get("ts")) if isinstance(edited, Mapping) else ""
        before.question = replace(
            question,
            text=words_of(asked),
            files=files_of(asked),
            attachments=attachments_of(asked),
        )
    return before


@dataclass(frozen=True, slots=True)
class _Look:
    """Reads where the question was asked, within the budget for reads."""

    workspace: Workspace
    pacer: Pacer
    question: Question

    async def since(self) -> dict[str, SlackMessage]:
        """The question and what was said after it, by ts."""
        return await self._read(self.question.ts, None)

    async def until(self, ts: str) -> dict[str, SlackMessage]:
        """The question and what was said after it up to message `ts`."""
        return await self._read(self.question.ts, ts)

    async def message(self, ts: str) -> SlackMessage | None:
        """One message that is too far back for `since`; None if it is not there."""
        return (await self._read(ts, ts)).get(ts)

    async def _read(self, oldest: str, latest: str | None) -> dict[str, SlackMessage]:
        question = self.question
        found: dict[str, SlackMessage] = {}
        try:
            async for message in self.workspace.since(
                question.channel,
                question.reply_thread_ts,
                oldest,
                latest=latest,
                slot=lambda: self.pacer.read(question.team, SLOT_TIMEOUT_S),
            ):
                found[str(message.get("ts"))] = message
        except RateLimited as error:
            self.pacer.pause_reads(question.team, error.retry_after_s)
            raise
        return found


def _begun(
    workspace: Workspace,
    question: Question,
    seen: Mapping[str, SlackMessage],
    noted: Mapping[int, str],
) -> str | None:
    """The stream that was begun but not noted, if it was: it carries no mark, but the reply had its
    thread for itself, so it is the newest one."""
    later_than = max([question.ts, *noted.values()])
    found = [ts for ts, one in seen.items() if workspace.may_be_a_stream(one) and ts > later_than]
    return max(found, default=None)


def _sort(
    workspace: Workspace,
    before: Before,
    seen: Mapping[str, SlackMessage],
    noted: Mapping[int, str],
) -> bool:
    """Find the reply's messages among those `seen`; whether this run, or a later one, has finished
    it."""
    question = before.question
    marked = []
    for ts, message in seen.items():
        mark = workspace.mark_of(message)
        key = mark.key() if mark is not None else None
        if mark is not None and key is not None and _place(key) == _place(question.key):
            marked.append((key.run, mark, Earlier(ts, _text(message), mark.rev)))
    marked.sort(key=lambda one: (one[0], one[1].rev, one[1].final))
    own = _own_runs(question, [(run, mark) for run, mark, _ in marked])
    newest: dict[int, tuple[int, Earlier]] = {}
    for run, mark, shown in marked:
        if run in own:
            older = newest.get(mark.part)
            if older is not None and older[0] == run:  # a twin: posted anew, but not yet deleted
                before.to_delete.append(older[1].ts)
            newest[mark.part] = (run, shown)
    before.messages = {part: shown for part, (_, shown) in newest.items()}
    finished = any(
        run > question.run or (mark.final and run == question.run) for run, mark, _ in marked
    )
    answered = [
        (run, mark.part, message.text)
        for run, mark, message in marked
        if run not in own and run < question.run
    ]
    for part, ts in noted.items():
        if ts in seen:
            before.messages.setdefault(part, Earlier(ts, _text(seen[ts])))
    # Where somebody has deleted one of them, the ones after it move up: order is kept.
    before.messages = dict(enumerate(before.messages[part] for part in sorted(before.messages)))
    before.written = _joined(text for _, _, text in sorted(answered)) if question.continues else ""
    return finished


def _own_runs(question: Question, marks: Sequence[tuple[int, Mark]]) -> set[int]:
    """The runs whose messages this one writes into: its own and, back from it, as long as one took
    over the messages of the one before."""
    runs, reuses = {question.run}, question.reuses
    while reuses and min(runs) > 0:
        before = min(runs) - 1
        runs.add(before)
        reuses = any(mark.reuses for run, mark in marks if run == before)
    return runs


def _place(key: TurnKey) -> tuple[str, str, str]:
    return key.team, key.channel, key.ts


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text.strip())


def _text(message: SlackMessage) -> str:
    built = message.get("blocks")
    return blocks.to_text(built, own=True) if isinstance(built, list) else ""
