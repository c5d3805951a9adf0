"""What is set: the environment, and `.env` of the working directory."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Final

from bot.errors import ConfigError

ENV_FILE: Final = ".env"


def read() -> dict[str, str]:
    """Variable name → value; the environment wins. Values stand as they are written, also with a
    `$` in them. Raises ConfigError naming every line of the file that cannot be read."""
    return {**_from_file(Path(ENV_FILE)), **os.environ}


def _from_file(path: Path) -> dict[str, str]:
    from dotenv.parser import parse_stream  # missing outside the bot's own venv: cli says so

    found: dict[str, str] = {}
    problems: list[str] = []
    for line in parse_stream(io.StringIO(_text(path))):
        if line.error:
            written = line.original.string
            above = written[: len(written) - len(written.lstrip())].count("\n")
            problems.append(
                f"{ENV_FILE}, line {line.original.line + above}: must be NAME=value, and a "
                "quotation mark that is opened must be closed"
            )
        elif line.key is not None and line.value is not None:
            found[line.key] = line.value
    if problems:
        raise ConfigError(problems)
    return found


def _text(path: Path) -> str:
    """The file's text, "" if there is none (or a folder of that name)."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except OSError as error:
        raise ConfigError([f"{ENV_FILE} cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{ENV_FILE}, line {line}: not UTF-8 text"]) from None
