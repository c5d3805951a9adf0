"""Text files that the operator edits: read whole, watched, and what is wrong with them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Final

MOST_BYTES: Final = 1_000_000

Stamp = tuple[int, int, int, int]


def stamp(path: str) -> Stamp | None:
    """What differs when a file is another one, has changed, or may be read now (ctime tells);
    None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def size(path: str) -> int:
    """How many bytes the file has, 0 where there is none."""
    found = stamp(path)
    return found[2] if found is not None else 0


@dataclass(slots=True)
class Files:
    """The files of one look at them. Their names are not repeated in problems: one may be a secret,
    or a whole prompt, that was put on the wrong line."""

    stamps: dict[str, Stamp | None] = field(default_factory=dict)
    """How each was before it was read."""
    problems: list[str] = field(default_factory=list)

    def text(self, path: str, said: str) -> str | None:
        """The text of the file that `said` names; None if it cannot be had, which is a problem."""
        self.stamps[path] = stamp(path)
        try:
            return _text(path)
        except _UnusableError as error:
            self.problems.append(f"{said} {error}")
            return None

    def prompt(self, path: str, said: str) -> str | None:
        """The prompt that the file holds; an empty one is a problem."""
        text = self.text(path, said)
        if text is not None and not text.strip():
            self.problems.append(f"{said} names an empty file")
        return text.strip() if text is not None else None


class _UnusableError(Exception):
    """Why a file is none that we can use."""


def _text(path: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for a writer
            raise _UnusableError("must name a file")
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise _UnusableError("names a file that does not exist") from error
    except OSError as error:
        raise _UnusableError(f"names a file that cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _UnusableError("is no name of a file") from error
    if len(raw) > MOST_BYTES:
        raise _UnusableError(f"names a file of more than {MOST_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _UnusableError("names a file that is not UTF-8 text") from error
