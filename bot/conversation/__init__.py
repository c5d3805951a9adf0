"""A Slack thread → the messages that Claude reads; the newest ones when it is long.

thread   read it: the root and the newest, in few calls; or what stands above in the channel
lines    who said what; the bot's replies whole, its notices left out
orphans  replies that were begun and never ended
text     what a message says, and that it says nothing in another's name
budget   how much goes along, and where the beginning is cut
names    how people and channels are called
room     which thread is read first where reads are short
remembered  the last read of each thread, for when none is free
pages    when Slack is asked for the next page, and asked again
compose  the messages of the request
pieces   all that without keeping the event loop
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bot import logs
from bot.conversation import budget
from bot.conversation.compose import (
    MARKING,
    Material,
    Named,
    compose,
    mentioned,
    mentioned_channels,
)
from bot.conversation.lines import Line, lines_before
from bot.conversation.names import Names
from bot.conversation.orphans import Orphan, orphans
from bot.conversation.pages import Pages
from bot.conversation.remembered import Place, Remembered
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
from bot.errors import Doubtful, RateLimited, SlackError, Transient
from bot.files import Files, files_of
from bot.pacing import Pacer
from bot.slack import Identity, SlackMessage, Workspace
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
UNREAD_NEWEST: Final = "I could not read the newest messages this time."
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


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, and the notes about what was not."""

    history: History
    notes: list[str]
    is_new: bool
    """Not remembered from an earlier question."""


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
        self._remembered = Remembered(pacer.clock)

    async def close(self) -> None:
        """Let go of the look-ups under way."""
        await self._names.close()

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Do not read the files of these ids again, for the reasons given."""
        self._files.refuse(reasons)

    def forget(self, team: str, channel: str, ts: str) -> None:
        """Message `ts` was edited or deleted: what is remembered of its thread is not true."""
        self._remembered.forget(team, channel, ts)

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
        read_now = await self._history(workspace, question, show)
        history, notes = read_now.history, read_now.notes
        material = await self._material(history, question, workspace)
        kept = material.within(self._context_tokens)
        read = [material.asked] if material.is_background else [*kept.lines, material.asked]
        files = [line.files for line in read]
        async with _said_after(FILES_SHOWN_AFTER_S, self._files.named(files), show):
            named, reading = await asyncio.gather(
                self._named(
                    workspace, question, mentioned(kept, material), mentioned_channels(kept)
                ),
                self._files.read(
                    workspace,
                    files,
                    left_out=[line.files for line in kept.left_out],
                    unasked=[line.files for line in kept.lines] if material.is_background else [],
                    told=_told_files(workspace, history.messages, question),
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
            orphans(workspace, history.messages, question) if read_now.is_new else [],
            asks_something=material.says_something
            or bool(asked_files if material.files else in_thread and kept.lines),
            asked_files=asked_files,
            less=less,
        )

    async def _history(
        self, workspace: Workspace, question: Question, show: Callable[[str], None]
    ) -> _Read:
        held = AsyncExitStack()

        def on_long() -> None:
            held.enter_context(self._room.begun(question.team))
            show(READING_LONG_THREAD)

        pages = Pages(workspace, self._pacer, self._room, READ_SLOT_TIMEOUT_S)
        reader = Reader(pages, question, pages.slot, self._context_tokens, on_long=on_long)
        in_thread = question.thread_ts is not None and question.thread_ts != question.ts
        unread = UNREAD_THREAD
        notes: list[str] = []
        place, begun = _place(question), self._remembered.begin()
        older: History | None = None
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
            older = await self._older(place, reader.history, error)
            code = error.code if isinstance(error, SlackError) else "timeout"
            logs.warning(log, "thread_unread", code=code, remembered=older is not None)
            half_read = HALF_READ_THREAD if reader.history.messages else unread
            notes.append(half_read if older is None else UNREAD_NEWEST)
        else:
            half_read = HALF_READ_THREAD if in_thread else HALF_READ_DIRECT
            notes += [half_read] if reader.is_short else []
            if place is not None:
                await self._remembered.keep(place, reader.history, begun)
        history = older or reader.history
        if question.files is None and question.ts not in history.messages:
            notes.append(UNSEEN_FILES)
        return _Read(history, notes, is_new=older is None)

    async def _older(
        self, place: Place | None, read: History, error: SlackError | TimeoutError
    ) -> History | None:
        """What is remembered of a thread that could not be read now; None if what was `read` of it
        before the error is newer. What Slack will not show any more is forgotten."""
        if place is None:
            return None
        if not isinstance(error, TimeoutError | RateLimited | Doubtful | Transient):
            self._remembered.drop(place)
            return None
        older = await self._remembered.recall(place)
        if older is None or max(read.messages, default="") >= max(older.messages):
            return None
        older.overlay(read)
        return older

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
        # A thread may begin under a reply to an earlier question.
        has_root = in_thread and bool(lines) and lines[0].ts <= str(question.thread_ts)
        return Material(
            question,
            identity,
            lines,
            has_root=has_root,
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

    async def _named(
        self,
        workspace: Workspace,
        question: Question,
        users: Sequence[str],
        channels: Sequence[str],
    ) -> Named:
        """How those `users`, the channel and the `channels` that are mentioned are called. For
        channels, and for who asks alone where nobody else is named, it hardly waits: then the names
        are there for the next question."""
        is_alone = list(users) == [question.user]
        timeout_s = ASKER_TIMEOUT_S if is_alone else NAMES_TIMEOUT_S
        people = self._names.people(workspace, users, timeout_s)
        others = self._names.channels(workspace, channels, ASKER_TIMEOUT_S)
        if question.surface == "direct":
            known, named = await asyncio.gather(people, others)
            return Named(known, channels=named)
        channel = self._names.channel(workspace, question.channel, ASKER_TIMEOUT_S)
        return Named(*await asyncio.gather(people, channel, others))


def _place(question: Question) -> Place | None:
    """The thread, or the flat direct message, that is read for a question, if it is the newest of
    it that is: a question that is answered again is not read to the end."""
    is_flat = question.surface == "direct" and question.thread_ts is None
    if question.run or not (is_flat or question.thread_ts not in (None, question.ts)):
        return None
    return question.team, question.channel, question.thread_ts or ""


def _told_files(
    workspace: Workspace, history: Mapping[str, SlackMessage], question: Question
) -> frozenset[str]:
    """The ids of the files that earlier replies have told of, where they could not be read: of all
    that was there when the last question before this one was asked that has its reply."""
    keys = [
        mark.key()
        for message in history.values()
        if (mark := workspace.mark_of(message)) is not None and mark.final
    ]
    answered = [key.ts for key in keys if key is not None and key.ts < question.ts]
    if not answered:
        return frozenset()
    until = max(answered)
    told, new = set[str](), set[str]()
    for ts, message in history.items():
        ids = {str(file.get("id")) for file in files_of(message)}
        (told if ts <= until else new).update(ids)
    return frozenset(told - new)


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
    "UNREAD_NEWEST",
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
    "words_of",
]
