"""The scripted Claude: an HTTP server on loopback that speaks the Messages API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from typing import Any, Self

from aiohttp import web

from bot.playground.claude import checks, models
from bot.playground.claude.answer import Answer
from bot.playground.claude.canned import default_reply
from bot.playground.claude.changes import Changes
from bot.playground.claude.content import estimate_tokens
from bot.playground.claude.errors import ApiError, invalid, new_id
from bot.playground.claude.pace import Pace, Ticker
from bot.playground.claude.reply import Reply, When
from bot.playground.claude.request import Request, last_user_text
from bot.playground.claude.stream import Stream
from bot.playground.claude.whole import break_off, write_whole
from bot.playground.claude.wire import CONTENT_TYPE, Wire

MAX_REQUEST_BYTES = 32 * 1024 * 1024  # docs: api/errors, 413 request_too_large
MAX_CONTEXT_TOKENS = 1_000_000
RATE_LIMITS = {
    "requests": 1_000,
    "tokens": 2_400_000,
    "input-tokens": 2_000_000,
    "output-tokens": 400_000,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedClaude:
    """Answers POST /v1/messages with what was scripted, at the speed that was asked for.

    `tokens_per_second` (0 holds, infinity lets everything out) and `first_token_s` hold for every
    reply without its own and may be changed at any time, in mid-stream too. `default` makes the
    reply to a request that no scripted one matches.
    """

    def __init__(
        self,
        api_key: str = "sk-ant-scripted",
        tokens_per_second: float = 60.0,
        first_token_s: float = 0.0,
        *,
        context_tokens: int = MAX_CONTEXT_TOKENS,
    ) -> None:
        self.api_key = api_key
        self.tokens_per_second = tokens_per_second
        self.first_token_s = first_token_s
        self.context_tokens = context_tokens
        self.default: Callable[[dict[str, Any]], Reply] = self._canned
        self.requests: list[Request] = []
        self.open_streams = 0
        self.peak_streams = 0
        self.base_url = ""
        self._replies: list[Reply] = []
        self._changes = Changes()
        self._ticker = Ticker()
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopping = False

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; `base_url` is right from here on."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[self._refusals])
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1/models/{id}", self._one_model)
        self._is_stopping = False
        # With handler_cancellation a client that leaves cancels its handler at once.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Break off what is still running and close the port."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    def script(self, *replies: Reply) -> None:
        """Put replies at the end of the queue; each is used once unless it says `keep`."""
        self._replies.extend(replies)

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float = 5.0) -> None:
        """Return when `predicate()` is true, looked at on every request, delta and end."""
        try:
            await self._changes.wait_for(predicate, timeout_s)
        except TimeoutError:
            seen = [
                f"{request.status} {request.last_user_text[-60:]!r} sent {len(request.sent_text)}"
                + (" finished" if request.finished else "")
                + (" closed by client" if request.closed_by_client else "")
                for request in self.requests[-5:]
            ]
            message = f"not true within {timeout_s} s; the last requests: {seen or 'none'}"
            raise TimeoutError(message) from None

    # -- routes

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return error.response()
        except web.HTTPNotFound:
            return ApiError(404, f"Not found: {request.method} {request.path}").response()
        except web.HTTPMethodNotAllowed:
            return ApiError(
                405, "Method Not Allowed", error_type="invalid_request_error"
            ).response()

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        request = Request({}, {k.lower(): v for k, v in http.headers.items()}, loop.time())
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request.body = await self._admit(http, request)
            self._changes.notify()
            response = await self._answer(http, request)
            request.status = response.status
            return response
        except ApiError as error:
            request.status = error.status
            raise
        except (asyncio.CancelledError, ConnectionError):
            request.closed_by_client = not self._is_stopping
            raise
        finally:
            self._tasks.discard(task)
            request.ended_at = loop.time()
            self._changes.notify()

    async def _admit(self, http: web.Request, request: Request) -> dict[str, Any]:
        """Note the request as it arrived, refused or not; then check it."""
        try:
            checks.check_headers(http.headers, self.api_key)
            request.body = await _read(http)
        finally:
            self.requests.append(request)
            self._changes.notify()
        version = http.headers["anthropic-version"]
        checks.check(request.body, version=version, context_tokens=self.context_tokens)
        return request.body

    async def _answer(self, http: web.Request, request: Request) -> web.StreamResponse:
        reply = self._choose(request.body)
        if (fault := reply.struck_by("hang_headers")) is not None:
            await asyncio.sleep(inf if fault.seconds is None else fault.seconds)
        if reply.status >= 400:
            raise _refusal(reply)
        headers = _headers() | dict(reply.headers)
        if reply.struck_by("html"):
            return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")
        if reply.struck_by("empty"):
            return web.Response(body=b"", headers=headers | {"Content-Type": CONTENT_TYPE})
        answer = Answer.to(
            request.body,
            reply,
            input_tokens=estimate_tokens(request.body),
            context_tokens=self.context_tokens,
        )
        self.open_streams += 1
        self.peak_streams = max(self.peak_streams, self.open_streams)
        self._changes.notify()
        try:
            return await self._give(http, request, answer, Wire(http, headers))
        finally:
            self.open_streams -= 1

    async def _give(
        self, http: web.Request, request: Request, answer: Answer, wire: Wire
    ) -> web.StreamResponse:
        """Say the answer, event by event or as one body."""
        reply = answer.reply
        speed = reply.tokens_per_second
        pace = Pace(lambda: self.tokens_per_second if speed is None else speed, self._ticker)
        wait_s = self.first_token_s if reply.first_token_s is None else reply.first_token_s
        if not request.body.get("stream"):
            body = await write_whole(answer, pace, wait_s)
            if await break_off(wire, answer, body, http):
                return wire.response
            request.finished = True
            request.sent.append(answer.text)
            return web.Response(
                body=body, content_type="application/json", headers=_headers() | dict(reply.headers)
            )
        request.status = 200
        await wire.open(delimited_by_close=reply.struck_by("close_delimited") is not None)
        await Stream(wire, answer, request, pace, self._changes.notify).play(wait_s)
        return wire.response

    def _choose(self, body: dict[str, Any]) -> Reply:
        text = last_user_text(body)
        for reply in self._replies:
            if _matches(reply.when, body, text):
                if not reply.keep:
                    self._replies.remove(reply)
                return reply
        return self.default(body)

    def _canned(self, body: dict[str, Any]) -> Reply:
        return default_reply(last_user_text(body), self.tokens_per_second)

    async def _count_tokens(self, http: web.Request) -> web.StreamResponse:
        checks.check_headers(http.headers, self.api_key)
        body = await _read(http)
        checks.check_count(body)
        return web.json_response({"input_tokens": estimate_tokens(body)}, headers=_headers())

    async def _list_models(self, http: web.Request) -> web.StreamResponse:
        checks.check_headers(http.headers, self.api_key)
        lifecycles = http.query.getall("lifecycle", http.query.getall("lifecycle[]", []))
        data = [m.info() for m in models.ALL if not lifecycles or m.lifecycle in lifecycles]
        page = {"data": data, "has_more": False}
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return web.json_response(page | ends, headers=_headers())

    async def _one_model(self, http: web.Request) -> web.StreamResponse:
        checks.check_headers(http.headers, self.api_key)
        model_id = http.match_info["id"]
        model = models.find(model_id)
        if model is None:
            raise ApiError(404, f"model: {model_id}")
        return web.json_response(model.info(), headers=_headers())


async def _read(http: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await http.read())
    except web.HTTPRequestEntityTooLarge as error:
        raise ApiError(413, "Request exceeds the maximum size") from error
    except ValueError as error:
        raise invalid("The request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise invalid("Input should be an object")
    return body


def _matches(when: When | None, body: dict[str, Any], text: str) -> bool:
    if when is None:
        return True
    return when in text if isinstance(when, str) else bool(when(body))


def _refusal(reply: Reply) -> ApiError:
    headers = dict(reply.headers)
    if reply.retry_after is not None:
        headers["retry-after"] = f"{reply.retry_after}"
    return ApiError(
        reply.status,
        reply.error_message,
        error_type=reply.error_type,
        error_code=reply.error_code,
        headers=headers,
    )


def _headers() -> dict[str, str]:
    """What every good answer carries; the limits are those of the Start tier (api/rate-limits)."""
    headers = {"request-id": new_id("req"), "anthropic-organization-id": "scripted"}
    reset = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    for what, limit in RATE_LIMITS.items():
        headers[f"anthropic-ratelimit-{what}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{what}-remaining"] = str(limit - 1)
        headers[f"anthropic-ratelimit-{what}-reset"] = reset
    return headers
