"""The demo: the real bot as a subprocess between the emulator and the scripted Claude."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from rich.console import Console
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import demo, exchange, world
from bot.playground.claude import Reply, ScriptedClaude
from bot.playground.claude.canned import short_answer
from bot.playground.exchange import Exchange, same_text
from bot.playground.process import WorldError
from bot.playground.screen import Lines, Terminal
from bot.playground.slack import SlackEmulator
from bot.playground.world import World

ROOT = Path(__file__).resolve().parents[2]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Claude that writes faster than anybody wants to watch."""
    monkeypatch.setattr(world, "TOKENS_PER_SECOND", 2_000.0)
    monkeypatch.setattr(world, "FIRST_TOKEN_S", 0.05)
    yield


@pytest.mark.parametrize(
    ("parts", "text", "same"),
    [
        pytest.param(["one two"], "one two", True, id="one message as it is"),
        pytest.param(["one two\n"], "\none two", True, id="white space at the ends"),
        pytest.param(["one", "two"], "one\n\ntwo", True, id="white space at the seam"),
        pytest.param(["on", "e two"], "one two", True, id="a cut inside a word"),
        pytest.param(["a <\u2060!channel>"], "a <!channel>", True, id="a harmless mention"),
        pytest.param(
            ["```py\na\n```", "```py\nb\n```"], "```py\na\nb\n```", True, id="a code block cut"
        ),
        pytest.param(
            ["```py\na\n```", "```py\nb\n```"],
            "```py\na\n```\n```py\nb\n```",
            True,
            id="two code blocks that were two from the start",
        ),
        pytest.param(
            ["- x\n  ~~~\n  a\n  ~~~", "~~~\n  b\n  ~~~"],
            "- x\n  ~~~\n  a\n  b\n  ~~~",
            True,
            id="a code block inside a list cut",
        ),
        pytest.param([], "", True, id="nothing at all"),
        pytest.param([], "one", False, id="nothing of something"),
        pytest.param(["one"], "one two", False, id="the end is missing"),
        pytest.param(["one two two"], "one two", False, id="something twice"),
        pytest.param(["one", "one", "two"], "one two", False, id="a message twice"),
        pytest.param(["two", "one"], "one two", False, id="the wrong order"),
        pytest.param(["one  two"], "one two", False, id="white space in the middle"),
        pytest.param(["one\n```"], "one", False, id="a fence too many at the end"),
    ],
)
def test_a_reply_is_compared_up_to_its_seams(parts: list[str], text: str, same: bool) -> None:
    assert same_text(parts, text) is same


