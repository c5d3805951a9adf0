"""What is measured: the bots, the sizes, and the targets beside them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Final

TOKENS: Final = 600
SHORTEST, LONGEST = 60, 3_600
SPREAD: Final = 0.8
"""Of the logarithm of random lengths."""
SUSTAINED_S: Final = 180.0
QUICK_SUSTAINED_S: Final = 40.0
SEED: Final = 4
ALL_EVENTS: Final[frozenset[str]] = frozenset()
"""What the manifest subscribes to."""


@dataclass(frozen=True)
class Mode:
    """A bot, or a way of delivery."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    events: frozenset[str] = ALL_EVENTS


BOT: Final = Mode("bot", ("-m", "bot", "run"))
FIXED_TIMER: Final = Mode(
    "fixed timer", ("-m", "bench.fixed_timer"), events=frozenset({"app_mention"})
)
# A further way of delivery is one line: Mode("bot, edits only", BOT.command, {"DELIVERY": "edit"})
MODES: Final = (BOT, FIXED_TIMER)

SIZES: Final = (1, 5, 10, 20, 50)
RATES: Final = (6, 12, 20)
AGE_AT_ONCE: Final = {1: 0.4, 5: 0.75, 10: 1.3, 20: 2.5, 50: 5.3}
AGE_SUSTAINED: Final = {6: 1.4, 12: 2.2, 20: 3.4}
BOUND_SUSTAINED: Final = {6: 0.83, 12: 1.36, 20: 2.21}
"""pacing.md T3, "LP edit": clairvoyant, so loose; of five-minute runs at 120 ms."""


@dataclass(frozen=True)
class Targets:
    """What issue 4 asks for, in seconds."""

    age_s: float | None
    first_words_s: float = 0.3
    final_p95_s: float = 0.7
    cpu_s: float = 0.1


@dataclass(frozen=True)
class Case:
    """One size: when the questions come, and how long each reply is."""

    kind: str
    size: int
    arrivals: tuple[float, ...]
    tokens: tuple[int, ...]
    age_target_s: float | None = None

    @property
    def name(self) -> str:
        return f"{self.size} {self.kind}"

    @property
    def targets(self) -> Targets:
        return Targets(self.age_target_s)

    @property
    def weight(self) -> int:
        """About how many streams it has open at its busiest."""
        if self.kind == PER_MINUTE:
            return max(2, round(self.size / 5))
        return len(self.tokens)


AT_ONCE: Final = "at once"
RANDOM: Final = "at once, random"
PER_MINUTE: Final = "a minute"


def at_once(size: int) -> Case:
    """So many questions in the same moment, equal replies."""
    return Case(AT_ONCE, size, (0.0,) * size, (TOKENS,) * size, AGE_AT_ONCE.get(size))


def random_lengths(size: int) -> Case:
    """So many questions in the same moment, replies as long as they come."""
    chance = random.Random(f"{SEED} lengths {size}")
    return Case(RANDOM, size, (0.0,) * size, tuple(_length(chance) for _ in range(size)))


def sustained(rate: int, seconds: float) -> Case:
    """Poisson arrivals, so many a minute; given their number, their times are uniform."""
    chance = random.Random(f"{SEED} arrivals {rate}")
    number = round(rate * seconds / 60)
    arrivals = tuple(sorted(chance.uniform(0, seconds) for _ in range(number)))
    return Case(PER_MINUTE, rate, arrivals, (TOKENS,) * number, AGE_SUSTAINED.get(rate))


def _length(chance: random.Random) -> int:
    """Lognormal, with TOKENS as its mean."""
    middle = log(TOKENS) - SPREAD**2 / 2
    return round(min(LONGEST, max(SHORTEST, exp(middle + SPREAD * chance.gauss(0, 1)))))


def full() -> list[Case]:
    """Everything."""
    return [
        *(sustained(rate, SUSTAINED_S) for rate in RATES),
        *(at_once(size) for size in reversed(SIZES)),
        *(random_lengths(size) for size in reversed(SIZES)),
    ]


def quick() -> list[Case]:
    """All sizes, shorter: arrivals for less than a minute, random lengths once."""
    return [
        *(at_once(size) for size in reversed(SIZES)),
        *(sustained(rate, QUICK_SUSTAINED_S) for rate in RATES),
        random_lengths(10),
    ]
