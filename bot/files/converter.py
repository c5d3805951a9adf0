"""Hands a file to a worker process and takes what comes back, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from bot import logs
from bot.errors import FileUnread

log = logging.getLogger(__name__)

WORKER: Final = Path(__file__).with_name("worker.py")
CONVERSION_TIMEOUT_S: Final = 20.0
WORKERS: Final = 2
"""At once: the bot shares its cores with them."""
RESULT_BYTES: Final = 21_000_000
REASON_CHARACTERS: Final = 100

TOO_SLOW: Final = "it took too long to read"
TOO_LARGE: Final = "its tables are too large"
DAMAGED: Final = "it is damaged or not what its name says"


class Converter:
    """A process for each file: nothing is loaded or kept while there is none to read, and a file
    that breaks its process harms no other."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(WORKERS)

    async def convert(self, kind: str, data: bytes) -> tuple[dict[str, Any], bytes]:
        """What is known of a file of that kind, and its content as Claude gets it.

        Raises FileUnread with the reason. The process is gone when this returns, or is cancelled.
        """
        async with self._free:
            worker = await asyncio.create_subprocess_exec(
                # -I: neither the environment nor the working directory says what is imported.
                *(sys.executable, "-I", str(WORKER), kind),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # may quote the file
                env={"MALLOC_ARENA_MAX": "1"},
            )
            try:
                async with asyncio.timeout(CONVERSION_TIMEOUT_S):
                    answer = await _exchange(worker, data)
                    await worker.wait()
            except TimeoutError as error:
                logs.warning(log, "file_worker_killed", kind=kind)
                raise FileUnread(TOO_SLOW) from error
            finally:
                if worker.returncode is None:
                    # Not worker.kill(): it may reap the process, whose watcher then knows nothing.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker.pid, signal.SIGKILL)
                if worker.stdout is not None:
                    await worker.stdout.read()  # what is left, so that the pipe is closed too
                await worker.wait()
        return _read(kind, data, answer, worker.returncode)


async def _exchange(worker: asyncio.subprocess.Process, data: bytes) -> bytes:
    """Send the file, collect the answer: both at once, or two full pipes would wait for ever."""
    assert worker.stdin is not None and worker.stdout is not None
    stdin, stdout = worker.stdin, worker.stdout

    async def send() -> None:
        with contextlib.suppress(ConnectionError):  # it ended before it had read everything
            stdin.write(data)
            await stdin.drain()
        stdin.close()

    sending = asyncio.create_task(send())
    try:
        answer = bytearray()
        while chunk := await stdout.read(1 << 20):
            answer += chunk
            if len(answer) > RESULT_BYTES:
                raise FileUnread(DAMAGED)
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        stdin.close()
    return bytes(answer)


def _read(
    kind: str, data: bytes, answer: bytes, status: int | None
) -> tuple[dict[str, Any], bytes]:
    head, _, content = answer.partition(b"\n")
    try:
        told = json.loads(head)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        logs.warning(log, "file_worker_failed", kind=kind, status=status)
        # How the library for tables ends when it gets no more memory.
        is_too_large = kind == "excel" and status == -signal.SIGABRT
        raise FileUnread(TOO_LARGE if is_too_large else DAMAGED)
    if "reason" in told:
        raise FileUnread(str(told["reason"])[:REASON_CHARACTERS])
    return told, data if told.get("as_it_is") else content
