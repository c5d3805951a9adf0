"""The embedded store: one SQLite file in DATA_DIR, for the one process that holds DATA_DIR.

So what only concerns the living (leases, places) is kept in memory: when the process ends, its
leases end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Final, cast

from bot.clock import Clock
from bot.store import CLAIM_HOURS, News, OpenTurn
from bot.store.sqlite.askers import Askers
from bot.store.sqlite.file import MIGRATIONS, File
from bot.store.sqlite.ledger import SqliteLedger
from bot.store.sqlite.places import Places
from bot.turn import Outcome, Question, Surface, TurnKey

PRUNE_EVERY: Final = 500
_COLUMNS: Final = (
    "key, team, channel, user, ts, thread_ts, surface, user_team, is_shared, run, reuses,"
    " continues, in_doubt, accepted_at"
)


class SqliteStore:
    """Store over one file."""

    shared = False
    is_doubtful = False

    def __init__(self, file: File, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._accepts = 0
        self._leased: set[TurnKey] = set()
        self._places = Places([])
        self._askers = Askers(file)
        self.remembers_since = 0.0
        self.ledger = SqliteLedger(file, clock)

    @classmethod
    async def open(cls, data_dir: str, clock: Clock) -> SqliteStore:
        """The store in `data_dir`, made if missing. Raises StoreUnavailable when that fails."""
        file = File(Path(data_dir) / "bot.sqlite3")
        await file.open()
        store = cls(file, clock)
        await file.do(store._prune)
        store.remembers_since = await file.do(store._begin_to_remember)
        store._places = Places(await file.do(store._open_turns))
        return store

    async def accept(self, question: Question) -> bool:
        accepted_at = self._clock.wall()
        is_new = await self._file.do(lambda: self._accept(question, accepted_at))
        if is_new:
            self._leased.add(question.key)
            if question.run:
                self._close(TurnKey(question.team, question.channel, question.ts, question.run - 1))
            self._places.add(question, accepted_at)
        return is_new

    async def abandoned(self) -> list[OpenTurn]:
        found = await self._file.do(self._open_turns)
        return [turn for turn in found if turn.question.key not in self._leased]

    async def take_up(self, key: TurnKey) -> bool:
        found = await self._file.do(lambda: self._open_turns(key))
        if key in self._leased or not found:
            return False
        self._leased.add(key)
        self._places.add(found[0].question, found[0].accepted_at)
        return True

    async def count_try(self, key: TurnKey) -> int:
        return await self._file.do(lambda: self._count_try(key))

    async def renew(self, keys: Collection[TurnKey]) -> set[TurnKey]:
        return set(keys) - self._leased

    async def release(self, key: TurnKey, *, tried: bool = True) -> None:
        self._close(key)
        if not tried:
            sql = "UPDATE turns SET tries = max(0, tries - 1) WHERE key = ?"
            await self._file.do(lambda: self._write(sql, (str(key),)))

    async def is_open(self, key: TurnKey) -> bool:
        return bool(await self._file.do(lambda: self._open_turns(key)))

    async def note_message(self, key: TurnKey, part: int, ts: str) -> None:
        sql = "INSERT OR REPLACE INTO messages (key, part, ts) VALUES (?, ?, ?)"
        await self._file.do(lambda: self._write(sql, (str(key), part, ts)))

    async def settle(self, key: TurnKey, outcome: Outcome) -> None:
        await self._file.do(lambda: self._settle(key, outcome))
        self._close(key)

    async def take_place(self, key: TurnKey, limit: int) -> int:
        return self._places.take(key, limit)

    async def asked_in(self, team: str, channel: str, thread_ts: str) -> Mapping[str, str]:
        thread, now = (team, channel, thread_ts), self._clock.wall()
        return await self._file.do(lambda: self._askers.of(thread, now))

    async def note_askers(
        self, team: str, channel: str, thread_ts: str, askers: Mapping[str, str]
    ) -> None:
        thread, now = (team, channel, thread_ts), self._clock.wall()
        await self._file.do(lambda: self._askers.add(thread, askers, now))

    async def tell(self, news: News) -> None:
        """There is nobody else."""

    async def news(self) -> AsyncIterator[News]:
        await asyncio.Event().wait()
        yield News("settled", "", "", "")  # never: it makes this a generator

    async def peers(self) -> int:
        return 0

    async def leave(self) -> None:
        """There is nobody else."""

    async def ping(self) -> None:
        # The same number again: a write, so that a full or read-only disk is noticed.
        sql = f"PRAGMA user_version = {len(MIGRATIONS)}"
        await self._file.do(lambda: self._file.db.execute(sql))

    async def close(self) -> None:
        await self._file.close()

    def _close(self, key: TurnKey) -> None:
        self._leased.discard(key)
        self._places.discard(key)

    # Everything below runs in the file's own thread.

    def _accept(self, question: Question, accepted_at: float) -> bool:
        self._accepts += 1
        if self._accepts % PRUNE_EVERY == 0:
            self._prune()
        values = (
            str(question.key),
            question.team,
            question.channel,
            question.user,
            question.ts,
            question.thread_ts,
            question.surface,
            question.user_team,
            int(question.is_shared),
            question.run,
            int(question.reuses),
            int(question.continues),
            int(question.in_doubt),
            accepted_at,
        )
        marks = ", ".join("?" * len(values))
        db = self._file.db
        db.execute("BEGIN IMMEDIATE")
        try:
            added = db.execute(
                f"INSERT OR IGNORE INTO turns ({_COLUMNS}) VALUES ({marks})", values
            ).rowcount
            if added and question.run:
                db.execute(
                    "UPDATE turns SET outcome = ? WHERE outcome IS NULL AND team = ?"
                    " AND channel = ? AND ts = ? AND run = ?",
                    (
                        Outcome.SUPERSEDED.value,
                        question.team,
                        question.channel,
                        question.ts,
                        question.run - 1,
                    ),
                )
            thread_ts = question.reply_thread_ts
            asks_there = question.surface == "channel" and not question.in_doubt
            if added and asks_there and thread_ts is not None:
                thread = (question.team, question.channel, thread_ts)
                self._askers.add(thread, {question.user: question.ts}, accepted_at)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        return added == 1

    def _settle(self, key: TurnKey, outcome: Outcome) -> None:
        sql = "UPDATE turns SET outcome = ? WHERE key = ? AND outcome IS NULL"
        self._write(sql, (outcome.value, str(key)))
        if outcome in (Outcome.DECLINED, Outcome.IGNORED):
            self._askers.remove_who_asked(key, only_if_first=outcome is Outcome.IGNORED)

    def _begin_to_remember(self) -> float:
        """When the file was made, or first used by a version that knows askers."""
        db = self._file.db
        db.execute(
            "INSERT INTO memory SELECT ? WHERE NOT EXISTS (SELECT 1 FROM memory)",
            (self._clock.wall(),),
        )
        return float(db.execute("SELECT since FROM memory").fetchone()[0])

    def _count_try(self, key: TurnKey) -> int:
        sql = "UPDATE turns SET tries = tries + 1 WHERE key = ? RETURNING tries"
        row = self._file.db.execute(sql, (str(key),)).fetchone()
        return int(row[0]) if row else 0

    def _write(self, sql: str, values: tuple[str | int, ...]) -> None:
        self._file.db.execute(sql, values)

    def _prune(self) -> None:
        oldest = self._clock.wall() - CLAIM_HOURS * 3_600
        self._file.db.execute(
            "DELETE FROM turns WHERE outcome IS NOT NULL AND accepted_at < ?", (oldest,)
        )
        self._askers.prune(self._clock.wall())

    def _open_turns(self, key: TurnKey | None = None) -> list[OpenTurn]:
        """Every open turn, oldest first; or the one of `key`."""
        one, values = ("AND key = ?", (str(key),)) if key is not None else ("", ())
        rows = self._file.db.execute(
            f"SELECT {_COLUMNS} FROM turns WHERE outcome IS NULL {one} ORDER BY accepted_at, rowid",
            values,
        ).fetchall()
        return [self._open_turn(row) for row in rows]

    def _open_turn(self, row: tuple[object, ...]) -> OpenTurn:
        key, team, channel, user, ts, thread_ts, surface, user_team, is_shared, run = row[:10]
        reuses, continues, in_doubt, accepted_at = row[10:]
        messages = self._file.db.execute("SELECT part, ts FROM messages WHERE key = ?", (key,))
        question = Question(
            team=str(team),
            channel=str(channel),
            user=str(user),
            ts=str(ts),
            thread_ts=cast(str | None, thread_ts),
            surface=cast(Surface, surface),
            user_team=cast(str | None, user_team),
            is_shared=bool(is_shared),
            run=cast(int, run),
            reuses=bool(reuses),
            continues=bool(continues),
            in_doubt=bool(in_doubt),
        )
        return OpenTurn.noted(question, cast(float, accepted_at), dict(messages.fetchall()))
