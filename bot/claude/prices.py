"""What a reply costs, in dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.claude.models import undated
from bot.turn import Usage

AS_OF: Final = "2026-11-22"
MILLION: Final = 1_000_000
CACHE_WRITE: Final = 1.25
"""Of the input price, for entries that live five minutes."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens. Above `long_from` tokens of input the whole request costs
    `long` instead."""

    input: float
    output: float
    cache_read: float
    long_from: int | None = None
    long: Price | None = None

    def of(self, usage: Usage) -> float:
        total = usage.input + usage.cache_read + usage.cache_write
        if self.long is not None and self.long_from is not None and total > self.long_from:
            return self.long.of(usage)
        return (
            usage.input * self.input
            + usage.cache_write * self.input * CACHE_WRITE
            + usage.cache_read * self.cache_read
            + usage.output * self.output
        ) / MILLION


# platform.claude.com/docs/en/about-claude/pricing, as of AS_OF.
PRICES: Final[Mapping[str, Price]] = {
    "claude-sonnet-5-5": Price(2.0, 10.0, 0.10),
    "claude-haiku-5-5": Price(0.10, 0.50, 0.01, 100_000, Price(0.50, 2.50, 0.05)),
    "claude-opus-5-5": Price(4.0, 20.0, 0.20),
    "claude-fable-5-2": Price(8.0, 40.0, 0.20),
    "claude-fable-5-1": Price(10.0, 50.0, 0.25),
    "claude-sonnet-5": Price(2.0, 10.0, 0.20),
    "claude-opus-5": Price(5.0, 25.0, 0.50),
    "claude-fable-5": Price(10.0, 50.0, 1.0),
    "claude-opus-4-8": Price(5.0, 25.0, 0.50),
    "claude-opus-4-7": Price(5.0, 25.0, 0.50),
    "claude-opus-4-6": Price(5.0, 25.0, 0.50),
    "claude-sonnet-4-6": Price(3.0, 15.0, 0.30),
    "claude-opus-4-5": Price(5.0, 25.0, 0.50),
    "claude-sonnet-4-5": Price(3.0, 15.0, 0.30),
    "claude-haiku-4-5": Price(1.0, 5.0, 0.10),
}


def cost(model: str, usage: Usage) -> float | None:
    """Dollars for one request; None if the price of the model is not known."""
    price = PRICES.get(undated(model))
    return None if price is None else price.of(usage)
