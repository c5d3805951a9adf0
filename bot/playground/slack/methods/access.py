"""What a token may see and do in a conversation."""

from __future__ import annotations

from ..errors import SlackFailure
from ..records import Channel
from ..workspace import Workspace

_KINDS = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}


def require_scope(workspace: Workspace, *scopes: str) -> None:
    """`missing_scope` unless one of them is granted: docs.slack.dev/apis/web-api."""
    granted = workspace.settings.scopes
    if scopes and not granted.intersection(scopes):
        raise SlackFailure("missing_scope", needed=scopes[0], provided=",".join(sorted(granted)))


def require_kind_scope(workspace: Workspace, channel: Channel, verb: str) -> None:
    """The scope that this kind of conversation takes, such as `channels:history`."""
    require_scope(workspace, f"{_KINDS[channel.kind]}:{verb}")


def readable(workspace: Workspace, channel_id: str | None) -> Channel:
    """A channel whose messages the app may read."""
    channel = workspace.world.visible(channel_id)
    require_kind_scope(workspace, channel, "history")
    if not channel.bot_is_member:
        raise SlackFailure("not_in_channel")
    return channel
