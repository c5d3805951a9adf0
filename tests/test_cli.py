"""The command line, as a process."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from bot import cli, environment
from tests.bot_process import ROOT, bot_process
from tests.conftest import World


async def test_wrong_settings_are_all_listed_and_the_exit_code_is_2(tmp_path: Path) -> None:
    env = {"PORT": "x", "ANTHROPIC_BASE_URL": "nowhere"}
    async with bot_process(env, cwd=tmp_path) as bot:
        code, errors = await bot.ended()
    assert code == 2
    for name in ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "ANTHROPIC_API_KEY", "PORT"):
        assert name in errors
    assert "ANTHROPIC_BASE_URL" in errors
    assert "Traceback" not in errors


async def test_a_token_that_slack_refuses_is_said_plainly(world: World) -> None:
    async with bot_process({**world.env, "SLACK_BOT_TOKEN": "xoxb-wrong"}) as bot:
        code, errors = await bot.ended()
    assert code == 1
    assert "invalid_auth" in errors and "SLACK_BOT_TOKEN" in errors
    assert "Traceback" not in errors and "xoxb-wrong" not in errors


async def test_a_data_dir_that_cannot_be_written_is_said_plainly(
    world: World, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    async with bot_process({**world.env, "DATA_DIR": str(blocked)}) as bot:
        code, errors = await bot.ended()
    assert code == 1
    assert "DATA_DIR" in errors and "Traceback" not in errors


async def test_a_port_that_is_taken_is_said_plainly(world: World) -> None:
    async with world.bot() as server:
        assert server.port is not None
        env = {**world.env, "DATA_DIR": str(world.data_dir / "other")}
        async with bot_process(env, port=server.port) as second:
            code, errors = await second.ended()
    assert code == 1
    assert "port" in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        pytest.param(b"# caf\xe9\nPORT=1\n", ".env, line 1: not UTF-8", id="another encoding"),
        pytest.param(b'PORT=1\nLOG_LEVEL="INFO\n', ".env, line 2: must be", id="an open quote"),
        pytest.param(b"PORT=1\n\nno setting\n", ".env, line 3: must be", id="no setting at all"),
    ],
)
@pytest.mark.parametrize("command", ["run", "demo"])
async def test_an_env_file_that_cannot_be_read_is_a_listed_problem(
    tmp_path: Path, written: bytes, problem: str, command: str
) -> None:
    (tmp_path / ".env").write_bytes(written)
    async with bot_process({}, command, cwd=tmp_path) as bot:
        code, errors = await bot.ended()
    assert code == 2
    assert f"  - {problem}" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("written", "value"),
    [
        pytest.param("SYSTEM_PROMPT=costs ${X} or $5", "costs ${X} or $5", id="a dollar sign"),
        pytest.param('\ufeffSYSTEM_PROMPT="a\nb" # why', "a\nb", id="a mark, lines, a comment"),
        pytest.param("export SYSTEM_PROMPT = 'a' \r\n", "a", id="export, blanks, CRLF"),
        pytest.param("SYSTEM_PROMPT\n", None, id="a name alone"),
    ],
)
def test_what_the_env_file_says_is_taken_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, value: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYSTEM_PROMPT", raising=False)
    (tmp_path / ".env").write_text(written, newline="")
    assert environment.read().get("SYSTEM_PROMPT") == value


def test_a_folder_called_env_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").mkdir()
    assert environment.read() == dict(os.environ)


@pytest.mark.parametrize("command", ["run", "demo", "playground"])
def test_ctrl_c_while_it_loads_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    def interrupted() -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "read", interrupted)
    monkeypatch.setattr(sys, "argv", ["bot", command])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bot", run_name="__main__")
    assert ended.value.code == 130
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("missing", ["dotenv", "aiohttp"])
def test_what_is_not_installed_is_said_kindly(tmp_path: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; "
        "from bot.cli import main; sys.exit(main(['run']))"
    )
    env = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s", "ANTHROPIC_API_KEY": "k"}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    assert f"it needs {missing}" in ended.stderr and "Traceback" not in ended.stderr


def test_an_empty_question_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["playground", "--ask", " "])
    assert ended.value.code == 2
    assert "the question is empty" in capsys.readouterr().err


async def test_settings_come_from_dotenv_and_the_environment_wins(
    world: World, tmp_path: Path
) -> None:
    lines = [f"{name}={value}" for name, value in world.env.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "PORT=1"]))
    async with bot_process({}, cwd=tmp_path) as bot:
        await bot.ready()


async def test_variables_of_an_oauth_app_do_not_change_the_mode(world: World) -> None:
    """Bolt switches to OAuth silently when it finds these in the environment."""
    env = {**world.env, "SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "x"}
    async with bot_process(env) as bot:
        await bot.ready()
        world.slack.events_url = f"{bot.url}/slack/events"
        ts = await world.ask()
        await world.until(lambda: world.shown(ts))


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["--version"]])
async def test_help_and_version_work(words: list[str], tmp_path: Path) -> None:
    async with bot_process({}, *words, cwd=tmp_path) as bot:
        code, _ = await bot.ended()
    assert code == 0
