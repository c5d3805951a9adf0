"""When Slack's answer was lost: what really stands in the thread.

Texts never compare equal, since Slack translates Markdown when it stores it; so every post and
edit carries its turn, part and revision, and those are compared.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from bot import logs
from bot.errors import RateLimited, SlackError
from bot.live_message.part import Part
from bot.pacing import Pacer
from bot.slack import Mark, SlackMessage, Workspace

log = logging.getLogger(__name__)

LOOK_AFTER_S: Final = (0.3, 1.0, 3.0, 8.0, 20.0)
"""A call that got no answer may still take effect, so one look is not enough."""
CLEAN_LOOKS: Final = 3
"""So many looks that found nothing are enough where nobody waits for the reply any more."""
SLOT_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Found:
    """A message of the bot that stands in Slack."""

    ts: str
    mark: Mark | None
    """None while it is a stream, since only the stop gives it one."""


class Lookup:
    """Reads the messages of one turn back from Slack, within the budget for reads."""

    def __init__(
        self,
        workspace: Workspace,
        pacer: Pacer,
        key: str,
        channel: str,
        thread_ts: str | None,
        asked_ts: str,
    ) -> None:
        self._workspace = workspace
        self._pacer = pacer
        self._key = key
        self._channel = channel
        self._thread_ts = thread_ts
        self._asked_ts = asked_ts

    async def look(self) -> list[Found] | None:
        """The turn's messages; None if they could not be read."""
        found = await self._own()
        if found is None:
            return None
        return [one for one in found if one.mark is not None and self._is_ours(one.mark)]

    def _is_ours(self, mark: Mark) -> bool:
        return mark.turn == self._key

    async def find_stream(self, known: Collection[str]) -> str | None:
        """The ts of a stream, of none that is `known`, after a start without an answer; None if
        there seems to be none."""
        for wait_s in LOOK_AFTER_S[:3]:
            await self._pacer.clock.sleep(wait_s)
            found = [one.ts for one in await self._own() or () if one.mark is None]
            if unknown := [ts for ts in found if ts not in known]:
                return max(unknown)  # an older one was left by another reply
        return None

    async def _own(self) -> list[Found] | None:
        """The bot's messages after the question; None if they could not be read."""
        team = self._workspace.identity.team
        found: list[Found] = []
        try:
            async for message in self._workspace.since(
                self._channel,
                self._thread_ts,
                self._asked_ts,
                slot=lambda: self._pacer.read(team, SLOT_TIMEOUT_S),
            ):
                mark, ts = self._workspace.mark_of(message), str(message.get("ts"))
                if mark is not None or self._may_be_a_stream(message, ts):
                    found.append(Found(ts, mark))
        except RateLimited as error:
            self._pacer.pause_reads(team, error.retry_after_s)
            return None
        except SlackError as error:
            logs.warning(log, "lookup_failed", code=error.code)
            return None
        return found

    def _may_be_a_stream(self, message: SlackMessage, ts: str) -> bool:
        """Replies of one thread come one after the other, so what we have begun there after the
        question, and not marked, can only be this reply's."""
        in_thread = self._thread_ts is not None and ts > self._asked_ts
        return in_thread and self._workspace.may_be_a_stream(message)

    async def find(self, number: int) -> tuple[bool, str | None]:
        """The ts of part `number` after a post without an answer; and whether Slack was read at
        all, since "could not look" is not "not there"."""
        looked = False
        for wait_s in LOOK_AFTER_S[:3]:
            await self._pacer.clock.sleep(wait_s)
            found = await self.look()
            looked = looked or found is not None
            for one in found or ():
                if one.mark is not None and one.mark.part == number:
                    return True, one.ts
        return looked, None

    async def find_strays(self, parts: Collection[Part]) -> set[str]:
        """Messages of a reply to which nothing more is written that are none of its `parts`, after
        a start whose answer was lost and that was not found when it was looked for."""
        clean = 0
        for wait_s in LOOK_AFTER_S:
            await self._pacer.clock.sleep(wait_s)
            doubts = await self.settle_doubts(parts, stray_stream=True)
            if doubts is None:
                continue
            clean += 1
            if doubts[0] or clean == CLEAN_LOOKS:
                return doubts[0]
        return set()

    async def settle_doubts(
        self, parts: Iterable[Part], *, stray_stream: bool = False
    ) -> tuple[set[str], list[Part]] | None:
        """What a late call has done to a settled reply: messages that are twins of a part (with
        `stray_stream`, streams too), and parts that show an older revision; None if Slack could
        not be read."""
        own = await self._own()
        if own is None:
            return None
        found = [
            one for one in own if (stray_stream if one.mark is None else self._is_ours(one.mark))
        ]
        ours = {part.ts: part for part in parts}
        twins = {one.ts for one in found if one.ts not in ours}
        written = {part.ts: part for part in parts if part.written}
        stale = [
            written[one.ts]
            for one in found
            if one.mark is not None and one.ts in written and one.mark.rev < written[one.ts].rev
        ]
        return twins, stale
