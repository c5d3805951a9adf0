"""The workspace itself: people, channels, messages, files. State without network."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable

from .errors import SlackFailure
from .records import Channel, ChannelKind, File, Message, User
from .settings import Settings

_PREFIX = {"channel": "C", "group": "G", "mpim": "G", "im": "D"}


class World:
    """Everything that a workspace holds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._numbers = itertools.count(1)
        self._last_ts_us = 0
        self.users: dict[str, User] = {}
        self.bots: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.files: dict[str, File] = {}
        self._dms: dict[str, str] = {}
        bot = User(
            settings.bot_user_id,
            settings.bot_name,
            settings.bot_name,
            "America/Los_Angeles",
            settings.team_id,
            is_bot=True,
            bot_id=settings.bot_id,
        )
        self.users[bot.id] = self.bots[settings.bot_id] = bot

    def next_ts(self) -> str:
        """A message's ts: seconds with six decimals, later than any before in the workspace."""
        self._last_ts_us = max(int(time.time() * 1_000_000), self._last_ts_us + 1)
        return f"{self._last_ts_us // 1_000_000}.{self._last_ts_us % 1_000_000:06d}"

    def past_ts(self, ago_s: float) -> str:
        """The ts of a message that was written so long ago."""
        us = int((time.time() - ago_s) * 1_000_000)
        return f"{us // 1_000_000}.{us % 1_000_000:06d}"

    def next_id(self, prefix: str) -> str:
        """An id that looks like Slack's."""
        digest = hashlib.sha256(f"{prefix}{next(self._numbers)}".encode()).hexdigest()
        return prefix + digest[:10].upper()

    def add_user(self, user: User) -> User:
        """Let a person join."""
        self.users[user.id] = user
        if user.bot_id:
            self.bots[user.bot_id] = user
        return user

    def add_channel(
        self,
        name: str,
        kind: ChannelKind,
        members: Iterable[str],
        *,
        bot_is_member: bool = True,
        is_shared: bool = False,
    ) -> Channel:
        """Open a channel."""
        people = list(dict.fromkeys(members))
        for user in people:
            self.user(user)
        channel = Channel(self.next_id(_PREFIX[kind]), name, kind, people, bot_is_member, is_shared)
        self.channels[channel.id] = channel
        return channel

    def dm(self, user: str) -> Channel:
        """The direct messages between a person and the app, opened when they are not yet."""
        self.user(user)
        if user not in self._dms:
            self._dms[user] = self.add_channel("", "im", [user]).id
        return self.channels[self._dms[user]]

    def user(self, user: str) -> User:
        """That person; KeyError says who is unknown."""
        return self.users[user]

    def visible(self, channel: str | None, *, unknown: str = "channel_not_found") -> Channel:
        """A channel that the app can see: a private one only as a member."""
        found = self.channels.get(channel or "")
        if found is None or (found.is_private and not found.bot_is_member):
            raise SlackFailure(unknown)
        return found

    def message(self, channel: str, ts: str) -> Message | None:
        """The message, a deleted one too, or None if there never was one."""
        found = self.channels.get(channel)
        return found.messages.get(ts) if found else None

    def living(self, channel: Channel, ts: str | None) -> Message | None:
        """The message if it exists and was not deleted."""
        message = channel.messages.get(ts or "")
        return None if message is None or message.deleted else message

    def place(self, message: Message) -> None:
        """Put a new message into its channel and its thread."""
        channel = self.channels[message.channel]
        channel.messages[message.ts] = message
        if message.thread_ts is not None:
            channel.messages[message.thread_ts].replies.append(message)

    def thread(self, channel: Channel, root_ts: str) -> list[Message]:
        """A root and its replies, oldest first, without what was deleted."""
        root = channel.messages.get(root_ts)
        if root is None:
            return []
        return [each for each in (root, *root.replies) if not each.deleted]
