"""conversations.*: channels and what was said in them."""

from __future__ import annotations

import base64
import binascii

from ..args import Args
from ..errors import SlackFailure
from ..limits import Tier
from ..records import Channel, Json, Message
from ..wire import channel_json, message_json, page, tombstone_json, with_parent
from ..workspace import Workspace
from .access import readable, require_kind_scope
from .registry import method

_REPLIES_MOST = 1_000
_HISTORY_DEFAULT, _HISTORY_MOST = 100, 999


@method("conversations.replies", Tier.THREE)
def replies(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/conversations.replies

    Oldest first, and the root comes first on every page. The ts of a reply gives that reply alone.
    """
    channel = readable(workspace, args.text("channel"))
    ts = args.required("ts")
    root = channel.messages.get(ts)
    if root is None or (root.deleted and not _is_tombstone(root)):
        raise SlackFailure("thread_not_found")
    if root.thread_ts is not None:
        return _page_answer([_shape(workspace, channel, root, args)], None)
    limit = _limit(args, _REPLIES_MOST, _REPLIES_MOST)
    inside = [reply for reply in root.replies if not reply.deleted and _in_range(reply, args)]
    start = _start(args, len(inside))
    chosen = inside[start : start + limit]
    end = start + limit
    shaped = [_shape(workspace, channel, each, args) for each in (root, *chosen)]
    return _page_answer(shaped, end if end < len(inside) else None)


@method("conversations.history", Tier.THREE)
def history(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/conversations.history: newest first, without replies."""
    channel = readable(workspace, args.text("channel"))
    limit = _limit(args, _HISTORY_DEFAULT, _HISTORY_MOST)
    inside = [
        message
        for message in reversed(channel.messages.values())
        if (not message.deleted or _is_tombstone(message))
        and (message.thread_ts is None or message.subtype == "thread_broadcast")
        and _in_range(message, args)
    ]
    start = _start(args, len(inside))
    end = start + limit
    shaped = [_shape(workspace, channel, each, args) for each in inside[start:end]]
    return _page_answer(shaped, end if end < len(inside) else None)


@method("conversations.info", Tier.THREE)
def info(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/conversations.info"""
    channel = workspace.world.visible(args.required("channel"))
    require_kind_scope(workspace, channel, "read")
    body = channel_json(channel, workspace.settings)
    if args.flag("include_num_members"):
        body["num_members"] = len(channel.members) + channel.bot_is_member
    return {"ok": True, "channel": body}


@method("conversations.members", Tier.FOUR)
def members(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/conversations.members"""
    channel = workspace.world.visible(args.required("channel"))
    require_kind_scope(workspace, channel, "read")
    people = list(channel.members)
    if channel.bot_is_member:
        people.append(workspace.settings.bot_user_id)
    start = _start(args, len(people))
    end = start + _limit(args, 100, 1_000)
    cursor = _cursor(end) if end < len(people) else ""
    answer = {"ok": True, "members": people[start:end]}
    return answer | {"response_metadata": {"next_cursor": cursor}}


@method("conversations.open", Tier.THREE, "im:write", "mpim:write")
def open_conversation(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/conversations.open"""
    if channel_id := args.text("channel"):
        channel = workspace.world.visible(channel_id)
    else:
        people = [user for user in (args.text("users") or "").split(",") if user]
        if not people:
            raise SlackFailure("users_list_not_supplied")
        if any(user not in workspace.world.users for user in people):
            raise SlackFailure("user_not_found")
        if len(people) == 1:
            channel = workspace.world.dm(people[0])
        else:
            name = "mpdm-" + "--".join(people)
            channel = workspace.world.add_channel(name, "mpim", people)
    if args.flag("return_im"):
        return {"ok": True, "channel": channel_json(channel, workspace.settings)}
    return {"ok": True, "channel": {"id": channel.id}}


@method("conversations.list", Tier.TWO, "channels:read", "groups:read", "im:read", "mpim:read")
def list_conversations(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/conversations.list"""
    wanted = (args.text("types") or "public_channel").split(",")
    kinds = {"public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "mpim"}
    chosen = {kinds.get(each.strip()) for each in wanted}
    found = [
        channel_json(channel, workspace.settings)
        for channel in workspace.world.channels.values()
        if channel.kind in chosen and (channel.bot_is_member or not channel.is_private)
    ]
    start = _start(args, len(found))
    part, end = page(found, start, _limit(args, 100, 1_000))
    cursor = "" if end is None else _cursor(end)
    return {"ok": True, "channels": part, "response_metadata": {"next_cursor": cursor}}


def _shape(workspace: Workspace, channel: Channel, message: Message, args: Args) -> Json:
    if message.deleted:
        return tombstone_json(message)
    with_metadata = args.flag("include_all_metadata")
    body = message_json(message, workspace.settings, metadata=with_metadata)
    if message.thread_ts is None:
        return body
    return with_parent(body, channel.messages.get(message.thread_ts))


def _is_tombstone(message: Message) -> bool:
    return message.deleted and any(not reply.deleted for reply in message.replies)


def _in_range(message: Message, args: Args) -> bool:
    oldest, latest = args.text("oldest"), args.text("latest")
    # ts strings of equal length compare as the numbers they are; floats would lose digits.
    if args.flag("inclusive") and message.ts in (oldest, latest):
        return True
    if oldest and not _key(oldest) < _key(message.ts):
        return False
    return not latest or _key(message.ts) < _key(latest)


def _key(ts: str) -> tuple[int, int]:
    seconds, _, fraction = ts.partition(".")
    try:
        return int(seconds), int(fraction.ljust(6, "0")[:6] or 0)
    except ValueError:
        raise SlackFailure("invalid_ts_oldest") from None


def _limit(args: Args, default: int, most: int) -> int:
    limit = args.number("limit", default)
    if limit < 1 or limit > most:
        raise SlackFailure("invalid_limit")
    return limit


def _cursor(position: int) -> str:
    return base64.b64encode(f"next:{position}".encode()).decode()


def _start(args: Args, count: int) -> int:
    cursor = args.text("cursor")
    if not cursor:
        return 0
    try:
        start = int(base64.b64decode(cursor, validate=True).decode().removeprefix("next:"))
    except (binascii.Error, ValueError):
        raise SlackFailure("invalid_cursor") from None
    if not 0 <= start <= count:
        raise SlackFailure("invalid_cursor")
    return start


def _page_answer(messages: list[Json], end: int | None) -> Json:
    answer: Json = {"ok": True, "messages": messages, "has_more": end is not None}
    if end is not None:
        answer["response_metadata"] = {"next_cursor": _cursor(end)}
    return answer
