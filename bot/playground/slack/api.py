"""The Web API over HTTP: tokens, rates, faults, then the method itself."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from .args import Args, parsed
from .errors import SlackFailure
from .faults import Fault
from .methods import METHODS, Method
from .methods.access import require_scope
from .records import Call, Json
from .workspace import Workspace, now

_ABOUT_A_MESSAGE = {"chat.update", "chat.delete", "chat.appendStream", "chat.stopStream"}
_JSON = "application/json"
_HTML = "<!DOCTYPE html><html><head><title>Slack</title></head><body>{}</body></html>"


class Api:
    """Answers every call below `/api/`."""

    def __init__(self, workspace: Workspace, stopping: asyncio.Event) -> None:
        self._workspace = workspace
        self._stopping = stopping
        self._paused_until: dict[tuple[str, str], float] = {}
        self._in_flight: dict[tuple[str, str], list[web.Request]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call, from its arrival to its answer."""
        call = Call(request.match_info["method"], {}, now())
        try:
            token = await self._read(request, call)
            method = self._method(call, token)
            self._check_rate(call, method)
        except SlackFailure as failure:
            self._arrived(call)
            return await self._refused(call, failure)
        self._arrived(call)
        fault = self._workspace.faults.take(call.method, call.args)
        if fault is None or not fault.is_rate_limit:
            self._count(call, method)
        with self._in_turn(request, call):
            if fault is not None:
                return await self._faulty(request, call, method, fault)
            await self._wait(self._workspace.settings.latency_s / 2)
            body = self._run(call, method)
            await self._wait(self._workspace.settings.latency_s / 2)
            return self._answer(call, body)

    @contextmanager
    def _in_turn(self, request: web.Request, call: Call) -> Iterator[None]:
        """Record the call if another one about the same message still waits for its answer."""
        if call.method not in _ABOUT_A_MESSAGE:
            yield
            return
        key = (str(call.args.get("channel")), str(call.args.get("ts")))
        waiting = self._in_flight.setdefault(key, [])
        # A client that gave up and left waits for nothing any more.
        if any(each.transport and not each.transport.is_closing() for each in waiting):
            self._workspace.overlapping.append(call)
        waiting.append(request)
        try:
            yield
        finally:
            waiting.remove(request)
            if not waiting:
                self._in_flight.pop(key, None)

    async def _read(self, request: web.Request, call: Call) -> str | None:
        """Fill in the arguments; the token, if there is one."""
        raw = await request.read()
        query = dict(request.query)
        args = parsed(raw, request.content_type, query)
        form_token = args.pop("token", None)
        call.args = args
        header = request.headers.get("Authorization", "")
        if header.startswith("Bearer "):
            return header.removeprefix("Bearer ").strip()
        # In a JSON body a token does not count: docs.slack.dev/apis/web-api
        if isinstance(form_token, str) and request.content_type != _JSON:
            return form_token
        return None

    def _method(self, call: Call, token: str | None) -> Method:
        """The method that was called, once its token is checked."""
        method = METHODS.get(call.method)
        if method is None:
            raise SlackFailure("unknown_method", req_method=call.method)
        settings = self._workspace.settings
        if method.token != "none":
            if not token:
                raise SlackFailure("not_authed")
            if token not in (settings.bot_token, settings.app_token):
                raise SlackFailure("invalid_auth")
            if (token == settings.app_token) != (method.token == "app"):
                raise SlackFailure("not_allowed_token_type")
            if self._workspace.is_token_revoked and token == settings.bot_token:
                raise SlackFailure("token_revoked")
        call.token_ok = True
        return method

    def _check_rate(self, call: Call, method: Method) -> None:
        if not self._workspace.settings.enforce_limits:
            return
        channel = self._channel(call)
        limiter = self._workspace.limiter
        refusal = limiter.refusal(method.name, method.tier, channel, call.at)
        if refusal is not None:
            raise SlackFailure(refusal.error, retry_after_s=refusal.retry_after_s)

    def _count(self, call: Call, method: Method) -> None:
        channel = self._channel(call)
        self._workspace.limiter.take(method.name, method.tier, channel, call.at)

    def _channel(self, call: Call) -> str:
        """The channel of a post; a person's id and their direct messages are the same."""
        channel = str(call.args.get("channel", ""))
        is_person = call.method == "chat.postMessage" and channel in self._workspace.world.users
        return self._workspace.world.dm(channel).id if is_person else channel

    def _arrived(self, call: Call) -> None:
        workspace = self._workspace
        workspace.calls.append(call)
        workspace.counts[call.method, None] += 1
        if any(call.at < self._paused_until.get(key, 0.0) for key in self._pauses(call)):
            workspace.impatient.append(call)
        workspace.watch.bump()

    def _pauses(self, call: Call) -> tuple[tuple[str, str], tuple[str, str]]:
        """What a Retry-After of this call holds up: the method, or the method in its channel."""
        return (call.method, ""), (call.method, self._channel(call))

    async def _refused(self, call: Call, failure: SlackFailure) -> web.Response:
        await self._wait(self._workspace.settings.latency_s)
        return self._answer(call, failure.body, failure.retry_after_s)

    def _run(self, call: Call, method: Method) -> Json:
        """Let the call take effect: its answer."""
        try:
            require_scope(self._workspace, *method.scopes)
            return method.run(self._workspace, Args(call.args))
        except SlackFailure as failure:
            return failure.body

    def _answer(self, call: Call, body: Json, retry_after_s: int | None = None) -> web.Response:
        status = 200 if retry_after_s is None else 429
        headers = self._headers(call.method)
        if retry_after_s is not None:
            headers["Retry-After"] = str(retry_after_s)
            # Too many posts are a matter of their channel, everything else of the method.
            is_post = call.method == "chat.postMessage" and body["error"] == "rate_limited"
            key = self._pauses(call)[is_post]
            self._paused_until[key] = max(now() + retry_after_s, self._paused_until.get(key, 0.0))
        self._done(call, status, body.get("error"))
        text = json.dumps(body, ensure_ascii=False)
        return web.Response(text=text, status=status, headers=headers, content_type=_JSON)

    def _headers(self, name: str) -> dict[str, str]:
        method = METHODS.get(name)
        return {
            "x-slack-req-id": secrets.token_hex(16),
            "x-oauth-scopes": ",".join(sorted(self._workspace.settings.scopes)),
            "x-accepted-oauth-scopes": ",".join(method.scopes if method else ()),
        }

    def _done(self, call: Call, status: int, error: str | None) -> None:
        call.status = status
        call.error = error
        call.answered_at = now()
        if error is not None:
            self._workspace.counts[call.method, error] += 1
        self._workspace.watch.bump()

    async def _faulty(
        self, request: web.Request, call: Call, method: Method, fault: Fault
    ) -> web.Response:
        match fault.kind:
            case "ratelimited" | "rate_limited":
                body = {"ok": False, "error": fault.kind}
                return self._answer(call, body, fault.retry_after_s)
            case "ok_false_ratelimited":
                return self._answer(call, {"ok": False, "error": "ratelimited"})
            case "error":
                return self._answer(call, {"ok": False, "error": fault.error})
            case "http":
                return self._page(call, fault.status)
            case "apply_http":
                self._run(call, method)
                return self._page(call, fault.status)
            case "html":
                return self._page(call, 200)
            case "garbage":
                self._done(call, 200, "garbage")
                return web.Response(text='{"ok":true,"ts":"17', content_type=_JSON)
            case "lost":
                self._run(call, method)
                return self._cut(request, call, "lost", _close)
            case "reset":
                return self._cut(request, call, "reset", _reset)
            case "hang":
                await self._wait(fault.seconds)
                return self._cut(request, call, "hang", _close)
            case "delay":
                if fault.until is not None:
                    await self._wait_for(fault.until)
                else:
                    await self._wait(1.0 if fault.seconds is None else fault.seconds)
                return self._answer(call, self._run(call, method))
            case "late":
                body = self._run(call, method)
                await self._wait(1.0 if fault.seconds is None else fault.seconds)
                return self._answer(call, body)

    def _page(self, call: Call, status: int) -> web.Response:
        self._done(call, status, f"http_{status}" if status != 200 else "html")
        body = _HTML.format("Something went wrong" if status != 200 else "Sign in to Slack")
        return web.Response(text=body, status=status, content_type="text/html")

    def _cut(
        self, request: web.Request, call: Call, error: str, end: Callable[[web.Request], None]
    ) -> web.Response:
        self._done(call, 0, error)
        end(request)
        return web.Response()

    async def _wait_for(self, event: asyncio.Event) -> None:
        ends = [asyncio.create_task(one.wait()) for one in (event, self._stopping)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    async def _wait(self, seconds: float | None) -> None:
        """Sleep, but not longer than the emulator runs; None is for ever."""
        if seconds is not None and seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _reset(request: web.Request) -> None:
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    # With a linger of zero the kernel answers with RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
