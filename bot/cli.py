"""`python -m bot`: only parses and calls."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from bot import __version__, channels, config, environment, logs
from bot.errors import AuthFailed, ConfigError, SlackError, StoreUnavailable

log = logging.getLogger(__name__)

WRONG_CONFIGURATION = 2
CANNOT_START = 1
INTERRUPTED = 130  # as a shell reports Ctrl-C


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        match chosen.command:
            case "demo":
                return _playground("demo", chosen)
            case "playground":
                return _playground("playground" if chosen.ask is None else "ask", chosen)
            case _:
                return _run()
    except ConfigError as error:
        return _wrong(error)
    except KeyboardInterrupt:  # before anything has begun that would have to be closed
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bot", description="Claude in Slack: streams replies into messages."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("run", help="run the bot (also without a command)")
    demo = commands.add_parser("demo", help="watch the real bot answer, without keys or workspace")
    playground = commands.add_parser("playground", help="the demo's servers, left running")
    playground.add_argument(
        "--ask", metavar="QUESTION", type=_question, help="ask one question and leave"
    )
    for command in (demo, playground):
        command.add_argument(
            "--live", action="store_true", help="with the real Claude (needs ANTHROPIC_API_KEY)"
        )
        command.add_argument(
            "--delivery",
            choices=("auto", "edit", "stream", "post"),
            default="auto",
            help="how replies arrive: the bot's DELIVERY",
        )
    return parser


def _question(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the question is empty")
    return text


def _run() -> int:
    try:
        settings = config.read(environment.read(), channels.problems)
    except ModuleNotFoundError as error:
        return _not_installed(error)
    logs.setup(level=settings.log_level, as_json=settings.log_format == "json")
    if settings.redis_url is None and not _is_first(os.environ.get("DYNO", "")):
        logs.warning(log, "several_processes_need_redis", dyno=os.environ["DYNO"])
    try:
        from bot.serve import serve  # loads the SDKs, which takes seconds: not for a wrong setting
    except ModuleNotFoundError as error:
        return _not_installed(error)
    try:
        asyncio.run(serve(settings))
    except AuthFailed as error:
        return _cannot_start(
            f"Slack does not accept the token ({error.code}, {error.method}). Take a new one from "
            "your app's page: SLACK_BOT_TOKEN under OAuth & Permissions, SLACK_APP_TOKEN (scope "
            "connections:write) under Basic Information."
        )
    except SlackError as error:
        return _cannot_start(f"Slack cannot be reached ({error.code}, {error.method}).")
    except StoreUnavailable as error:
        where = "DATA_DIR" if settings.redis_url is None else "REDIS_URL"
        return _cannot_start(f"{where} cannot be used ({error}).")
    except OSError as error:
        return _cannot_start(f"The port cannot be opened ({error.strerror}).")
    return 0


def _is_first(dyno: str) -> bool:
    """Whether a host that numbers a kind's processes (Heroku: DYNO=web.2) began with this one."""
    return not dyno.rpartition(".")[2].isdigit() or dyno.endswith(".1")


def _wrong(error: ConfigError) -> int:
    problems = "".join(f"  - {problem}\n" for problem in error.problems)
    sys.stderr.write(
        f"The bot cannot start, its settings are wrong:\n{problems}"
        "Every setting is explained in .env.example; `make demo` runs without any.\n"
    )
    return WRONG_CONFIGURATION


def _cannot_start(why: str) -> int:
    sys.stderr.write(f"The bot cannot start: {why}\n")
    return CANNOT_START


def _not_installed(error: ModuleNotFoundError) -> int:
    return _cannot_start(
        f"it needs {error.name}; `make run` installs it, or: pip install -r requirements.txt."
    )


def _playground(kind: str, chosen: argparse.Namespace) -> int:
    try:
        from bot.playground import demo
    except ModuleNotFoundError as error:
        return _cannot_start(
            f"the playground needs {error.name}; `make demo` installs it, or: "
            "pip install 'claude-in-slack[playground]'."
        )
    live, delivery = chosen.live, chosen.delivery
    match kind:
        case "demo":
            return asyncio.run(demo.demo(live=live, delivery=delivery))
        case "ask":
            return asyncio.run(demo.ask(chosen.ask, live=live, delivery=delivery))
        case _:
            return asyncio.run(demo.playground(live=live, delivery=delivery))
