"""A Slack event → a `Question`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_bolt.async_app import AsyncBoltContext

from bot.turn import Question, Surface


def from_event(
    event: Mapping[str, Any], body: Mapping[str, Any], context: AsyncBoltContext, surface: Surface
) -> Question | None:
    """The question that `event` (app_mention or message) asks; None if nobody asks it.

    The team is the one that the bot is installed in: in shared channels `team_id` of the envelope
    and `team` of the event may name the asker's.
    """
    channel, user, ts = event.get("channel"), event.get("user"), event.get("ts")
    if not (channel and user and ts) or user == "USLACKBOT":
        return None
    authorized = context.authorize_result
    files = event.get("files")
    return Question(
        team=str(authorized.team_id if authorized else context.team_id),
        channel=str(channel),
        user=str(user),
        ts=str(ts),
        surface=surface,
        thread_ts=event.get("thread_ts"),
        user_team=event.get("user_team") or event.get("source_team") or event.get("team"),
        is_shared=bool(body.get("is_ext_shared_channel")),
        text=str(event.get("text") or ""),
        files=len(files) if isinstance(files, list) else 0,
    )
