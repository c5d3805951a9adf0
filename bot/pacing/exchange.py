"""What the processes tell each other of their live replies, by way of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from bot.clock import Clock
from bot.errors import StoreUnavailable
from bot.pacing.sharing import ANSWER_TICKS, TICK_S, Sharing
from bot.store.ledger import Ledger, Live

EXCHANGE_EVERY_S: Final = 1.0
STALE_S: Final = 5.0
"""What was heard so long ago says nothing about now."""


class Asking(Protocol):
    """The live replies of this process in one workspace."""

    def live(self) -> int:
        """How many there are."""

    def asks(self) -> Live:
        """What they will ask of the workspace's edits."""

    def review(self) -> None:
        """What the others will ask has changed."""


@dataclass(slots=True)
class _Heard:
    """Of the others, in one workspace."""

    lives: Sequence[Live] = ()
    at: float = 0.0
    once: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is known as well as it will be."""


class Exchange:
    """Tells and hears once a second in each workspace in which replies are live, and a last time
    when none is any more."""

    def __init__(self, clock: Clock, sharing: Sharing) -> None:
        self._clock = clock
        self._sharing = sharing
        self._heard: dict[str, _Heard] = {}

    def others(self, team: str) -> Sequence[Live]:
        """What the other processes told in the last few seconds."""
        heard = self._heard.get(team)
        if heard is None or self._sharing.away or self._clock.now() - heard.at > STALE_S:
            return ()
        return heard.lives

    async def begin(self, team: str, asking: Asking) -> None:
        """A reply is live: go on for as long as any is. Returns when the others are known, or the
        ledger does not answer in time."""
        ledger = self._sharing.shared
        if ledger is None:
            return
        heard = self._heard.setdefault(team, _Heard())
        if self._sharing.tasks.once(
            f"exchange:{team}", lambda: self._go_on(ledger, team, asking, heard)
        ):
            heard.once.clear()
            self._sharing.tasks.start("patience", self._end_the_wait(heard))
        await heard.once.wait()

    async def _end_the_wait(self, heard: _Heard) -> None:
        await self._clock.sleep(TICK_S * ANSWER_TICKS)
        heard.once.set()

    async def _go_on(self, ledger: Ledger, team: str, asking: Asking, heard: _Heard) -> None:
        told = True
        while told or asking.live():
            told = asking.live() > 0
            if not self._sharing.away:
                await self._talk(ledger, team, asking, heard)
            heard.once.set()
            if told:
                await self._clock.sleep(EXCHANGE_EVERY_S)

    async def _talk(self, ledger: Ledger, team: str, asking: Asking, heard: _Heard) -> None:
        number = self._sharing.next_number()
        try:
            lives, spent = await ledger.exchange(team, asking.asks())
        except StoreUnavailable:
            return self._sharing.lost()
        heard.lives, heard.at = lives, self._clock.now()
        self._sharing.mirrors.peers[team] = len(lives)
        self._sharing.mirrors.review(self._sharing.heard(spent, number))
        asking.review()
