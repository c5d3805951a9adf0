"""The scripted Claude in a process of its own, with the time of every delta."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from bench import replies
from bot.playground.claude import Reply, Request, ScriptedClaude
from bot.playground.claude.request import last_user_text

TOKENS_PER_SECOND: Final = 60.0
FIRST_TOKEN_S: Final = 0.5
ANSWER_S: Final = 20.0
END_S: Final = 5.0


@dataclass(frozen=True)
class StreamRecord:
    """One question's stream, as Claude's side saw it. Times are CLOCK_MONOTONIC, as everybody's."""

    number: int
    asked_at: float
    first_text_at: float | None
    ended_at: float | None
    finished: bool
    times: list[float]
    deltas: list[str]

    @property
    def text(self) -> str:
        return "".join(self.deltas)


class Deltas(list[str]):
    """What was sent, with the time of each."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, text: str) -> None:
        super().append(text)
        self.times.append(asyncio.get_running_loop().time())


class Claude:
    """The other side's view of the process."""

    def __init__(self, pipe: Connection, base_url: str) -> None:
        self._pipe = pipe
        self._lock = asyncio.Lock()
        self.base_url = base_url

    async def ended(self, run: str) -> int:
        """How many questions of a run have been answered to the end."""
        count: int = await self._ask("ended", run)
        return count

    async def records(self, run: str) -> dict[int, StreamRecord]:
        """The streams of a run, by the number of the question."""
        found: dict[int, StreamRecord] = await self._ask("records", run)
        return found

    async def _ask(self, what: str, run: str) -> Any:
        async with self._lock:
            self._pipe.send((what, run))
            return await asyncio.to_thread(_receive, self._pipe)


@asynccontextmanager
async def claude(tokens_per_second: float = TOKENS_PER_SECOND) -> AsyncIterator[Claude]:
    """Start the process; it ends with the block."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, tokens_per_second), daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield Claude(ours, await asyncio.to_thread(_receive, ours))
    finally:
        ours.close()
        await asyncio.to_thread(process.join, END_S)
        if process.is_alive():
            process.kill()


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(ANSWER_S):
        raise TimeoutError(f"the scripted Claude did not answer within {ANSWER_S:g} s")
    return pipe.recv()


def serve(pipe: Connection, tokens_per_second: float) -> None:
    """The process: sends its address, answers questions about its streams, ends with the pipe."""
    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        asyncio.run(_serve(pipe, tokens_per_second))


async def _serve(pipe: Connection, tokens_per_second: float) -> None:
    async with ScriptedClaude(
        tokens_per_second=tokens_per_second, first_token_s=FIRST_TOKEN_S
    ) as scripted:
        runs: dict[str, dict[int, Request]] = {}

        def answer(body: dict[str, Any]) -> Reply:
            asked = replies.asked(last_user_text(body))
            request = next(one for one in reversed(scripted.requests) if one.body is body)
            request.sent = Deltas()
            runs.setdefault(asked.run, {})[asked.number] = request
            return Reply(replies.reply(asked.tokens, asked.number, asked.text))

        scripted.default = answer
        pipe.send(scripted.base_url)
        while True:
            what, run = await asyncio.to_thread(pipe.recv)
            found = runs.get(run, {})
            if what == "ended":
                pipe.send(sum(one.ended_at is not None for one in found.values()))
            else:
                pipe.send({number: _record(number, one) for number, one in found.items()})


def _record(number: int, request: Request) -> StreamRecord:
    sent = request.sent
    assert isinstance(sent, Deltas)
    return StreamRecord(
        number=number,
        asked_at=request.at,
        first_text_at=request.first_text_at,
        ended_at=request.ended_at,
        finished=request.finished,
        times=sent.times,
        deltas=list(sent),
    )
