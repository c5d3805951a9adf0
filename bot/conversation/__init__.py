"""A Slack thread → the messages that Claude reads; the newest ones when it is long.

thread   read it: the root and the newest, in few calls
lines    who said what; the bot's replies whole, its notices left out
text     what a message says, and that it says nothing in another's name
budget   how much goes along, and where the beginning is cut
names    how people are called
compose  the messages of the request
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bot import logs
from bot.conversation import budget
from bot.conversation.compose import MARKING, Material, compose, mentioned
from bot.conversation.lines import Line, lines_before, unsettled
from bot.conversation.names import Names
from bot.conversation.text import is_new_start, plain_text
from bot.conversation.thread import History, Reader
from bot.errors import RateLimited, SlackError
from bot.files import Files, files_of
from bot.pacing import Pacer
from bot.slack import Identity, Person, Workspace
from bot.turn import Message, Question

log = logging.getLogger(__name__)

READ_SLOT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 20.0

UNREAD_THREAD: Final = "I could not read the thread this time, so I saw only this message."
HALF_READ_THREAD: Final = "I could read only a part of the thread this time."


@dataclass(frozen=True, slots=True)
class Conversation:
    """What goes to Claude, and what the person must be told about it."""

    messages: list[Message]
    notes: list[str]
    unsettled: list[Question]
    """Questions (without text) whose reply in the thread was begun and never ended."""
    less: Callable[[bool, bool], list[Message]]
    """The messages with half of the conversation, or without files, or both: for when Claude does
    not take all of it."""


class Conversations:
    """Reads what was said before a question."""

    def __init__(
        self, pacer: Pacer, files: Files, *, context_tokens: int, dm_gap_hours: float
    ) -> None:
        self._pacer = pacer
        self._files = files
        self._context_tokens = context_tokens
        self._dm_gap_s = dm_gap_hours * 3_600
        self._names = Names(pacer)

    async def close(self) -> None:
        """Let go of the look-ups under way."""
        await self._names.close()

    def newest(self, text: str) -> str:
        """The end of `text`, if it is longer than half of what may go along."""
        return budget.end_of(text, self._context_tokens // 2)

    async def read(self, workspace: Workspace, question: Question) -> Conversation:
        """The conversation that ends with `question`. Never fails: what was not read is said."""
        notes: list[str] = []
        # Beside the thread; a question that starts one waits for nothing, not for a name either.
        self._names.ask_for(workspace, question.user)
        reader = Reader(workspace, question, lambda: self._slot(question), self._context_tokens)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await self._history(reader, workspace, question)
        except (SlackError, TimeoutError) as error:
            self._unread(question, error)
            notes.append(HALF_READ_THREAD if reader.history.messages else UNREAD_THREAD)
        else:
            notes += [HALF_READ_THREAD] if reader.is_short else []
        history = reader.history
        material = self._material(history, question, workspace)
        kept = material.within(self._context_tokens)
        people, reading = await asyncio.gather(
            self._people(workspace, question, mentioned(kept, material)),
            self._files.read(workspace, [line.files for line in (*kept.lines, material.asked)]),
        )
        notes += reading.notes

        def less(halved: bool, without_files: bool) -> list[Message]:
            most = min(self._context_tokens, material.size) // 2
            lines = material.within(most) if halved else kept
            files = reading.unseen() if without_files else reading
            return compose(lines, material, people, files)

        messages = compose(kept, material, people, reading)
        return Conversation(messages, notes, unsettled(workspace, history.messages, question), less)

    async def _history(self, reader: Reader, workspace: Workspace, question: Question) -> None:
        if question.thread_ts is not None and question.thread_ts != question.ts:
            await reader.thread(question.thread_ts)
        elif question.surface == "direct" and question.thread_ts is None:

            def is_start(history: History) -> bool:
                lines = lines_before(workspace, history.messages, question)
                begun = self._since_the_start(lines, question, workspace.identity)
                return len(begun) < len(lines)

            await reader.direct(is_start)

    def _material(self, history: History, question: Question, workspace: Workspace) -> Material:
        identity = workspace.identity
        lines: Sequence[Line] = lines_before(workspace, history.messages, question)
        if question.surface == "direct":
            lines = self._since_the_start(lines, question, identity)
        has_root = bool(lines) and lines[0].ts == question.thread_ts
        unread_at = None
        if history.gap_after is not None:
            unread_at = sum(line.ts <= history.gap_after for line in lines)
        files = question.files
        if files is None:  # an app_mention does not say, its message in the thread does
            files = files_of(history.messages.get(question.ts, {}))
        return Material(question, identity, lines, has_root, unread_at, history.gap, files)

    def _since_the_start(
        self, lines: Sequence[Line], question: Question, identity: Identity
    ) -> list[Line]:
        """A direct message is one conversation, back to where somebody asks for a new one; a flat
        one back to a long silence, too."""
        kept: list[Line] = []
        later = _seconds(question.ts)
        for line in reversed(lines):
            at = _seconds(line.ts)
            if question.thread_ts is None and later - at > self._dm_gap_s:
                break
            if not line.own and is_new_start(line.text, identity.bot_user_id):
                break
            kept.append(line)
            later = at
        return kept[::-1]

    async def _people(
        self, workspace: Workspace, question: Question, users: Sequence[str]
    ) -> dict[str, Person]:
        """Who they are; who asks alone, and nobody else is named, is not waited for."""
        if list(users) == [question.user]:
            person = self._names.known(question.team, question.user)
            return {question.user: person} if person is not None else {}
        return await self._names.look_up(workspace, users)

    async def _slot(self, question: Question) -> None:
        if not await self._pacer.read(question.team, READ_SLOT_TIMEOUT_S):
            raise TimeoutError

    def _unread(self, question: Question, error: Exception) -> None:
        if isinstance(error, RateLimited):
            self._pacer.pause_reads(question.team, error.retry_after_s)
        code = error.code if isinstance(error, SlackError) else "timeout"
        logs.warning(log, "thread_unread", code=code)


def _seconds(ts: str) -> int:
    return int(ts.partition(".")[0])


__all__ = [
    "HALF_READ_THREAD",
    "MARKING",
    "UNREAD_THREAD",
    "Conversation",
    "Conversations",
    "is_new_start",
    "plain_text",
]
