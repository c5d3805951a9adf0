"""How quickly replies grow, under load: each delivery beside a bot that edits by a timer.

    .venv/bin/python -m bench.live --quick                 # some cases, in three minutes
    … --case "50 at once" --mode auto                      # one case of one delivery
    … --json docs/bench.json --missing                     # all that is not measured there yet
    … --json docs/bench.json --draw --chart docs/bench.svg --doc docs/bench.md

Each case runs with a Slack of its own (real limits on every method, 120 ms a call) and the bot as a
process of its own; Claude is scripted, in a third process. Only what Slack and Claude saw is
measured. `--json` keeps each case as soon as it is measured, beside those that are there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench import cases, chart, report
from bench.cases import MODES, QUICK_MODES, Case, Mode
from bench.results import Results
from bench.room import Lag, Room
from bench.run import LATENCY_S, Means, run
from bench.scripted import FIRST_TOKEN_S, TOKENS_PER_SECOND, claude

QUICK_STREAMS, FULL_STREAMS = 70, 24
"""How many streams side by side, over all cases."""
QUICK_S: Final = 75.0
"""A case of a quick run takes no longer, with what the bot needs to start and to stop."""
FULL_PATIENCE_S, LEAST_PATIENCE_S = 200.0, 12.0
"""How long after Claude's last word a reply may become whole. The timer's need up to three windows
of a minute; in a quick run the last ones never come."""
INTERRUPTED: Final = 130

Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Measure and tell; 1 if `auto` misses a target."""
    chosen = _parser().parse_args(arguments)
    if chosen.list:
        print(*cases.every(), sep="\n")
        return 0
    results = Results(chosen.json, _setting())
    began = time.monotonic()
    pairs = [] if chosen.draw else _pairs(chosen, results)
    measured = asyncio.run(_measured(pairs, results.keep, quick=chosen.quick)) if pairs else []
    rows = results.rows if chosen.json else measured
    if not rows:
        print("Nothing was measured.", file=sys.stderr)
        return 1
    lines = report.verdicts(rows, cases.every())
    print(f"\n{report.table(rows)}\n", *lines, report.health(rows), sep="\n")
    print(f"{time.monotonic() - began:.0f} s")
    if chosen.chart:
        chosen.chart.write_text(chart.draw(rows))
    if chosen.doc:
        chosen.doc.write_text(report.with_table(chosen.doc.read_text(), rows, lines))
    return 0 if len(lines) == 1 else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = [mode.name for mode in MODES]
    add("--list", action="store_true", help="tell the names of all cases, and leave")
    add("--quick", action="store_true", help=f"some cases, each at most {QUICK_S:g} s")
    add("--case", action="append", choices=cases.every(), metavar="NAME", help="only this (also)")
    add("--only", metavar="TEXT", help="only cases with this in their name: 'at once, random'")
    add("--mode", action="append", choices=names, help="only this delivery or bot (also)")
    add("--missing", action="store_true", help="only what --json does not hold yet")
    add("--draw", action="store_true", help="measure nothing: the table and chart of --json")
    add("--json", type=Path, metavar="PATH", help="keep all figures there")
    add("--chart", type=Path, metavar="PATH", help="write an SVG there")
    add("--doc", type=Path, metavar="PATH", help="put the table in between marks")
    return parser


def _pairs(chosen: argparse.Namespace, results: Results) -> list[tuple[Case, Mode]]:
    """What is to be measured. The timer's replies take longest, so that they come first."""
    plan = cases.named(chosen.case) if chosen.case else _plan(quick=chosen.quick)
    usual = QUICK_MODES if chosen.quick and not chosen.case else MODES
    modes = [one for one in MODES if one.name in chosen.mode] if chosen.mode else list(usual)
    known = results.known if chosen.missing else frozenset[tuple[str, str]]()
    return [
        (case, mode)
        for mode in reversed(modes)
        for case in plan
        if (not chosen.only or chosen.only in case.name) and (case.name, mode.name) not in known
    ]


def _plan(*, quick: bool) -> list[Case]:
    return cases.quick() if quick else cases.full()


async def _measured(
    pairs: Sequence[tuple[Case, Mode]], keep: Callable[[Row], None], *, quick: bool
) -> list[Row]:
    """All of them, as many side by side as the room allows; rows in the order of the table."""
    _stop_on_signals()
    async with claude() as scripted:
        lag = Lag()
        room = Room(QUICK_STREAMS if quick else FULL_STREAMS)
        means = Means(scripted, room, lag, _quick_patience_s if quick else _full_patience_s)
        watching = asyncio.create_task(lag.watch())
        try:
            rows = await asyncio.gather(*(_told(case, mode, means, keep) for case, mode in pairs))
        finally:
            watching.cancel()
    return sorted(rows, key=report.place)


def _full_patience_s(case: Case) -> float:
    return FULL_PATIENCE_S


def _quick_patience_s(case: Case) -> float:
    return max(LEAST_PATIENCE_S, QUICK_S - case.planned_s)


def _stop_on_signals() -> None:
    """Ctrl-C and SIGTERM end this run and every process that it started."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _told(case: Case, mode: Mode, means: Means, keep: Callable[[Row], None]) -> Row:
    row = await run(case, mode, means)
    keep(row)
    print(f"{mode.name}, {case.name}: {report.sentence(row)}", file=sys.stderr, flush=True)
    return row


def _setting() -> dict[str, Any]:
    """What must be the same for rows to stand in one table."""
    return {
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
