"""The buttons under a reply that did not complete: all that they need is in Slack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bot.blocks import Button
from bot.turn import Question, is_id, is_ts

Action = Literal["retry", "continue"]
"""Answer again, in the same messages; or go on below, where Claude had to stop."""

VERSION: Final = 1
RUNS: Final = 1_000
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


def button(action: Action, question: Question) -> Button:
    """The button for the run after `question`'s."""
    value: dict[str, Any] = {
        "v": VERSION,
        "key": f"{question.team}:{question.channel}:{question.ts}",
        "run": question.run,
        "asker": question.user,
    }
    if question.continues:
        value["continues"] = True
    if question.is_shared:
        value["shared"] = True
    return Button(action, LABELS[action], json.dumps(value, separators=(",", ":")))


def pressed(action: str, value: str, channel: str, thread_ts: str | None) -> Question | None:
    """The run that a press of the button asks for; None if it is not one of ours, or not of this
    version. `channel` and `thread_ts` are where its message stands."""
    try:
        read = json.loads(value)
        team, asked_in, ts = read["key"].split(":")
        run = read["run"] + 1
        user = read["asker"]
        known = read["v"] == VERSION and action in LABELS and asked_in == channel
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not (known and type(run) is int and 0 < run <= RUNS and is_ts(ts) and is_id(user)):
        return None
    return Question(
        team=team,
        channel=channel,
        user=user,
        ts=ts,
        surface="direct" if channel.startswith("D") else "channel",
        thread_ts=thread_ts,
        is_shared=read.get("shared") is True,
        run=run,
        reuses=action == "retry",
        continues=action == "continue" or read.get("continues") is True,
    )
