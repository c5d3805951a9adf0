"""A small world around the real bot: an emulated Slack, a scripted Claude, one question's reply."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from html import escape
from pathlib import Path
from typing import Self

from bot.playground.claude import ScriptedClaude
from bot.playground.exchange import Exchange
from bot.playground.process import BotProcess, WorldError
from bot.playground.slack import SlackEmulator

TOKENS_PER_SECOND = 80.0  # about what a fast model writes
FIRST_TOKEN_S = 0.6
TICK_S = 0.1
GRACE_S = 25.0  # what the bot gives its replies by default
ROOT = Path(__file__).resolve().parents[2]

# What the bot gets of the caller's environment: how to run, never how to reach a real workspace.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT")
PASSED_ON_LIVE = (
    *("CLAUDE_MODEL", "CLAUDE_FALLBACK_MODEL", "CLAUDE_EFFORT", "CLAUDE_MAX_TOKENS"),
    *("SYSTEM_PROMPT", "ANTHROPIC_BASE_URL", "HTTPS_PROXY", "https_proxy"),
)
# A `.env` beside the code must not reach the bot either: a name that is set, even to "", wins.
EMPTY = (
    *("SLACK_APP_TOKEN", "REDIS_URL", "FOLLOW_UPS", "ALLOWED_USERS", "ALLOWED_CHANNELS"),
    *("DELIVERY", "EDITS_PER_MINUTE", "CONTEXT_TOKENS", "LOG_FORMAT", "SYSTEM_PROMPT"),
    *("SYSTEM_PROMPT_FILE", "CHANNELS_FILE"),
    *("CLAUDE_MODEL", "CLAUDE_FALLBACK_MODEL", "CLAUDE_EFFORT", "CLAUDE_MAX_TOKENS"),
)


class World:
    """Slack, Claude and the bot, on loopback ports. Use as `async with`.

    With `live`, Claude is the real one, asked with ANTHROPIC_API_KEY of `environ`.
    """

    def __init__(
        self,
        *,
        live: bool = False,
        environ: Mapping[str, str] | None = None,
        delivery: str = "auto",
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._delivery = delivery
        self.emulator = SlackEmulator()
        self.claude = (
            None
            if live
            else ScriptedClaude(tokens_per_second=TOKENS_PER_SECOND, first_token_s=FIRST_TOKEN_S)
        )
        self._closers = contextlib.AsyncExitStack()
        self.user = self.channel = self.dm = ""
        self.bot: BotProcess | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.emulator)
            if self.claude is not None:
                await stack.enter_async_context(self.claude)
            self.user = self.emulator.add_user("Ada Lovelace", display_name="ada")
            self.channel = self.emulator.add_channel("general", members=[self.user])
            self.dm = self.emulator.add_dm(self.user)
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-in-slack-"))
            port = _free_port()
            self.bot = BotProcess(self._bot_environment(port, directory), port)
            stack.push_async_callback(self.bot.stop)
            await self.bot.start(directory)
            self.emulator.events_url = self.bot.events_url
            self._closers = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._closers.aclose()

    def _bot_environment(self, port: int, directory: str) -> dict[str, str]:
        names = (*PASSED_ON, *(() if self.claude else PASSED_ON_LIVE))
        passed_on = {name: self._environ[name] for name in names if name in self._environ}
        settings = self.emulator.settings
        env = (
            {name: "" for name in EMPTY}
            | passed_on
            | {
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "NO_PROXY": "127.0.0.1",
                "SLACK_BOT_TOKEN": settings.bot_token,
                "SLACK_SIGNING_SECRET": settings.signing_secret,
                "SLACK_API_URL": self.emulator.api_url,
                "PORT": str(port),
                "DATA_DIR": f"{directory}/data",
                "DELIVERY": self._delivery,
                "SHUTDOWN_GRACE_S": str(GRACE_S),
                "LOG_LEVEL": "WARNING",
            }
        )
        if self.claude is None:
            return env | {"ANTHROPIC_API_KEY": self._environ["ANTHROPIC_API_KEY"]}
        return env | {
            "ANTHROPIC_API_KEY": self.claude.api_key,
            "ANTHROPIC_BASE_URL": self.claude.base_url,
        }

    async def ask(
        self, question: str, *, title: str, dm: bool = False, thread_ts: str | None = None
    ) -> Exchange:
        """Ada asks: in the channel, where the bot is mentioned, or in her direct messages."""
        channel = self.dm if dm else self.channel
        text = escape(question, quote=False)  # as Slack's clients send it
        if not dm:
            text = f"<@{self.emulator.settings.bot_user_id}> {text}"
        asked_at = asyncio.get_running_loop().time()
        requests_before = len(self.claude.requests) if self.claude else 0
        ts = await self.emulator.say(self.user, channel, text, thread_ts=thread_ts)
        return Exchange(
            title=title,
            question=question,
            channel=channel,
            ts=ts,
            root_ts=thread_ts or ts,
            is_dm=dm,
            asked_at=asked_at,
            emulator=self.emulator,
            claude=self.claude,
            requests_before=requests_before,
        )

    async def follow(self, exchange: Exchange, *, timeout_s: float) -> AsyncIterator[bool]:
        """Come back on every visible change (True) and every 0.1 s (False), until it is settled.

        TimeoutError if the reply is not settled in time, WorldError if the bot ends before.
        """
        changes = self.emulator.changes(exchange.channel)
        loop = asyncio.get_running_loop()
        try:
            yield True
            while not exchange.is_settled:
                if self.bot is not None and self.bot.has_ended:
                    raise WorldError(f"The bot has ended:\n{self.bot.output}")
                if loop.time() - exchange.asked_at > timeout_s:
                    raise TimeoutError(f"not settled within {timeout_s:g} s")
                try:
                    async with asyncio.timeout(TICK_S):  # wait_for may swallow a Ctrl-C
                        await anext(changes)
                    yield True
                except TimeoutError:
                    yield False
        finally:
            changes.close()

    async def stop(self, exchange: Exchange) -> AsyncIterator[bool]:
        """Stop the bot, and come back as `follow` does until it has ended."""
        if self.bot is None:
            return
        changes = self.emulator.changes(exchange.channel)
        stopping = asyncio.create_task(self.bot.stop())
        try:
            while not stopping.done():
                try:
                    async with asyncio.timeout(TICK_S):  # wait_for may swallow a Ctrl-C
                        await anext(changes)
                    yield True
                except TimeoutError:
                    yield False
            await stopping
        finally:
            changes.close()
            stopping.cancel()  # a second Ctrl-C: the bot is killed
            await asyncio.gather(stopping, return_exceptions=True)


def _free_port() -> int:
    """A port for the bot, which opens it only seconds later.

    One that the system gives out (port 0) could become the near end of somebody's connection
    before that; those come from 32768 up on Linux, from 49152 elsewhere.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
