"""The embedded store: one SQLite file in DATA_DIR, in a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar, cast

from bot.clock import Clock
from bot.errors import StoreUnavailable
from bot.store import CLAIM_HOURS, OpenTurn
from bot.turn import Outcome, Question, Surface, TurnKey

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 2.0
PRUNE_EVERY: Final = 500

# Applied in order, once each; never change one that has been released.
MIGRATIONS: Final = (
    """
    CREATE TABLE turns (
        key TEXT PRIMARY KEY, team TEXT NOT NULL, channel TEXT NOT NULL, user TEXT NOT NULL,
        ts TEXT NOT NULL, thread_ts TEXT, surface TEXT NOT NULL, user_team TEXT,
        is_shared INTEGER NOT NULL, run INTEGER NOT NULL,
        accepted_at REAL NOT NULL, outcome TEXT
    ) STRICT;
    CREATE INDEX open_turns ON turns (accepted_at) WHERE outcome IS NULL;
    CREATE TABLE messages (
        key TEXT NOT NULL REFERENCES turns (key) ON DELETE CASCADE,
        part INTEGER NOT NULL, ts TEXT NOT NULL, PRIMARY KEY (key, part)
    ) STRICT;
    """,
    "ALTER TABLE turns ADD COLUMN tries INTEGER NOT NULL DEFAULT 0",
)


class SqliteStore:
    """Store over one connection; every call runs in one worker thread, in order."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._accepts = 0

    @classmethod
    async def open(cls, data_dir: str, clock: Clock) -> SqliteStore:
        """The store in `data_dir`, made if missing. Raises StoreUnavailable when that fails."""
        store = cls(Path(data_dir) / "bot.sqlite3", clock)
        try:
            await store._do(lambda: store._connect())
        except BaseException:
            store._thread.shutdown(wait=False)
            raise
        return store

    async def accept(self, question: Question) -> bool:
        return await self._do(lambda: self._accept(question))

    async def take_up(self, key: TurnKey) -> int:
        return await self._do(lambda: self._take_up(key))

    async def note_message(self, key: TurnKey, part: int, ts: str) -> None:
        sql = "INSERT OR REPLACE INTO messages (key, part, ts) VALUES (?, ?, ?)"
        await self._do(lambda: self._write(sql, (str(key), part, ts)))

    async def settle(self, key: TurnKey, outcome: Outcome) -> None:
        sql = "UPDATE turns SET outcome = ? WHERE key = ?"
        await self._do(lambda: self._write(sql, (outcome.value, str(key))))

    async def open_turns(self) -> list[OpenTurn]:
        return await self._do(self._open_turns)

    async def ping(self) -> None:
        await self._do(lambda: self._db.execute("SELECT 1").fetchone())

    async def close(self) -> None:
        def finish() -> None:
            if self._connection is not None:
                self._connection.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, finish)
        self._thread.shutdown(wait=True)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise StoreUnavailable(f"sqlite: {error}") from error

    # Everything below runs in the store's own thread.

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("the store is not open")
        return self._connection

    def _connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # survives a killed process
        connection.execute("PRAGMA foreign_keys = ON")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            connection.executescript(f"BEGIN; {migration}; PRAGMA user_version = {number}; COMMIT;")
        self._prune()

    def _accept(self, question: Question) -> bool:
        self._accepts += 1
        if self._accepts % PRUNE_EVERY == 0:
            self._prune()
        added = self._db.execute(
            "INSERT OR IGNORE INTO turns (key, team, channel, user, ts, thread_ts, surface,"
            " user_team, is_shared, run, accepted_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
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
                self._clock.wall(),
            ),
        )
        return added.rowcount == 1

    def _take_up(self, key: TurnKey) -> int:
        sql = "UPDATE turns SET tries = tries + 1 WHERE key = ? RETURNING tries"
        row = self._db.execute(sql, (str(key),)).fetchone()
        return int(row[0]) if row else 0

    def _write(self, sql: str, values: tuple[str | int, ...]) -> None:
        self._db.execute(sql, values)

    def _prune(self) -> None:
        oldest = self._clock.wall() - CLAIM_HOURS * 3_600
        self._db.execute(
            "DELETE FROM turns WHERE outcome IS NOT NULL AND accepted_at < ?", (oldest,)
        )

    def _open_turns(self) -> list[OpenTurn]:
        rows = self._db.execute(
            "SELECT key, team, channel, user, ts, thread_ts, surface, user_team, is_shared, run,"
            " accepted_at FROM turns WHERE outcome IS NULL ORDER BY accepted_at"
        ).fetchall()
        return [self._open_turn(row) for row in rows]

    def _open_turn(self, row: tuple[object, ...]) -> OpenTurn:
        key, team, channel, user, ts, thread_ts, surface, user_team, is_shared, run, at = row
        messages = self._db.execute("SELECT part, ts FROM messages WHERE key = ?", (key,))
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
        )
        return OpenTurn(question, cast(float, at), dict(messages.fetchall()))
