"""`python -m bot demo`, `ask` and `playground`: the real bot at work in the terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from bot import environment
from bot.playground.claude import Reply
from bot.playground.claude.canned import LONG_TOKENS_PER_SECOND, long_answer
from bot.playground.exchange import Exchange
from bot.playground.process import WorldError
from bot.playground.screen import Screen, screen_for
from bot.playground.world import World

SCRIPTED_TIMEOUT_S = 60.0
LIVE_TIMEOUT_S = 600.0
INTERRUPTED = 130  # as a shell reports Ctrl-C
NO_KEY = 2

CHANNEL, THREAD, DIRECT = "#general", "#general · thread", "Direct message"
LONG = "#general · a long answer"
PROMPT = "\nyou> "
HELP = """Type a question and press Enter: it mentions Claude in #general, the reply grows below.
  /thread …  go on in the thread of the last answer
  /dm …      write to Claude directly
  /quit      stop (or Ctrl-C)
Lines that you paste at once are one question. One line takes 4,095 characters: the terminal drops
the rest, so break a longer one."""
PASTE_S = 0.05  # lines that come closer together were pasted

METHODS = (
    ("chat.update", 50, "edits"),
    ("chat.startStream", 20, "starts of a stream"),
    ("chat.appendStream", 100, "appends"),
    ("chat.stopStream", 20, "stops"),
    ("assistant.threads.setStatus", 600, "status lines"),
)
"""How often Slack takes each a minute: docs.slack.dev/apis/web-api/rate-limits."""


@dataclass(frozen=True)
class Scene:
    """One question of the demo, and what the scripted Claude answers."""

    title: str
    question: str
    answer: str
    in_thread: bool = False
    is_dm: bool = False
    tokens_per_second: float | None = None


SCENES = (
    Scene(
        CHANNEL,
        "what happens between my question and your answer?",
        """Quite a lot, and **none of it should keep you waiting**.

1. Slack sends an event. The bot checks its signature, notes the question in a *journal* and \
answers Slack, all within a few milliseconds.
2. It posts a placeholder, so that you see a sign of life at once, and asks Claude at the same \
time. In a thread it first reads what was said before.
3. Claude's words arrive one by one, and nothing on their way waits for Slack:

```python
async for event in claude.stream(conversation):
    match event:
        case Text(delta):
            reply.add(delta)       # the next edit will show it
        case Done(stop_reason):
            await reply.settle()   # one last edit, never skipped
```

4. The message is edited as often as Slack allows, fifty times a minute, and that budget is shared \
by *all* replies of the workspace. Each edit takes the newest text there is; what you are reading \
grew like that.
5. A text that is too long for one message goes on in the next. The cut is made between two \
paragraphs, and a code block that had to be cut is closed here and opened again there.

> If the connection to Claude breaks on the way, the bot asks again and goes on where it was. If \
Slack says “slow down”, it waits as long as it is told, then shows the newest text.

When the last word has come, a final edit shows the **whole** text. That is the one promise that \
everything else serves.
""",
    ),
    Scene(
        THREAD,
        "and what if the bot is restarted in the middle?",
        """Then the question is still in the journal: the new process finds it, asks again and \
goes on **in the same message**. Nobody has to repeat a question, and no message stays on \
“Thinking…”.
""",
        in_thread=True,
    ),
    Scene(
        DIRECT,
        "Can I ask you here as well, without a mention?",
        """Of course. In a direct message every line is for me:

- no mention needed,
- the conversation goes on without a thread,
- and `/dm` in the playground lets you try it.
""",
        is_dm=True,
    ),
    Scene(
        LONG,
        "please explain all of it at length, with code: about 25,000 characters.",
        long_answer(),
        tokens_per_second=LONG_TOKENS_PER_SECOND,
    ),
)


async def demo(*, live: bool, delivery: str = "auto") -> int:
    """The four scenes; 0 only if every final text is what Claude wrote."""

    async def act(world: World, screen: Screen) -> int:
        exchanges: list[Exchange] = []
        failed: list[str] = []
        for scene in SCENES:
            if exchanges:
                await asyncio.sleep(screen.pause_s)
            thread_ts = exchanges[-1].root_ts if scene.in_thread else None
            if world.claude is not None:
                speed = scene.tokens_per_second
                reply = Reply(scene.answer, when=scene.question, tokens_per_second=speed)
                world.claude.script(reply)
            exchange = await world.ask(
                scene.question, title=scene.title, dm=scene.is_dm, thread_ts=thread_ts
            )
            exchanges.append(exchange)
            settled = await _converse(world, screen, exchange)
            if not settled or not _is_right(exchange, scene):
                failed.append(scene.question)
        screen.results(exchanges)
        screen.note(_calls(world))
        return _verdict(screen, failed, live=live)

    return await _in_world(act, live=live, delivery=delivery)


async def ask(question: str, *, live: bool, delivery: str = "auto") -> int:
    """One question of the user's own, asked in #general."""

    async def act(world: World, screen: Screen) -> int:
        exchange = await world.ask(question, title=CHANNEL)
        settled = await _converse(world, screen, exchange, whole=True)
        return 0 if settled and _is_right(exchange) else 1

    return await _in_world(act, live=live, delivery=delivery)


async def playground(*, live: bool, delivery: str = "auto") -> int:
    """Questions from the terminal until /quit, the end of the input or Ctrl-C."""

    async def act(world: World, screen: Screen) -> int:
        screen.note(HELP)
        last: Exchange | None = None
        _prompt()
        async for line in _input_lines():
            command, _, rest = line.partition(" ")
            if command in ("/quit", "/exit"):
                break
            is_command = command in ("/dm", "/thread")
            question = (rest if is_command else line).strip()
            if not question or (question.startswith("/") and not is_command):
                screen.note(HELP)
            elif command == "/thread" and (last is None or last.is_dm):
                screen.note("There is no thread yet: ask something in #general first.")
            else:
                last = await _ask(world, question, command, last)
                await _converse(world, screen, last, whole=True)
            _prompt()
        return 0

    code = await _in_world(act, live=live, delivery=delivery)
    return 0 if code == INTERRUPTED else code


