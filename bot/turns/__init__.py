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
from bot.errors import Draining, SlackError, StoreUnavailable
from bot.store import News, OpenTurn
from bot.turn import Outcome, Question, Stop, TurnKey
from bot.turns import closing, end, sentences
from bot.turns.again import Press
from bot.turns.leaving import Leaving
from bot.turns.means import Means
from bot.turns.recovery import Recovery
from bot.turns.run import Run
from bot.turns.running import Running
from bot.turns.stopping import Stopping, in_thread_of

log = logging.getLogger(__name__)

ACCEPT_TIMEOUT_S: Final = 2.0
Place = tuple[str, str, str]
"""Team, channel, ts of a message."""
DELETED: Final = 5_000
"""How many deleted messages are remembered."""


class Turns:
    """All turns of the process; owns their tasks."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._accepting: dict[TurnKey, asyncio.Future[bool]] = {}
        self._deleted: OrderedDict[Place, None] = OrderedDict()
        """Messages whose deletion was told, since it may overtake what else is told of them."""
        self._twins: dict[TurnKey, Question] = {}
        """Of events that are just being claimed; they say what came with the question."""
        self._recovery = Recovery(means, self)
        self._running = Running(means, on_orphans=self._settle_orphans, on_settled=self._settled)
        self._leaving = Leaving(means.store, self._running)
        self._stopping = Stopping(means, self._running, spread=self._spread, tell=self.tell)
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._editing = asyncio.Lock()
        """Two edits of one question in a row must not both follow the same run."""
        self.draining = False

    def start(self) -> None:
        """Begin to renew leases, to hear the other processes, and to look for turns that an
        earlier process, or a failure, has left open."""
        watches = {
            "recovery": self._recovery.watch,
            "leases": self._means.leases.renew,
            "news": self._hear,
        }
        for name, watch in watches.items():
            self._watches[name] = asyncio.create_task(_keep(watch), name=name)

    def has(self, key: TurnKey) -> bool:
        """Whether the turn runs here, or is just being accepted."""
        return self._running.get(key) is not None or key in self._accepting

    def take_over(self, entry: OpenTurn) -> None:
        """Run a turn whose lease was just taken, with what is there already."""
        self._running.start(entry.question, entry=entry)

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
                accepted = await self._accept(press.question, press=press)
            except (StoreUnavailable, Draining):
                word = sentences.NOT_NOW
            else:
                word = None if accepted else sentences.ALREADY
        if word is not None:
            self.tell(asks, word)

    async def stop_or_ask(self, word: Question) -> None:
        """Accept a message that says no more than "stop": it ends what is under way in its thread.
        Where nothing is, it is a question like others; in doubt, it is nothing. Raises as `accept`.
        """
        if self.draining and self._stopping.heed(in_thread_of(word)):
            return  # the next process would take it for a question
        if not word.in_doubt or self._stopping.may_be_under_way(word):
            await self._accept(word, may_stop=True)

    def stop(self, stop: Stop) -> None:
        """Somebody has shown, elsewhere than at its button, that they want a reply to end."""
        self._stopping.ask(stop)

    def stop_pressed(self, stop: Stop, reply: Question) -> None:
        """Somebody has pressed Stop under the reply to that run of a question."""
        self._running.spawn(self._stopping.press(stop, reply))

    def tell(self, asks: Question, word: str) -> None:
        """Say `word` to whoever `asks`, and to nobody else."""
        self._running.spawn(self._tell_person(asks, word))

    def message_deleted(self, team: str, channel: str, ts: str) -> None:
        """Somebody deleted message `ts`: end the turn that it asks or that it belongs to."""
        self._delete_here(team, channel, ts)
        self._spread(News("deleted", team, channel, ts))

    def message_changed(self, team: str, channel: str, ts: str) -> None:
        """Message `ts` reads in another way now, whoever changed it: it is to be read anew."""
        self._means.conversations.forget(team, channel, ts)
        self._spread(News("changed", team, channel, ts))

    async def question_edited(
        self, team: str, channel: str, ts: str, text: str, edited_ts: str
    ) -> None:
        """Somebody edited message `ts`, which says `text` since `edited_ts`: if its reply still
        grows, it begins again, in the same messages. Raises as `accept`."""
        self._spread(News("edited", team, channel, ts, edited_ts))
        await self._edit_here(team, channel, ts, text, edited_ts)

    async def idle(self) -> None:
        """Return when no turn is under way."""
        await self._running.idle()

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more; let replies finish; hand the others over to another process, or
        settle them; within `grace_s`."""
        self.draining = True
        if (recovering := self._watches.get("recovery")) is not None:
            recovering.cancel()
        await self._leaving.leave(grace_s)
        await self._running.cancel()
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)

    # --- accepting ----------------------------------------------------------------------------

    async def _accept(
        self, question: Question, *, press: Press | None = None, may_stop: bool = False
    ) -> bool:
        if self.draining:
            raise Draining("the process is shutting down")
        writing = self._accepting.get(question.key)
        is_twin = writing is not None  # of an event whose claim is just being written
        if writing is None:
            writing = asyncio.ensure_future(self._means.store.accept(question))
            self._accepting[question.key] = writing
            writing.add_done_callback(
                lambda written: self._accepted(question, press, may_stop, written)
            )
        elif question.files is not None:
            self._twins[question.key] = question
        done, _ = await asyncio.wait([writing], timeout=ACCEPT_TIMEOUT_S)
        if not done:
            raise StoreUnavailable(f"no answer within {ACCEPT_TIMEOUT_S:g} s")
        return writing.result() and not is_twin

    def _accepted(
        self,
        question: Question,
        press: Press | None,
        may_stop: bool,
        writing: asyncio.Future[bool],
    ) -> None:
        key = question.key
        del self._accepting[key]
        twin = self._twins.pop(key, question)
        if writing.cancelled() or writing.exception() is not None:
            return
        if not writing.result():
            run = self._running.get(key)
            if run is not None:
                run.tell_twin(twin)
            return
        question = replace(question, files=twin.files, attachments=twin.attachments)
        if self.draining:
            self._running.spawn(closing.release(self._means.store, key, tried=False))
            return
        is_deleted = (question.team, question.channel, question.ts) in self._deleted
        if is_deleted and question.run == 0:  # later runs have messages to take away
            self._running.spawn(self._running.record(key, Outcome.GONE))
        elif may_stop:
            self._running.spawn(self._stop_or_start(question))
        else:
            self._running.start(question, press=press)

    async def _stop_or_start(self, word: Question) -> None:
        if await self._stopping.word(word) or word.in_doubt:
            await self._running.record(word.key, Outcome.IGNORED)
        else:
            self._running.start(word)

    # --- what others have left, and what they tell ----------------------------------------------

    def _settled(self, key: TurnKey) -> None:
        self._recovery.forget(key)
        if key.run > 0:  # it has replaced, or gone on with, what was read before
            self.message_changed(key.team, key.channel, key.ts)

    def _settle_orphans(self, orphans: Sequence[Orphan]) -> None:
        for orphan in orphans:
            self._running.spawn(self._recovery.settle_orphan(orphan))

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
                    self._running.spawn(self._edit_heard_of(news))
                case "changed":
                    self._means.conversations.forget(news.team, news.channel, news.ts)
                case "stop" if news.stop is not None:
                    self._stopping.heed(news.stop)

    def _delete_here(self, team: str, channel: str, ts: str) -> None:
        """End the turn that a deleted message asked, or belonged to, if it runs here."""
        self._means.conversations.forget(team, channel, ts)
        self._deleted[team, channel, ts] = None
        if len(self._deleted) > DELETED:
            self._deleted.popitem(last=False)
        for run in self._running.runs():
            question = run.question
            if (question.team, question.channel) != (team, channel):
                continue
            if question.ts == ts:
                run.question_deleted()
            elif run.owns(ts):
                run.stop(end.GONE)

    async def _edit_here(
        self, team: str, channel: str, ts: str, text: str | None, edited_ts: str
    ) -> None:
        """Begin the turn again that an edited message asks, if it runs here."""
        self._means.conversations.forget(team, channel, ts)
        if self._running.latest(team, channel, ts) is None:
            return  # of most edits: they wait for nothing
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S), self._editing:
                if (latest := self._running.latest(team, channel, ts)) is not None:
                    await self._begin_again(latest, text, edited_ts)
        except TimeoutError as error:
            raise StoreUnavailable("earlier edits wait for the store") from error

    async def _begin_again(self, latest: Run, text: str | None, edited_ts: str) -> None:
        """Answer the question as it reads now: `text`, or (None) as Slack says."""
        if edited_ts <= latest.edited_ts:
            return
        question = latest.question
        if question.text != text:
            anew = replace(
                question, run=question.run + 1, reuses=True, continues=False, text=text or ""
            )
            if not await self._accept(anew) or (begun := self._running.get(anew.key)) is None:
                return
            latest = begun
        latest.edited_ts = edited_ts

    async def _edit_heard_of(self, news: News) -> None:
        """Its text did not come with the news: it is read from Slack."""
        try:
            await self._edit_here(news.team, news.channel, news.ts, None, news.edited_ts)
        except Draining:
            if (latest := self._running.latest(news.team, news.channel, news.ts)) is not None:
                latest.stop(self._leaving.how)  # whoever goes on with it reads the new text
        except StoreUnavailable as error:
            logs.warning(log, "edit_unheeded", detail=str(error))

    def _spread(self, news: News) -> None:
        if self._means.store.shared:
            self._running.spawn(self._tell_processes(news))

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


async def _keep(watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a watch that never ends by itself: without it leases would lapse, or turns stay open."""
    while True:
        try:
            await watch()
        except Exception:
            log.exception("watch_failed")
        await asyncio.sleep(1.0)
