"""One SQLite file and the one thread that works on it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from bot.errors import StoreUnavailable

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 2.0

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
    """
    ALTER TABLE turns ADD COLUMN reuses INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE turns ADD COLUMN continues INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE calls (budget TEXT NOT NULL, at REAL NOT NULL) STRICT;
    CREATE INDEX calls_at ON calls (at);
    CREATE TABLE pauses (
        budget TEXT PRIMARY KEY, until REAL NOT NULL, share REAL NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE turns ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE askers (
        team TEXT NOT NULL, channel TEXT NOT NULL, thread_ts TEXT NOT NULL, user TEXT NOT NULL,
        first_ts TEXT NOT NULL, at REAL NOT NULL, UNIQUE (team, channel, thread_ts, user)
    ) STRICT;
    CREATE INDEX askers_at ON askers (at);
    CREATE TABLE memory (since REAL NOT NULL) STRICT;
    """,
)


class File:
    """The connection; every piece of work runs in the file's own thread, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self.is_new = True
        """Whether nothing had been written before it was opened."""

    async def open(self) -> None:
        """Open it, or make it. Raises StoreUnavailable when that fails."""
        try:
            await self.do(self._connect)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def do(self, work: Callable[[], T]) -> T:
        """Run `work` in the file's thread. Raises StoreUnavailable when the file fails."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise StoreUnavailable(f"sqlite: {error}") from error

    async def close(self) -> None:
        """Finish what is under way and close the file."""

        def finish() -> None:
            if self._connection is not None:
                self._connection.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, finish)
        self._thread.shutdown(wait=True)

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for work in the file's thread."""
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
        self.is_new = version == 0
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            connection.executescript(f"BEGIN; {migration}; PRAGMA user_version = {number}; COMMIT;")
