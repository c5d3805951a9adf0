"""What the emulator keeps: messages, people, channels, and notes of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .translate import shown_text, stored_blocks

Json = dict[str, Any]
ChannelKind = Literal["channel", "group", "mpim", "im"]
ChangeKind = Literal["posted", "updated", "deleted", "status", "ephemeral"]
StreamEnd = Literal["", "stopped", "stopped_by_user", "expired", "deleted"]
StatusEnd = Literal["", "replaced", "cleared", "posted", "lapsed"]


@dataclass(frozen=True)
class Revision:
    """One state of a message, as the app sent it."""

    at: float
    method: str
    text: str
    blocks: list[Json] | None
    markdown: str


@dataclass(eq=False)
class Stream:
    """A native stream: what has come, when it began, and how it ended (loop time)."""

    channel: str
    ts: str
    started_at: float
    ended_at: float | None = None
    end: StreamEnd = ""
    """"" while it is open; "expired" if Slack closed it for its age."""
    markdown: list[str] = field(default_factory=list)
    tasks: dict[str, Json] = field(default_factory=dict)
    blocks: list[Json] = field(default_factory=list)
    size_bytes: int = 0
    mentions: int = 0
    stopped_by_user: bool = False
    """Whether a person has pressed Slack's own Stop; appends are refused from then on."""

    @property
    def is_open(self) -> bool:
        """Whether people see that more is to come."""
        return not self.end


@dataclass(eq=False)
class Message:
    """A message of a channel. `thread_ts` is None for a message that starts a thread."""

    ts: str
    channel: str
    user: str
    text: str = ""
    team: str = ""
    thread_ts: str | None = None
    bot_id: str | None = None
    bot_name: str | None = None
    app_id: str | None = None
    client_msg_id: str | None = None
    subtype: str | None = None
    metadata: Json | None = None
    edited: Json | None = None
    deleted: bool = False
    deleted_at: float | None = None
    files: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    sent_text: str = ""
    sent_blocks: list[Json] | None = None
    sent_markdown: str = ""
    revisions: list[Revision] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list, repr=False)
    stream: Stream | None = None
    source_blocks: list[Json] = field(default_factory=list, repr=False)
    _stored: list[Json] | None = field(default=None, repr=False)

    @property
    def blocks(self) -> list[Json]:
        """The blocks as Slack stores them: Markdown translated, with block ids of its own."""
        # Translated when somebody looks: most of a thousand edits a minute are never read.
        if self._stored is None:
            self._stored = stored_blocks(self.source_blocks)
        return self._stored

    def set_blocks(self, blocks: Sequence[Json]) -> None:
        """Replace the blocks; they are translated again, with fresh ids."""
        self.source_blocks = list(blocks)
        self._stored = None

    @property
    def shown(self) -> str:
        """The words a reader sees: those of the blocks, or the text where there are none."""
        return shown_text(self.blocks) if self.source_blocks else self.text

    @property
    def root_ts(self) -> str:
        """The ts of the message that starts this one's thread."""
        return self.thread_ts or self.ts


@dataclass
class User:
    """A person, or another bot."""

    id: str
    real_name: str
    display_name: str
    tz: str
    team: str
    is_bot: bool = False
    is_restricted: bool = False
    is_stranger: bool = False
    bot_id: str | None = None


@dataclass
class Channel:
    """A conversation with its messages, oldest first."""

    id: str
    name: str
    kind: ChannelKind
    members: list[str]
    bot_is_member: bool = True
    is_shared: bool = False
    is_archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict, repr=False)

    @property
    def is_private(self) -> bool:
        """Whether the channel is invisible to those who are not in it."""
        return self.kind != "channel"


@dataclass
class File:
    """An uploaded file.

    `redirect_to`: where downloads are sent first, "edge" for this file's second address.
    """

    id: str
    name: str
    content: bytes = field(repr=False)
    mimetype: str
    user: str
    channels: list[str] = field(default_factory=list)
    redirect_to: str = ""


@dataclass
class Call:
    """A Web API call; times are the loop's, `status` is 0 until it is answered."""

    method: str
    args: Json
    at: float
    status: int = 0
    error: str | None = None
    token_ok: bool = False
    answered_at: float | None = None


@dataclass(frozen=True)
class Delivery:
    """One attempt to hand an event to the app; `reason` says why it failed, "" if it did not."""

    event_id: str
    type: str
    attempt: int
    status: int
    took_s: float
    reason: str


class Status(NamedTuple):
    """A status line that the app set ("" clears it)."""

    channel: str
    thread_ts: str
    status: str
    at: float


@dataclass
class StatusLine:
    """A status line as people saw it: from when until when (None: still there), and why it went."""

    channel: str
    thread_ts: str
    status: str
    since: float
    until: float | None = None
    end: StatusEnd = ""


class Glimpse(NamedTuple):
    """The app's Markdown in a thread from one moment on: a part for each message, oldest first."""

    at: float
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Ephemeral:
    """A message that only one person sees."""

    ts: str
    channel: str
    user: str
    text: str
    blocks: list[Json]
    thread_ts: str | None
    at: float


class Notified(NamedTuple):
    """A mention in the app's words that reached people."""

    channel: str
    ts: str
    what: str


class Unfurled(NamedTuple):
    """A link in a post of the app that Slack would have unfurled."""

    channel: str
    ts: str
    url: str


@dataclass(frozen=True)
class Change:
    """Something that a person looking at a channel would see change."""

    kind: ChangeKind
    channel: str
    at: float
    message: Message | None = None
    status: Status | None = None
    ephemeral: Ephemeral | None = None
