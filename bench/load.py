"""Whether the bot stands a crowd, on two cores: 200 replies at once and 50 events a second.

    .venv/bin/python -m bench.load          # both cases, under six minutes
    … --only crowd --redis redis://127.0.0.1:6379/0 --json load.json --log load.log

Slack is emulated with its real limits and 120 ms a call, Claude is scripted in a process of its
own, the bot is a third one. "crowd": 200 questions within five seconds, each answered for a minute,
while people talk and deliveries come twice. "line": 60 questions where 20 replies have room.
Acknowledgements are timed where Slack would: in the emulator, so its own lateness is in them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.bustle import EVENTS_PER_SECOND, Bustle
from bench.cases import BOT, Case, Mode
from bench.measure import Question, quantile, refused
from bench.room import Lag, Room
from bench.run import Means, Scene, is_warning, quantiles, scene_of, stretch
from bench.scripted import Claude, StreamRecord, claude
from bot.clock import SystemClock
from bot.playground.exchange import same_text
from bot.playground.slack import Message
from bot.store.redis import RedisStore

TOKENS_PER_SECOND: Final = 20.0
TICK_S: Final = 0.5
LOST_S: Final = 200.0
"""What Claude has not said by then, it never will."""
PATIENCE_S: Final = 240.0
"""How long after the last stream's end a reply may become whole."""
REDIS_PREFIX: Final = "claude-in-slack:T0EMULATOR:U0BOT:"
IN_LINE: Final = re.compile(r"number (\d+) in line")
MOST: Final = {"ack_p99_s": 1.0, "press_max_s": 1.0, "rss_idle_mb": 150.0, "rss_peak_mb": 300.0}


class Load(NamedTuple):
    """So many questions within so many seconds, where so many replies have room."""

    name: str
    size: int
    within_s: float
    tokens: int
    room: int

    @property
    def case(self) -> Case:
        arrivals = tuple(self.within_s * number / self.size for number in range(self.size))
        return Case(self.name, self.size, arrivals, (self.tokens,) * self.size)


LOADS: Final = (Load("crowd", 200, 5.0, 1_200, 200), Load("line", 60, 3.0, 400, 20))


def main(arguments: Sequence[str]) -> int:
    """Measure and tell; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--only", choices=[one.name for one in LOADS], help="one case")
    parser.add_argument("--redis", metavar="URL", help="the bot's memory there, not in SQLite")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures there")
    parser.add_argument("--log", type=Path, metavar="PATH", help="write there what the bots logged")
    chosen = parser.parse_args(arguments)
    loads = [one for one in LOADS if chosen.only in (None, one.name)]
    rows, logs = zip(*asyncio.run(_measured(loads, chosen.redis)), strict=True)
    missed = [f"MISSED {row['case']}: {what}" for row in rows for what in row["missed"]]
    print(_table(rows), "", *(missed or ["All targets are met."]), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n")
    if chosen.log:
        chosen.log.write_text("\n".join(logs))
    return 1 if missed else 0


async def _measured(loads: Iterable[Load], redis: str | None) -> list[tuple[dict[str, Any], str]]:
    async with claude(TOKENS_PER_SECOND) as scripted:
        return [await _run(load, scripted, redis) for load in loads]


async def _run(load: Load, scripted: Claude, redis: str | None) -> tuple[dict[str, Any], str]:
    """One case: its figures, and what the bot logged."""
    env = {"MAX_CONCURRENT_REPLIES": str(load.room)}
    if redis is not None:
        env["REDIS_URL"] = redis
        store = await RedisStore.open(redis, SystemClock(), prefix=REDIS_PREFIX)
        await store.close()  # now it has a memory, and the budgets do not begin half spent
    means = Means(scripted, Room(load.size), Lag(), lambda _: PATIENCE_S)
    async with scene_of(load.case, Mode("bot", BOT.command, env), means) as scene:
        watching = asyncio.create_task(means.lag.watch())
        try:
            row = await _under_load(load, scene, means.lag)
        finally:
            watching.cancel()
        return row | {"missed": _missed(row, load)}, scene.bot.output


async def _under_load(load: Load, scene: Scene, lag: Lag) -> dict[str, Any]:
    loop, slack = asyncio.get_running_loop(), scene.slack
    before, began_at, delivered = scene.bot.usage(), loop.time(), len(slack.deliveries)
    bustle = Bustle(scene)
    around = [asyncio.create_task(work()) for work in (bustle.talk, bustle.press)]
    await scene.ask()
    await _until(lambda: _all_ended(scene), LOST_S)
    ended_at, after, acks = loop.time(), scene.bot.usage(), slack.deliveries[delivered:]
    for task in around:
        task.cancel()
    records = await scene.claude.records(scene.name)
    await _until(lambda: _all_whole(scene, records), PATIENCE_S)
    whole_after_s, late = loop.time() - ended_at, slack.deliveries[delivered + len(acks) :]
    figures = scene.figures(records)
    shown = [_shown(scene, one, records.get(one.number)) for one in scene.questions]
    load_s, lags = ended_at - began_at, [s for at, s in lag.seen if began_at <= at <= ended_at]
    return {
        "case": load.name,
        "replies": len(figures),
        "whole": sum(one.whole for one in figures),
        "whole_after_s": whole_after_s,
        "streams_at_once": _at_once(records.values()),
        "stream_stretch": stretch(records.values(), TOKENS_PER_SECOND),
        "load_s": load_s,
        "events_per_s": len(acks) / load_s,
        **quantiles("ack", [one.took_s for one in acks]),
        "ack_mention_p99_s": quantile([a.took_s for a in acks if a.type == "app_mention"], 0.99),
        "ack_later_max_s": quantile([one.took_s for one in late], 1.0),
        "not_acked": dict(Counter(one.reason for one in [*acks, *late] if one.reason)),
        **quantiles("press", [taken_s for taken_s, _ in bustle.presses]),
        "presses_failed": sum(status != 200 for _, status in bustle.presses),
        **quantiles("sign", [one.sign_s for one in figures]),
        **quantiles("first_words", [first_s for first_s, _ in shown]),
        **quantiles("final", [final_s for _, final_s in shown]),
        "refused": refused(slack.calls),
        "refused_methods": dict(Counter(call.method for call in slack.calls if call.status == 429)),
        "calls": dict(Counter(call.method for call in slack.calls)),
        "numbers_told": sorted(filter(None, (_told(scene, one) for one in scene.questions))),
        "rss_idle_mb": before.rss_mb,
        "rss_live_mb": after.rss_mb,
        "rss_peak_mb": scene.bot.usage().peak_mb,
        "cpu_s": after.cpu_s - before.cpu_s,
        "cores": (after.cpu_s - before.cpu_s) / load_s,
        "bench_lag_p99_s": quantile(lags, 0.99),
        "bench_lag_max_s": quantile(lags, 1.0),
        "warnings": _warnings(scene.bot.output),
    }


async def _until(condition: Callable[[], Awaitable[bool]], limit_s: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    while loop.time() < until:
        if await condition():
            return
        await asyncio.sleep(TICK_S)


async def _all_ended(scene: Scene) -> bool:
    return scene.bot.has_ended or await scene.claude.ended(scene.name) >= len(scene.questions)


async def _all_whole(scene: Scene, records: dict[int, StreamRecord]) -> bool:
    shown = {q.number: [m.sent_markdown for m in scene.replies(q)] for q in scene.questions}
    return scene.bot.has_ended or all(same_text(shown[n], one.text) for n, one in records.items())


def _in_thread(scene: Scene, one: Question) -> list[Message]:
    """The bot's messages under a question, those that it deleted again too."""
    found = scene.slack.channel(one.channel).messages.values()
    return [message for message in found if message.thread_ts == one.ts and message.bot_id]


