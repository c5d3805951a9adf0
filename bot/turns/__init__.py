"""One question, one reply: accept · run · stop · drain · recover."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bot import logs
from bot.errors import BotError, Draining, StoreUnavailable
from bot.store import OpenTurn
from bot.turn import Outcome, Question, TurnKey
from bot.turns.run import End, Means, Run
from bot.turns.sentences import INTERRUPTED

log = logging.getLogger(__name__)

ACCEPT_TIMEOUT_S: Final = 2.0
SETTLE_SHARE: Final = 0.4
"""Of the shutdown grace, for showing the interrupted replies' last state."""


class Turns:
    """All turns of the process; owns their tasks."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._runs: dict[TurnKey, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    async def accept(self, question: Question) -> bool:
        """Claim the question, write it to the journal and start to answer it; False if it was
        claimed before. Call it before Slack gets its 200.

        Raises StoreUnavailable or Draining when nothing was accepted, so that Slack delivers the
        event again. An entry that gets written after the time limit is answered all the same.
        """
        if self.draining:
            raise Draining("the process is shutting down")
        writing = asyncio.ensure_future(self._means.store.accept(question))
        done, _ = await asyncio.wait([writing], timeout=ACCEPT_TIMEOUT_S)
        if not done:
            writing.add_done_callback(lambda late: self._accepted_late(question, late))
            raise StoreUnavailable(f"no answer within {ACCEPT_TIMEOUT_S:g} s")
        if not writing.result():
            return False
        self._start(question)
        return True

    def _accepted_late(self, question: Question, writing: asyncio.Future[bool]) -> None:
        if writing.cancelled() or writing.exception() is not None:
            return
        if writing.result() and not self.draining:
            self._start(question)

    async def recover(self) -> None:
        """Answer what an earlier process accepted and did not settle, in the same messages."""
        for entry in await self._means.store.open_turns():
            if entry.question.key in self._runs:
                continue
            age_s = self._means.clock.wall() - entry.accepted_at
            logs.event(log, "recovering", turn=str(entry.question.key), age_s=round(age_s, 1))
            self._start(entry.question, entry)

    def message_deleted(self, team: str, channel: str, ts: str) -> None:
        """Somebody deleted message `ts`: end the turn that it asks or that it belongs to."""
        for run in list(self._runs.values()):
            question = run.question
            if (question.team, question.channel) != (team, channel):
                continue
            if question.ts == ts:
                run.stop(End(Outcome.GONE), remove=True)
            elif run.owns(ts):
                run.stop(End(Outcome.GONE))

    async def idle(self) -> None:
        """Return when no turn is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more, let replies finish within `grace_s`, settle the others."""
        self.draining = True
        await self._finished(grace_s * (1 - SETTLE_SHARE))
        for run in list(self._runs.values()):
            run.stop(End(Outcome.INTERRUPTED, INTERRUPTED))
        await self._finished(grace_s * SETTLE_SHARE)
        for task in self._tasks:
            task.cancel()
        await self._finished(1.0)

    async def _finished(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def _start(self, question: Question, entry: OpenTurn | None = None) -> None:
        run = Run(self._means, question, entry)
        self._runs[question.key] = run
        task = asyncio.create_task(self._run(run), name=f"turn:{question.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, run: Run) -> None:
        logs.turn_key.set(str(run.question.key))
        try:
            outcome = await run.run()
            if outcome is not None:
                await self._means.store.settle(run.question.key, outcome)
        except BotError as error:
            logs.warning(log, "turn_left_open", error=type(error).__name__, detail=str(error))
        except Exception:
            log.exception("turn_crashed")
        finally:
            del self._runs[run.question.key]
