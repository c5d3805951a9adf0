"""The world of a test: the Slack emulator, the scripted Claude and the real bot, on loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from bot import config, serve
from bot.markdown import WORD_JOINER
from bot.playground.claude import Reply, ScriptedClaude
from bot.playground.slack import Message, SlackEmulator
from bot.slack import Mark

# The same examples in every run: what fails, fails again, and no clock has a say in it.
hypothesis.settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("same")

# Nothing here speaks TLS, and a client takes 30 ms to load the certificates of a usual machine: it
# finds a folder without any. Processes are handed it on.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)

# The SDKs are thousands of modules that stay: the garbage collector need not look through them.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


FAST = 4_000.0
"""Tokens per second of a scripted reply that a test does not want to watch."""


ROOT = Path(__file__).parent.parent
MANIFEST = yaml.safe_load((ROOT / "manifest.yml").read_text())


def emulator() -> SlackEmulator:
    """A Slack in which the app was made from our manifest: nothing else is allowed or sent."""
    return SlackEmulator(
        scopes=frozenset(MANIFEST["oauth_config"]["scopes"]["bot"]),
        subscriptions=frozenset(MANIFEST["settings"]["event_subscriptions"]["bot_events"]),
    )


def environment(slack: SlackEmulator, claude: ScriptedClaude, data_dir: Path) -> dict[str, str]:
    """What the bot reads at start, in HTTP mode. No file beside the code has a say."""
    channels_file = data_dir / "channels.toml"
    channels_file.touch()
    return {
        "SLACK_BOT_TOKEN": "xoxb-emulator",
        "SLACK_SIGNING_SECRET": "emulator-signing-secret",
        "SLACK_API_URL": slack.api_url,
        "ANTHROPIC_API_KEY": "sk-ant-scripted",
        "ANTHROPIC_BASE_URL": claude.base_url,
        "DATA_DIR": str(data_dir),
        "CHANNELS_FILE": str(channels_file),
    }


@dataclass
class World:
    """Everything around the bot, and the bot."""

    slack: SlackEmulator
    claude: ScriptedClaude
    data_dir: Path
    ada: str
    bob: str
    general: str
    secret: str
    dm: str
    server: serve.Server | None = None
    env: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def bot(self, **changes: Any) -> AsyncIterator[serve.Server]:
        """The real bot in this process; `changes` are fields of Settings."""
        settings = replace(config.read(self.env), **{"port": 0, **changes})
        async with serve.running(settings) as server:
            self.server = server
            if not settings.socket_mode:
                self.slack.events_url = f"http://127.0.0.1:{server.port}/slack/events"
            yield server

    async def ask(
        self, text: str = "hello?", *, channel: str | None = None, thread_ts: str | None = None
    ) -> str:
        """Ada mentions the bot; the ts of her message."""
        place = channel or self.general
        mention = "" if place == self.dm else "<@U0BOT> "
        return await self.slack.say(self.ada, place, f"{mention}{text}", thread_ts=thread_ts)

    def past_thread(self, said: list[str], *, root: str = "the root", step_s: float = 1.0) -> str:
        """A thread in #general that Bob has written before the bot came; the ts of its root."""
        age_s = (len(said) + 1) * step_s
        (ts,) = self.slack.backfill(self.general, [(self.bob, root)], step_s=age_s)
        texts = [(self.bob, text) for text in said]
        self.slack.backfill(self.general, texts, thread_ts=ts, step_s=step_s)
        return ts

    def replies(self, ts: str | None = None, channel: str | None = None) -> list[Message]:
        """The bot's messages: in the thread of `ts`, or anywhere in the channel."""
        found = self.slack.messages(channel or self.general, thread_ts=ts)
        return [message for message in found if message.bot_id and not message.deleted]

    def shown(self, ts: str | None = None, channel: str | None = None) -> str:
        """What the bot's messages say now, joined, without what it adds at seams."""
        return joined([message.sent_markdown for message in self.replies(ts, channel)])

    async def until(self, predicate: Callable[[], object], timeout_s: float = 10.0) -> None:
        await self.slack.wait_for(predicate, timeout_s=timeout_s)

    async def until_says(self, words: str, ts: str | None = None, **where: Any) -> None:
        """Until the bot's last message has `words` in it, wherever they stand."""
        await self.until(lambda: words in "".join(m.shown for m in self.replies(ts, **where)[-1:]))

    async def until_shown(
        self, text: str, ts: str | None = None, *, timeout_s: float = 10.0, **where: Any
    ) -> None:
        """Until the bot's messages show exactly `text`, up to white space."""
        await self.until(lambda: same(self.shown(ts, **where), text), timeout_s)

    async def idle(self) -> None:
        """Until Slack has delivered everything and the bot has nothing under way."""
        assert self.server is not None
        await self.delivered()
        await self.server.idle()
        await self.delivered()

    async def delivered(self) -> None:
        """Until the bot has taken every event of Slack's."""
        await self.until(self._delivered)

    def _delivered(self) -> bool:
        taken = {one.event_id for one in self.slack.deliveries if one.status == 200}
        return all(body["event_id"] in taken for body in self.slack.events)


