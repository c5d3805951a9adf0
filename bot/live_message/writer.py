"""Brings Slack to what the draft says: one call at a time, always the newest text, the final one
last."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Final, Protocol

from bot import logs
from bot.errors import (
    AuthFailed,
    BlocksRefused,
    ChannelClosed,
    Doubtful,
    MessageGone,
    MetadataRefused,
    NotEditable,
    RateLimited,
    SlackError,
    TooLong,
    Transient,
)
from bot.live_message.doubt import LOOK_AFTER_S
from bot.live_message.edits import Edits
from bot.live_message.part import Part
from bot.live_message.posts import Posts
from bot.live_message.streams import Streams
from bot.live_message.writing import Delivery, Writing, race
from bot.pacing import Way

log = logging.getLogger(__name__)

TRY_AGAIN_S: Final = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
"""Waits between tries of a call that Slack did not take; together a little over two minutes."""
INTERIM_TRY_AGAIN_S: Final = 2.5
UNKNOWN_ERRORS: Final = 3
"""Interim edits that fail in an unknown way are left out; so many in a row end the edits."""


class Lease(Protocol):
    """That the reply is this process's to write."""

    @property
    def in_doubt(self) -> bool:
        """Whether another process may have taken the turn up."""

    async def sure(self) -> None:
        """Wait until it is ours for sure; whoever lost it is stopped instead."""

    async def last_word(self) -> None:
        """The same for the end of a reply, but not for long."""


class Writer:
    """Sends what the draft says, until it is settled and nothing differs."""

    def __init__(self, writing: Writing, lease: Lease) -> None:
        self._writing = writing
        self._draft = writing.draft
        self._lease = lease
        edits = Edits(writing)
        self._deliveries: dict[Way, Delivery] = {
            Way.EDIT: edits,
            Way.STREAM: Streams(writing, edits),
            Way.POST: Posts(writing),
        }
        self.way = Way.EDIT
        """In which the reply goes on."""
        self._wake = asyncio.Event()
        self._removing = False
        self._removed = asyncio.Event()
        self._failures = 0
        self._unknown = 0

    def wake(self) -> None:
        """The draft has changed."""
        self._wake.set()

    def end(self, *, removing: bool = False) -> None:
        """The draft is settled; or the reply is to be removed, so write nothing more."""
        self._removing = removing
        self._writing.ending.set()
        if removing:
            self._removed.set()
        self._wake.set()

    async def run(self) -> None:
        """Write until the end. Raises the SlackError that made it impossible."""
        while (part := await self._next()) is not None:
            await self._deliver(part)
        if not self._removing and self._is_in_doubt():
            await self._settle_doubts()

    async def _next(self) -> Part | None:
        """The first message that does not show what it should; None when there is none to come."""
        while not self._removing:
            self._wake.clear()
            self._draft.plan()
            for part in self._draft.parts:
                if self._deliveries[self.way].is_due(part):
                    return self._draft.ahead_of(part)
            if self._draft.settled and self._writing.ending.is_set():
                return None
            await self._wait_for_change()
        return None

    async def _wait_for_change(self) -> None:
        """Until something arrives, or it is time for something that waits."""
        delivery = self._deliveries[self.way]
        waits_s = [delivery.wait_s(part) for part in self._draft.parts]
        wait_s = min((wait_s for wait_s in waits_s if wait_s > 0), default=math.inf)
        if wait_s < math.inf:
            await race(self._wake.wait(), self._writing.clock.sleep(wait_s))
        else:
            await self._wake.wait()

    async def _deliver(self, part: Part) -> None:
        """Make one call for `part`, or treat its failure so that the next one can succeed."""
        if not await self._is_ours():
            return
        try:
            await self._deliveries[self.way].deliver(part)
            self._failures = self._unknown = 0
        except (Doubtful, Transient) as error:
            self._writing.doubt(part, error)
            await self._try_again(error)
        except (MessageGone, ChannelClosed, AuthFailed, RateLimited):
            raise
        except SlackError as error:
            self._adapt(part, error)

    async def _is_ours(self) -> bool:
        """Wait until the reply is known to be ours to write; False if it ended before."""
        if not self._lease.in_doubt:
            return True
        if self._writing.ending.is_set():
            await self._lease.last_word()
            return True
        return await race(self._lease.sure(), self._writing.ending.wait())

    # --- when a call fails --------------------------------------------------------------------

    async def _try_again(self, error: SlackError) -> None:
        logs.warning(log, "slack_retry", method=error.method, code=error.code)
        if self._failures == len(TRY_AGAIN_S):
            raise error
        wait_s = TRY_AGAIN_S[self._failures]
        self._failures += 1
        clock = self._writing.clock
        if self._draft.settled:
            await race(clock.sleep(wait_s), self._removed.wait())
        else:
            wait_s = min(wait_s, INTERIM_TRY_AGAIN_S)
            await race(clock.sleep(wait_s), self._writing.ending.wait())

    def _adapt(self, part: Part, error: SlackError) -> None:
        """Change how the part is sent, so that the next call can succeed; or give up."""
        logs.warning(log, "slack_adapts", method=error.method, code=error.code, part=part.number)
        draft = self._draft
        match error:
            case TooLong():
                adapted = draft.halve(part) or draft.plainer(part)
            case NotEditable():
                adapted = draft.post_anew(part)
            case BlocksRefused():
                adapted = draft.plainer(part)
            case MetadataRefused():
                adapted = draft.unmarked(part)
            case _:
                adapted = self._skip(part) or draft.plainer(part)
        if not (adapted or draft.post_anew(part)):
            raise error

    def _skip(self, part: Part) -> bool:
        """Leave out an interim edit that failed in a way that we do not know. The last one of a
        message has none after it that would show the same, so it is tried again."""
        self._unknown += 1
        if self._draft.settled or part.ts is None or self._unknown > UNKNOWN_ERRORS:
            return False
        if not self._draft.is_complete(part):
            part.sent = self._draft.content(part)
        return True

    def _is_in_doubt(self) -> bool:
        return self._draft.stray_stream or any(part.in_doubt for part in self._draft.parts)

    async def _settle_doubts(self) -> None:
        """See that no late call has left a twin, or an older text over the last one."""
        stray = self._draft.stray_stream
        late = stray or any(part.late_call for part in self._draft.parts)
        for wait_s in LOOK_AFTER_S if late else LOOK_AFTER_S[:1]:
            await self._writing.clock.sleep(wait_s)
            doubts = await self._writing.lookup.settle_doubts(self._draft.parts, stray_stream=stray)
            if doubts is None:
                continue
            twins, stale = doubts
            self._draft.unwanted |= twins
            for part in stale:
                logs.warning(log, "final_was_overwritten", part=part.number)
                part.sent = None
            while (part_due := await self._next()) is not None:
                await self._deliver(part_due)
