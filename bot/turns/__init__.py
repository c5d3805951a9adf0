"""One question, one reply: accept · run · stop · drain · recover."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bot import logs
from bot.errors import BotError, Draining, StoreUnavailable
from bot.store import OpenTurn
from bot.turn import Outcome, Question, TurnKey
from bot.turns.means import Means
from bot.turns.run import End, Run
from bot.turns.sentences import INTERRUPTED

log = logging.getLogger(__name__)

ACCEPT_TIMEOUT_S: Final = 2.0
SETTLE_SHARE: Final = 0.4
"""Of the shutdown grace, for showing the interrupted replies' last state."""
LOOK_EVERY_S: Final = 5.0
"""How often open turns that nobody runs are looked for."""
AGAIN_MAX_S: Final = 60.0
RECORD_AGAIN_S: Final = (0.2, 1.0, 3.0, 10.0)


class Turns:
    """All turns of the process; owns their tasks."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._runs: dict[TurnKey, Run] = {}
        self._accepting: set[TurnKey] = set()
        self._tries: dict[TurnKey, tuple[int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self.draining = False

    def start(self) -> None:
        """Begin to look for turns that an earlier process, or a failure, has left open."""
        self._looking = asyncio.create_task(self._look_for_open_turns(), name="open-turns")

    async def accept(self, question: Question) -> bool:
        """Claim the question, write it to the journal and start to answer it; False if it was
        claimed before. Call it before Slack gets its 200.

        Raises StoreUnavailable or Draining when nothing was accepted, so that Slack delivers the
        event again. An entry that gets written after the time limit is answered all the same.
        """
        if self.draining:
            raise Draining("the process is shutting down")
        if question.key in self._accepting:
            return False  # the twin of an event whose claim is just being written
        self._accepting.add(question.key)
        writing = asyncio.ensure_future(self._means.store.accept(question))
        writing.add_done_callback(lambda written: self._accepted(question, written))
        done, _ = await asyncio.wait([writing], timeout=ACCEPT_TIMEOUT_S)
        if not done:
            raise StoreUnavailable(f"no answer within {ACCEPT_TIMEOUT_S:g} s")
        return writing.result()

    def _accepted(self, question: Question, writing: asyncio.Future[bool]) -> None:
        self._accepting.discard(question.key)
        if writing.cancelled() or writing.exception() is not None:
            return
        if writing.result() and not self.draining:
            self._start(question)

    def message_deleted(self, team: str, channel: str, ts: str) -> None:
        """Somebody deleted message `ts`: end the turn that it asks or that it belongs to."""
        for run in list(self._runs.values()):
            question = run.question
            if (question.team, question.channel) != (team, channel):
                continue
            if question.ts == ts:
                run.question_deleted()
            elif run.owns(ts):
                run.stop(End(Outcome.GONE))

    async def idle(self) -> None:
        """Return when no turn is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more, let replies finish within `grace_s`, settle the others."""
        self.draining = True
        if self._looking is not None:
            self._looking.cancel()
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

    async def _look_for_open_turns(self) -> None:
        while True:
            try:
                for entry in await self._means.store.open_turns():
                    self._recover(entry)
            except StoreUnavailable as error:
                logs.warning(log, "journal_unread", detail=str(error))
            await self._means.clock.sleep(LOOK_EVERY_S)

    def _recover(self, entry: OpenTurn) -> None:
        """Answer an open turn that nobody runs, in the same messages; again and again, less and
        less often, while Slack cannot be reached."""
        key = entry.question.key
        now = self._means.clock.now()
        tries, due = self._tries.get(key, (0, now))
        if key in self._runs or key in self._accepting or now < due:
            return
        self._tries[key] = (tries + 1, now + min(AGAIN_MAX_S, LOOK_EVERY_S * 2.0**tries))
        age_s = round(self._means.clock.wall() - entry.accepted_at, 1)
        logs.event(log, "recovering", turn=str(key), age_s=age_s, tries=tries)
        self._start(entry.question, entry)

    def _start(self, question: Question, entry: OpenTurn | None = None) -> None:
        run = Run(self._means, question, entry)
        self._runs[question.key] = run
        task = asyncio.create_task(self._run(run), name=f"turn:{question.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, run: Run) -> None:
        key = run.question.key
        logs.turn_key.set(str(key))
        try:
            outcome = await run.run()
            if outcome is not None:
                await self._record(key, outcome)
        except BotError as error:
            logs.warning(log, "turn_left_open", kind=type(error).__name__, detail=str(error))
        except Exception:
            log.exception("turn_crashed")
        finally:
            del self._runs[key]

    async def _record(self, key: TurnKey, outcome: Outcome) -> None:
        """Close the journal entry; the store gets a few tries."""
        for wait_s in RECORD_AGAIN_S:
            try:
                await self._means.store.settle(key, outcome)
            except StoreUnavailable as error:
                logs.warning(log, "outcome_not_recorded", detail=str(error))
                await self._means.clock.sleep(wait_s)
            else:
                self._tries.pop(key, None)
                return
        await self._means.store.settle(key, outcome)
