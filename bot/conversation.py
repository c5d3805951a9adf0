"""A Slack thread → the messages that Claude reads; the newest ones when it is long."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot import blocks, logs, markdown
from bot.errors import RateLimited, SlackError
from bot.files import Files, files_of
from bot.pacing import Pacer
from bot.slack import Mark, SlackFile, SlackMessage, Workspace
from bot.turn import Attachment, Message, Question, TurnKey

log = logging.getLogger(__name__)

READ_SLOT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 20.0
NAMES_TIMEOUT_S: Final = 2.0
THREAD_PAGES: Final = 10
THREAD_PAGE: Final = 1_000
DIRECT_PAGE: Final = 100
NAMES_KEPT: Final = 5_000
CHARACTERS_PER_TOKEN: Final = 3
"""A careful estimate for current tokenizers, in UTF-8 bytes."""

UNREAD_THREAD: Final = "I could not read the thread this time, so I saw only this message."
HALF_READ_THREAD: Final = "I could read only a part of the thread this time."
SAID: Final = frozenset({"file_share", "thread_broadcast", "bot_message", "me_message"})
"""Subtypes that are still somebody saying something; joins, topics and the like are not."""

_ENTITY = re.compile(r"<([^<>\n]+)>")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What goes to Claude, and what the person must be told about it."""

    messages: list[Message]
    notes: list[str]
    unsettled: list[Question]
    """Questions (without text) whose reply in the thread was begun and never ended."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One message of the thread, before names and roles are settled."""

    own: bool
    speaker: str | None
    bot_name: str | None
    text: str
    files: tuple[SlackFile, ...] = ()


