"""The run of one question: find what there is, answer, show, settle."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from bot import logs
from bot.conversation import Orphan
from bot.errors import (
    AuthFailed,
    ChannelClosed,
    Doubtful,
    MessageGone,
    RateLimited,
    SlackError,
    StoreUnavailable,
    Transient,
)
from bot.live_message import THINKING, Earlier, Leftovers, LiveMessage, clear_away
from bot.slack import Workspace
from bot.store import OpenTurn
from bot.turn import Outcome, Question, StreamReport, mentions
from bot.turns import account, again, buttons, end, sentences
from bot.turns.again import Press
from bot.turns.answer import Answer
from bot.turns.attached import Attached
from bot.turns.end import End
from bot.turns.look_back import look_back
from bot.turns.means import Means

log = logging.getLogger(__name__)

WHOLE: Final = frozenset({Outcome.COMPLETE, Outcome.TRUNCATED, Outcome.REFUSED})
RECOVER_WITHIN_S: Final = 15 * 60
"""An older question is not answered again: whoever asked has helped themselves by then."""
LOOK_S: Final = 3.0
NAME_S: Final = 0.5
"""For the name of who stopped a reply."""
RECOVER_TRIES: Final = 2
"""A question that ends the process, or the turn, must not do so for ever."""


class Run:
    """The run of one question.

    `entry` is the journal's, if the turn was left open; `follows` the run before, if that is still
    under way; `press` what began it, if a button did. `on_orphans` gets replies that were found in
    the thread and that nobody has settled.
    """

    def __init__(
        self,
        means: Means,
        question: Question,
        *,
        entry: OpenTurn | None = None,
        follows: Run | None = None,
        press: Press | None = None,
        on_orphans: Callable[[Sequence[Orphan]], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._means = means
        self.question = question
        self._entry = entry
        self._follows = follows
        self._press = press
        self._on_orphans = on_orphans
        self._written_before = ""
        self._tries = 0
        self._live: LiveMessage | None = None
        self._answer: Answer | None = None
        self._stopped: asyncio.Future[End] = loop.create_future()
        self._deleted: asyncio.Future[None] = loop.create_future()
        self._superseded: asyncio.Future[None] = loop.create_future()
        self._over = asyncio.Event()
        self._messages: Mapping[int, Earlier] = {}
        self._leftovers = Leftovers()
        self._attached = Attached(means.pacer, question.files)
        self._started_at = means.clock.now()
        self._asked_at = self._when_it_was_asked_for()
        self._broken: SlackError | None = None
        self.edited_ts = ""
        """When the question got its text, if not at first."""

    def stop(self, how: End) -> None:
        """End the turn now: Claude's stream is closed at once. The first reason counts."""
        if not self._stopped.done():
            self._stopped.set_result(how)

    def supersede(self) -> None:
        """End the turn, however far it is, and leave its messages to the next run."""
        self.stop(end.SUPERSEDED)
        if not self._superseded.done():
            self._superseded.set_result(None)

    def question_deleted(self) -> None:
        """End the turn, and take its reply away."""
        self.stop(end.GONE)
        if not self._deleted.done():
            self._deleted.set_result(None)

    def tell_twin(self, twin: Question) -> None:
        """The twin of the question's event says what came with it."""
        if twin.files is None:
            return
        if self.question.files is None:
            self.question = replace(self.question, files=twin.files, attachments=twin.attachments)
        self._attached.tell(twin.files, twin.attachments)

    def owns(self, ts: str) -> bool:
        """Whether message `ts` is one of the reply's."""
        return self._live is not None and self._live.owns(ts)

    def shows(self, ts: str) -> bool:
        """Whether message `ts` is one of the reply's, or of an earlier run's that it takes over."""
        messages = self._live.messages() if self._live is not None else self._messages
        return any(message.ts == ts for message in messages.values())

    @property
    def since(self) -> float:
        """When it was asked for, by Slack's clock: what was wanted before then is about another
        run."""
        return max(self._asked_at, seconds(self.edited_ts or "0"))

    def _when_it_was_asked_for(self) -> float:
        if self.question.run == 0:
            return seconds(self.question.ts)
        if self._press is not None and self._press.at:
            return seconds(self._press.at)
        return self._entry.accepted_at if self._entry is not None else 0.0

    @property
    def has_text(self) -> bool:
        """Whether Claude has begun to write."""
        return self._answer is not None and self._answer.written

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do but to record the outcome."""
        return self._over.is_set()

    @property
    def is_superseded(self) -> bool:
        """Whether the next run takes over."""
        return self._superseded.done()

    @property
    def is_handed_over(self) -> bool:
        """Whether it was stopped so that another process goes on."""
        return self._stopped.done() and self._stopped.result() is end.HANDED_OVER

    async def messages_left(self) -> Mapping[int, Earlier]:
        """Wait until the run is over; the messages that it leaves to another one."""
        await self._over.wait()
        return self._messages

    @property
    def leftovers(self) -> Leftovers:
        """What it leaves beside those messages, once it is over."""
        return self._leftovers

    async def run(self) -> Outcome | None:
        """Answer the question; how it ended, or None if the journal entry must stay open."""
        try:
            workspace = self._means.slack.of(self.question.team)
            if workspace is None:  # the bot was moved to another workspace
                return Outcome.GONE
            if self.question.in_doubt and (ended := await self._find_out(workspace)) is not None:
                return ended
            if (ended := await self._find_what_there_is(workspace)) is not None:
                return ended
            if self._is_over_tried():
                self.stop(end.AFTER_A_RESTART)
            if (refusal := self._refusal(workspace)) is not None:
                if self._is_addressed(workspace):
                    await self._say_privately(workspace, refusal)
                self._account(Outcome.DECLINED, None, 0.0)
                return Outcome.DECLINED
            return await self._in_a_live_message(workspace)
        finally:
            self._over.set()

    async def _find_out(self, workspace: Workspace) -> Outcome | None:
        """The outcome if the message is not for the bot; it is a question like others if it is."""
        if self._is_too_old:
            return Outcome.IGNORED
        follow_ups = self._means.follow_ups
        outcome = await follow_ups.find_out(self.question, workspace, self._stopped)
        self.question = replace(self.question, in_doubt=False)
        return outcome

    def _refusal(self, workspace: Workspace) -> str | None:
        """Why the question is not answered, if so. Later runs were judged when they were asked for;
        where a reply was begun it is ended."""
        if self.question.run > 0 or self._messages:
            return None
        return self._means.policy.refusal(self.question, workspace.identity.enterprise)

    def _is_addressed(self, workspace: Workspace) -> bool:
        """Whether the question speaks to the bot, and not only to its thread."""
        is_direct = self.question.surface == "direct"
        return is_direct or mentions(self.question.text, workspace.identity.bot_user_id)

    async def _find_what_there_is(self, workspace: Workspace) -> Outcome | None:
        """The question's text and the messages to write into, from the run before and from Slack;
        the outcome if nothing is left to do."""
        if self._follows is not None:
            left = await self._follows.messages_left()
            self._leftovers = self._follows.leftovers
            self._messages = left if self.question.reuses else {}
            if self.is_edit:  # what answers the question as it was does not stay in sight
                self._messages = {part: replace(one, text="") for part, one in left.items()}
            if self._follows.is_deleted:
                return Outcome.GONE
        if self._entry is None and self._knows_its_text:
            return await self._look_for_an_answer(workspace)
        try:
            return await self._look_back(workspace)
        except SlackError:
            if self._entry is None:
                await self._say_privately(workspace, sentences.UNREAD_YET)
            raise

    async def _look_for_an_answer(self, workspace: Workspace) -> Outcome | None:
        """A store that lost its memory does not know whether a question from before then was
        answered: Slack does, if it can be read soon."""
        is_older = seconds(self.question.ts) < self._means.store.remembers_since
        if self.question.run > 0 or not is_older:
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                before = await look_back(workspace, self._means.pacer, self.question, {})
        except (SlackError, TimeoutError) as error:
            logs.warning(log, "not_looked_back", detail=str(error))
            return None
        if before.ended is Outcome.COMPLETE:
            return Outcome.COMPLETE
        self._messages = before.messages
        return None

    @property
    def _knows_its_text(self) -> bool:
        return self.question.run == 0 or (self.is_edit and bool(self.question.text))

    @property
    def is_edit(self) -> bool:
        """Whether it answers the question as it was edited, in the messages of the run before."""
        return self._follows is not None and self._press is None

    @property
    def is_deleted(self) -> bool:
        """Whether the question was deleted."""
        return self._deleted.done()

    async def _look_back(self, workspace: Workspace) -> Outcome | None:
        noted = self._entry.messages if self._entry is not None else {}
        before = await look_back(
            workspace,
            self._means.pacer,
            self.question,
            noted,
            begins=self._entry.begins if self._entry is not None else None,
            beside=self._press.message_ts if self._press is not None else None,
        )
        channel = self.question.channel
        await clear_away(workspace, self._means.pacer, channel, before.to_delete)
        if before.ended is not None:
            if self._entry is None and before.ended is Outcome.COMPLETE:
                await self._say_privately(workspace, sentences.ALREADY)
            return before.ended
        self.question = before.question
        self.edited_ts = max(self.edited_ts, before.edited_ts)
        self._attached.tell(before.question.files or (), before.question.attachments)
        self._messages = {**before.messages, **self._messages}
        self._written_before = before.written
        if self._entry is not None:
            self._tries = await self._means.store.count_try(self.question.key)
        return None

    def _is_over_tried(self) -> bool:
        return self._is_too_old or self._tries > RECOVER_TRIES

    @property
    def _is_too_old(self) -> bool:
        if self._entry is None:
            return False
        age_s = self._means.clock.wall() - self._entry.accepted_at
        return self._entry.only_ends or age_s > RECOVER_WITHIN_S

    async def _in_a_live_message(self, workspace: Workspace) -> Outcome | None:
        async with self._means.pacer.seat(self.question.team) as seat:
            live = LiveMessage(
                workspace,
                self._means.pacer,
                seat,
                self.question,
                note_message=self._note_message,
                on_broken=self._on_broken,
                lease=self._means.leases,
                max_messages=self._means.max_messages,
                earlier=self._messages,
                leftovers=self._leftovers,
                button=buttons.stop(self.question),
            )
            async with live, AsyncExitStack() as held:  # until the reply is settled
                self._live = live
                return await self._answer_into(live, held)

    async def _answer_into(self, live: LiveMessage, held: AsyncExitStack) -> Outcome | None:
        how = await self._until_stopped(live, held)
        ended_at = self._means.clock.now()
        if how.by is not None:
            how = replace(how, reason=await self._who_stopped_it(live.workspace, how.by))
        try:
            how = await self._finish(live, how)
        except (MessageGone, ChannelClosed) as error:
            logs.warning(log, "reply_gone", code=error.code)
            how = end.GONE
            if isinstance(error, MessageGone):
                await live.drop()
        except (Doubtful, Transient, AuthFailed, RateLimited) as error:
            # The journal entry stays open, so that it is tried again.
            logs.warning(log, "reply_undelivered", method=error.method, code=error.code)
            return None
        except SlackError as error:
            logs.warning(log, "reply_refused", method=error.method, code=error.code)
            how = End(Outcome.FAILED)
            await live.drop()
        if how.outcome is not None:
            self._account(how.outcome, live, self._means.clock.now() - ended_at, how.by)
        return how.outcome

    async def _finish(self, live: LiveMessage, how: End) -> End:
        """Leave the reply as it ends; how it really did."""
        if self._broken is not None:
            raise self._broken
        if how.outcome in (None, Outcome.SUPERSEDED):
            await live.leave()
            logs.event(log, "reply_left", outcome=how.outcome)
        elif how.outcome is Outcome.GONE:
            if not self._deleted.done():
                await live.drop()
        elif not await self._settle(live, how):
            how = end.SUPERSEDED
        if self._deleted.done():
            await live.remove()
            return end.GONE
        self._messages = await live.leave() if how is end.SUPERSEDED else live.messages()
        self._leftovers = live.leftovers()
        return how

    async def _settle(self, live: LiveMessage, how: End) -> bool:
        """Show the last state; False if the next run takes over meanwhile. Nothing more is shown
        when the question is deleted."""
        settling = asyncio.ensure_future(
            live.settle(
                how.reason,
                complete=how.outcome in WHOLE,
                button=again.button(how.again, self.question) if how.again else None,
            )
        )
        ends = [settling, self._deleted, self._superseded]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not settling.done():
                settling.cancel()
                await asyncio.wait([settling])
        if settling.cancelled():
            return not self._superseded.done()
        settling.result()
        return True

    async def _until_stopped(self, live: LiveMessage, held: AsyncExitStack) -> End:
        """Stream Claude's reply into `live` until it ends or somebody stops the turn."""
        if self._stopped.done():
            return self._stopped.result()
        self._answer = Answer(
            self._means,
            self.question,
            self._attached,
            written_before=self._written_before,
            beginning=self._beginning(),
        )
        streaming = asyncio.create_task(self._answer.stream(live, held, self._on_orphans))
        try:
            await asyncio.wait([streaming, self._stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not streaming.done():
                streaming.cancel()
                await asyncio.wait([streaming])
        if not streaming.cancelled() and (self.is_handed_over or self._is_stopped_by_somebody):
            return streaming.result()  # it ended at the same moment
        return self._stopped.result() if self._stopped.done() else streaming.result()

    @property
    def _is_stopped_by_somebody(self) -> bool:
        return self._stopped.done() and self._stopped.result().by is not None

    async def _who_stopped_it(self, workspace: Workspace, user: str) -> str:
        """What is said under the reply. Claude's stream is closed by now."""
        if user == self.question.user:
            return sentences.STOPPED
        conversations = self._means.conversations
        return sentences.stopped_by(await conversations.name_of(workspace, user, NAME_S))

    def _beginning(self) -> str:
        """The first status of the reply."""
        if self._entry is not None:
            return sentences.RESTARTED
        return sentences.EDITED if self.is_edit else THINKING

    def _account(
        self,
        outcome: Outcome,
        live: LiveMessage | None,
        settle_s: float,
        stopped_by: str | None = None,
    ) -> None:
        answer = self._answer
        account.settled(
            self.question,
            outcome,
            answer.done if answer else None,
            answer.report if answer else StreamReport(),
            live.report if live else None,
            took_s=self._means.clock.now() - self._started_at,
            settle_s=settle_s,
            stopped_by=stopped_by,
        )

    async def _say_privately(self, workspace: Workspace, word: str) -> None:
        question = self.question
        try:
            await workspace.tell(question.channel, question.user, word, question.thread_ts)
        except SlackError as error:
            logs.warning(log, "word_untold", code=error.code)

    async def _note_message(self, part: int, ts: str) -> None:
        try:
            await self._means.store.note_message(self.question.key, part, ts)
        except StoreUnavailable as error:
            logs.warning(log, "message_not_noted", detail=str(error))

    def _on_broken(self, error: SlackError) -> None:
        self._broken = error
        self.stop(End(Outcome.FAILED))


def seconds(ts: str) -> float:
    """When something happened, to compare with clocks only: two messages are told by their ts."""
    try:
        return float(ts)
    except ValueError:
        return math.inf
