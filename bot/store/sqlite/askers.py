"""Who has asked in which thread."""

from __future__ import annotations

from collections.abc import Mapping
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

    def add(self, thread: Thread, askers: Mapping[str, str], now: float) -> None:
        """People have asked in `thread`, first at that ts; who asked longest ago makes room."""
        db = self._file.db
        first = f"SELECT min(first_ts) FROM askers WHERE {_THREAD} AND user = ?"
        db.executemany(
            "INSERT OR REPLACE INTO askers (team, channel, thread_ts, user, first_ts, at)"
            f" VALUES (?, ?, ?, ?, min(?, coalesce(({first}), ?)), ?)",
            [(*thread, user, ts, *thread, user, ts, now) for user, ts in askers.items()],
        )
        # A replaced row gets a new rowid, so rowids are in the order of the questions.
        db.execute(
            f"DELETE FROM askers WHERE rowid IN (SELECT rowid FROM askers WHERE {_THREAD}"
            f" ORDER BY rowid DESC LIMIT -1 OFFSET {ASKERS})",
            thread,
        )

    def of(self, thread: Thread, now: float) -> dict[str, str]:
        """Who has asked in `thread` lately, and the ts of their first question."""
        rows = self._file.db.execute(
            f"SELECT user, first_ts FROM askers WHERE {_THREAD} AND at > ?",
            (*thread, now - KEPT_S),
        )
        return dict(rows.fetchall())

    def remove_who_asked(self, key: TurnKey, *, only_if_first: bool) -> None:
        """Whoever asked the question has not asked in its thread; or not with that question."""
        self._file.db.execute(
            "DELETE FROM askers WHERE (team, channel, thread_ts, user) ="
            " (SELECT team, channel, coalesce(thread_ts, ts), user FROM turns WHERE key = ?)"
            " AND (first_ts = ? OR NOT ?)",
            (str(key), key.ts, only_if_first),
        )

    def prune(self, now: float) -> None:
        """Forget those who asked long ago."""
        self._file.db.execute("DELETE FROM askers WHERE at <= ?", (now - KEPT_S,))
