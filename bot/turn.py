"""The words everybody shares: a question, its key, how it ended, what Claude sends meanwhile."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeGuard

Surface = Literal["channel", "direct"]

_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_TS = re.compile(r"[0-9]{1,11}\.[0-9]{1,9}")


def is_id(value: object) -> TypeGuard[str]:
    """Whether `value` looks like an id of Slack's: of a team, a channel, a person."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_ts(value: object) -> TypeGuard[str]:
    """Whether `value` looks like the `ts` of a message, which is a time as well."""
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def mentions(text: str, user: str) -> bool:
    """Whether `text`, as Slack sends it, mentions `user`."""
    return f"<@{user}>" in text or f"<@{user}|" in text


@dataclass(frozen=True, slots=True)
class TurnKey:
    """One run of one question; what is claimed, so that a message is answered once.

    `ts` is the asking message's: an `app_mention` and its twin `message` event share it, while
    their `event_id` differs (docs.slack.dev/reference/events/app_mention). Run 0 is the event;
    every Retry, Continue or edit of the question claims the next.
    """

    team: str
    channel: str
    ts: str
    run: int = 0

    def __str__(self) -> str:
        return f"{self.team}:{self.channel}:{self.ts}:{self.run}"

    @classmethod
    def parse(cls, value: str) -> TurnKey:
        """The key that `str(key)` wrote. Raises ValueError for anything else."""
        team, channel, ts, run = value.split(":")
        return cls(team, channel, ts, int(run))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody asks: where, who and (except in the journal) the text as Slack sent it."""

    team: str
    channel: str
    user: str
    ts: str
    surface: Surface
    thread_ts: str | None = None
    """The root of the thread that the message came in; None when it came outside one."""
    user_team: str | None = None
    is_shared: bool = False
    """The channel is shared with another organisation (Slack Connect)."""
    run: int = 0
    reuses: bool = False
    """The reply takes over the messages of the run before: a retry, an edited question."""
    continues: bool = False
    """The reply goes on after the earlier ones, the last of which reached its length limit."""
    in_doubt: bool = False
    """A message without a mention, in a thread of which the store does not know whether the bot was
    asked there: it may not be for the bot at all."""
    text: str = field(default="", repr=False)
    files: tuple[dict[str, Any], ...] | None = field(default=(), repr=False, hash=False)
    """The files of the message as Slack describes them; None while that is not known, since an
    `app_mention` does not say."""

    attachments: tuple[dict[str, Any], ...] = field(default=(), repr=False, hash=False)
    """What was shared or forwarded with it, as Slack describes it; known when the files are."""

    @property
    def key(self) -> TurnKey:
        return TurnKey(self.team, self.channel, self.ts, self.run)

    @property
    def reply_thread_ts(self) -> str | None:
        """The thread that the reply belongs to; None: straight below, in a flat direct message."""
        if self.thread_ts is None and self.surface == "channel":
            return self.ts
        return self.thread_ts


class Outcome(StrEnum):
    """How a turn ended."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    DECLINED = "declined"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    """Somebody wanted it to end."""
    SUPERSEDED = "superseded"
    GONE = "gone"
    IGNORED = "ignored"
    """It was not for the bot, or no question: it stopped others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Somebody wants replies to end: those that ask, or show, one of `messages`; without any, all
    of a thread. Ids only: it is told to other processes."""

    team: str
    channel: str
    user: str
    at: str
    """When, as a ts: what was asked for later is not meant."""
    messages: tuple[str, ...] = ()
    thread_ts: str = ""
    """The root of the thread; "" for a flat direct message."""
    run: int | None = None
    """Only this run of the question that is the message."""
    user_team: str | None = None
    is_shared: bool = False
    """As a Question's."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Attachment:
    """A file as Claude reads it: an image or a PDF as `data`, everything else as `text`."""

    kind: Literal["image", "pdf", "text"]
    name: str
    media_type: str
    data: bytes = field(default=b"", repr=False)
    text: str = field(default="", repr=False)
    file_id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation as Claude reads it; it has text, attachments or both."""

    role: Literal["user", "assistant"]
    text: str
    aside: str = ""
    """Said after the text, this time only: the next question's request has the text without it, so
    what is cached ends before it."""
    attachments: tuple[Attachment, ...] = ()
    """Of a user's turn only."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; `input` counts neither cache reads nor cache writes, `output` counts
    `thinking` too."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    thinking: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.thinking + other.thinking,
        )


@dataclass(frozen=True, slots=True)
class Started:
    """Claude has accepted the request and will write."""

    model: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Claude thinks before it writes."""


@dataclass(frozen=True, slots=True)
class Text:
    """More of the reply."""

    delta: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """A request failed; the next one comes in `wait_s` seconds, and goes on where the text is."""

    cause: Literal["busy", "failing", "broken"]
    wait_s: float


@dataclass(frozen=True, slots=True)
class Restarted:
    """Forget the text that came: the reply begins again."""


@dataclass(frozen=True, slots=True)
class Switched:
    """The reply goes on in another way: with the other `model`, or `in_one_piece`."""

    model: str
    in_one_piece: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The reply is complete: Claude gave its reason to stop."""

    stop_reason: str
    model: str


ClaudeEvent = Started | Thinking | Text | Retrying | Restarted | Switched


@dataclass(slots=True)
class StreamReport:
    """What one reply has cost at Claude's side, for the log and the metrics. Times in seconds."""

    attempts: int = 0
    resumes: int = 0
    restarts: int = 0
    first_event_s: float | None = None
    first_text_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    """Between one delta and the next."""
    damages: list[str] = field(default_factory=list)
    usage: dict[str, Usage] = field(default_factory=dict)
    """By the model that used it."""
    dollars: float | None = 0.0

    def gap_s(self, share: float) -> float | None:
        """The gap that `share` (0 to 1) of the gaps are not above; None without gaps."""
        ordered = sorted(self.gaps_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def spent(self, model: str, usage: Usage, dollars: float | None) -> None:
        """Add one request; `dollars` is None where the price is not known."""
        self.usage[model] = self.usage.get(model, Usage()) + usage
        known = self.dollars is not None and dollars is not None
        self.dollars = (self.dollars or 0.0) + (dollars or 0.0) if known else None
