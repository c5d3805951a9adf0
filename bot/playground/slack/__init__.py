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
    Message,
    Notified,
    Revision,
    Status,
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
    "Limits",
    "Message",
    "Notified",
    "Revision",
    "Settings",
    "SlackEmulator",
    "Status",
    "Unfurled",
]
