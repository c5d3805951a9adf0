"""Turns that nobody runs: left by an earlier process, by one that has died, or by a failure."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from bot import logs
from bot.conversation import Orphan
from bot.errors import StoreUnavailable
from bot.store import OpenTurn
from bot.turn import TurnKey
from bot.turns.means import Means

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 2.0
"""How often they are looked for: with the lease, 12 s after a crash."""
AGAIN_FIRST_S: Final = 5.0
AGAIN_MAX_S: Final = 60.0


class Runs(Protocol):
    """The turns that run in this process."""

    def has(self, key: TurnKey) -> bool:
        """Whether the turn runs here, or is just being accepted."""

    def take_over(self, entry: OpenTurn) -> None:
        """Run a turn whose lease was just taken."""


class Recovery:
    """Finds open turns, and starts them again."""

    def __init__(self, means: Means, runs: Runs) -> None:
        self._means = means
        self._runs = runs
        self._tries: dict[TurnKey, tuple[int, float]] = {}
        self._now = asyncio.Event()

    def look_now(self) -> None:
        """There is something to be found."""
        self._now.set()

    def forget(self, key: TurnKey) -> None:
        """The turn is settled."""
        self._tries.pop(key, None)

    async def watch(self) -> None:
        """Look for them for ever."""
        while True:
            self._now.clear()
            try:
                for entry in await self._means.store.abandoned():
                    await self._recover(entry)
            except StoreUnavailable as error:
                logs.warning(log, "journal_unread", detail=str(error))
            await self._until_next_look()

    async def settle_orphan(self, orphan: Orphan) -> None:
        """A reply in Slack that was begun and never ended: if no store knows of it (it was lost
        with its disk), end it."""
        question, streams = orphan.question, orphan.streams
        if self._runs.has(question.key) or self._means.store.is_doubtful:
            return
        try:
            if not await self._means.store.accept(question):
                return
            for part, ts in streams.items():
                await self._means.store.note_message(question.key, part, ts)
        except StoreUnavailable as error:
            logs.warning(log, "orphan_left", turn=str(question.key), detail=str(error))
            return
        now = self._means.clock.wall()
        logs.event(log, "orphan", turn=str(question.key))
        self._runs.take_over(OpenTurn(question, now, streams, only_ends=True))

    async def _until_next_look(self) -> None:
        waking = asyncio.ensure_future(self._now.wait())
        sleeping = asyncio.ensure_future(self._means.clock.sleep(LOOK_EVERY_S))
        try:
            await asyncio.wait([waking, sleeping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            sleeping.cancel()

    async def _recover(self, entry: OpenTurn) -> None:
        """Answer an open turn that nobody runs, in the same messages; again and again, less and
        less often, while Slack cannot be reached."""
        key = entry.question.key
        now = self._means.clock.now()
        tries, due = self._tries.get(key, (0, now))
        if self._runs.has(key) or now < due or not await self._means.store.take_up(key):
            return
        self._tries[key] = (tries + 1, now + min(AGAIN_MAX_S, AGAIN_FIRST_S * 2.0**tries))
        age_s = round(self._means.clock.wall() - entry.accepted_at, 1)
        logs.event(log, "recovering", turn=str(key), age_s=age_s, tries=tries)
        self._runs.take_over(entry)
