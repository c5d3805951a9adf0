"""What a reply should look like now: its text cut into messages. No calls, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot import blocks, markdown

MESSAGE_CHARACTERS: Final = 10_000
"""Rendered Markdown in one message: block text fails above some 11,000 (Slack says 12,000)."""
PART_CHARACTERS: Final = 9_600
"""Of Claude's own text; rendering may add to it."""
LEAST_CHARACTERS: Final = 1_000
HOLD_SHARE: Final = 0.75
"""Beyond this share of a message an interim edit ends at a line or word, where it can be cut."""

THINKING: Final = "Thinking…"
NOTHING: Final = "Claude had nothing to say to that. Please ask in another way."
STARTED_OVER: Final = "The connection broke. Claude has begun the reply again…"


@dataclass(frozen=True, slots=True)
class Content:
    """What one message should show."""

    body: str
    status: str | None
    end: int
    """How many characters of the part's text `body` shows."""


@dataclass(slots=True)
class Part:
    """One message of the reply."""

    number: int
    prefix: str = ""
    """Reopens the code fence that was cut at the end of the part before."""
    text: str = ""
    """Claude's own."""
    ts: str | None = None
    rev: int = 0
    sent: Content | None = None
    """What the last call that Slack took shows."""
    shown: int = 0
    """How many characters of `text` a person has seen."""
    plain: bool = False
    """Slack refused the Markdown: send it as plain text."""

    def render(self, end: int) -> str:
        """The first `end` characters as Slack gets them: inert, their fences whole."""
        return _render(self.text[:end], self.prefix)


class Draft:
    """The reply so far. Messages of an earlier run (`existing`, ts by part) are used again."""

    def __init__(self, existing: Mapping[int, str]) -> None:
        self.surplus = dict(existing)
        """Messages of ours that no part uses (any more): to be deleted at the end."""
        self.parts = [self._new_part(0)]
        self.settled = False
        self.status: str | None = THINKING
        self._arrived: list[str] = []
        self._limit = PART_CHARACTERS
        self._kept = ""
        """What an earlier try had written; stays in sight until the new text is longer."""
        self._started_over = False

    def add(self, delta: str) -> None:
        """More of Claude's text, which says more than any status did."""
        self._arrived.append(delta)
        self.status = None

    def restart(self) -> None:
        """The reply begins again. What was written stays in sight until there is more of it."""
        self.plan()
        written = "".join(part.text for part in self.parts)
        if len(written) > len(self._kept):
            self._kept = written
        self._clear()
        self._started_over = True

    def settle(self, reason: str | None, *, complete: bool) -> None:
        """No more text comes; `reason` says why it is not complete. Of two tries that both broke
        the longer text stays."""
        self.plan()
        if not complete and len(self._kept) > sum(len(part.text) for part in self.parts):
            self._clear()
            self._arrived = [self._kept]
        self.status = reason
        self.settled = True

    def withdraw(self) -> None:
        """Take back all the text."""
        self._kept = ""
        self._clear()

    def _clear(self) -> None:
        self._arrived.clear()
        self._drop_after(self.parts[0])
        self.parts[0].text, self.parts[0].shown = "", 0

    def abandon(self) -> None:
        """Give up every message."""
        self.withdraw()
        self._give_up(self.parts[0])

    def plan(self) -> None:
        """Move what has arrived into the last part, and begin another where it grows too long."""
        part = self.parts[-1]
        part.text += "".join(self._arrived)
        self._arrived.clear()
        while (end := self._end(part)) < len(part.text):
            rest, part.text = part.text[end:], part.text[:end]
            prefix = markdown.reopening(part.prefix + part.text)
            part = self._new_part(part.number + 1)
            part.prefix, part.text = prefix, rest
            self.parts.append(part)

    def halve(self, part: Part) -> bool:
        """Slack found `part` too long: cut it and what follows anew; False if it is short."""
        if self._limit <= LEAST_CHARACTERS:
            return False
        self._limit //= 2
        index = self.parts.index(part)
        part.text = "".join(other.text for other in self.parts[index:])
        part.shown = 0
        self._drop_after(part)
        return True

    def content(self, part: Part) -> Content:
        """What `part` should show now."""
        last = part is self._last()
        growing = last and not self.settled
        end = len(part.text)
        if growing and end > self._limit * HOLD_SHARE:
            end = markdown.last_break(part.text, end, part.shown)
        status = self.status if last else None
        if growing and self._started_over:
            status = status or STARTED_OVER
            if part.number == 0 and end < len(self._kept):
                return Content(_render(self._kept), status, 0)
        body = part.render(end)
        if not body and status is None:
            status = NOTHING if self.settled else THINKING
        return Content(body, status, end)

    def differs(self, part: Part) -> tuple[bool, bool]:
        """Whether `part` shows something else than it should: its text; only its status."""
        if part.number and not part.text.strip():
            return False, False
        if part.sent is None:
            return True, False
        last = part is self._last()
        if not last and part.sent.status is None and part.sent.end == len(part.text):
            return False, False
        content = self.content(part)
        return part.sent.body != content.body, part.sent.status != content.status

    def payload(self, part: Part, content: Content) -> tuple[str, list[dict[str, Any]]]:
        """`text` and `blocks` of a call that shows `content`."""
        body, status = content.body, content.status
        if not body and self.settled:
            notice = status or NOTHING
            return markdown.plain_beginning(notice), blocks.notice(notice)
        text = markdown.plain_beginning(body) or markdown.escape(status or THINKING)
        if part.plain:
            return text, blocks.plain(body) + blocks.reply("", status)
        return text, blocks.reply(body, status)

    def _end(self, part: Part) -> int:
        """Where the part ends: with all its text while that fits in one message."""
        limit = max(self._limit, part.shown)
        while True:
            end = markdown.cut(part.text, limit, part.shown)
            if end <= max(part.shown, 1) or len(part.render(end)) <= MESSAGE_CHARACTERS:
                return max(end, 1)
            limit = max(part.shown, limit * 9 // 10)

    def _last(self) -> Part:
        """The part that carries the status: the last one with something in it."""
        return next((part for part in reversed(self.parts) if part.text.strip()), self.parts[0])

    def _new_part(self, number: int) -> Part:
        return Part(number, ts=self.surplus.pop(number, None))

    def _drop_after(self, part: Part) -> None:
        index = self.parts.index(part)
        for other in self.parts[index + 1 :]:
            self._give_up(other)
        del self.parts[index + 1 :]

    def _give_up(self, part: Part) -> None:
        if part.ts is not None:
            self.surplus[part.number] = part.ts
        part.ts = part.sent = None


def _render(text: str, prefix: str = "") -> str:
    return markdown.close(markdown.neutralise(prefix + text)) if text.strip() else ""
