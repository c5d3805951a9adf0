"""The real bot as a subprocess."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Mapping

import aiohttp

READY_S = 30.0
STOP_S = 30.0  # hosts kill after that
TICK_S = 0.1


class WorldError(Exception):
    """The world could not be set up; the text says why, for the person at the terminal."""


class BotProcess:
    """The real bot, `python -m bot run`, as a subprocess with an environment of its own."""

    def __init__(self, env: Mapping[str, str], port: int) -> None:
        self._env = dict(env)
        self._url = f"http://127.0.0.1:{port}"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=200)

    @property
    def events_url(self) -> str:
        """Where Slack sends events, buttons and commands."""
        return f"{self._url}/slack/events"

    @property
    def output(self) -> str:
        """The last lines that it wrote to stdout and stderr."""
        return "\n".join(self._lines)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is not None and self._process.returncode is not None

    async def start(self, cwd: str) -> None:
        """Start it and wait until /readyz says 200; WorldError with its output if it does not."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "run"),
            cwd=cwd,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle, not the bot's
        )
        self._reader = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
                while True:
                    if await self._is_ready(session):
                        return
                    await asyncio.sleep(TICK_S)
        except TimeoutError:
            raise WorldError(
                f"The bot was not ready within {READY_S:g} s.\n{self.output}"
            ) from None

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        if self.has_ended:
            assert self._reader is not None
            await self._reader
            raise WorldError(f"The bot did not start:\n{self.output}")
        try:
            async with session.get(f"{self._url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        async for line in self._process.stdout:
            self._lines.append(line.decode(errors="replace").rstrip())

    async def stop(self) -> None:
        """SIGTERM, the time that hosts give, then SIGKILL."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                pass
            finally:  # also when the waiting is cancelled by a second Ctrl-C
                if not self.has_ended:
                    self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader
