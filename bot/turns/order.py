"""One reply at a time in a thread, in the order of the questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from bot.errors import TooManyQuestions
from bot.turn import Question

WAIT_S: Final = 15 * 60.0
"""Longer than one reply may take, so that only a line of several slow ones reaches it."""

Thread = tuple[str, str, str | None]


class ThreadOrder:
    """The replies under way and waiting, by thread (a flat direct message is one). Threads do not
    wait for each other."""

    def __init__(self) -> None:
        self._lines: dict[Thread, list[asyncio.Event]] = {}

    @asynccontextmanager
    async def turn(self, question: Question, tell: Callable[[], None]) -> AsyncIterator[None]:
        """Be the one that replies in the question's thread. `tell` is called if there is a wait.

        Raises TooManyQuestions when it takes too long.
        """
        thread = (question.team, question.channel, question.reply_thread_ts)
        line = self._lines.setdefault(thread, [])
        first = asyncio.Event()
        line.append(first)
        try:
            if line[0] is first:
                first.set()
            else:
                tell()
                await _within(first.wait())
            yield
        finally:
            line.remove(first)
            if line:
                line[0].set()
            else:
                del self._lines[thread]


async def _within(turn: Coroutine[Any, Any, object]) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            await turn
    except TimeoutError as error:
        raise TooManyQuestions("waited too long in a thread") from error
