"""Read a thread or a direct message: as much as the budget asks for, in few calls.

    thread: the first page; if it is not all:
        what is left is wanted, and fits into the calls left → page by page
        else the newest: guess since when there are as many messages as are wanted, and ask for
        those; a window with more than one page in it is narrowed, one with too few is widened
    direct message: page by page backwards, to a long silence or a new start
    channel: one page backwards, as background of a mention outside a thread

conversations.replies gives the oldest first, so the newest of a long thread have to be aimed at
(docs.slack.dev/reference/methods/conversations.replies). Apps that are sold outside Slack's
Marketplace get pages of 15 whatever they ask for; nothing here depends on the size of a page.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.conversation import budget
from bot.conversation.pages import Pages
from bot.slack import SlackMessage
from bot.turn import Question

CALLS: Final = 8
PAGE: Final = 1_000
"""The most that conversations.replies gives at once."""
DIRECT_CALLS: Final = 3
DIRECT_PAGE: Final = 200
MARGIN: Final = 1.25
"""How many more messages are read than seem to fit the budget."""
SAMPLE: Final = 100
AIM: Final = 0.8
"""The share of a page that a window should fill: with more in it, its newest are not on it."""
WAITED_US: Final = 20 * 60 * 1_000_000
"""A question waits no longer than that for the replies to earlier ones."""
WIDER: Final = 8.0
"""How much longer a window may be than the one before."""


@dataclass(slots=True)
class History:
    """What was read, by ts."""

    messages: dict[str, SlackMessage] = field(default_factory=dict)
    gap_after: str | None = None
    """After this message some were not read; "": before all of them."""
    gap: int = 0
    """How many; 0 where that is not known."""

    def add(self, page: Sequence[SlackMessage]) -> None:
        self.messages |= {str(message.get("ts")): message for message in page}

    def overlay(self, newer: History) -> None:
        """Show what a later reading of the same thread, which broke off, has read: from its root to
        its gap what is not there any more is gone."""
        if newer.gap_after:
            until = newer.gap_after
            gone = [ts for ts in self.messages if ts <= until and ts not in newer.messages]
            for ts in gone:
                del self.messages[ts]
        self.messages |= newer.messages


class Reader:
    """Reads into a `History`, which is true to what was read also when reading fails."""

    def __init__(
        self,
        pages: Pages,
        question: Question,
        slot: Callable[[bool], Awaitable[None]],
        context_tokens: int,
        *,
        on_long: Callable[[], None],
    ) -> None:
        self.history = History()
        self.is_short = False
        """There was no more to be had in so few calls, and it does not fill the budget."""
        self._pages = pages
        self._question = question
        self._slot = slot
        self._context_tokens = context_tokens
        self._on_long = on_long
        self._calls = 0
        self._counts = True
        """Slack's count of the replies tells of none that are not read: not so when a question is
        answered again, and others have come long after it."""
        # Replies to earlier questions may be newer than this one, which waited for them. What came
        # long after a question that is answered again has nothing to do with it.
        self._latest = _ts(_us(question.ts) + WAITED_US) if question.run else None

    async def direct(self, is_start: Callable[[], Awaitable[bool]]) -> None:
        """The direct message, back until `is_start`. Raises as `_slot` and Slack."""
        cursor: str | None = None
        for number in range(DIRECT_CALLS):
            await self._slot(number == 0)
            page, cursor = await self._pages.history_page(
                self._question.channel,
                latest=self._latest,
                limit=DIRECT_PAGE,
                cursor=cursor,
            )
            self.history.add(page)
            self.history.gap_after = ""
            if cursor is None or await is_start():
                self.history.gap_after = None
                return
        read = list(self.history.messages.values())
        self.is_short = bool(read) and self._wanted(read) > len(read)

    async def channel(self, most: int) -> None:
        """The last messages outside threads before the question. Raises as `_slot` and Slack."""
        await self._slot(True)
        page, _ = await self._pages.history_page(
            self._question.channel, latest=self._question.ts, limit=most + 1
        )
        self.history.add(page)

    async def thread(self, root_ts: str) -> None:
        """The thread, or its root and its newest messages. Raises as `_slot` and Slack."""
        page, is_all = await self._page(root_ts, None, self._latest)
        self.history.add(page)
        read = [message for message in page if str(message.get("ts")) != root_ts]
        if is_all:
            return
        self._on_long()
        self.history.gap_after = str(page[-1].get("ts")) if read else root_ts
        if not read:
            self.is_short = True
            return
        replies = _number(page[0].get("reply_count"))
        unread = max(0, replies - len(read))
        left = unread or len(read) * CALLS
        self._counts = self._latest is None or str(page[0].get("latest_reply")) <= self._latest
        # The question is none that is left out.
        asked = self._question.ts not in self.history.messages
        self.history.gap = max(0, unread - asked) if self._counts else 0
        wanted = self._wanted(read)
        if wanted >= left and left <= len(read) * (CALLS - 1):
            await self._forwards(root_ts)
            self.is_short = self.history.gap_after is not None
        else:
            latest = str(page[0].get("latest_reply") or self._question.ts)
            await self._backwards(root_ts, wanted, left, max(latest, self._question.ts))

    def _wanted(self, read: Sequence[SlackMessage]) -> int:
        """How many messages fill the budget, if the others are like some of these."""
        some = read[:: len(read) // SAMPLE + 1]
        texts = (str(message.get("text") or "") for message in some)
        size = sum(budget.tokens(text) + budget.LINE_TOKENS for text in texts)
        return int(self._context_tokens * len(some) / size * MARGIN) + 1

    async def _forwards(self, root_ts: str) -> None:
        history = self.history
        left = history.gap
        while self._calls < CALLS and (after := history.gap_after) is not None:
            page, is_all = await self._page(root_ts, after, self._latest)
            known = len(history.messages)
            history.add(page)
            left -= sum(ts != self._question.ts for ts in list(history.messages)[known:])
            history.gap = max(0, left)
            last = str(page[-1].get("ts")) if page else after
            history.gap_after = None if is_all else max(after, last)

    async def _backwards(self, root_ts: str, wanted: int, left: int, latest: str) -> None:
        newest = _Newest(self.history, root_ts, _us(latest) + 1, left)
        try:
            await self._aim(root_ts, newest, wanted)
            self.is_short = not newest.is_complete and len(newest.read) < newest.wanted
        finally:
            newest.finish(counts=self._counts)

    async def _aim(self, root_ts: str, newest: _Newest, wanted: int) -> None:
        aim = int(newest.page_size * AIM)
        newest.wanted = wanted
        span = (newest.since - newest.head) * min(1.0, wanted / newest.left, aim / newest.left)
        while self._calls < CALLS and not newest.is_complete and len(newest.read) < newest.wanted:
            # Before there are too few calls left for it, stop guessing and read what is missing.
            spare = CALLS - self._calls - math.ceil(newest.unread / newest.page_size)
            newest.forwards = newest.forwards or 0 <= spare <= 1
            start = newest.next_start(span)
            # The last window is open: replies that came meanwhile belong to the count, too.
            end = self._latest if not newest.read else _ts(newest.since)
            page, is_all = await self._page(root_ts, _ts(start), end)
            rows = newest.take(page, start, is_all=is_all)
            if newest.read:  # those at the beginning may have been longer, or shorter
                newest.wanted = self._wanted(list(newest.read.values()))
            if is_all:
                missing = min(aim, max(1, newest.wanted - len(newest.read)))
                # Hardly anything but the question: a long silence before it.
                widest = WIDER if rows > 2 else WIDER**2
                span *= min(widest, max(0.5, missing / max(1, rows)))

    async def _page(
        self, root_ts: str, oldest: str | None, latest: str | None
    ) -> tuple[list[SlackMessage], bool]:
        """A page of the thread with its root, oldest first; whether it holds all that was asked.
        Slack may give fewer than it has, also none: then it is the next one."""
        cursor: str | None = None
        page: list[SlackMessage] = []
        while self._calls < CALLS:
            await self._slot(self._calls == 0)
            self._calls += 1
            page, cursor = await self._pages.thread_page(
                self._question.channel,
                root_ts,
                oldest=oldest,
                latest=latest,
                limit=PAGE,
                cursor=cursor,
            )
            if cursor is None or any(str(message.get("ts")) != root_ts for message in page):
                break
        page = sorted(page, key=lambda message: str(message.get("ts")))
        return page, cursor is None


class _Newest:
    """The newest messages of a thread whose first page is known; times in microseconds."""

    def __init__(self, history: History, root_ts: str, end: int, left: int) -> None:
        self.left = left
        """How many there are after the first page."""
        self.page_size = len(history.messages) - 1
        self._history = history
        self._root_ts = root_ts
        self.head = _us(str(history.gap_after))
        """All up to here is known from the first page."""
        self.since = end
        """All from here on is known."""
        self.wanted = 0
        """How many are to be read, as far as is known."""
        self.read: dict[str, SlackMessage] = {}
        self._islands: list[tuple[int, int, dict[str, SlackMessage]]] = []
        """Windows of which only the first page was read: from, to, what."""
        self._replies = 0
        self.forwards = False
        """Windows are read to their end, not halved."""

    @property
    def unread(self) -> int:
        """How many messages were not read yet."""
        return self.left - len(self.read) - sum(len(rows) for _, _, rows in self._islands)

    @property
    def is_complete(self) -> bool:
        return self.since <= self.head

    def next_start(self, span: float) -> int:
        """Where the next window begins, which ends where the newest messages begin."""
        if not self._islands:
            if self.forwards:
                return self.head
            return max(self.head, self.since - max(1, int(span)))
        _, end, _ = self._islands[-1]
        return end

    def take(self, page: Sequence[SlackMessage], start: int, *, is_all: bool) -> int:
        """Put a window's first page where it belongs; how many messages it had."""
        rows = {}
        for message in page:
            if (ts := str(message.get("ts"))) == self._root_ts:
                self._replies = _number(message.get("reply_count"))
            elif _us(ts) >= start:
                rows[ts] = message
        if is_all:
            self.read |= rows
            self.since = start
            self._absorb()
        elif rows:
            last = _us(max(rows))
            self._islands.append((start, last, rows))
            if not self.forwards and (ahead := self._ahead(rows)) > 0:
                self._islands.append((last + ahead, last + ahead, {}))
        return len(rows)

    def _ahead(self, rows: Mapping[str, SlackMessage]) -> int:
        """How far after these rows the next window begins: so that a page is left, if the others
        follow as quickly; and not in the second half of what is left of this window."""
        first, last = _us(min(rows)), _us(max(rows))
        skipped = self.unread - int(self.page_size * AIM)
        return min((self.since - last) // 2, skipped * (last - first) // len(rows))

    def _absorb(self) -> None:
        while self._islands and self._islands[-1][1] >= self.since:
            start, _, rows = self._islands.pop()
            self.read |= rows
            self.since = min(self.since, start)

    def finish(self, *, counts: bool) -> None:
        """Leave in the history the root and the newest messages, with the gap between them; or all
        if there is no gap. Without any newer ones the first page stays, and the gap after it."""
        history = self._history
        if not self.read:
            return
        if self.is_complete:
            history.gap, history.gap_after = 0, None
        else:
            root = history.messages.get(self._root_ts)
            history.messages = {self._root_ts: root} if root is not None else {}
            history.gap = max(0, self._replies - len(self.read)) if counts else 0
            history.gap_after = self._root_ts
        history.messages |= self.read


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _us(ts: str) -> int:
    """A ts as microseconds; as a float it would lose digits."""
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 1_000_000 + int(fraction.ljust(6, "0")[:6] or 0)


def _ts(us: int) -> str:
    return f"{us // 1_000_000}.{us % 1_000_000:06d}"
