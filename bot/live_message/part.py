"""One message of a reply: what it should show, and what it is known to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from bot import blocks, markdown
from bot.pacing import StreamSeat


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message of an earlier run of the same turn, to be used again."""

    ts: str
    text: str = ""
    """What it shows, as far as it is known."""
    rev: int = 0
    is_stream: bool = False
    """It is an open stream: it is to be stopped before it is edited."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What an earlier run has left in Slack beside the reply's messages: it is to be taken away."""

    messages: frozenset[str] = frozenset()
    """Their ts."""
    stray_stream: bool = False
    """A stream may have been started of which nothing is known."""


class Form(IntEnum):
    """How a part is sent; each is plainer than the one before, for when Slack refuses that."""

    MARKDOWN = 0
    PLAIN = 1
    """Plain text in blocks."""
    BARE = 2
    """`text` alone."""


@dataclass(frozen=True, slots=True)
class Content:
    """What one message should show."""

    body: str
    status: str | None
    end: int
    """How many characters of the part's text `body` shows."""
    growing: bool = False
    """Half-written ends are held back."""
    final: bool = False
    """The last state of the reply's last message; it is sent even if it looks the same."""
    button: blocks.Button | None = None


@dataclass(slots=True)
class Stream:
    """The open stream that a part is shown by."""

    seat: StreamSeat
    opened_at: float
    text: str
    """What it shows, for good."""
    in_doubt: bool = False
    """An answer was lost, or Slack refused: nothing more is added."""


@dataclass(slots=True, eq=False)
class Part:
    """One message of the reply."""

    number: int
    prefix: str = ""
    """Goes on with the code fence or the table that was cut at the end of the part before."""
    text: str = ""
    """Claude's own."""
    kept: str = ""
    """What an earlier try has shown here, as a text of its own; stays in sight until the new text
    is longer."""
    ts: str | None = None
    rev: int = 0
    written: bool = False
    """Whether this run has sent it."""
    sent: Content | None = None
    """What the last call that Slack took shows."""
    had_button: bool = False
    """A call of this run may have put one under it."""
    shown: int = 0
    """How many characters of `text` a person has seen."""
    stream: Stream | None = None
    left_open: bool = False
    """Its message is a stream that another run, or another part, has left open."""
    mark_is_due: bool = False
    """Its message was a stream and carries no mark yet."""
    ends_at: int | None = None
    """Where its text ends whatever comes: the next part goes on."""
    form: Form = Form.MARKDOWN
    marked: bool = True
    """Sent with its metadata."""
    refusals: int = 0
    """How often Slack has refused to edit the part's message."""
    early_posts: int = 0
    left: list[str] = field(default_factory=list)
    """Messages that show the part until its new one is posted."""
    frozen: bool = False
    """Edits are refused again and again: nothing more until the last text, in a new message."""
    in_doubt: bool = False
    """A call's answer was lost: it may have taken effect."""
    late_call: bool = False
    """A call was given up while Slack may still be at it: it may take effect any time."""

    @property
    def is_stream(self) -> bool:
        """Whether its message is an open stream."""
        return self.stream is not None or self.left_open

    def render(self, end: int, *, growing: bool = False) -> str:
        """The first `end` characters as Slack gets them; with `growing`, healed where they are
        half-written."""
        return markdown.render(self.text[:end], prefix=self.prefix, growing=growing)
