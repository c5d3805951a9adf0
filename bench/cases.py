"""What is measured: the bots, the sizes, and the targets beside them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, log
from statistics import NormalDist
from typing import Final

from bench.replies import Text
from bench.scripted import TOKENS_PER_SECOND

TOKENS: Final = 600
SHORTEST, LONGEST = 90, 3_600
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
"""With its defaults."""
AUTO, EDIT, STREAM, POST = (
    Mode(name, BOT.command, {"DELIVERY": name}) for name in ("auto", "edit", "stream", "post")
)
FIXED_TIMER: Final = Mode(
    "fixed timer", ("-m", "bench.fixed_timer"), events=frozenset({"app_mention"})
)
MODES: Final = (AUTO, EDIT, STREAM, POST, FIXED_TIMER)
QUICK_MODES: Final = (AUTO, FIXED_TIMER)

SIZES: Final = (1, 5, 10, 20, 50, 100, 200)
RATES: Final = (6, 20, 60)
TURNS: Final[tuple[Text, ...]] = ("prose", "code", "tables")
BURST, BURST_RATE = 20, 6
TEXTS_SIZE: Final = 10

BOUND_SUSTAINED: Final = {6: 0.83, 20: 2.21}
"""By edits alone, of a scheduler that knows the future; so loose. Of five-minute runs at 120 ms."""


@dataclass(frozen=True)
class Targets:
    """What `auto` is to reach, in seconds; None: nothing is asked."""

    age_s: float | None = None
    sign_max_s: float | None = 1.0
    final_p95_s: float | None = 0.7
    final_max_s: float | None = None
    silent_max_s: float = 1.0
    """Without any sign of life, after the first one and before the whole text."""
    cpu_s: float = 0.1


AT_ONCE: Final = "at once"
RANDOM: Final = "at once, random"
PER_MINUTE: Final = "a minute"
PER_MINUTE_RANDOM: Final = "a minute, random"
ON_TOP: Final = f"on top of {BURST_RATE} a minute"
KINDS: Final = (
    *(AT_ONCE, RANDOM, *(f"{AT_ONCE}, {text}" for text in TURNS)),
    *(PER_MINUTE, PER_MINUTE_RANDOM, ON_TOP),
)
_AGES: Final = {
    AT_ONCE: {1: 0.4, 5: 0.45, 20: 0.85, 50: 2.4},
    RANDOM: {20: 1.3},
    PER_MINUTE: {6: 0.5, 20: 1.2, 60: 3.5},
}
_CROWDS: Final = {
    100: Targets(sign_max_s=2.5, final_p95_s=None, final_max_s=2.5),
    200: Targets(sign_max_s=2.5, final_p95_s=None, final_max_s=15.0),
}


@dataclass(frozen=True)
class Case:
    """One size: when the questions come, how long each reply is, and what of."""

    kind: str
    size: int
    arrivals: tuple[float, ...]
    tokens: tuple[int, ...]
    texts: tuple[Text, ...] = ("mixed",)
    """In turn, by the number of the question."""
    seconds: float | None = None
    """How long questions come, where that is not the usual time."""

    @property
    def name(self) -> str:
        during = "" if self.seconds is None else f" for {self.seconds:g} s"
        return f"{self.size} {self.kind}{during}"

    @property
    def targets(self) -> Targets:
        if self.kind == ON_TOP:
            return Targets(final_p95_s=1.0)
        if self.size in _CROWDS and self.kind == AT_ONCE:
            return _CROWDS[self.size]
        if self.size > 60:
            return Targets(sign_max_s=2.5, final_p95_s=None)
        return Targets(_AGES.get(self.kind, {}).get(self.size))

    @property
    def weight(self) -> int:
        """About how many streams it has open at its busiest."""
        if self.kind in (PER_MINUTE, PER_MINUTE_RANDOM):
            return max(2, round(self.size / 5))
        return BURST + 2 if self.kind == ON_TOP else len(self.tokens)

    @property
    def planned_s(self) -> float:
        """From the first question to the end of Claude's last stream, if nobody is late."""
        ends = zip(self.arrivals, self.tokens, strict=True)
        return max(at + tokens / TOKENS_PER_SECOND for at, tokens in ends)

    def text(self, number: int) -> Text:
        """What the reply to a question consists of."""
        return self.texts[number % len(self.texts)]


