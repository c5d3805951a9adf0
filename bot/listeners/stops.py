"""A Slack event → a `Stop`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from slack_bolt.async_app import AsyncBoltContext

from bot.listeners.question import foreign_team
from bot.turn import Stop

UNKNOWN: Final = "unknown"
"""The team of somebody in a shared channel whom the event does not tell: perhaps another one."""


def stop_of(
    event: Mapping[str, Any],
    body: Mapping[str, Any],
    context: AsyncBoltContext,
    channel: object,
    *,
    messages: tuple[str, ...],
) -> Stop | None:
    """What somebody wants to end who shows it by `event`; None if nobody does."""
    user, thread_ts = event.get("user"), event.get("thread_ts")
    if not (isinstance(channel, str) and isinstance(user, str)):
        return None
    is_shared = bool(body.get("is_ext_shared_channel"))
    team = event.get("user_team") or event.get("source_team") or (UNKNOWN if is_shared else None)
    authorized = context.authorize_result
    return Stop(
        team=str(authorized.team_id if authorized else context.team_id),
        channel=channel,
        user=user,
        at=str(event.get("event_ts") or body.get("event_time") or ""),
        messages=messages,
        thread_ts=thread_ts if isinstance(thread_ts, str) else "",
        user_team=foreign_team(team, body),
        is_shared=is_shared,
    )
