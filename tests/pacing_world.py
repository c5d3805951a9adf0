"""Replies that grow on a fake clock, paced by the real `Pacer` and judged as Slack judges.

Nothing of Slack or Claude is here but time: a reply's text arrives evenly between its first and
its last moment, a call is counted by the judge half its latency after it was sent and is visible
after the whole. The ways of a reply are those of `bot/live_message`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.config import Delivery
from bot.live_message import POST_SOON_S
from bot.live_message.writing import race
from bot.pacing import Pacer, Seat, StreamSeat, Way
from bot.pacing.pacer import APPENDS_PER_MINUTE, STARTS_PER_MINUTE, STOPS_PER_MINUTE
from tests.fake_clock import FakeClock

TEAM = "T1"
FIRST_TEXT_S = 0.5
"""From the question to Claude's first text."""
TIMER_S = 1.0


class Judge:
    """Slack's count of one method: at most `limit` calls in any 60 s. A refused one does not
    count."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counted: deque[float] = deque()
        self.refused = 0

    def refusal_s(self, now: float) -> int | None:
        """The Retry-After of a call that is over the limit; None if it is not."""
        while self._counted and self._counted[0] <= now - 60.0:
            self._counted.popleft()
        if len(self._counted) < self._limit:
            self._counted.append(now)
            return None
        self.refused += 1
        return max(1, math.ceil(self._counted[0] + 60.0 - now))


@dataclass
class Shown:
    """What has become of one reply, in seconds."""

    began_at: float
    ended_at: float
    sends: int = 0
    steps: list[tuple[float, float]] = field(default_factory=list)
    """(visible at, text until then shown)."""

    @property
    def first_s(self) -> float:
        """From Claude's first text to the first words in sight."""
        return self.steps[0][0] - self.began_at

    @property
    def lag_s(self) -> float:
        """From Claude's end to the whole text in sight."""
        return self.steps[-1][0] - self.ended_at

    def age(self) -> tuple[float, float]:
        """Integral of the age of the oldest unshown text, and the time it was taken over."""
        total, at, until = 0.0, self.began_at, self.began_at
        for visible_at, shown in self.steps:
            total += ((visible_at - until) ** 2 - (at - until) ** 2) / 2
            at, until = visible_at, shown
        return total, at - self.began_at


