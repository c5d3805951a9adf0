"""The tables of channels.toml: `[default]`, `[direct]`, `[channels.C…]`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from bot.channels.files import Files
from bot.config import EFFORTS, FOLLOWING, Effort, Following

EVERYWHERE: Final = ("prompt", "prompt_file", "model", "effort")
KEYS_OF_DEFAULT: Final = (*EVERYWHERE, "follow_ups")
KEYS_OF_DIRECT: Final = ("name", *EVERYWHERE)
KEYS_OF_CHANNEL: Final = ("name", *EVERYWHERE, "follow_ups", "allowed_users")

CHANNEL_ID: Final = re.compile(r"[CGD][A-Z0-9]+")
USER_ID: Final = re.compile(r"[UW][A-Z0-9]+")
MODEL: Final = re.compile(r"\S{1,100}")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")

# tomllib's words that quote a key, or leave the reader alone, by how they begin.
SYNTAX: Final = {
    "Cannot declare": "the table is there twice",
    "Cannot redefine": "the table is there twice",
    "Cannot mutate": "the table is there twice",
    "Cannot overwrite": "the key is there twice",
    "Duplicate": "the key is there twice",
    "Invalid value": "no value (text stands in quotes)",
    "Expected '=' after": "no “key = value”",
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table; None is what it does not set. An empty prompt is set, to none."""

    prompt: str | None = field(default=None, repr=False)
    model: str | None = None
    effort: Effort | None = None
    follow_ups: Following | None = None
    allowed_users: frozenset[str] | None = None

    def over(self, other: Table) -> Table:
        """This one, with what it does not set taken from `other`."""
        return Table(
            self.prompt if self.prompt is not None else other.prompt,
            self.model or other.model,
            self.effort or other.effort,
            self.follow_ups or other.follow_ups,
            self.allowed_users or other.allowed_users,
        )


NOTHING: Final = Table()


@dataclass(frozen=True, slots=True)
class Tables:
    """All of a file."""

    default: Table = NOTHING
    direct: Table = NOTHING
    channels: Mapping[str, Table] = field(default_factory=dict)

    def of(self, channel: str) -> Table:
        """What holds in `channel`. The ids of direct messages begin with D."""
        own = self.channels.get(channel, NOTHING)
        return (own.over(self.direct) if channel.startswith("D") else own).over(self.default)


def read(path: str, files: Files) -> Tables:
    """The tables of the file; what is wrong with them becomes problems of `files`."""
    text = files.text(path, "CHANNELS_FILE")
    return Tables() if text is None else _Reader(path, files).tables(text)


class _Reader:
    """Takes tables out of a text. No value is repeated in a problem, nor a name that may be one."""

    def __init__(self, path: str, files: Files) -> None:
        self._path = path
        self._files = files

    def tables(self, text: str) -> Tables:
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._problem(_syntax(error))
            return Tables()
        except (ValueError, RecursionError):  # a number of 5,000 digits; lists in lists in lists
            self._problem("it is not TOML that can be read")
            return Tables()
        for name in found:
            if name not in ("default", "direct", "channels"):
                self._problem(
                    f"{_shown(name)} is unknown; write [default], [direct], [channels.C…]"
                )
        channels = found.get("channels", {})
        if not isinstance(channels, dict):
            self._problem("[channels] must hold tables: [channels.C…]")
            channels = {}
        return Tables(
            self._table("[default]", found.get("default", {}), KEYS_OF_DEFAULT),
            self._table("[direct]", found.get("direct", {}), KEYS_OF_DIRECT),
            {channel: self._channel(channel, table) for channel, table in channels.items()},
        )

    def _channel(self, channel: str, table: object) -> Table:
        where = f"[channels.{_shown(channel)}]"
        if not CHANNEL_ID.fullmatch(channel):
            self._problem(f"{where} must bear a channel's id: C…, G… or D…, in capitals")
            return NOTHING
        is_direct = channel.startswith("D")
        return self._table(where, table, KEYS_OF_DIRECT if is_direct else KEYS_OF_CHANNEL)

    def _table(self, where: str, found: object, keys: tuple[str, ...]) -> Table:
        if not isinstance(found, dict):
            self._problem(f"{where} must be a table")
            return NOTHING
        for key in found:
            if key not in keys:
                self._problem(f"{where} {_shown(key)} is unknown; write {', '.join(keys)}")
        table = {key: found[key] for key in keys if key in found}
        self._text(where, "name", table)
        return Table(
            self._prompt(where, table),
            self._model(where, table),
            cast(Effort | None, self._choice(where, "effort", table, EFFORTS)),
            cast(Following | None, self._choice(where, "follow_ups", table, FOLLOWING)),
            self._users(where, table),
        )

    def _prompt(self, where: str, table: Mapping[str, object]) -> str | None:
        prompt = self._text(where, "prompt", table)
        name = self._text(where, "prompt_file", table)
        if "prompt" in table and "prompt_file" in table:
            self._problem(f"{where} prompt and prompt_file are both set; keep one")
        if name is None:
            return prompt.strip() if prompt is not None else None
        path = os.path.join(os.path.dirname(self._path), name)
        return self._files.prompt(path, f"{self._path}: {where} prompt_file")

    def _model(self, where: str, table: Mapping[str, object]) -> str | None:
        value = table.get("model")
        if value is None or (isinstance(value, str) and MODEL.fullmatch(value)):
            return value
        self._problem(f'{where} model must be the id of a model, like "claude-opus-5-5"')
        return None

    def _choice(
        self, where: str, key: str, table: Mapping[str, object], choices: tuple[str, ...]
    ) -> str | None:
        value = table.get(key)
        if value is None or (isinstance(value, str) and value in choices):
            return value
        quoted = ", ".join(f'"{choice}"' for choice in choices)
        self._problem(f"{where} {key} must be one of {quoted}")
        return None

    def _users(self, where: str, table: Mapping[str, object]) -> frozenset[str] | None:
        """An empty list could mean nobody, or, as in ALLOWED_USERS, everybody."""
        value = table.get("allowed_users")
        if value is None:
            return None
        ids = value if isinstance(value, list) else []
        if ids and all(isinstance(one, str) and USER_ID.fullmatch(one) for one in ids):
            return frozenset(ids)
        self._problem(f'{where} allowed_users must list people\'s ids, like ["U…", "W…"]')
        return None

    def _text(self, where: str, key: str, table: Mapping[str, object]) -> str | None:
        value = table.get(key)
        if value is None or isinstance(value, str):
            return value
        self._problem(f"{where} {key} must be text in quotes")
        return None

    def _problem(self, what: str) -> None:
        self._files.problems.append(f"{self._path}: {what}")


def _syntax(error: tomllib.TOMLDecodeError) -> str:
    """Where the text stops being TOML, and why."""
    why, _, place = str(error).rpartition(" (at ")
    for beginning, words in SYNTAX.items():
        if why.startswith(beginning):
            why = words
    return f"{place.removesuffix(')')}: {why}"


def _shown(name: str) -> str:
    """A name in the file, unless it may be a secret or text."""
    return name if NAME.fullmatch(name) else f"a name of {len(name)} characters"
