"""The connections of one process to Redis, and calls over them that end in time."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from bot import logs
from bot.clock import Clock
from bot.errors import StoreUnavailable

log = logging.getLogger(__name__)

CLOSE_S: Final = 0.7
CALL_S: Final = 1.5
"""Every call has ended by then: Slack wants its answer within 3 s, and `accept` is before it."""
CONNECT_S: Final = 1.0
OPEN_S: Final = 5.0
"""How long the start waits for a Redis that starts, too."""
OPEN_AGAIN_S: Final = 0.25
CONNECTIONS: Final = 5
"""One hears the news, the others carry calls of a millisecond. Heroku's smallest Redis accepts 20
connections in all: four processes, as while a web and a worker dyno are replaced."""


class Link:
    """What the parts of the store share: scripts, the channel of the news, and who asks.

    Calls are not repeated: after a lost answer nobody knows whether a script has run. A connection
    that Redis has closed is noticed when it is taken from the pool, so that a Redis that was
    restarted costs no call.
    """

    def __init__(self, client: Redis, prefix: str, owner: str) -> None:
        self.owner = owner
        self.channel = f"{prefix}news"
        self.closed = False
        self._client = client
        self._prefix = prefix
        self._scripts: dict[str, AsyncScript] = {}
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(cls, url: str, clock: Clock, prefix: str, owner: str) -> Link:
        """A link that works. Raises StoreUnavailable with what the operator should look at."""
        link = cls(_client(url), prefix, owner)
        try:
            await link._reach(clock)
        except BaseException:
            await link.close()
            raise
        return link

    async def run(self, script: str, *args: str | int) -> Any:
        """Run a Lua script as one step; its ARGV are the owner and `args`, its one key the prefix
        of all keys. Raises StoreUnavailable."""
        found = self._scripts.get(script)
        if found is None:
            found = self._scripts[script] = self._client.register_script(script)
        async with self._call():
            return await found(keys=[self._prefix], args=[self.owner, *args])

    async def publish(self, message: str) -> None:
        """Tell everybody who hears the news. Raises StoreUnavailable."""
        async with self._call():
            await self._client.publish(self.channel, message)

    async def ping(self) -> None:
        """Return if Redis answers. Raises StoreUnavailable."""
        async with self._call():
            await self._client.ping()

    def pubsub(self) -> PubSub:
        """Something to hear the news with, over a connection of its own."""
        return self._client.pubsub()

    async def close(self) -> None:
        """Let the calls that are under way end, and close all connections."""
        self.closed = True
        with suppress(RedisError, OSError):  # of a Redis that does not answer any more
            async with asyncio.timeout(CLOSE_S):
                await self._idle.wait()
                await self._client.aclose()

    async def _reach(self, clock: Clock) -> None:
        until = clock.now() + OPEN_S
        for tries in itertools.count():
            try:
                return await self.ping()
            except StoreUnavailable as error:
                if clock.now() >= until or not _may_pass(error.__cause__):
                    cause = str(error).rstrip(".")
                    raise StoreUnavailable(
                        f"{cause}. Check that Redis runs and that REDIS_URL leads to it."
                    ) from error.__cause__
                if tries == 0:
                    kind = type(error.__cause__).__name__
                    logs.warning(log, "redis_unreachable", kind=kind, waits_s=OPEN_S)
            await clock.sleep(OPEN_AGAIN_S)

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[None]:
        if self.closed:
            raise StoreUnavailable("redis: the store is closed")
        self._under_way += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(CALL_S):
                yield
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"redis: {str(error) or 'no answer in time'}") from error
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


def _may_pass(cause: BaseException | None) -> bool:
    """Whether waiting may help: Redis is away or still loads its data."""
    if isinstance(cause, AuthenticationError):
        return False
    return isinstance(cause, (ConnectionError, TimeoutError, OSError))


def _client(url: str) -> Redis:
    """A client that has not connected yet. Raises StoreUnavailable for an unreadable URL."""
    options: dict[str, Any] = {}
    if url.startswith("rediss:"):
        # Heroku's certificates are self-signed: devcenter.heroku.com/articles/heroku-redis.
        # Where there are real ones, `?ssl_cert_reqs=required` in the URL has them checked.
        options["ssl_cert_reqs"] = "none"
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=CALL_S,
            # CALL_S bounds it. With a timeout of its own redis-py sends by `wait_for`, which may
            # swallow the caller's cancellation: github.com/python/cpython/issues/86296
            socket_timeout=None,
            socket_connect_timeout=CONNECT_S,
            decode_responses=True,
            protocol=2,  # RESP3 brings maintenance news, and with them closed connections unnoticed
            # No second try; but a primary that became a replica is left for the next connection.
            retry=Retry(NoBackoff(), 0, (ConnectionError, TimeoutError, ReadOnlyError)),
            **options,
        )
    except (ValueError, TypeError, RedisError):
        # The cause might quote the URL, and the password with it.
        raise StoreUnavailable(
            "redis: REDIS_URL cannot be read. It should look like redis://:password@host:6379/0,"
            " with rediss:// for TLS."
        ) from None
    return Redis.from_pool(pool)