def joined(parts: list[str]) -> str:
    """The parts of a reply as one text: fences that were closed and reopened at seams are whole.

    A fence is reopened with the line that opened it; a block that merely follows another one in
    the next message, with the same language, cannot be told from that, so texts avoid it."""
    text = ""
    for part in (part.replace(WORD_JOINER, "") for part in parts):
        opening = _last_fence(text)
        if opening and text.rstrip().endswith("```") and part.startswith(f"{opening}\n"):
            text = text.rstrip().removesuffix("```")
            part = part.removeprefix(f"{opening}\n")
        text += part
    return text


def _last_fence(text: str) -> str | None:
    """The line that opened the last code block of `text`."""
    fences = [line for line in text.split("\n") if line.startswith("```")]
    return fences[-2] if len(fences) >= 2 else None


def same(left: str, right: str) -> bool:
    return left.split() == right.split()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # However busy the machine is, the asker's name is there.
    monkeypatch.setattr("bot.conversation.ASKER_TIMEOUT_S", 5.0)
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(emulator())
        claude = await stack.enter_async_context(ScriptedClaude(tokens_per_second=FAST))
        ada = slack.add_user("Ada Lovelace", display_name="ada")
        bob = slack.add_user("Bob Martin", display_name="bob")
        found = World(
            slack=slack,
            claude=claude,
            data_dir=tmp_path,
            ada=ada,
            bob=bob,
            general=slack.add_channel("general", members=[ada, bob]),
            secret=slack.add_channel("secret", kind="group", members=[ada]),
            dm=slack.add_dm(ada),
            env=environment(slack, claude, tmp_path),
        )
        yield found
        assert found.slack.notified == []
        assert found.slack.unfurled == []
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("turn:")] == []


@pytest.fixture
async def bot(world: World) -> AsyncIterator[serve.Server]:
    async with world.bot() as server:
        yield server


@pytest.fixture
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of several messages without many words, and without a second between two posts."""
    monkeypatch.setattr("bot.live_message.draft.PART_CHARACTERS", 800)
    monkeypatch.setattr("bot.pacing.pacer.POST_SPACING_S", 0.05)


@pytest.fixture
def patient_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second event of a mention is waited for, however busy the machine is."""
    monkeypatch.setattr("bot.turns.attached.TWIN_TIMEOUT_S", 10.0)


async def other_app_says(world: World, root: str, mark: Mark) -> Message:
    """A message in #general that another app (say, a second installation) has marked as we do."""
    app = world.slack.add_user("Staging Claude", is_bot=True)
    ts = await world.slack.say(app, world.general, "What the other app says.", thread_ts=root)
    message = world.slack.message(world.general, ts)
    assert message is not None
    message.metadata = mark.metadata()
    return message


def lines(text: str) -> list[str]:
    """The lines of `text` with their indentation, without blank ones, which Slack may leave out."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def touched(world: World, message: Message) -> list[str]:
    """The methods that the bot has called about `message`."""
    return [call.method for call in world.slack.calls if call.args.get("ts") == message.ts]


def is_last_edit(args: dict[str, Any]) -> bool:
    """Whether a call of chat.update says that it is the reply's last one; for faults."""
    return re.search(r"final\W+true", str(args.get("metadata")), re.IGNORECASE) is not None


def going_on(text: str, *, again: int = 0, **more: Any) -> Callable[[dict[str, Any]], Reply]:
    """A Claude that writes `text`, and goes on with what is missing when a part of it is quoted to
    it; `again` characters before that are repeated."""

    def answer(body: dict[str, Any]) -> Reply:
        asked = said(body["messages"][-1])
        return Reply(text=text[max(0, _quoted(text, asked) - again) :], **more)

    return answer


def said(turn: dict[str, Any]) -> str:
    """The text of a turn as Claude is sent it."""
    content = turn["content"]
    if isinstance(content, str):
        return content
    return "\n\n".join(block["text"] for block in content if block["type"] == "text")


def before_the_aside(turn: dict[str, Any]) -> str:
    """What was said in a turn, without the times and the note at the end."""
    content = turn["content"]
    text = content if isinstance(content, str) else said({"content": content[:-1]})
    return re.sub(r"\[([^\]\n]*?), (?:\d{4}-\d\d-\d\d )?\d\d:\d\d\]", r"[\1]", text)


def _quoted(text: str, asked: str) -> int:
    """How many characters of the beginning of `text` stand in `asked`."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text[:middle] in asked:
            low = middle
        else:
            high = middle - 1
    return low if low > 20 else 0


def code(characters: int) -> str:
    """A block of indented lines, about that long, between two words."""
    lines: list[str] = []
    while sum(len(line) + 1 for line in lines) < characters:
        number = len(lines)
        lines += [
            f"if x{number}:",
            f"    y{number} = [  # some of them",
            f"        {number},",
            "    ]",
        ]
    return "Here:\n\n```python\n" + "\n".join(lines) + "\n```\n\nDone."


def prose(characters: int) -> str:
    """Paragraphs of distinct sentences, about that long."""
    sentences: list[str] = []
    while sum(len(sentence) + 1 for sentence in sentences) < characters:
        number = len(sentences)
        ending = "\n\n" if number % 7 == 6 else ""
        sentences.append(f"Sentence number {number} says something of its own.{ending}")
    return " ".join(sentences)[:characters].strip()
