"""One budget per method and workspace, shared by every live message.

    used  = calls sent in the last window (Slack counts per method, workspace and app)
    final : goes as soon as used < limit
    first : the first words; go while a slot is left besides one final per live reply and 4 more
    interim: as `first`, and its message's last edit is at least d ago, where
             d = max(0.5 s, n · 10 s / free): what is free is spread over the next ten seconds
    a 429 pauses the method in that workspace until a deadline, which nothing lifts

The limits are Slack's tiers: docs.slack.dev/apis/web-api/rate-limits.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bot.clock import Clock

EDIT_SPACING_S: Final = 0.5
HORIZON_S: Final = 10.0
NEWCOMER_SLOTS: Final = 4
READS_PER_MINUTE: Final = 50
NAMES_PER_MINUTE: Final = 90
MINUTE_S: Final = 60.5
POST_SPACING_S: Final = 1.05
"""Slack counts when a call arrives, we when it leaves: a little more than its minute and second."""
RECHECK_S: Final = 0.25
"""Waiters look again this often, since others' calls and ends move what they wait for."""


class Budget:
    """At most `limit` calls in any `window_s`, and none during a pause."""

    def __init__(self, limit: int, window_s: float, clock: Clock) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._sent: deque[float] = deque()
        self._paused_until = 0.0

    def free(self) -> int:
        """Calls that may be sent now."""
        now = self._clock.now()
        while self._sent and self._sent[0] <= now - self._window_s:
            self._sent.popleft()
        return 0 if now < self._paused_until else self._limit - len(self._sent)

    def wait_s(self) -> float:
        """Seconds until at least one call is free; 0 if one is."""
        if self.free() > 0:
            return 0.0
        now = self._clock.now()
        until_free = self._sent[0] + self._window_s - now if self._sent else 0.0
        if len(self._sent) < self._limit:
            until_free = 0.0
        return max(until_free, self._paused_until - now, 0.0)

    def spend(self) -> None:
        self._sent.append(self._clock.now())

    def pause(self, seconds: float) -> None:
        """Send nothing for `seconds`; a longer pause that is under way stays."""
        self._paused_until = max(self._paused_until, self._clock.now() + seconds)


@dataclass(slots=True)
class Seat:
    """The place of one live reply in its workspace's edit budget; it owns a slot for its final."""

    _pacer: Pacer
    _team: str
    _edits: Budget
    _last_edit: float | None = field(default=None)

    async def first(self) -> None:
        """Wait for a slot for the first words of the reply."""
        await self._wait(lambda: self._spare() >= 1)

    async def interim(self) -> None:
        """Wait until another edit of this reply is due."""
        await self._wait(lambda: self._spare() >= 1 and self._interim_wait_s() <= 0)

    async def final(self) -> None:
        """Wait for a slot ahead of everything that is not final."""
        await self._wait(lambda: self._edits.free() > 0)

    def _spare(self) -> int:
        """Slots left besides the finals of all live replies and what is kept for newcomers."""
        return self._edits.free() - self._pacer.live(self._team) - NEWCOMER_SLOTS

    def _interim_wait_s(self) -> float:
        if self._last_edit is None:
            return 0.0
        spread_s = self._pacer.live(self._team) * HORIZON_S / max(1, self._spare())
        due = self._last_edit + max(EDIT_SPACING_S, spread_s)
        return due - self._pacer.clock.now()

    async def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await self._pacer.clock.sleep(self._step_s())
        self._edits.spend()
        self._last_edit = self._pacer.clock.now()

    def _step_s(self) -> float:
        waits = [wait for wait in (self._edits.wait_s(), self._interim_wait_s()) if wait > 0]
        return min([*waits, RECHECK_S])


