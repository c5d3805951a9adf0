"""The budgets' calls of the last minute, so that a restart does not forget them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bot.clock import Clock
from bot.store.ledger import Claim, Live, Spent, Taken
from bot.store.sqlite.file import File

KEPT_S: Final = 75.0
"""A minute, and what a lowered rate makes of it."""
PAUSE_KEPT_S: Final = 900.0
PRUNE_EVERY: Final = 200


class SqliteLedger:
    """Ledger of the one process that uses the file: it only remembers, and never says no."""

    shared = False

    def __init__(self, file: File, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._calls = 0

    async def recall(self) -> Mapping[str, Spent] | None:
        if self._file.is_new:
            return None
        return await self._file.do(self._recall)

    async def take(self, claims: Sequence[Claim], late: Mapping[str, Sequence[float]]) -> Taken:
        now = self._clock.wall()
        rows = [(claim.budget, now) for claim in claims]
        rows += [(budget, now - age_s) for budget, ages in late.items() for age_s in ages]
        await self._file.do(lambda: self._record(rows, now))
        return Taken(True, {})

    async def put_off(self, budgets: Sequence[str]) -> None:
        sql = f"UPDATE calls SET at = ? WHERE rowid = ({_NEWEST})"
        now = self._clock.wall()
        await self._write(sql, [(now, budget) for budget in budgets])

    async def give_back(self, budgets: Sequence[str]) -> None:
        await self._write(
            f"DELETE FROM calls WHERE rowid = ({_NEWEST})", [(budget,) for budget in budgets]
        )

    async def pause(self, budget: str, spent: Spent) -> None:
        sql = (
            "INSERT INTO pauses (budget, until, share) VALUES (?, ?, ?) ON CONFLICT (budget)"
            " DO UPDATE SET until = excluded.until, share = excluded.share"
            " WHERE excluded.until >= until"
        )
        await self._write(sql, [(budget, self._clock.wall() + spent.paused_s, spent.share)])

    async def exchange(self, team: str, live: Live) -> tuple[list[Live], Mapping[str, Spent]]:
        return [], {}

    async def _write(self, sql: str, rows: Sequence[tuple[float | str, ...]]) -> None:
        await self._file.do(lambda: self._file.db.executemany(sql, rows))

    def _record(self, rows: Sequence[tuple[str, float]], now: float) -> None:
        self._calls += 1
        if self._calls % PRUNE_EVERY == 0:
            self._file.db.execute("DELETE FROM calls WHERE at < ?", (now - KEPT_S,))
        self._file.db.executemany("INSERT INTO calls (budget, at) VALUES (?, ?)", rows)

    def _recall(self) -> Mapping[str, Spent]:
        now, db = self._clock.wall(), self._file.db
        ages: dict[str, list[float]] = {}
        # Calls "in the future" are those of before the clock was set back: they may be new.
        for budget, at in db.execute(
            "SELECT budget, at FROM calls WHERE at > ? ORDER BY at", (now - KEPT_S,)
        ):
            ages.setdefault(budget, []).append(max(0.0, now - at))
        pauses = {
            budget: (until - now, share)
            for budget, until, share in db.execute("SELECT budget, until, share FROM pauses")
            if until > now - PAUSE_KEPT_S
        }
        return {
            budget: Spent(tuple(ages.get(budget, ())), *pauses.get(budget, ()))
            for budget in ages.keys() | pauses.keys()
        }


_NEWEST: Final = "SELECT rowid FROM calls WHERE budget = ? ORDER BY rowid DESC LIMIT 1"
