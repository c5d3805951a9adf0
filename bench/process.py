"""A bot as a process of its own, and what it costs."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

READY_S: Final = 40.0
STOP_S: Final = 5.0
TICK_S: Final = 0.1
STARTING: Final = 503
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """CPU spent so far, and the memory now and at its highest."""

    cpu_s: float
    rss_mb: float
    peak_mb: float


class BotProcess:
    """One bot under way."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self._process = process
        self._log = log
        self._origin = f"http://127.0.0.1:{port}"
        self.events_url = f"{self._origin}/slack/events"

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def output(self) -> str:
        """What it has written, stdout and stderr."""
        return self._log.read_text(errors="replace")

    def usage(self) -> Usage:
        """From /proc, so of this process alone."""
        proc = Path(f"/proc/{self._process.pid}")
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        return Usage(
            cpu_s=(int(fields[11]) + int(fields[12])) / _CLOCK_TICKS,
            rss_mb=int(status["VmRSS"].split()[0]) / 1024,
            peak_mb=int(status["VmHWM"].split()[0]) / 1024,
        )

    async def until_ready(self) -> None:
        """Return once it answers; RuntimeError with its output if it does not."""
        try:
            async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
                while not self.has_ended:
                    if await self._answers(session):
                        return
                    await asyncio.sleep(TICK_S)
        except TimeoutError:
            pass
        raise RuntimeError(f"the bot did not start:\n{self.output[-2000:]}")

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self._origin}/readyz") as response:
                return response.status != STARTING
        except aiohttp.ClientConnectionError:
            return False

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self.has_ended:
            return
        self._process.terminate()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_S)
        finally:  # also when the waiting is cancelled
            if not self.has_ended:
                self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def running(
    command: tuple[str, ...], env: Mapping[str, str], directory: Path
) -> AsyncIterator[BotProcess]:
    """`python *command` with PORT of its own, ready; stopped at the end of the block."""
    port = _free_port()
    log = directory / "output.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command),
            cwd=directory,
            env={**env, "PORT": str(port)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    bot = BotProcess(process, port, log)
    try:
        await bot.until_ready()
        yield bot
    finally:
        await bot.stop()


def _free_port() -> int:
    """A free port below those that the system gives out, since the bot opens it only later."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
