"""A Slack thread → the messages that Claude reads; the newest ones when it is long.

thread   read it: the root and the newest, in few calls; or what stands above in the channel
lines    who said what; the bot's replies whole, its notices left out
orphans  replies that were begun and never ended
text     what a message says, and that it says nothing in another's name
budget   how much goes along, and where the beginning is cut
names    how people and channels are called
room     which thread is read first where reads are short
compose  the messages of the request
pieces   all that without keeping the event loop
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bot import logs
from bot.conversation import budget
from bot.conversation.compose import MARKING, Material, Named, compose, mentioned
from bot.conversation.lines import Line, lines_before
from bot.conversation.names import Names
from bot.conversation.orphans import Orphan, orphans, streams_of
from bot.conversation.room import Room
from bot.conversation.text import (
    Card,
    attachments_of,
    cards_of,
    is_new_start,
    plain_text,
    words_of,
)
from bot.conversation.thread import History, Reader
from bot.errors import RateLimited, SlackError
from bot.files import Files, files_of
from bot.pacing import Pacer
from bot.slack import Identity, Workspace
from bot.turn import Message, Question

log = logging.getLogger(__name__)

READ_SLOT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 20.0
NAMES_TIMEOUT_S: Final = 2.0
ASKER_TIMEOUT_S: Final = 0.25
"""For names that only say who asks and where."""
THREAD_SHOWN_AFTER_S: Final = 1.0
FILES_SHOWN_AFTER_S: Final = 0.3

UNREAD_THREAD: Final = "I could not read the thread this time, so I saw only this message."
HALF_READ_THREAD: Final = "I could read only a part of the thread this time."
HALF_READ_DIRECT: Final = "I could read only the newest part of this conversation this time."
UNREAD_CHANNEL: Final = "I could not read what stands above in the channel this time."
UNSEEN_FILES: Final = "I could not find out whether files came with your message."

READING_THREAD: Final = "Reading the thread…"
READING_LONG_THREAD: Final = "Reading a long thread…"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What goes to Claude, and what the person must be told about it."""

    messages: list[Message]
    notes: list[str]
    orphans: list[Orphan]
    """Replies in the thread that were begun and never ended."""
    asks_something: bool
    """With words, files, what was shared with it or, in a thread, by what stands above."""
    asked_files: frozenset[str]
    """The ids of those that came with the question and were read."""
    less: Callable[[bool, Mapping[str, str]], Awaitable[list[Message]]]
    """The messages with half of the conversation, or without the files of these ids for the reasons
    given, which the notes then tell: for when Claude does not take all of it."""


