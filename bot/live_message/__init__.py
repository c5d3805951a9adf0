"""One reply that grows: first sign of life → paced edits → the final full text.

What the reply should look like is state (`Draft`); one task (`Writer`) compares it with what it
sent last and sends the difference, one call at a time, so that an older edit can never land on a
newer one. How it sends it is a `Delivery`: edits of a message, Slack's native stream, or one post
at the end (`Edits`, `Streams`, `Posts`); what is not clear is looked up in Slack (`Lookup`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Final, Self

from bot import logs
from bot.blocks import Button
from bot.errors import SlackError
from bot.live_message.clearing import clear_away, stop_streams
from bot.live_message.doubt import Lookup
from bot.live_message.draft import NOTHING, THINKING, Draft
from bot.live_message.part import Earlier, Leftovers
from bot.live_message.status_line import StatusLine
from bot.live_message.writer import Lease, Writer
from bot.live_message.writing import Report, Writing
from bot.pacing import Pacer, Seat, Way
from bot.slack import Workspace
from bot.turn import Question

log = logging.getLogger(__name__)

POST_SOON_S: Final = 0.3
PLACEHOLDER_AFTER_S: Final = 0.8
CHOOSE_AGAIN_S: Final = 5.0
"""A reply that is to be posted whole looks so often whether it can be shown after all."""
WRITING: Final = "Writing…"
FILE_NAME: Final = "reply.md"
LEAVE_S: Final = 20.0
"""How long a call under way may take before the reply is left to another run: a post that is left
behind would show up as a second message."""
DROP_S: Final = 60.0
"""How long it may take to tidy up after a reply that cannot go on."""


class LiveMessage:
    """The growing reply to one question. Use as `async with`; `settle` or `remove` ends it.

    `note_message(part, ts)` is awaited after each post; no call is made while `lease` is in doubt;
    `on_broken` is called when nothing more can be shown (the reply deleted, the channel closed, the
    token revoked, Slack away for minutes). `button` stands under the last message while it grows by
    edits.
    Leaving the block without an end cancels the writer and sends nothing more.
    """

    def __init__(
        self,
        workspace: Workspace,
        pacer: Pacer,
        seat: Seat,
        question: Question,
        *,
        note_message: Callable[[int, str], Awaitable[None]],
        on_broken: Callable[[SlackError], None],
        lease: Lease,
        max_messages: int,
        earlier: Mapping[int, Earlier] | None = None,
        leftovers: Leftovers | None = None,
        button: Button | None = None,
    ) -> None:
        key = str(question.key)
        self.workspace = workspace
        self._pacer = pacer
        self._seat = seat
        self._channel = question.channel
        self._thread_ts = question.reply_thread_ts
        self._on_broken = on_broken
        self._draft = Draft(earlier or {}, max_messages, button)
        if leftovers is not None:
            self._draft.unwanted |= leftovers.messages
            self._draft.stray_stream = leftovers.stray_stream
        self._shared = Writing(
            draft=self._draft,
            workspace=workspace,
            pacer=pacer,
            seat=seat,
            lookup=Lookup(workspace, pacer, key, self._channel, self._thread_ts, question.ts),
            question=question,
            note_message=note_message,
            on_first_post_late=self._say_in_status_line,
            on_appeared=self._appeared,
            on_unwanted=self._clear_soon,
            choose_again=self._leave_streams,
        )
        self._writer = Writer(self._shared, lease)
        self._status_line: StatusLine | None = None
        if self._thread_ts is not None:
            self._status_line = StatusLine(workspace, pacer, self._channel, self._thread_ts)
        self._may_stream = _may_stream(question)
        self._name = f"live:{key}"
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._clearing = asyncio.Lock()
        self._cleared: set[str] = set()

    @property
    def report(self) -> Report:
        return self._shared.report

    async def __aenter__(self) -> Self:
        """Give the first sign of life and start to write; returns at once."""
        team = self.workspace.identity.team
        if self._draft.parts[0].ts is not None:
            self._go(Way.EDIT)
        elif not self._posts_are_late(team):
            self._go(Way.EDIT)
            self._shared.post_is_booked = self._pacer.book_post(team, self._channel)
        else:
            self._shared.post_waits_for_text = True
            if self._thread_ts is not None:
                self._say_in_status_line()
            else:
                self._go(Way.EDIT)
                self._spawn(self._post_placeholder_after_all())
        self._writing = self._spawn(self._write())
        if self._draft.unwanted:
            self._clear_soon()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        self._shared.close_streams()
        # Their failures are known by now: `on_broken`, the log.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, delta: str) -> None:
        """More of Claude's text."""
        self._draft.add(delta)
        self._seat.text_began()
        if self._shared.report.way is None:
            self._choose()
        if self._status_line is not None and self._is_begun:
            self._status_line.show("")
        self._writer.wake()

    def wait_in_line(self, status: str) -> None:
        """The reply cannot begin yet, and says why; `begin` ends the wait."""
        self._seat.stand_back()
        self.status(status)

    def begin(self, status: str = THINKING) -> None:
        """The reply's turn has come."""
        if self._shared.report.way is Way.EDIT or self._pacer.delivery == "edit":
            self._seat.step_up()
        self.status(status)

    def status(self, text: str) -> None:
        """Say what is going on; shown with the next edit, or alone, but then not within 15 s of
        the last time."""
        if text == self._draft.status:
            return
        self._draft.status = text
        self._writer.wake()
        is_told = self._keeping is not None and not self._is_begun
        if is_told or self._shared.report.way is Way.STREAM:
            self._say_in_status_line()

    def restart(self) -> None:
        """The reply begins again; what was shown stays until the new text is longer."""
        self._draft.restart()
        self._writer.wake()

    def withdraw(self) -> None:
        """Take back everything that was shown. Settle with a reason that says why."""
        self._draft.withdraw()

    async def settle(
        self, reason: str | None = None, *, complete: bool = True, button: Button | None = None
    ) -> None:
        """Show the whole text, with `reason` (why it is not complete) as a small line under it, and
        under that `button`.

        Where there is no text the reason is the message. Returns when Slack has everything; raises
        the SlackError that made it impossible, MessageGone if somebody deleted the reply.
        """
        self._seat.text_ended()
        self._draft.settle(reason, complete=complete, button=button)
        self._writer.end()
        try:
            await self._written()
            text = self._draft.whole_text()
            if text is not None and not await self._attach(text):
                self._draft.lift_the_limit()
                self._writing = self._spawn(self._write())
                await self._written()
        except SlackError:
            await self._clear(set(self._draft.unwanted))  # the rest may be all that is to be seen
            raise
        finally:
            await self._end_status_line()
        await self._clear(self._draft.leftovers())

    async def _written(self) -> None:
        assert self._writing is not None
        await asyncio.shield(self._writing)

    async def leave(self) -> Mapping[int, Earlier]:
        """Write nothing more, and leave the messages to another run. A call under way is waited
        for, since it could land on what that run writes."""
        await self._end_writing(LEAVE_S)
        return self.messages()

    def messages(self) -> Mapping[int, Earlier]:
        """The reply's messages and what they show."""
        return self._draft.as_earlier()

    def leftovers(self) -> Leftovers:
        """What it leaves beside its messages, to be taken away by another run."""
        return self._draft.beside_earlier()

    async def drop(self) -> None:
        """Write nothing more, since the reply cannot go on: somebody deleted a part of it. What
        else there is of it stays as it is, but no stream stays open, and nothing that was to go."""
        await self._end_writing()
        try:
            async with asyncio.timeout(DROP_S):
                await self._stop_streams()
                await self._clear(set(self._draft.unwanted))
                await self._clear_strays()
        except TimeoutError:
            logs.warning(log, "reply_untidied")

    async def remove(self) -> None:
        """Delete the whole reply: its question is gone. A call under way is waited for, since it
        could leave a message behind."""
        await self._end_writing()
        await self._clear(self._draft.abandon())
        await self._clear_strays()

    def owns(self, ts: str) -> bool:
        """Whether message `ts` is one of this reply's."""
        return any(part.ts == ts for part in self._draft.parts)

    async def _end_writing(self, timeout_s: float | None = None) -> None:
        """Write nothing more; a call under way is waited for."""
        assert self._writing is not None
        self._writer.end(removing=True)
        await asyncio.wait([self._writing], timeout=timeout_s)
        await self._end_status_line()

    async def _write(self) -> None:
        try:
            await self._writer.run()
        except SlackError as error:
            self._on_broken(error)
            raise

    @property
    def _is_begun(self) -> bool:
        """Whether a message of the reply stands in Slack."""
        return self._draft.parts[0].ts is not None

    # --- the way ------------------------------------------------------------------------------

    def _choose(self) -> None:
        """There is text, and no message yet: see how it is shown best."""
        team = self.workspace.identity.team
        way, self._shared.kept_stream = self._pacer.choose(
            self._seat, team, self._channel, may_stream=self._may_stream
        )
        self._go(way)
        if way is Way.POST and self._status_line is not None:
            self._draft.status = WRITING
            self._say_in_status_line()
            self._spawn(self._choose_again())

    async def _choose_again(self) -> None:
        """The budgets may allow more in a while."""
        await self._pacer.clock.sleep(CHOOSE_AGAIN_S)
        if self._shared.report.way is Way.POST and not self._draft.settled:
            self._choose()
            self._writer.wake()

    def _leave_streams(self) -> None:
        """The reply cannot be streamed (any more)."""
        self._may_stream = False
        if self._is_begun:
            self._go(Way.EDIT)
        elif self._shared.report.way is Way.STREAM:
            self._choose()
        self._writer.wake()

    def _go(self, way: Way) -> None:
        self._shared.report.way = self._writer.way = way
        self._draft.streamed = way is Way.STREAM
        if way is Way.EDIT:
            self._seat.posts_in = None
            self._seat.step_up()
        else:
            self._seat.stand_back()

    # --- signs of life ------------------------------------------------------------------------

    def _posts_are_late(self, team: str) -> bool:
        """Whether a placeholder would come late, or would cost an edit that others need."""
        wait_s = self._pacer.post_wait_s(team, self._channel)
        return wait_s > POST_SOON_S or self._pacer.edits_are_short(team)

    async def _post_placeholder_after_all(self) -> None:
        """A flat direct message has no status line; but a placeholder that its first words cannot
        follow as an edit costs a second message, so these get a moment to come first."""
        await self._pacer.clock.sleep(PLACEHOLDER_AFTER_S)
        self._post_placeholder()

    def _post_placeholder(self) -> None:
        self._shared.post_waits_for_text = False
        self._writer.wake()

    def _say_in_status_line(self) -> None:
        """Show the status in Slack's own line in the thread, where no message can show it."""
        if self._status_line is None or self._draft.settled:
            return
        self._status_line.show(self._draft.status or THINKING)
        if self._keeping is None:
            self._keeping = self._spawn(self._keep_status_line(self._status_line))

    async def _keep_status_line(self, line: StatusLine) -> None:
        if await line.keep() or self._is_begun or self._shared.report.way is Way.STREAM:
            return
        self._go(Way.EDIT)
        self._post_placeholder()

    async def _end_status_line(self) -> None:
        """A status that was set late, or that no post has cleared, does not stay."""
        if self._status_line is not None and self._keeping is not None:
            self._status_line.finish()
            await asyncio.wait([self._keeping])
            await self._status_line.clear()

    def _appeared(self) -> None:
        """A message of ours has cleared the status line."""
        if self._status_line is not None:
            self._status_line.was_cleared()

    async def _attach(self, text: str) -> bool:
        """Attach the whole reply as a file; False where Slack does not take it."""
        try:
            await self.workspace.attach(self._channel, self._thread_ts, FILE_NAME, text)
        except SlackError as error:
            logs.warning(log, "file_not_attached", method=error.method, code=error.code)
            return False
        return True

    async def _stop_streams(self) -> None:
        """Nothing more is streamed; a stream gets its mark when it is stopped."""
        draft, shared = self._draft, self._shared
        left_open = {
            part.ts: shared.mark(part, draft.newest(part))
            for part in draft.parts
            if part.is_stream and part.ts is not None
        }
        await stop_streams(self.workspace, self._pacer, self._channel, left_open)

    def _clear_soon(self) -> None:
        """Beside the writer: a deletion may need several tries, and edits do not wait for it."""
        self._spawn(self._clear(set(self._draft.unwanted)))

    async def _clear_strays(self) -> None:
        """Take away a stream that was begun, perhaps, and not found."""
        if self._draft.stray_stream:
            await self._clear(await self._shared.lookup.find_strays(self._draft.parts))

    async def _clear(self, messages: set[str]) -> None:
        """Take `messages` away; those that are just being taken away are waited for."""
        async with self._clearing:
            gone = await clear_away(
                self.workspace, self._pacer, self._channel, messages - self._cleared
            )
            self._cleared |= gone
            self._draft.unwanted -= self._cleared

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=self._name)
        self._tasks.add(task)
        return task


def _may_stream(question: Question) -> bool:
    """Slack wants to know for whom a stream is, and of which team: of strangers that is not known
    for sure (github.com/openclaw/openclaw/issues/70295), and a workflow asks for nobody."""
    is_stranger = question.is_shared or question.user_team is not None
    return question.reply_thread_ts is not None and bool(question.user) and not is_stranger


__all__ = [
    "NOTHING",
    "THINKING",
    "Earlier",
    "Lease",
    "Leftovers",
    "LiveMessage",
    "Report",
    "clear_away",
]
