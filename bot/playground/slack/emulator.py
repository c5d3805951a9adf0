"""Slack on a loopback port: what tests and the playground use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self, Unpack

from aiohttp import web

from .api import Api
from .delivery import Outbox
from .events import envelope
from .faults import Fault
from .files import FileServer
from .people import People
from .records import Delivery, File, Json, User
from .responses import ResponseUrls
from .seen import Seen
from .settings import Settings, SettingsArgs
from .sockets import Sockets
from .workspace import Workspace

# What stands at the top of a body; every other type is an event inside of an envelope.
_WHOLE = ("event_callback", "url_verification", "app_rate_limited")
_BODY_BYTES = 64 * 1024 * 1024


class SlackEmulator(Seen):
    """One workspace with one app installed, strict about everything that Slack documents.

    Keyword arguments are those of `Settings`. People's acts return at once; the events that they
    cause are delivered by tasks of the emulator.
    """

    def __init__(self, **settings: Unpack[SettingsArgs]) -> None:
        self.settings = Settings(**settings)
        super().__init__(Workspace(self.settings))
        self._sockets = Sockets(self._workspace)
        self._outbox = Outbox(self._workspace, self._sockets)
        self._workspace.publish = self._outbox.publish
        self._workspace.open_socket_url = self._sockets.new_url
        self._people = People(self._workspace, self._outbox)
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    # Life

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one."""
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=_BODY_BYTES)
        api = Api(self._workspace, self._stopping)
        files = FileServer(self._workspace)
        responses = ResponseUrls(self._workspace)
        app.router.add_route("GET", "/api/{method}", api.handle)
        app.router.add_route("POST", "/api/{method}", api.handle)
        app.router.add_get("/socket/{ticket}", self._sockets.handle)
        app.router.add_get("/files-pri/{path:.+}", files.download)
        app.router.add_post("/upload/{ticket}", files.upload)
        app.router.add_post("/actions/{key}", responses.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=1024)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self._workspace.base_url = f"http://{host}:{bound}/"
        await self._outbox.open()

    async def stop(self) -> None:
        """Give up deliveries, end waiting calls, close every connection."""
        self._stopping.set()
        await self._outbox.close()
        await self._sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._workspace.close()
        self._workspace.watch.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def api_url(self) -> str:
        """Where the Web API is, with its final slash."""
        return f"{self._workspace.base_url}api/"

    @property
    def events_url(self) -> str | None:
        """Where events go by HTTP, unless a Socket Mode connection is open."""
        return self.settings.events_url

    @events_url.setter
    def events_url(self, url: str | None) -> None:
        self.settings.events_url = url

    @property
    def latency_s(self) -> float:
        """Seconds that every call takes; half of them before it takes effect."""
        return self.settings.latency_s

    @latency_s.setter
    def latency_s(self, seconds: float) -> None:
        self.settings.latency_s = seconds

    @property
    def enforce_limits(self) -> bool:
        """Whether rates are limited. Lengths always are."""
        return self.settings.enforce_limits

    @enforce_limits.setter
    def enforce_limits(self, value: bool) -> None:
        self.settings.enforce_limits = value

    # World

    def add_user(
        self,
        real_name: str,
        *,
        display_name: str | None = None,
        tz: str = "Europe/London",
        team: str | None = None,
        is_bot: bool = False,
        is_restricted: bool = False,
        is_stranger: bool = False,
    ) -> str:
        """Let a person join: their id. `team` is another workspace's for Slack Connect."""
        world = self._workspace.world
        user = User(
            world.next_id("U0"),
            real_name,
            real_name.split()[0].lower() if display_name is None else display_name,
            tz,
            team or self.settings.team_id,
            is_bot,
            is_restricted,
            is_stranger,
            world.next_id("B0") if is_bot else None,
        )
        return world.add_user(user).id

    def add_channel(
        self,
        name: str,
        kind: Literal["channel", "group", "mpim"] = "channel",
        members: Sequence[str] = (),
        bot_is_member: bool = True,
        is_shared: bool = False,
    ) -> str:
        """Open a channel: its id. A person who writes in it becomes a member."""
        world = self._workspace.world
        channel = world.add_channel(
            name, kind, members, bot_is_member=bot_is_member, is_shared=is_shared
        )
        return channel.id

    def add_dm(self, user: str) -> str:
        """The direct messages of a person with the app: the id that begins with D."""
        return self._workspace.world.dm(user).id

    def add_file(
        self,
        name: str,
        content: bytes,
        mimetype: str = "text/plain",
        user: str = "",
        redirect_to: str = "",
    ) -> File:
        """Upload a file, to be shared by `say(files=[…])`; see `File` for `redirect_to`."""
        world = self._workspace.world
        file = File(world.next_id("F0"), name, content, mimetype, user, redirect_to=redirect_to)
        world.files[file.id] = file
        return file

    def archive(self, channel: str) -> None:
        """Archive a channel."""
        self._workspace.world.channels[channel].is_archived = True
        self._workspace.watch.bump()

    def kick_bot(self, channel: str) -> None:
        """Remove the app from a channel."""
        self._workspace.world.channels[channel].bot_is_member = False
        self._workspace.watch.bump()

    def revoke_token(self) -> None:
        """From now on the bot token is `token_revoked`."""
        self._workspace.is_token_revoked = True
        self._workspace.watch.bump()

    # People

    async def say(
        self,
        user: str,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        files: Sequence[File | Json] | None = None,
        subtype: str | None = None,
        attachments: Sequence[Json] = (),
    ) -> str:
        """A person writes, or forwards something: the message's ts."""
        return self._people.say(
            user,
            channel,
            text,
            thread_ts=thread_ts,
            files=files,
            subtype=subtype,
            attachments=attachments,
        )

    def backfill(
        self,
        channel: str,
        said: Sequence[tuple[str, str]],
        *,
        thread_ts: str | None = None,
        step_s: float = 1.0,
    ) -> list[str]:
        """What people (and other apps) said before the app listened, (user, text) each, `step_s`
        apart up to now: no event tells of it. A thread must be older than what is said in it."""
        return self._people.backfill(channel, said, thread_ts, step_s)

    async def edit(self, user: str, channel: str, ts: str, text: str) -> None:
        """A person edits their message."""
        self._people.edit(user, channel, ts, text)

    async def delete(self, user: str, channel: str, ts: str) -> None:
        """A person deletes a message, the app's too (as an administrator may)."""
        self._people.delete(user, channel, ts)

    async def press(
        self, user: str, channel: str, ts: str, action_id: str, *, value: str | None = None
    ) -> int:
        """A person presses a button: the HTTP status of the answer, 0 for none within 3 s."""
        return await self._people.press(user, channel, ts, action_id, value=value)

    async def command(self, user: str, channel: str, command: str, text: str = "") -> int:
        """A person uses a slash command: the HTTP status of the answer."""
        return await self._people.command(user, channel, command, text)

    async def open_home(self, user: str, tab: Literal["home", "messages"] = "home") -> None:
        """A person opens the app's Home or Messages tab."""
        self._people.open_home(user, tab)

    async def react(self, user: str, channel: str, ts: str, name: str) -> None:
        """A person adds a reaction to a message."""
        self._people.react(user, channel, ts, name)

    async def unreact(self, user: str, channel: str, ts: str, name: str) -> None:
        """A person takes a reaction back."""
        self._people.unreact(user, channel, ts, name)

    async def stop_stream(
        self, user: str, channel: str, ts: str, *, stays_open: bool = False
    ) -> None:
        """A person stops a native stream with Slack's own button; see `People.stop_stream`."""
        self._people.stop_stream(user, channel, ts, stays_open=stays_open)

    async def deliver(
        self, body: Json, *, retry_num: int | None = None, retry_reason: str = "http_timeout"
    ) -> Delivery:
        """One attempt to deliver an event, or a whole envelope as it is: what came of it."""
        if body.get("type") not in _WHOLE and "event" not in body:
            channel = self._workspace.world.channels.get(str(body.get("channel")))
            body = envelope(self._workspace, body, channel)
        return await self._outbox.deliver_once(body, retry_num, retry_reason)

    # Faults

    def fault(self, fault: Fault) -> Fault:
        """Let a call go wrong; faults are used in order, the first that matches."""
        self._workspace.faults.add(fault)
        return fault

    def clear_faults(self) -> None:
        """From now on everything works."""
        self._workspace.faults.clear()

    async def disconnect_sockets(
        self, reason: str = "refresh_requested", which: int | None = None
    ) -> None:
        """Tell every Socket Mode connection, or that of this number (the oldest is 0), to leave:
        warning, refresh_requested, link_disabled, too_many_websockets."""
        await self._sockets.disconnect(reason, which)

    def drop_sockets(self, which: int | None = None) -> None:
        """Reset every Socket Mode connection, or that of this number."""
        self._sockets.drop(which)

    def mute_sockets(self, muted: bool = True, which: int | None = None) -> None:
        """Socket Mode connections, or that of this number, stay open, but nothing comes through
        them, no pong either; without a number also through new ones."""
        self._sockets.mute(muted, which)

    # What passes between Slack and the app

    @property
    def events(self) -> list[Json]:
        """Every envelope that was published, for replays with `deliver`."""
        return self._outbox.bodies

    @property
    def open_sockets(self) -> int:
        """Socket Mode connections that are open."""
        return self._sockets.count

    @property
    def unacknowledged(self) -> int:
        """Envelopes of Socket Mode that wait for their acknowledgement."""
        return self._sockets.unacknowledged
