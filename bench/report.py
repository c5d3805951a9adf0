"""The table, and what misses its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.cases import BOT, FIXED_TIMER, Case

BEGIN, END = "<!-- measured -->", "<!-- end -->"

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]


def seconds(value: float | None) -> str:
    """Three digits, or a dash for what never came."""
    if value is None:
        return "never"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _age(row: Row) -> str:
    bound = row["age_bound_s"]
    return f"{seconds(row['age_s'])} ({'–' if bound is None else seconds(bound)})"


COLUMNS: tuple[Column, ...] = (
    ("replies", lambda row: row["case"]),
    ("bot", lambda row: row["mode"]),
    ("first sign p50", lambda row: seconds(row["sign_p50_s"])),
    ("p95", lambda row: seconds(row["sign_p95_s"])),
    ("Claude asked p50", lambda row: _ms(row["request_p50_s"])),
    ("p95", lambda row: _ms(row["request_p95_s"])),
    ("first words p50", lambda row: seconds(row["first_words_p50_s"])),
    ("max", lambda row: seconds(row["first_words_max_s"])),
    ("mean age (bound)", _age),
    ("final p50", lambda row: seconds(row["final_p50_s"])),
    ("p95", lambda row: seconds(row["final_p95_s"])),
    ("edits", lambda row: f"{row['edits']:.1f}"),
    ("posts", lambda row: f"{row['posts']:.1f}"),
    ("429s", lambda row: f"{row['refused'] / max(1, row['replies']):.2g}"),
    ("whole", lambda row: f"{row['whole']}/{row['replies']}"),
    ("CPU", lambda row: f"{row['cpu_s']:.3f}"),
    ("RSS MB", lambda row: f"{row['rss_peak_mb']:.0f}"),
    ("ack p50", lambda row: _ms(row["ack_p50_s"])),
    ("p99", lambda row: _ms(row["ack_p99_s"])),
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


def verdicts(rows: Sequence[Row], cases: Sequence[Case]) -> list[str]:
    """A line for each target that our bot misses, and one that counts the others."""
    by_name = {case.name: case for case in cases}
    checks = [
        (case_name, *check)
        for row in rows
        if row["mode"] != FIXED_TIMER.name
        for case_name, check in [
            (f"{row['mode']}, {row['case']}", check) for check in _checks(row, by_name[row["case"]])
        ]
    ]
    missed = [f"MISSED {name}: {what}" for name, what, is_met in checks if not is_met]
    return [*missed, f"{len(checks) - len(missed)} of {len(checks)} targets of {BOT.name} are met"]


def _checks(row: Row, case: Case) -> list[tuple[str, bool]]:
    if "error" in row:
        return [(row["error"], False)]
    targets = case.targets
    found = [
        (f"{row['refused']} calls refused with 429, target 0", row["refused"] == 0),
        (f"{row['whole']} of {row['replies']} replies whole", row["whole"] == row["replies"]),
        _at_most("slowest first words", row["first_words_max_s"], targets.first_words_s),
        _at_most("final p95", row["final_p95_s"], targets.final_p95_s),
        _at_most("CPU per reply", row["cpu_s"], targets.cpu_s),
    ]
    if targets.age_s is not None:
        found.append(_at_most("mean age", row["age_s"], targets.age_s))
    return found


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
