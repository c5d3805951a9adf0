"""Which files, and what else, came with a question whose event did not say.

An `app_mention` carries no files, but it has a twin among the `message` events that does; whichever
comes first is answered, the other one a moment later. So the twin is waited for a little, which
costs nothing. Only if it does not come (a bot that is not in the channel, another process that got
it) is the message read, once; in a thread it is read anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

from bot import logs
from bot.conversation import attachments_of
from bot.errors import RateLimited, SlackError
from bot.files import files_of
from bot.pacing import Pacer
from bot.slack import SlackFile, Workspace
from bot.turn import Question

log = logging.getLogger(__name__)

TWIN_TIMEOUT_S: Final = 0.4
SLOT_TIMEOUT_S: Final = 0.5


class Attached:
    """The files of one question, as soon as they are known."""

    def __init__(self, pacer: Pacer, files: tuple[SlackFile, ...] | None) -> None:
        self._pacer = pacer
        self._files = files
        self.shared: tuple[dict[str, Any], ...] = ()
        """What was shared with the question, as far as its own event did not say."""
        self._told = asyncio.Event()

    def tell(self, files: tuple[SlackFile, ...], shared: tuple[dict[str, Any], ...]) -> None:
        """The twin of the question's event says which."""
        if self._files is None:
            self._files, self.shared = files, shared
            self._told.set()

    async def find(self, workspace: Workspace, question: Question) -> tuple[SlackFile, ...] | None:
        """The files; None if they are not to be known, at least not before the thread is read."""
        if self._files is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TWIN_TIMEOUT_S):
                    await self._told.wait()
        if self._files is None and question.thread_ts in (None, question.ts):
            self._files = await self._read(workspace, question)
        return self._files

    async def _read(self, workspace: Workspace, question: Question) -> tuple[SlackFile, ...] | None:
        found: tuple[SlackFile, ...] | None = None
        try:
            async for message in workspace.since(
                question.channel,
                question.reply_thread_ts,
                question.ts,
                latest=question.ts,
                slot=lambda: self._pacer.read(question.team, SLOT_TIMEOUT_S),
            ):
                if message.get("ts") == question.ts:
                    found, self.shared = files_of(message), attachments_of(message)
        except SlackError as error:
            if isinstance(error, RateLimited):
                self._pacer.pause_reads(question.team, error.retry_after_s)
            logs.warning(log, "question_files_unknown", code=error.code)
        return found
