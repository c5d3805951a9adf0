"""How a turn ends here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.turn import Outcome
from bot.turns.again import Action
from bot.turns.sentences import INTERRUPTED


@dataclass(frozen=True, slots=True)
class End:
    """Its outcome, what is said to the person under the text, and how they can go on.

    Without an outcome the turn goes on elsewhere, in the same messages.
    """

    outcome: Outcome | None
    reason: str | None = None
    again: Action | None = None
    by: str | None = None
    """Who stopped it; the reason says so once their name is known."""


GONE: Final = End(Outcome.GONE)
SUPERSEDED: Final = End(Outcome.SUPERSEDED)
HANDED_OVER: Final = End(None)
AFTER_A_RESTART: Final = End(Outcome.INTERRUPTED, INTERRUPTED, "retry")


def stopped(user: str) -> End:
    """`user` wanted it to end."""
    return End(Outcome.STOPPED, again="retry", by=user)


def failed(reason: str) -> End:
    """It did not work out, and may the next time."""
    return End(Outcome.FAILED, reason, "retry")


def truncated(reason: str, *, written: bool) -> End:
    """Claude stopped early; it can go on where it has `written` something."""
    return End(Outcome.TRUNCATED, reason, "continue" if written else None)
