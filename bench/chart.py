"""The chart of the README: mean age and final lag by number of replies, as one SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.cases import AT_ONCE, AUTO, FIXED_TIMER, SIZES

Row = dict[str, Any]
Point = tuple[float, float]

WIDTH, HEIGHT = 960, 400
PANEL_WIDTH, PANEL_HEIGHT = 380, 230
TOP = 104
LEFTS = (64, 548)
LEAST, MOST = 0.03, 300.0
TICKS = (0.1, 1.0, 10.0, 100.0)
STYLES: Final = {AUTO.name: "a", FIXED_TIMER.name: "b"}
"""What is drawn, and in which colour; the table has the rest."""
BOUND: Final = "least possible by edits"
LABEL_GAP = 17.0

STYLE = """
    .card { fill: #ffffff; stroke: #d9d9de }
    .ink { fill: #1d1c1d }
    .soft { fill: #616061 }
    .grid { stroke: #e4e4e8; stroke-width: 1 }
    .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
    .a { stroke: #1264a3 } .dot.a, .text.a { fill: #1264a3 }
    .b { stroke: #c2571a } .dot.b, .text.b { fill: #c2571a }
    .bound { stroke: #8d8d93; stroke-width: 1.5; stroke-dasharray: 4 4; fill: none }
    .bold { font-weight: 700 }
    .dot { stroke: none }
    .text { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
    .small { font-size: 12px }
    @media (prefers-color-scheme: dark) {
      .card { fill: #1a1d21; stroke: #3b3e44 }
      .ink { fill: #e8e8e8 }
      .soft { fill: #ababad }
      .grid { stroke: #33363b }
      .a { stroke: #6cb8f0 } .dot.a, .text.a { fill: #6cb8f0 }
      .b { stroke: #f0a06c } .dot.b, .text.b { fill: #f0a06c }
      .dot { stroke: none }
      .text { stroke: #1a1d21 }
    }
"""


@dataclass(frozen=True)
class Line:
    """One bot's values in a panel, by the number of replies."""

    style: str
    values: dict[int, float | None]
    above: frozenset[int]
    """Where it is the highest line, so that its numbers stand above its points."""


def draw(rows: Sequence[Row]) -> str:
    """The whole SVG; empty panels where nothing was measured."""
    found = [row for row in rows if row.get("kind") == AT_ONCE and row["mode"] in STYLES]
    modes = [name for name in STYLES if any(row["mode"] == name for row in found)]
    bounds = {row["size"]: row["age_bound_s"] for row in found}
    bound = {size: value for size, value in bounds.items() if value is not None}
    body = [
        _text(24, 36, "How old is what you cannot read yet, and how late is the end?", "ink bold"),
        *_legend(modes),
        *_panel(LEFTS[0], "Mean age of unshown text", _lines(found, modes, "age_s"), bound),
        *_panel(
            LEFTS[1], "Final text after Claude’s end (p95)", _lines(found, modes, "final_p95_s")
        ),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'aria-labelledby="title description" font-family="system-ui, -apple-system, '
            "'Segoe UI', Roboto, Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"14\">",
            '  <title id="title">Replies under load</title>',
            f'  <desc id="description">{_description(found)}</desc>',
            f"  <style>{STYLE}  </style>",
            f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" '
            f'height="{HEIGHT - 1}" rx="14"/>',
            *(f"  {line}" for line in body),
            "</svg>\n",
        ]
    )


def _lines(rows: Sequence[Row], modes: Sequence[str], key: str) -> list[Line]:
    values = {
        mode: {row["size"]: row[key] for row in rows if row["mode"] == mode} for mode in modes
    }
    top = {
        size: max((_height(one.get(size, 0.0)) for one in values.values()), default=0.0)
        for size in SIZES
    }
    return [
        Line(
            STYLES[mode],
            values[mode],
            frozenset(size for size, value in values[mode].items() if _height(value) >= top[size]),
        )
        for mode in modes
    ]


def _height(value: float | None) -> float:
    return MOST if value is None else value


def _panel(
    left: int, title: str, lines: Sequence[Line], bound: Mapping[int, float] | None = None
) -> list[str]:
    bottom = TOP + PANEL_HEIGHT
    found = [_text(left, TOP - 14, title, "ink"), *_grid(left)]
    found += [
        _text(_x(left, index), bottom + 20, str(size), "soft small", "middle")
        for index, size in enumerate(SIZES)
    ]
    middle = left + PANEL_WIDTH / 2
    found.append(_text(middle, bottom + 42, "replies at once", "soft small", "middle"))
    if bound is not None:
        found.append(_polyline(_points(left, bound), "bound"))
    for line in lines:
        found += _drawn(left, line)
    return found


def _grid(left: int) -> list[str]:
    found = []
    for tick in TICKS:
        y = _y(tick)
        found.append(
            f'<line class="grid" x1="{left}" x2="{left + PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        found.append(_text(left - 8, y + 4, f"{tick:g} s", "soft small", "end"))
    return found


def _drawn(left: int, line: Line) -> list[str]:
    points = _points(left, line.values)
    found = [_polyline(points, f"line {line.style}")]
    for (x, y), size in zip(points, _measured(line.values), strict=True):
        found.append(f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        shift = -9.0 if size in line.above else LABEL_GAP
        label = _label(line.values[size])
        found.append(_text(x, y + shift, label, f"text {line.style} small bold", "middle"))
    return found


def _label(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _points(left: int, values: Mapping[int, float | None]) -> list[Point]:
    return [(_x(left, SIZES.index(size)), _y(values[size])) for size in _measured(values)]


def _measured(values: Mapping[int, float | None]) -> list[int]:
    return [size for size in SIZES if size in values]


def _x(left: int, index: int) -> float:
    return left + 32 + index * (PANEL_WIDTH - 64) / (len(SIZES) - 1)


def _y(value: float | None) -> float:
    """On a logarithmic scale; what never came is at the top."""
    clipped = min(MOST, max(LEAST, _height(value)))
    share = math.log(clipped / LEAST) / math.log(MOST / LEAST)
    return TOP + PANEL_HEIGHT * (1 - share)


def _legend(modes: Sequence[str]) -> list[str]:
    found, x = [], 24.0
    entries = [(mode, f"line {STYLES[mode]}") for mode in modes]
    for name, style in [*entries, (BOUND, "bound")]:
        found.append(_polyline([(x, 58.0), (x + 26, 58.0)], style))
        found.append(_text(x + 34, 62, name, "soft"))
        x += 34 + 7.5 * len(name) + 28
    return found


def _polyline(points: Sequence[Point], style: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{style}" points="{joined}"/>'


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{place}>{text}</text>'


def _description(rows: Sequence[Row]) -> str:
    say: Callable[[Row], str] = lambda row: (  # noqa: E731
        f"{row['mode']}, {row['size']} at once: mean age {_label(row['age_s'])} s, "
        f"final {_label(row['final_p95_s'])} s."
    )
    return " ".join(map(say, rows))
