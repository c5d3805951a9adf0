"""Which questions were accepted, who answers them, and what became of them."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.store import BEGINS, BEHIND_A_REPLY, OpenTurn
from bot.store.redis import scripts
from bot.store.redis.link import Link
from bot.turn import Outcome, Question, TurnKey

US: Final = 1_000_000
DEFAULTS: Final = {
    "user": None,
    "surface": None,
    "thread_ts": None,
    "user_team": None,
    "is_shared": False,
    "reuses": False,
    "continues": False,
    "in_doubt": False,
}
"""What the record of a question holds besides its key, where it is not this."""


@dataclass(slots=True)
class _Held:
    """What this process knows of a turn that it has leased: enough to write the entry again."""

    question: Question
    accepted_us: int
    messages: dict[int, str] = field(default_factory=dict)
    has_place: bool = False


class Journal:
    """The verbs of Store that concern turns.

    A Redis that was restarted may have lost its data. The replies that are under way go on: their
    entries are written again when it is noticed, at the latest by the next `renew`.
    """

    def __init__(self, link: Link, lease_s: float) -> None:
        self._link = link
        self._lease_us = round(lease_s * US)
        self._held: dict[TurnKey, _Held] = {}
        self._leaving = False
        self._remembers_since = 0.0
        self._doubtful_until = -math.inf

    @property
    def remembers_since(self) -> float:
        return self._remembers_since

    @property
    def is_doubtful(self) -> bool:
        return asyncio.get_running_loop().time() < self._doubtful_until

    def _told(self, born_us: str, lost: int) -> None:
        """What a script says of Redis's own memory."""
        self._remembers_since = float(born_us) / US
        if lost:
            self._doubtful_until = asyncio.get_running_loop().time() + self._lease_us / US

    async def accept(self, question: Question) -> bool:
        key = question.key
        run_before = TurnKey(key.team, key.channel, key.ts, key.run - 1) if key.run else None
        accepted = await self._link.run(
            scripts.ACCEPT,
            str(key),
            self._lease_us,
            _thread(question),
            _record(question),
            str(run_before or ""),
            _asker(question),
            question.ts,
        )
        if accepted is None:
            return False
        accepted_us, *memory = accepted
        self._told(*memory)
        self._held[key] = _Held(question, accepted_us)
        return True

    async def abandoned(self) -> list[OpenTurn]:
        found = [_entry(key, fields) for key, fields in await self._link.run(scripts.ABANDONED)]
        return sorted(found, key=lambda turn: turn.accepted_at)

    async def take_up(self, key: TurnKey) -> bool:
        fields = await self._link.run(scripts.TAKE_UP, str(key), self._lease_us)
        if fields is None:
            return False
        turn = _entry(str(key), fields)
        accepted_us = round(turn.accepted_at * US)
        notes = dict(turn.messages)
        if turn.begins is not None:
            notes[turn.begins] = BEGINS
        self._held[key] = _Held(turn.question, accepted_us, notes)
        return True

    async def count_try(self, key: TurnKey) -> int:
        tries = await self._known(key, lambda: self._link.run(scripts.COUNT_TRY, str(key)))
        return tries or 0

    async def renew(self, keys: Collection[TurnKey]) -> set[TurnKey]:
        asked = list(keys)
        state = "leaving" if self._leaving else "here"
        told = await self._link.run(scripts.RENEW, self._lease_us, state, *map(str, asked))
        born_us, lost_data, *states = told
        self._told(born_us, lost_data)
        for key, state in zip(asked, states, strict=True):
            if state == "unknown":
                await self._restore(key)
        lost = {key for key, state in zip(asked, states, strict=True) if state == "lost"}
        for key in lost:
            self._held.pop(key, None)
        return lost

    async def release(self, key: TurnKey, *, tried: bool = True) -> None:
        await self._link.run(scripts.RELEASE, str(key), int(tried))
        self._held.pop(key, None)

    async def is_open(self, key: TurnKey) -> bool:
        return bool(await self._link.run(scripts.IS_OPEN, str(key)))

    async def note_message(self, key: TurnKey, part: int, ts: str) -> None:
        if held := self._held.get(key):
            held.messages[part] = ts
        await self._link.run(scripts.NOTE_MESSAGE, str(key), part, ts)

    async def settle(self, key: TurnKey, outcome: Outcome) -> None:
        await self._link.run(scripts.SETTLE, str(key), outcome.value)
        self._held.pop(key, None)

    async def take_place(self, key: TurnKey, limit: int) -> int:
        number = await self._known(key, lambda: self._link.run(scripts.TAKE_PLACE, str(key), limit))
        if number == 0 and (held := self._held.get(key)):
            held.has_place = True
        return BEHIND_A_REPLY if number is None else number

    async def asked_in(self, team: str, channel: str, thread_ts: str) -> Mapping[str, str]:
        born_us, *askers = await self._link.run(scripts.ASKED_IN, f"{team}:{channel}:{thread_ts}")
        self._told(born_us, 0)
        return dict(zip(askers[::2], askers[1::2], strict=True))

    async def note_askers(
        self, team: str, channel: str, thread_ts: str, askers: Mapping[str, str]
    ) -> None:
        named = [part for asker in askers.items() for part in asker]
        await self._link.run(scripts.NOTE_ASKERS, f"{team}:{channel}:{thread_ts}", *named)

    async def _known(self, key: TurnKey, ask: Callable[[], Awaitable[Any]]) -> int | None:
        """What a script says of a turn, with its entry written again if Redis has lost it; None if
        nobody knows it."""
        answer: int | None = await ask()
        if answer is None and await self._restore(key):
            answer = await ask()
        return answer

    async def _restore(self, key: TurnKey) -> bool:
        held = self._held.get(key)
        if held is None:
            return False
        messages = [part for pair in held.messages.items() for part in pair]
        await self._link.run(
            scripts.RESTORE,
            str(key),
            self._lease_us,
            _thread(held.question),
            _record(held.question),
            held.accepted_us,
            int(held.has_place),
            *messages,
        )
        return True


def _thread(question: Question) -> str:
    """The name of the thread that the reply belongs to."""
    return f"{question.team}:{question.channel}:{question.reply_thread_ts or ''}"


def _asker(question: Question) -> str:
    """Who counts among the askers of the thread, if anybody does."""
    return question.user if question.surface == "channel" and not question.in_doubt else ""


def _record(question: Question) -> str:
    """The question as JSON, without what its key says, and without its text."""
    fields = {name: getattr(question, name) for name in DEFAULTS}
    said = {name: value for name, value in fields.items() if value != DEFAULTS[name]}
    return json.dumps(said, separators=(",", ":"))


def _entry(key: str, flat: Iterable[str]) -> OpenTurn:
    """An entry as the scripts give it: names and values by turns."""
    pairs = iter(flat)
    fields = dict(zip(pairs, pairs, strict=True))
    name = TurnKey.parse(key)
    record = json.loads(fields["record"])
    question = Question(
        team=name.team,
        channel=name.channel,
        ts=name.ts,
        run=name.run,
        **{known: record[known] for known in DEFAULTS if known in record},
    )
    notes = {int(known[1:]): ts for known, ts in fields.items() if known[1:].isdigit()}
    return OpenTurn.noted(question, int(fields["at"]) / US, notes)
