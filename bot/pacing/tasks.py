"""The tasks that belong to the pacer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Work = Coroutine[Any, Any, None]


class Tasks:
    """Started here, cancelled and awaited here."""

    def __init__(self) -> None:
        self._all: set[asyncio.Task[None]] = set()
        self._by_name: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Work) -> None:
        """Run `work`."""
        self._start(name, work)

    def once(self, name: str, work: Callable[[], Work]) -> bool:
        """Run `work`; False if something runs under this name already."""
        running = self._by_name.get(name)
        if running is not None and not running.done():
            return False
        self._by_name[name] = self._start(name, work())
        return True

    async def close(self) -> None:
        """End all of them."""
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _start(self, name: str, work: Work) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"pacer:{name}")
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        return task
