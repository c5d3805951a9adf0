"""One question, one reply: accept · run · stop · drain · recover."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from bot import logs
from bot.conversation import Orphan
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
Place = tuple[str, str, str]
"""Team, channel, ts of a message."""
DELETED: Final = 5_000
"""How many deleted messages are remembered."""
CLOSE_S: Final = 2.0
"""... and for ending what is then still under way, and closing everything."""
CANCEL_S: Final = 1.0
TAKEN_WITHIN_S: Final = 1.0
"""Who takes a reply over does it within milliseconds of hearing that it may."""


class Turns:
    """All turns of the process; owns their tasks."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._runs: dict[TurnKey, Run] = {}
        self._running: dict[TurnKey, asyncio.Task[None]] = {}
        self._accepting: dict[TurnKey, asyncio.Future[bool]] = {}
        self._deleted: OrderedDict[Place, None] = OrderedDict()
        """Messages whose deletion was told, since it may overtake what else is told of them."""
        self._twins: dict[TurnKey, Question] = {}
        """Of events that are just being claimed; they say what came with the question."""
        self._errands: set[asyncio.Task[None]] = set()
        """Short work that outlives what asked for it: records, news, a word to somebody."""
        self._renewing: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._leaving = end.AFTER_A_RESTART
        self._handed_over: set[TurnKey] = set()
        self._recovery = Recovery(means, self)
        self._editing = asyncio.Lock()
        """Two edits of one question in a row must not both follow the same run."""
        self.draining = False

    def start(self) -> None:
        """Begin to renew leases, to hear the other processes, and to look for turns that an
        earlier process, or a failure, has left open."""
        self._renewing = asyncio.create_task(_keep(self._means.leases.renew), name="leases")
        self._recovering = asyncio.create_task(_keep(self._recovery.watch), name="recovery")
        self._hearing = asyncio.create_task(_keep(self._hear), name="news")

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

    async def follow_up(self, message: Question) -> None:
        """Accept a message without a mention, if somebody who is followed has written it in a
        thread where the bot was asked. Raises as `accept`."""
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                if (question := await self._means.follow_ups.heed(message)) is not None:
                    await self._accept(question)
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {ACCEPT_TIMEOUT_S:g} s") from error

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
                accepted = await self._accept(press.question, beside=press.message_ts)
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
            self._spread(News("edited", team, channel, ts, edited_ts))

    async def idle(self) -> None:
        """Return when no turn is under way."""
        while self._running or self._errands:
            await asyncio.wait([*self._running.values(), *self._errands])

    # --- the end of the process ---------------------------------------------------------------

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more; let replies finish; hand the others over to another process, or
        settle them; within `grace_s`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace_s - min(CLOSE_S, 0.4 * grace_s)
        settles_at = loop.time() + (1 - SETTLE_SHARE) * (ends_at - loop.time())
        self.draining = True
        if self._recovering is not None:
            self._recovering.cancel()
        if grace_s > 0 and self._runs:
            await self._leave()
            await self._finished(settles_at - loop.time())
            for run in list(self._runs.values()):
                run.stop(self._leaving)
            await self._finished(ends_at - loop.time())
            await self._take_back(ends_at - loop.time())
        await self._cancel_all()

    async def _leave(self) -> None:
        """Find out who can go on with the replies here; those that have no text yet go at once."""
        try:
            await self._means.store.leave()
            has_peers = await self._means.store.peers() > 0
        except StoreUnavailable:
            has_peers = False
        if has_peers:
            self._leaving = end.HANDED_OVER
            for run in self._runs.values():
                if not run.has_text:
                    run.stop(self._leaving)

    async def _take_back(self, timeout_s: float) -> None:
        """End replies that were handed over, but that nobody has taken up: the others may be
        leaving too."""
        if not self._handed_over or timeout_s <= TAKEN_WITHIN_S:
            return
        await asyncio.sleep(TAKEN_WITHIN_S)
        try:
            for entry in await self._means.store.abandoned():
                key = entry.question.key
                if entry.question.in_doubt:  # it shows nothing yet, and stays in the journal
                    continue
                if key in self._handed_over and await self._means.store.take_up(key):
                    self._start(entry.question, entry=replace(entry, only_ends=True))
        except StoreUnavailable as error:
            logs.warning(log, "handed_over_unseen", detail=str(error))
        await self._finished(timeout_s - TAKEN_WITHIN_S)

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
        watches = (self._renewing, self._recovering, self._hearing)
        left = [*self._errands, *(watch for watch in watches if watch is not None)]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # --- accepting ----------------------------------------------------------------------------

    async def _accept(self, question: Question, beside: str | None = None) -> bool:
        if self.draining:
            raise Draining("the process is shutting down")
        writing = self._accepting.get(question.key)
        is_twin = writing is not None  # of an event whose claim is just being written
        if writing is None:
            writing = asyncio.ensure_future(self._means.store.accept(question))
            self._accepting[question.key] = writing
            writing.add_done_callback(lambda written: self._accepted(question, beside, written))
        elif question.files is not None:
            self._twins[question.key] = question
        done, _ = await asyncio.wait([writing], timeout=ACCEPT_TIMEOUT_S)
        if not done:
            raise StoreUnavailable(f"no answer within {ACCEPT_TIMEOUT_S:g} s")
        return writing.result() and not is_twin

    def _accepted(
        self, question: Question, beside: str | None, writing: asyncio.Future[bool]
    ) -> None:
        key = question.key
        del self._accepting[key]
        twin = self._twins.pop(key, question)
        if writing.cancelled() or writing.exception() is not None:
            return
        if not writing.result():
            run = self._runs.get(key)
            if run is not None:
                run.tell_twin(twin)
            return
        question = replace(question, files=twin.files, attachments=twin.attachments)
        if self.draining:
            self._spawn(closing.release(self._means.store, key, tried=False))
            return
        # The run before may still be writing: the two take turns.
        before = self._runs.get(replace(key, run=key.run - 1))
        if before is not None:
            self._means.leases.drop(before.question.key)
            before.supersede()
        is_deleted = (question.team, question.channel, question.ts) in self._deleted
        if is_deleted and question.run == 0:  # later runs have messages to take away
            self._spawn(self._record(key, Outcome.GONE))
        else:
            self._start(question, follows=before, beside=beside)

    def _start(
        self,
        question: Question,
        *,
        entry: OpenTurn | None = None,
        follows: Run | None = None,
        beside: str | None = None,
    ) -> None:
        run = Run(
            self._means,
            question,
            entry=entry,
            follows=follows,
            beside=beside,
            on_orphans=self._settle_orphans,
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
            await self._record(key, outcome)
        else:
            if run.is_handed_over:
                self._handed_over.add(key)
            await closing.release(self._means.store, key, tried=not run.is_handed_over)
        self._means.places.changed(thread_of(run.question))

    async def _record(self, key: TurnKey, outcome: Outcome) -> None:
        if await closing.record(self._means.store, self._means.clock, key, outcome):
            self._recovery.forget(key)

    def _lost(self, key: TurnKey) -> None:
        """Another process has taken the turn up, or it was settled: write nothing more. One that is
        just being closed here has no lease any more either."""
        run = self._runs.get(key)
        if run is not None and run.is_over:
            return
        if (task := self._running.get(key)) is not None:
            logs.warning(log, "lease_lost", turn=str(key))
            task.cancel()

    # --- what others have left, and what they tell ----------------------------------------------

    def _settle_orphans(self, orphans: Sequence[Orphan]) -> None:
        for orphan in orphans:
            self._spawn(self._recovery.settle_orphan(orphan))

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
        self._deleted[team, channel, ts] = None
        if len(self._deleted) > DELETED:
            self._deleted.popitem(last=False)
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
        self, team: str, channel: str, ts: str, text: str | None, edited_ts: str
    ) -> bool:
        """Begin the turn again that an edited message asks, if it runs here."""
        if self._latest_run(team, channel, ts) is None:
            return False  # of most edits: they wait for nothing
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S), self._editing:
                if (latest := self._latest_run(team, channel, ts)) is None:
                    return False
                await self._begin_again(latest, text, edited_ts)
        except TimeoutError as error:
            raise StoreUnavailable("earlier edits wait for the store") from error
        return True

    def _latest_run(self, team: str, channel: str, ts: str) -> Run | None:
        """The last run of the question `ts`, if one is under way here."""
        asked = [
            run
            for run in self._runs.values()
            if (run.question.team, run.question.channel, run.question.ts) == (team, channel, ts)
        ]
        return max(asked, key=lambda run: run.question.run, default=None)

    async def _begin_again(self, latest: Run, text: str | None, edited_ts: str) -> None:
        """Answer the question as it reads now: `text`, or (None) as Slack says."""
        if edited_ts <= latest.edited_ts:
            return
        question = latest.question
        if question.text != text:
            anew = replace(
                question, run=question.run + 1, reuses=True, continues=False, text=text or ""
            )
            if not await self._accept(anew) or (begun := self._runs.get(anew.key)) is None:
                return
            latest = begun
        latest.edited_ts = edited_ts

    async def _edit_heard_of(self, news: News) -> None:
        """Its text did not come with the news: it is read from Slack."""
        try:
            await self._edit_here(news.team, news.channel, news.ts, None, news.edited_ts)
        except Draining:
            if (latest := self._latest_run(news.team, news.channel, news.ts)) is not None:
                latest.stop(self._leaving)  # whoever goes on with it reads the new text
        except StoreUnavailable as error:
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
            await workspace.tell(asks.channel, asks.user, word, asks.reply_thread_ts or None)
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
