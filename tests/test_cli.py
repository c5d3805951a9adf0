"""The command line, as a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bot_process import bot_process
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
