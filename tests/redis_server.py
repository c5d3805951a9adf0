"""A real redis-server on a free loopback port: a test can stop, kill, freeze and start it again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 5.0


class RedisServer:
    """One child process with its data in memory; always on the same port.

    `options` are redis-server's own, as in `("--requirepass", "secret")`; with a `certificate` (and
    its `key`) the URL is one for TLS. All verbs return when it
    is done, some milliseconds later; beside a running bot call them in `asyncio.to_thread`, so that
    it sees its connections end, as it would in real life.
    """

    def __init__(
        self, *options: str, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        self.port = free_port()
        self._secure_port = free_port() if certificate else 0
        self._options = options
        if certificate:
            self._options += ("--tls-port", str(self._secure_port), "--tls-auth-clients", "no")
            self._options += ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
        self._directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self._secure_port:
            return f"rediss://127.0.0.1:{self._secure_port}/0"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> None:
        """Run it, with the data that `stop(keep=True)` has left, and wait until it answers."""
        assert self._process is None, "it runs"
        command = [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self._directory)),
            *("--loglevel", "warning", *self._options),
        ]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._directory / "log").read_text(errors="replace"))
            time.sleep(0.005)
        (self._directory / "dump.rdb").unlink(missing_ok=True)

    def stop(self, *, keep: bool = False) -> None:
        """End it in order. With `keep` the next start finds the data again."""
        self._say(b"SHUTDOWN SAVE\r\n" if keep else b"SHUTDOWN NOSAVE\r\n")
        self._ended()

    def kill(self) -> None:
        """SIGKILL: it goes without a word, and its data with it."""
        os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def restart(self, *, keep: bool = False) -> None:
        """Stop it and start it: without `keep` everything is forgotten, scripts too."""
        self.stop(keep=keep)
        self.start()

    def freeze(self) -> None:
        """Connections stay open, but nothing is answered until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """End it for good, whatever state it is in."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _ended(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(timeout=START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        # An error is an answer too: of a server with a password. One that loads its data is not up.
        answer = self._say(b"PING\r\n")
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def _say(self, words: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(words)
                return connection.recv(100)
        except OSError:
            return b""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def need(program: str, requirement: str) -> None:
    """Skip the test where `program` is missing; fail it where REQUIRE says that it must not be."""
    if shutil.which(program):
        return
    reason = f"{program} is not installed"
    if requirement in os.environ.get("REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"{reason}, but REQUIRE asks for {requirement}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that the tests of one worker share; each test has a prefix of its own. Who stops
    it starts it again."""
    need("redis-server", "redis")
    server = RedisServer()
    server.start()
    yield server
    server.remove()
