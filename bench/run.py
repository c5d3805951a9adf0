"""One case with one bot: its own Slack, its own process, then the figures."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from bench import replies
from bench.cases import AT_ONCE, BOUND_SUSTAINED, PER_MINUTE, TOKENS, Case, Mode
from bench.measure import (
    Question,
    ReplyFigures,
    as_json,
    bound_at_once,
    busiest_minutes,
    by_method,
    is_whole,
    mean,
    quantile,
    refused,
    reply_figures,
)
from bench.process import BotProcess, Usage, running
from bench.room import Lag, Room
from bench.scripted import TOKENS_PER_SECOND, Claude, StreamRecord
from bot.clock import SystemClock
from bot.playground.slack import Message, SlackEmulator
from bot.playground.world import EMPTY, PASSED_ON
from bot.store.sqlite import SqliteStore

ROOT: Final = Path(__file__).resolve().parents[1]
LATENCY_S: Final = 0.12
CHANNELS: Final = 10
USERS: Final = 5
LOST_S: Final = 15.0
"""Beyond the time that the streams take: a bot that has not asked Claude by then never will."""
GRACE_S: Final = 1.0
TICK_S: Final = 0.25


@dataclass
class Means:
    """What all cases share."""

    claude: Claude
    room: Room
    lag: Lag
    patience_s: Callable[[Case], float]
    """How long after the last stream's end a reply may become whole."""
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Scene:
    """A case under way."""

    name: str
    case: Case
    slack: SlackEmulator
    bot: BotProcess
    claude: Claude
    users: list[str]
    channels: list[str]
    questions: list[Question] = field(default_factory=list)
    streams_ended_at: float = 0.0

    async def ask(self) -> None:
        """Ask all questions, each in its time."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for number, (at, tokens) in enumerate(
            zip(self.case.arrivals, self.case.tokens, strict=True)
        ):
            if (wait_s := began_at + at - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            channel = self.channels[number % len(self.channels)]
            words = replies.question(self.name, number, tokens, self.case.text(number))
            asked_at = loop.time()
            ts = await self.slack.say(
                self.users[number % len(self.users)], channel, f"<@U0BOT> {words}"
            )
            self.questions.append(Question(number, channel, ts, asked_at))

    async def until_streams_end(self) -> None:
        """Until Claude has said everything, or clearly never will."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + max(self.case.tokens) / TOKENS_PER_SECOND * 1.5 + LOST_S
        while loop.time() < limit and not self.bot.has_ended:
            if await self.claude.ended(self.name) >= len(self.questions):
                break
            await asyncio.sleep(TICK_S)
        self.streams_ended_at = loop.time()

    async def until_whole(self, patience_s: float) -> None:
        """Until every reply is shown whole, or patience is over; then a moment more."""
        loop = asyncio.get_running_loop()
        records = await self.claude.records(self.name)
        waiting = {one.number: one for one in self.questions}
        while waiting and loop.time() < self.streams_ended_at + patience_s:
            for number, one in list(waiting.items()):
                record = records.get(number)
                if record is not None and is_whole(self.replies(one), record.text):
                    del waiting[number]
            await asyncio.sleep(TICK_S)
        await asyncio.sleep(GRACE_S)

    def replies(self, question: Question) -> list[Message]:
        """The bot's messages in the question's thread."""
        found = self.slack.messages(question.channel, thread_ts=question.ts)
        return [message for message in found if message.bot_id and not message.deleted]

    def figures(self, records: Mapping[int, StreamRecord]) -> list[ReplyFigures]:
        """Every reply as its reader saw it."""
        until = asyncio.get_running_loop().time()
        return [
            reply_figures(one, records.get(one.number), self.slack, until) for one in self.questions
        ]


async def run(case: Case, mode: Mode, means: Means) -> dict[str, Any]:
    """Run a case, as soon as there is room for it: its figures, for the table and JSON."""
    await means.room.take(case.weight)
    in_room = True
    try:
        async with scene_of(case, mode, means) as scene:
            before, began_at = scene.bot.usage(), asyncio.get_running_loop().time()
            await scene.ask()
            await scene.until_streams_end()
            in_room = False
            await means.room.leave(case.weight)
            await scene.until_whole(means.patience_s(case))
            lag_s = means.lag.p99_s(began_at, scene.streams_ended_at)
            records = await means.claude.records(scene.name)
            return _result(scene, mode, records, before) | {"bench_lag_p99_s": lag_s}
    except (RuntimeError, TimeoutError, OSError, EOFError) as error:
        return {"case": case.name, "mode": mode.name, "error": str(error)}
    finally:
        if in_room:
            await means.room.leave(case.weight)


