"""Slack's own status line in a thread, for as long as no message says what is going on."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bot import logs
from bot.errors import Doubtful, RateLimited, SlackError, Transient
from bot.live_message.writing import race
from bot.pacing import Pacer
from bot.slack import Workspace

log = logging.getLogger(__name__)

LAPSES_S: Final = 90.0
"""Slack takes the line away after two minutes: docs.slack.dev/reference/methods/
assistant.threads.setStatus."""
SPACING_S: Final = 5.0
"""Between two statuses of one reply; 200 of them share 600 calls a minute."""
SOON_S: Final = 0.3
SOON: Final = 3
"""The first few are what a person waits for."""
AGAIN_S: Final = 3.0
FAILURES: Final = 3


class StatusLine:
    """Of one reply. `show` says what it should be, `keep` shows it until `finish`."""

    def __init__(self, workspace: Workspace, pacer: Pacer, channel: str, thread_ts: str) -> None:
        self._workspace = workspace
        self._pacer = pacer
        self._channel = channel
        self._thread_ts = thread_ts
        self._status = ""
        self._shown = ""
        self._shown_at = 0.0
        self._in_doubt = False
        """An answer was lost: the line may show something else than `_shown`."""
        self._sent = 0
        self._failures = 0
        self._is_finished = False
        self._changed = asyncio.Event()

    def show(self, status: str) -> None:
        """What the line should say; "" for nothing."""
        if status != self._status:
            self._status = status
            self._changed.set()

    def was_cleared(self) -> None:
        """We have posted in the thread: Slack has taken the line away."""
        self._status = self._shown = ""
        self._in_doubt = False

    async def keep(self) -> bool:
        """Show what is to be shown, and again before it lapses, until `finish`; False if Slack
        shows none here."""
        while not self._is_finished:
            self._changed.clear()
            wait_s = self._wait_s()
            if wait_s is None:
                await self._changed.wait()
            elif wait_s > 0:
                await race(self._changed.wait(), self._pacer.clock.sleep(wait_s))
            elif not await self._set():
                if self._failures >= FAILURES:
                    return False
                await race(self._changed.wait(), self._pacer.clock.sleep(AGAIN_S))
        return True

    def finish(self) -> None:
        """Show nothing more: `keep` ends after the call that is under way."""
        self._is_finished = True
        self._changed.set()

    async def clear(self) -> None:
        """Take the line away, if it is still there and that can be done now."""
        self._status = ""
        if self._shown or self._in_doubt:
            await self._set()

    def _is_clear(self) -> bool:
        """Whether nothing is shown for sure, and nothing is to be."""
        return self._status == self._shown == "" and not self._in_doubt

    def _wait_s(self) -> float | None:
        """Seconds until the line is to be set; None while it need not be."""
        if self._is_clear():
            return None
        if self._in_doubt or "" in (self._status, self._shown):
            return 0.0
        spacing_s = SOON_S if self._sent < SOON else SPACING_S
        until_s = LAPSES_S if self._status == self._shown else min(spacing_s, LAPSES_S)
        return until_s - (self._pacer.clock.now() - self._shown_at)

    async def _set(self) -> bool:
        """Whether Slack shows the status; where no call is free it is tried again soon."""
        team = self._workspace.identity.team
        if not await self._pacer.status_line(team):
            return False
        status = self._status
        if self._is_clear():
            return True  # a message says it meanwhile
        try:
            await self._workspace.set_status(self._channel, self._thread_ts, status)
        except RateLimited as error:
            self._pacer.pause_status_lines(team, error.retry_after_s)
            return False
        except SlackError as error:
            self._in_doubt = self._in_doubt or isinstance(error, Doubtful)
            passes = isinstance(error, Doubtful | Transient)
            self._failures = self._failures + 1 if passes else FAILURES
            logs.warning(log, "status_line_failed", code=error.code)
            return False
        self._sent += 1
        self._in_doubt = False
        self._shown, self._shown_at, self._failures = status, self._pacer.clock.now(), 0
        return True
