"""What the operator tells Claude, and what holds per channel: from files, read again when they
change."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bot import logs
from bot.channels import tables
from bot.channels.files import Files, Stamp, size, stamp
from bot.channels.tables import Tables
from bot.clock import Clock
from bot.config import CHANNELS_FILE, Effort, Following, Settings
from bot.errors import ConfigError

log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 1.0
PROBLEMS_LOGGED: Final = 10
LARGE_BYTES: Final = 10_000
"""A larger file is parsed in a thread: of TOML, that is some ten milliseconds."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What holds in one channel."""

    prompt: str | None = field(repr=False)
    """What is added to the system prompt."""
    model: str
    effort: Effort
    follow_ups: Following
    allowed_users: frozenset[str] | None
    """Who may ask here; None: whoever may ask elsewhere."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How Claude answers: the whole system prompt, the model, how hard it thinks."""

    system: str = field(repr=False)
    model: str
    effort: Effort


class Channels:
    """What the files say, looked at once a second at most.

    Files that are broken after a change are reported once, and what they said before holds; also
    where they are gone, since a channel whose table is lost would be open to everybody. So it does
    while a large one is parsed again, which keeps nobody waiting. `ending`
    stands at the end of every system prompt. Raises ConfigError with every problem if they are
    broken from the start.
    """

    def __init__(self, settings: Settings, clock: Clock, *, ending: str = "") -> None:
        self._settings = settings
        self._clock = clock
        self._ending = ending
        look = _look(settings)
        if look.files.problems:
            raise ConfigError(look.files.problems)
        self._good = look
        self._stamps: Mapping[str, Stamp | None] = look.files.stamps
        self._look_at = clock.now() + CHECK_EVERY_S
        self._looking: asyncio.Future[_Look] | None = None
        if look.has_channels_file:
            logs.event(log, "channels_loaded", channels=len(look.tables.channels))

    def of(self, channel: str) -> ChannelSettings:
        """What holds in `channel`: its own table, then `[direct]` for direct messages, then
        `[default]`, then the settings; each may leave something to the next."""
        self._refresh()
        table, settings = self._good.tables.of(channel), self._settings
        return ChannelSettings(
            prompt=table.prompt or None,
            model=table.model or settings.claude_model,
            effort=table.effort or settings.claude_effort,
            follow_ups=table.follow_ups or settings.follow_ups,
            allowed_users=table.allowed_users,
        )

    def manner(self, channel: str) -> Manner:
        """How Claude answers in `channel`. The system prompt has the same bytes until a file
        changes, so that Claude's prompt cache knows it again."""
        here = self.of(channel)
        parts = (self._good.system, here.prompt, self._ending)
        return Manner("\n\n".join(filter(None, parts)), here.model, here.effort)

    def follow_ups(self, channel: str) -> Following:
        """Whose messages in `channel` are answered without a mention."""
        return self.of(channel).follow_ups

    def any_follow_ups(self) -> bool:
        """Whether messages without a mention are answered in any channel."""
        found = self._good.tables
        elsewhere = found.default.follow_ups or self._settings.follow_ups
        named = (table.follow_ups for table in found.channels.values())
        return any(one not in (None, "off") for one in (elsewhere, *named))

    def models(self) -> list[str]:
        """Every model that may be asked, the one of the settings first."""
        found = self._good.tables
        all_of_them = (found.default, found.direct, *found.channels.values())
        named = [table.model for table in all_of_them if table.model is not None]
        return list(dict.fromkeys([self._settings.claude_model, *named]))

    def _refresh(self) -> None:
        now = self._clock.now()
        if now < self._look_at or self._looking is not None:
            return
        self._look_at = now + CHECK_EVERY_S
        if all(stamp(path) == before for path, before in self._stamps.items()):
            return
        read = functools.partial(_look, self._settings, is_missed=self._good.has_channels_file)
        if size(self._settings.channels_file) <= LARGE_BYTES:
            self._take(read())
        else:
            self._looking = asyncio.get_running_loop().run_in_executor(None, read)
            self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[_Look]) -> None:
        self._looking = None
        if not looking.cancelled():
            self._take(looking.result())

    def _take(self, look: _Look) -> None:
        self._stamps = look.files.stamps
        if problems := look.files.problems:
            shown = "; ".join(problems[:PROBLEMS_LOGGED])
            logs.warning(log, "channels_not_reloaded", problems=len(problems), first=shown)
        else:
            self._good = look
            logs.event(log, "channels_reloaded", channels=len(look.tables.channels))


def problems(settings: Settings) -> list[str]:
    """What is wrong in the files that the settings name."""
    return _look(settings).files.problems


@dataclass(frozen=True, slots=True)
class _Look:
    """What the files said at one moment."""

    files: Files
    system: str
    tables: Tables
    has_channels_file: bool


def _look(settings: Settings, *, is_missed: bool = False) -> _Look:
    """Read the files. One of the default name need not be there, unless it `is_missed`."""
    files = Files()
    system = settings.system_prompt
    if settings.system_prompt_file is not None:
        system = files.prompt(settings.system_prompt_file, "SYSTEM_PROMPT_FILE") or ""
    path = settings.channels_file
    if path == CHANNELS_FILE and not is_missed and stamp(path) is None:
        files.stamps[path] = None
        return _Look(files, system, Tables(), has_channels_file=False)
    return _Look(files, system, tables.read(path, files), has_channels_file=True)