def at_once(size: int, text: Text | None = None) -> Case:
    """So many questions in the same moment, equal replies of all texts in turn or of one."""
    kind, texts = (AT_ONCE, TURNS) if text is None else (f"{AT_ONCE}, {text}", (text,))
    return Case(kind, size, (0.0,) * size, (TOKENS,) * size, texts)


def random_lengths(size: int) -> Case:
    """So many questions in the same moment, replies as long as they come."""
    return Case(RANDOM, size, (0.0,) * size, _lengths(f"lengths {size}", size), TURNS)


def sustained(rate: int, *, quick: bool = False, lengths: bool = False) -> Case:
    """Poisson arrivals, so many a minute, replies equal or with lengths at random."""
    seconds = QUICK_SUSTAINED_S if quick else SUSTAINED_S
    arrivals = _arrivals(rate, seconds)
    number = len(arrivals)
    tokens = _lengths(f"lengths at {rate}", number) if lengths else (TOKENS,) * number
    kind = PER_MINUTE_RANDOM if lengths else PER_MINUTE
    return Case(kind, rate, arrivals, tokens, TURNS, seconds if quick else None)


def burst(*, quick: bool = False) -> Case:
    """Twenty questions in one moment of a quiet day: half-way through."""
    seconds = QUICK_SUSTAINED_S if quick else SUSTAINED_S
    arrivals = tuple(sorted([*_arrivals(BURST_RATE, seconds), *(seconds / 2,) * BURST]))
    tokens = (TOKENS,) * len(arrivals)
    return Case(ON_TOP, BURST, arrivals, tokens, TURNS, seconds if quick else None)


def _arrivals(rate: int, seconds: float) -> tuple[float, ...]:
    """Of a Poisson process; given their number, their times are uniform."""
    chance = random.Random(f"{SEED} arrivals {rate}")
    number = round(rate * seconds / 60)
    return tuple(sorted(chance.uniform(0, seconds) for _ in range(number)))


def _lengths(seed: str, number: int) -> tuple[int, ...]:
    """Lognormal, with TOKENS as the mean: its quantiles in a random order, so that few replies are
    neither all short nor all long."""
    middle = log(TOKENS) - SPREAD**2 / 2
    places = [NormalDist().inv_cdf((index + 0.5) / number) for index in range(number)]
    random.Random(f"{SEED} {seed}").shuffle(places)
    found = (exp(middle + SPREAD * place) for place in places)
    return tuple(round(min(LONGEST, max(SHORTEST, tokens))) for tokens in found)


def full() -> list[Case]:
    """Everything."""
    return [
        *(sustained(rate) for rate in RATES),
        *(sustained(rate, lengths=True) for rate in RATES),
        burst(),
        *(at_once(size) for size in reversed(SIZES)),
        *(random_lengths(size) for size in reversed(SIZES)),
        *(at_once(TEXTS_SIZE, text) for text in TURNS),
    ]


def quick() -> list[Case]:
    """Some of it; arrivals for less than a minute."""
    return [
        sustained(20, quick=True),
        burst(quick=True),
        *(at_once(size) for size in (50, 20, 5, 1)),
        random_lengths(10),
    ]


def every() -> dict[str, Case]:
    """By name, in the order in which they are told: all kinds, small sizes first."""
    also_quick = [
        sustained(rate, quick=True, lengths=one) for rate in RATES for one in (False, True)
    ]
    found = {case.name: case for case in [*full(), *quick(), *also_quick]}
    return {case.name: case for case in sorted(found.values(), key=place)}


def place(case: Case) -> tuple[int, int, float]:
    """Where a case stands among the others."""
    return KINDS.index(case.kind), case.size, case.seconds or SUSTAINED_S


def named(names: Iterable[str]) -> list[Case]:
    """The cases of these names; KeyError for one that there is not."""
    known = every()
    return [known[name] for name in names]