@asynccontextmanager
async def scene_of(case: Case, mode: Mode, means: Means) -> AsyncIterator[Scene]:
    """A Slack and a bot of its own for one case; both end with the block."""
    name = f"{case.name}-{mode.name}".replace(" ", "-").replace(",", "")
    manifest = yaml.safe_load((ROOT / "manifest.yml").read_text())
    slack = SlackEmulator(
        latency_s=LATENCY_S,
        scopes=frozenset(manifest["oauth_config"]["scopes"]["bot"]),
        subscriptions=mode.events
        or frozenset(manifest["settings"]["event_subscriptions"]["bot_events"]),
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        async with slack:
            users = [slack.add_user(f"Person {number}") for number in range(USERS)]
            channels = [
                slack.add_channel(f"c{number}", members=users) for number in range(CHANNELS)
            ]
            env = environment(slack, means.claude.base_url, directory) | dict(mode.env)
            await _has_been_up(env["DATA_DIR"])
            process = running(mode.command, env, Path(directory))
            async with means.starting:
                bot = await process.__aenter__()
            try:
                slack.events_url = bot.events_url
                yield Scene(name, case, slack, bot, means.claude, users, channels)
            finally:
                await process.__aexit__(None, None, None)


async def _has_been_up(data_dir: str) -> None:
    """Leave the memory of a bot that has run before, and spent nothing in the last minute: a new
    one could not know, and would reckon with half of the limits. A ledger that is there but names
    no budget remembers that nothing was spent, whatever the budgets will be called."""
    await (await SqliteStore.open(data_dir, SystemClock())).close()


def environment(slack: SlackEmulator, claude_url: str, directory: str) -> dict[str, str]:
    """What a bot reads at its start; nothing of the caller's own workspace."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return (
        {name: "" for name in EMPTY}
        | passed_on
        | {
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1",
            "SLACK_BOT_TOKEN": slack.settings.bot_token,
            "SLACK_SIGNING_SECRET": slack.settings.signing_secret,
            "SLACK_API_URL": slack.api_url,
            "ANTHROPIC_API_KEY": "sk-ant-scripted",
            "ANTHROPIC_BASE_URL": claude_url,
            "DATA_DIR": f"{directory}/data",
        }
    )


def _result(
    scene: Scene, mode: Mode, records: Mapping[int, StreamRecord], before: Usage
) -> dict[str, Any]:
    if scene.bot.has_ended:
        raise RuntimeError(f"the bot has ended:\n{scene.bot.output[-2000:]}")
    after, found = scene.bot.usage(), scene.figures(records)
    total = max(1, len(found))
    calls = scene.slack.calls
    taken = [one.took_s for one in scene.slack.deliveries if one.type == "app_mention"]
    warnings = [line for line in scene.bot.output.splitlines() if is_warning(line)]
    return {
        "case": scene.case.name,
        "kind": scene.case.kind,
        "size": scene.case.size,
        "mode": mode.name,
        "replies": len(found),
        "whole": sum(one.whole for one in found),
        "age_s": mean(one.age_s for one in found),
        "age_bound_s": bound(scene.case),
        "silent_max_s": max((one.silent_s for one in found), default=0.0),
        **quantiles("sign", [one.sign_s for one in found]),
        **quantiles("request", [one.request_s for one in found]),
        **quantiles("first_words", [one.first_words_s for one in found]),
        **quantiles("final", [one.final_s for one in found]),
        **quantiles("ack", taken),
        "calls": by_method(calls),
        "refused": refused(calls),
        "refused_by": by_method(call for call in calls if call.status == 429),
        "failed_by": by_method(call for call in calls if call.error and call.status != 429),
        "busiest_minute": busiest_minutes(calls),
        "streams_not_stopped": sum(one.end != "stopped" for one in scene.slack.streams),
        "cpu_s": (after.cpu_s - before.cpu_s) / total,
        "rss_idle_mb": before.rss_mb,
        "rss_peak_mb": after.peak_mb,
        "stream_stretch": stretch(records.values(), TOKENS_PER_SECOND),
        "warnings": len(warnings),
        "warnings_first": warnings[:3],
        "per_reply": [as_json(one) for one in found],
    }


def is_warning(line: str) -> bool:
    return " WARNING " in line or " ERROR " in line or line.startswith(("WARNING", "ERROR"))


def quantiles(name: str, values: list[float | None] | list[float]) -> dict[str, float | None]:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {f"{name}_{key}_s": quantile(values, share) for key, share in shares.items()}


def stretch(records: Iterable[StreamRecord], tokens_per_second: float) -> float | None:
    """How much longer than planned Claude's streams took: more than a few % is a busy machine."""
    ratios = [
        (one.times[-1] - one.times[0]) * tokens_per_second * 4 / max(1, len(one.text))
        for one in records
        if one.finished and one.times
    ]
    return quantile(ratios, 1.0)


def bound(case: Case) -> float | None:
    """The least mean age that any policy of edits could reach."""
    if case.kind == AT_ONCE:
        return bound_at_once(case.size, TOKENS / TOKENS_PER_SECOND, LATENCY_S / 2)
    return BOUND_SUSTAINED.get(case.size) if case.kind == PER_MINUTE else None
