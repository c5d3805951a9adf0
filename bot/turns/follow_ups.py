"""Messages without a mention, in threads where the bot was asked: which ones are for it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

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
SLOT_TIMEOUT_S: Final = 60.0
PAGES: Final = 3
PAGE: Final = 1_000


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
        self._looked: OrderedDict[Thread, float] = OrderedDict()
        """Threads that were looked up, with what the store's memory began with then."""
        self._looking = asyncio.Lock()

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
        return None if is_known or self._was_looked_up(thread) else replace(message, in_doubt=True)

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
        return None  # deleted or edited: how a turn ends then is the same for all

    async def _is_meant(self, question: Question, workspace: Workspace) -> bool:
        if self._following(question.channel) == "off":
            return False
        thread = thread_of(question)
        async with self._looking:  # so that two messages of one thread look once
            if not await self._is_followed(question) and not self._was_looked_up(thread):
                askers = await self._askers(thread, workspace)
                await self._store.note_askers(*thread, askers)
                self._looked[thread] = self._store.remembers_since
                if len(self._looked) > LOOKED:
                    self._looked.popitem(last=False)
                logs.event(log, "thread_looked_up", askers=len(askers))
        is_followed = await self._is_followed(question)
        if is_followed:
            await self._store.note_askers(*thread, [question.user])
        return is_followed

    async def _is_followed(self, question: Question) -> bool:
        askers = await self._store.asked_in(*thread_of(question))
        if self._following(question.channel) == "own":
            return question.user in askers
        return bool(askers)

    def _was_looked_up(self, thread: Thread) -> bool:
        """Whether all that Slack knows of the thread's askers is in the store."""
        return self._looked.get(thread) == self._store.remembers_since

    async def _askers(self, thread: Thread, workspace: Workspace) -> frozenset[str]:
        """Who has asked in the thread lately: the marks of our replies name the messages."""
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
        return frozenset(senders[ts] for ts in answered if ts in senders)

    async def _page(
        self, thread: Thread, workspace: Workspace, cursor: str | None
    ) -> tuple[list[SlackMessage], str | None]:
        team, channel, thread_ts = thread
        if not await self._pacer.read_aside(team, SLOT_TIMEOUT_S):
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
