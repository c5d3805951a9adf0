"""Who of the open turns may be under way: one in a thread, and so many in all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from bot.store import BEHIND_A_REPLY, OpenTurn
from bot.turn import Question, TurnKey


@dataclass(slots=True)
class _Held:
    thread: tuple[str, str, str | None]
    order: tuple[str, int]
    accepted: tuple[float, int]
    """When, and of those at one moment the how-manieth."""
    has_place: bool = False
    waits: bool = False


class Places:
    """Of one process, by acceptance; what is not in here takes no part."""

    def __init__(self, turns: Iterable[OpenTurn]) -> None:
        self._turns: dict[TurnKey, _Held] = {}
        self._added = itertools.count()
        for turn in turns:
            self.add(turn.question, turn.accepted_at)

    def add(self, question: Question, accepted_at: float) -> None:
        """An open turn takes its place in the order of its thread, and of the line."""
        thread = (question.team, question.channel, question.reply_thread_ts)
        self._turns[question.key] = _Held(
            thread, (question.ts, question.run), (accepted_at, next(self._added))
        )

    def discard(self, key: TurnKey) -> None:
        """The turn has ended, or was given up."""
        self._turns.pop(key, None)

    def take(self, key: TurnKey, limit: int) -> int:
        """As `Store.take_place`."""
        held = self._turns.get(key)
        if held is None or held.has_place:
            return 0
        for other in self._turns.values():
            # Once it stands in line, an earlier question that comes late does not overtake it.
            blocks = other.has_place or (not held.waits and other.order < held.order)
            if other is not held and other.thread == held.thread and blocks:
                held.waits = False
                return BEHIND_A_REPLY
        held.waits = True
        ahead = sum(
            other.has_place or (other.waits and other.accepted < held.accepted)
            for other in self._turns.values()
        )
        if ahead < limit:
            held.has_place = True
            return 0
        return ahead - limit + 1
