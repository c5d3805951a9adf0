"""How quickly replies grow, under load: the bot beside one that edits by a timer.

    .venv/bin/python -m bench.live            # everything, under ten minutes
    .venv/bin/python -m bench.live --quick    # all sizes in three minutes
    … --json docs/bench.json --chart docs/bench.svg --doc docs/bench.md

Each case runs with a Slack of its own (real limits, 120 ms a call) and the bot as a process of its
own; Claude is scripted, in a third process. Only what Slack and Claude saw is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench import cases, chart, report
from bench.cases import MODES, Case, Mode
from bench.room import Lag, Room
from bench.run import LATENCY_S, Means, run
from bench.scripted import FIRST_TOKEN_S, TOKENS_PER_SECOND, claude

QUICK_STREAMS, FULL_STREAMS = 70, 24
"""How many streams side by side, over all cases."""
QUICK_PATIENCE_S, FULL_PATIENCE_S = 80.0, 200.0
"""The timer's replies need up to three windows of a minute; in a quick run the last ones never
come."""
LIMIT_S: Final = 1_500.0
INTERRUPTED: Final = 130


def main(arguments: Sequence[str]) -> int:
    """Measure and tell; 1 if the bot misses a target."""
    chosen = _parser().parse_args(arguments)
    plan = cases.quick() if chosen.quick else cases.full()
    plan = [case for case in plan if not chosen.only or chosen.only in case.name]
    began = time.monotonic()
    rows = asyncio.run(measured(plan, _modes(chosen.mode), quick=chosen.quick))
    took_s = time.monotonic() - began
    lines = report.verdicts(rows, plan)
    print(f"\n{report.table(rows)}\n", *lines, report.health(rows), f"{took_s:.0f} s", sep="\n")
    if chosen.json:
        chosen.json.write_text(_as_json(_setting(quick=chosen.quick, took_s=took_s), rows))
    if chosen.chart:
        chosen.chart.write_text(chart.draw(rows))
    if chosen.doc:
        chosen.doc.write_text(report.with_table(chosen.doc.read_text(), rows, lines))
    return 0 if len(lines) == 1 else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="all sizes in three minutes")
    parser.add_argument(
        "--only", metavar="TEXT", help="cases with this in their name: '20 at once'"
    )
    parser.add_argument(
        "--mode", metavar="NAME", help=f"one of: {', '.join(m.name for m in MODES)}"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures there")
    parser.add_argument("--chart", type=Path, metavar="PATH", help="write an SVG there")
    parser.add_argument("--doc", type=Path, metavar="PATH", help="put the table in between marks")
    return parser


def _modes(name: str | None) -> list[Mode]:
    return [mode for mode in MODES if name in (None, mode.name)]


async def measured(
    plan: Sequence[Case], modes: Sequence[Mode], *, quick: bool
) -> list[dict[str, Any]]:
    """All cases with all modes, as many side by side as the room allows; rows in their order."""
    _stop_on_signals()
    async with claude() as scripted:
        lag = Lag()
        room = Room(QUICK_STREAMS if quick else FULL_STREAMS)
        patience_s = QUICK_PATIENCE_S if quick else FULL_PATIENCE_S
        means = Means(scripted, room, lag, patience_s)
        watching = asyncio.create_task(lag.watch())
        try:
            async with asyncio.timeout(LIMIT_S):
                rows = await asyncio.gather(
                    *(_told(case, mode, means) for mode in reversed(modes) for case in plan)
                )
        finally:
            watching.cancel()
    names = [mode.name for mode in modes]
    kinds = [cases.AT_ONCE, cases.RANDOM, cases.PER_MINUTE]
    by_case = {case.name: (kinds.index(case.kind), case.size) for case in plan}
    return sorted(rows, key=lambda row: (by_case[row["case"]], names.index(row["mode"])))


def _stop_on_signals() -> None:
    """Ctrl-C and SIGTERM end this run and every process that it started."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _told(case: Case, mode: Mode, means: Means) -> dict[str, Any]:
    row = await run(case, mode, means)
    if "error" in row:
        said = row["error"]
    else:
        said = f"mean age {report.seconds(row['age_s'])} s, final p95 " + report.seconds(
            row["final_p95_s"]
        )
    print(f"{mode.name}, {case.name}: {said}", file=sys.stderr, flush=True)
    return row


def _as_json(setting: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """One line for each row, so that a diff of two runs can be read."""
    lines = ",\n".join(json.dumps(_rounded(row), ensure_ascii=False) for row in rows)
    return f'{{"setting": {json.dumps(setting)},\n"rows": [\n{lines}\n]}}\n'


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()
    }


def _setting(*, quick: bool, took_s: float) -> dict[str, Any]:
    return {
        "quick": quick,
        "took_s": round(took_s),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "latency_s": LATENCY_S,
        "tokens_per_second": TOKENS_PER_SECOND,
        "first_token_s": FIRST_TOKEN_S,
        "tokens": cases.TOKENS,
    }


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)