class Names:
    """How people are called, remembered for the latest few thousand of them."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def look_up(self, workspace: Workspace, users: Iterable[str]) -> dict[str, str]:
        """The display name of each user, the first ones first where the budget is short; the id
        where Slack does not tell in time."""
        team = workspace.identity.team
        wanted = dict.fromkeys(users)
        missing = [user for user in wanted if (team, user) not in self._known]
        tasks = []
        for user in missing:
            if not await self._pacer.look_up(team):
                break
            tasks.append(asyncio.create_task(self._learn(workspace, user)))
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=NAMES_TIMEOUT_S)
            for task in late:
                task.cancel()
        return {user: self._known.get((team, user), user) for user in wanted}

    async def _learn(self, workspace: Workspace, user: str) -> None:
        name = user
        try:
            name = await workspace.display_name(user)
        except RateLimited as error:
            self._pacer.pause_look_ups(workspace.identity.team, error.retry_after_s)
            return
        except SlackError as error:
            logs.warning(log, "name_unknown", user=user, code=error.code)
        self._known[(workspace.identity.team, user)] = _one_line(name)
        if len(self._known) > NAMES_KEPT:
            self._known.popitem(last=False)


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

    async def read(self, workspace: Workspace, question: Question) -> Conversation:
        """The conversation that ends with `question`. Never fails: what was not read is said."""
        notes: list[str] = []
        history: dict[str, SlackMessage] = {}
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                if not await self._history(workspace, question, history):
                    notes.append(HALF_READ_THREAD)
        except (SlackError, TimeoutError) as error:
            self._unread(question, error)
            notes.append(HALF_READ_THREAD if history else UNREAD_THREAD)
        before = _before(history.values(), question)
        if question.surface == "direct" and question.thread_ts is None:
            before = self._since_the_gap(before, question)
        lines = [line for message in before if (line := _line(message, workspace, question))]
        files = question.files
        if files is None:  # an app_mention does not say, its message in the thread does
            files = files_of(history.get(question.ts, {}))
        asked = _Line(
            own=False, speaker=question.user, bot_name=None, text=question.text, files=files
        )
        kept, left_out = _newest([*lines, asked], self._context_tokens)
        reading = await self._files.read(workspace, [line.files for line in kept])
        notes += reading.notes
        attached = [(reading.of(line.files), reading.missing(line.files)) for line in kept]
        messages = await self._messages(workspace, question, kept, attached, left_out)
        return Conversation(messages, notes, _unsettled(history, question))

    def _unread(self, question: Question, error: Exception) -> None:
        if isinstance(error, RateLimited):
            self._pacer.pause_reads(question.team, error.retry_after_s)
        code = error.code if isinstance(error, SlackError) else "timeout"
        logs.warning(log, "thread_unread", code=code)

    async def _history(
        self, workspace: Workspace, question: Question, found: dict[str, SlackMessage]
    ) -> bool:
        """Fill `found` (by ts) with what Slack has before the question; False if not with all."""
        if question.thread_ts is not None and question.thread_ts != question.ts:
            return await self._thread(workspace, question, question.thread_ts, found)
        if question.surface == "direct" and question.thread_ts is None:
            await self._slot(question)
            page, _ = await workspace.history_page(
                question.channel, latest=question.ts, limit=DIRECT_PAGE
            )
            found |= {str(message.get("ts")): message for message in page}
        return True

    async def _thread(
        self,
        workspace: Workspace,
        question: Question,
        thread_ts: str,
        found: dict[str, SlackMessage],
    ) -> bool:
        cursor: str | None = None
        for _ in range(THREAD_PAGES):
            await self._slot(question)
            page, cursor = await workspace.thread_page(
                question.channel, thread_ts, latest=question.ts, limit=THREAD_PAGE, cursor=cursor
            )
            found |= {str(message.get("ts")): message for message in page}
            if cursor is None:
                return True
        return False

    def _since_the_gap(
        self, messages: Sequence[SlackMessage], question: Question
    ) -> list[SlackMessage]:
        """A flat direct message is one conversation, back to a long silence."""
        kept: list[SlackMessage] = []
        later = _seconds(question.ts)
        for message in reversed(messages):
            at = _seconds(str(message.get("ts")))
            if later - at > self._dm_gap_s:
                break
            kept.append(message)
            later = at
        return kept[::-1]

    async def _slot(self, question: Question) -> None:
        if not await self._pacer.read(question.team, READ_SLOT_TIMEOUT_S):
            raise TimeoutError

    async def _messages(
        self,
        workspace: Workspace,
        question: Question,
        lines: Sequence[_Line],
        attached: Sequence[tuple[tuple[Attachment, ...], str]],
        left_out: int,
    ) -> list[Message]:
        identity = workspace.identity
        speakers = {line.speaker for line in lines if not line.own}
        # Somebody alone need not be told apart, and the request need not wait for a name.
        named = question.surface == "channel" and len(speakers) > 1
        wanted: list[str] = []
        for line in reversed(lines):
            wanted += [line.speaker] if named and line.speaker and line.bot_name is None else []
            wanted += re.findall(r"<@([UW]\w+)", line.text)
        people = [user for user in wanted if user != identity.bot_user_id]
        names = await self._names.look_up(workspace, people)

        def say(line: _Line, attachments: tuple[Attachment, ...], missing: str) -> Message:
            if line.own:
                return Message("assistant", markdown.scrub(line.text))
            text = plain_text(line.text, identity.bot_user_id, lambda user: names.get(user, user))
            if line.bot_name is not None:
                text = f"[{line.bot_name} (bot)] {text}"
            elif named and line.speaker:
                text = f"[{names.get(line.speaker, line.speaker)}] {text}"
            text = f"{text}\n{missing}".strip() if missing else text
            return Message("user", text, attachments)

        said = [say(line, *files) for line, files in zip(lines, attached, strict=True)]
        if left_out:
            said.insert(0, Message("user", f"[… {left_out} earlier messages left out …]"))
        return _alternating(said)


def plain_text(text: str, bot_user_id: str, name_of: Callable[[str], str]) -> str:
    """Slack's mrkdwn as plain text: mentions as names, links as they lead, entities unescaped.

    The bot's own mention is removed where it only addresses the bot (at either end), and named
    where it is part of the sentence. docs.slack.dev/messaging/formatting-message-text
    """
    own = rf"<@{re.escape(bot_user_id)}(?:\|[^>]*)?>"
    trimmed = re.sub(rf"^(?:\s*{own}[,:]?)+\s*|\s*(?:{own}\s*)+$", "", text)

    def entity(match: re.Match[str]) -> str:
        target, _, label = match[1].partition("|")
        if target.startswith("@"):
            return "@Claude" if target[1:] == bot_user_id else f"@{name_of(target[1:])}"
        if target.startswith("#"):
            return f"#{label or target[1:]}"
        if target.startswith("!"):
            return label or f"@{target[1:].split('^')[0]}"
        target = target.removeprefix("mailto:")
        return f"{label} ({target})" if label and label != target else target

    return markdown.scrub(markdown.unescape(_ENTITY.sub(entity, trimmed))).strip()


def _line(message: SlackMessage, workspace: Workspace, question: Question) -> _Line | None:
    """What `message` contributes; None if nobody said anything in it."""
    subtype = message.get("subtype")
    if subtype is not None and subtype not in SAID:
        return None
    identity = workspace.identity
    bot_id = message.get("bot_id")
    own = message.get("user") == identity.bot_user_id or (
        bot_id is not None and bot_id == identity.bot_id
    )
    found = message.get("blocks")
    rich = found if isinstance(found, list) else []
    if own:
        mark = Mark.of(message)
        if mark is not None and mark.turn == str(question.key):
            return None
        text = blocks.to_text(rich, own=True) if rich else str(message.get("text") or "")
    else:
        text = str(message.get("text") or "") or markdown.escape(blocks.to_text(rich))
    files = () if own else files_of(message)
    if not (text.strip() or files):
        return None
    bot_name = None if own or bot_id is None else _bot_name(message)
    return _Line(own=own, speaker=message.get("user"), bot_name=bot_name, text=text, files=files)


def _unsettled(history: Mapping[str, SlackMessage], question: Question) -> list[Question]:
    """Whose replies in `history` (by ts) have no last part, by the marks of their messages."""
    settled: dict[TurnKey, bool] = {}
    for message in history.values():
        mark = Mark.of(message)
        key = mark.key() if mark is not None else None
        if mark is not None and key is not None and key.channel == question.channel:
            settled[key] = settled.get(key, False) or mark.final
    found = []
    for key, is_settled in settled.items():
        asked = history.get(key.ts)
        later = any(other.ts == key.ts and other.run > key.run for other in settled)
        if is_settled or later or asked is None or key.team != question.team:
            continue
        if key.ts == question.ts or not isinstance(asked.get("user"), str):
            continue
        found.append(
            Question(
                team=key.team,
                channel=key.channel,
                user=asked["user"],
                ts=key.ts,
                surface=question.surface,
                thread_ts=asked.get("thread_ts"),
                run=key.run,
            )
        )
    return found


def _bot_name(message: SlackMessage) -> str:
    profile = message.get("bot_profile")
    name = profile.get("name") if isinstance(profile, dict) else message.get("username")
    return _one_line(str(name or "an app"))


def _one_line(name: str) -> str:
    """A name that cannot look like another speaker's line."""
    return " ".join(name.replace("[", "(").replace("]", ")").split())[:80]


