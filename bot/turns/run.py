"""The run of one question: read, stream, show, settle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from bot import logs
from bot.claude import Claude
from bot.clock import Clock
from bot.conversation import Conversation, Conversations, plain_text
from bot.errors import (
    AuthFailed,
    BotError,
    ChannelClosed,
    ClaudeError,
    Doubtful,
    MessageGone,
    SlackError,
    StoreUnavailable,
    Transient,
)
from bot.live_message import THINKING, LiveMessage, Report
from bot.pacing import Pacer
from bot.policy import Policy
from bot.slack import Mark, Slack
from bot.store import OpenTurn, Store
from bot.turn import ClaudeEvent, Done, Outcome, Question, Retrying, Text

log = logging.getLogger(__name__)

RECOVER_WITHIN_S: Final = 15 * 60
"""An older question is not answered again: whoever asked has helped themselves by then."""

HINT: Final = "Hi! Mention me together with a question, and I will answer here."
HINT_DIRECT: Final = "Hi! Write me a question, and I will answer it here."
HINT_FILES: Final = "I cannot read attached files yet. Please write your question as text."
EMPTY: Final = "Claude had nothing to say to that. Please ask in another way."
TRUNCATED: Final = "Claude stopped here: the reply reached its maximum length."
CONTEXT_FULL: Final = "Claude stopped here: this conversation has become too long for it."
REFUSED: Final = "Claude declined to answer this."
INTERRUPTED: Final = "Interrupted by a restart of the bot. Please ask again."
RESTARTED: Final = "Started again after a restart…"
UNEXPECTED: Final = BotError.sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run works with; one of each per process."""

    slack: Slack
    store: Store
    claude: Claude
    conversations: Conversations
    pacer: Pacer
    policy: Policy
    clock: Clock


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
        self._existing = dict(entry.messages) if entry is not None else {}
        self._live: LiveMessage | None = None
        self._stopped: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._remove = False
        self._started_at = means.clock.now()
        self._first_text_at: float | None = None
        self._broken: SlackError | None = None
        self._done: Done | None = None

    def stop(self, end: End, *, remove: bool = False) -> None:
        """End the turn now: Claude's stream is closed at once. The first reason counts."""
        self._remove = self._remove or remove
        if not self._stopped.done():
            self._stopped.set_result(end)

    def owns(self, ts: str) -> bool:
        return self._live is not None and self._live.owns(ts)

    async def run(self) -> Outcome | None:
        """Answer the question; how it ended, or None if the journal entry must stay open."""
        if self._entry is not None and not await self._read_again(self._entry):
            await self._delete_messages()
            return Outcome.GONE
        enterprise = self._means.slack.of(self.question.team).identity.enterprise
        if (refusal := self._means.policy.refusal(self.question, enterprise)) is not None:
            await self._decline(refusal)
            return Outcome.DECLINED
        async with self._means.pacer.seat(self.question.team) as seat:
            live = LiveMessage(
                self._means.slack.of(self.question.team),
                self._means.pacer,
                seat,
                self.question,
                note_message=self._note_message,
                on_broken=self._on_broken,
                existing=self._existing,
            )
            async with live:
                self._live = live
                return await self._answer(live)

    async def _answer(self, live: LiveMessage) -> Outcome | None:
        end = await self._until_stopped(live)
        try:
            if self._remove:
                await live.remove()
            elif self._broken is not None:
                raise self._broken
            elif end.outcome is not Outcome.GONE:
                await live.settle(end.reason)
        except (MessageGone, ChannelClosed) as error:
            logs.warning(log, "reply_gone", code=error.code)
            end = End(Outcome.GONE)
        except (Doubtful, Transient, AuthFailed) as error:
            # The journal entry stays open, so that the next start can settle it.
            logs.warning(log, "reply_undelivered", method=error.method, code=error.code)
            return None
        except SlackError as error:
            logs.warning(log, "reply_refused", method=error.method, code=error.code)
            end = End(Outcome.FAILED)
        self._log(end.outcome, live.report)
        return end.outcome

    async def _until_stopped(self, live: LiveMessage) -> End:
        """Stream Claude's reply into `live` until it ends or somebody stops the turn."""
        streaming = asyncio.create_task(self._stream(live))
        try:
            await asyncio.wait([streaming, self._stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not streaming.done():
                streaming.cancel()
                await asyncio.wait([streaming])
        if self._stopped.done():
            return self._stopped.result()
        return streaming.result()

    async def _stream(self, live: LiveMessage) -> End:
        try:
            if (hint := self._hint()) is not None:
                return End(Outcome.COMPLETE, hint)
            if self._entry is not None:
                live.status(RESTARTED)
            conversation = await self._means.conversations.read(self.question)
            user = f"{self.question.team}:{self.question.user}"
            messages = conversation.messages
            async with aclosing(self._means.claude.stream(messages, user=user)) as events:
                async for event in events:
                    self._show(live, event)
            return self._ended(live, conversation)
        except ClaudeError as error:
            logs.warning(log, "claude_failed", kind=type(error).__name__, detail=str(error))
            return End(Outcome.FAILED, error.sentence)
        except Exception:
            log.exception("turn_failed")
            return End(Outcome.FAILED, UNEXPECTED)

    def _show(self, live: LiveMessage, event: ClaudeEvent) -> None:
        match event:
            case Text(delta):
                if self._first_text_at is None:
                    self._first_text_at = self._means.clock.now()
                live.add(delta)
            case Retrying(_, wait_s, _):
                live.status(f"Claude is busy; trying again in {max(1, round(wait_s))} s…")
            case Done():
                self._done = event
            case _:
                live.status(THINKING)

    def _ended(self, live: LiveMessage, conversation: Conversation) -> End:
        assert self._done is not None
        notes = " ".join(conversation.notes) or None
        match self._done.stop_reason:
            case "max_tokens":
                return End(Outcome.TRUNCATED, TRUNCATED)
            case "model_context_window_exceeded":
                return End(Outcome.TRUNCATED, CONTEXT_FULL)
            case "refusal":
                live.withdraw()
                return End(Outcome.REFUSED, REFUSED)
            case _:
                return End(Outcome.COMPLETE, notes if self._first_text_at else EMPTY)

    def _hint(self) -> str | None:
        """What to say to a message that asks nothing."""
        identity = self._means.slack.of(self.question.team).identity
        if plain_text(self.question.text, identity.bot_user_id, str):
            return None
        if self.question.files:
            return HINT_FILES
        return HINT_DIRECT if self.question.surface == "direct" else HINT

    async def _read_again(self, entry: OpenTurn) -> bool:
        """Get the question's text and the reply's messages back from Slack, since the journal
        holds no text and a kill may have come between a post and its note; False if the question
        is gone."""
        if self._means.clock.wall() - entry.accepted_at > RECOVER_WITHIN_S:
            self.stop(End(Outcome.INTERRUPTED, INTERRUPTED))
        question = entry.question
        workspace = self._means.slack.of(question.team)
        found = False
        try:
            async for message in workspace.since(
                question.channel, question.reply_thread_ts, question.ts
            ):
                if message.get("ts") == question.ts:
                    found = True
                    self.question = replace(question, text=str(message.get("text") or ""))
                mark = Mark.of(message)
                if mark is not None and mark.turn == str(question.key):
                    self._existing[mark.part] = str(message.get("ts"))
        except (MessageGone, ChannelClosed):
            return False
        return found

    async def _delete_messages(self) -> None:
        workspace = self._means.slack.of(self.question.team)
        for ts in self._existing.values():
            try:
                await workspace.delete(self.question.channel, ts)
            except SlackError as error:
                logs.warning(log, "message_stays", code=error.code)

    async def _decline(self, refusal: str) -> None:
        workspace = self._means.slack.of(self.question.team)
        try:
            await workspace.tell(
                self.question.channel, self.question.user, refusal, self.question.thread_ts
            )
        except SlackError as error:
            logs.warning(log, "refusal_untold", code=error.code)
        logs.event(log, "turn", outcome=Outcome.DECLINED.value)

    async def _note_message(self, part: int, ts: str) -> None:
        try:
            await self._means.store.note_message(self.question.key, part, ts)
        except StoreUnavailable as error:
            logs.warning(log, "message_not_noted", detail=str(error))

    def _on_broken(self, error: SlackError) -> None:
        self._broken = error
        self.stop(End(Outcome.FAILED))

    def _log(self, outcome: Outcome, report: Report) -> None:
        """The one structured line of the turn."""
        now = self._means.clock.now()
        first = None if self._first_text_at is None else self._first_text_at - self._started_at
        fields: Mapping[str, object] = {
            "outcome": outcome.value,
            "surface": self.question.surface,
            "user": self.question.user,
            "took_s": round(now - self._started_at, 3),
            "first_text_s": None if first is None else round(first, 3),
            "messages": len(report.messages),
            "posts": report.posts,
            "edits": report.edits,
            "rate_limited": report.rate_limited,
        }
        if self._done is not None:
            usage = self._done.usage
            fields = {
                **fields,
                "model": self._done.model,
                "stop_reason": self._done.stop_reason,
                "input_tokens": usage.input,
                "cached_tokens": usage.cache_read,
                "output_tokens": usage.output,
            }
        logs.event(log, "turn", **fields)
