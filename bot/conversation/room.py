"""Who reads first where reads are short: half a thread helps nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bot.pacing import Pacer

KEPT: Final = 2
"""Reads for each long thread that is begun: most need no more."""


class Room:
    """Keeps reads for the long threads that are begun, before the first pages of others."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._begun: Counter[str] = Counter()
        self._one_is_read = asyncio.Event()

    async def for_a_first_page(self, team: str) -> None:
        """Return when more reads are free than the threads that are begun may need."""
        while self._begun[team] and self._pacer.reads_free(team) <= KEPT * self._begun[team]:
            self._one_is_read.clear()
            await self._one_is_read.wait()

    @contextmanager
    def begun(self, team: str) -> Iterator[None]:
        """While a long thread is read whose first page is there."""
        self._begun[team] += 1
        try:
            yield
        finally:
            self._begun[team] -= 1
            self._one_is_read.set()
