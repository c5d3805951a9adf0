"""Stop: which replies are meant, whether that person may end them, and what they are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from bot import logs
from bot.errors import StoreUnavailable
from bot.store import News
from bot.turn import Question, Stop
from bot.turns import end, sentences
from bot.turns.means import Means
from bot.turns.places import thread_of
from bot.turns.run import Run, seconds
from bot.turns.running import Running

log = logging.getLogger(__name__)


def in_thread_of(word: Question) -> Stop:
    """What a message that says no more than "stop" wants."""
    return Stop(
        team=word.team,
        channel=word.channel,
        user=word.user,
        at=word.ts,
        thread_ts=thread_of(word)[2],
        user_team=word.user_team,
        is_shared=word.is_shared,
    )


class Stopping:
    """Ends replies here for whoever may ask where they grow; `spread` tells the other processes,
    `tell` says a word to one person."""

    def __init__(
        self,
        means: Means,
        running: Running,
        *,
        spread: Callable[[News], None],
        tell: Callable[[Question, str], None],
    ) -> None:
        self._means = means
        self._running = running
        self._spread = spread
        self._tell = tell

    def heed(self, stop: Stop) -> list[Run]:
        """End the replies of this process that are meant, if that person may; all that are meant.
        Whoever has asked may end the reply, whatever is known of them now."""
        meant = [run for run in self._running.runs() if _is_meant(stop, run)]
        may = self._refusal(stop) is None
        for run in meant:
            if may or run.question.user == stop.user:
                logs.event(log, "stop", turn=str(run.question.key), user=stop.user)
                run.stop(end.stopped(stop.user))
        return meant

    def ask(self, stop: Stop) -> None:
        """End the replies that are meant, wherever they grow; nothing is said if there are none."""
        found = self.heed(stop)
        if not found or not stop.messages:  # in a thread others may wait elsewhere
            self.spread(stop)

    def spread(self, stop: Stop) -> None:
        """Tell the other processes."""
        self._spread(News("stop", stop.team, stop.channel, "", stop=stop))

    async def press(self, stop: Stop, reply: Question) -> None:
        """Somebody pressed the button under `reply`. Why nothing happens is said to them alone."""
        meant, word = self.heed(stop), self._refusal(stop)
        if word is None and not meant:
            word = await self._elsewhere(stop, reply)
        if word is not None and all(run.question.user != stop.user for run in meant):
            self._tell(replace(reply, user=stop.user), word)

    async def word(self, word: Question) -> bool:
        """Whether a message that says no more than "stop" has ended replies of its thread; it is no
        question then, whoever wrote it."""
        stop = in_thread_of(word)
        found = bool(self.heed(stop))
        if not self._means.store.shared:
            return found
        if not found:
            found = await self._means.places.is_behind_a_reply(word)
        if found:
            self.spread(stop)
        return found

    def may_be_under_way(self, word: Question) -> bool:
        """Whether a reply may be under way in the thread of `word`."""
        thread = thread_of(word)
        here = (thread_of(run.question) for run in self._running.runs())
        return self._means.store.shared or thread in here

    async def _elsewhere(self, stop: Stop, reply: Question) -> str | None:
        """Have the process that writes the reply end it; what to say if there is none."""
        try:
            is_open = self._means.store.shared and await self._means.store.is_open(reply.key)
        except StoreUnavailable:
            return sentences.NOT_NOW
        if not is_open:
            return sentences.NOTHING_TO_STOP
        self.spread(stop)
        return None

    def _refusal(self, stop: Stop) -> str | None:
        workspace = self._means.slack.of(stop.team)
        asks = Question(
            team=stop.team,
            channel=stop.channel,
            user=stop.user,
            ts=stop.at,
            surface="direct" if stop.channel.startswith("D") else "channel",
            user_team=stop.user_team,
            is_shared=stop.is_shared,
        )
        enterprise = workspace.identity.enterprise if workspace is not None else None
        return self._means.policy.refusal(asks, enterprise)


def _is_meant(stop: Stop, run: Run) -> bool:
    question = run.question
    if (question.team, question.channel) != (stop.team, stop.channel):
        return False
    if run.is_over or run.is_superseded:
        return False
    if stop.run is not None:
        # Until its first edit, a run after an edit of the question shows the button of the one
        # before. A button from before a Retry must not end that.
        goes_on = run.is_edit and question.run > stop.run and seconds(stop.at) > run.since
        return question.ts in stop.messages and (question.run == stop.run or goes_on)
    if seconds(stop.at) <= run.since:
        return False  # it came late, and was about an earlier run
    # A thread may also stand under a flat question, or under its reply.
    messages = stop.messages or ((stop.thread_ts,) if stop.thread_ts else ())
    is_there = not stop.messages and thread_of(question)[2] == stop.thread_ts
    return is_there or question.ts in messages or any(map(run.shows, messages))
