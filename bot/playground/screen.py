"""What a person at the terminal sees: a message that grows, or plain lines into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Heading as MarkdownHeading
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.segment import Segment
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from bot.playground.exchange import Exchange

MOST_COLUMNS = 100
TABLE_COLUMNS = 90  # what the table of results needs
LEAST_LINES = 5
HEAD_LINES = 8
TAIL_LINES = 5
CHROME_LINES = 12  # what stands around the growing text: question, borders, status
WORDS_CHARACTERS = 56
WRITING = "is writing …"  # Slack shows it as a mark that moves, as long as a stream is open


class Screen(Protocol):
    """Shows exchanges, one at a time: begin, show as often as it changes, end."""

    @property
    def pause_s(self) -> float:
        """How long a reader wants to look at a reply before the next question."""

    def note(self, text: str) -> None:
        """A line of explanation."""

    def begin(self, exchange: Exchange) -> None:
        """A question was asked."""

    def show(self, exchange: Exchange, *, changed: bool) -> None:
        """The reply as it is now."""

    def end(self, exchange: Exchange, *, whole: bool) -> None:
        """The reply as it stays; with `whole` all of it, else long messages are shortened."""

    def results(self, exchanges: list[Exchange]) -> None:
        """A table of all exchanges, with the times."""


def screen_for(out: TextIO | None = None) -> Screen:
    """The live screen on a terminal, lines anywhere else."""
    out = sys.stdout if out is None else out
    console = Console(file=out, highlight=False)
    return Terminal(console) if console.is_terminal else Lines(out)


@dataclass
class Clipped:
    """Another renderable, with only so many of its lines: the last ones, or both ends."""

    inner: RenderableType
    head: int
    tail: int
    _rendered: tuple[int, list[list[Segment]]] | None = field(default=None, init=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Kept, because the clock below moves ten times a second, the text twice.
        if self._rendered is None or self._rendered[0] != options.max_width:
            lines = console.render_lines(self.inner, options, pad=False)
            self._rendered = options.max_width, lines
        lines = self._rendered[1]
        left_out = len(lines) - self.head - self.tail
        if left_out <= 1:
            yield from _joined(lines)
            return
        yield from _joined(lines[: self.head])
        if self.head:
            yield Text(f"… {left_out} more lines …", style="dim italic", justify="center")
        yield from _joined(lines[len(lines) - self.tail :])


def _joined(lines: Iterable[list[Segment]]) -> Iterable[Segment]:
    for line in lines:
        yield from line
        yield Segment.line()


@dataclass
class Terminal:
    """A message that grows in a panel, as it does in Slack."""

    console: Console
    pause_s: float = 1.2
    _live: Live | None = field(default=None, init=False)
    _newest: tuple[str, int, Clipped] | None = field(default=None, init=False)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"), init=False)

    def __post_init__(self) -> None:
        self.console.width = min(self.console.width, MOST_COLUMNS)

    def note(self, text: str) -> None:
        """A line of explanation."""
        self.console.print(Text(text, style="dim"))

    def begin(self, exchange: Exchange) -> None:
        """Print the question; below it the reply grows."""
        self.console.print()
        self.console.print(Rule(Text(exchange.title, style="bold"), align="left", style="dim"))
        mention = "" if exchange.is_dm else "[bold cyan]@Claude[/] "
        self.console.print(Padding(Text.from_markup("[bold]Ada Lovelace[/]"), (1, 0, 0, 1)))
        question = Text.from_markup(mention) + Text(exchange.question)
        self.console.print(Padding(question, (0, 0, 1, 1)))
        self._live = Live(
            self._growing(exchange),
            console=self.console,
            transient=True,
            auto_refresh=False,
            vertical_overflow="crop",
        )
        self._live.start()

    def show(self, exchange: Exchange, *, changed: bool) -> None:
        """The reply as it is now; called without a change too, for the clock."""
        if self._live is not None:
            self._live.update(self._growing(exchange), refresh=True)

    def end(self, exchange: Exchange, *, whole: bool) -> None:
        """Replace the growing panel by what stays in the scrollback."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        messages = exchange.messages
        for number, message in enumerate(messages, 1):
            body: RenderableType = _markdown(exchange.words(message))
            if not whole and len(messages) > 1:
                body = Clipped(body, HEAD_LINES, TAIL_LINES)
            status = exchange.status if number == len(messages) else ""
            counted = f"{number} of {len(messages)}" if len(messages) > 1 else ""
            self.console.print(_panel(body, status, counted))
        self.console.print(Text(f" {_summary(exchange)}", style="dim"))

    def _growing(self, exchange: Exchange) -> RenderableType:
        """The message that is being written, its newest lines, and a line with the clock."""
        messages = exchange.messages
        room = max(self.console.height - CHROME_LINES, LEAST_LINES)
        parts: list[RenderableType] = []
        for number, message in enumerate(messages[:-1], 1):
            size = f"{len(message.sent_markdown):,} characters"
            parts.append(Text(f" ✓ message {number} · {size}", style="dim"))
        if messages:
            text = exchange.words(messages[-1])
            body = self._tail(text, room - len(parts)) if text else None
            counted = f"message {len(messages)}" if len(messages) > 1 else ""
            status = exchange.status or (WRITING if exchange.is_streaming else "")
            parts.append(_panel(body, status, counted))
        elif exchange.status:
            parts.append(Text(f" Claude {exchange.status}", style="italic dim"))
        self._spinner.update(text=Text(_progress(exchange), style="dim"))
        return Group(*parts, self._spinner)

    def _tail(self, text: str, lines: int) -> Clipped:
        """The last lines of a text, the same object while nothing changes."""
        if self._newest is None or self._newest[:2] != (text, lines):
            self._newest = text, lines, Clipped(_markdown(text), 0, lines)
        return self._newest[2]

    def results(self, exchanges: list[Exchange]) -> None:
        """One row for each exchange."""
        self.console.print()
        self.console.print(Rule(Text("Result", style="bold"), align="left", style="dim"))
        self.console.print()
        if self.console.width < TABLE_COLUMNS:
            for exchange in exchanges:
                self.console.print(Text(exchange.title, style="bold"))
                self.console.print(Padding(Text(_summary(exchange)), (0, 0, 0, 2)))
            return
        table = Table(box=None, header_style="dim", padding=(0, 1), show_edge=False)
        table.add_column("", no_wrap=True)
        for name in COLUMNS:
            table.add_column(name.replace(" ", "\n"), justify="right", vertical="bottom")
        for exchange in exchanges:
            table.add_row(Text(exchange.title, style="bold"), *_row(exchange))
        self.console.print(table)


