"""What must survive the process: which questions were accepted, and what became of them.

The journal holds ids, never text: a text is read again from Slack when it is needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from bot.store.ledger import Ledger
from bot.turn import Outcome, Question, Stop, TurnKey

CLAIM_HOURS: Final = 26
"""How long a claim is remembered: Slack's "delayed events" may come again for 24 hours."""
LEASE_S: Final = 10.0
"""A turn whose owner has not been heard of for so long may be taken up by another process."""
RENEW_EVERY_S: Final = 3.0
ASKED_DAYS: Final = 30
"""How long it is remembered that somebody has asked in a thread."""
ASKERS: Final = 50
"""Of one thread, those who asked last."""
BEGINS: Final = ""
"""Noted in place of the ts of a message which is about to be begun as a stream."""
BEHIND_A_REPLY: Final = -1
"""What `take_place` says while another reply of the same thread is under way."""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A journal entry without an outcome: the question (no text), its age, its messages."""

    question: Question
    accepted_at: float
    """Seconds since the epoch."""
    messages: Mapping[int, str]
    """ts of the reply's messages by part, as far as they were noted."""
    begins: int | None = None
    """The part that was about to be begun as a stream when nothing more was noted."""
    only_ends: bool = False
    """It is not answered again, only ended."""

    @classmethod
    def noted(cls, question: Question, accepted_at: float, notes: Mapping[int, str]) -> OpenTurn:
        """An entry with what `note_message` has noted."""
        messages = {part: ts for part, ts in notes.items() if ts != BEGINS}
        begins = max((part for part, ts in notes.items() if ts == BEGINS), default=None)
        return cls(question, accepted_at, messages, begins)


@dataclass(frozen=True, slots=True)
class News:
    """Something that the other processes must know at once.

    settled    a turn has ended: whoever waits for its thread, or for a place, may ask again
    released   a turn was handed over: whoever has time may take it up
    deleted    message `ts` was deleted: the turn that it asks, or that it belongs to, is over
    edited     message `ts` was edited: the turn that it asks begins again
    changed    message `ts` reads in another way: what is remembered of it is old
    stop       somebody wants turns to end: `stop` says which
    """

    kind: Literal["settled", "released", "deleted", "edited", "changed", "stop"]
    team: str
    channel: str
    ts: str
    """The message; of settled turns the root of their thread ("" in a flat direct message)."""
    edited_ts: str = ""
    """When it was edited."""
    stop: Stop | None = None


class Store(Protocol):
    """The verbs that the bot needs; all but `close` may raise StoreUnavailable.

    A store belongs to one process, its owner. A turn is leased to the process that accepted it or
    took it up, until it is settled or released, or the owner is silent for LEASE_S.
    """

    @property
    def ledger(self) -> Ledger:
        """What the budgets of Slack's methods have spent."""

    @property
    def shared(self) -> bool:
        """Whether other processes may use it too."""

    @property
    def remembers_since(self) -> float:
        """Seconds since the epoch: what was accepted before then may be unknown."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it has just lost its data while processes were at work: what it does not know
        may be under way all the same."""

    async def accept(self, question: Question) -> bool:
        """Claim the question, write its journal entry and lease it, in one step; False if it was
        claimed before. When this returns, a crash can no longer lose the question.

        A run above 0 ends the run before it as superseded, if that is still open. Who asks in a
        channel has asked in that thread (see `asked_in`), unless the question is in doubt.
        """

    async def abandoned(self) -> list[OpenTurn]:
        """Every entry without an outcome that nobody holds a lease of, oldest first."""

    async def take_up(self, key: TurnKey) -> bool:
        """Lease an abandoned turn; False if another process did, or it was settled, meanwhile."""

    async def count_try(self, key: TurnKey) -> int:
        """Count that an open turn is answered again; how often by now."""

    async def renew(self, keys: Collection[TurnKey]) -> set[TurnKey]:
        """Renew this process's leases; those of `keys` that it no longer holds."""

    async def release(self, key: TurnKey, *, tried: bool = True) -> None:
        """Give up the lease: the turn stays open, its thread and its place become free, and any
        process may take it up. With `tried` False the last try does not count."""

    async def is_open(self, key: TurnKey) -> bool:
        """Whether the turn was accepted and has no outcome yet."""

    async def note_message(self, key: TurnKey, part: int, ts: str) -> None:
        """Remember that message `ts` is part number `part` of the reply; BEGINS: that it is about
        to be begun as a stream."""

    async def settle(self, key: TurnKey, outcome: Outcome) -> None:
        """Close the journal entry; its thread and its place become free. Nothing happens if another
        process has taken the turn up. Who was declined counts no more among the thread's askers,
        nor does who was ignored and had not asked before."""

    async def take_place(self, key: TurnKey, limit: int) -> int:
        """Ask for one of `limit` places (over all processes) for an open turn that is leased to
        this process: 0 when it has one; BEHIND_A_REPLY while another reply of its thread is under
        way, or an earlier question of the thread waits; else its number in line, from 1.

        Places are given in order of acceptance; within a thread in order of the questions' ts.
        To be asked again after `settled` or `released` news, and now and then.
        """

    async def asked_in(self, team: str, channel: str, thread_ts: str) -> Mapping[str, str]:
        """Who has asked in a thread, with the ts of their first question: ASKERS people at most,
        each for ASKED_DAYS since they asked last, without those whom the bot may not answer. What
        is older than `remembers_since`, as it is after this call, may be unknown."""

    async def note_askers(
        self, team: str, channel: str, thread_ts: str, askers: Mapping[str, str]
    ) -> None:
        """Remember that people have asked in a thread, each first with the question of that ts, as
        if it were now, one after the other."""

    async def tell(self, news: News) -> None:
        """Tell the other processes, as far as they can be reached now."""

    def news(self) -> AsyncIterator[News]:
        """What the other processes tell, for ever. It goes on after the store was away; what was
        told meanwhile is lost."""

    async def peers(self) -> int:
        """How many other processes were alive within the last LEASE_S."""

    async def leave(self) -> None:
        """Count no more among the others' peers: this process takes nothing up any more."""

    async def ping(self) -> None:
        """Return if the store can be reached."""

    async def close(self) -> None:
        """Finish what is under way and release everything."""
