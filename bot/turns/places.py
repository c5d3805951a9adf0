"""One reply at a time in a thread, in the order of the questions; so many at once; the others in
line. The store decides, over all processes; here they wait for it to decide again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bot import logs, metrics
from bot.errors import StoreUnavailable, TooManyQuestions
from bot.store import BEHIND_A_REPLY, Store
from bot.turn import Question, TurnKey
from bot.turns import sentences

log = logging.getLogger(__name__)

THREAD_WAIT_S: Final = 15 * 60.0
"""Longer than one reply may take, so that only a line of several slow ones reaches it."""
LINE_WAIT_S: Final = 120.0
LINE: Final = 2_000
"""Beyond so many waiting questions the next is refused at once."""
ASK_AGAIN_S: Final = 1.0
"""News of another process may be lost, so those who wait ask again now and then ..."""
SOON: Final = 50
"""... and the more seldom, the further back in the line they stand."""

Thread = tuple[str, str, str]


@dataclass(eq=False, slots=True)
class _Waiter:
    number: int
    """In line, as last heard; or BEHIND_A_REPLY."""
    called: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def patience_s(self) -> float:
        return ASK_AGAIN_S * (1 + max(0, self.number) / SOON)


Waiting = list[_Waiter]


class Places:
    """`limit` places over all processes that share `store`."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._threads: dict[Thread, Waiting] = {}
        self._line: Waiting = []
        self._waiting = 0

    @asynccontextmanager
    async def place(self, question: Question, tell: Callable[[str], None]) -> AsyncIterator[None]:
        """Wait for the question's turn. `tell` gets what to say if there is a wait. The place is
        free again when the turn is settled or released in the store.

        Raises TooManyQuestions when the line is full or the wait too long.
        """
        if (number := await self._ask(question.key)) != 0:
            await self._wait(question, number, tell)
        metrics.LIVE.inc()
        try:
            yield
        finally:
            metrics.LIVE.dec()

    async def is_behind_a_reply(self, question: Question) -> bool:
        """Whether another question of its thread is answered, or waits, in any process."""
        return await self._ask(question.key) == BEHIND_A_REPLY

    def changed(self, thread: Thread) -> None:
        """A turn of `thread` has ended, or was released: whoever waits may ask again."""
        for waiter in self._threads.get(thread, ()):  # any of them may be the earliest
            waiter.called.set()
        _call_first(self._line)

    async def _wait(self, question: Question, number: int, tell: Callable[[str], None]) -> None:
        if self._waiting >= LINE:
            raise TooManyQuestions("the line is full")
        self._waiting += 1
        metrics.WAITING.inc()
        try:
            while number != 0:
                if number == BEHIND_A_REPLY:
                    tell(sentences.AFTER)
                    number = await self._behind_a_reply(question)
                else:
                    tell(sentences.in_line(number))
                    number = await self._in(self._line, question.key, number, LINE_WAIT_S)
        finally:
            self._waiting -= 1
            metrics.WAITING.dec()

    async def _behind_a_reply(self, question: Question) -> int:
        thread = thread_of(question)
        line = self._threads.setdefault(thread, [])
        try:
            return await self._in(line, question.key, BEHIND_A_REPLY, THREAD_WAIT_S)
        finally:
            if not line:
                self._threads.pop(thread, None)

    async def _in(self, line: Waiting, key: TurnKey, number: int, wait_s: float) -> int:
        """Stand in `line` until the store says that it is the wrong one."""
        waiter = _Waiter(number)
        line.append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    await _called_or_impatient(waiter)
                    waiter.number = await self._ask(key)
                    behind = waiter.number == BEHIND_A_REPLY
                    if waiter.number == 0 or behind == (line is self._line):
                        return waiter.number
        except TimeoutError as error:
            raise TooManyQuestions("waited too long") from error
        finally:
            line.remove(waiter)
            _call_first(line)

    async def _ask(self, key: TurnKey) -> int:
        """What the store says, as soon as it can be reached."""
        while True:
            try:
                return await self._store.take_place(key, self._limit)
            except StoreUnavailable as error:
                logs.warning(log, "place_unknown", detail=str(error))
                await asyncio.sleep(ASK_AGAIN_S)


async def _called_or_impatient(waiter: _Waiter) -> None:
    """Until there is a reason to ask: a call, or time that has passed."""
    try:
        async with asyncio.timeout(waiter.patience_s):
            await waiter.called.wait()
    except TimeoutError:
        return
    finally:
        waiter.called.clear()


def _call_first(line: Waiting) -> None:
    if line:
        min(line, key=lambda waiter: waiter.number).called.set()


def thread_of(question: Question) -> Thread:
    """Where replies come one after the other: a thread, or a flat direct message."""
    return question.team, question.channel, question.reply_thread_ts or ""