@pytest.mark.timeout(90)
async def test_the_demo_shows_four_whole_replies_and_ends_with_0(
    fast: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await demo.demo(live=False) == 0
    out = capsys.readouterr().out
    assert not CONTROL.search(out)
    for title in ("#general", "#general · thread", "Direct message", "#general · a long answer"):
        assert f"\n{title}\n" in out
    assert "message 1" in out and "edit 1" in out
    assert "25,000" in out
    assert "calls that Slack refused: 0" in out
    assert "Every final text is what Claude wrote" in out


@pytest.mark.timeout(90)
async def test_a_question_of_ones_own_is_answered_whole(
    fast: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await demo.ask("Is a < b & c?", live=False) == 0
    assert "> Is a < b & c?" in capsys.readouterr().out


async def test_live_without_a_key_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert await demo.demo(live=True) == demo.NO_KEY
    assert "set ANTHROPIC_API_KEY" in capsys.readouterr().out


@pytest.mark.timeout(90)
async def test_the_real_claude_is_asked_with_the_key_of_the_env_file_and_the_environment_wins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setattr(exchange, "QUIET_S", 0.5)
    async with ScriptedClaude("sk-ant-file", tokens_per_second=2_000) as elsewhere:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", elsewhere.base_url)
        lines = "ANTHROPIC_API_KEY=sk-ant-file\nANTHROPIC_BASE_URL=http://127.0.0.1:1\n"
        (tmp_path / ".env").write_text(lines + "SLACK_APP_TOKEN=xapp-real\n")
        elsewhere.script(Reply("From elsewhere."))
        assert await demo.ask("Who are you?", live=True) == 0
    assert "From elsewhere." in capsys.readouterr().out
    assert [request.status for request in elsewhere.requests] == [200]


@pytest.mark.timeout(90)
async def test_a_text_that_is_not_what_claude_wrote_is_noticed(
    fast: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "GIVE_UP_QUIET_S", 0.3)
    monkeypatch.setattr(exchange, "same_text", lambda parts, text: False)
    scene = demo.Scene("#general", "Well?", "Well.")
    monkeypatch.setattr(demo, "SCENES", (scene,))
    assert await demo.demo(live=False) == 1
    assert "Not what Claude wrote: the reply to “Well?”" in capsys.readouterr().out


async def test_a_bot_that_does_not_start_is_told_with_its_own_words() -> None:
    wrong = World()
    wrong.emulator.settings.signing_secret = ""
    with pytest.raises(WorldError, match="SLACK_SIGNING_SECRET"):
        async with wrong:
            pass
    assert wrong.bot is not None and wrong.bot.has_ended


@pytest.mark.timeout(90)
async def test_the_growing_message_fits_on_a_small_terminal_and_a_bot_that_ends_is_told(
    fast: None,
) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, highlight=False)
    terminal, lines = Terminal(console), Lines(io.StringIO())
    async with World() as small:
        assert small.claude is not None
        small.claude.script(Reply("Some *more* words.\n\n" * 60))
        asked = await small.ask("A few more?", title="#general")
        terminal.begin(asked)
        lines.begin(asked)
        async for changed in small.follow(asked, timeout_s=30):
            terminal.show(asked, changed=changed)
            lines.show(asked, changed=changed)
            growing = console.render_lines(terminal._growing(asked))
            assert len(growing) <= 20
        terminal.end(asked, whole=False)
        terminal.results([asked])
        lines.end(asked, whole=True)
        assert small.bot is not None
        await small.bot.stop()
        asked = await small.ask("Are you there?", title="#general")
        with pytest.raises(WorldError, match="The bot has ended"):
            async for _ in small.follow(asked, timeout_s=5):
                pass
    assert "whole text" in out.getvalue()
    assert lines.out.getvalue().count("Some *more* words.") >= 60  # type: ignore[attr-defined]


@asynccontextmanager
async def conversation() -> AsyncIterator[tuple[SlackEmulator, AsyncWebClient, Exchange]]:
    """A question in an emulated Slack without a bot, and the client of the app."""
    async with SlackEmulator() as slack, aiohttp.ClientSession() as session:
        ada = slack.add_user("Ada Lovelace")
        channel = slack.add_channel("general", members=[ada])
        ts = await slack.say(ada, channel, "well?")
        url = slack.api_url
        client = AsyncWebClient("xoxb-emulator", base_url=url, session=session, retry_handlers=[])
        now = asyncio.get_running_loop().time()
        yield (
            slack,
            client,
            Exchange("#general", "well?", channel, ts, ts, False, now, slack, None, 0),
        )


async def test_a_status_line_and_a_stream_are_seen_growing() -> None:
    out, plain = io.StringIO(), io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, highlight=False)
    terminal, lines = Terminal(console), Lines(plain)

    async with conversation() as (slack, client, asked):

        def seen() -> str:
            lines.show(asked, changed=True)
            terminal.show(asked, changed=True)
            with console.capture() as captured:
                console.print(terminal._growing(asked))
            return captured.get()

        terminal.begin(asked)
        lines.begin(asked)
        await client.assistant_threads_setStatus(
            channel_id=asked.channel, thread_ts=asked.ts, status="is thinking …"
        )
        assert "Claude is thinking …" in seen()
        ada = slack.message(asked.channel, asked.ts)
        assert ada is not None
        answer = await client.chat_startStream(
            channel=asked.channel,
            thread_ts=asked.ts,
            recipient_user_id=ada.user,
            recipient_team_id=slack.settings.team_id,
            markdown_text="Quite",
        )
        where = {"channel": asked.channel, "ts": str(answer["ts"])}
        assert "Quite" in (shown := seen()) and "is writing" in shown
        assert asked.is_streaming
        await client.chat_appendStream(**where, markdown_text=" a")
        assert "Quite a" in seen()
        await client.chat_stopStream(**where, markdown_text=" lot.")
        assert "Quite a lot." in (shown := seen()) and "is writing" not in shown
        assert (asked.appends, asked.edits, asked.is_streaming) == (2, 0, False)
        terminal.end(asked, whole=True)
        lines.end(asked, whole=True)
    text = plain.getvalue()
    for line in ("status     is thinking …", "message 1  Quite\n", "append 1   Quite a\n"):
        assert line in text
    assert "append 2   Quite a lot." in text and "2 appends" in text


