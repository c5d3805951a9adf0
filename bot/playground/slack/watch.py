"""Waiting for the emulator's state to change, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from .records import Change


class Changes(AsyncIterator[Change]):
    """The visible changes from its making on, until it is closed."""

    def __init__(self, watch: Watch, channel: str | None) -> None:
        self._watch = watch
        self._channel = channel
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()
        watch.subscribers.add(self)

    def offer(self, change: Change) -> None:
        """Keep a change for the reader, if it is of the reader's channel."""
        if self._channel in (None, change.channel):
            self._queue.put_nowait(change)

    async def __anext__(self) -> Change:
        change = await self._queue.get()
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        """Take no more changes; a reader that waits comes to its end."""
        self.close()

    def close(self) -> None:
        """As `aclose`, from code that is not async."""
        self._watch.subscribers.discard(self)
        self._queue.put_nowait(None)


class Watch:
    """Wakes whoever waits for something to become true."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self.subscribers: set[Changes] = set()

    def bump(self) -> None:
        """Something changed: every waiter looks again."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def tell(self, change: Change) -> None:
        """Something visible changed."""
        for subscriber in tuple(self.subscribers):
            subscriber.offer(change)
        self.bump()

    def close(self) -> None:
        """End every subscription."""
        for subscriber in tuple(self.subscribers):
            subscriber.close()

    async def wait_for(
        self, predicate: Callable[[], object], timeout_s: float, describe: Callable[[], str]
    ) -> None:
        """Return once `predicate()` is true; TimeoutError with `describe()` after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            raise TimeoutError(f"not true within {timeout_s} s; {describe()}") from None
