"""Ask Claude, and see to it that the reply ends well.

    stream, up to 4 attempts while nothing came (backoff, jitter, retry-after up to 60 s)
    broke after text:  resume from it, twice at most; under 300 characters begin again
    then the other model, streamed; then one request in one piece; then the error, the text stays

The SDK's own retries are off: it sleeps for any `retry-after` without a limit, cannot tell the
person who waits, and never repeats a stream that broke.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import anthropic
import httpx2

from bot import logs
from bot.channels import Manner
from bot.claude import attempt
from bot.claude.attempt import Ended
from bot.claude.breather import Breather
from bot.claude.request import Request
from bot.claude.seam import Seam
from bot.claude.watch import Clocks
from bot.errors import ClaudeBusy, ClaudeError, ClaudeFailing, ModelUnknown
from bot.turn import (
    ClaudeEvent,
    Done,
    Message,
    Restarted,
    Retrying,
    Started,
    StreamReport,
    Switched,
    Text,
)

log = logging.getLogger(__name__)

ATTEMPTS: Final = 4
OTHER_MODEL_ATTEMPTS: Final = 2
RESUMES: Final = 2
PAUSES: Final = 5
"""`pause_turn`: how often Claude may pause its own turn."""
RESUME_FROM: Final = 300
"""Characters; less is quicker written again than resumed."""
BACKOFF_S: Final = 2.0
BACKOFF_MAX_S: Final = 20.0
RETRY_AFTER_MAX_S: Final = 60.0
IN_ONE_PIECE_S: Final = 120.0
IN_ONE_PIECE_TOKENS: Final = 4_000
CONNECT_TIMEOUT_S: Final = 5.0
KEEPALIVE_S: Final = 120.0
"""A chat's traffic is sparse; the SDK's 5 s would cost a new TLS handshake per question."""
WARM_UP_TIMEOUT_S: Final = 10.0

Tell = Callable[[ClaudeEvent], None]


class Claude:
    """One warm client for the process. Construct it inside the running loop."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        fallback_model: str | None,
        max_tokens: int,
        clocks: Clocks,
    ) -> None:
        limits = httpx2.Limits(max_connections=1_000, keepalive_expiry=KEEPALIVE_S)
        # No read timeout on the socket: pings would renew it for ever. Our clocks rule instead.
        timeout = httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S)
        self.client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=anthropic.DefaultAioHttpClient(limits=limits, timeout=timeout),
        )
        self.fallback_model = fallback_model
        self.clocks = clocks
        self._max_tokens = max_tokens
        self._breathers: dict[str, Breather] = {}

    async def close(self) -> None:
        await self.client.close()

    async def warm_up(self, models: Iterable[str]) -> None:
        """Open the connection and load what the first request needs, so that nobody waits for it;
        and say in the log what is wrong with the key or one of the models."""
        for model in models:
            try:
                async with asyncio.timeout(WARM_UP_TIMEOUT_S):
                    await self.client.models.retrieve(model)
            except anthropic.APIStatusError as error:
                logs.warning(log, "claude_check", status=error.status_code, model=model)
            except (anthropic.APIError, httpx2.HTTPError, ValueError, TimeoutError) as error:
                logs.warning(log, "claude_check", error=type(error).__name__, model=model)

    def breather(self, model: str) -> Breather:
        """The pause that overload of `model` has opened for all turns, or may open."""
        return self._breathers.setdefault(model, Breather())

    async def reply(
        self,
        messages: Sequence[Message],
        manner: Manner,
        *,
        user: str,
        tell: Tell,
        report: StreamReport,
    ) -> Done:
        """Claude's reply to `messages` (the last one from the user), told to `tell` as it comes.

        `user` names the person who asks; it is sent hashed. `report` is filled in as the reply
        goes, also when it fails. Cancelling closes Claude's stream at once. Raises a ClaudeError
        when the reply is not complete: the text told since the last `Restarted` stays true.
        """
        request = Request(
            messages=messages,
            system=manner.system,
            user=user,
            effort=manner.effort,
            max_tokens=self._max_tokens,
        )
        return await _Reply(self, manner.model, request, tell, report).run()


