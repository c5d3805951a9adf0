"""The end of the process: replies finish, go on in another process, or are settled as they are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from bot import logs
from bot.errors import StoreUnavailable
from bot.store import Store
from bot.turns import end
from bot.turns.running import Running

log = logging.getLogger(__name__)

SETTLE_SHARE: Final = 0.4
"""Of the grace, for showing the interrupted replies' last state ..."""
CLOSE_S: Final = 2.0
"""... and for ending what is then still under way, and closing everything."""
TAKEN_WITHIN_S: Final = 1.0
"""Who takes a reply over does it within milliseconds of hearing that it may."""


class Leaving:
    """How the turns under way end with the process."""

    def __init__(self, store: Store, running: Running) -> None:
        self._store = store
        self._running = running
        self.how = end.AFTER_A_RESTART
        """In which replies are stopped that do not finish."""

    async def leave(self, grace_s: float) -> None:
        """Let replies finish; hand the others over to another process, or settle them; in time to
        close everything within `grace_s`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace_s - min(CLOSE_S, 0.4 * grace_s)
        settles_at = loop.time() + (1 - SETTLE_SHARE) * (ends_at - loop.time())
        if grace_s <= 0 or not self._running.runs():
            return
        await self._find_others()
        await self._running.finished(settles_at - loop.time())
        for run in self._running.runs():
            run.stop(self.how)
        await self._running.finished(ends_at - loop.time())
        await self._take_back(ends_at - loop.time())

    async def _find_others(self) -> None:
        """Find out who can go on with the replies here; those that have no text yet go at once."""
        try:
            await self._store.leave()
            has_peers = await self._store.peers() > 0
        except StoreUnavailable:
            has_peers = False
        if has_peers:
            self.how = end.HANDED_OVER
            for run in self._running.runs():
                if not run.has_text:
                    run.stop(self.how)

    async def _take_back(self, timeout_s: float) -> None:
        """End replies that were handed over, but that nobody has taken up: the others may be
        leaving too."""
        handed_over = self._running.handed_over
        if not handed_over or timeout_s <= TAKEN_WITHIN_S:
            return
        await asyncio.sleep(TAKEN_WITHIN_S)
        try:
            for entry in await self._store.abandoned():
                key = entry.question.key
                if entry.question.in_doubt:  # it shows nothing yet, and stays in the journal
                    continue
                if key in handed_over and await self._store.take_up(key):
                    self._running.start(entry.question, entry=replace(entry, only_ends=True))
        except StoreUnavailable as error:
            logs.warning(log, "handed_over_unseen", detail=str(error))
        await self._running.finished(timeout_s - TAKEN_WITHIN_S)
