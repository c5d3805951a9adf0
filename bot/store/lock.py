"""One process per DATA_DIR: a second one would answer the same questions again."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from bot import logs
from bot.errors import StoreUnavailable

log = logging.getLogger(__name__)

WAIT_S: Final = 35.0
"""A deploy starts the next process while the last one drains (25 s by default)."""
LOOK_EVERY_S: Final = 0.25


@asynccontextmanager
async def only_process(data_dir: str) -> AsyncIterator[None]:
    """Hold DATA_DIR for this process; the system releases it when the process ends, however.

    Waits for a process that is still draining. Raises StoreUnavailable when it does not end.
    """
    file = await asyncio.to_thread(_open, Path(data_dir))
    try:
        await _lock(file)
        yield
    finally:
        file.close()


def _open(data_dir: Path) -> IO[str]:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return (data_dir / "bot.lock").open("w")
    except OSError as error:
        raise StoreUnavailable(f"{error.strerror}: {error.filename}") from error


async def _lock(file: IO[str]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    said = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if loop.time() > deadline:
                raise StoreUnavailable("another process uses it") from error
        if not said:
            logs.warning(log, "waiting_for_another_process", file=file.name)
            said = True
        await asyncio.sleep(LOOK_EVERY_S)
