"""Ask Claude and stream its reply as our own events.

A stream is complete only if a stop_reason was seen: the SDK ends silently when the connection is
closed properly in the middle of a reply. Events are told apart by `.type` alone, since the SDK
builds unknown ones with the wrong class. The SDK's own retries are off, because it sleeps for any
`retry-after` without a limit and cannot tell the person who waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anthropic
import httpx2
from anthropic.types import MessageParam, RawMessageStreamEvent

from bot.config import Effort
from bot.errors import (
    ClaudeBusy,
    ClaudeError,
    ClaudeFailing,
    ClaudeInterrupted,
    ClaudeMisconfigured,
    ClaudeOutOfCredit,
    ClaudeRejected,
    ClaudeSilent,
    ClaudeStalled,
    ClaudeTooSlow,
    ClaudeUnreachable,
    ConversationTooLong,
)
from bot.turn import ClaudeEvent, Done, Message, Retrying, Started, Text, Thinking, Usage

T = TypeVar("T")

ATTEMPTS: Final = 4
BACKOFF_S: Final = 1.0
BACKOFF_MAX_S: Final = 20.0
RETRY_AFTER_MAX_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
KEEPALIVE_S: Final = 120.0
"""A chat's traffic is sparse; the SDK's 5 s would cost a new TLS handshake per question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How long one reply may take: until the first event, between events, and in all."""

    first_event_s: float
    idle_s: float
    total_s: float


class Claude:
    """One warm client for the process."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        model: str,
        effort: Effort,
        max_tokens: int,
        system: str,
        clocks: Clocks,
    ) -> None:
        limits = httpx2.Limits(max_connections=1_000, keepalive_expiry=KEEPALIVE_S)
        # No read timeout on the socket: pings would renew it for ever. Our clocks rule instead.
        timeout = httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S)
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=anthropic.DefaultAioHttpClient(limits=limits, timeout=timeout),
        )
        self._model = model
        self._effort = effort
        self._max_tokens = max_tokens
        self._system = system
        self._clocks = clocks

    async def close(self) -> None:
        await self._client.close()

    async def stream(
        self, messages: Sequence[Message], *, user: str
    ) -> AsyncGenerator[ClaudeEvent]:
        """Claude's reply to `messages` (the last one from the user) as events, ended by `Done`.

        Failed attempts are repeated while no text has come. `user` names the person who asks; it
        is sent hashed. Close the iterator (`aclosing`) to close Claude's stream at once. Raises a
        ClaudeError when there is no complete reply; what was yielded before stays true.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._clocks.total_s
        for attempt in range(1, ATTEMPTS + 1):
            written = False
            try:
                async with aclosing(self._attempt(messages, user, deadline)) as events:
                    async for event in events:
                        written = written or isinstance(event, Text)
                        yield event
                return
            except ClaudeError as error:
                wait_s = _wait_s(error, attempt)
                hopeless = written or not error.retryable or attempt == ATTEMPTS
                if hopeless or wait_s > RETRY_AFTER_MAX_S or loop.time() + wait_s >= deadline:
                    raise
                yield Retrying(type(error).__name__, wait_s, attempt + 1)
            await asyncio.sleep(wait_s)

    async def _attempt(
        self, messages: Sequence[Message], user: str, deadline: float
    ) -> AsyncGenerator[ClaudeEvent]:
        watch = _Watch(self._clocks, deadline)
        try:
            stream = await watch.bounded(self._request(messages, user))
        except (anthropic.APIError, httpx2.HTTPError) as error:
            raise _translate(error) from error
        try:
            async with stream:
                events = _Events()
                iterator = stream.__aiter__()
                while (raw := await watch.bounded(anext(iterator, None))) is not None:
                    watch.progress()
                    if (event := events.read(raw, stream.response.headers)) is not None:
                        yield event
        except (anthropic.APIError, httpx2.HTTPError, ValueError, LookupError) as error:
            raise _translate(error) from error
        yield events.done()

    async def _request(
        self, messages: Sequence[Message], user: str
    ) -> anthropic.AsyncStream[RawMessageStreamEvent]:
        turns = [_param(message) for message in messages]
        return await self._client.messages.create(
            stream=True,
            model=self._model,
            max_tokens=self._max_tokens,
            system=self._system,
            messages=turns,
            output_config={"effort": self._effort},
            cache_control={"type": "ephemeral"},
            metadata={"user_id": hashlib.sha256(user.encode()).hexdigest()[:32]},
        )


def _param(message: Message) -> MessageParam:
    if message.role == "assistant":
        return {"role": "assistant", "content": message.text}
    return {"role": "user", "content": message.text}


class _Watch:
    """Lets nothing wait longer than the clocks allow, and says which clock it was."""

    def __init__(self, clocks: Clocks, deadline: float) -> None:
        self._clocks = clocks
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._begun = False
        self._progress_by = self._loop.time() + clocks.first_event_s

    def progress(self) -> None:
        self._begun = True
        self._progress_by = self._loop.time() + self._clocks.idle_s

    async def bounded(self, waiting: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(min(self._progress_by, self._deadline)):
                return await waiting
        except TimeoutError as error:
            if self._progress_by >= self._deadline:
                raise ClaudeTooSlow("total clock") from error
            if self._begun:
                raise ClaudeStalled("no progress clock") from error
            raise ClaudeSilent("first event clock") from error


class _Events:
    """Raw SDK events → ours, and whether the reply was completed."""

    def __init__(self) -> None:
        self._model = ""
        self._stop_reason: str | None = None
        self._usage: dict[str, int] = {}

    def read(self, raw: Any, headers: Mapping[str, str]) -> ClaudeEvent | None:
        match getattr(raw, "type", None):
            case "message_start":
                self._model = raw.message.model
                self._count(raw.message.usage)
                return Started(self._model, headers.get("request-id"))
            case "content_block_start" if raw.content_block.type == "thinking":
                return Thinking()
            case "content_block_delta" if raw.delta.type == "text_delta" and raw.delta.text:
                return Text(raw.delta.text)
            case "message_delta":
                self._stop_reason = raw.delta.stop_reason or self._stop_reason
                self._count(raw.usage)
        return None

    def done(self) -> Done:
        if self._stop_reason is None:
            raise ClaudeInterrupted("the stream ended without a stop_reason")
        usage = Usage(
            input=self._usage.get("input_tokens", 0),
            cache_read=self._usage.get("cache_read_input_tokens", 0),
            cache_write=self._usage.get("cache_creation_input_tokens", 0),
            output=self._usage.get("output_tokens", 0),
        )
        return Done(self._stop_reason, usage, self._model)

    def _count(self, usage: Any) -> None:
        """Later figures are totals: they replace the earlier ones."""
        for name in (
            "input_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "output_tokens",
        ):
            if (value := getattr(usage, name, None)) is not None:
                self._usage[name] = value


def _wait_s(error: ClaudeError, attempt: int) -> float:
    """Full jitter up to a bound that doubles; what the server asks for is the least."""
    backoff_s = random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_S * 2.0**attempt))
    return max(error.retry_after_s or 0.0, backoff_s)


# platform.claude.com/docs/en/api/errors: by type first, since an error in the middle of a stream
# carries status 200; then by status, since a proxy's error has no type.
_BY_TYPE: Final[dict[str, type[ClaudeError]]] = {
    "overloaded_error": ClaudeBusy,
    "rate_limit_error": ClaudeBusy,
    "api_error": ClaudeFailing,
    "timeout_error": ClaudeFailing,
    "authentication_error": ClaudeMisconfigured,
    "permission_error": ClaudeMisconfigured,
    "not_found_error": ClaudeMisconfigured,
    "billing_error": ClaudeOutOfCredit,
    "request_too_large": ConversationTooLong,
}
_BY_STATUS: Final[dict[int, type[ClaudeError]]] = {
    401: ClaudeMisconfigured,
    402: ClaudeOutOfCredit,
    403: ClaudeMisconfigured,
    404: ClaudeMisconfigured,
    408: ClaudeFailing,
    409: ClaudeFailing,
    413: ConversationTooLong,
    429: ClaudeBusy,
    529: ClaudeBusy,
}


def _translate(error: Exception) -> ClaudeError:
    if isinstance(error, anthropic.APIStatusError):
        detail = f"{error.status_code} {error.type or ''} request_id={error.request_id}"
        return _status_class(error)(detail, retry_after_s=_retry_after_s(error.response.headers))
    if isinstance(error, anthropic.APIConnectionError):
        return ClaudeUnreachable(f"{type(error).__name__}: {type(error.__cause__).__name__}")
    return ClaudeInterrupted(type(error).__name__)


def _status_class(error: anthropic.APIStatusError) -> type[ClaudeError]:
    if error.error_code == "enforced_spend_limit_reached":
        return ClaudeOutOfCredit
    if error.type == "invalid_request_error":
        message = (error.api_message or "").lower()
        if "prompt is too long" in message:
            return ConversationTooLong
        if "usage limits" in message:
            return ClaudeOutOfCredit
        return ClaudeRejected
    by_status = _BY_STATUS.get(error.status_code)
    if by_status is None:
        by_status = ClaudeFailing if error.status_code >= 500 else ClaudeRejected
        if error.status_code < 400:
            by_status = ClaudeInterrupted
    return _BY_TYPE.get(error.type or "", by_status)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
