"""When Slack's answer was lost: what really stands in the thread.

Texts never compare equal, since Slack translates Markdown when it stores it; so every post and
edit carries its turn, part and revision, and those are compared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bot import logs
from bot.errors import RateLimited, SlackError
from bot.live_message.draft import Part
from bot.pacing import Pacer
from bot.slack import Mark, Workspace

log = logging.getLogger(__name__)

LOOK_AFTER_S: Final = (0.3, 1.0, 3.0, 8.0, 20.0)
"""A call that got no answer may still take effect, so one look is not enough."""
SLOT_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Found:
    """A message of the turn that stands in Slack."""

    ts: str
    mark: Mark


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
        team = self._workspace.identity.team
        found: list[Found] = []
        try:
            async for message in self._workspace.since(
                self._channel,
                self._thread_ts,
                self._asked_ts,
                slot=lambda: self._pacer.read(team, SLOT_TIMEOUT_S),
            ):
                mark = self._workspace.mark_of(message)
                if mark is not None and mark.turn == self._key:
                    found.append(Found(str(message["ts"]), mark))
        except RateLimited as error:
            self._pacer.pause_reads(team, error.retry_after_s)
            return None
        except SlackError as error:
            logs.warning(log, "lookup_failed", code=error.code)
            return None
        return found

    async def find(self, number: int) -> tuple[bool, str | None]:
        """The ts of part `number` after a post without an answer; and whether Slack was read at
        all, since "could not look" is not "not there"."""
        looked = False
        for wait_s in LOOK_AFTER_S[:3]:
            await self._pacer.clock.sleep(wait_s)
            found = await self.look()
            looked = looked or found is not None
            for one in found or ():
                if one.mark.part == number:
                    return True, one.ts
        return looked, None

    async def settle_doubts(self, parts: Iterable[Part]) -> tuple[set[str], list[Part]] | None:
        """What a late call has done to a settled reply: messages that are twins of a part, and
        parts that show an older revision; None if Slack could not be read."""
        found = await self.look()
        if found is None:
            return None
        ours = {part.ts: part for part in parts}
        twins = {one.ts for one in found if one.ts not in ours}
        written = {part.ts: part for part in parts if part.written}
        stale = [
            written[one.ts]
            for one in found
            if one.ts in written and one.mark.rev < written[one.ts].rev
        ]
        return twins, stale