@dataclass
class Lines:
    """One line for each visible change, without control codes."""

    out: TextIO
    pause_s: float = 0.0
    _shown: str = field(default="", init=False)

    def note(self, text: str) -> None:
        """A line of explanation."""
        self._print(text)

    def begin(self, exchange: Exchange) -> None:
        """Print where the question was asked, and the question."""
        mention = "" if exchange.is_dm else "@Claude "
        self._print(f"\n{exchange.title}\n  Ada Lovelace: {mention}{exchange.question}")

    def show(self, exchange: Exchange, *, changed: bool) -> None:
        """Print the newest words or the status line, if they were not printed yet."""
        if not changed:
            return
        line, at_s = _newest(exchange)
        if line and line != self._shown:
            self._shown = line
            self._print(f"  {at_s:6.2f} s  {line}")

    def end(self, exchange: Exchange, *, whole: bool) -> None:
        """Print the reply if all of it is wanted, and what it took."""
        if whole:
            for message in exchange.messages:
                self._print(f"\n{exchange.words(message)}\n")
        status = f"  {exchange.status}\n" if exchange.status else ""
        self._print(f"{status}  {_summary(exchange)}")

    def results(self, exchanges: list[Exchange]) -> None:
        """One row for each exchange, in columns."""
        width = max(len(exchange.title) for exchange in exchanges)
        self._print(f"\n{'':{width}}  " + "  ".join(f"{name:>12}" for name in COLUMNS))
        for exchange in exchanges:
            cells = "  ".join(f"{cell:>12}" for cell in _row(exchange))
            self._print(f"{exchange.title:{width}}  {cells}")

    def _print(self, text: str) -> None:
        print(text, file=self.out, flush=True)


