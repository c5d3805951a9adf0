"""The bot as a process of its own, to be stopped and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class BotProcess:
    """`python -m bot run` with `env`, listening on `port`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, path: str = "/readyz") -> None:
        """Until the process says that it is ready; fails when it ends first."""
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            while self._process.returncode is None:
                try:
                    async with session.get(self.url + path) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise AssertionError(f"the bot ended with {self._process.returncode}")

    async def line(self) -> str:
        """The next line that it writes to standard error."""
        assert self._process.stderr is not None
        async with asyncio.timeout(20):
            return (await self._process.stderr.readline()).decode()

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def ended(self, timeout_s: float = 20.0) -> tuple[int, str]:
        """The exit code and what it wrote to standard error."""
        async with asyncio.timeout(timeout_s):
            _, errors = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, errors.decode()


@asynccontextmanager
async def bot_process(
    env: Mapping[str, str], *arguments: str, port: int | None = None, cwd: Path | None = None
) -> AsyncIterator[BotProcess]:
    """Start the bot; it is killed on leaving, if it still runs."""
    port = port or free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(port), **env},
        cwd=cwd or ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield BotProcess(process, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
