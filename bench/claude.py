"""CPU per delta: the bot's way of reading a stream beside the transport's and the SDK's.

    .venv/bin/python -m bench.claude

All read the same scripted stream over loopback in one run; the server runs in a process of its
own, so that only the reader's CPU is counted.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import anthropic

from bot.channels import Manner
from bot.claude import Claude
from bot.claude.watch import Clocks
from bot.playground.claude import Reply, ScriptedClaude
from bot.turn import Message, StreamReport

DELTAS = 4_000
PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 16_000,
    "messages": [{"role": "user", "content": "go"}],
    "stream": True,
}


def serve(pipe: Connection) -> None:
    """The scripted Claude; sends its address, ends when the other side closes."""

    async def run() -> None:
        chunks = [f"w{number:03d} " for number in range(DELTAS)]
        async with ScriptedClaude(tokens_per_second=float("inf")) as scripted:
            scripted.default = lambda body: Reply(chunks=chunks)
            pipe.send(scripted.base_url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


async def bytes_only(client: anthropic.AsyncAnthropic) -> int:
    stream = await client.messages.create(**PARAMS)
    return len([chunk async for chunk in stream.response.aiter_bytes()])


async def records(client: anthropic.AsyncAnthropic) -> int:
    stream = await client.messages.create(**PARAMS)
    found = [json.loads(one.data) async for one in stream.raw_events(stream.response)]
    return len(found)


async def sdk_events(client: anthropic.AsyncAnthropic) -> int:
    stream = await client.messages.create(**PARAMS)
    return len([event async for event in stream])


async def sdk_helper(client: anthropic.AsyncAnthropic) -> int:
    arguments = {name: value for name, value in PARAMS.items() if name != "stream"}
    async with client.messages.stream(**arguments) as stream:
        return len([text async for text in stream.text_stream])


async def measure(name: str, read: Callable[[], Awaitable[object]]) -> None:
    await read()
    best = min([await _cpu_s(read) for _ in range(5)])
    print(f"{name:<44}{best / DELTAS * 1e6:>8.1f} µs of CPU per delta")


async def _cpu_s(read: Callable[[], Awaitable[object]]) -> float:
    began = time.process_time()
    await read()
    return time.process_time() - began


async def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    base_url = await asyncio.to_thread(ours.recv)
    claude = Claude(
        api_key="sk-ant-scripted",
        base_url=base_url,
        fallback_model=None,
        max_tokens=16_000,
        clocks=Clocks(first_event_s=60, idle_s=90, total_s=600),
    )
    manner = Manner("", "claude-sonnet-5-5", "low")
    asked = [Message("user", "go")]

    async def bot() -> None:
        heard: list[object] = []
        await claude.reply(asked, manner, user="u", tell=heard.append, report=StreamReport())

    client = claude.client
    await measure("the transport alone (bytes)", lambda: bytes_only(client))
    await measure("records, parsed as JSON", lambda: records(client))
    await measure("the bot (clocks, integrity, gaps, events)", bot)
    await measure("the SDK: create(stream=True)", lambda: sdk_events(client))
    await measure("the SDK: messages.stream", lambda: sdk_helper(client))
    await claude.close()
    ours.send("done")
    server.join(5)


if __name__ == "__main__":
    asyncio.run(main())