async def test_a_reply_that_is_posted_whole_is_seen_after_its_status_line() -> None:
    plain = io.StringIO()
    lines = Lines(plain)
    async with conversation() as (_, client, asked):
        for status in ("is thinking …", "is still thinking …"):
            await client.assistant_threads_setStatus(
                channel_id=asked.channel, thread_ts=asked.ts, status=status
            )
            lines.show(asked, changed=True)
        blocks = [{"type": "markdown", "text": "All of it."}]
        await client.chat_postMessage(
            channel=asked.channel, thread_ts=asked.ts, text="All", blocks=blocks
        )
        lines.show(asked, changed=True)
        lines.end(asked, whole=False)
    order = [plain.getvalue().index(one) for one in ("is thinking", "is still", "All of it.")]
    assert order == sorted(order)
    assert "0 edits" in plain.getvalue()


def test_the_bot_is_told_how_to_deliver() -> None:
    env = World(delivery="stream")._bot_environment(1, "/nowhere")
    assert env["DELIVERY"] == "stream"
    assert World()._bot_environment(1, "/nowhere")["DELIVERY"] == "auto"


async def run(*arguments: str) -> asyncio.subprocess.Process:
    """`python -m bot …` with pipes."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(90)
async def test_the_playground_answers_lines_until_quit() -> None:
    process = await run("playground")
    typed = b"/thread too early\nWhat is a seam?\n/thread and then?\n/dm hello\n/nonsense\n/quit\n"
    out, _ = await process.communicate(typed)
    text = out.decode()
    assert process.returncode == 0
    assert "There is no thread yet" in text
    for title in ("#general", "#general · thread", "Direct message"):
        assert f"\n{title}\n" in text
    assert text.count("I am a **scripted** Claude") == 3
    assert text.count("/quit      stop") == 2


async def test_what_is_pasted_into_a_terminal_at_once_is_one_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal, os.fdopen(master, "wb", buffering=0) as keys:
        monkeypatch.setattr(sys, "stdin", terminal)
        lines = demo._input_lines()
        keys.write(b"one\n\ntwo\n")
        assert await anext(lines) == "one\n\ntwo"
        keys.write(b"three\n")
        assert await anext(lines) == "three"
        keys.write(b"\x04")
        assert [line async for line in lines] == []


async def test_without_an_input_there_are_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    demo._prompt()
    assert [line async for line in demo._input_lines()] == []


@pytest.mark.parametrize("width", [60, 100])
async def test_the_results_can_be_read_on_a_narrow_terminal(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=width, highlight=False)
    async with conversation() as (_, client, asked):
        blocks = [{"type": "markdown", "text": "All of it."}]
        await client.chat_postMessage(
            channel=asked.channel, thread_ts=asked.ts, text="All", blocks=blocks
        )
        Terminal(console).results([asked])
    lines = out.getvalue().split("\n")
    assert any("#general" in line for line in lines)
    assert ("first words" in out.getvalue()) is (width == 60)  # else a heading of two lines
    assert all(len(line) <= width for line in lines)


def test_a_page_that_is_pasted_is_quoted_in_part() -> None:
    assert len(short_answer("x" * 100_000)) < 1_500
    assert "x" * 300 + " …" in short_answer("x" * 100_000)
    assert "> one\n>\n> two\n" in short_answer("one\n\ntwo")  # blanks at an end do not arrive


@pytest.mark.timeout(90)
async def test_a_reply_that_is_interrupted_is_followed_to_its_end_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = io.StringIO()
    monkeypatch.setattr(world, "GRACE_S", 1.0)
    async with World() as small:
        assert small.claude is not None
        small.claude.script(Reply("Some more words. " * 400, tokens_per_second=20))
        asked = await small.ask("A few more?", title="#general")
        talking = asyncio.create_task(demo._converse(small, Lines(plain), asked))
        await small.emulator.wait_for(lambda: asked.texts)
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking
        assert small.bot is not None and small.bot.has_ended
    assert "Interrupted by a restart" in plain.getvalue()
    assert "interrupted after" in plain.getvalue() and "whole text" not in plain.getvalue()


@pytest.mark.timeout(90)
async def test_the_end_of_the_input_ends_the_playground() -> None:
    process = await run("playground")
    await process.communicate(b"")
    assert process.returncode == 0


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_stops_the_bot_too(number: signal.Signals) -> None:
    process = await run("demo")
    assert process.stdout is not None
    while b"edit 1" not in await process.stdout.readline():
        assert process.returncode is None
    process.send_signal(number)
    out, _ = await process.communicate()  # ends only when the bot has closed the pipe as well
    assert b"Stopped." in out
    assert process.returncode == demo.INTERRUPTED
