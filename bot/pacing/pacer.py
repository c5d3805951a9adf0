"""All budgets of the process."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from bot.clock import Clock
from bot.pacing.budget import Budget
from bot.pacing.edits import EDIT_SPACING_S, EditLine, Seat
from bot.pacing.line import Queue

MINUTE_S: Final = 60.5
POST_SPACING_S: Final = 1.05
"""Slack counts when a call arrives, we when it leaves: a little more than its minute and second."""
READS_PER_MINUTE: Final = 50
"""conversations.replies and .history are Tier 3."""
NAMES_PER_MINUTE: Final = 90
"""users.info is Tier 4 (100)."""
DELETES_PER_MINUTE: Final = 50
POSTS_PER_MINUTE: Final = 240
"""In a workspace: "several hundred", docs.slack.dev/apis/web-api/rate-limits."""
CHANNELS: Final = 1_000
"""More than so many post queues are kept only while they are in use."""


class Pacer:
    """One budget for each method and workspace, and for posts one more for each channel."""

    def __init__(self, clock: Clock, edits_per_minute: int) -> None:
        self.clock = clock
        self._edits_per_minute = edits_per_minute
        self._edits: dict[str, EditLine] = {}
        self._queues: dict[tuple[str, str], Queue] = {}
        self._posts: dict[tuple[str, str], Queue] = {}
        self._workspace_posts: dict[str, Budget] = {}

    # --- edits --------------------------------------------------------------------------------

    def seat(self, team: str) -> AbstractAsyncContextManager[Seat]:
        """A live reply's place, from its first sign of life until it is settled."""
        return self._edit_line(team).seat()

    def live(self, team: str) -> int:
        """How many replies of the workspace are not settled yet."""
        return self._edit_line(team).live()

    def edits_are_short(self, team: str) -> bool:
        """Live replies cannot all be edited every half second: let the post carry first words."""
        return self._edit_line(team).spacing_s() > EDIT_SPACING_S

    def edit_wait_s(self, team: str) -> float:
        """Seconds until a final edit that asked now would go."""
        return self._edit_line(team).final_wait_s()

    def pause_edits(self, team: str, seconds: float) -> None:
        """Edit nothing for `seconds`, then more slowly for a while."""
        self._edit_line(team).budget.pause(seconds)

    def _edit_line(self, team: str) -> EditLine:
        if team not in self._edits:
            budget = Budget(self._edits_per_minute, MINUTE_S, self.clock)
            self._edits[team] = EditLine(f"edits:{team}", budget, self.clock)
        return self._edits[team]

    # --- posts --------------------------------------------------------------------------------

    def post_wait_s(self, team: str, channel: str) -> float:
        """Seconds until a message that asked now would be posted in `channel`."""
        return self._post_queue(team, channel).wait_s()

    def book_post(self, team: str, channel: str) -> bool:
        """Take the channel's next post if it is free now and nobody waits for it."""
        return self._post_queue(team, channel).take_now()

    async def post(self, team: str, channel: str) -> None:
        """Wait for the channel's next post: one a second (special tier of chat.postMessage)."""
        await self._post_queue(team, channel).take()

    def posting(self, team: str, channel: str) -> None:
        """The post that was taken is sent now, or its answer has come: it arrived at Slack in
        between, and the next one must arrive a second after it, however the network delays it."""
        self._post_queue(team, channel).first_budget.sent_only_now()

    async def delete(self, team: str) -> None:
        """Wait for a deletion of a message: chat.delete is Tier 3."""
        await self._queue("deletes", team, DELETES_PER_MINUTE).take()

    def pause_deletes(self, team: str, seconds: float) -> None:
        """Delete nothing for `seconds`, then more slowly for a while."""
        self._queue("deletes", team, DELETES_PER_MINUTE).pause(seconds)

    def pause_posts(self, team: str, channel: str | None, seconds: float) -> None:
        """Post nothing for `seconds` in `channel`, or (None) in the workspace."""
        if channel is None:
            self._workspace_post_budget(team).pause(seconds)
        else:
            self._post_queue(team, channel).pause(seconds)

    def _post_queue(self, team: str, channel: str) -> Queue:
        key = (team, channel)
        if key not in self._posts:
            if len(self._posts) >= CHANNELS:
                self._posts = {at: queue for at, queue in self._posts.items() if not queue.idle()}
            own = Budget(1, POST_SPACING_S, self.clock)
            shared = self._workspace_post_budget(team)
            self._posts[key] = Queue(f"posts:{team}:{channel}", [own, shared], self.clock)
        return self._posts[key]

    def _workspace_post_budget(self, team: str) -> Budget:
        if team not in self._workspace_posts:
            self._workspace_posts[team] = Budget(POSTS_PER_MINUTE, MINUTE_S, self.clock)
        return self._workspace_posts[team]

    # --- reads --------------------------------------------------------------------------------

    async def read(self, team: str, timeout_s: float) -> bool:
        """Wait for a read of a thread or channel; False if there is none within `timeout_s`."""
        return await self._queue("reads", team, READS_PER_MINUTE).take(timeout_s)

    def pause_reads(self, team: str, seconds: float) -> None:
        """Read no thread or channel for `seconds`, then more slowly for a while."""
        self._queue("reads", team, READS_PER_MINUTE).pause(seconds)

    def look_up(self, team: str) -> bool:
        """Take a look-up of a person if one is free now."""
        return self._queue("names", team, NAMES_PER_MINUTE).take_now()

    def pause_look_ups(self, team: str, seconds: float) -> None:
        """Look nobody up for `seconds`, then more slowly for a while."""
        self._queue("names", team, NAMES_PER_MINUTE).pause(seconds)

    def _queue(self, calls: str, team: str, per_minute: int) -> Queue:
        key = (calls, team)
        if key not in self._queues:
            budget = Budget(per_minute, MINUTE_S, self.clock)
            self._queues[key] = Queue(f"{calls}:{team}", [budget], self.clock)
        return self._queues[key]