def _shown(
    scene: Scene, one: Question, record: StreamRecord | None
) -> tuple[float | None, float | None]:
    """How late the first words, and the whole text, first stood in some message."""
    if record is None or record.first_text_at is None or record.ended_at is None:
        return None, None
    states = [state for message in _in_thread(scene, one) for state in message.revisions]
    first = min((state.at for state in states if state.markdown), default=None)
    whole = min((s.at for s in states if same_text([s.markdown], record.text)), default=None)
    return (
        None if first is None else max(0.0, first - record.first_text_at),
        None if whole is None else max(0.0, whole - record.ended_at),
    )


def _told(scene: Scene, one: Question) -> int | None:
    """The number in line that whoever asked was told first."""
    said = [(line.at, line.status) for line in scene.slack.statuses if line.thread_ts == one.ts]
    for message in _in_thread(scene, one):
        said += [(state.at, json.dumps(state.blocks)) for state in message.revisions]
    told = [int(found[1]) for _, words in sorted(said) if (found := IN_LINE.search(words))]
    return told[0] if told else None


def _at_once(records: Iterable[StreamRecord]) -> int:
    """The most streams that were open at one moment."""
    ends = [(one.ended_at, -1) for one in records if one.ended_at is not None]
    changes = sorted([*((one.asked_at, 1) for one in records), *ends])
    return max(accumulate(change for _, change in changes), default=0)


def _warnings(output: str) -> dict[str, int]:
    """How often each, by level and event."""
    lines = [line for line in output.splitlines() if is_warning(line)]
    return dict(Counter(" ".join(line.split()[1:3]) for line in lines))


def _missed(row: dict[str, Any], load: Load) -> list[str]:
    wanted = {
        "whole": load.size,
        "refused": 0,
        "not_acked": {},
        "presses_failed": 0,
        "streams_at_once": min(load.size, load.room),
        "numbers_told": list(range(1, load.size - load.room + 1)),
    }
    late = [name for name, most in MOST.items() if row[name] is None or row[name] > most]
    few = row["events_per_s"] < EVENTS_PER_SECOND
    return [
        *([f"{row['events_per_s']:.1f} events a second, not {EVENTS_PER_SECOND}"] if few else []),
        *(f"{name} is {row[name]}, at most {MOST[name]:g} wanted" for name in late),
        *(
            f"{name} is {row[name]}, not {want}"
            for name, want in wanted.items()
            if row[name] != want
        ),
    ]


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each figure, a column for each case."""
    lines = [[name, *(_cell(row[name]) for row in rows)] for name in rows[0]]
    lines.insert(1, ["---"] * (1 + len(rows)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "never" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