class _Reply:
    """One reply on its way: what was written, and what may still be tried."""

    def __init__(
        self, claude: Claude, model: str, request: Request, tell: Tell, report: StreamReport
    ) -> None:
        self._claude = claude
        self._model = model
        self._request = request
        self._tell_turn = tell
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._deadline = self._started_at + claude.clocks.total_s
        self._written: list[str] = []
        self._seam: Seam | None = None
        self._progress = False
        self._delta_at: float | None = None
        self._pauses = 0

    async def run(self) -> Done:
        try:
            return await self._stream(self._model, ATTEMPTS)
        except ClaudeError as error:
            if not (error.retryable or isinstance(error, ModelUnknown)):
                raise
            return await self._other_ways(error)

    async def _other_ways(self, failure: ClaudeError) -> Done:
        """The other model, then one request in one piece. Raises the first failure, or the last
        one where the first was only that the model is unknown, when neither helps."""
        model, other = self._model, self._claude.fallback_model
        last = failure
        if other is not None and other != model:
            logs.warning(log, "claude_fallback", model=other, after=type(failure).__name__)
            self._tell_turn(Switched(other))
            try:
                return await self._stream(other, OTHER_MODEL_ATTEMPTS, resumes=0)
            except ClaudeError as error:
                last = error
        told = last if isinstance(failure, ModelUnknown) else failure
        usable = [
            name
            for name, error in ((other, last), (model, failure))
            if name is not None and error.retryable and not _must_wait_long(error)
        ]
        if not usable:
            raise told
        return await self._in_one_piece(usable[0], told)

    async def _stream(self, model: str, attempts: int, resumes: int = RESUMES) -> Done:
        """Stream with `model`, again and again while that may help."""
        left = attempts
        while True:
            try:
                await self._take_breath(model)
                return await self._once(model)
            except ClaudeError as error:
                if not error.retryable or _must_wait_long(error):
                    raise
                if self._progress:
                    left = attempts
                    resumes -= 1
                left -= 1
                if left <= 0 or resumes < 0:
                    raise
                await self._wait(_backoff_s(error, attempts - left), error)

    async def _once(self, model: str) -> Done:
        """One streamed request, for the whole reply or for the rest of it."""
        request = self._rest_of_request()
        breather = self._claude.breather(model)
        try:
            ended = await attempt.streamed(
                self._claude.client,
                request,
                model,
                clocks=self._claude.clocks,
                deadline=self._deadline,
                tell=self._take,
                report=self._report,
            )
        except ClaudeError as error:
            if isinstance(error, ClaudeBusy):
                breather.overloaded(error.retry_after_s)
            logs.warning(
                log,
                "claude_attempt_failed",
                kind=type(error).__name__,
                detail=str(error),
                model=model,
                written=sum(map(len, self._written)),
            )
            raise
        breather.succeeded()
        return await self._done(ended, model)

    def _rest_of_request(self) -> Request:
        """What to ask for: the reply, or what is missing of it."""
        self._progress = False
        self._delta_at = None
        text = "".join(self._written)
        if not text:
            self._seam = None
            return self._request
        if len(text) < RESUME_FROM and not self._pauses:
            self._written.clear()
            self._seam = None
            self._report.restarts += 1
            self._tell_turn(Restarted())
            return self._request
        self._seam = Seam(text)
        if self._pauses:
            return self._request.after_pause(text)
        self._report.resumes += 1
        return self._request.continuing(text)

    async def _done(self, ended: Ended, model: str) -> Done:
        if self._seam is not None:
            self._join(self._seam.rest())
            self._seam = None
        if ended.stop_reason == "pause_turn" and self._pauses < PAUSES:
            self._pauses += 1
            return await self._once(model)
        return Done(ended.stop_reason, ended.model)

    async def _in_one_piece(self, model: str, failure: ClaudeError) -> Done:
        left_s = min(self._deadline - self._loop.time(), IN_ONE_PIECE_S)
        if left_s <= 0:
            raise failure
        request = self._rest_of_request()
        request = request.limited_to(IN_ONE_PIECE_TOKENS)
        self._tell_turn(Switched(model, in_one_piece=True))
        try:
            ended = await attempt.in_one_piece(
                self._claude.client,
                request,
                model,
                timeout_s=left_s,
                tell=self._take,
                report=self._report,
            )
        except ClaudeError as error:
            logs.warning(log, "claude_in_one_piece_failed", detail=str(error), model=model)
            raise failure from error
        return await self._done(ended, model)

    def _take(self, event: ClaudeEvent) -> None:
        """Pass an event on; text only once it is clear how it joins what is there."""
        now = self._loop.time()
        if self._report.first_event_s is None:
            self._report.first_event_s = now - self._started_at
        if not isinstance(event, Text):
            if not (isinstance(event, Started) and self._written):
                self._tell_turn(event)
            return
        if self._delta_at is not None:
            self._report.gaps_s.append(now - self._delta_at)
        self._delta_at = now
        if self._report.first_text_s is None:
            self._report.first_text_s = now - self._started_at
        if self._seam is None:
            self._write(event.delta)
        else:
            self._join(self._seam.add(event.delta))

    def _join(self, text: str) -> None:
        """Add text of a resumed stream; where Claude wrote another reply instead, begin again."""
        if self._seam is not None and self._seam.starts_over:
            self._seam = None
            self._written.clear()
            self._report.restarts += 1
            self._tell_turn(Restarted())
        self._write(text)

    def _write(self, text: str) -> None:
        if text:
            self._progress = True
            self._written.append(text)
            self._tell_turn(Text(text))

    async def _take_breath(self, model: str) -> None:
        breather = self._claude.breather(model)
        while (wait_s := breather.wait_s()) > 0:
            await self._wait(wait_s, ClaudeBusy("breather"))

    async def _wait(self, wait_s: float, error: ClaudeError) -> None:
        if self._loop.time() + wait_s >= self._deadline:
            raise error
        self._tell_turn(Retrying(_cause(error), wait_s))
        await asyncio.sleep(wait_s)


def _cause(error: ClaudeError) -> Literal["busy", "failing", "broken"]:
    if isinstance(error, ClaudeBusy):
        return "busy"
    return "failing" if isinstance(error, ClaudeFailing) else "broken"


def _must_wait_long(error: ClaudeError) -> bool:
    return (error.retry_after_s or 0.0) > RETRY_AFTER_MAX_S


def _backoff_s(error: ClaudeError, failures: int) -> float:
    """Full jitter up to a bound that doubles; what the server asks for is the least."""
    bound_s = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** (failures - 1))
    return max(error.retry_after_s or 0.0, random.uniform(0, bound_s))
