"""A Slack of our own: Web API, events, Socket Mode, real limits, faults on demand."""

from .emulator import SlackEmulator
from .faults import Fault
from .limits import Limits
from .records import (
    Call,
    Change,
    Delivery,
    Ephemeral,
    File,
    Glimpse,
    Message,
    Notified,
    Revision,
    Status,
    StatusLine,
    Stream,
    Unfurled,
)
from .settings import DEFAULT_SCOPES, DEFAULT_SUBSCRIPTIONS, Settings

__all__ = [
    "DEFAULT_SCOPES",
    "DEFAULT_SUBSCRIPTIONS",
    "Call",
    "Change",
    "Delivery",
    "Ephemeral",
    "Fault",
    "File",
    "Glimpse",
    "Limits",
    "Message",
    "Notified",
    "Revision",
    "Settings",
    "SlackEmulator",
    "Status",
    "StatusLine",
    "Stream",
    "Unfurled",
]
