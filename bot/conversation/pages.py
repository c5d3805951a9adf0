"""The pages of one reading, each when Slack's budget has room; one that fails for a moment is read
once more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from bot.conversation.room import Room
from bot.errors import Doubtful, RateLimited, Transient
from bot.pacing import Pacer
from bot.slack import SlackMessage, Workspace

AGAIN_S: Final = 0.2
"""Before the second try, where Slack does not say how long."""

Page = tuple[list[SlackMessage], str | None]


class Pages:
    """What `thread.Reader` asks of a workspace. A page, and its second try, must begin within
    `timeout_s`, or TimeoutError is raised, or what the first try raised."""

    def __init__(self, workspace: Workspace, pacer: Pacer, room: Room, timeout_s: float) -> None:
        self._workspace = workspace
        self._team = workspace.identity.team
        self._pacer = pacer
        self._room = room
        self._timeout_s = timeout_s
        self._now = asyncio.get_running_loop().time
        self._until = 0.0

    async def slot(self, is_first: bool) -> None:
        """Wait for the next page's turn; raises TimeoutError."""
        self._until = self._now() + self._timeout_s
        if is_first:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._room.for_a_first_page(self._team)
        if not await self._pacer.read(self._team, self._timeout_s):
            raise TimeoutError

    async def thread_page(
        self,
        channel: str,
        thread_ts: str,
        *,
        oldest: str | None,
        latest: str | None,
        limit: int,
        cursor: str | None = None,
    ) -> Page:
        """As `Workspace.thread_page`."""
        return await self._page(
            lambda: self._workspace.thread_page(
                channel, thread_ts, oldest=oldest, latest=latest, limit=limit, cursor=cursor
            )
        )

    async def history_page(
        self, channel: str, *, latest: str | None, limit: int, cursor: str | None = None
    ) -> Page:
        """As `Workspace.history_page`."""
        return await self._page(
            lambda: self._workspace.history_page(channel, latest=latest, limit=limit, cursor=cursor)
        )

    async def _page(self, read: Callable[[], Awaitable[Page]]) -> Page:
        try:
            return await self._once(read)
        except RateLimited as error:
            if not await self._pacer.read(self._team, self._until - self._now()):
                raise error
        except (Doubtful, Transient) as error:
            await asyncio.sleep(AGAIN_S)
            if not await self._pacer.read(self._team, self._until - self._now()):
                raise error
        return await self._once(read)

    async def _once(self, read: Callable[[], Awaitable[Page]]) -> Page:
        try:
            return await read()
        except RateLimited as error:
            self._pacer.pause_reads(self._team, error.retry_after_s)
            raise