async def _ask(world: World, question: str, command: str, last: Exchange | None) -> Exchange:
    if command == "/dm":
        return await world.ask(question, title=DIRECT, dm=True)
    if command == "/thread" and last is not None:
        return await world.ask(question, title=THREAD, thread_ts=last.root_ts)
    return await world.ask(question, title=CHANNEL)


async def _converse(
    world: World, screen: Screen, exchange: Exchange, *, whole: bool = False
) -> bool:
    """Show the reply while it grows; whether it was settled in time."""
    timeout_s = LIVE_TIMEOUT_S if world.claude is None else SCRIPTED_TIMEOUT_S
    screen.begin(exchange)
    try:
        async for changed in world.follow(exchange, timeout_s=timeout_s):
            screen.show(exchange, changed=changed)
    except TimeoutError as error:
        screen.end(exchange, whole=whole)
        screen.note(f"The reply is {error}.")
        return False
    except asyncio.CancelledError:
        try:
            async for changed in world.stop(exchange):
                screen.show(exchange, changed=changed)
        finally:
            screen.end(exchange, whole=False)
        raise
    except BaseException:
        screen.end(exchange, whole=False)
        raise
    screen.end(exchange, whole=whole)
    return True


def _is_right(exchange: Exchange, scene: Scene | None = None) -> bool:
    """Whether the reply is what Claude wrote; of the real Claude only that it is complete."""
    if exchange.claude is None:
        return bool(exchange.texts) and not exchange.status
    request = exchange.request
    as_scripted = scene is None or (request is not None and request.sent_text == scene.answer)
    return exchange.is_whole and as_scripted


def _calls(world: World) -> str:
    """What all this cost at Slack, whose limits the emulator enforces."""
    refused = sum(call.error is not None for call in world.emulator.calls)
    counts = [(world.emulator.count(method), most, what) for method, most, what in METHODS]
    used = ", ".join(f"{count} of {most} {what}" for count, most, what in counts if count)
    return f"\nOf Slack's minute used: {used or 'nothing'}; calls that Slack refused: {refused}."


def _verdict(screen: Screen, failed: list[str], *, live: bool) -> int:
    for question in failed:
        screen.note(f"✗ Not what Claude wrote: the reply to “{question}”")
    if failed:
        return 1
    if live:
        screen.note("✓ Every reply is complete.")
    else:
        screen.note("✓ Every final text is what Claude wrote: all of it, in order, once.")
        screen.note("Next: `make playground` to ask your own questions, README.md to install it.")
    return 0


async def _in_world(
    act: Callable[[World, Screen], Awaitable[int]], *, live: bool, delivery: str
) -> int:
    """Set the world up, act in it, take it down again, also after Ctrl-C and SIGTERM."""
    screen = screen_for()
    environ = environment.read()
    if live and not environ.get("ANTHROPIC_API_KEY"):
        screen.note("--live asks the real Claude: set ANTHROPIC_API_KEY first.")
        return NO_KEY
    who = "the real Claude" if live else "a scripted Claude"
    screen.note(f"The real bot between an emulated Slack and {who}. Starting …")
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not task.cancelling():
            screen.note("\nStopping: the bot finishes what it has begun (Ctrl-C again: at once).")
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with World(live=live, environ=environ, delivery=delivery) as world:
            return await act(world, screen)
    except WorldError as error:
        screen.note(str(error))
        return 1
    except asyncio.CancelledError:
        while task.uncancel():
            pass
        screen.note("Stopped.")
        return INTERRUPTED
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _prompt() -> None:
    if _is_terminal():
        print(PROMPT, end="", flush=True)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


async def _input_lines() -> AsyncIterator[str]:
    """The lines of stdin as they are typed, without a thread that could not be interrupted; from a
    terminal, what is pasted at once is one."""
    if sys.stdin is None:  # closed: python -m bot playground <&-
        return
    pending = b""
    async for chunk in _chunks(sys.stdin.fileno(), PASTE_S if _is_terminal() else 0.0):
        if _is_terminal():
            yield chunk.decode(errors="replace").strip()
            continue
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").strip()
    if pending:
        yield pending.decode(errors="replace").strip()


async def _chunks(fd: int, gap_s: float) -> AsyncIterator[bytes]:
    """What can be read, until the end; what comes with gaps of less than `gap_s` is one chunk."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    coming = bytearray()
    pause: asyncio.TimerHandle | None = None

    def flush() -> None:
        if coming:
            chunks.put_nowait(bytes(coming))
            coming.clear()

    def read() -> None:
        nonlocal pause
        if pause is not None:
            pause.cancel()
        chunk = os.read(fd, 65_536)
        coming.extend(chunk)
        if chunk:
            pause = loop.call_later(gap_s, flush)
            return
        loop.remove_reader(fd)  # the end stays readable for ever
        flush()
        chunks.put_nowait(b"")

    try:
        loop.add_reader(fd, read)
    except PermissionError:  # a plain file, which cannot be waited for but is there at once
        while chunk := os.read(fd, 65_536):
            chunks.put_nowait(chunk)
        chunks.put_nowait(b"")
    try:
        while chunk := await chunks.get():
            yield chunk
    finally:
        loop.remove_reader(fd)
        if pause is not None:
            pause.cancel()
