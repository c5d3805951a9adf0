"""The bot as a process of its own, to be stopped and killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import aiohttp

from bot import cli

ROOT = Path(__file__).parent.parent
PASSED_ON = ("PATH", "SSL_CERT_DIR", "SSL_CERT_FILE")

# The SDKs take seconds to load, which dozens of bots need not do anew: each is forked from one
# process that has loaded them and done nothing else.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["bot.cli", "bot.serve"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(arguments: tuple[str, ...], env: dict[str, str], cwd: Path, pipe: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    out = os.open(pipe, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(out, stream.fileno())
    sys.exit(cli.main(arguments))


class BotProcess:
    """`python -m bot run` with `env`, listening on `port`."""

    def __init__(self, process: BaseProcess, port: int, output: asyncio.StreamReader) -> None:
        self._process = process
        self._output = output
        self._ended = asyncio.Event()
        self.port = port
        asyncio.get_running_loop().add_reader(process.sentinel, self._on_end)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, path: str = "/readyz") -> None:
        """Until the process says that it is ready; fails when it ends first."""
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            while not self._ended.is_set():
                try:
                    async with session.get(self.url + path) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise AssertionError(f"the bot ended with {self._process.exitcode}")

    async def line(self) -> str:
        """The next line that it writes."""
        async with asyncio.timeout(20):
            return (await self._output.readline()).decode()

    def terminate(self) -> None:
        self._process.terminate()

    async def kill(self) -> None:
        self._process.kill()
        await self._ended.wait()

    async def ended(self, timeout_s: float = 20.0) -> tuple[int, str]:
        """The exit code and what it wrote."""
        async with asyncio.timeout(timeout_s):
            await self._ended.wait()
            written = await self._output.read()
        assert self._process.exitcode is not None
        return self._process.exitcode, written.decode()


@asynccontextmanager
async def bot_process(
    env: Mapping[str, str], *arguments: str, port: int | None = None, cwd: Path | None = None
) -> AsyncIterator[BotProcess]:
    """Start the bot; it is killed on leaving, if it still runs."""
    port = port or free_port()
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    whole_env = {**passed_on, "PORT": str(port), **env}
    output = asyncio.StreamReader(limit=2**20)
    with tempfile.TemporaryDirectory() as folder:
        pipe = f"{folder}/output"
        os.mkfifo(pipe)
        reading = os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb")
        process = FORKS.Process(target=_run, args=(arguments, whole_env, cwd or ROOT, pipe))
        await asyncio.to_thread(process.start)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), reading
        )
        bot = BotProcess(process, port, output)
        try:
            yield bot
        finally:
            if process.is_alive():
                await bot.kill()
            transport.close()
