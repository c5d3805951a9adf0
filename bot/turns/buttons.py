"""What a button under a reply carries: all that it needs is there, or in Slack."""

from __future__ import annotations

import json
from typing import Any, Final

from bot.blocks import Button
from bot.turn import Question, is_id, is_ts

STOP: Final = "stop"
VERSION: Final = 1
RUNS: Final = 1_000


def value_of(question: Question) -> str:
    """The value of a button that is about this run of `question`."""
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
    return json.dumps(value, separators=(",", ":"))


def stop(question: Question) -> Button:
    """The button under the reply to `question` while it grows."""
    return Button(STOP, "Stop", value_of(question))


def question_of(value: str, channel: str, thread_ts: str | None) -> Question | None:
    """The run of a question (without its text) that a button with this `value` is about; None if it
    is not one of ours, or not of this version. `channel` and `thread_ts` are where its message
    stands."""
    try:
        read = json.loads(value)
        team, asked_in, ts = read["key"].split(":")
        run, user = read["run"], read["asker"]
        known = read["v"] == VERSION and asked_in == channel
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not (known and type(run) is int and 0 <= run < RUNS and is_ts(ts) and is_id(user)):
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
        continues=read.get("continues") is True,
    )
