"""Messages without a mention, in threads where the bot was asked: which ones are for it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

from bot import logs
from bot.clock import Clock
from bot.config import Following
from bot.errors import Doubtful, Draining, RateLimited, SlackError, Transient
from bot.pacing import Pacer
from bot.policy import Policy
from bot.slack import Slack, SlackMessage, Workspace
from bot.store import ASKED_DAYS, Store
from bot.turn import Outcome, Question
from bot.turns.end import End
from bot.turns.places import Thread, thread_of

log = logging.getLogger(__name__)

LOOKED: Final = 5_000
"""How many threads are remembered as looked up."""
FIND_OUT_S: Final = 5.0
"""The next question of the thread waits so long, until the turn is left open for another try."""
PAGES: Final = 3
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Look:
    """What a thread has told of those who have asked in it."""

    since: float
    """What the store remembered since then; if it has lost its memory again, so has this."""
    asked: Mapping[str, str]
    """The ts of the first time, by user."""


class FollowUps:
    """`following` says of each channel who is followed: "own", those who have asked in the thread;
    "all", everybody in a thread where somebody has; "off", nobody.

    The store remembers who has asked. What is older than its memory is looked up in Slack, once,
    and put into the store.
    """

    def __init__(
        self,
        *,
        store: Store,
        slack: Slack,
        pacer: Pacer,
        policy: Policy,
        clock: Clock,
        following: Callable[[str], Following],
    ) -> None:
        self._store = store
        self._slack = slack
        self._pacer = pacer
        self._policy = policy
        self._clock = clock
        self._following = following
        self._looked: OrderedDict[Thread, _Look] = OrderedDict()
        self._looking: WeakValueDictionary[Thread, asyncio.Lock] = WeakValueDictionary()

    async def heed(self, message: Question) -> Question | None:
        """The question that a message without a mention asks, perhaps in doubt; None if it is not
        for the bot. Nothing is said to people who may not ask: they have not addressed it.

        One read of the store at most; raises StoreUnavailable.
        """
        workspace = self._slack.of(message.team)
        if workspace is None or self._following(message.channel) == "off":
            return None
        if self._policy.refusal(message, workspace.identity.enterprise) is not None:
            return None
        if await self._is_followed(message):
            return message
        thread = thread_of(message)
        is_known = _seconds(thread[2]) >= self._store.remembers_since
        if is_known or self._last_look(thread) is not None:
            return None
        return replace(message, in_doubt=True)

    async def find_out(
        self, question: Question, workspace: Workspace, stopped: asyncio.Future[End]
    ) -> Outcome | None:
        """The outcome of a question in doubt if it is not for the bot, else None.

        Raises a BotError when that cannot be known now, or the process leaves: the question stays
        in the journal.
        """
        finding = asyncio.ensure_future(self._is_meant(question, workspace))
        either: list[asyncio.Future[Any]] = [finding, stopped]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not finding.done():
                finding.cancel()
                await asyncio.wait([finding])
        if not finding.cancelled():
            return None if finding.result() else Outcome.IGNORED
        if stopped.result().outcome in (None, Outcome.INTERRUPTED):
            raise Draining("whom a message is for was not known yet")
        if stopped.result().outcome is Outcome.STOPPED:
            return Outcome.IGNORED
        return None  # deleted or edited: how a turn ends then is the same for all

    async def _is_meant(self, question: Question, workspace: Workspace) -> bool:
        if self._following(question.channel) == "off":
            return False
        thread = thread_of(question)
        try:
            async with asyncio.timeout(FIND_OUT_S):
                look = await self._look(thread, workspace)
        except TimeoutError as error:
            raise Transient("conversations.replies", "not_in_time") from error
        is_meant = self._follows(question, look.asked)
        if is_meant:
            await self._store.note_askers(*thread, {question.user: question.ts})
        return is_meant

    async def _is_followed(self, message: Question) -> bool:
        return self._follows(message, await self._store.asked_in(*thread_of(message)))

    def _follows(self, message: Question, asked: Mapping[str, str]) -> bool:
        """Whether somebody had asked before, who is followed: a question that came after the
        message does not make it one."""
        own = self._following(message.channel) == "own"
        return any(
            ts <= message.ts for user, ts in asked.items() if not own or user == message.user
        )

    def _last_look(self, thread: Thread) -> _Look | None:
        """What the thread has told, unless the store has lost it since."""
        look = self._looked.get(thread)
        return look if look and look.since == self._store.remembers_since else None

    async def _look(self, thread: Thread, workspace: Workspace) -> _Look:
        """Look the thread up, if that was not done before, and tell the store."""
        async with self._looking.setdefault(thread, asyncio.Lock()):
            if (look := self._last_look(thread)) is None:
                asked = await self._asked(thread, workspace)
                await self._store.note_askers(*thread, asked)
                look = self._looked[thread] = _Look(self._store.remembers_since, asked)
                if len(self._looked) > LOOKED:
                    self._looked.popitem(last=False)
                logs.event(log, "thread_looked_up", askers=len(asked))
            return look

    async def _asked(self, thread: Thread, workspace: Workspace) -> dict[str, str]:
        """Who has asked in the thread lately, and the ts of the first time: the marks of our
        replies name the questions."""
        channel = thread[1]
        senders: dict[str, str] = {}
        answered: set[str] = set()
        cursor: str | None = None
        oldest = self._clock.wall() - ASKED_DAYS * 86_400
        for _ in range(PAGES):
            page, cursor = await self._page(thread, workspace, cursor)
            for message in page:
                mark = workspace.mark_of(message)
                key = mark.key() if mark is not None else None
                if key is None:
                    senders[str(message.get("ts"))] = str(message.get("user"))
                elif key.channel == channel and _seconds(key.ts) > oldest:
                    answered.add(key.ts)
            if cursor is None:
                break
        asked: dict[str, str] = {}
        for ts in sorted(answered & senders.keys()):
            asked.setdefault(senders[ts], ts)
        return asked

    async def _page(
        self, thread: Thread, workspace: Workspace, cursor: str | None
    ) -> tuple[list[SlackMessage], str | None]:
        team, channel, thread_ts = thread
        if not await self._pacer.read_aside(team, FIND_OUT_S):
            raise Transient("conversations.replies", "no_slot")
        try:
            return await workspace.thread_page(channel, thread_ts, limit=PAGE, cursor=cursor)
        except RateLimited as error:
            self._pacer.pause_reads(team, error.retry_after_s)
            raise
        except (Doubtful, Transient):
            raise
        except SlackError as error:  # a thread that may not be read is not followed
            logs.warning(log, "thread_unread", code=error.code)
            return [], None


def _seconds(ts: str) -> float:
    """When a message was sent, to compare with clocks only."""
    try:
        return float(ts)
    except ValueError:
        return 0.0
