"""What processes tell each other at once, over one channel."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Final

from redis.exceptions import ConnectionError, RedisError

from bot import logs
from bot.clock import Clock
from bot.store import News
from bot.store.redis.link import CALL_S, Link
from bot.turn import Stop

log = logging.getLogger(__name__)

KINDS: Final = ("settled", "released", "deleted", "edited", "changed", "stop")
QUIET_S: Final = 10.0
"""After so long without a word the connection must show that it lives, within as long again."""
AGAIN_S: Final = (0.05, 0.2, 1.0, 2.0)
"""Waits before the next try while Redis is away; the last one for ever."""


class Wire:
    """News to and from the processes with the same prefix."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    async def tell(self, news: News) -> None:
        """Raises StoreUnavailable."""
        told: list[Any] = [self._link.owner, news.kind, news.team, news.channel, news.ts]
        told += [news.edited_ts] if news.stop is None else [news.edited_ts, asdict(news.stop)]
        await self._link.publish(json.dumps(told, separators=(",", ":")))

    async def hear(self) -> AsyncGenerator[News, None]:
        """What the others tell, until the store is closed."""
        tries = 0
        while not self._link.closed:
            try:
                async with aclosing(self._said()) as said:
                    async for message in said:
                        if message["type"] != "subscribe":
                            tries = 0
                        if news := self._read(message):
                            yield news
            except (RedisError, OSError) as error:
                if not self._link.closed:
                    if not tries:
                        logs.warning(log, "news_unheard", detail=str(error) or "no answer in time")
                    await self._clock.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
                    tries += 1

    async def _said(self) -> AsyncGenerator[dict[str, Any], None]:
        """Everything that comes over one connection. Raises RedisError or OSError when it ends."""
        pubsub = self._link.pubsub()
        try:
            async with asyncio.timeout(CALL_S):
                await pubsub.subscribe(self._link.channel)
            asked = False
            while True:
                async with asyncio.timeout(QUIET_S + CALL_S):  # it may connect anew meanwhile
                    message = await pubsub.get_message(timeout=QUIET_S)
                if message is not None:
                    asked = False
                    yield message
                elif asked:
                    raise ConnectionError("silent for too long")
                else:
                    asked = True
                    async with asyncio.timeout(CALL_S):
                        await pubsub.ping()
        finally:
            await pubsub.aclose()

    def _read(self, message: dict[str, Any]) -> News | None:
        """None if it is no news, our own, or of another version of the bot."""
        if message["type"] != "message":
            return None
        try:
            owner, kind, team, channel, ts, *more = json.loads(message["data"])
            stop = _stop(more[1]) if kind == "stop" else None
        except (ValueError, TypeError, LookupError):
            return None
        if owner == self._link.owner or kind not in KINDS:
            return None
        return News(kind, team, channel, ts, more[0] if more else "", stop)


def _stop(said: dict[str, Any]) -> Stop:
    return Stop(**(said | {"messages": tuple(said["messages"])}))
