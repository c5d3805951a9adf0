"""What the budgets of Slack's methods have spent, over all processes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.store.ledger import Claim, Demand, Live, Spent, Taken
from bot.store.redis import ledger_scripts
from bot.store.redis.link import Link

STALE_S: Final = 5.0
"""What a process told of its live replies so long ago says nothing about now."""
US: Final = 1_000_000


class RedisLedger:
    """Ledger that all processes with the same prefix share: it may say no."""

    shared = True

    def __init__(self, link: Link, *, has_memory: bool) -> None:
        self._link = link
        self._has_memory = has_memory
        self._names = itertools.count()

    async def recall(self) -> Mapping[str, Spent] | None:
        if not self._has_memory:
            return None
        return _spent(await self._link.run(ledger_scripts.RECALL))

    async def take(self, claims: Sequence[Claim], late: Mapping[str, Sequence[float]]) -> Taken:
        asked = {
            "name": next(self._names),
            "claims": [(c.budget, c.limit - c.kept, _us(c.window_s)) for c in claims],
            "late": [
                (budget, next(self._names), _us(age_s))
                for budget, ages_s in late.items()
                for age_s in ages_s
            ],
        }
        ok, *spent = await self._link.run(ledger_scripts.TAKE, json.dumps(asked))
        return Taken(ok == 1, _spent(spent))

    async def put_off(self, budgets: Sequence[str]) -> None:
        await self._link.run(ledger_scripts.PUT_OFF, *budgets)

    async def give_back(self, budgets: Sequence[str]) -> None:
        await self._link.run(ledger_scripts.GIVE_BACK, *budgets)

    async def pause(self, budget: str, spent: Spent) -> None:
        if math.isfinite(spent.paused_s):
            left_us = _us(spent.paused_s)
            await self._link.run(ledger_scripts.PAUSE, budget, left_us, repr(spent.share))

    async def exchange(self, team: str, live: Live) -> tuple[list[Live], Mapping[str, Spent]]:
        demands = [_told(live.edits), _told(live.appends)]
        mine = json.dumps((*demands, live.rate_per_s), separators=(",", ":"))
        told, spent = await self._link.run(ledger_scripts.EXCHANGE, team, mine, _us(STALE_S))
        lives = [_live(said) for said in told]
        return [one for one in lives if one is not None], _spent(spent)


def _us(seconds: float) -> int:
    return round(seconds * US)


def _spent(found: Sequence[Sequence[Any]]) -> dict[str, Spent]:
    """What the scripts say of each budget. Ages are not below 0, though Redis's clock may be."""
    return {
        budget: Spent(
            ages_s=tuple(max(0, age_us) / US for age_us in ages_us),
            paused_s=-math.inf if left_us is None else left_us / US,
            share=1.0 if share is None else float(share),
        )
        for budget, left_us, share, *ages_us in found
    }


def _told(demand: Demand) -> tuple[int, list[float]]:
    """A tenth of a second is enough for a forecast, and short."""
    return demand.owned, [round(text_s, 1) for text_s in demand.texts_s]


def _live(said: str) -> Live | None:
    """None for what a process of another version has told."""
    try:
        edits, appends, rate_per_s = json.loads(said)
        return Live(_demand(*edits), _demand(*appends), float(rate_per_s))
    except (ValueError, TypeError):
        return None


def _demand(owned: int, texts_s: Sequence[float]) -> Demand:
    return Demand(owned, tuple(texts_s))
