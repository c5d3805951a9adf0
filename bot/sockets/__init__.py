"""Socket Mode: several connections, so that one listens while another is replaced.

docs.slack.dev/apis/events-api/using-socket-mode: each payload goes to any one connection of the
app; what is not acknowledged within 3 s comes again, over any of them, and the claim in the store
makes it one question. "As long as you keep at least one connection alive all the time, terminating
others does not matter" (github.com/slackapi/bolt-python/issues/1071).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import aiohttp
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot import logs, metrics
from bot.errors import AuthFailed, RateLimited, SlackError, Transient
from bot.slack import call, patiently
from bot.sockets.link import REFUSALS, Link, Refused, now

log = logging.getLogger(__name__)

CONNECTIONS: Final = 2
"""Of this process. Slack allows ten per app: five processes, while a deploy overlaps half of it."""
DEAF_AFTER_S: Final = 8.0
"""Without a frame: two pings in a row were not answered, and the second had two seconds."""
STALL_S: Final = 0.5
"""A timer that is later than this: the process stood still, and what came is not read yet."""
OPEN_TIMEOUT_S: Final = 10.0
LINGER_S: Final = 15.0
"""A connection that is to be refreshed is left for Slack to close, some ten seconds later: a
payload may be on its way over it, and a press that is cut off does not come again."""
AGAIN_S: Final = 0.5
AGAIN_MAX_S: Final = 30.0
SHORT_LIFE_S: Final = 30.0
"""Connections that end sooner, one after the other, are opened again less and less often."""
RETRY_AFTER_MAX_S: Final = 300.0
REFUSED_AGAIN_S: Final = 60.0
REFUSED_ALONE_AGAIN_S: Final = 5.0
"""The same without any connection: Slack may still count ours that broke a moment ago."""
MOST_AT_ONCE: Final = 500
"""Envelopes that are being answered: ten seconds of fifty a second, though each has only three."""
TOLD_EVERY_S: Final = 60.0
REFUSAL_TOLD_EVERY_S: Final = 3_600.0

DEAD: Final = frozenset({"closed", "deaf"})
GOODBYES: Final = frozenset({"warning", "refresh_requested"})
"""Slack's reasons where nothing is wrong: the connection's time is over."""


class Sockets:
    """The connections of this process: opened, watched, replaced."""

    def __init__(
        self,
        bolt: AsyncApp,
        *,
        app_token: str,
        api_url: str,
        is_nothing: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        self._bolt = bolt
        self._app_token = app_token
        self._is_nothing = is_nothing
        self._web = AsyncWebClient(
            base_url=api_url, timeout=math.ceil(OPEN_TIMEOUT_S), retry_handlers=[]
        )
        self._links: set[Link] = set()
        self._numbers = itertools.count(1)
        self._keepers: list[asyncio.Task[None]] = []
        self._opening = asyncio.Lock()
        self._told_at: dict[str, float] = {}
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_open(self) -> bool:
        """Whether Slack reaches this process."""
        return self._open_ones() > 0

    async def start(self) -> None:
        """Open the first connection; the others follow.

        Raises AuthFailed for a wrong app token, another SlackError when a few tries failed.
        """
        first = await patiently(self._open)
        links = [first, *itertools.repeat(None, CONNECTIONS - 1)]
        self._keepers = [asyncio.create_task(self._hold(link), name="socket") for link in links]

    async def close(self) -> None:
        """Take no event any more, let those that were taken be acknowledged, and leave.

        What comes meanwhile is not acknowledged: Slack delivers it again, elsewhere or later.
        """
        if not self._closing.done():
            self._closing.set_result(None)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*[self._leave(link, "shutdown") for link in self._links])

    # Opening

    async def _open(self) -> Link:
        """A connection that Slack has greeted. Raises a SlackError."""
        answer = await call(
            "apps.connections.open",
            lambda: self._web.apps_connections_open(app_token=self._app_token),
        )
        url = str(answer.get("url"))
        link = Link(next(self._numbers), url, self._app_token, self._web, self._take)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await link.connect()
        except BaseException as error:
            await link.leave()
            if isinstance(error, aiohttp.ClientError | OSError):
                raise Transient("socket", type(error).__name__) from error
            raise
        self._opened(link)
        return link

    def _opened(self, link: Link) -> None:
        """Slack ends a connection about an hour after its hello. Of two that began together the
        second is replaced at half time, so that their ends lie half a life apart."""
        staying = [other for other in self._links if other.leaving is None]
        if any(link.opened_at - other.opened_at < link.lifetime_s / 4 for other in staying):
            link.replace_at = link.opened_at + link.lifetime_s / 2
        self._links.add(link)
        self._count()
        logs.event(log, "socket_opened", socket=link.number, open=self._open_ones())

    async def _reopened(self, listening: Link | None = None) -> Link:
        """The next connection, however long it takes; `listening` stays open until then."""
        while True:
            try:
                async with self._opening:
                    return await self._opened_at_last()
            except Refused as refusal:
                self._tell(refusal)
            if listening is not None:
                await self._leave(listening, "place_needed")  # Slack counts both
                listening = None
            else:
                await self._wait_for_a_place()

    async def _opened_at_last(self) -> Link:
        """Try on, longer and longer apart and never before Slack wants it. Raises only Refused."""
        tries = 0
        while True:
            asked_s = 0.0
            try:
                return await self._open()
            except Refused:
                raise
            except SlackError as error:
                self._tell(error)
                if isinstance(error, RateLimited):
                    asked_s = min(error.retry_after_s, RETRY_AFTER_MAX_S)
            except Exception:
                log.exception("socket_crashed")
            await asyncio.sleep(max(asked_s, _backoff_s(tries)))
            tries += 1

    async def _wait_for_a_place(self) -> None:
        await asyncio.sleep(_jittered(REFUSED_AGAIN_S if self.is_open() else REFUSED_ALONE_AGAIN_S))

    # Keeping

    async def _hold(self, link: Link | None) -> None:
        """Keep one connection, whatever happens."""
        while True:
            try:
                await self._keep(link)
            except Exception:
                log.exception("socket_crashed")
            link = None
            await asyncio.sleep(AGAIN_MAX_S)

    async def _keep(self, link: Link | None) -> NoReturn:
        """Watch a connection, and replace it when it ends or should."""
        short_lives = 0
        if link is None:
            link = await self._reopened()
        while True:
            reason = await self._over(link)
            listens = reason not in DEAD | REFUSALS
            if not listens:
                self._leave(link, reason)
            short_lives = short_lives + 1 if now() - link.opened_at < SHORT_LIFE_S else 0
            if reason in REFUSALS:
                self._tell(Refused("socket", reason))
                await self._wait_for_a_place()
            elif short_lives > 1:
                await asyncio.sleep(_backoff_s(short_lives - 2))
            successor = await self._reopened(link if listens else None)
            metrics.RECONNECTS.labels(reason).inc()
            self._leave(link, reason)
            link = successor

    async def _over(self, link: Link) -> str:
        """Until the connection has to be replaced: why."""
        while not link.ended.done():
            silent_at = link.heard_at + DEAF_AFTER_S
            if now() >= silent_at:
                return "deaf"
            if now() >= link.replace_at:
                return "aged"
            due = min(silent_at, link.replace_at)
            await asyncio.wait([link.ended], timeout=due - now())
            if now() > due + STALL_S:
                link.heard_at = now()
        return link.ended.result()

    def _leave(self, link: Link, reason: str) -> asyncio.Task[None]:
        """Close it beside everything else; once."""
        if link.leaving is None or link.leaving.cancelled():
            link.leaving = asyncio.create_task(self._left(link, reason), name="socket-leaving")
            self._count()
        return link.leaving

    async def _left(self, link: Link, reason: str) -> None:
        if reason in GOODBYES and link.message_receiver is not None:
            over = [link.message_receiver, self._closing]
            await asyncio.wait(over, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        try:
            await link.leave()
        except Exception:
            log.exception("socket_crashed")
        self._links.discard(link)
        open_s = round(now() - link.opened_at, 1)
        logs.event(log, "socket_closed", socket=link.number, reason=reason, open_s=open_s)

    # Answering

    def _take(self, link: Link, request: SocketModeRequest) -> None:
        """Answer in a task of its own, unless there are too many: then Slack asks again."""
        if self._closing.done():
            return
        if sum(len(each.answering) for each in self._links) >= MOST_AT_ONCE:
            self._tell(Transient("socket", "too_many_events"))
            return
        task = asyncio.create_task(self._answer(link, request), name="envelope")
        link.answering.add(task)
        task.add_done_callback(link.answering.discard)

    async def _answer(self, link: Link, request: SocketModeRequest) -> None:
        started = time.time()
        try:
            if self._is_nothing(request.payload):
                await link.send_socket_mode_response(SocketModeResponse(request.envelope_id))
                return
            answer = await run_async_bolt_app(self._bolt, request)
            await send_async_response(link, request, answer, started)
        except (aiohttp.ClientError, ConnectionError) as error:
            logs.event(log, "ack_lost", socket=link.number, kind=type(error).__name__)
        except Exception:
            log.exception("envelope_crashed")

    # Telling

    def _open_ones(self) -> int:
        return sum(link.is_open for link in self._links)

    def _count(self) -> None:
        metrics.SOCKETS.set(self._open_ones())

    def _tell(self, error: SlackError) -> None:
        """One line a minute and cause for the operator; an hour, where only they can change it
        and the bot works without."""
        every_s = REFUSAL_TOLD_EVERY_S if isinstance(error, Refused) else TOLD_EVERY_S
        if now() - self._told_at.get(error.code, -math.inf) < every_s:
            return
        self._told_at[error.code] = now()
        level = logging.ERROR if isinstance(error, AuthFailed) else logging.WARNING
        fields = {"code": error.code, "method": error.method, "open": self._open_ones()}
        log.log(level, "socket_trouble", extra={"fields": fields})


def _backoff_s(tries: int) -> float:
    return _jittered(min(AGAIN_MAX_S, AGAIN_S * 2.0 ** min(tries, 9)))


def _jittered(seconds: float) -> float:
    """So that processes that failed together do not come back together."""
    return seconds * random.uniform(0.5, 1.0)
