"""The run of one question: read, stream, show, settle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from bot import logs, metrics
from bot.conversation import Conversation, plain_text
from bot.errors import (
    AuthFailed,
    BotError,
    ChannelClosed,
    ClaudeError,
    Doubtful,
    MessageGone,
    RateLimited,
    SlackError,
    StoreUnavailable,
    Transient,
)
from bot.live_message import NOTHING, THINKING, Earlier, LiveMessage, clear_away
from bot.slack import Workspace
from bot.store import OpenTurn
from bot.turn import (
    ClaudeEvent,
    Done,
    Outcome,
    Question,
    Restarted,
    Retrying,
    StreamReport,
    Switched,
    Text,
)
from bot.turns import account, sentences
from bot.turns.look_back import look_back
from bot.turns.means import Means

log = logging.getLogger(__name__)

THINKING_EVERY_S: Final = 20.0
WHOLE: Final = frozenset({Outcome.COMPLETE, Outcome.TRUNCATED, Outcome.REFUSED})
RECOVER_WITHIN_S: Final = 15 * 60
"""An older question is not answered again: whoever asked has helped themselves by then."""
RECOVER_TRIES: Final = 2
"""A question that ends the process, or the turn, must not do so for ever."""


@dataclass(frozen=True, slots=True)
class End:
    """How a turn ends: its outcome, and what is said to the person under the text."""

    outcome: Outcome
    reason: str | None = None


class Run:
    """The run of one question."""

    def __init__(self, means: Means, question: Question, entry: OpenTurn | None) -> None:
        self._means = means
        self.question = question
        self._entry = entry
        self._earlier: Mapping[int, Earlier] = {}
        self._live: LiveMessage | None = None
        self._stopped: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._deleted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._started_at = means.clock.now()
        self._report = StreamReport()
        self._written = False
        self._thinks_since: float | None = None
        self._broken: SlackError | None = None
        self._done: Done | None = None

    def stop(self, end: End) -> None:
        """End the turn now: Claude's stream is closed at once. The first reason counts."""
        if not self._stopped.done():
            self._stopped.set_result(end)

    def question_deleted(self) -> None:
        """End the turn, and take its reply away."""
        self.stop(End(Outcome.GONE))
        if not self._deleted.done():
            self._deleted.set_result(None)

    def owns(self, ts: str) -> bool:
        return self._live is not None and self._live.owns(ts)

    async def run(self) -> Outcome | None:
        """Answer the question; how it ended, or None if the journal entry must stay open."""
        workspace = self._means.slack.of(self.question.team)
        if workspace is None:  # the bot was moved to another workspace
            return Outcome.GONE
        if self._entry is not None:
            before = await look_back(self._means, self._entry)
            if before.ended is not None:
                await clear_away(
                    workspace, self._means.pacer, self.question.channel, before.to_delete
                )
                return before.ended
            self.question = before.question
            self._earlier = before.messages
            tries = await self._means.store.take_up(self.question.key)
            age_s = self._means.clock.wall() - self._entry.accepted_at
            if age_s > RECOVER_WITHIN_S or tries > RECOVER_TRIES:
                self.stop(End(Outcome.INTERRUPTED, sentences.INTERRUPTED))
        enterprise = workspace.identity.enterprise
        if (refusal := self._means.policy.refusal(self.question, enterprise)) is not None:
            await self._decline(workspace, refusal)
            return Outcome.DECLINED
        async with self._means.pacer.seat(self.question.team) as seat:
            live = LiveMessage(
                workspace,
                self._means.pacer,
                seat,
                self.question,
                note_message=self._note_message,
                on_broken=self._on_broken,
                max_messages=self._means.max_messages,
                earlier=self._earlier,
            )
            async with live:
                self._live = live
                return await self._answer(live)

    async def _answer(self, live: LiveMessage) -> Outcome | None:
        async with AsyncExitStack() as held:  # until the reply is settled
            return await self._answer_in_order(live, held)

    async def _answer_in_order(self, live: LiveMessage, held: AsyncExitStack) -> Outcome | None:
        end = await self._until_stopped(live, held)
        ended_at = self._means.clock.now()
        try:
            if self._broken is not None:
                raise self._broken
            if end.outcome is not Outcome.GONE:
                await self._settle(live, end)
            if self._deleted.done():
                await live.remove()
                end = End(Outcome.GONE)
        except (MessageGone, ChannelClosed) as error:
            logs.warning(log, "reply_gone", code=error.code)
            end = End(Outcome.GONE)
        except (Doubtful, Transient, AuthFailed, RateLimited) as error:
            # The journal entry stays open, so that it is tried again.
            logs.warning(log, "reply_undelivered", method=error.method, code=error.code)
            return None
        except SlackError as error:
            logs.warning(log, "reply_refused", method=error.method, code=error.code)
            end = End(Outcome.FAILED)
        now = self._means.clock.now()
        account.settled(
            self.question,
            end.outcome,
            self._done,
            self._report,
            live.report,
            took_s=now - self._started_at,
            settle_s=now - ended_at,
        )
        return end.outcome

    async def _settle(self, live: LiveMessage, end: End) -> None:
        """Show the last state, unless the question is deleted meanwhile."""
        complete = end.outcome in WHOLE
        settling = asyncio.ensure_future(live.settle(end.reason, complete=complete))
        await asyncio.wait([settling, self._deleted], return_when=asyncio.FIRST_COMPLETED)
        if settling.done():
            settling.result()
        else:
            settling.cancel()
            await asyncio.wait([settling])

    async def _until_stopped(self, live: LiveMessage, held: AsyncExitStack) -> End:
        """Stream Claude's reply into `live` until it ends or somebody stops the turn."""
        if self._stopped.done():
            return self._stopped.result()
        streaming = asyncio.create_task(self._stream(live, held))
        try:
            await asyncio.wait([streaming, self._stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not streaming.done():
                streaming.cancel()
                await asyncio.wait([streaming])
        if self._stopped.done():
            return self._stopped.result()
        return streaming.result()

    async def _stream(self, live: LiveMessage, held: AsyncExitStack) -> End:
        try:
            if (hint := self._hint()) is not None:
                return End(Outcome.COMPLETE, hint)
            order = self._means.order.turn(
                self.question, lambda: live.wait_in_line(sentences.AFTER)
            )
            await held.enter_async_context(order)
            async with self._means.places.place(
                lambda number: live.wait_in_line(sentences.in_line(number))
            ):
                live.begin(sentences.RESTARTED if self._entry is not None else THINKING)
                conversation = await self._means.conversations.read(live.workspace, self.question)
                return await self._reply(live, conversation)
        except ClaudeError as error:
            metrics.FAILURES.labels(type(error).__name__).inc()
            logs.warning(log, "claude_failed", kind=type(error).__name__, detail=str(error))
            return End(Outcome.FAILED, error.told())
        except BotError as error:
            logs.warning(log, "not_answered", kind=type(error).__name__, detail=str(error))
            return End(Outcome.FAILED, error.sentence)
        except Exception:
            log.exception("turn_failed")
            return End(Outcome.FAILED, sentences.UNEXPECTED)

    async def _reply(self, live: LiveMessage, conversation: Conversation) -> End:
        thinking = asyncio.create_task(self._show_thinking(live))
        try:
            done = await self._means.claude.reply(
                conversation.messages,
                user=f"{self.question.team}:{self.question.user}",
                tell=lambda event: self._show(live, event),
                report=self._report,
            )
        finally:
            thinking.cancel()
        self._done = done
        return self._ended(live, done, conversation)

    def _show(self, live: LiveMessage, event: ClaudeEvent) -> None:
        thought_since, self._thinks_since = self._thinks_since, None
        match event:
            case Text(delta):
                self._written = True
                live.add(delta)
            case Restarted():
                self._written = False
                live.restart()
            case Retrying(cause, wait_s):
                live.status(sentences.trying_again(cause, wait_s))
            case Switched(_, in_one_piece):
                live.status(sentences.IN_ONE_PIECE if in_one_piece else sentences.OTHER_MODEL)
            case _:
                self._thinks_since = thought_since or self._means.clock.now()
                live.status(THINKING)

    async def _show_thinking(self, live: LiveMessage) -> None:
        """A sign of life now and then while Claude thinks for long."""
        while True:
            await self._means.clock.sleep(THINKING_EVERY_S)
            if self._thinks_since is not None:
                seconds = round(self._means.clock.now() - self._thinks_since)
                live.status(f"{THINKING} {seconds} s")

    def _ended(self, live: LiveMessage, done: Done, conversation: Conversation) -> End:
        notes = " ".join(conversation.notes) or None
        written = self._written
        match done.stop_reason:
            case "max_tokens":
                return End(
                    Outcome.TRUNCATED,
                    sentences.TRUNCATED if written else sentences.THOUGHT_TOO_LONG,
                )
            case "model_context_window_exceeded":
                return End(Outcome.TRUNCATED, sentences.CONTEXT_FULL)
            case "pause_turn":  # again and again
                return End(Outcome.TRUNCATED, sentences.PAUSED)
            case "refusal":
                live.withdraw()
                return End(Outcome.REFUSED, sentences.REFUSED)
            case _:
                return End(Outcome.COMPLETE, notes if written else NOTHING)

    def _hint(self) -> str | None:
        """What to say to a message that asks nothing."""
        workspace = self._means.slack.of(self.question.team)
        bot_user_id = workspace.identity.bot_user_id if workspace else ""
        if plain_text(self.question.text, bot_user_id, str):
            return None
        if self.question.files:
            return sentences.HINT_FILES
        return sentences.HINT_DIRECT if self.question.surface == "direct" else sentences.HINT

    async def _decline(self, workspace: Workspace, refusal: str) -> None:
        question = self.question
        try:
            await workspace.tell(question.channel, question.user, refusal, question.thread_ts)
        except SlackError as error:
            logs.warning(log, "refusal_untold", code=error.code)
        took_s = self._means.clock.now() - self._started_at
        account.settled(question, Outcome.DECLINED, None, self._report, None, took_s, 0.0)

    async def _note_message(self, part: int, ts: str) -> None:
        try:
            await self._means.store.note_message(self.question.key, part, ts)
        except StoreUnavailable as error:
            logs.warning(log, "message_not_noted", detail=str(error))

    def _on_broken(self, error: SlackError) -> None:
        self._broken = error
        self.stop(End(Outcome.FAILED))
