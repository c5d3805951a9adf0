"""What the emulator is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from .limits import Limits
from .records import ChannelKind

# The smallest manifest of an AI bot: docs.slack.dev/reference/scopes
DEFAULT_SCOPES = frozenset(
    {
        "app_mentions:read",
        "assistant:write",
        "channels:history",
        "channels:read",
        "chat:write",
        "files:read",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "im:write",
        "mpim:history",
        "reactions:write",
        "users:read",
    }
)
DEFAULT_SUBSCRIPTIONS = frozenset(
    {
        "app_home_opened",
        "app_mention",
        "message.channels",
        "message.groups",
        "message.im",
        "message.mpim",
    }
)


@dataclass(kw_only=True)
class Settings:
    """The app and the workspace, and how the emulated Slack behaves."""

    signing_secret: str = field(default="emulator-signing-secret", repr=False)
    bot_token: str = field(default="xoxb-emulator", repr=False)
    app_token: str = field(default="xapp-emulator", repr=False)
    events_url: str | None = None
    interactivity_url: str | None = None
    latency_s: float = 0.0
    retry_delays_s: tuple[float, ...] = (0.1, 60.0, 300.0)
    ack_timeout_s: float = 3.0
    enforce_limits: bool = True
    limits: Limits = field(default_factory=Limits)
    subscriptions: frozenset[str] = DEFAULT_SUBSCRIPTIONS
    scopes: frozenset[str] = DEFAULT_SCOPES
    team_id: str = "T0EMULATOR"
    team_name: str = "Emulator"
    bot_user_id: str = "U0BOT"
    bot_id: str = "B0BOT"
    bot_name: str = "claude"
    app_id: str = "A0EMULATOR"
    status_lifetime_s: float = 120.0
    """docs.slack.dev/reference/methods/assistant.threads.setStatus: gone after two minutes."""
    stream_lifetime_s: float = 300.0
    """Slack closes a stream about five minutes after its start, even while it grows:
    github.com/slackapi/python-slack-sdk/issues/1859."""
    stream_kinds: frozenset[ChannelKind] = frozenset({"channel", "group", "mpim", "im"})
    """Where streams are allowed; elsewhere `channel_type_not_supported`."""


class SettingsArgs(TypedDict, total=False):
    """`Settings` as keyword arguments."""

    signing_secret: str
    bot_token: str
    app_token: str
    events_url: str | None
    interactivity_url: str | None
    latency_s: float
    retry_delays_s: tuple[float, ...]
    ack_timeout_s: float
    enforce_limits: bool
    limits: Limits
    subscriptions: frozenset[str]
    scopes: frozenset[str]
    team_id: str
    team_name: str
    bot_user_id: str
    bot_id: str
    bot_name: str
    app_id: str
    status_lifetime_s: float
    stream_lifetime_s: float
    stream_kinds: frozenset[ChannelKind]
