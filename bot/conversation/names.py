"""How people are called, remembered."""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from bot import logs
from bot.errors import Doubtful, RateLimited, SlackError, Transient
from bot.pacing import Pacer
from bot.slack import Person, Workspace

log = logging.getLogger(__name__)

NAMES_TIMEOUT_S: Final = 2.0
NAMES_KEPT: Final = 5_000
NAMES_AT_ONCE: Final = 90
"""users.info is Tier 4: what a minute allows."""
NAME_CHARACTERS: Final = 80

_OPENING = frozenset({"Ps", "Pi"})
_CLOSING = frozenset({"Pe", "Pf"})
_UNSEEN = frozenset({"Cf", "Cc", "Cs", "Co", "Cn"})


class Names:
    """The names of the latest few thousand people."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._known: OrderedDict[tuple[str, str], Person] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def known(self, team: str, user: str) -> Person | None:
        """The person, if that costs no call."""
        return self._known.get((team, user))

    def ask_for(self, workspace: Workspace, user: str) -> None:
        """Find out who `user` is, for later; nobody waits for it."""
        if (workspace.identity.team, user) not in self._known:
            self._task(workspace, user)

    async def look_up(self, workspace: Workspace, users: Iterable[str]) -> dict[str, Person]:
        """Those of the `users` whose names Slack tells in time; the first ones first where the
        budget is short."""
        team = workspace.identity.team
        wanted = dict.fromkeys(users)
        missing = [user for user in wanted if (team, user) not in self._known]
        tasks = [self._task(workspace, user) for user in missing[:NAMES_AT_ONCE]]
        if tasks:
            await asyncio.wait(tasks, timeout=NAMES_TIMEOUT_S)
        found = {user: self._known.get((team, user)) for user in wanted}
        return {user: person for user, person in found.items() if person is not None}

    def _task(self, workspace: Workspace, user: str) -> asyncio.Task[None]:
        """The call that asks for `user`; the one under way, if there is one."""
        key = (workspace.identity.team, user)
        if key not in self._asking:
            task = asyncio.create_task(self._learn(workspace, user), name=f"name:{user}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return self._asking[key]

    async def _learn(self, workspace: Workspace, user: str) -> None:
        team = workspace.identity.team
        if not await self._pacer.look_up(team):
            return
        person = Person(user)
        try:
            person = await workspace.person(user)
        except RateLimited as error:
            self._pacer.pause_look_ups(team, error.retry_after_s)
            return
        except SlackError as error:
            logs.warning(log, "name_unknown", user=user, code=error.code)
            if isinstance(error, Doubtful | Transient):
                return
        name = one_line(person.name) or user
        self._known[(team, user)] = Person(name, person.utc_offset_s)
        if len(self._known) > NAMES_KEPT:
            self._known.popitem(last=False)


def one_line(name: str) -> str:
    """A name that cannot look like another speaker's line: one line, no brackets, nothing unseen
    (zero-width and direction marks)."""
    seen = "".join(_harmless(sign) for sign in unicodedata.normalize("NFKC", name[:1_000]))
    return " ".join(seen.split())[:NAME_CHARACTERS].strip()


def _harmless(sign: str) -> str:
    category = unicodedata.category(sign)
    if category in _OPENING:
        return "("
    if category in _CLOSING:
        return ")"
    if category in _UNSEEN:
        return " " if sign.isspace() else ""
    return sign
