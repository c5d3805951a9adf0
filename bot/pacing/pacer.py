"""All budgets of the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Literal, Self

from bot.clock import Clock
from bot.config import Delivery
from bot.pacing.budget import Budget
from bot.pacing.edits import EditLine, Seat
from bot.pacing.exchange import Exchange
from bot.pacing.forecast import Forecast
from bot.pacing.line import Queue
from bot.pacing.sharing import Sharing
from bot.pacing.streams import Streams, StreamSeat
from bot.pacing.ways import Coming, Way, Ways
from bot.store.ledger import Ledger

MINUTE_S: Final = 60.5
POST_SPACING_S: Final = 1.05
"""Slack counts when a call arrives, we when it leaves: a little more than its minute and second."""
READS_PER_MINUTE: Final = 50
"""conversations.replies and .history are Tier 3."""
READS_ASIDE_PER_MINUTE: Final = 15
"""Of these, for what can wait."""
NAMES_PER_MINUTE: Final = 90
"""users.info is Tier 4 (100)."""
FILES_PER_MINUTE: Final = 90
"""files.info is Tier 4 too."""
CHANNEL_NAMES_PER_MINUTE: Final = 40
"""conversations.info is Tier 3 (50)."""
DELETES_PER_MINUTE: Final = 50
STARTS_PER_MINUTE: Final = 20
STOPS_PER_MINUTE: Final = 20
APPENDS_PER_MINUTE: Final = 100
"""chat.startStream and stopStream are Tier 2, appendStream Tier 4."""
STATUSES_PER_MINUTE: Final = 580
"""assistant.threads.setStatus has a tier of its own: 600."""
POSTS_PER_MINUTE: Final = 240
"""In a workspace: "several hundred", docs.slack.dev/apis/web-api/rate-limits."""
CHANNELS: Final = 1_000
"""More than so many post queues are kept only while they are in use."""


class Pacer:
    """One budget for each method and workspace, and for posts one more for each channel.

    With a ledger, use it as `async with`: what was spent before is recalled, and the tasks that
    speak to the ledger end with the block. None of the methods raises StoreUnavailable.
    """

    def __init__(
        self,
        clock: Clock,
        edits_per_minute: int,
        ledger: Ledger | None = None,
        *,
        delivery: Delivery = "edit",
    ) -> None:
        self.clock = clock
        self.delivery = delivery
        self._sharing = Sharing(clock, ledger)
        self._exchange = Exchange(clock, self._sharing)
        self._edits_per_minute = edits_per_minute
        self._ways: dict[str, Ways] = {}
        self._queues: dict[tuple[str, str], Queue] = {}
        self._posts: dict[tuple[str, str], Queue] = {}
        self._workspace_posts: dict[str, Budget] = {}

    async def __aenter__(self) -> Self:
        await self.recall()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def recall(self) -> None:
        """Learn from the ledger what was spent before the process began. Without its memory every
        budget of a minute begins half spent."""
        await self._sharing.recall()

    async def close(self) -> None:
        """End what is under way with the ledger."""
        await self._sharing.close()

    # --- replies ------------------------------------------------------------------------------

    @asynccontextmanager
    async def seat(self, team: str) -> AsyncIterator[Seat]:
        """A live reply's place, from its first sign of life until it is settled. Where it may yet
        go another way than by edits, it owns no slot of theirs before it steps up."""
        ways = self._of(team)
        seat = ways.edits.seat(owns_final=self.delivery == "edit")
        ways.forecast.arrived()
        try:
            await self._exchange.begin(team, ways)
            yield seat
        finally:
            seat.leave()

    def live(self, team: str) -> int:
        """How many replies of the workspace are not settled yet."""
        return self._of(team).live()

    def edits_are_short(self, team: str) -> bool:
        """Whether a reply that begins now could not be edited every half second: it is worth no
        placeholder, and the call that creates its message carries its first words."""
        return self._of(team).edits_are_short()

    def choose(
        self, seat: Seat, team: str, channel: str, *, may_stream: bool
    ) -> tuple[Way, StreamSeat | None]:
        """The way of a reply in a thread that has text to show now, and no message yet; and the
        stream that is kept for it, if it is to be streamed."""
        post_wait_s = self.post_wait_s(team, channel)
        return self._of(team).choose(seat, channel, post_wait_s=post_wait_s, may_stream=may_stream)

    def another_stream(self, team: str) -> StreamSeat | None:
        """A stream for a reply that goes on in another message; None if none can be started."""
        streams = self._of(team).streams
        return streams.reserve(self.clock.now()) if streams.may_start() else None

    def edit_wait_s(self, team: str) -> float:
        """Seconds until a final edit that asked now would go."""
        return self._of(team).edits.final_wait_s()

    def next_edit_wait_s(self, team: str) -> float:
        """Seconds until the next edit of anybody can go."""
        return self._of(team).edits.budget.wait_s()

    def pause_edits(self, team: str, seconds: float) -> None:
        """Edit nothing for `seconds`, then more slowly for a while."""
        self._sharing.pause(self._of(team).edits.budget, seconds)

    def _of(self, team: str) -> Ways:
        if team not in self._ways:
            forecast = Forecast(self.clock)
            coming = Coming(self.delivery, forecast, lambda: self._exchange.others(team))
            edits = EditLine(
                f"edits:{team}",
                self._budget(f"{team}:edits", self._edits_per_minute, MINUTE_S),
                self.clock,
                self._sharing,
                forecast,
                lambda: [other.edits for other in self._exchange.others(team)],
                coming.edited_per_s,
            )
            appends = EditLine(
                f"appends:{team}",
                self._budget(f"{team}:appends", APPENDS_PER_MINUTE, MINUTE_S),
                self.clock,
                self._sharing,
                forecast,
                lambda: [other.appends for other in self._exchange.others(team)],
                coming.streamed_per_s,
                keeps_finals=False,
            )
            streams = Streams(
                self.clock,
                self._queue("starts", team, STARTS_PER_MINUTE),
                self._queue("stops", team, STOPS_PER_MINUTE),
                appends,
                lambda: sum(other.appends.owned for other in self._exchange.others(team)),
            )
            self._ways[team] = Ways(self.delivery, forecast, edits, streams)
        return self._ways[team]

    # --- streams ------------------------------------------------------------------------------

    async def stop_stream(self, team: str) -> None:
        """Wait for a call that stops a stream which an earlier run has left open."""
        await self._of(team).streams.stops.take()

    def no_streams(self, team: str) -> None:
        """Slack knows no streams in this workspace: start none for an hour."""
        self._of(team).streams.refused()

    def pause_stream(
        self, team: str, calls: Literal["starts", "appends", "stops"], seconds: float
    ) -> None:
        """Make no such calls for `seconds`, then fewer for a while."""
        streams = self._of(team).streams
        budgets = {
            "starts": streams.starts.first_budget,
            "appends": streams.appends.budget,
            "stops": streams.stops.first_budget,
        }
        self._sharing.pause(budgets[calls], seconds)

    # --- status lines -------------------------------------------------------------------------

    async def status_line(self, team: str) -> bool:
        """Take a call that sets a status line, if one is free now."""
        return await self._queue("statuses", team, STATUSES_PER_MINUTE).take_now()

    def pause_status_lines(self, team: str, seconds: float) -> None:
        """Set no status line for `seconds`, then fewer for a while."""
        self._pause(self._queue("statuses", team, STATUSES_PER_MINUTE), seconds)

    # --- posts --------------------------------------------------------------------------------

    def post_wait_s(self, team: str, channel: str) -> float:
        """Seconds until a message that asked now would be posted in `channel`."""
        return self._post_queue(team, channel).wait_s()

    def book_post(self, team: str, channel: str) -> bool:
        """Take the channel's next post if it is free now and nobody waits for it; to be confirmed
        before it is sent."""
        return self._post_queue(team, channel).book()

    async def confirm_post(self, team: str, channel: str) -> bool:
        """Whether the post that was booked may be sent. If not, another process was first: the
        booking is undone, and `post` waits for the next one."""
        return await self._post_queue(team, channel).confirm()

    async def post(self, team: str, channel: str, *, is_final: bool = False) -> None:
        """Wait for the channel's next post: one a second (special tier of chat.postMessage). One
        that ends a reply goes ahead of those that begin one."""
        await self._post_queue(team, channel).take(is_final=is_final)

    def posting(self, team: str, channel: str) -> None:
        """The post that was taken is sent now."""
        self._sharing.put_off(self._post_queue(team, channel).first_budget)

    def posted(self, team: str, channel: str, took_s: float) -> None:
        """Its answer has come: it arrived at Slack in between, and the next one must arrive a
        second after it, however the network delays it."""
        ago_s = max(0.0, min(took_s / 2, POST_SPACING_S - 1.0))
        self._sharing.put_off(self._post_queue(team, channel).first_budget, ago_s)

    async def delete(self, team: str) -> None:
        """Wait for a deletion of a message: chat.delete is Tier 3."""
        await self._queue("deletes", team, DELETES_PER_MINUTE).take()

    def pause_deletes(self, team: str, seconds: float) -> None:
        """Delete nothing for `seconds`, then more slowly for a while."""
        self._pause(self._queue("deletes", team, DELETES_PER_MINUTE), seconds)

    def pause_posts(self, team: str, channel: str | None, seconds: float) -> None:
        """Post nothing for `seconds` in `channel`, or (None) in the workspace."""
        if channel is None:
            self._sharing.pause(self._workspace_post_budget(team), seconds)
        else:
            self._pause(self._post_queue(team, channel), seconds)

    def _post_queue(self, team: str, channel: str) -> Queue:
        key = (team, channel)
        if key not in self._posts:
            if len(self._posts) >= CHANNELS:
                self._posts = {at: queue for at, queue in self._posts.items() if not queue.idle()}
            own = self._budget(f"{team}:posts:{channel}", 1, POST_SPACING_S)
            budgets = [own, self._workspace_post_budget(team)]
            self._posts[key] = self._line(f"posts:{team}:{channel}", budgets)
        return self._posts[key]

    def _workspace_post_budget(self, team: str) -> Budget:
        if team not in self._workspace_posts:
            self._workspace_posts[team] = self._budget(f"{team}:posts", POSTS_PER_MINUTE, MINUTE_S)
        return self._workspace_posts[team]

    # --- reads --------------------------------------------------------------------------------

    async def read(self, team: str, timeout_s: float) -> bool:
        """Wait for a read of a thread or channel; False if there is none within `timeout_s`."""
        return await self._queue("reads", team, READS_PER_MINUTE).take(timeout_s)

    def reads_free(self, team: str) -> int:
        """How many reads could be made now."""
        return self._queue("reads", team, READS_PER_MINUTE).first_budget.free()

    async def read_aside(self, team: str, timeout_s: float) -> bool:
        """As `read`, for what can wait: so few that questions find reads left."""
        key = ("reads_aside", team)
        if key not in self._queues:
            own = self._budget(f"{team}:reads_aside", READS_ASIDE_PER_MINUTE, MINUTE_S)
            all_reads = self._queue("reads", team, READS_PER_MINUTE).first_budget
            self._queues[key] = self._line(f"reads_aside:{team}", [own, all_reads])
        return await self._queues[key].take(timeout_s)

    def pause_reads(self, team: str, seconds: float) -> None:
        """Read no thread or channel for `seconds`, then more slowly for a while."""
        self._pause(self._queue("reads", team, READS_PER_MINUTE), seconds)

    async def look_up(self, team: str) -> bool:
        """Take a look-up of a person if one is free now."""
        return await self._queue("names", team, NAMES_PER_MINUTE).take_now()

    def pause_look_ups(self, team: str, seconds: float) -> None:
        """Look nobody up for `seconds`, then more slowly for a while."""
        self._pause(self._queue("names", team, NAMES_PER_MINUTE), seconds)

    async def look_up_channel(self, team: str) -> bool:
        """Take a look-up of a channel if one is free now."""
        return await self._queue("channels", team, CHANNEL_NAMES_PER_MINUTE).take_now()

    def pause_channel_look_ups(self, team: str, seconds: float) -> None:
        """Look no channel up for `seconds`, then more slowly for a while."""
        self._pause(self._queue("channels", team, CHANNEL_NAMES_PER_MINUTE), seconds)

    async def look_up_file(self, team: str) -> bool:
        """Take a look-up of a file's description if one is free now."""
        return await self._queue("files", team, FILES_PER_MINUTE).take_now()

    def pause_file_look_ups(self, team: str, seconds: float) -> None:
        """Look no file up for `seconds`, then more slowly for a while."""
        self._pause(self._queue("files", team, FILES_PER_MINUTE), seconds)

    def _queue(self, calls: str, team: str, per_minute: int) -> Queue:
        key = (calls, team)
        if key not in self._queues:
            budget = self._budget(f"{team}:{calls}", per_minute, MINUTE_S)
            self._queues[key] = self._line(f"{calls}:{team}", [budget])
        return self._queues[key]

    def _budget(self, name: str, limit: int, window_s: float) -> Budget:
        return self._sharing.mirrors.add(name, limit, window_s)

    def _line(self, name: str, budgets: list[Budget]) -> Queue:
        return Queue(name, budgets, self.clock, self._sharing)

    def _pause(self, queue: Queue, seconds: float) -> None:
        self._sharing.pause(queue.first_budget, seconds)