COLUMNS = ("first sign", "first words", "whole text", "changes", "messages", "characters")


def _newest(exchange: Exchange) -> tuple[str, float]:
    """What changed last, on one line, and when: a post, an edit, an append, or the status line."""
    messages = exchange.messages
    if not messages:
        status = exchange.status
        return (f"{'status':9}  {status}" if status else ""), exchange.clock_s
    message = messages[-1]
    if len(message.revisions) == 1:
        what = f"message {len(messages)}"
    elif message.revisions[-1].method == "chat.update":
        what = f"edit {exchange.edits}"
    else:
        what = f"append {exchange.appends}"
    words = _last_words(exchange.words(message)) or exchange.status
    return f"{what:9}  {words}", exchange.last_change_s


def _row(exchange: Exchange) -> list[str]:
    return [
        _seconds(exchange.sign_s),
        _seconds(exchange.words_s),
        _seconds(exchange.last_change_s),
        str(exchange.edits + exchange.appends),
        str(len(exchange.messages)),
        f"{sum(map(len, exchange.texts)):,}",
    ]


def _summary(exchange: Exchange) -> str:
    """What the reply took, in a sentence of parts."""
    count = len(exchange.messages)
    parts = [f"{count} messages"] if count > 1 else []
    parts += [_changes(exchange), f"first words {_seconds(exchange.words_s)}"]
    if not exchange.is_complete:
        return " · ".join([*parts, f"interrupted after {_seconds(exchange.last_change_s)}"])
    whole = f"whole text {_seconds(exchange.last_change_s)}"
    if exchange.behind_s is not None:
        whole += f", {max(exchange.behind_s, 0) * 1000:.0f} ms after Claude's last word"
    return " · ".join([*parts, whole])


def _progress(exchange: Exchange) -> str:
    characters = sum(map(len, exchange.texts))
    return f"{exchange.clock_s:.1f} s · {_changes(exchange)} · {characters:,} characters"


def _changes(exchange: Exchange) -> str:
    """How often what was posted was changed since."""
    counts = [(exchange.edits, "edit"), (exchange.appends, "append")]
    parts = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count]
    return ", ".join(parts) or "0 edits"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


class Heading(MarkdownHeading):
    """Slack shows headings of every level alike: bold, at the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        self.text.stylize("bold")
        yield self.text


class SlackMarkdown(Markdown):
    """Markdown roughly as Slack shows it."""

    elements: ClassVar = {**Markdown.elements, "heading_open": Heading}


def _markdown(text: str) -> Markdown:
    return SlackMarkdown(text, code_theme="ansi_dark", hyperlinks=False)


def _panel(body: RenderableType | None, status: str, counted: str) -> Panel:
    title = Text.assemble((" Claude ", "bold"), ("APP ", "dim reverse"), f" {counted}".rstrip())
    lines: list[RenderableType] = [] if body is None else [body]
    if status:
        lines.append(Text(status, style="dim italic"))
    return Panel(
        Group(*lines), title=title, title_align="left", border_style="cyan", padding=(0, 1)
    )


def _last_words(text: str) -> str:
    """The end of a text on one line."""
    words = " ".join(text.split())
    return words if len(words) <= WORDS_CHARACTERS else f"… {words[-WORDS_CHARACTERS:]}"
