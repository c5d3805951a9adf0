"""What the budgets of Slack's methods have spent: it survives a restart, and over Redis all
processes share it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """One call that a budget must have free: fewer than `limit - kept` in the last `window_s`."""

    budget: str
    limit: int
    window_s: float
    kept: int = 0
    """Calls that must stay free for others after all."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What is known of one budget, as of now."""

    ages_s: tuple[float, ...] = ()
    """How long ago each call of the last minute or so was made, oldest first."""
    paused_s: float = -math.inf
    """How long its pause still lasts; below 0: how long ago it ended."""
    share: float = 1.0
    """The share of the full rate that the last pause left."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What live replies will still ask of a workspace's edits, or of its appends."""

    owned: int = 0
    """Slots for their last calls."""
    texts_s: tuple[float, ...] = ()
    """Of each: seconds of text still to come, or here and not yet shown."""


@dataclass(frozen=True, slots=True)
class Live:
    """The live replies of one process in a workspace."""

    edits: Demand = Demand()
    appends: Demand = Demand()
    rate_per_s: float = 0.0
    """How many more begin, as forecast."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to `Ledger.take`."""

    ok: bool
    spent: Mapping[str, Spent]
    """All that all processes have spent, this call included; empty where no others exist."""


class Ledger(Protocol):
    """All verbs may raise StoreUnavailable; each is one step that takes a millisecond."""

    @property
    def shared(self) -> bool:
        """Whether other processes spend from the same budgets, so that `take` may say no."""

    async def recall(self) -> Mapping[str, Spent] | None:
        """Every budget's last minute at the start of the process; None if there is no memory: a
        new store, as on a host whose disk does not survive a restart."""

    async def take(self, claims: Sequence[Claim], late: Mapping[str, Sequence[float]]) -> Taken:
        """Count one call in every budget of `claims`, or in none: no while one of them is paused,
        or full and shared. `late` are ages (seconds, by budget) of calls that were made while the
        ledger could not be reached; they are counted in any case, and may be of other budgets.
        Both may be empty."""

    async def put_off(self, budgets: Sequence[str]) -> None:
        """This process's newest call in each was counted when it was planned, but arrives at Slack
        now."""

    async def give_back(self, budgets: Sequence[str]) -> None:
        """This process's newest call in each was not made after all."""

    async def pause(self, budget: str, spent: Spent) -> None:
        """Tell of a pause (`paused_s`, `share`); a longer one that is known already stays."""

    async def exchange(self, team: str, live: Live) -> tuple[list[Live], Mapping[str, Spent]]:
        """Tell of this process's live replies; those of the others that told within the last few
        seconds, and what the team's budgets have spent."""