class World:
    """One workspace."""

    def __init__(
        self,
        seed: int,
        *,
        limit: int = 50,
        tells_text: bool = True,
        delivery: Delivery = "edit",
        channels: int = 1_000,
    ) -> None:
        self.clock = FakeClock()
        self.pacer = Pacer(self.clock, limit, delivery=delivery)
        self.judge = Judge(limit)
        self.judges = {
            "start": Judge(STARTS_PER_MINUTE),
            "append": Judge(APPENDS_PER_MINUTE),
            "stop": Judge(STOPS_PER_MINUTE),
        }
        self.ways: Counter[Way] = Counter()
        self._channels = channels
        self.shown: list[Shown] = []
        self._random = random.Random(seed)
        self._tells_text = tells_text

    async def run(self, replies: Iterable[tuple[float, float]], *, by_timer: bool = False) -> None:
        """Let replies be asked for and written, `(at, for how long)`, until all are whole."""
        live = self._timed if by_timer else self._paced

        async def reply(number: int, at: float, length_s: float) -> None:
            await self.clock.sleep(at)
            await live(f"C{number % self._channels}", length_s)

        tasks = [
            asyncio.create_task(reply(number, at, length_s))
            for number, (at, length_s) in enumerate(replies)
        ]
        while not all(task.done() for task in tasks):
            await self.clock.advance(5.0)
        await asyncio.gather(*tasks)

    @property
    def refused(self) -> int:
        """Calls that were over a limit."""
        return sum(judge.refused for judge in (self.judge, *self.judges.values()))

    async def _paced(self, channel: str, length_s: float) -> None:
        async with self.pacer.seat(TEAM) as seat:
            begins_at = self.clock.now() + FIRST_TEXT_S
            way, stream = None, None
            words_on_post = self.pacer.edits_are_short(TEAM)
            if not words_on_post and self.pacer.post_wait_s(TEAM, channel) <= POST_SOON_S:
                way = Way.EDIT
                seat.step_up()
                await self.pacer.post(TEAM, channel)
                await self._latency()
            await self.clock.sleep(begins_at - self.clock.now())
            if self._tells_text:
                seat.text_began()
            shown = self._begin(length_s)
            ending = asyncio.Event()
            end = asyncio.create_task(self._end(shown, ending))
            if way is None:
                way, stream = self.pacer.choose(seat, TEAM, channel, may_stream=True)
            self.ways[way] += 1
            match way:
                case Way.STREAM:
                    assert stream is not None
                    await self._streamed(stream, shown, ending)
                    seat.text_ended()
                case Way.POST:
                    await ending.wait()
                    seat.text_ended()
                    await self.pacer.post(TEAM, channel, is_final=True)
                    await self._show(shown)
                case Way.EDIT:
                    seat.step_up()
                    if words_on_post:
                        if not await race(self.pacer.post(TEAM, channel), ending.wait()):
                            await self.pacer.post(TEAM, channel, is_final=True)
                        await self._show(shown)
                    await self._edited(seat, shown, ending)
            await end

    async def _edited(self, seat: Seat, shown: Shown, ending: asyncio.Event) -> None:
        while not ending.is_set():
            due = seat.interim() if shown.steps else seat.first()
            if await race(due, ending.wait()) and (pause_s := await self._edit(shown)) is not None:
                self.pacer.pause_edits(TEAM, pause_s)
        await seat.final()
        while (pause_s := await self._edit(shown)) is not None:
            self.pacer.pause_edits(TEAM, pause_s)
            await seat.final()

    async def _streamed(self, stream: StreamSeat, shown: Shown, ending: asyncio.Event) -> None:
        assert await stream.start()
        await self._call("start", shown)
        while not ending.is_set():
            if await race(stream.append(), ending.wait()):
                await self._call("append", shown)
        await stream.stop()
        await self._call("stop", shown)
        stream.close()

    async def _timed(self, channel: str, length_s: float) -> None:
        """What tutorials do: an edit a second, each waiting out what a 429 tells it."""
        await self.clock.sleep(FIRST_TEXT_S)
        shown = self._begin(length_s)
        while not shown.steps or shown.steps[-1][1] < shown.ended_at:
            pause_s = await self._edit(shown)
            left_s = shown.ended_at - self.clock.now()
            await self.clock.sleep(pause_s or min(TIMER_S, left_s))

    def _begin(self, length_s: float) -> Shown:
        now = self.clock.now()
        shown = Shown(now, now + length_s)
        self.shown.append(shown)
        return shown

    async def _end(self, shown: Shown, ending: asyncio.Event) -> None:
        await self.clock.sleep(shown.ended_at - self.clock.now())
        ending.set()

    async def _edit(self, shown: Shown) -> float | None:
        return await self._judged(self.judge, shown)

    async def _call(self, method: str, shown: Shown) -> None:
        """A call of a stream's, which the budgets must keep from being refused."""
        await self._judged(self.judges[method], shown)

    async def _judged(self, judge: Judge, shown: Shown) -> float | None:
        """Show the newest text; if Slack refuses, for how long."""
        until = min(self.clock.now(), shown.ended_at)
        latency_s = self._latency_s()
        await self.clock.sleep(latency_s / 2)
        pause_s = judge.refusal_s(self.clock.now())
        await self.clock.sleep(latency_s / 2)
        if pause_s is None:
            shown.sends += 1
            shown.steps.append((self.clock.now(), until))
        return pause_s

    async def _show(self, shown: Shown) -> None:
        until = min(self.clock.now(), shown.ended_at)
        await self._latency()
        shown.steps.append((self.clock.now(), until))

    async def _latency(self) -> None:
        await self.clock.sleep(self._latency_s())

    def _latency_s(self) -> float:
        return max(0.03, self._random.gauss(0.12, 0.04))
