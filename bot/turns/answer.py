"""Claude's answer to one question: read the conversation, stream the reply into a live message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from bot import logs, metrics
from bot.conversation import Card, Conversation, Orphan, cards_of, is_new_start, plain_text
from bot.errors import BotError, ClaudeError, ClaudeRejected, ConversationTooLong
from bot.live_message import NOTHING, THINKING, LiveMessage
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
from bot.turn import Message as Said
from bot.turns import end, sentences
from bot.turns.attached import Attached
from bot.turns.end import End
from bot.turns.less import Less
from bot.turns.means import Means

log = logging.getLogger(__name__)

THINKING_EVERY_S: Final = 20.0
GO_ON: Final = (
    "Your reply above was cut off because it reached its maximum length. Go on exactly where it "
    "ends, without repeating anything of it and without any remark about the interruption."
)


class Answer:
    """One try to answer."""

    def __init__(
        self,
        means: Means,
        question: Question,
        attached: Attached,
        *,
        written_before: str,
        beginning: str,
    ) -> None:
        self._means = means
        self._question = question
        self._attached = attached
        self._written_before = written_before
        self._beginning = beginning
        self.report = StreamReport()
        self.done: Done | None = None
        self.written = False
        """Whether the reply has text now."""
        self._thinks_since: float | None = None
        self._notes: Sequence[str] = ()
        """What the person must be told of what was read."""

    async def stream(
        self,
        live: LiveMessage,
        held: AsyncExitStack,
        on_orphans: Callable[[Sequence[Orphan]], None],
    ) -> End:
        """Answer into `live`; never raises but when cancelled. The place that it waits for is left
        in `held`; `on_orphans` gets replies in the thread that nobody has settled."""
        try:
            if self._is_new_start(live):
                return End(Outcome.COMPLETE, sentences.NEW_CONVERSATION)
            if not self._has_words(live) and not await self._brings_something(live):
                return End(Outcome.COMPLETE, self._hint())
            place = self._means.places.place(self._question, live.wait_in_line)
            await held.enter_async_context(place)
            live.begin(self._beginning)
            await self._find_files(live)
            conversation = await self._means.conversations.read(
                live.workspace, self._question, live.status
            )
            self._notes = conversation.notes
            on_orphans(conversation.orphans)
            if not conversation.asks_something:
                return End(Outcome.COMPLETE, " ".join(conversation.notes) or self._hint())
            return await self._reply(live, conversation)
        except ClaudeError as error:
            metrics.FAILURES.labels(type(error).__name__).inc()
            logs.warning(log, "claude_failed", kind=type(error).__name__, detail=str(error))
            return end.failed(" ".join([error.told(), *self._notes]))
        except BotError as error:
            logs.warning(log, "not_answered", kind=type(error).__name__, detail=str(error))
            return end.failed(error.sentence)
        except Exception:
            log.exception("turn_failed")
            return end.failed(sentences.UNEXPECTED)

    async def _find_files(self, live: LiveMessage) -> None:
        """Find out what came with the question; it is part of it from now on."""
        if self._question.files is None:
            files = await self._attached.find(live.workspace, self._question)
            shared = self._attached.shared or self._question.attachments
            self._question = replace(self._question, files=files, attachments=shared)

    async def _brings_something(self, live: LiveMessage) -> bool:
        """Whether a question without words may be asked by what came with it, or stands above."""
        await self._find_files(live)
        question = self._question
        in_thread = question.thread_ts not in (None, question.ts)
        return in_thread or bool(question.files or _cards(question))

    async def _reply(self, live: LiveMessage, conversation: Conversation) -> End:
        thinking = asyncio.create_task(self._show_thinking(live))
        try:
            done = await self._ask(live, conversation)
        finally:
            thinking.cancel()
        self.done = done
        return self._ended(live, done, conversation)

    async def _ask(self, live: LiveMessage, conversation: Conversation) -> Done:
        """Have Claude reply; if it does not accept all of the conversation, to less of it."""
        messages, less = conversation.messages, Less(self._means.conversations, conversation)
        while True:
            try:
                done = await self._means.claude.reply(
                    messages + self._cut_off(),
                    self._means.channels.manner(self._question.channel),
                    user=f"{self._question.team}:{self._question.user}",
                    tell=lambda event: self._show(live, event),
                    report=self.report,
                )
            except (ClaudeRejected, ConversationTooLong) as error:
                fewer = None if self.written else await less.after(error, messages)
                if fewer is None:
                    raise
                messages = fewer
                logs.warning(log, "asked_with_less", kind=type(error).__name__)
            else:
                less.accepted()
                return done

    def _cut_off(self) -> list[Said]:
        """What is already written, if this goes on with it."""
        if not (self._question.continues and self._written_before):
            return []
        end_of_it = self._means.conversations.newest(self._written_before)
        return [Said("assistant", end_of_it), Said("user", GO_ON)]

    def _show(self, live: LiveMessage, event: ClaudeEvent) -> None:
        thought_since, self._thinks_since = self._thinks_since, None
        match event:
            case Text(delta):
                self.written = True
                live.add(delta)
            case Restarted():
                self.written = False
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
        notes = [*conversation.notes]
        written = self.written
        match done.stop_reason:
            case "max_tokens":
                reason = sentences.TRUNCATED if written else sentences.THOUGHT_TOO_LONG
                return end.truncated(" ".join([reason, *notes]), written=written)
            case "model_context_window_exceeded":
                reason = " ".join([sentences.CONTEXT_FULL, *notes])
                return end.truncated(reason, written=written)
            case "pause_turn":  # again and again
                return end.truncated(" ".join([sentences.PAUSED, *notes]), written=written)
            case "refusal":
                live.withdraw()
                return End(Outcome.REFUSED, " ".join([sentences.REFUSED, *notes]))
            case _:
                said = notes if written else [NOTHING, *notes]
                return End(Outcome.COMPLETE, " ".join(said) or None)

    def _is_new_start(self, live: LiveMessage) -> bool:
        question, bot_user_id = self._question, live.workspace.identity.bot_user_id
        return (
            question.surface == "direct"
            and not question.files
            and not question.attachments
            and is_new_start(question.text, bot_user_id)
        )

    def _has_words(self, live: LiveMessage) -> bool:
        bot_user_id = live.workspace.identity.bot_user_id
        return bool(plain_text(self._question.text, bot_user_id, str) or _cards(self._question))

    def _hint(self) -> str:
        """What to say to a message that asks nothing."""
        return sentences.HINT_DIRECT if self._question.surface == "direct" else sentences.HINT


def _cards(question: Question) -> tuple[Card, ...]:
    """What was shared with `question`, as Claude reads it."""
    return cards_of({"attachments": list(question.attachments)})
