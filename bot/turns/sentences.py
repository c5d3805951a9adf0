"""What a turn says to the person, besides what Claude writes."""

from __future__ import annotations

from typing import Final

from bot.errors import BotError

HINT: Final = "Hi! Mention me together with a question, and I will answer here."
HINT_DIRECT: Final = "Hi! Write me a question, and I will answer it here."
NEW_CONVERSATION: Final = "A new conversation: I no longer look at what we wrote before."
THOUGHT_TOO_LONG: Final = (
    "Claude used up the whole length of a reply for thinking. Please ask for something smaller."
)
TRUNCATED: Final = "Claude stopped here: the reply reached its maximum length."
PAUSED: Final = "Claude paused this reply again and again, so I stopped it here."
CONTEXT_FULL: Final = "Claude stopped here: this conversation has become too long for it."
REFUSED: Final = "Claude declined to answer this."
INTERRUPTED: Final = "Interrupted by a restart of the bot. Please ask again."
STOPPED: Final = "Stopped."
NOTHING_TO_STOP: Final = "There is nothing to stop any more: that reply has ended."
AFTER: Final = "I will answer this after the reply above…"
OTHER_MODEL: Final = "Trying another model…"
IN_ONE_PIECE: Final = "Writing the rest in one piece…"
RESTARTED: Final = "Started again after a restart…"
EDITED: Final = "The question was edited: starting again…"
ALREADY: Final = "That has been asked for already: the reply is here, or on its way."
NOT_NOW: Final = "I cannot do that at this moment. Please press the button again in a little while."
UNREAD_YET: Final = "I cannot read your question back at this moment, and will try again shortly."
OUTDATED: Final = "That button is from an earlier version of me. Please ask again in a new message."
UNEXPECTED: Final = BotError.sentence


def stopped_by(name: str | None) -> str:
    """Who stopped a reply, if it was not whoever asked."""
    return f"Stopped by {name or 'somebody else'}."


def in_line(number: int) -> str:
    """What a question that must wait is told, once."""
    return f"Many people are asking me right now. You are number {number} in line…"


def trying_again(cause: str, wait_s: float) -> str:
    """What the person reads while another attempt is under way."""
    what = {
        "busy": "Claude is busy",
        "failing": "Claude's service has a problem",
        "broken": "The connection to Claude broke",
    }[cause]
    # A shorter wait is over before its number can be read, or be taken back.
    when = f" in {round(wait_s)} s" if wait_s >= 3 else ""
    return f"{what}; trying again{when}…"
