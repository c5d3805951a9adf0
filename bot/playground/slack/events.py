"""Events as the Events API writes them: docs.slack.dev/apis/events-api."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

from .records import Channel, Json, Message
from .wire import message_json, with_parent

if TYPE_CHECKING:
    from .workspace import Workspace

_MESSAGES = {"im": "message.im", "channel": "message.channels", "group": "message.groups"}
_MESSAGES |= {"mpim": "message.mpim"}
_SCOPES = {
    "app_mention": "app_mentions:read",
    "message.im": "im:history",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.mpim": "mpim:history",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "file_shared": "files:read",
}


def is_wanted(workspace: Workspace, subscription: str) -> bool:
    """Whether the app subscribed to it and holds the scope that it takes."""
    settings = workspace.settings
    scope = _SCOPES.get(subscription)
    return subscription in settings.subscriptions and (scope is None or scope in settings.scopes)


def wants_messages(workspace: Workspace, channel: Channel) -> bool:
    """Whether the app hears what is said in this channel."""
    return channel.bot_is_member and is_wanted(workspace, _MESSAGES[channel.kind])


def posted_event(workspace: Workspace, message: Message) -> Json:
    """A `message` event of something new."""
    channel = workspace.world.channels[message.channel]
    body = _full(workspace, message) | _place(channel, message.ts)
    # Only the root of a thread knows about its replies, and a new message has none.
    return body | _author(workspace, message)


def mention_event(workspace: Workspace, message: Message) -> Json:
    """The `app_mention` twin: no channel_type, no files, no subtype; and, to be safe, nothing that
    was shared, since Slack does not document that it tells."""
    body = posted_event(workspace, message) | {"type": "app_mention"}
    for key in ("channel_type", "files", "upload", "subtype", "attachments"):
        body.pop(key, None)
    return body


def changed_event(workspace: Workspace, message: Json, previous: Json, channel: Channel) -> Json:
    """A `message_changed` event, with the message as it is and as it was."""
    ts = workspace.world.next_ts()
    return {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "message": message,
        "previous_message": previous,
        **_place(channel, ts),
        "ts": ts,
    }


def deleted_event(workspace: Workspace, ts: str, previous: Json, channel: Channel) -> Json:
    """A `message_deleted` event."""
    now = workspace.world.next_ts()
    return {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "deleted_ts": ts,
        "previous_message": previous,
        **_place(channel, now),
        "ts": now,
    }


def reaction_event(workspace: Workspace, kind: str, user: str, message: Message, name: str) -> Json:
    """A `reaction_added` or `reaction_removed` event."""
    return {
        "type": kind,
        "user": user,
        "reaction": name,
        "item_user": message.user,
        "item": {"type": "message", "channel": message.channel, "ts": message.ts},
        "event_ts": workspace.world.next_ts(),
    }


def stopped_event(workspace: Workspace, user: str, message: Message) -> Json:
    """An `agent_session_stopped` event: docs.slack.dev/reference/events/agent_session_stopped."""
    return {
        "type": "agent_session_stopped",
        "channel": message.channel,
        "thread_ts": message.thread_ts,
        "user": user,
        "streaming_message_ts": [message.ts],
        "event_ts": workspace.world.next_ts(),
    }


def envelope(workspace: Workspace, event: Json, channel: Channel | None) -> Json:
    """What is delivered: an `event_callback` with an event id of its own."""
    settings = workspace.settings
    shared = channel is not None and channel.is_shared
    body: Json = {
        "token": "emulator-verification-token",
        "team_id": settings.team_id,
        "api_app_id": settings.app_id,
        "event": event,
        "type": "event_callback",
        "event_id": workspace.world.next_id("Ev0"),
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": settings.team_id,
                "user_id": settings.bot_user_id,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": shared,
        "event_context": _context(event, settings.team_id, settings.app_id),
    }
    if event.get("type") != "app_mention":
        body |= {"context_team_id": settings.team_id, "context_enterprise_id": None}
    return body


def full_json(workspace: Workspace, message: Message) -> Json:
    """The message as it is written inside change events."""
    return _full(workspace, message)


def _full(workspace: Workspace, message: Message) -> Json:
    body = message_json(message, workspace.settings, metadata=True)
    if message.thread_ts is None:
        return body
    root = workspace.world.message(message.channel, message.thread_ts)
    return with_parent(body, root)


def _author(workspace: Workspace, message: Message) -> Json:
    """For people of another workspace: where they come from."""
    user = workspace.world.users.get(message.user)
    if user is None or user.team == workspace.settings.team_id:
        return {}
    profile = {"real_name": user.real_name, "display_name": user.display_name, "team": user.team}
    return {
        "team": user.team,
        "user_team": user.team,
        "source_team": user.team,
        "user_profile": {**profile, "is_restricted": user.is_restricted},
    }


def _place(channel: Channel, event_ts: str) -> Json:
    return {"channel": channel.id, "channel_type": channel.kind, "event_ts": event_ts}


def _context(event: Json, team_id: str, app_id: str) -> str:
    parts = {"et": event.get("type"), "tid": team_id, "aid": app_id, "cid": event.get("channel")}
    return "4-" + base64.b64encode(json.dumps(parts).encode()).decode()
