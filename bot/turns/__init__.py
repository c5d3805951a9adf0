"""One question, one reply: accept · run · stop · drain · recover."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from bot import logs
from bot.errors import BotError, Draining, SlackError, StoreUnavailable
from bot.store import News, OpenTurn
from bot.turn import Outcome, Question, TurnKey
from bot.turns import closing, end, sentences
from bot.turns.again import Press
from bot.turns.means import Means
from bot.turns.places import thread_of
from bot.turns.recovery import Recovery
from bot.turns.run import Run

log = logging.getLogger(__name__)

ACCEPT_TIMEOUT_S: Final = 2.0
SETTLE_SHARE: Final = 0.4
"""Of the shutdown grace, for showing the interrupted replies' last state ..."""
CANCEL_S: Final = 1.0
"""... and for ending what is then still under way."""


class Turns:
    """All turns of the process; owns their tasks."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._runs: dict[TurnKey, Run] = {}
        self._running: dict[TurnKey, asyncio.Task[None]] = {}
        self._accepting: dict[TurnKey, Question] = {}
        """What is just being claimed; where its twin knows more, the twin."""
        self._errands: set[asyncio.Task[None]] = set()
        """Short work that outlives what asked for it: records, news, a word to somebody."""
        self._renewing: asyncio.Task[None] | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._recovery = Recovery(means, self)
        self._editing = asyncio.Lock()
        """Two edits of one question in a row must not both follow the same run."""
        self.draining = False

    def start(self) -> None:
        """Begin to renew leases, to hear the other processes, and to look for turns that an
        earlier process, or a failure, has left open."""
        self._renewing = asyncio.create_task(_keep(self._means.leases.renew), name="leases")
        for watch in (self._recovery.watch, self._hear):
            self._watches.append(asyncio.create_task(_keep(watch), name=f"turns:{watch.__name__}"))

    def has(self, key: TurnKey) -> bool:
        """Whether the turn runs here, or is just being accepted."""
        return key in self._runs or key in self._accepting

    def take_over(self, entry: OpenTurn) -> None:
        """Run a turn whose lease was just taken, with what is there already."""
        self._start(entry.question, entry=entry)

    # --- questions ----------------------------------------------------------------------------

    async def accept(self, question: Question) -> bool:
        """Claim the question, write it to the journal and start to answer it; False if it was
        claimed before. Call it before Slack gets its 200.

        Raises StoreUnavailable or Draining when nothing was accepted, so that Slack delivers the
        event again. An entry that gets written after the time limit is answered all the same.
        """
        return await self._accept(question)

    async def again(self, press: Press) -> None:
        """Answer a question once more, or go on with its reply, for whoever pressed the button;
        what they must know is told to them alone. Returns once it is accepted."""
        workspace = self._means.slack.of(press.question.team)
        if workspace is None:
            return
        asks = replace(press.question, user=press.user, user_team=press.user_team)
        word = self._means.policy.refusal(asks, workspace.identity.enterprise)
        if word is None:
            try:
                accepted = await self._accept(press.question)
            except (StoreUnavailable, Draining):
                word = sentences.NOT_NOW
            else:
                word = None if accepted else sentences.ALREADY
        if word is not None:
            self.tell(asks, word)

    def tell(self, asks: Question, word: str) -> None:
        """Say `word` to whoever `asks`, and to nobody else."""
        self._spawn(self._tell_person(asks, word))

    def message_deleted(self, team: str, channel: str, ts: str) -> None:
        """Somebody deleted message `ts`: end the turn that it asks or that it belongs to."""
        if not self._delete_here(team, channel, ts):
            self._spread(News("deleted", team, channel, ts))

    async def question_edited(
        self, team: str, channel: str, ts: str, text: str, edited_ts: str
    ) -> None:
        """Somebody edited message `ts`, which says `text` since `edited_ts`: if its reply still
        grows, it begins again, in the same messages. Raises as `accept`."""
        if not await self._edit_here(team, channel, ts, text, edited_ts):
            self._spread(News("edited", team, channel, ts))

    async def idle(self) -> None:
        """Return when no turn is under way."""
        while self._running or self._errands:
            await asyncio.wait([*self._running.values(), *self._errands])

    # --- the end of the process ---------------------------------------------------------------

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more; let replies finish; hand the others over to another process, or
        settle them; within `grace_s`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + max(0.0, grace_s - CANCEL_S)
        settles_at = ends_at - SETTLE_SHARE * max(0.0, grace_s - CANCEL_S)
        self.draining = True
        for watch in self._watches:
            watch.cancel()
        how = end.HANDED_OVER if await self._has_peers() else end.AFTER_A_RESTART
        if how is end.HANDED_OVER:
            for run in self._runs.values():
                if not run.has_text:
                    run.stop(how)
        await self._finished(settles_at - loop.time())
        for run in list(self._runs.values()):
            run.stop(how)
        await self._finished(ends_at - loop.time())
        await self._cancel_all()

    async def _has_peers(self) -> bool:
        try:
            return await self._means.store.peers() > 0
        except StoreUnavailable:
            return False

    async def _finished(self, timeout_s: float) -> None:
        if self._running and timeout_s > 0:
            await asyncio.wait(self._running.values(), timeout=timeout_s)

    async def _cancel_all(self) -> None:
        """Nothing goes on here; outcomes that are known are recorded, and what is left open may be
        taken up by another process at once."""
        for key, task in self._running.items():
            task.cancel()
            self._spawn(closing.release(self._means.store, key, tried=False))
        rest = [*self._running.values(), *self._errands]
        if rest:
            await asyncio.wait(rest, timeout=CANCEL_S)
        left = [*self._watches, *self._errands]
        left += [self._renewing] if self._renewing is not None else []
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # --- accepting ----------------------------------------------------------------------------

    async def _accept(self, question: Question, follows: Run | None = None) -> bool:
        if self.draining:
            raise Draining("the process is shutting down")
        if question.key in self._accepting:  # the twin of an event whose claim is being written
            if question.files is not None:
                self._accepting[question.key] = question
            return False
        self._accepting[question.key] = question
        writing = asyncio.ensure_future(self._means.store.accept(question))
        writing.add_done_callback(lambda written: self._accepted(question, follows, written))
        done, _ = await asyncio.wait([writing], timeout=ACCEPT_TIMEOUT_S)
        if not done:
            raise StoreUnavailable(f"no answer within {ACCEPT_TIMEOUT_S:g} s")
        return writing.result()

    def _accepted(
        self, question: Question, follows: Run | None, writing: asyncio.Future[bool]
    ) -> None:
        files = self._accepting.pop(question.key).files
        if writing.cancelled() or writing.exception() is not None:
            return
        if not writing.result():
            run = self._runs.get(question.key)
            if run is not None and files is not None:
                run.tell_files(files)
            return
        question = replace(question, files=files)
        if self.draining:
            self._spawn(closing.release(self._means.store, question.key, tried=False))
            return
        if follows is not None:
            self._means.leases.drop(follows.question.key)
            follows.stop(end.SUPERSEDED)
        self._start(question, follows=follows)
        if follows is not None:
            self._runs[question.key].edited_ts = follows.edited_ts

    def _start(
        self, question: Question, *, entry: OpenTurn | None = None, follows: Run | None = None
    ) -> None:
        run = Run(
            self._means, question, entry=entry, follows=follows, on_unsettled=self._settle_orphans
        )
        key = question.key
        self._runs[key] = run
        task = asyncio.create_task(self._run(run), name=f"turn:{key}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))
        self._means.leases.hold(key, lambda: self._lost(key))

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
            await asyncio.shield(self._spawn(self._close(run, outcome)))
        finally:
            del self._runs[key]
            self._means.leases.drop(key)

    async def _close(self, run: Run, outcome: Outcome | None) -> None:
        key = run.question.key
        if outcome is not None:
            await closing.record(self._means.store, self._means.clock, key, outcome)
            self._recovery.forget(key)
        else:
            await closing.release(self._means.store, key, tried=not run.is_handed_over)
        self._means.places.changed(thread_of(run.question))

    def _lost(self, key: TurnKey) -> None:
        """Another process has taken the turn up, or it was settled: write nothing more."""
        if (task := self._running.get(key)) is not None:
            logs.warning(log, "lease_lost", turn=str(key))
            task.cancel()

    # --- what others have left, and what they tell ----------------------------------------------

    def _settle_orphans(self, unsettled: Sequence[Question]) -> None:
        for question in unsettled:
            self._spawn(self._recovery.settle_orphan(question))

    async def _hear(self) -> None:
        async for news in self._means.store.news():
            match news.kind:
                case "settled" | "released":
                    self._means.places.changed((news.team, news.channel, news.ts))
                    if news.kind == "released":
                        self._recovery.look_now()
                case "deleted":
                    self._delete_here(news.team, news.channel, news.ts)
                case "edited":
                    self._spawn(self._edit_heard_of(news))

    def _delete_here(self, team: str, channel: str, ts: str) -> bool:
        """End the turn that a deleted message asked, or belonged to, if it runs here."""
        found = False
        for run in list(self._runs.values()):
            question = run.question
            if (question.team, question.channel) != (team, channel):
                continue
            if question.ts == ts:
                run.question_deleted()
            elif run.owns(ts):
                run.stop(end.GONE)
            else:
                continue
            found = True
        return found

    async def _edit_here(
        self, team: str, channel: str, ts: str, text: str, edited_ts: str | None
    ) -> bool:
        """Begin the turn again that an edited message asks, if it runs here."""
        async with self._editing:
            return await self._begin_again(team, channel, ts, text, edited_ts)

    async def _begin_again(
        self, team: str, channel: str, ts: str, text: str, edited_ts: str | None
    ) -> bool:
        asked = [
            run
            for run in self._runs.values()
            if (run.question.team, run.question.channel, run.question.ts) == (team, channel, ts)
        ]
        if not asked:
            return False
        latest = max(asked, key=lambda run: run.question.run)
        question = latest.question
        is_new = edited_ts is None or (edited_ts > latest.edited_ts and question.text != text)
        if is_new:
            latest.edited_ts = edited_ts or latest.edited_ts
            anew = replace(question, run=question.run + 1, reuses=True, continues=False, text=text)
            await self._accept(anew, follows=latest)
        return True

    async def _edit_heard_of(self, news: News) -> None:
        """Its text did not come with the news: it is read from Slack."""
        try:
            await self._edit_here(news.team, news.channel, news.ts, "", None)
        except (StoreUnavailable, Draining) as error:
            logs.warning(log, "edit_unheeded", detail=str(error))

    def _spread(self, news: News) -> None:
        if self._means.store.shared:
            self._spawn(self._tell_processes(news))

    async def _tell_processes(self, news: News) -> None:
        try:
            await self._means.store.tell(news)
        except StoreUnavailable as error:
            logs.warning(log, "news_untold", kind=news.kind, detail=str(error))

    async def _tell_person(self, asks: Question, word: str) -> None:
        workspace = self._means.slack.of(asks.team)
        if workspace is None:
            return
        try:
            await workspace.tell(asks.channel, asks.user, word, asks.reply_thread_ts)
        except SlackError as error:
            logs.warning(log, "word_untold", code=error.code)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task


async def _keep(watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a watch that never ends by itself: without it leases would lapse, or turns stay open."""
    while True:
        try:
            await watch()
        except Exception:
            log.exception("watch_failed")
        await asyncio.sleep(1.0)
