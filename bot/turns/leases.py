"""That the turns under way are still ours: a process that was cut off, or asleep, may have been
given up by the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from bot import logs
from bot.clock import Clock
from bot.errors import StoreUnavailable
from bot.store import LEASE_S, RENEW_EVERY_S, Store
from bot.turn import TurnKey

log = logging.getLogger(__name__)

LAST_WORD_S: Final = 2.0
"""How long the end of a reply waits for a lease that is in doubt."""


class Leases:
    """The leases of this process, renewed in one step."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._held: dict[TurnKey, Callable[[], None]] = {}
        self._sure_until = clock.now() + LEASE_S
        self._renewed = asyncio.Event()

    def hold(self, key: TurnKey, on_lost: Callable[[], None]) -> None:
        """Renew the lease of `key`, which was just taken; `on_lost` says that another has it."""
        self._held[key] = on_lost

    def drop(self, key: TurnKey) -> None:
        """The turn has ended here."""
        self._held.pop(key, None)

    async def renew(self) -> None:
        """Renew them for ever."""
        while True:
            asked_at = self._clock.now()
            try:
                lost = await self._store.renew(list(self._held))
            except StoreUnavailable as error:
                logs.warning(log, "leases_in_doubt", turns=len(self._held), detail=str(error))
            else:
                self._sure_until = asked_at + LEASE_S
                self._renewed.set()
                self._renewed = asyncio.Event()
                for key in lost:
                    if (on_lost := self._held.pop(key, None)) is not None:
                        on_lost()
            await self._clock.sleep(RENEW_EVERY_S)

    @property
    def in_doubt(self) -> bool:
        """Whether another process may have taken the turns up."""
        return self._store.shared and self._clock.now() >= self._sure_until

    async def sure(self) -> None:
        """Wait until the turns are known to be ours. One that is not is stopped instead, so that
        whoever waits for this is cancelled."""
        while self.in_doubt:
            await self._renewed.wait()

    async def last_word(self) -> None:
        """The same for the end of a reply: while the store is away nobody can take the turn up, so
        after a moment its reply is finished all the same."""
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self.sure()
        except TimeoutError:
            logs.warning(log, "settled_in_doubt")
