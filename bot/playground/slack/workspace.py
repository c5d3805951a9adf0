"""The workspace in use: what happens to its messages, and who is told of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from . import events, mrkdwn
from .faults import Faults
from .limits import RateLimiter
from .records import (
    Call,
    Change,
    ChangeKind,
    Channel,
    Delivery,
    Ephemeral,
    File,
    Json,
    Message,
    Notified,
    Revision,
    Status,
    StatusEnd,
    StatusLine,
    Stream,
    StreamEnd,
    Unfurled,
)
from .settings import Settings
from .validate import block_texts, joined_markdown
from .watch import Watch
from .wire import file_json, tombstone_json
from .world import World

_LATER_S = 0.001  # a timer may run within the clock's resolution before its time


def now() -> float:
    """The running loop's time; the same clock outside of a loop."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


class Workspace:
    """World, records and limits together, with the verbs that keep them consistent.

    Every verb is synchronous: a call takes effect whole or not at all.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.world = World(settings)
        self.watch = Watch()
        self.faults = Faults()
        self.limiter = RateLimiter(settings.limits)
        self.publish: Callable[[str, Json, Channel | None], None] = lambda *_: None
        self.open_socket_url: Callable[[], str] = lambda: ""
        self.base_url = ""
        self.is_token_revoked = False
        self.calls: list[Call] = []
        self.counts: Counter[tuple[str, str | None]] = Counter()
        self.impatient: list[Call] = []
        self.overlapping: list[Call] = []
        self.deliveries: list[Delivery] = []
        self.statuses: list[Status] = []
        self.ephemerals: list[Ephemeral] = []
        self.notified: list[Notified] = []
        self.unfurled: list[Unfurled] = []
        self.views: dict[str, Json] = {}
        self.modals: list[Json] = []
        self.prompts: list[Json] = []
        self.titles: dict[tuple[str, str], str] = {}
        self.sessions: dict[tuple[str, str], str] = {}
        self.uploads: dict[str, File] = {}
        self.triggers: dict[str, float] = {}
        self.response_urls: dict[str, Json] = {}
        self.status_lines: list[StatusLine] = []
        self.streams: list[Stream] = []
        self._status: dict[tuple[str, str], StatusLine] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    def close(self) -> None:
        """Let nothing lapse any more."""
        while self._timers:
            self._timers.pop().cancel()

    # What happens to messages

    def post(self, message: Message) -> None:
        """A new message appears; the app hears of it if it may."""
        self.world.place(message)
        channel = self.world.channels[message.channel]
        if message.bot_id == self.settings.bot_id and message.thread_ts:
            # A stream is a message too: it begins with a post in the thread.
            self._end_status(channel.id, message.thread_ts, "posted")
        self._publish_post(message, channel)
        self._tell("posted", message)

    def change(self, message: Message, previous: Json) -> None:
        """A message is no more what it was; `previous` is its JSON from before."""
        channel = self.world.channels[message.channel]
        if events.wants_messages(self, channel):
            current = events.full_json(self, message)
            body = events.changed_event(self, current, previous, channel)
            self._publish_message(body, channel)
        self._tell("updated", message)

    def grow(self, message: Message) -> None:
        """An open stream got longer: people see it, no event tells of it."""
        self._tell("updated", message)

    def begin_stream(self, message: Message, stream: Stream) -> None:
        """A stream appears as a message; Slack closes it when it is old, whatever it is told."""
        message.stream = stream
        self.streams.append(stream)
        self.post(message)
        self._later(self.settings.stream_lifetime_s, lambda: self.open_stream(message))

    def open_stream(self, message: Message) -> Stream | None:
        """The message's native stream, unless it was stopped or Slack closed it for its age."""
        stream = message.stream
        if stream is None or not stream.is_open:
            return None
        until = stream.started_at + self.settings.stream_lifetime_s
        if now() < until:
            return stream
        self.end_stream(message, "expired", until)
        self.watch.bump()
        return None

    def end_stream(self, message: Message, end: StreamEnd, at: float | None = None) -> None:
        """A stream takes no more text; without one, or after its end, nothing happens."""
        if message.stream is not None and message.stream.is_open:
            message.stream.end = end
            message.stream.ended_at = now() if at is None else at

    def snapshot(self, message: Message) -> Json:
        """The message's JSON, for `change`; empty where nobody would read it."""
        channel = self.world.channels[message.channel]
        return events.full_json(self, message) if events.wants_messages(self, channel) else {}

    def remove(self, message: Message) -> None:
        """A message is deleted.

        A root with replies leaves a tombstone, and the app hears `message_changed` instead of
        `message_deleted`; the tombstone goes with its last reply.
        """
        channel = self.world.channels[message.channel]
        previous = self.snapshot(message)
        message.deleted, message.deleted_at = True, now()
        self.end_stream(message, "deleted")
        if any(not reply.deleted for reply in message.replies):
            stone = tombstone_json(message)
            body = events.changed_event(self, stone, previous, channel)
        else:
            body = events.deleted_event(self, message.ts, previous, channel)
        self._publish_message(body, channel)
        self._tell("deleted", message)
        self._drop_empty_tombstone(message, channel)

    def _drop_empty_tombstone(self, message: Message, channel: Channel) -> None:
        root = channel.messages.get(message.thread_ts or "")
        if root is None or not root.deleted or any(not reply.deleted for reply in root.replies):
            return
        body = events.deleted_event(self, root.ts, tombstone_json(root), channel)
        self._publish_message(body, channel)

    def show_privately(self, note: Ephemeral) -> None:
        """One person sees a message."""
        self.ephemerals.append(note)
        self.watch.tell(Change("ephemeral", note.channel, note.at, ephemeral=note))

    # What the app says

    def note_revision(self, message: Message, method: str) -> None:
        """Keep what the app just sent, and what it does to people."""
        message.sent_markdown = joined_markdown(message.sent_blocks) or message.sent_markdown
        self.keep_revision(message, method)
        texts = [message.sent_text, message.sent_markdown]
        self.note_mentions(message.channel, message.ts, texts, message.sent_blocks)

    def keep_revision(self, message: Message, method: str) -> None:
        """Keep the state of a message as the app sent it."""
        text, blocks = message.sent_text, message.sent_blocks
        message.revisions.append(Revision(now(), method, text, blocks, message.sent_markdown))

    def note_mentions(
        self, channel: str, ts: str, texts: list[str], blocks: list[Json] | None
    ) -> None:
        """Record every mention that would reach somebody."""
        found = [what for text in texts for what in mrkdwn.live_mentions(text)]
        for block in blocks or ():
            if block.get("type") == "rich_text":
                found += _rich_mentions(block)
            elif block.get("type") != "markdown":
                found += [what for t in block_texts(block) for what in mrkdwn.live_mentions(t)]
        for what in dict.fromkeys(found):
            self.notified.append(Notified(channel, ts, what))

    def note_unfurl(self, message: Message, *, allowed: bool) -> None:
        """Record a link that Slack unfurls under a post."""
        texts = [message.sent_text, message.sent_markdown, *block_texts(message.sent_blocks)]
        for text in texts if allowed else ():
            if url := mrkdwn.first_url(text):
                self.unfurled.append(Unfurled(message.channel, message.ts, url))
                return

    # Status lines

    def set_status(self, channel: str, thread_ts: str, text: str) -> None:
        """The app's status line in a thread; "" clears it. It lapses unless it is set again."""
        self.statuses.append(Status(channel, thread_ts, text, now()))
        if not text:
            self._end_status(channel, thread_ts, "cleared")
            return
        self.status(channel, thread_ts)  # one that is over by now has lapsed, not been replaced
        if (shown := self._status.get((channel, thread_ts))) is not None:
            shown.until, shown.end = now(), "replaced"
        line = self._status[channel, thread_ts] = StatusLine(channel, thread_ts, text, now())
        self.status_lines.append(line)
        self._tell_status(line)
        self._later(self.settings.status_lifetime_s, lambda: self.status(channel, thread_ts))

    def status(self, channel: str, thread_ts: str) -> str:
        """The status line that people see now, or ""."""
        line = self._status.get((channel, thread_ts))
        if line is None:
            return ""
        until = line.since + self.settings.status_lifetime_s
        if now() < until:
            return line.status
        self._end_status(channel, thread_ts, "lapsed", until)
        return ""

    def _end_status(
        self, channel: str, thread_ts: str, end: StatusEnd, at: float | None = None
    ) -> None:
        """The status line is gone, if there was one."""
        if end != "lapsed":
            self.status(channel, thread_ts)
        if (line := self._status.pop((channel, thread_ts), None)) is not None:
            line.until, line.end = now() if at is None else at, end
            self._tell_status(StatusLine(channel, thread_ts, "", line.until))

    def _tell_status(self, line: StatusLine) -> None:
        status = Status(line.channel, line.thread_ts, line.status, line.since)
        self.watch.tell(Change("status", line.channel, line.since, status=status))

    def _later(self, seconds: float, look: Callable[[], object]) -> None:
        """Look again after `seconds`, as long as the emulator runs."""

        def run() -> None:
            self._timers.discard(timer)
            look()

        timer = asyncio.get_running_loop().call_later(seconds + _LATER_S, run)
        self._timers.add(timer)

    # Reactions

    def react(self, user: str, message: Message, name: str, *, added: bool) -> None:
        """Somebody adds or takes back a reaction."""
        users = message.reactions.setdefault(name, [])
        if added:
            users.append(user)
        else:
            users.remove(user)
        if not users:
            del message.reactions[name]
        channel = self.world.channels[message.channel]
        kind = "reaction_added" if added else "reaction_removed"
        if channel.bot_is_member and events.is_wanted(self, kind):
            self.publish(kind, events.reaction_event(self, kind, user, message, name), channel)
        self.watch.bump()

    # Files

    def file_json(self, file: File) -> Json:
        """What Slack tells about a file."""
        return file_json(file, self.base_url, self.settings)

    # Telling

    def _publish_post(self, message: Message, channel: Channel) -> None:
        wants_mention = (
            message.bot_id != self.settings.bot_id
            and channel.kind != "im"
            and channel.bot_is_member
            and f"<@{self.settings.bot_user_id}" in message.text
            and events.is_wanted(self, "app_mention")
        )
        if wants_mention:
            self.publish("app_mention", events.mention_event(self, message), channel)
        if events.wants_messages(self, channel):
            self.publish("message", events.posted_event(self, message), channel)

    def _publish_message(self, event: Json, channel: Channel) -> None:
        if events.wants_messages(self, channel):
            self.publish("message", event, channel)

    def _tell(self, kind: ChangeKind, message: Message) -> None:
        self.watch.tell(Change(kind, message.channel, now(), message=message))


def _rich_mentions(value: Any) -> list[str]:
    """Mentions in rich text that the app composed itself."""
    if isinstance(value, list):
        return [found for child in value for found in _rich_mentions(child)]
    if not isinstance(value, dict):
        return []
    match value.get("type"):
        case "user":
            return [f"<@{value.get('user_id')}>"]
        case "broadcast":
            return [f"<!{value.get('range')}>"]
        case "usergroup":
            return [f"<!subteam^{value.get('usergroup_id')}>"]
    return _rich_mentions(value.get("elements", []))
