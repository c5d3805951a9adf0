"""The buttons under a reply that did not complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from bot.blocks import Button
from bot.turn import Question
from bot.turns import buttons

Action = Literal["retry", "continue"]
"""Answer again, in the same messages; or go on below, where Claude had to stop."""

LABELS: Final[Mapping[Action, str]] = {"retry": "Retry", "continue": "Continue"}


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody pressed one of the buttons."""

    question: Question
    """The run that this asks for; without its text."""
    message_ts: str | None
    """The message that the button stands under."""
    user: str
    user_team: str | None
    at: str = ""
    """When, as a ts."""


def button(action: Action, question: Question) -> Button:
    """The button for the run after `question`'s."""
    return Button(action, LABELS[action], buttons.value_of(question))


def pressed(action: str, value: str, channel: str, thread_ts: str | None) -> Question | None:
    """The run that a press of the button asks for; None if it is not one of ours, or not of this
    version. `channel` and `thread_ts` are where its message stands."""
    before = buttons.question_of(value, channel, thread_ts)
    if before is None or action not in LABELS:
        return None
    return replace(
        before,
        run=before.run + 1,
        reuses=action == "retry",
        continues=action == "continue" or before.continues,
    )
