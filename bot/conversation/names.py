"""How people and channels are called, remembered."""

from __future__ import annotations

import asyncio
import logging
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Generic, TypeVar

from bot import logs
from bot.clock import Clock
from bot.errors import Doubtful, RateLimited, SlackError, Transient
from bot.pacing import Pacer
from bot.slack import Person, Workspace

log = logging.getLogger(__name__)

T = TypeVar("T")

KEPT: Final = 5_000
KEPT_S: Final = 24 * 3_600.0
"""Then it is asked for again: names change, and summer time ends."""
NAMES_AT_ONCE: Final = 90
"""users.info is Tier 4: what a minute allows."""
NAME_CHARACTERS: Final = 80

_OPENING = frozenset({"Ps", "Pi"})
_CLOSING = frozenset({"Pe", "Pf"})
_UNSEEN = frozenset({"Cf", "Cc", "Cs", "Co", "Cn"})
_IGNORABLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0"
) | {chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}
"""Marks and letters that show nothing: joiners, fillers, an empty pattern, variation selectors."""

_OURS = re.compile(
    r"from the bot|background|left out|attached|shared message|preview of|\(bot\)|…|\.\.\."
    r"|\d[:.h]\d\d|^\W*(?:human|assistant|user|system)\b",
    re.I,
)


class Names:
    """The names of the latest few thousand people and channels."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._people = _Known(pacer.clock, self._person)
        self._channels = _Known(pacer.clock, self._channel)
        self._public_channels = _Known(pacer.clock, self._public_channel)

    async def close(self) -> None:
        """Ask no more."""
        await self._people.close()
        await self._channels.close()
        await self._public_channels.close()

    def ask_for(self, workspace: Workspace, user: str, channel: str | None) -> None:
        """Find out who `user` is, and how `channel` is called; nobody waits for it yet."""
        self._people.ask_for(workspace, user)
        if channel is not None:
            self._channels.ask_for(workspace, channel)

    async def people(
        self, workspace: Workspace, users: Iterable[str], timeout_s: float
    ) -> dict[str, Person]:
        """Those of the `users` whose names Slack tells in time; the first ones first where the
        budget is short."""
        return await self._people.look_up(workspace, users, timeout_s)

    async def channel(self, workspace: Workspace, channel: str, timeout_s: float) -> str:
        """The name of a channel; "" if Slack does not tell it, or not in time."""
        found = await self._channels.look_up(workspace, [channel], timeout_s)
        return found.get(channel, "")

    async def channels(
        self, workspace: Workspace, channels: Iterable[str], timeout_s: float
    ) -> dict[str, str]:
        """The names of those that somebody mentions, as far as Slack tells them in time. Those of
        private ones are for their members alone."""
        found = await self._public_channels.look_up(workspace, channels, timeout_s)
        return {channel: name for channel, name in found.items() if name}

    async def _person(self, workspace: Workspace, user: str) -> Person | None:
        team = workspace.identity.team
        if not await self._pacer.look_up(team):
            return None
        try:
            person = await workspace.person(user)
        except RateLimited as error:
            self._pacer.pause_look_ups(team, error.retry_after_s)
            return None
        except SlackError as error:
            logs.warning(log, "name_unknown", user=user, code=error.code)
            return None if isinstance(error, Doubtful | Transient) else Person(user)
        return Person(one_line(person.name) or user, person.utc_offset_s)

    async def _channel(
        self, workspace: Workspace, channel: str, *, only_public: bool = False
    ) -> str | None:
        team = workspace.identity.team
        if not await self._pacer.look_up_channel(team):
            return None
        try:
            return one_line(await workspace.channel_name(channel, only_public=only_public))
        except RateLimited as error:
            self._pacer.pause_channel_look_ups(team, error.retry_after_s)
            return None
        except SlackError as error:  # an older installation lacks the scope: it goes without
            logs.event(log, "channel_name_unknown", channel=channel, code=error.code)
            return None if isinstance(error, Doubtful | Transient) else ""

    async def _public_channel(self, workspace: Workspace, channel: str) -> str | None:
        return await self._channel(workspace, channel, only_public=True)


class _Known(Generic[T]):
    """What `learn` has told of ids, None where it does not know yet; each is asked for once."""

    def __init__(
        self, clock: Clock, learn: Callable[[Workspace, str], Awaitable[T | None]]
    ) -> None:
        self._clock = clock
        self._learn = learn
        self._known: OrderedDict[tuple[str, str], tuple[T, float]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ask_for(self, workspace: Workspace, one: str) -> None:
        if self._fresh(workspace, one) is None:
            self._task(workspace, one)

    async def look_up(
        self, workspace: Workspace, ids: Iterable[str], timeout_s: float
    ) -> dict[str, T]:
        wanted = dict.fromkeys(ids)
        missing = [one for one in wanted if self._fresh(workspace, one) is None]
        tasks = [self._task(workspace, one) for one in missing[:NAMES_AT_ONCE]]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        found = {one: self._known.get((workspace.identity.team, one)) for one in wanted}
        return {one: known[0] for one, known in found.items() if known is not None}

    def _fresh(self, workspace: Workspace, one: str) -> T | None:
        known = self._known.get((workspace.identity.team, one))
        if known is None or self._clock.now() - known[1] > KEPT_S:
            return None
        return known[0]

    def _task(self, workspace: Workspace, one: str) -> asyncio.Task[None]:
        """The call that asks for it; the one under way, if there is one."""
        key = (workspace.identity.team, one)
        if key not in self._asking:
            task = asyncio.create_task(self._ask(workspace, one), name=f"name:{one}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return self._asking[key]

    async def _ask(self, workspace: Workspace, one: str) -> None:
        told = await self._learn(workspace, one)
        if told is None:
            return
        key = (workspace.identity.team, one)
        self._known[key] = told, self._clock.now()
        self._known.move_to_end(key)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)


def one_line(name: str) -> str:
    """A name that cannot look like another speaker's line: one line, no brackets, nothing unseen
    (zero-width and direction marks)."""
    wide = unicodedata.normalize("NFKC", seen(name)[:NAME_CHARACTERS])
    shown = "".join(_harmless(sign) for sign in wide)
    return " ".join(shown.split())[:NAME_CHARACTERS].strip()


def told_apart(name: str) -> str:
    """A name in quotation marks if it reads like the bot's own words, or like a role."""
    return in_quotes(name) if _OURS.search(name) else name


def in_quotes(name: str) -> str:
    """A name that may not be read as anything but a name."""
    return f'"{name.replace(chr(34), chr(39))}"'


def seen(text: str) -> str:
    """What people see of `text`: nothing of no width, no fillers that look like a space."""
    if text.isascii() and text.isprintable():
        return text
    unseen = [sign for sign in set(text) if not sign.isspace() and _is_unseen(sign)]
    return text.translate(dict.fromkeys(map(ord, unseen))) if unseen else text


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign) in _UNSEEN or sign in _IGNORABLE


def _harmless(sign: str) -> str:
    category = unicodedata.category(sign)
    if category in _OPENING:
        return "("
    if category in _CLOSING:
        return ")"
    if sign.isspace():
        return " "
    return "" if _is_unseen(sign) else sign
