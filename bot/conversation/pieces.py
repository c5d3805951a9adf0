"""Long work on the event loop, done in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

PIECE_S: Final = 0.004
"""A thread of a thousand messages takes a tenth of a second, and other replies grow meanwhile."""


async def in_pieces(items: Iterable[T]) -> AsyncIterator[T]:
    """The items; whenever a few milliseconds of work with them are over, others go first."""
    now = asyncio.get_running_loop().time
    began = now()
    for item in items:
        yield item
        if now() - began > PIECE_S:
            await asyncio.sleep(0)
            began = now()