class Conversations:
    """Reads what was said before a question."""

    def __init__(
        self,
        pacer: Pacer,
        files: Files,
        *,
        context_tokens: int,
        dm_gap_hours: float,
        channel_background: int = 0,
    ) -> None:
        self._pacer = pacer
        self._files = files
        self._context_tokens = context_tokens
        self._dm_gap_s = dm_gap_hours * 3_600
        self._channel_background = channel_background
        self._names = Names(pacer)
        self._room = Room(pacer)

    async def close(self) -> None:
        """Let go of the look-ups under way."""
        await self._names.close()

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Do not read the files of these ids again, for the reasons given."""
        self._files.refuse(reasons)

    def newest(self, text: str) -> str:
        """The end of `text`, if it is longer than half of what may go along."""
        return budget.end_of(text, self._context_tokens // 2)

    async def name_of(self, workspace: Workspace, user: str, timeout_s: float) -> str | None:
        """How people call `user`; None if Slack does not tell it in time."""
        person = (await self._names.people(workspace, [user], timeout_s)).get(user)
        return person.name if person is not None and person.name != user else None

    async def read(
        self, workspace: Workspace, question: Question, show: Callable[[str], None]
    ) -> Conversation:
        """The conversation that ends with `question`. Never fails: what was not read is said.
        `show` is told what takes long."""
        in_channel = question.channel if question.surface == "channel" else None
        self._names.ask_for(workspace, question.user, in_channel)  # beside the thread
        history, notes = await self._history(workspace, question, show)
        material = await self._material(history, question, workspace)
        kept = material.within(self._context_tokens)
        read = [material.asked] if material.is_background else [*kept.lines, material.asked]
        files = [line.files for line in read]
        async with _said_after(FILES_SHOWN_AFTER_S, self._files.named(files), show):
            named, reading = await asyncio.gather(
                self._named(workspace, question, mentioned(kept, material)),
                self._files.read(
                    workspace,
                    files,
                    left_out=[line.files for line in kept.left_out],
                    unasked=[line.files for line in kept.lines] if material.is_background else [],
                ),
            )
        of_thread = [*notes]
        notes += reading.notes

        async def less(halved: bool, unread: Mapping[str, str]) -> list[Message]:
            most = min(self._context_tokens, material.size) // 2
            lines = material.within(most) if halved else kept
            rest = reading.without(unread)
            notes[:] = [*of_thread, *rest.notes]
            return await compose(lines, material, named, rest)

        messages = await compose(kept, material, named, reading)
        in_thread = question.thread_ts not in (None, question.ts)
        ids = frozenset(str(file.get("id")) for file in material.files)
        asked_files = ids & reading.attachments.keys()
        return Conversation(
            messages,
            notes,
            orphans(workspace, history.messages, question),
            asks_something=material.says_something
            or bool(asked_files if material.files else in_thread and kept.lines),
            asked_files=asked_files,
            less=less,
        )

    async def _history(
        self, workspace: Workspace, question: Question, show: Callable[[str], None]
    ) -> tuple[History, list[str]]:
        """What was read, and the notes about what was not."""
        held = AsyncExitStack()

        def on_long() -> None:
            held.enter_context(self._room.begun(question.team))
            show(READING_LONG_THREAD)

        reader = Reader(
            workspace,
            question,
            lambda is_first: self._slot(question, is_first),
            self._context_tokens,
            on_long=on_long,
        )
        in_thread = question.thread_ts is not None and question.thread_ts != question.ts
        unread = UNREAD_THREAD
        notes: list[str] = []
        try:
            async with (
                held,
                asyncio.timeout(READ_TIMEOUT_S),
                _said_after(THREAD_SHOWN_AFTER_S, READING_THREAD, show),
            ):
                if in_thread:
                    await reader.thread(str(question.thread_ts))
                elif question.surface == "direct":
                    if question.thread_ts is None:
                        await reader.direct(lambda: self._has_start(reader, workspace, question))
                elif self._channel_background:
                    unread = UNREAD_CHANNEL
                    await reader.channel(self._channel_background)
        except (SlackError, TimeoutError) as error:
            self._unread(question, error)
            notes.append(HALF_READ_THREAD if reader.history.messages else unread)
        else:
            half_read = HALF_READ_THREAD if in_thread else HALF_READ_DIRECT
            notes += [half_read] if reader.is_short else []
        if question.files is None and question.ts not in reader.history.messages:
            notes.append(UNSEEN_FILES)
        return reader.history, notes

    async def _has_start(self, reader: Reader, workspace: Workspace, question: Question) -> bool:
        lines = await lines_before(workspace, reader.history.messages, question)
        return len(self._since_the_start(lines, question, workspace.identity)) < len(lines)

    async def _material(
        self, history: History, question: Question, workspace: Workspace
    ) -> Material:
        identity = workspace.identity
        in_thread = question.thread_ts not in (None, question.ts)
        lines: Sequence[Line] = await lines_before(workspace, history.messages, question)
        if question.surface == "direct":
            lines = self._since_the_start(lines, question, identity)
        is_background = question.surface == "channel" and question.thread_ts in (None, question.ts)
        if is_background:  # the bot's own words there answer others
            others = [line for line in lines if not line.own]
            lines = others[max(0, len(others) - self._channel_background) :]
        # A direct message begins where the conversation does, the background has nobody's count.
        since = question.thread_ts if in_thread else lines[0].ts if lines else question.ts
        stamps = [ts for ts in sorted(history.messages) if str(since) < ts < question.ts]
        unread_at = None
        if history.gap_after is not None and history.gap_after < question.ts:
            unread_at = sum(line.ts <= history.gap_after for line in lines)
        files = question.files
        if files is None:  # an app_mention does not say, its message in the thread does
            files = files_of(history.messages.get(question.ts, {}))
        attachments = question.attachments or attachments_of(history.messages.get(question.ts, {}))
        return Material(
            question,
            identity,
            lines,
            has_root=bool(lines) and lines[0].ts == question.thread_ts,
            is_background=is_background,
            unread_at=unread_at,
            unread=history.gap,
            stamps=[] if is_background else stamps,
            files=files,
            cards=cards_of({"attachments": list(attachments)}),
        )

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
                kept += [line] if line.files else []  # it was answered: the new topic is the file
                break
            kept.append(line)
            later = at
        return kept[::-1]

    async def _named(self, workspace: Workspace, question: Question, users: Sequence[str]) -> Named:
        """How those `users` and the channel are called. Who asks alone, and nobody else is named,
        is hardly waited for: then the names are there for the next question."""
        is_alone = list(users) == [question.user]
        timeout_s = ASKER_TIMEOUT_S if is_alone else NAMES_TIMEOUT_S
        people = self._names.people(workspace, users, timeout_s)
        if question.surface == "direct":
            return Named(await people)
        channel = self._names.channel(workspace, question.channel, ASKER_TIMEOUT_S)
        return Named(*await asyncio.gather(people, channel))

    async def _slot(self, question: Question, is_first: bool) -> None:
        if is_first:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_SLOT_TIMEOUT_S):
                    await self._room.for_a_first_page(question.team)
        if not await self._pacer.read(question.team, READ_SLOT_TIMEOUT_S):
            raise TimeoutError

    def _unread(self, question: Question, error: Exception) -> None:
        if isinstance(error, RateLimited):
            self._pacer.pause_reads(question.team, error.retry_after_s)
        code = error.code if isinstance(error, SlackError) else "timeout"
        logs.warning(log, "thread_unread", code=code)


@asynccontextmanager
async def _said_after(
    seconds: float, status: str | None, show: Callable[[str], None]
) -> AsyncIterator[None]:
    """Show `status` if what is done meanwhile takes longer than that."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, show, status) if status is not None else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def _seconds(ts: str) -> int:
    return int(ts.partition(".")[0])


__all__ = [
    "HALF_READ_DIRECT",
    "HALF_READ_THREAD",
    "MARKING",
    "READING_LONG_THREAD",
    "READING_THREAD",
    "UNREAD_CHANNEL",
    "UNREAD_THREAD",
    "UNSEEN_FILES",
    "Card",
    "Conversation",
    "Conversations",
    "Orphan",
    "attachments_of",
    "cards_of",
    "is_new_start",
    "plain_text",
    "streams_of",
    "words_of",
]
