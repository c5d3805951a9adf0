"""The last read of each thread, for a question that finds no read free, or whose read fails.

It is only ever the second choice, and said to be old. What was edited or deleted must not come
back from it: a message's thread is forgotten as soon as that is heard of.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from bot.clock import Clock
from bot.conversation.pieces import in_pieces
from bot.conversation.thread import History

THREADS: Final = 200
BYTES: Final = 16_000_000
"""Of all threads."""
THREAD_BYTES: Final = 1_000_000
"""Of one: its newest messages, and its root."""
MESSAGE_BYTES: Final = 300
"""What a message takes in memory besides its own bytes."""
AGE_S: Final = 600.0

Place = tuple[str, str, str]
"""Team, channel, root of the thread ("" for a flat direct message)."""


@dataclass(frozen=True, slots=True)
class _Kept:
    messages: dict[str, bytes]
    """As JSON, which is a tenth of the objects and has a size; by ts."""
    gap_after: str | None
    gap: int
    size: int
    read_at: float


class Remembered:
    """Bounded in threads, bytes and age; in memory only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[Place, _Kept] = OrderedDict()
        """The last read comes last."""
        self._size = 0
        self._changes = 0

    def begin(self) -> int:
        """To be called before a thread is read, for `keep`."""
        return self._changes

    async def keep(self, place: Place, history: History, begun: int) -> None:
        """Remember what was read since `begun`, unless a message was edited or deleted meanwhile:
        it may have been read before."""
        self.drop(place)
        found: dict[str, bytes] = {}
        left = THREAD_BYTES
        root = place[2]
        newest_first = sorted(history.messages, reverse=True)
        if root in history.messages:
            newest_first.remove(root)
            newest_first.insert(0, root)
        async for ts in in_pieces(newest_first):
            written = json.dumps(history.messages[ts]).encode()
            left -= len(written) + MESSAGE_BYTES
            if left < 0:
                break
            found[ts] = written
        if begun != self._changes or not found:
            return
        gap_after, gap = history.gap_after, history.gap
        if len(found) < len(history.messages):
            gap_after, gap = root, 0
        self.drop(place)  # another question has read it meanwhile
        size = THREAD_BYTES - max(0, left)
        self._kept[place] = _Kept(found, gap_after, gap, size, self._clock.now())
        self._size += size
        self._forget_old()

    async def recall(self, place: Place) -> History | None:
        """What is remembered of a thread, with a gap at its end where there is none before."""
        self._forget_old()
        begun, kept = self._changes, self._kept.get(place)
        if kept is None:
            return None
        history = History(gap_after=kept.gap_after, gap=kept.gap)
        if history.gap_after is None:
            history.gap_after = max(kept.messages)
        async for ts, written in in_pieces(sorted(kept.messages.items())):
            history.messages[ts] = json.loads(written)
        return history if begun == self._changes else None

    def forget(self, team: str, channel: str, ts: str) -> None:
        """Forget the thread of a message that was edited or deleted."""
        self._changes += 1
        for place, kept in list(self._kept.items()):
            if place[:2] == (team, channel) and ts in kept.messages:
                self.drop(place)

    def drop(self, place: Place) -> None:
        """Forget a thread."""
        if (kept := self._kept.pop(place, None)) is not None:
            self._size -= kept.size

    def _forget_old(self) -> None:
        oldest_at = self._clock.now() - AGE_S
        while self._kept:
            place, kept = next(iter(self._kept.items()))
            is_young = kept.read_at > oldest_at
            if is_young and len(self._kept) <= THREADS and self._size <= BYTES:
                return
            self.drop(place)
