"""The figures in a file: one row for each case and bot, kept as soon as they are measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench import report

Row = dict[str, Any]


class Results:
    """Rows by case and bot. A row that is measured again replaces the old one; rows that were
    measured in another setting are dropped, and that is said."""

    def __init__(self, path: Path | None, setting: dict[str, Any]) -> None:
        self._path = path
        self._setting = setting
        self._rows: dict[tuple[str, str], Row] = {}
        if path is not None and path.exists():
            self._read(path)

    @property
    def rows(self) -> list[Row]:
        """All of them, in the order of the table."""
        return sorted(self._rows.values(), key=report.place)

    @property
    def known(self) -> frozenset[tuple[str, str]]:
        """The cases and bots that have been measured without an error."""
        return frozenset(key for key, row in self._rows.items() if "error" not in row)

    def keep(self, row: Row) -> None:
        """Take a row in, and write the file, whole or not at all."""
        self._rows[row["case"], row["mode"]] = _rounded(row)
        if self._path is not None:
            beside = self._path.with_suffix(".new")
            beside.write_text(self._as_json())
            beside.replace(self._path)

    def _read(self, path: Path) -> None:
        found = json.loads(path.read_text())
        if found["setting"] == self._setting:
            self._rows = {(row["case"], row["mode"]): row for row in found["rows"]}
        else:
            print(f"{path} was measured in another setting: begun anew", file=sys.stderr)

    def _as_json(self) -> str:
        """One line for each row, so that a diff of two runs can be read."""
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in self.rows)
        return f'{{"setting": {json.dumps(self._setting)},\n"rows": [\n{lines}\n]}}\n'


def _rounded(row: Row) -> Row:
    return {
        name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()
    }
