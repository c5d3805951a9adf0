"""Age of unshown text, first words and finals, paced by the bot's `Pacer` or by a timer.

    .venv/bin/python -m bench.pacing

A discrete-event simulation on a fake clock (`tests/pacing_world.py`): replies of 10 s, 600 tokens
at 60 a second, or of lengths at random; calls take some 120 ms; the judge refuses the 51st edit
within 60 s. By edits alone, with the way chosen for each reply (in ten channels), and by a timer.
"Bound" is the least mean age that any rule can reach: at once by f(m) of the issue's
simulations, sustained by their linear programme, which knows the future; for edits alone.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.config import Delivery
from tests.pacing_world import Shown, World

EDITS = 50
LENGTH_S = 10.0
LATENCY_S = 0.12
AT_ONCE = (1, 5, 10, 20, 50, 100, 200)
BOUNDS = {3: 0.52, 6: 0.83, 12: 1.36, 20: 2.21, 30: 3.27, 45: 4.65}
"""By replies a minute."""
A_MINUTE = (*BOUNDS, 60)
SUSTAINED_S = 300.0
SEEDS = range(5)

Replies = list[tuple[float, float]]


@dataclass(frozen=True)
class Figures:
    """Of all replies of some runs."""

    age_s: float
    first_s: float
    first_p95_s: float
    lag_p95_s: float
    refused: int

    @classmethod
    def of(cls, worlds: Sequence[World]) -> Figures:
        shown = [one for world in worlds for one in world.shown]
        first = [one.first_s for one in shown]
        return cls(
            statistics.mean(mean_age_s(one) for one in shown),
            statistics.mean(first),
            quantile(first, 0.95),
            quantile([one.lag_s for one in shown], 0.95),
            sum(world.refused for world in worlds),
        )

    def __str__(self) -> str:
        return (
            f"{self.age_s:6.2f} {self.first_s:6.2f} {self.first_p95_s:6.2f}"
            f" {self.lag_p95_s:6.2f} {self.refused:6d}"
        )


def mean_age_s(shown: Shown) -> float:
    """Time average of the age of the oldest unshown text of a reply."""
    total, over_s = shown.age()
    return total / over_s


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def bound_s(at_once: int) -> float:
    """Least mean age when so many replies share one minute's edits as evenly as can be."""
    each, more = divmod(EDITS, at_once)
    ages = [least_age_s(min(20, each + (number < more))) for number in range(at_once)]
    return statistics.mean(ages)


def least_age_s(sends: int) -> float:
    """f(m) of a reply with `sends` edits at equal distances, the final one included."""
    covered = LENGTH_S**2 / (2 * sends) + LATENCY_S * LENGTH_S + LATENCY_S**2 / 2
    return covered / (LENGTH_S + LATENCY_S)


def lengths(rng: random.Random, same: bool) -> Iterator[float]:
    """All the same, or lognormal with the same mean."""
    while True:
        yield LENGTH_S if same else min(60.0, max(1.5, rng.lognormvariate(1.98, 0.8)))


def at_once(count: int, seed: int, same: bool) -> Replies:
    length = lengths(random.Random(seed), same)
    return [(0.003 * number, next(length)) for number in range(count)]


def sustained(a_minute: int, seed: int, same: bool) -> Replies:
    rng = random.Random(1_000 + seed)
    length = lengths(random.Random(seed), same)
    replies: Replies = []
    at = rng.expovariate(a_minute / 60)
    while at < SUSTAINED_S:
        replies.append((at, next(length)))
        at += rng.expovariate(a_minute / 60)
    return replies


def simulate(
    runs: Sequence[Replies], *, delivery: Delivery = "edit", by_timer: bool = False
) -> Figures:
    worlds = []
    for seed, replies in enumerate(runs):
        channels = 10 if delivery == "auto" else 1_000
        world = World(seed, limit=EDITS, delivery=delivery, channels=channels)
        asyncio.run(world.run(replies, by_timer=by_timer))
        worlds.append(world)
    return Figures.of(worlds)


def main() -> None:
    columns = "   age  first    p95 lagp95    429"
    print(f"{'':14} {'bound':>6} |{columns} edited |{columns} auto |{columns} by a timer of 1 s")
    for same in (True, False):
        print("all of 10 s" if same else "lengths at random (no bound)")
        for count in AT_ONCE:
            runs = [at_once(count, seed, same) for seed in SEEDS]
            bound = bound_s(count) if same and count <= EDITS else None
            row(f"{count} at once", bound, runs)
        for a_minute in A_MINUTE:
            runs = [sustained(a_minute, seed, same) for seed in SEEDS]
            row(f"{a_minute} a minute", BOUNDS.get(a_minute) if same else None, runs)


def row(name: str, bound: float | None, runs: Sequence[Replies]) -> None:
    edited, auto = simulate(runs), simulate(runs, delivery="auto")
    timed = simulate(runs, by_timer=True)
    shown = f"{bound:6.2f}" if bound else ""
    print(f"  {name:12} {shown:6} |{edited}        |{auto}      |{timed}", flush=True)


if __name__ == "__main__":
    main()
