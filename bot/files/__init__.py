"""Slack files → what Claude can read of them, and why the others were not read."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from bot import logs, markdown
from bot.errors import FileUnread, RateLimited, SlackError
from bot.files import converter, kinds
from bot.files.converter import Converter
from bot.slack import SlackFile, Workspace, downloads
from bot.turn import Attachment

log = logging.getLogger(__name__)

FILES: Final = 10
FILE_BYTES: Final = 20_000_000
SENT_BYTES: Final = 20_000_000
"""In all: a request may have 32 MB, and base64 makes 27 of these."""
SENT_PAGES: Final = 100
"""In all: a page costs some 2,000 tokens, and small models take no more."""
FILE_CHARACTERS: Final = 100_000
SENT_CHARACTERS: Final = 150_000
"""In all: some 50,000 tokens."""
TOGETHER: Final = 3
"""Files of one question at the same time."""
FETCHING: Final = 4
"""Files of all questions at the same time: each may be in memory with its 20 MB."""
HELD_BYTES: Final = 100_000_000
"""Of all replies that are under way: each keeps its files until it ends, for another attempt."""
READ_TIMEOUT_S: Final = 60.0
REFUSED: Final = 1_000
"""Files that Claude did not accept: so many are remembered."""
REFUSED_S: Final = 3_600.0
"""Those that were too much, so long: the thread may have another beginning then."""
KNOWN: Final = 1_000
"""Files whose names Slack had to be asked for: so many names are remembered."""
NAMED: Final = 10
"""More than so many files of one message, or of earlier ones, that were not read are only counted;
those that came with the question are named."""
UNREAD_CHARACTERS: Final = 1_100
LISTED_CHARACTERS: Final = 300
"""Of a status line, which has 2,000: for the files that were not read, and those cut."""

TOO_MANY: Final = f"I read only the {FILES} newest files"
TOO_FAR_BACK: Final = "it is further back than I read"
TOO_MUCH: Final = "together the files are more than I can read at once"
TOO_BUSY: Final = "I am busy with too many large files at this moment"
TOO_SLOW: Final = "reading took too long"
UNREADABLE: Final = "I could not read it"
PASSING: Final = frozenset(
    {
        *(TOO_MANY, TOO_FAR_BACK, TOO_MUCH, TOO_BUSY, TOO_SLOW, UNREADABLE),
        *(converter.TOO_SLOW, downloads.TOO_SLOW, downloads.UNREACHABLE),
    }
)
"""Reasons that need not hold for the next question; the others are told once in a thread."""


def files_of(message: Mapping[str, Any]) -> tuple[SlackFile, ...]:
    """The files of a message, and of one that it shares, as an event or history shows them."""
    shared = message.get("attachments")
    holders = [message, *(shared if isinstance(shared, list) else [])]
    found = [one.get("files") for one in holders if isinstance(one, Mapping)]
    files = [file for some in found if isinstance(some, list) for file in some]
    return tuple(file for file in files if isinstance(file, dict))


class LookUps(Protocol):
    """The budget for files.info: what `Pacer` has of it."""

    async def look_up_file(self, team: str) -> bool:
        """Take a look-up if one is free now."""

    def pause_file_look_ups(self, team: str, seconds: float) -> None:
        """Take none for `seconds`."""


@dataclass(slots=True)
class Reading:
    """What came of the files of a conversation."""

    attachments: dict[str, Attachment] = field(default_factory=dict)
    """By the id of the file."""
    unread: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name and reason by the id of the file."""
    unasked: dict[str, str] = field(default_factory=dict)
    """Names of those that nobody asked about, by the id of the file."""
    cut: list[str] = field(default_factory=list)
    """The names of those of which only the beginning was read."""
    without_sheets: list[str] = field(default_factory=list)
    """The names of those that have sheets that are too large."""
    asked: frozenset[str] = frozenset()
    """The ids of those that came with the question."""
    told: frozenset[str] = frozenset()
    """The ids of those that an earlier reply has told of."""

    def of(self, files: Iterable[SlackFile]) -> tuple[Attachment, ...]:
        """The attachments of one message, in its order."""
        ids = dict.fromkeys(str(file.get("id")) for file in files)
        return tuple(self.attachments[one] for one in ids if one in self.attachments)

    def named(self, files: Iterable[SlackFile]) -> list[str]:
        """What Claude is told of the files of a message: whose they are, and which it cannot see;
        it would say otherwise that nothing is attached."""
        ids = dict.fromkeys(str(file.get("id")) for file in files)
        read = [self.attachments[one].name for one in ids if one in self.attachments]
        unread = [self.unread[one][0] for one in ids if one in self.unread]
        unread += [self.unasked[one] for one in ids if one in self.unasked]
        told = [("Attached", read), ("Attached, but not readable", unread)]
        return [f"[{words}: {', '.join(names[:NAMED])}]" for words, names in told if names]

    def without(self, reasons: Mapping[str, str]) -> Reading:
        """The same for a Claude that does not get the files of these ids, for the reasons given."""
        gone = {one: self.attachments[one].name for one in reasons if one in self.attachments}
        unread = {one: (name, reasons[one]) for one, name in gone.items()}
        return replace(
            self,
            attachments={one: kept for one, kept in self.attachments.items() if one not in gone},
            unread=self.unread | unread,
            cut=[name for name in self.cut if name not in gone.values()],
            without_sheets=[name for name in self.without_sheets if name not in gone.values()],
            told=self.told - gone.keys(),  # they were read then
        )

    @property
    def notes(self) -> list[str]:
        """The sentences that tell the person; none if there is nothing to tell."""
        asked, others = self._unread_now()
        more = max(0, len(others) - NAMED)
        told = _with_reasons([*asked, *others[:NAMED]], more)
        notes = [f"Not read: {told}."] if told else []
        if self.cut:
            notes.append(f"Read only to {FILE_CHARACTERS:,} characters: {_listed(self.cut)}.")
        if self.without_sheets:
            names = _listed(self.without_sheets)
            notes.append(f"Read without the sheets that are too large: {names}.")
        return notes

    def _unread_now(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Names and reasons of those that came with the question, and of the others: without those
        of which an earlier reply has told what still holds."""
        asked = [told for one, told in self.unread.items() if one in self.asked]
        others = [
            (name, reason)
            for one, (name, reason) in self.unread.items()
            if one not in self.asked and (reason in PASSING or one not in self.told)
        ]
        return asked, others


def _with_reasons(unread: Sequence[tuple[str, str]], more: int) -> str:
    """The names by reason, as far as there is room; how many more there are."""
    by_reason: dict[str, list[str]] = {}
    left = UNREAD_CHARACTERS
    named = 0
    for name, reason in unread:
        left -= len(markdown.escape(name)) + 2
        left -= 0 if reason in by_reason else len(markdown.escape(reason)) + 4
        if left < 0:
            break
        by_reason.setdefault(reason, []).append(name)
        named += 1
    told = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    return "; ".join([*told, *_more(len(unread) - named + more)])


def _listed(names: Sequence[str]) -> str:
    left = LISTED_CHARACTERS
    shown: list[str] = []
    for name in names:
        left -= len(markdown.escape(name)) + 2
        if left < 0:
            break
        shown.append(name)
    return ", ".join([*shown, *_more(len(names) - len(shown))])


def _more(count: int) -> list[str]:
    return [f"and {count} more"] if count else []


@dataclass(slots=True)
class _Room:
    """What still goes into one request."""

    bytes: int = SENT_BYTES
    pages: int = SENT_PAGES
    characters: int = SENT_CHARACTERS

    def take(self, attachment: Attachment, pages: int) -> bool:
        """Whether there is room, which is then taken."""
        size, characters = len(attachment.data), len(attachment.text)
        if size > self.bytes or pages > self.pages or characters > self.characters:
            return False
        self.bytes -= size
        self.pages -= pages
        self.characters -= characters
        return True


@dataclass(frozen=True, slots=True)
class _Content:
    attachment: Attachment
    pages: int = 0
    is_cut: bool = False
    lacks_sheets: bool = False


class Files:
    """Reads the files of conversations. Never fails: what was not read has its reason."""

    def __init__(self, budget: LookUps) -> None:
        self._budget = budget
        self._converter = Converter()
        self._fetching = asyncio.Semaphore(FETCHING)
        self._held_bytes = 0
        self._refused: dict[str, tuple[str, float]] = {}
        """Reason, and until when (of the loop's time)."""
        self._known: dict[str, str] = {}

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Do not read the files of these ids again, for the reasons given; for an hour, and unless
        they come with a question, where these may pass."""
        until = asyncio.get_running_loop().time() + REFUSED_S
        for file_id, reason in reasons.items():
            self._refused.pop(file_id, None)
            self._refused[file_id] = (reason, until if reason in PASSING else math.inf)
        while len(self._refused) > REFUSED:
            del self._refused[next(iter(self._refused))]

    def _refusal(self, file_id: str, file: SlackFile, *, is_asked: bool) -> str | None:
        """Why the file is not even asked for; such ones do not count."""
        reason, until = self._refused.get(file_id, ("", -math.inf))
        is_open = is_asked and reason in PASSING
        if until > asyncio.get_running_loop().time() and not is_open:
            return reason
        return _refusal(file)

    def _name(self, file: SlackFile) -> str:
        """What to call the file, also one whose name had to be asked for."""
        return self._known.get(str(file.get("id"))) or kinds.name_of(file)

    def named(self, messages: Sequence[Sequence[SlackFile]]) -> str | None:
        """What to show while the files of `messages` (the question last) are read; None if there
        are none to read."""
        asked = _by_id(messages[-1:])
        names = [
            self._name(file)
            for file_id, file in _by_id(messages).items()
            if not self._refusal(file_id, file, is_asked=file_id in asked)
        ]
        if not names:
            return None
        others = min(len(names), FILES) - 1
        more = f" and {others} more file{'s' if others > 1 else ''}" if others else ""
        return f"Reading {names[0]}{more}…"

    async def read(
        self,
        workspace: Workspace,
        messages: Sequence[Sequence[SlackFile]],
        *,
        left_out: Sequence[Sequence[SlackFile]] = (),
        unasked: Sequence[Sequence[SlackFile]] = (),
        told: frozenset[str] = frozenset(),
    ) -> Reading:
        """Read the files of `messages` (oldest message first, the question last): the newest,
        within the limits on number, size and time. Those of messages that were `left_out` are only
        named, and those that nobody asked about only to Claude. An earlier reply has `told` why
        those of these ids are not read, if that holds."""
        newest = _by_id(messages)
        reading = Reading(asked=frozenset(_by_id(messages[-1:])), told=told)
        room = _Room()
        waiting: list[tuple[str, SlackFile]] = []
        for file_id, file in newest.items():
            reason = self._refusal(file_id, file, is_asked=file_id in reading.asked)
            reason = reason or (TOO_MANY if len(waiting) >= FILES else None)
            if reason is None:
                waiting.append((file_id, file))
            else:
                reading.unread[file_id] = (self._name(file), reason)
        for file_id, file in _by_id(left_out).items():
            if file_id not in newest:
                reading.unread[file_id] = (self._name(file), TOO_FAR_BACK)
        for file_id, file in _by_id(unasked).items():
            if file_id not in newest:
                reading.unasked[file_id] = self._name(file)
        ends_at = asyncio.get_running_loop().time() + READ_TIMEOUT_S
        while waiting:
            together, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
            tasks = [asyncio.create_task(self._one(workspace, file)) for _, file in together]
            left_s = ends_at - asyncio.get_running_loop().time()
            try:
                await asyncio.wait(tasks, timeout=max(0.0, left_s))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for (file_id, file), task in zip(together, tasks, strict=True):
                content = TOO_SLOW if task.cancelled() else self._hold(task.result())
                _place(reading, room, file_id, self._name(file), content)
        if newest:
            read, unread = len(reading.attachments), len(reading.unread)
            logs.event(log, "files_read", read=read, unread=unread)
        return reading

    def _hold(self, content: _Content | str) -> _Content | str:
        """Count the content while somebody has it; the reason if it would be too much."""
        if isinstance(content, str):
            return content
        size = len(content.attachment.data)
        if self._held_bytes + size > HELD_BYTES:
            return TOO_BUSY
        self._held_bytes += size
        weakref.finalize(content.attachment, self._let_go, size)
        return content

    def _let_go(self, size: int) -> None:
        self._held_bytes -= size

    async def _one(self, workspace: Workspace, file: SlackFile) -> _Content | str:
        """What Claude gets of a file, or the reason for nothing."""
        try:
            async with self._fetching:
                return await self._content(workspace, file)
        except FileUnread as error:
            return error.reason
        except Exception as error:  # its text, or its traceback, may quote the file
            logs.warning(log, "file_failed", kind=type(error).__name__)
            return UNREADABLE

    async def _content(self, workspace: Workspace, file: SlackFile) -> _Content:
        file_id = str(file.get("id"))
        file = await self._described(workspace, file)
        promised = kinds.said(file)
        data = await workspace.download(file, FILE_BYTES)
        kind = kinds.found(data, promised)
        name = kinds.name_of(file)
        if kind == "text":
            text, is_cut = kinds.decode(data, promised, FILE_CHARACTERS)
            return _text(name, text, is_cut, file_id)
        about, content = await self._converter.convert(kind, data)
        if kind == "image":
            media_type = about.get("media_type")
            if media_type not in kinds.IMAGE_TYPES:
                raise FileUnread(kinds.DAMAGED)
            return _Content(Attachment("image", name, media_type, content, file_id=file_id))
        if kind == "pdf":
            pages = about.get("pages")
            attachment = Attachment("pdf", name, "application/pdf", content, file_id=file_id)
            return _Content(attachment, pages if isinstance(pages, int) else SENT_PAGES)
        text = kinds.clean(content.decode("utf-8", "replace"))[:FILE_CHARACTERS]
        read = _text(name, text, bool(about.get("cut")), file_id)
        return replace(read, lacks_sheets=bool(about.get("without_sheets")))

    async def _described(self, workspace: Workspace, file: SlackFile) -> SlackFile:
        """The file with its description: from another organisation (Slack Connect) only the id
        comes along (docs.slack.dev/reference/objects/file-object)."""
        if not _needs_look(file):
            return file
        team = workspace.identity.team
        if not await self._budget.look_up_file(team):
            raise FileUnread(TOO_BUSY)
        try:
            described = await workspace.file_info(str(file.get("id")))
        except SlackError as error:
            if isinstance(error, RateLimited):
                self._budget.pause_file_look_ups(team, error.retry_after_s)
            logs.warning(log, "file_unknown", code=error.code)
            raise FileUnread(
                kinds.DELETED if error.code in ("file_not_found", "file_deleted") else UNREADABLE
            ) from error
        self._known[str(file.get("id"))] = kinds.name_of(described)
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        return described


def _by_id(messages: Sequence[Sequence[SlackFile]]) -> dict[str, SlackFile]:
    """The files, those of the newest message first."""
    return {str(file.get("id")): file for files in reversed(messages) for file in files}


def _needs_look(file: SlackFile) -> bool:
    return file.get("file_access") == "check_file_info" or file.get("mode") == "file_access"


def _refusal(file: SlackFile) -> str | None:
    """What Slack's description says against reading the file."""
    if _needs_look(file):
        return None
    try:
        kinds.said(file)
    except FileUnread as error:
        return error.reason
    return None


def _place(reading: Reading, room: _Room, file_id: str, name: str, content: _Content | str) -> None:
    """Put what came of one file where it belongs."""
    if isinstance(content, str):
        reading.unread[file_id] = (name, content)
    elif not room.take(content.attachment, content.pages):
        reading.unread[file_id] = (name, TOO_MUCH)
    else:
        reading.attachments[file_id] = content.attachment
        if content.is_cut:
            reading.cut.append(name)
        if content.lacks_sheets:
            reading.without_sheets.append(name)


def _text(name: str, text: str, is_cut: bool, file_id: str) -> _Content:
    if is_cut:
        text += f"\n[… cut after {FILE_CHARACTERS:,} characters …]"
    attachment = Attachment("text", name, "text/plain", text=text, file_id=file_id)
    return _Content(attachment, is_cut=is_cut)
