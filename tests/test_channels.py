"""What the operator's files say: every mistake named, taken up without a restart."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import channels as channels_module
from bot import config, logs
from bot.channels import Channels, files
from bot.config import Settings
from bot.conversation import MARKING
from bot.errors import ConfigError
from bot.playground.claude import Request
from tests.bot_process import bot_process
from tests.conftest import ROOT, World
from tests.fake_clock import FakeClock

REQUIRED = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "secret",
    "ANTHROPIC_API_KEY": "key",
    "SYSTEM_PROMPT": "Be brief.",
}
SUPPORT = """
[channels.C0SUPPORT]
name = "support"
prompt = "Be patient."
model = "claude-opus-5-5"
effort = "high"
follow_ups = "all"
allowed_users = ["U0ADA", "W0BOB"]
"""


class Desk:
    """An operator's folder, and the bot that reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "channels.toml"
        self.clock = FakeClock()
        self.path.touch()

    def settings(self, **env: str) -> Settings:
        return config.read({**REQUIRED, "CHANNELS_FILE": str(self.path), **env})

    def write(self, text: str) -> Path:
        self.path.write_text(text, encoding="utf-8")
        return self.path

    def open(self, text: str, *, ending: str = "", **env: str) -> Channels:
        self.write(text)
        return Channels(self.settings(**env), self.clock, ending=ending)

    def problems(self, text: str, **env: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.open(text, **env)
        return caught.value.problems


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.setup(level="INFO", as_json=False, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


# --- what holds where -------------------------------------------------------------------------


def test_without_a_table_the_settings_hold(desk: Desk) -> None:
    found = desk.open("", CLAUDE_MODEL="claude-opus-5", FOLLOW_UPS="own")
    here = found.of("C0ANY")
    assert (here.prompt, here.model, here.effort) == (None, "claude-opus-5", "low")
    assert (here.follow_ups, here.allowed_users) == ("own", None)
    assert found.manner("C0ANY").system == "Be brief."


def test_a_table_holds_for_its_channel_only(desk: Desk) -> None:
    found = desk.open(SUPPORT)
    here = found.of("C0SUPPORT")
    assert (here.prompt, here.model, here.effort) == ("Be patient.", "claude-opus-5-5", "high")
    assert here.allowed_users == {"U0ADA", "W0BOB"}
    assert found.follow_ups("C0SUPPORT") == "all"
    assert found.manner("C0SUPPORT").system == "Be brief.\n\nBe patient."
    assert found.of("C0OTHER").model == "claude-sonnet-5-5"
    assert found.models() == ["claude-sonnet-5-5", "claude-opus-5-5"]


def test_what_a_table_leaves_out_comes_from_the_next_one(desk: Desk) -> None:
    found = desk.open(
        """
        default = {prompt = "We are Acme.", model = "claude-opus-5", follow_ups = "own"}
        direct.effort = "medium"
        [channels]
        C1 = {effort = "max"}
        C2 = {prompt = ""}
        D1 = {model = "claude-haiku-5-5"}
        """
    )
    asked = {place: found.manner(place) for place in ("C1", "C2", "C3", "D1", "D2")}
    acme, plain = "Be brief.\n\nWe are Acme.", "Be brief."
    assert {place: (one.system, one.model, one.effort) for place, one in asked.items()} == {
        "C1": (acme, "claude-opus-5", "max"),
        "C2": (plain, "claude-opus-5", "low"),
        "C3": (acme, "claude-opus-5", "low"),
        "D1": (acme, "claude-haiku-5-5", "medium"),
        "D2": (acme, "claude-opus-5", "medium"),
    }
    assert found.follow_ups("C1") == "own"


def test_prompts_may_stand_in_files_of_their_own(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/support.md").write_bytes("\ufeffWith\r\n“quotes”\n".encode())
    (tmp_path / "system.md").write_text("From a file.\n")
    system_file = str(tmp_path / "system.md")
    found = desk.open(
        '[channels.C1]\nprompt_file = "prompts/support.md"',
        ending="How to read marks.",
        SYSTEM_PROMPT="",
        SYSTEM_PROMPT_FILE=system_file,
    )
    system = "From a file.\n\nWith\n“quotes”\n\nHow to read marks."
    assert found.manner("C1").system == system
    assert found.manner("C2").system == "From a file.\n\nHow to read marks."


async def test_the_same_bytes_are_sent_until_a_file_changes(desk: Desk) -> None:
    found = desk.open(SUPPORT, ending="The end.")
    before = found.manner("C0SUPPORT")
    await desk.clock.advance(5)
    desk.write(SUPPORT + "\n[channels.C2]\nprompt = 'x'")
    await desk.clock.advance(5)
    assert found.manner("C2").system == "Be brief.\n\nx\n\nThe end."
    assert found.manner("C0SUPPORT") == before


def test_the_file_of_the_default_name_need_not_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Channels(config.read(REQUIRED), FakeClock()).of("C1").prompt is None
    (tmp_path / "channels.toml").write_text("[default]\nprompt = 'Here.'")
    assert Channels(config.read(REQUIRED), FakeClock()).of("C1").prompt == "Here."


def test_the_readmes_example_is_right(desk: Desk, tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/support.md").write_text("Be patient.")
    here = desk.open(example).of("C0123ABCD")
    assert (here.prompt, here.effort, here.follow_ups) == ("Be patient.", "high", "own")
    assert here.allowed_users == {"U0123ABCD"}


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a = 1\n[default]\nmodel = off\n", "line 3, column 9: no value", id="syntax"),
        pytest.param("x", "no “key = value”", id="a word"),
        pytest.param("[channels.C1]\n[channels.C1]\n", "line 2, column 13: the table", id="twice"),
        pytest.param("[default]\nmodel='a'\nmodel='a'\n", "line 3", id="a key twice"),
        pytest.param("x = " + "[" * 5_000, "not TOML", id="too deep"),
        pytest.param("x = " + "9" * 5_000, "not TOML", id="too long a number"),
        pytest.param("[channel.C1]", "channel is unknown; write [default]", id="a table unknown"),
        pytest.param("default = 1", "[default] must be a table", id="no table"),
        pytest.param("[[default]]", "[default] must be a table", id="a list of tables"),
        pytest.param("channels = []", "[channels] must hold tables", id="channels as a list"),
        pytest.param("[channels]\nC1 = 'x'", "[channels.C1] must be a table", id="text as table"),
        pytest.param("[channels.support]", "must bear a channel's id", id="name"),
        pytest.param("[channels.c1]", "in capitals", id="a small letter"),
        pytest.param("[channels.C1]\npromt = ''", "promt is unknown; write name, prompt", id="key"),
        pytest.param("[default]\nallowed_users = ['U1']", "allowed_users is unknown", id="for all"),
        pytest.param("[direct]\nfollow_ups = 'all'", "follow_ups is unknown", id="direct"),
        pytest.param("[channels.D1]\nfollow_ups = 'all'", "follow_ups is unknown", id="one person"),
        pytest.param("[channels.C1]\nname = 1", "name must be text in quotes", id="name"),
        pytest.param("[channels.C1]\nprompt = 1", "prompt must be text in quotes", id="prompt"),
        pytest.param("[channels.C1]\nprompt_file = []", "prompt_file must be text", id="list"),
        pytest.param("[channels.C1]\nmodel = true", "model must be the id of a model", id="model"),
        pytest.param("[channels.C1]\nmodel = 'Opus 5'", "model must be", id="a model's name"),
        pytest.param("[channels.C1]\neffort = 'huge'", 'effort must be one of "low"', id="effort"),
        pytest.param("[channels.C1]\neffort = 3", 'effort must be one of "low"', id="a number"),
        pytest.param("[channels.C1]\nfollow_ups = false", 'one of "off", "own"', id="follow-ups"),
        pytest.param("[channels.C1]\nallowed_users = 'U1'", "must list", id="no list"),
        pytest.param("[channels.C1]\nallowed_users = []", "allowed_users must list", id="nobody"),
        pytest.param("[channels.C1]\nallowed_users = ['@ada']", "must list", id="a name"),
        pytest.param("[channels.C1]\nallowed_users = [['U1']]", "must list", id="nested"),
        pytest.param("[channels.C1]\nprompt_file = 'x.md'", "does not exist", id="no file"),
        pytest.param("[channels.C1]\nprompt_file = '.'", "must name a file", id="a folder"),
        pytest.param("[channels.C1]\nprompt_file = ''", "must name a file", id="no name"),
        pytest.param("[channels.C1]\nprompt_file = 'empty'", "names an empty file", id="empty"),
        pytest.param("[channels.C1]\nprompt_file = 'latin'", "not UTF-8", id="another encoding"),
        pytest.param("[channels.C1]\nprompt_file = 'pipe'", "must name a file", id="a pipe"),
        pytest.param('[channels.C1]\nprompt_file = "\\u0000"', "is no name", id="a zero"),
        pytest.param(f"[channels.C1]\nprompt_file = '{'x' * 999}'", "cannot be read", id="long"),
        pytest.param(
            "[channels.C1]\nprompt = 'x'\nprompt_file = 'utf8'", "are both set", id="two prompts"
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(
    desk: Desk, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "utf8").write_text("ä")
    os.mkfifo(tmp_path / "pipe")
    found = desk.problems(text)
    assert any(words in problem for problem in found), found
    assert all(problem.startswith(f"{desk.path}: ") for problem in found)


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file(desk: Desk) -> None:
    found = desk.problems(
        """
        [channels.C1]
        modle = "claude-opus-5-5"
        effort = "huge"
        [channels.general]
        [channels.C2]
        prompt_file = "nowhere.md"
        allowed_users = ["U1", "ada"]
        """
    )
    places = [problem.removeprefix(f"{desk.path}: ").split(" ")[:2] for problem in found]
    assert places == [
        ["[channels.C1]", "modle"],
        ["[channels.C1]", "effort"],
        ["[channels.general]", "must"],
        ["[channels.C2]", "prompt_file"],
        ["[channels.C2]", "allowed_users"],
    ]


def test_mistakes_in_the_environment_and_in_the_files_are_listed_together(desk: Desk) -> None:
    env = {**REQUIRED, "CHANNELS_FILE": str(desk.write("[x]")), "PORT": "x"}
    env["SYSTEM_PROMPT_FILE"] = "nowhere.md"
    with pytest.raises(ConfigError) as caught:
        config.read(env, channels_module.problems)
    named = ("PORT", "SYSTEM_PROMPT and SYSTEM_PROMPT_FILE", "SYSTEM_PROMPT_FILE names", "x is")
    assert len(caught.value.problems) == len(named)
    for name in named:
        assert any(name in problem for problem in caught.value.problems), name


def test_no_value_and_no_long_name_is_repeated(desk: Desk) -> None:
    secret = "xoxb-123456789012-abcdefghijklmnopqrstuvwxyz"
    for text in (
        f"[channels.C1]\nmodel = ' {secret}'\neffort = '{secret}'\nfollow_ups = '{secret}'",
        f"[channels.C1]\nallowed_users = ['{secret}']\nprompt_file = '{secret}'",
        f"[channels.C1]\n{secret} = 1\n[channels.{secret}]",
        f"[{secret}]\n",
        f"[{secret}]\n[{secret}]\n",
        f"default = {{{secret} = 1, {secret} = 2}}",
        f"[default]\nprompt = {secret}",
    ):
        assert not any("abcdef" in problem for problem in desk.problems(text))
    assert not any(
        "abcdef" in problem
        for env in ({"CHANNELS_FILE": secret}, {"SYSTEM_PROMPT": "", "SYSTEM_PROMPT_FILE": secret})
        for problem in channels_module.problems(desk.settings(**env))
    )
    assert "patient" not in repr(desk.open(SUPPORT).of("C0SUPPORT"))


def test_a_file_may_have_a_million_bytes(desk: Desk) -> None:
    desk.open("#" + "x" * (files.MOST_BYTES - 1))
    (problem,) = desk.problems("#" + "x" * files.MOST_BYTES)
    assert "1,000,000 bytes" in problem


KEYS = ["prompt", "prompt_file", "model", "effort", "follow_ups", "allowed_users", "name", "x"]
VALUES = ["'high'", "'own'", "''", "1", "true", "[]", "['U1']", "{}", "1979-05-27", "'a.md'", "off"]
lines = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.sampled_from(["[default]", "[direct]", "[channels]", "[channels.C1]", "[channels.D1]"]),
    st.sampled_from(["[[channels]]", "[channels.C1.x]", "[channels.'']", "default.x.y = 1"]),
    st.text(alphabet="[]{}='\".,\\\n#Cabc01 \x00\ud7ff-_:", max_size=25),
    st.text(max_size=20),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(lines, max_size=6).map("\n".join) | st.binary(max_size=40))
def test_any_file_either_loads_or_is_refused_with_a_reason(desk: Desk, text: str | bytes) -> None:
    desk.path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
    try:
        found = Channels(desk.settings(), desk.clock)
    except ConfigError as error:
        assert error.problems and all(error.problems)
    else:
        assert found.of("C1").effort in config.EFFORTS
        assert found.manner("D1").system.startswith("Be brief.")


# --- without a restart ------------------------------------------------------------------------


async def test_a_change_is_taken_up_after_a_second_at_most(desk: Desk, logged: io.StringIO) -> None:
    found = desk.open(SUPPORT)
    desk.write(SUPPORT.replace("patient", "quick"))
    await desk.clock.advance(0.9)
    assert found.of("C0SUPPORT").prompt == "Be patient."
    await desk.clock.advance(0.1)
    assert found.of("C0SUPPORT").prompt == "Be quick."
    written = logged.getvalue()
    assert written.count("channels_loaded channels=1") == 1
    assert written.count("channels_reloaded channels=1") == 1
    assert "quick" not in written


async def test_a_broken_change_is_logged_once_and_the_last_good_one_holds(
    desk: Desk, logged: io.StringIO
) -> None:
    found = desk.open(SUPPORT)
    for broken in (SUPPORT.replace('"high"', '"huge"'), SUPPORT + "[", "[default]\nx = 'secret'"):
        desk.write(broken)
        logged.truncate(0)
        for _ in range(5):
            await desk.clock.advance(1)
            assert found.of("C0SUPPORT").effort == "high"
        (line,) = logged.getvalue().strip("\0\n").splitlines()
        assert "WARNING channels_not_reloaded problems=1 first=" in line
        assert "secret" not in line
    desk.write(SUPPORT.replace('"high"', '"max"') + "[channels.C2]\n[channels.C3]")
    await desk.clock.advance(1)
    assert found.of("C0SUPPORT").effort == "max"
    assert "INFO channels_reloaded channels=3" in logged.getvalue()


async def test_a_file_that_is_deleted_or_made_unreadable_leaves_its_rules_behind(
    desk: Desk, logged: io.StringIO
) -> None:
    found = desk.open(SUPPORT)
    desk.path.unlink()
    for _ in range(3):
        await desk.clock.advance(1)
        assert found.of("C0SUPPORT").allowed_users == {"U0ADA", "W0BOB"}
    assert logged.getvalue().count("channels_not_reloaded") == 1
    desk.path.mkdir()
    await desk.clock.advance(1)
    assert found.of("C0SUPPORT").allowed_users == {"U0ADA", "W0BOB"}
    assert logged.getvalue().count("channels_not_reloaded") == 2
    desk.path.rmdir()
    desk.write("")
    await desk.clock.advance(1)
    assert found.of("C0SUPPORT").allowed_users is None


async def test_the_file_of_the_default_name_may_come_later_but_not_go_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.chdir(tmp_path)
    clock, path = FakeClock(), tmp_path / "channels.toml"
    found = Channels(config.read(REQUIRED), clock)
    assert logged.getvalue() == ""
    path.write_text(SUPPORT)
    await clock.advance(1)
    assert found.of("C0SUPPORT").effort == "high"
    path.unlink()
    await clock.advance(1)
    assert found.of("C0SUPPORT").effort == "high"
    assert "channels_not_reloaded" in logged.getvalue()


async def test_the_files_that_hold_prompts_are_watched_too(desk: Desk, tmp_path: Path) -> None:
    system, prompt = tmp_path / "system.md", tmp_path / "support.md"
    system.write_text("One.")
    prompt.write_text("Two.")
    env = {"SYSTEM_PROMPT": "", "SYSTEM_PROMPT_FILE": str(system)}
    found = desk.open("[channels.C1]\nprompt_file = 'support.md'", **env)
    for path, text, expected in (
        (system, "Uno.", "Uno.\n\nTwo."),
        (prompt, "Due.", "Uno.\n\nDue."),
        (prompt, "", "Uno.\n\nDue."),
        (system, "Eins.", "Uno.\n\nDue."),
        (prompt, "Zwei.", "Eins.\n\nZwei."),
    ):
        other = path.with_suffix(".new")
        other.write_text(text)
        other.rename(path)  # as editors do
        await desk.clock.advance(1)
        assert found.manner("C1").system == expected


async def test_no_file_is_read_while_none_changes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = desk.open(SUPPORT)
    monkeypatch.setattr(channels_module, "_look", None)
    for _ in range(3):
        await desk.clock.advance(1)
        assert found.of("C0SUPPORT").effort == "high"


async def test_a_large_file_is_parsed_beside_the_event_loop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_module, "LARGE_BYTES", 10)
    found = desk.open(SUPPORT)
    look, threads = channels_module._look, []

    def looked(*args: Any, **more: Any) -> Any:
        threads.append(threading.current_thread())
        return look(*args, **more)

    monkeypatch.setattr(channels_module, "_look", looked)
    desk.write(SUPPORT.replace("high", "max"))
    await desk.clock.advance(1)
    assert found.of("C0SUPPORT").effort == "high", "nobody waits for it"
    assert found._looking is not None
    await asyncio.wait([found._looking], timeout=5)
    assert found.of("C0SUPPORT").effort == "max"
    assert len(threads) == 1 and threads[0] is not threading.main_thread()


# --- the whole way ----------------------------------------------------------------------------


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "CHECK_EVERY_S", 0.0)
    monkeypatch.setattr("bot.pacing.pacer.POST_SPACING_S", 0.05)


def write(world: World, text: str) -> None:
    Path(world.env["CHANNELS_FILE"]).write_text(text)


async def asked(world: World, channel: str, **where: Any) -> Request:
    """The request to Claude that a question in `channel` makes."""
    before = len(world.claude.requests)
    await world.ask("tell me", channel=channel, **where)
    await world.until(lambda: len(world.claude.requests) > before)
    await world.idle()
    return world.claude.requests[before]


def told(request: Request) -> tuple[str, str, str]:
    body = request.body
    assert request.status == 200
    system = body["system"]
    assert system.endswith(f"\n\n{MARKING}")
    return system.removesuffix(f"\n\n{MARKING}"), body["model"], body["output_config"]["effort"]


@pytest.mark.usefixtures("_at_once")
async def test_every_channel_has_its_manner_and_a_change_counts_from_the_next_question_on(
    world: World,
) -> None:
    write(
        world,
        f"""
        direct.prompt = "Among us."
        [channels.{world.general}]
        prompt = "Be patient."
        model = "claude-opus-5-5"
        effort = "high"
        """,
    )
    async with world.bot(system_prompt="Be brief."):
        first = await asked(world, world.general)
        assert told(first) == ("Be brief.\n\nBe patient.", "claude-opus-5-5", "high")
        assert told(await asked(world, world.secret)) == ("Be brief.", "claude-sonnet-5-5", "low")
        direct = await asked(world, world.dm)
        assert told(direct) == ("Be brief.\n\nAmong us.", "claude-sonnet-5-5", "low")
        again = await asked(world, world.general)
        assert told(again) == told(first)
        write(world, f"[channels.{world.general}]\nmodel = 'claude-haiku-5-5'\neffort = 'max'")
        changed = await asked(world, world.general)
        assert told(changed) == ("Be brief.", "claude-haiku-5-5", "max")
        write(world, f"[channels.{world.general}]\nmodel = 5")
        assert told(await asked(world, world.general)) == told(changed)


async def test_the_log_has_the_model_that_answered_and_its_price(
    world: World, logged: io.StringIO
) -> None:
    write(world, f"[channels.{world.general}]\nmodel = 'claude-haiku-4-5'\neffort = 'max'")
    async with world.bot():
        request = await asked(world, world.general)
        assert "output_config" not in request.body, "this model refuses it"
        assert request.status == 200
    (line,) = [line for line in logged.getvalue().splitlines() if "outcome=complete" in line]
    assert "model=claude-haiku-4-5 " in line and "dollars=" in line


async def test_where_a_channels_model_fails_the_other_one_of_the_settings_answers(
    world: World,
) -> None:
    write(world, f"[channels.{world.general}]\nmodel = 'claude-opus-9'\nprompt = 'Be patient.'")
    async with world.bot(system_prompt="Be brief."):
        await asked(world, world.general)
    first, second = world.claude.requests
    assert (first.status, first.body["model"]) == (404, "claude-opus-9")
    assert told(second) == ("Be brief.\n\nBe patient.", "claude-haiku-5-5", "low")


@pytest.mark.usefixtures("_at_once")
async def test_a_channels_list_of_people_stands_in_the_place_of_the_global_one(
    world: World,
) -> None:
    write(world, f"[channels.{world.general}]\nallowed_users = ['{world.bob}']")
    async with world.bot(allowed_users=frozenset({world.ada})):
        await world.ask("may I?")
        await world.until(lambda: world.slack.ephemerals)
        assert "in this channel" in world.slack.ephemerals[-1].text
        await world.slack.say(world.bob, world.general, "<@U0BOT> may I?")
        await world.until(lambda: len(world.claude.requests) == 1)
        await world.idle()
        await asked(world, world.secret)
        await asked(world, world.dm)
        assert len(world.claude.requests) == 3
        write(world, "")
        await asked(world, world.general)


async def test_a_table_opens_no_channel_that_is_closed(world: World) -> None:
    write(world, f"[channels.{world.general}]\nallowed_users = ['{world.ada}']")
    async with world.bot(allowed_channels=frozenset({world.secret})):
        await world.ask("may I?")
        await world.until(lambda: world.slack.ephemerals)
        assert "may not answer in this channel" in world.slack.ephemerals[-1].text
    assert world.claude.requests == []


@pytest.mark.usefixtures("_at_once")
async def test_every_channel_has_its_own_follow_ups(world: World) -> None:
    other = world.slack.add_channel("other", members=[world.ada, world.bob])
    carol = world.slack.add_user("Carol")
    group = world.slack.add_channel("group", kind="group", members=[world.ada, carol])
    people = {other: world.bob, world.general: world.bob, group: carol}
    write(
        world,
        f"""
        [channels.{world.general}]
        follow_ups = "own"
        [channels.{group}]
        follow_ups = "all"
        """,
    )
    async with world.bot():
        answers = []
        for channel, somebody in people.items():
            root = await world.ask(channel=channel)
            await world.idle()
            for user in (world.ada, somebody):
                await world.slack.say(user, channel, "and why?", thread_ts=root)
            await world.idle()
            answers.append(len(world.replies(root, channel)))
        assert answers == [1, 2, 3]
        write(world, "")
        await world.slack.say(carol, group, "and now?", thread_ts=root)
        await world.idle()
        assert len(world.replies(root, group)) == 3


@pytest.mark.parametrize(
    ("text", "setting", "expected"),
    [
        ("", "off", False),
        ("", "own", True),
        ("[default]\nfollow_ups = 'all'", "off", True),
        ("[default]\nfollow_ups = 'off'", "own", False),
        ("[channels.C1]\nfollow_ups = 'own'", "off", True),
        ("[channels.C1]\nfollow_ups = 'off'\n[channels.C2]", "off", False),
    ],
)
def test_whether_any_channel_has_follow_ups(
    desk: Desk, text: str, setting: str, expected: bool
) -> None:
    assert desk.open(text, FOLLOW_UPS=setting).any_follow_ups() is expected


async def test_follow_ups_of_one_channel_need_the_scopes_too(
    world: World, logged: io.StringIO
) -> None:
    world.slack.settings.scopes -= {"groups:history"}
    write(world, "[channels.C1]\nfollow_ups = 'own'")
    async with world.bot():
        assert "follow_ups_unheard missing_scopes=groups:history" in logged.getvalue()


async def test_a_broken_file_stops_the_start_with_every_mistake(world: World) -> None:
    write(world, "[channels.general]\n[channels.C1]\neffort = 'huge'")
    async with bot_process(world.env) as bot:
        code, errors = await bot.ended()
    assert code == 2
    assert "[channels.general] must" in errors and "[channels.C1] effort must" in errors
    assert "Traceback" not in errors and "huge" not in errors