class Pacer:
    """All budgets of the process."""

    def __init__(self, clock: Clock, edits_per_minute: int) -> None:
        self.clock = clock
        self._edits_per_minute = edits_per_minute
        self._edits: dict[str, Budget] = {}
        self._reads: dict[str, Budget] = {}
        self._posts: dict[tuple[str, str], Budget] = {}
        self._post_pauses: dict[str, Budget] = {}
        self._names: dict[str, Budget] = {}
        self._live: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def seat(self, team: str) -> AsyncIterator[Seat]:
        """A live reply's place, from its first sign of life until it is settled."""
        self._live[team] += 1
        try:
            yield Seat(self, team, self._edit_budget(team))
        finally:
            self._live[team] -= 1

    def live(self, team: str) -> int:
        """How many replies of the workspace are not settled yet."""
        return self._live[team]

    def edits_are_short(self, team: str) -> bool:
        """Fewer than two interim edits are left per live reply."""
        live = self._live[team]
        return self._edit_budget(team).free() - live - NEWCOMER_SLOTS < 2 * live

    def post_wait_s(self, team: str, channel: str) -> float:
        """Seconds until a message may be posted in `channel`."""
        wait_s = self._post_budget(team, channel).wait_s()
        workspace = self._post_pauses.get(team)
        return max(wait_s, workspace.wait_s()) if workspace else wait_s

    def edit_wait_s(self, team: str) -> float:
        """Seconds until the workspace's next edit, ahead of all that is not final."""
        return self._edit_budget(team).wait_s()

    def book_post(self, team: str, channel: str) -> bool:
        """Take the channel's next post if it is free now."""
        if self.post_wait_s(team, channel) > 0:
            return False
        self._post_budget(team, channel).spend()
        return True

    async def post(self, team: str, channel: str) -> None:
        """Wait for the channel's next post: one a second (special tier of chat.postMessage)."""
        while not self.book_post(team, channel):
            await self.clock.sleep(self.post_wait_s(team, channel))
        self._forget_idle_channels()

    async def read(self, team: str, timeout_s: float) -> bool:
        """Wait for a read of a thread or channel; False if there is none within `timeout_s`."""
        if team not in self._reads:
            self._reads[team] = Budget(READS_PER_MINUTE, MINUTE_S, self.clock)
        budget = self._reads[team]
        deadline = self.clock.now() + timeout_s
        while (wait_s := budget.wait_s()) > 0:
            if self.clock.now() + wait_s > deadline:
                return False
            await self.clock.sleep(wait_s)
        budget.spend()
        return True

    def pause_edits(self, team: str, seconds: float) -> None:
        self._edit_budget(team).pause(seconds)

    def look_up(self, team: str) -> bool:
        """Take a look-up of a person if one is free now."""
        if team not in self._names:
            self._names[team] = Budget(NAMES_PER_MINUTE, MINUTE_S, self.clock)
        budget = self._names[team]
        if budget.free() <= 0:
            return False
        budget.spend()
        return True

    def pause_look_ups(self, team: str, seconds: float) -> None:
        if team in self._names:
            self._names[team].pause(seconds)

    def pause_posts(self, team: str, channel: str | None, seconds: float) -> None:
        """Post nothing for `seconds` in `channel`, or (None) in the workspace."""
        if channel is not None:
            self._post_budget(team, channel).pause(seconds)
            return
        if team not in self._post_pauses:
            self._post_pauses[team] = Budget(1, 0.0, self.clock)
        self._post_pauses[team].pause(seconds)

    def pause_reads(self, team: str, seconds: float) -> None:
        if team in self._reads:
            self._reads[team].pause(seconds)

    def _edit_budget(self, team: str) -> Budget:
        if team not in self._edits:
            self._edits[team] = Budget(self._edits_per_minute, MINUTE_S, self.clock)
        return self._edits[team]

    def _post_budget(self, team: str, channel: str) -> Budget:
        key = (team, channel)
        if key not in self._posts:
            self._posts[key] = Budget(1, POST_SPACING_S, self.clock)
        return self._posts[key]

    def _forget_idle_channels(self) -> None:
        if len(self._posts) > 1_000:
            self._posts = {key: b for key, b in self._posts.items() if b.wait_s() > 0}
