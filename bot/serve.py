"""HTTP or Socket Mode, health, signals → drain."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_sdk.signature import SignatureVerifier

from bot import logs, metrics
from bot.app import Bot, build
from bot.config import Settings
from bot.errors import BotError
from bot.listeners import is_echo
from bot.listeners.envelope import is_well_formed
from bot.sockets import Sockets

log = logging.getLogger(__name__)

EVENTS_PATH: Final = "/slack/events"
BODY_BYTES: Final = 4 * 1024 * 1024
HEALTH_TIMEOUT_S: Final = 2.0
AUTH_CHECK_EVERY_S: Final = 60.0
HTTP_SHUTDOWN_S: Final = 2.0
THEIR_FAULTS: Final = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
"""A request that is no HTTP, or breaks off: aiohttp would log each with its traceback."""

http_log = logging.getLogger("bot.serve.http")
http_log.addFilter(lambda line: not (line.exc_info and isinstance(line.exc_info[1], THEIR_FAULTS)))


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal does not wait for the replies."""
    stop, force = asyncio.Event(), asyncio.Event()
    _on_signals(stop, force)
    async with AsyncExitStack() as stack:
        starting = asyncio.ensure_future(stack.enter_async_context(running(settings)))
        await _first(starting, stop.wait())
        if stop.is_set():
            return
        server = starting.result()
        logs.event(log, "ready", mode=server.mode, port=server.port, team=server.team)
        await stop.wait()
        logs.event(log, "draining", grace_s=settings.shutdown_grace_s)
        await _first(asyncio.ensure_future(server.drain(settings.shutdown_grace_s)), force.wait())
    logs.event(log, "stopped")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Server]:
    """The bot, listening; closed on leaving. Raises what `app.build` raises, and OSError when the
    port is taken."""
    async with build(settings) as bot:
        server = Server(settings, bot)
        try:
            await server.start()
            yield server
        finally:
            await server.close()


class Server:
    """What Slack and the host talk to."""

    def __init__(self, settings: Settings, bot: Bot) -> None:
        self._settings = settings
        self._bot = bot
        self._runner: web.AppRunner | None = None
        self._sockets: Sockets | None = None
        self._verifier = SignatureVerifier(settings.slack_signing_secret or "unused")
        self._auth_checked_at = asyncio.get_running_loop().time()
        self._auth_check: asyncio.Task[None] | None = None
        self.port: int | None = None

    @property
    def mode(self) -> str:
        return "socket" if self._settings.socket_mode else "http"

    @property
    def team(self) -> str:
        identity = self._bot.workspace.identity
        return identity.team_name or identity.team

    async def start(self) -> None:
        if self._settings.port is not None:
            await self._listen(self._settings.port)
        self._bot.turns.start()
        if self._settings.socket_mode:
            await self._connect()

    async def drain(self, grace_s: float) -> None:
        """Stop the intake, let replies finish, settle the others; within `grace_s`."""
        self._bot.turns.draining = True
        closing = [self._sockets.close()] if self._sockets is not None else []
        await asyncio.gather(self._bot.turns.drain(grace_s), *closing)

    async def idle(self) -> None:
        """Return when no turn is under way."""
        await self._bot.turns.idle()

    async def close(self) -> None:
        if self._sockets is not None:
            await self._sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._bot.turns.drain(0.0)

    async def _listen(self, port: int) -> None:
        web_app = web.Application(client_max_size=BODY_BYTES)
        web_app.router.add_get("/healthz", self._healthz)
        web_app.router.add_get("/readyz", self._readyz)
        web_app.router.add_get("/metrics", self._metrics)
        if not self._settings.socket_mode:
            web_app.router.add_post(EVENTS_PATH, self._slack_events)
        self._runner = web.AppRunner(
            web_app,
            access_log=None,
            logger=http_log,
            handle_signals=False,
            shutdown_timeout=HTTP_SHUTDOWN_S,
            auto_decompress=False,  # it would be done before the signature is checked
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", port).start()
        self.port = self._runner.addresses[0][1]

    async def _connect(self) -> None:
        """Open the sockets. A wrong app token is reported here; later failures are retried."""
        self._sockets = Sockets(
            self._bot.bolt,
            app_token=self._settings.slack_app_token or "",
            api_url=self._settings.slack_api_url,
            is_nothing=lambda payload: not is_well_formed(payload) or self._is_echo(payload),
        )
        await self._sockets.start()

    async def _slack_events(self, request: web.Request) -> web.StreamResponse:
        """Verify, then hand over to Bolt, whose own checks answer 500 to a timestamp that is not
        a number, to a signature that is not ASCII and to a malformed body."""
        try:
            raw = await request.read()
        except THEIR_FAULTS:
            return web.Response(status=400, text="incomplete body")
        if not self._signed(request, raw):
            return web.Response(status=401, text="invalid signature")
        try:
            bolt_request = await to_bolt_request(request)
            well_formed = is_well_formed(bolt_request.body)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            well_formed = False
        if not well_formed:
            return web.Response(status=400, text="malformed body")
        if self._is_echo(bolt_request.body):
            return web.Response()
        return await to_aiohttp_response(await self._bot.bolt.async_dispatch(bolt_request))

    def _is_echo(self, body: Mapping[str, Any]) -> bool:
        """Every edit of ours comes back as an event: not worth Bolt's time (some 3 ms each)."""
        return is_echo(body, self._bot.workspace.identity.bot_user_id)

    def _signed(self, request: web.Request, raw: bytes) -> bool:
        timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        numeric = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
        if not (numeric and signature.isascii()):
            return False
        try:
            return self._verifier.is_valid(raw, timestamp, signature)
        except UnicodeDecodeError:
            return False

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        """200 when new questions would be answered, else 503 with what is missing."""
        checks: dict[str, Callable[[], Awaitable[bool]]] = {
            "store": self._store_answers,
            "slack": self._token_is_valid,
            "socket": self._socket_is_open,
        }
        missing = [name for name, check in checks.items() if not await _within(check())]
        if self._bot.turns.draining:
            missing.append("draining")
        return web.json_response(
            {"ok": not missing, "missing": missing}, status=503 if missing else 200
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _store_answers(self) -> bool:
        await self._bot.store.ping()
        return True

    async def _token_is_valid(self) -> bool:
        """Asks Slack at most once a minute, and may take longer than one probe of the host."""
        now = asyncio.get_running_loop().time()
        if now - self._auth_checked_at < AUTH_CHECK_EVERY_S:
            return True
        if self._auth_check is None:
            self._auth_check = asyncio.create_task(self._bot.workspace.check())
        try:
            await asyncio.shield(self._auth_check)
        finally:
            if self._auth_check is not None and self._auth_check.done():
                self._auth_check = None
        self._auth_checked_at = now
        return True

    async def _socket_is_open(self) -> bool:
        return self._sockets is None or self._sockets.is_open()


async def _within(check: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            return await check
    except (BotError, TimeoutError):
        return False


def _on_signals(stop: asyncio.Event, force: asyncio.Event) -> None:
    def on_signal() -> None:
        (force if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


async def _first(*waiting: Awaitable[Any]) -> None:
    """Return when one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
