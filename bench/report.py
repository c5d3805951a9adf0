"""The table, and what misses its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.cases import AUTO, FIXED_TIMER, KINDS, MODES, Case, Targets, every
from bench.cases import place as case_place
from bench.measure import STREAM_METHODS

BEGIN, END = "<!-- measured -->", "<!-- end -->"

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]


def seconds(value: float | None) -> str:
    """Three digits, or a dash for what never came."""
    if value is None:
        return "never"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def place(row: Row) -> tuple[int, int, float, int]:
    """Where a row stands in the table: kinds of cases, sizes, then the bots."""
    names = [mode.name for mode in MODES]
    mode = names.index(row["mode"]) if row["mode"] in names else len(names)
    case = every().get(row["case"])
    return (*((len(KINDS), 0, 0.0) if case is None else case_place(case)), mode)


def sentence(row: Row) -> str:
    """What came of a case, for whoever waits."""
    if "error" in row:
        return str(row["error"])
    return (
        f"mean age {seconds(row['age_s'])} s, first sign {seconds(row['sign_max_s'])} s at most, "
        f"final p95 {seconds(row['final_p95_s'])} s, {row['whole']}/{row['replies']} whole, "
        f"429s: {_refused(row)}"
    )


def _calls(*methods: str) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        calls = sum(row["calls"].get(method, 0) for method in methods)
        return f"{calls / max(1, row['replies']):.1f}" if calls else "–"

    return show


def _refused(row: Row) -> str:
    """How many calls, and of which methods where there were any."""
    by = [f"{count} {method.rpartition('.')[2]}" for method, count in row["refused_by"].items()]
    return ", ".join(by) or "0"


COLUMNS: tuple[Column, ...] = (
    ("replies", lambda row: row["case"]),
    ("delivery", lambda row: row["mode"]),
    ("whole", lambda row: f"{row['whole']}/{row['replies']}"),
    ("first sign p50", lambda row: seconds(row["sign_p50_s"])),
    ("max", lambda row: seconds(row["sign_max_s"])),
    ("first words p50", lambda row: seconds(row["first_words_p50_s"])),
    ("p95", lambda row: seconds(row["first_words_p95_s"])),
    ("mean age", lambda row: seconds(row["age_s"])),
    ("final p50", lambda row: seconds(row["final_p50_s"])),
    ("p95", lambda row: seconds(row["final_p95_s"])),
    ("max", lambda row: seconds(row["final_max_s"])),
    ("429s", _refused),
    ("edits", _calls("chat.update")),
    ("stream calls", _calls(*STREAM_METHODS)),
    ("posts", _calls("chat.postMessage")),
    ("status lines", _calls("assistant.threads.setStatus")),
    ("CPU", lambda row: f"{row['cpu_s']:.3f}"),
    ("RSS MB", lambda row: f"{row['rss_peak_mb']:.0f}"),
    ("ack p99", lambda row: _ms(row["ack_p99_s"])),
)


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value * 1000:.0f} ms"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that reads well in a terminal too. Seconds, per reply where it says so."""
    cells = [[show(row) for _, show in COLUMNS] for row in rows if "error" not in row]
    heads = [name for name, _ in COLUMNS]
    widths = [max(len(line[index]) for line in [heads, *cells]) for index in range(len(heads))]
    lines = [heads, ["-" * width for width in widths], *cells]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def verdicts(rows: Sequence[Row], cases: Mapping[str, Case]) -> list[str]:
    """A line for each target that is missed, and one that counts the others.

    `auto` is to meet them all; a delivery alone only never to be refused.
    """
    checks = [
        (f"{row['mode']}, {row['case']}", *check)
        for row in rows
        if row["mode"] != FIXED_TIMER.name and row["case"] in cases
        for check in _checks(row, cases[row["case"]].targets)
    ]
    missed = [f"MISSED {name}: {what}" for name, what, is_met in checks if not is_met]
    return [*missed, f"{len(checks) - len(missed)} of {len(checks)} targets are met"]


def _checks(row: Row, targets: Targets) -> list[tuple[str, bool]]:
    if "error" in row:
        return [(row["error"], False)]
    found = [(f"calls refused with 429: {_refused(row)}, target 0", row["refused"] == 0)]
    if row["mode"] != AUTO.name:
        return found
    asked = [
        ("mean age", "age_s", targets.age_s),
        ("slowest first sign", "sign_max_s", targets.sign_max_s),
        ("final p95", "final_p95_s", targets.final_p95_s),
        ("slowest final", "final_max_s", targets.final_max_s),
        ("longest silence", "silent_max_s", targets.silent_max_s),
        ("CPU per reply", "cpu_s", targets.cpu_s),
    ]
    found.append(
        (f"{row['whole']} of {row['replies']} replies whole", row["whole"] == row["replies"])
    )
    return found + [
        _at_most(what, row[name], most) for what, name, most in asked if most is not None
    ]


def _at_most(what: str, value: float | None, most: float) -> tuple[str, bool]:
    return f"{what} {seconds(value)} s, target {most:g} s", value is not None and value <= most


def with_table(document: str, rows: Sequence[Row], lines: Sequence[str]) -> str:
    """The document with this table and these verdicts between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"no place for the table: {BEGIN} … {END}")
    listed = "\n".join(f"- {line}" for line in [*lines, health(rows)])
    return f"{before}{BEGIN}\n{table(rows)}\n\n{listed}\n{END}{after}"


def health(rows: Sequence[Row]) -> str:
    """How far the machine itself is in the figures."""
    good = [row for row in rows if "error" not in row]
    lag = max((row["bench_lag_p99_s"] or 0.0 for row in good), default=0.0)
    stretch = max((row["stream_stretch"] or 1.0 for row in good), default=1.0)
    return (
        f"The bench's own event loop was late by {lag * 1000:.0f} ms at worst (p99 of a case); "
        f"Claude's slowest stream took {max(0.0, stretch - 1):.1%} longer than planned."
    )
