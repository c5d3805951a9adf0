"""What must survive the process: which questions were accepted, and what became of them.

The journal holds ids, never text: a text is read again from Slack when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bot.turn import Outcome, Question, TurnKey

CLAIM_HOURS: Final = 26
"""How long a claim is remembered: Slack's "delayed events" may come again for 24 hours."""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A journal entry without an outcome: the question (no text), its age, its messages."""

    question: Question
    accepted_at: float
    """Seconds since the epoch."""
    messages: Mapping[int, str]
    """ts of the reply's messages by part, as far as they were noted."""


class Store(Protocol):
    """The verbs that the bot needs; all may raise StoreUnavailable."""

    async def accept(self, question: Question) -> bool:
        """Claim the question and write its journal entry, in one step; False if it was claimed
        before. When this returns, a crash can no longer lose the question."""

    async def take_up(self, key: TurnKey) -> int:
        """Count that the open turn is answered again; how often by now."""

    async def note_message(self, key: TurnKey, part: int, ts: str) -> None:
        """Remember that message `ts` is part number `part` of the reply."""

    async def settle(self, key: TurnKey, outcome: Outcome) -> None:
        """Close the journal entry."""

    async def open_turns(self) -> list[OpenTurn]:
        """Every entry without an outcome, oldest first."""

    async def ping(self) -> None:
        """Return if the store can be reached."""

    async def close(self) -> None:
        """Finish what is under way and release everything."""