def _before(messages: Iterable[SlackMessage], question: Question) -> list[SlackMessage]:
    """`messages` older than the question, oldest first. ts are strings of one shape: they sort."""
    older = [message for message in messages if str(message.get("ts")) < question.ts]
    return sorted(older, key=lambda message: str(message.get("ts")))


def _seconds(ts: str) -> int:
    return int(ts.partition(".")[0])


def _newest(lines: Sequence[_Line], context_tokens: int) -> tuple[list[_Line], int]:
    """The newest lines that fit, the last one always; and how many were left out."""
    size = 0
    kept = 0
    for line in reversed(lines):
        size += len(line.text.encode("utf-8", "replace")) // CHARACTERS_PER_TOKEN + 8
        if kept and size > context_tokens:
            break
        kept += 1
    return list(lines[len(lines) - kept :]), len(lines) - kept


def _alternating(messages: Iterable[Message]) -> list[Message]:
    """Valid for the API: roles alternate, the first and the last are the user's, none is empty."""
    merged: list[Message] = []
    for message in messages:
        if not (message.text.strip() or message.attachments):
            continue
        if merged and merged[-1].role == message.role:
            before = merged[-1]
            joined = f"{before.text}\n\n{message.text}" if before.text else message.text
            merged[-1] = Message(message.role, joined, before.attachments + message.attachments)
        else:
            merged.append(message)
    if merged and merged[0].role == "assistant":
        merged.insert(0, Message("user", "(The conversation begins with your message.)"))
    return merged
