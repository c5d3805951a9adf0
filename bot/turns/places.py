"""So many replies at once, and the others in line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from bot import metrics
from bot.errors import TooManyQuestions

WAIT_S: Final = 120.0
LINE: Final = 2_000
"""Beyond so many waiting questions the next is refused at once."""


class Places:
    """`limit` places; whoever finds none waits in order, at most `WAIT_S`."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._line: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self, tell: Callable[[int], None]) -> AsyncIterator[None]:
        """Hold a place. `tell` gets the number in line, once, if there is a wait.

        Raises TooManyQuestions when the line is full or the wait too long.
        """
        await self._take(tell)
        metrics.LIVE.inc()
        try:
            yield
        finally:
            metrics.LIVE.dec()
            self._leave()

    async def _take(self, tell: Callable[[int], None]) -> None:
        if self._free > 0:
            self._free -= 1
            return
        if len(self._line) >= LINE:
            raise TooManyQuestions("the line is full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        tell(len(self._line))
        metrics.WAITING.inc()
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave()
            elif turn in self._line:
                self._line.remove(turn)
            if isinstance(error, TimeoutError):
                raise TooManyQuestions("waited too long") from error
            raise
        finally:
            metrics.WAITING.dec()

    def _leave(self) -> None:
        """Hand the place to the first in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
