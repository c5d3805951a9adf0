"""A message that is edited while the reply grows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final

from bot import logs, metrics
from bot.errors import Doubtful, RateLimited, StreamClosed, StreamOpen
from bot.live_message.part import Part
from bot.live_message.writing import Writing, race

log = logging.getLogger(__name__)

FINAL_WAIT_S: Final = 5.0
"""If the last edit, or stop, would come later than this, the reply is posted anew instead."""
FIRST_WAIT_S: Final = 0.3
"""Likewise the first words, where nothing but the placeholder stands there yet."""
LOOK_S: Final = 0.1
LOOK_AGAIN_S: Final = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
"""Waits between looks for a post whose answer was lost."""
STOPS: Final = 3
"""Of a stream that an earlier run left open: so often it is tried before its message is left."""


class Edits:
    """One post, then edits of it; the last one takes a slot that was kept for it."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._stops = 0

    def is_due(self, part: Part) -> bool:
        writing, draft = self._writing, self._writing.draft
        by_text, by_status = draft.differs(part)
        if draft.settled:
            return by_text or by_status
        if part.ts is None and writing.post_waits_for_text and not part.text.strip():
            return False
        return by_text or (by_status and writing.status_wait_s() <= 0)

    def wait_s(self, part: Part) -> float:
        return self._writing.status_wait_s() if self._writing.draft.status else math.inf

    async def deliver(self, part: Part) -> None:
        try:
            await (self._post(part) if part.ts is None else self._edit(part))
        except RateLimited as error:
            self._writing.rate_limited(error)
            self._pause(part, error)
        except StreamOpen:
            self._stops += 1
            if self._stops > STOPS:
                raise
            await self._stop_stream(part)
        else:
            self._stops = 0

    async def _edit(self, part: Part) -> None:
        writing = self._writing
        assert part.ts is not None
        if self._edit_is_late(part) and writing.draft.post_early(part):
            logs.event(log, "posted_anew", part=part.number)
            return
        if part.left_open:
            return await self._stop_stream(part)
        if not await self._slot(part) or part not in writing.draft.parts:
            return  # it ended meanwhile (take the final slot instead), or was withdrawn
        content = writing.draft.newest(part)
        text, built = writing.draft.payload(part, content)
        writing.report.edits += 1
        metrics.EDITS.inc()
        await writing.workspace.update(
            writing.channel, part.ts, text=text, blocks=built, mark=writing.mark(part, content)
        )
        writing.sent(part, content)

    async def _slot(self, part: Part) -> bool:
        """Wait for the part's turn to be edited; False if the reply ended before it came, or if
        its end is better posted anew."""
        writing = self._writing
        if writing.draft.settled:
            if await race(writing.seat.final(), self._until_too_late()):
                return True
            if writing.draft.post_early(part):
                logs.event(log, "posted_anew", part=part.number)
                return False
            await writing.seat.final()
            return True
        first = self._are_first_words(part)
        due = writing.seat.first() if first else writing.seat.interim()
        return await race(due, writing.ending.wait())

    async def _until_too_late(self) -> None:
        """Return when the last edit would come late: after a while, or as soon as that is clear,
        since others may have asked for the same slots in the same moment."""
        pacer, team = self._writing.pacer, self._writing.team
        await pacer.clock.sleep(LOOK_S)
        if pacer.next_edit_wait_s(team) < FINAL_WAIT_S:
            await pacer.clock.sleep(FINAL_WAIT_S - LOOK_S)

    def _edit_is_late(self, part: Part) -> bool:
        """Whether a post would show the text so much earlier that it is worth a new message."""
        writing = self._writing
        if writing.draft.settled:
            return writing.pacer.edit_wait_s(writing.team) > FINAL_WAIT_S
        return self._are_first_words(part) and writing.seat.first_wait_s() > FIRST_WAIT_S

    def _are_first_words(self, part: Part) -> bool:
        return part.number == 0 and part.shown == 0 and bool(part.text.strip())

    async def _post(self, part: Part) -> None:
        writing = self._writing
        if not await self._may_post(part) or part not in writing.draft.parts:
            return
        content = writing.draft.newest(part)
        text, built = writing.draft.payload(part, content)
        writing.report.posts += 1
        writing.pacer.posting(writing.team, writing.channel)
        sent_at = writing.clock.now()
        try:
            ts = await writing.workspace.post(
                writing.channel,
                text=text,
                blocks=built,
                mark=writing.mark(part, content),
                thread_ts=writing.thread_ts,
            )
        except Doubtful as error:
            ts = await self._posted_after_all(part, error)
        finally:
            took_s = writing.clock.now() - sent_at
            writing.pacer.posted(writing.team, writing.channel, took_s)
        await writing.appeared(part, ts, content)

    async def _may_post(self, part: Part) -> bool:
        """Wait for the channel's next post; False if the reply ended before it came."""
        writing = self._writing
        if writing.post_is_booked:
            writing.post_is_booked = False
            if await writing.pacer.confirm_post(writing.team, writing.channel):
                return True
            if part.number == 0:
                writing.on_first_post_late()
        is_final = writing.ending.is_set()
        due = writing.pacer.post(writing.team, writing.channel, is_final=is_final)
        if is_final:
            await due
            return True
        return await race(due, writing.ending.wait())

    async def _posted_after_all(self, part: Part, error: Doubtful) -> str:
        """The ts of a post whose answer was lost. Raises `error` when it is not there, and looks
        for longer rather than risk a second one when Slack cannot be read."""
        writing = self._writing
        writing.doubt(part, error)
        logs.warning(log, "post_in_doubt", code=error.code, part=part.number)
        for wait_s in LOOK_AGAIN_S:
            looked, ts = await writing.lookup.find(part.number)
            if ts is not None:
                return ts
            if looked:
                raise error
            await writing.clock.sleep(wait_s)
        raise error

    def _pause(self, part: Part, error: RateLimited) -> None:
        writing = self._writing
        if error.method == "chat.stopStream":
            writing.pacer.pause_stream(writing.team, "stops", error.retry_after_s)
            return
        if part.ts is not None:
            writing.pacer.pause_edits(writing.team, error.retry_after_s)
            return
        # "rate_limited": too many messages in this channel; "ratelimited": of the method.
        channel = writing.channel if error.code == "rate_limited" else None
        writing.pacer.pause_posts(writing.team, channel, error.retry_after_s)
        if part.number == 0:
            writing.on_first_post_late()

    async def may_stop(self, part: Part, due: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Wait for a call that stops the part's stream, as `due` says; False if the reply ended
        before it came, or if its end is better posted anew."""
        writing = self._writing
        if not writing.draft.settled:
            return await race(due(), writing.ending.wait())
        if await race(due(), writing.clock.sleep(FINAL_WAIT_S)):
            return True
        if not writing.draft.post_early(part):
            await due()
            return True
        logs.event(log, "posted_anew", part=part.number)
        return False

    async def _stop_stream(self, part: Part) -> None:
        """An earlier run has left the message as an open stream: it cannot be edited yet."""
        writing = self._writing
        assert part.ts is not None
        logs.event(log, "stream_left_open", part=part.number)
        if not await self.may_stop(part, lambda: writing.pacer.stop_stream(writing.team)):
            return
        try:
            await writing.workspace.stop_stream(writing.channel, part.ts)
        except StreamClosed:
            pass
        except RateLimited as error:
            writing.rate_limited(error)
            return self._pause(part, error)
        part.left_open = False
