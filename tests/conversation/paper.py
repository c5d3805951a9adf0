"""A thread on paper: what the reader asks of Slack, without a Slack."""

from __future__ import annotations

from typing import Any

from bot.conversation import Conversation, Conversations
from bot.errors import SlackError
from bot.files import Files
from bot.pacing import Pacer
from bot.slack import Identity, Mark, Person, Workspace
from bot.turn import Question
from tests.fake_clock import FakeClock

TEAM, CHANNEL, BOT = "T1", "C1", "UBOT"
START = 1_764_000_000
ROOT = f"{START}.000000"


def ts(seconds: float) -> str:
    whole = int(seconds)
    return f"{START + whole}.{round((seconds - whole) * 1e6):06d}"


def says(user: str, at: float, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "user": user, "ts": ts(at), "text": text, **more}


def replies(at: float, text: str, to: str, *, part: int = 0, final: bool = True) -> dict[str, Any]:
    """A message of the bot, which answers the question `to`."""
    mark = Mark(f"{TEAM}:{CHANNEL}:{to}:0", part, 1, final)
    return says(
        BOT,
        at,
        text,
        bot_id="BBOT",
        blocks=[
            {"type": "markdown", "text": text},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "Thinking…"}]},
        ],
        metadata=mark.metadata(),
    )


class PaperWorkspace(Workspace):
    """A thread (or a direct message) whose pages are counted."""

    def __init__(self, messages: list[dict[str, Any]], *, page: int = 1_000) -> None:
        self.identity = Identity(TEAM, "Paper", BOT, "BBOT")
        self.messages = sorted(messages, key=lambda message: str(message["ts"]))
        self.page = page
        self.calls = 0
        self.fails_after: int | None = None
        self.faults: list[SlackError] = []
        """What the next calls raise."""
        self.looked_up: list[str] = []
        self.names: dict[str, str] = {}
        self.shown: list[str] = []

    async def thread_page(
        self,
        channel: str,
        thread_ts: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = 1_000,
        cursor: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Oldest first, the root on every page, bounds included."""
        self._count()
        first, *rest = self.messages
        root = dict(first, reply_count=len(rest), latest_reply=rest[-1]["ts"] if rest else None)
        inside = [
            message
            for message in rest
            if (oldest is None or message["ts"] >= oldest)
            and (latest is None or message["ts"] <= latest)
        ]
        size = min(limit, self.page)
        return [root, *inside[:size]], "more" if len(inside) > size else None

    async def history_page(
        self, channel: str, *, latest: str | None, limit: int, cursor: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Newest first."""
        self._count()
        inside = [one for one in self.messages if latest is None or one["ts"] <= latest][::-1]
        start = int(cursor or 0)
        end = start + min(limit, self.page)
        return inside[start:end], str(end) if end < len(inside) else None

    async def person(self, user: str) -> Person:
        self.looked_up.append(user)
        return Person(self.names.get(user, user.lower()), 3_600)

    async def channel_name(self, channel: str, *, only_public: bool = False) -> str:
        return self.names.get(channel, "" if only_public else "plans")

    def _count(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
        if self.fails_after is not None and self.calls >= self.fails_after:
            raise SlackError("conversations.replies", "internal_error")
        self.calls += 1


def question(text: str = "what now?", *, at: float, **more: Any) -> Question:
    where = {"surface": "channel", "thread_ts": ROOT} | more
    return Question(team=TEAM, channel=CHANNEL, user="UADA", ts=ts(at), text=text, **where)


async def read(
    workspace: PaperWorkspace, asked: Question, *, context_tokens: int = 60_000
) -> Conversation:
    """What the bot would send; the question itself is in the thread already."""
    own = says(asked.user, 0, asked.text) | {"ts": asked.ts}
    if all(message["ts"] != asked.ts for message in workspace.messages):
        workspace.messages = sorted([*workspace.messages, own], key=lambda one: str(one["ts"]))
    pacer = Pacer(FakeClock(), 50)
    conversations = Conversations(
        pacer, Files(pacer), context_tokens=context_tokens, dm_gap_hours=4
    )
    try:
        return await conversations.read(workspace, asked, workspace.shown.append)
    finally:
        await conversations.close()


def told(conversation: Conversation) -> str:
    """All of it as one text, with the roles."""
    return "\n\n".join(f"{said.role}: {said.text}" for said in conversation.messages)
