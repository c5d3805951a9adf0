"""What can be seen of an emulated workspace: its messages, and what the app did."""

from __future__ import annotations

from collections.abc import Callable

from .records import (
    Call,
    Channel,
    Delivery,
    Ephemeral,
    File,
    Glimpse,
    Json,
    Message,
    Notified,
    Status,
    StatusLine,
    Stream,
    Unfurled,
)
from .watch import Changes
from .workspace import Workspace, now


class Seen:
    """Everything that a test or a screen may look at."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def messages(self, channel: str, thread_ts: str | None = None) -> list[Message]:
        """The messages of a channel, or of a thread with its root, oldest first."""
        found = self._workspace.world.channels[channel]
        if thread_ts is not None:
            return self._workspace.world.thread(found, thread_ts)
        return [message for message in found.messages.values() if not message.deleted]

    def message(self, channel: str, ts: str) -> Message | None:
        """One message; a deleted one has `deleted` set."""
        return self._workspace.world.message(channel, ts)

    def channel(self, channel: str) -> Channel:
        """A channel's own record."""
        return self._workspace.world.channels[channel]

    def file(self, file_id: str) -> File:
        """An uploaded file, with its content."""
        return self._workspace.world.files[file_id]

    def status(self, channel: str, thread_ts: str) -> str:
        """The status line that a thread shows now, or ""."""
        return self._workspace.status(channel, thread_ts)

    # What a person saw of a thread over time, whatever the app did it with

    def said(self, channel: str, thread_ts: str) -> list[Message]:
        """The app's messages in a thread, oldest first, deleted ones too."""
        root = self._workspace.world.channels[channel].messages[thread_ts]
        own = self._workspace.settings.bot_id
        return [message for message in root.replies if message.bot_id == own]

    def reading(self, channel: str, thread_ts: str) -> list[Glimpse]:
        """What could be read of the app in a thread: a glimpse for each post, edit, append and
        deletion, oldest first."""
        changes: list[tuple[float, int, str]] = []
        messages = self.said(channel, thread_ts)
        for index, message in enumerate(messages):
            changes += [(each.at, index, each.markdown) for each in message.revisions]
            if message.deleted_at is not None:
                changes.append((message.deleted_at, index, ""))
        parts = [""] * len(messages)
        glimpses: list[Glimpse] = []
        for at, index, markdown in sorted(changes, key=lambda change: change[0]):
            parts[index] = markdown
            glimpses.append(Glimpse(at, tuple(part for part in parts if part)))
        return glimpses

    def signs(self, channel: str, thread_ts: str) -> list[tuple[float, float]]:
        """When a thread showed that the app is at work or has answered: from the first sight of
        each status line and message of the app until it was gone, as far as now."""
        until = now()
        found = [
            (line.since, until if line.until is None else line.until)
            for line in self.status_lines
            if (line.channel, line.thread_ts) == (channel, thread_ts)
        ]
        found += [
            (message.revisions[0].at, until if message.deleted_at is None else message.deleted_at)
            for message in self.said(channel, thread_ts)
            if message.revisions
        ]
        return sorted(found)

    def silences(
        self, channel: str, thread_ts: str, since: float, until: float
    ) -> list[tuple[float, float]]:
        """The times between `since` and `until` without any sign of the app in the thread."""
        found: list[tuple[float, float]] = []
        for begin, end in [*self.signs(channel, thread_ts), (until, until)]:
            if min(begin, until) > since:
                found.append((since, min(begin, until)))
            since = max(since, end)
        return found

    def view(self, user: str) -> Json | None:
        """The Home view that the app published for a person."""
        return self._workspace.views.get(user)

    @property
    def modals(self) -> list[Json]:
        """Modals that the app opened."""
        return self._workspace.modals

    @property
    def statuses(self) -> list[Status]:
        """Every status line that the app set, "" for those that it cleared itself."""
        return self._workspace.statuses

    @property
    def status_lines(self) -> list[StatusLine]:
        """Every status line that people saw, with its end: replaced, cleared, posted, lapsed."""
        for line in self._workspace.status_lines:
            self._workspace.status(line.channel, line.thread_ts)  # a lapse may be due only now
        return self._workspace.status_lines

    @property
    def streams(self) -> list[Stream]:
        """Every native stream, in the order of their starts; `end` says how it ended."""
        return self._workspace.streams

    @property
    def ephemerals(self) -> list[Ephemeral]:
        """Every message that only one person saw."""
        return self._workspace.ephemerals

    @property
    def calls(self) -> list[Call]:
        """Every Web API call, in order of arrival, refused ones too."""
        return self._workspace.calls

    @property
    def impatient(self) -> list[Call]:
        """Calls that came before the Retry-After of an earlier 429 of their method was over."""
        return self._workspace.impatient

    @property
    def overlapping(self) -> list[Call]:
        """Calls about a message that came while another one about it was unanswered."""
        return self._workspace.overlapping

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt to deliver an event that has ended."""
        return self._workspace.deliveries

    @property
    def notified(self) -> list[Notified]:
        """Mentions in the app's words that reached somebody."""
        return self._workspace.notified

    @property
    def unfurled(self) -> list[Unfurled]:
        """Links in the app's posts that Slack unfurled."""
        return self._workspace.unfurled

    @property
    def prompts(self) -> list[Json]:
        """Suggested prompts that the app set."""
        return self._workspace.prompts

    @property
    def over_one_per_second(self) -> int:
        """Posts that came less than a second after the one before in their channel."""
        return self._workspace.limiter.over_one_per_second

    def count(self, method: str, error: str | None = None) -> int:
        """How many calls of a method came, or how many got that error."""
        return self._workspace.counts[method, error]

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float = 5.0) -> None:
        """Return once it is true; looked at again on every change of state."""
        await self._workspace.watch.wait_for(predicate, timeout_s, self._describe)

    def changes(self, channel: str | None = None) -> Changes:
        """What people see change from now on: `async for change in emulator.changes(): …`."""
        return Changes(self._workspace.watch, channel)

    def _describe(self) -> str:
        calls = [f"{call.method}:{call.error or call.status}" for call in self.calls[-8:]]
        failed = [f"{each.type}:{each.reason or each.status}" for each in self.deliveries[-8:]]
        return f"last calls: {calls}; last deliveries: {failed}"
