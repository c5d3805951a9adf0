"""Who has asked in which thread."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bot.store import ASKED_DAYS, ASKERS
from bot.store.sqlite.file import File
from bot.turn import TurnKey

KEPT_S: Final = ASKED_DAYS * 86_400

Thread = tuple[str, str, str]
"""Team, channel, ts of the root."""

_THREAD: Final = "team = ? AND channel = ? AND thread_ts = ?"


class Askers:
    """A table of the file; everything here runs in the file's own thread."""

    def __init__(self, file: File) -> None:
        self._file = file

    def add(self, thread: Thread, users: Collection[str], now: float) -> None:
        """`users` have asked in `thread`; those who asked longest ago make room."""
        db = self._file.db
        db.executemany(
            "INSERT OR REPLACE INTO askers (team, channel, thread_ts, user, at)"
            " VALUES (?, ?, ?, ?, ?)",
            [(*thread, user, now) for user in users],
        )
        # A replaced row gets a new rowid, so rowids are in the order of the questions.
        db.execute(
            f"DELETE FROM askers WHERE rowid IN (SELECT rowid FROM askers WHERE {_THREAD}"
            f" ORDER BY rowid DESC LIMIT -1 OFFSET {ASKERS})",
            thread,
        )

    def of(self, thread: Thread, now: float) -> frozenset[str]:
        """Who has asked in `thread` lately."""
        rows = self._file.db.execute(
            f"SELECT user FROM askers WHERE {_THREAD} AND at > ?", (*thread, now - KEPT_S)
        )
        return frozenset(user for (user,) in rows)

    def remove_who_asked(self, key: TurnKey) -> None:
        """Whoever asked the question has not asked in its thread."""
        self._file.db.execute(
            "DELETE FROM askers WHERE (team, channel, thread_ts, user) ="
            " (SELECT team, channel, coalesce(thread_ts, ts), user FROM turns WHERE key = ?)",
            (str(key),),
        )

    def prune(self, now: float) -> None:
        """Forget those who asked long ago."""
        self._file.db.execute("DELETE FROM askers WHERE at <= ?", (now - KEPT_S,))
