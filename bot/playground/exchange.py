"""One question and its reply, as a person in the channel sees them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from itertools import takewhile

from bot.playground.claude import Request, ScriptedClaude
from bot.playground.slack import Message, SlackEmulator

QUIET_S = 6.0  # without a script, a reply that has not changed for so long is taken to be whole
GIVE_UP_QUIET_S = 10.0

WORD_JOINER = "\u2060"
OPENING_FENCE = re.compile(r"\A\s*(`{3,}|~{3,})[^\n]*\n")
CLOSING_FENCE = re.compile(r"\n[ \t>]*(`{3,}|~{3,})\s*\Z")


@dataclass
class Exchange:
    """One question and its reply, as a person in the channel sees them. Times: the loop's clock."""

    title: str
    question: str
    channel: str
    ts: str
    root_ts: str
    is_dm: bool
    asked_at: float
    emulator: SlackEmulator
    claude: ScriptedClaude | None
    requests_before: int

    @property
    def messages(self) -> list[Message]:
        """The messages of the reply so far, in order."""
        later = (
            message
            for message in self.emulator.messages(self.channel)
            if message.ts > self.ts and self._is_here(message)
        )
        return list(takewhile(lambda message: message.bot_id, later))  # up to the next question

    def _is_here(self, message: Message) -> bool:
        if message.thread_ts is None:
            return self.is_dm
        return message.thread_ts == self.root_ts

    @property
    def texts(self) -> list[str]:
        """The Markdown of each message, as it was sent last."""
        return [message.sent_markdown for message in self.messages if message.sent_markdown]

    def words(self, message: Message) -> str:
        """What a message says: its Markdown, or its plain text where it is not Claude's."""
        if message.sent_markdown or self.status:
            return message.sent_markdown
        return message.sent_text

    @property
    def status(self) -> str:
        """The small line under the last message, or the thread's status line."""
        messages = self.messages
        lines = list(_context_lines(messages[-1])) if messages else []
        return " · ".join(lines) or self.emulator.status(self.channel, self.root_ts)

    @property
    def request(self) -> Request | None:
        """The newest request to the scripted Claude since the question was asked."""
        requests = self.claude.requests[self.requests_before :] if self.claude else []
        return requests[-1] if requests else None

    @property
    def edits(self) -> int:
        """How often a message of the reply was edited."""
        return self._changes("chat.update")

    @property
    def appends(self) -> int:
        """How often a stream of the reply grew, or was stopped."""
        return self._changes("chat.appendStream", "chat.stopStream")

    def _changes(self, *methods: str) -> int:
        return sum(
            revision.method in methods
            for message in self.messages
            for revision in message.revisions
        )

    @property
    def is_streaming(self) -> bool:
        """Whether a native stream of the reply is open: people see that more is to come."""
        return any(message.stream and message.stream.is_open for message in self.messages)

    @property
    def sign_s(self) -> float | None:
        """From the question to the first sign of life: a placeholder, or a status line."""
        times = [message.revisions[0].at for message in self.messages if message.revisions]
        times += [
            status.at
            for status in self.emulator.statuses
            if status.status and status.thread_ts == self.root_ts and status.at >= self.asked_at
        ]
        return min(times) - self.asked_at if times else None

    @property
    def words_s(self) -> float | None:
        """From the question to the first words of Claude."""
        times = [
            revision.at
            for message in self.messages
            for revision in message.revisions
            if revision.markdown
        ]
        return min(times) - self.asked_at if times else None

    @property
    def last_change_s(self) -> float:
        """From the question to the newest change, which is the final one in the end."""
        times = [message.revisions[-1].at for message in self.messages if message.revisions]
        return max(times, default=self.asked_at) - self.asked_at

    @property
    def clock_s(self) -> float:
        """From the question to now."""
        return asyncio.get_running_loop().time() - self.asked_at

    @property
    def behind_s(self) -> float | None:
        """From Claude's last word to the final edit."""
        request = self.request
        if request is None or request.ended_at is None:
            return None
        return self.last_change_s + self.asked_at - request.ended_at

    @property
    def is_whole(self) -> bool:
        """Whether the reply shows all that the scripted Claude wrote."""
        request = self.request
        if request is None or not request.finished:
            return False
        return same_text(self.texts, request.sent_text)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, as far as one can tell from outside."""
        if self.claude is not None:
            return self.is_whole
        return bool(self.texts) and not (self.status or self.has_buttons or self.is_streaming)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will change, as far as one can tell from outside."""
        quiet_s = self.clock_s - self.last_change_s
        is_open = bool(self.status) or self.has_buttons or self.is_streaming
        if self.claude is None:
            return bool(self.texts) and not is_open and quiet_s > QUIET_S
        request = self.request
        if request is None or request.ended_at is None:
            return False
        return (self.is_whole and not is_open) or quiet_s > GIVE_UP_QUIET_S

    @property
    def has_buttons(self) -> bool:
        """Whether a message of the reply has buttons, such as Stop."""
        return any(
            block.get("type") == "actions"
            for message in self.messages
            for block in message.sent_blocks or []
        )


def same_text(parts: list[str], text: str) -> bool:
    """Whether the messages of a reply, one after the other, say exactly `text`.

    What a bot must add to cut a text is undone first: a code block that is cut is closed in the one
    message and opened again in the next, and a word joiner after `<` makes a mention harmless.
    White space counts everywhere but at the seams, where Slack would not show it anyway.
    """
    rest = text.replace(WORD_JOINER, "").strip()
    return _consumes([part.replace(WORD_JOINER, "") for part in parts], rest, is_first=True)


def _consumes(parts: list[str], rest: str, *, is_first: bool) -> bool:
    """Whether the parts use up the rest of the text, each undone in some way."""
    if not parts:
        return not rest.strip()
    rest = rest.lstrip()
    return any(
        rest.startswith(core) and _consumes(parts[1:], rest[len(core) :], is_first=False)
        for core in _undone(parts[0], is_first=is_first, is_last=len(parts) == 1)
    )


def _undone(part: str, *, is_first: bool, is_last: bool) -> list[str]:
    """The part as it is, without a fence that reopens code, without one that closes it, both."""
    starts = [part] if is_first else [part, OPENING_FENCE.sub("", part)]
    ends = starts if is_last else starts + [CLOSING_FENCE.sub("", start) for start in starts]
    return list(dict.fromkeys(end.strip() for end in ends))


def _context_lines(message: Message) -> list[str]:
    """The words of the context blocks of a message."""
    return [
        str(element.get("text", ""))
        for block in message.sent_blocks or []
        if block.get("type") == "context"
        for element in block.get("elements", [])
    ]
