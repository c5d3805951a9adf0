"""The store of several processes: one Redis, its own structures and atomic scripts.

All keys begin with one prefix and go away by themselves. Redis's clock counts. Redis is no part of
a reply's way: while it is away, replies go on, and nothing new is accepted.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import suppress

from bot.clock import Clock
from bot.errors import StoreUnavailable
from bot.store import LEASE_S, News
from bot.store.redis import scripts
from bot.store.redis.journal import US, Journal
from bot.store.redis.ledger import RedisLedger
from bot.store.redis.link import Link
from bot.store.redis.news import Wire


class RedisStore(Journal):
    """Store of one of the processes that share a Redis and a prefix."""

    shared = True

    def __init__(self, link: Link, clock: Clock, lease_s: float, *, has_memory: bool) -> None:
        super().__init__(link, lease_s)
        self._wire = Wire(link, clock)
        self.ledger = RedisLedger(link, has_memory=has_memory)

    @classmethod
    async def open(
        cls,
        url: str,
        clock: Clock,
        *,
        prefix: str,
        owner: str | None = None,
        lease_s: float = LEASE_S,
    ) -> RedisStore:
        """The store at `url`, for the process `owner`: a random name unless it is given.

        Raises StoreUnavailable, with what to do about it, when Redis cannot be reached within
        seconds.
        """
        link = await Link.open(url, clock, prefix, owner or secrets.token_hex(4))
        try:
            was_used, born_us = await link.run(scripts.ENTER, round(lease_s * US), "new")
        except BaseException:
            await link.close()
            raise
        store = cls(link, clock, lease_s, has_memory=was_used == 1)
        store._told(born_us, 0)
        return store

    async def tell(self, news: News) -> None:
        await self._wire.tell(news)

    def news(self) -> AsyncIterator[News]:
        return self._wire.hear()

    async def peers(self) -> int:
        others: int = await self._link.run(scripts.PEERS, self._lease_us)
        return others

    async def leave(self) -> None:
        self._leaving = True
        await self._link.run(scripts.LEAVE)

    async def ping(self) -> None:
        await self._link.ping()

    async def close(self) -> None:
        if not self._leaving:
            with suppress(StoreUnavailable):  # the others will notice that nothing is heard of it
                await self.leave()
        await self._link.close()
