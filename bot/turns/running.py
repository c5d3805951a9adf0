"""The turns that are under way in this process, each in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from bot import logs
from bot.conversation import Orphan
from bot.errors import BotError
from bot.store import OpenTurn
from bot.turn import Outcome, Question, TurnKey
from bot.turns import closing
from bot.turns.again import Press
from bot.turns.means import Means
from bot.turns.places import thread_of
from bot.turns.run import Run

log = logging.getLogger(__name__)

CANCEL_S: Final = 1.0


class Running:
    """Runs, from their start until their outcome is recorded; and the errands of the process, short
    work that outlives what asked for it: records, news, a word to somebody.

    `on_orphans` gets replies that were found in a thread and that nobody has settled, `on_settled`
    turns whose outcome is written down.
    """

    def __init__(
        self,
        means: Means,
        *,
        on_orphans: Callable[[Sequence[Orphan]], None],
        on_settled: Callable[[TurnKey], None],
    ) -> None:
        self._means = means
        self._on_orphans = on_orphans
        self._on_settled = on_settled
        self._runs: dict[TurnKey, Run] = {}
        self._tasks: dict[TurnKey, asyncio.Task[None]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self.handed_over: set[TurnKey] = set()
        """Turns that were left to other processes."""

    def get(self, key: TurnKey) -> Run | None:
        """The run of that key, if it is under way here."""
        return self._runs.get(key)

    def runs(self) -> list[Run]:
        """All that are under way."""
        return list(self._runs.values())

    def latest(self, team: str, channel: str, ts: str) -> Run | None:
        """The last run of the question `ts`, if one is under way here."""
        asked = [
            run
            for run in self._runs.values()
            if (run.question.team, run.question.channel, run.question.ts) == (team, channel, ts)
        ]
        return max(asked, key=lambda run: run.question.run, default=None)

    def start(
        self,
        question: Question,
        *,
        entry: OpenTurn | None = None,
        press: Press | None = None,
    ) -> None:
        """Run a turn whose lease is ours, after the run before, if that may still be writing;
        `entry` and `press` as for a Run."""
        key = question.key
        before = self._runs.get(replace(key, run=key.run - 1)) if entry is None else None
        if before is not None:
            self._means.leases.drop(before.question.key)
            before.supersede()
        run = Run(
            self._means,
            question,
            entry=entry,
            follows=before,
            press=press,
            on_orphans=self._on_orphans,
        )
        self._runs[key] = run
        task = asyncio.create_task(self._run(run), name=f"turn:{key}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        self._means.leases.hold(key, lambda: self._lost(key))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do an errand."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    async def record(self, key: TurnKey, outcome: Outcome) -> None:
        """Write down how a turn ended."""
        if await closing.record(self._means.store, self._means.clock, key, outcome):
            self._on_settled(key)

    async def idle(self) -> None:
        """Return when nothing is under way."""
        while self._tasks or self._errands:
            await asyncio.wait([*self._tasks.values(), *self._errands])

    async def finished(self, timeout_s: float) -> None:
        """Return when no turn is under way, or after `timeout_s`."""
        if self._tasks and timeout_s > 0:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)

    async def cancel(self) -> None:
        """Nothing goes on here; outcomes that are known are recorded, and what is left open may be
        taken up by another process at once."""
        for key, task in self._tasks.items():
            task.cancel()
            self.spawn(closing.release(self._means.store, key, tried=False))
        rest = [*self._tasks.values(), *self._errands]
        if rest:
            await asyncio.wait(rest, timeout=CANCEL_S)
        left = list(self._errands)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _run(self, run: Run) -> None:
        key = run.question.key
        logs.turn_key.set(str(key))
        outcome: Outcome | None = None
        try:
            try:
                outcome = await run.run()
            except BotError as error:
                logs.warning(log, "turn_left_open", kind=type(error).__name__, detail=str(error))
            except Exception:
                log.exception("turn_crashed")
            # Not to be interrupted: whatever ends this task, the outcome is known.
            await asyncio.shield(self.spawn(self._close(run, outcome)))
        finally:
            del self._runs[key]
            self._means.leases.drop(key)

    async def _close(self, run: Run, outcome: Outcome | None) -> None:
        key = run.question.key
        if outcome is not None:
            await self.record(key, outcome)
        else:
            if run.is_handed_over:
                self.handed_over.add(key)
            await closing.release(self._means.store, key, tried=not run.is_handed_over)
        self._means.places.changed(thread_of(run.question))

    def _lost(self, key: TurnKey) -> None:
        """Another process has taken the turn up, or it was settled: write nothing more. One that is
        just being closed here has no lease any more either."""
        run = self._runs.get(key)
        if run is not None and run.is_over:
            return
        if (task := self._tasks.get(key)) is not None:
            logs.warning(log, "lease_lost", turn=str(key))
            task.cancel()
