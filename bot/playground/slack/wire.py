"""Objects as Slack's JSON has them: messages, users, channels, files."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .records import Channel, File, Json, Message, User
from .settings import Settings
from .translate import text_elements

# `streaming_state` is in the SDKs' type of chat.stopStream's answer; after an end that is not the
# app's own its value is not known.
_STREAMING_STATES = {"": "in_progress", "stopped": "completed"}


def message_json(message: Message, settings: Settings, *, metadata: bool = False) -> Json:
    """A message as conversations.history and events carry it: docs.slack.dev/reference/objects."""
    body: Json = {"type": "message", "user": message.user, "ts": message.ts}
    body["text"] = message.text
    body["team"] = message.team or settings.team_id
    optional = {
        "subtype": message.subtype,
        "bot_id": message.bot_id,
        "app_id": message.app_id,
        "client_msg_id": message.client_msg_id,
        "edited": message.edited,
    }
    body |= {key: value for key, value in optional.items() if value is not None}
    if message.bot_id:
        profile = bot_json(message.bot_id, message.app_id, settings)
        body["bot_profile"] = profile | ({"name": message.bot_name} if message.bot_name else {})
    blocks = message.blocks if message.source_blocks else _text_blocks(message)
    if blocks:
        body["blocks"] = blocks
    if message.attachments:
        body["attachments"] = message.attachments
    if message.files:
        body |= {"files": message.files, "upload": False}
    if metadata and message.metadata is not None:
        body["metadata"] = message.metadata
    if message.reactions:
        body["reactions"] = [
            {"name": name, "users": users, "count": len(users)}
            for name, users in message.reactions.items()
        ]
    if message.stream is not None and message.stream.end in _STREAMING_STATES:
        body["streaming_state"] = _STREAMING_STATES[message.stream.end]
    return body | _thread_json(message)


def tombstone_json(message: Message) -> Json:
    """What is left of a deleted message that has replies."""
    return {
        "type": "message",
        "subtype": "tombstone",
        "text": "This message was deleted.",
        "user": "USLACKBOT",
        "hidden": True,
        "ts": message.ts,
        **_thread_json(message),
        "parent_user_id": "USLACKBOT",
    }


def with_parent(body: Json, root: Message | None) -> Json:
    """A reply with the author of the thread's root."""
    return body if root is None else {**body, "parent_user_id": root.user}


def _thread_json(message: Message) -> Json:
    if message.thread_ts is not None:
        return {"thread_ts": message.thread_ts}
    replies = [reply for reply in message.replies if not reply.deleted]
    if not replies:
        return {}
    users = list(dict.fromkeys(reply.user for reply in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users_count": len(users),
        "latest_reply": replies[-1].ts,
        "reply_users": users,
        "is_locked": False,
        "subscribed": False,
    }


def _text_blocks(message: Message) -> list[Json]:
    """A person's words come with the rich text that the client composed."""
    if message.bot_id or not message.text or message.subtype == "tombstone":
        return []
    section = {"type": "rich_text_section", "elements": text_elements(message.text)}
    block_id = message.ts[-5:]
    return [{"type": "rich_text", "block_id": block_id, "elements": [section]}]


def bot_json(bot_id: str, app_id: str | None, settings: Settings) -> Json:
    """A bot's profile."""
    return {
        "id": bot_id,
        "app_id": app_id or settings.app_id,
        "name": settings.bot_name,
        "deleted": False,
        "updated": 1_760_000_000,
        "user_id": settings.bot_user_id if bot_id == settings.bot_id else None,
        "team_id": settings.team_id,
        "icons": {},
    }


def user_json(user: User, settings: Settings) -> Json:
    """A person as users.info tells; of a stranger of another workspace it tells little."""
    body: Json = {
        "id": user.id,
        "team_id": user.team,
        "name": user.display_name or user.real_name.lower().replace(" ", "."),
        "deleted": False,
        "real_name": user.real_name,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "is_stranger": user.is_stranger,
        "profile": {
            "real_name": user.real_name,
            "display_name": user.display_name,
            "team": user.team,
        },
    }
    if user.is_stranger:
        return body
    body["profile"] |= {"bot_id": user.bot_id} if user.bot_id else {}
    return body | {
        "tz": user.tz,
        "tz_label": user.tz,
        "tz_offset": int(_utc_offset(user.tz).total_seconds()),
        "is_restricted": user.is_restricted,
        "is_ultra_restricted": False,
        "is_admin": False,
        "is_owner": False,
        "updated": 1_760_000_000,
    }


def _utc_offset(tz: str) -> timedelta:
    try:
        return datetime.now(ZoneInfo(tz)).utcoffset() or timedelta()
    except ZoneInfoNotFoundError:  # a machine without time zones
        return timedelta()


def channel_json(channel: Channel, settings: Settings) -> Json:
    """A conversation as conversations.info tells."""
    body: Json = {
        "id": channel.id,
        "created": 1_760_000_000,
        "is_channel": channel.kind == "channel",
        "is_group": channel.kind == "group",
        "is_im": channel.kind == "im",
        "is_mpim": channel.kind == "mpim",
        "is_private": channel.is_private,
        "is_archived": channel.is_archived,
        "is_ext_shared": channel.is_shared,
        "is_shared": channel.is_shared,
        "is_org_shared": False,
        "context_team_id": settings.team_id,
    }
    if channel.kind == "im":
        return body | {"user": channel.members[0]}
    return body | {
        "name": channel.name,
        "name_normalized": channel.name,
        "is_general": channel.name == "general",
        "is_member": channel.bot_is_member,
        "creator": channel.members[0] if channel.members else settings.bot_user_id,
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }


def file_json(file: File, base_url: str, settings: Settings) -> Json:
    """A file object: docs.slack.dev/reference/objects/file-object."""
    path = f"{base_url}files-pri/{settings.team_id}-{file.id}"
    extension = file.name.rsplit(".", 1)[-1] if "." in file.name else "binary"
    return {
        "id": file.id,
        "created": 1_760_000_000,
        "name": file.name,
        "title": file.name,
        "mimetype": file.mimetype,
        "filetype": extension,
        "pretty_type": extension.upper(),
        "user": file.user,
        "size": len(file.content),
        "mode": "hosted",
        "is_external": False,
        "is_public": False,
        "url_private": f"{path}/{file.name}",
        "url_private_download": f"{path}/download/{file.name}",
        "permalink": f"{base_url}files/{file.user}/{file.id}/{file.name}",
        "channels": list(file.channels),
    }


def client_msg_id() -> str:
    """The id that a person's client gives a message."""
    return str(uuid.uuid4())


def page(items: list[Json], start: int, size: int) -> tuple[list[Json], int | None]:
    """A slice of the items, and where the next one begins."""
    end = start + size
    return items[start:end], end if end < len(items) else None
