"""A Slack event → a `Question`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from slack_bolt.async_app import AsyncBoltContext

from bot.conversation import attachments_of, words_of
from bot.files import files_of
from bot.turn import Question, Surface, is_id, is_ts

SLACK_ITSELF: Final = frozenset({"USLACKBOT", "USLACK"})
UNKNOWN_TEAM: Final = "unknown"


def from_event(
    event: Mapping[str, Any], body: Mapping[str, Any], context: AsyncBoltContext, surface: Surface
) -> Question | None:
    """The question that `event` (app_mention or message) asks; None if nobody asks it.

    The team is the one that the bot is installed in: in shared channels `team_id` of the envelope
    and `team` of the event may name the asker's.
    """
    channel, user, ts = event.get("channel"), event.get("user"), event.get("ts")
    thread_ts = event.get("thread_ts")
    if not (is_id(channel) and is_id(user) and is_ts(ts)) or user in SLACK_ITSELF:
        return None
    if thread_ts is not None and not is_ts(thread_ts):
        return None
    authorized = context.authorize_result
    tells_files = event.get("type") != "app_mention" or "files" in event
    return Question(
        team=str(authorized.team_id if authorized else context.team_id),
        channel=channel,
        user=user,
        ts=ts,
        surface=surface,
        thread_ts=thread_ts,
        user_team=_foreign_team(event, body),
        is_shared=bool(body.get("is_ext_shared_channel")),
        text=words_of(event),
        files=files_of(event) if tells_files else None,
        attachments=attachments_of(event),
    )


def _foreign_team(event: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """The asker's team where it may be another one; None for a member of the installed team or of
    the same organisation (`user_team` may be its E… id, and on Enterprise Grid `team` another
    workspace of it)."""
    team = event.get("user_team") or event.get("source_team")
    if team is None and body.get("is_ext_shared_channel"):
        team = event.get("team")
    return foreign_team(team, body)


def foreign_team(team: object, body: Mapping[str, Any]) -> str | None:
    """`team` if it is neither the one that the bot is installed in nor its organisation; what is no
    id counts as a team that nobody knows."""
    authorizations = body.get("authorizations")
    first = authorizations[0] if isinstance(authorizations, list) and authorizations else {}
    own = [body.get("enterprise_id"), body.get("context_enterprise_id")]
    own += [first.get("enterprise_id"), first.get("team_id")] if isinstance(first, dict) else []
    if team is None or team in own:
        return None
    return team if is_id(team) else UNKNOWN_TEAM
