"""Direct messages, follow-ups without a mention, edits, deletions, and the twin that a mention has
among the message events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.conversation import words_of
from bot.listeners.follow_ups import may_follow_up, mentions_others
from bot.listeners.question import from_event
from bot.listeners.stop_word import says_stop
from bot.turn import Surface, mentions
from bot.turns import Turns

ASKING: Final = (None, "file_share", "thread_broadcast", "me_message")
"""Subtypes with which a person says something; a message with files has one of its own."""


def register(app: AsyncApp, turns: Turns) -> None:
    @app.event("message")
    async def on_message(
        event: dict[str, Any], body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        team = str(context.authorize_result.team_id if context.authorize_result else None)
        if (ts := deleted_ts(event)) is not None:
            turns.message_deleted(team, str(event.get("channel")), ts)
            return
        if (edit := edited(event)) is not None:
            is_direct = _surface(event, str(context.bot_user_id)) == "direct"
            if not is_direct and edit.is_to_others(str(context.bot_user_id)):
                turns.message_deleted(team, str(event.get("channel")), edit.ts)
                return
            await turns.question_edited(
                team, str(event.get("channel")), edit.ts, edit.text, edit.edited_ts
            )
            return
        if (ts := changed_ts(event)) is not None:
            turns.message_changed(team, str(event.get("channel")), ts)
            return
        surface = _surface(event, str(context.bot_user_id))
        if event.get("subtype") not in ASKING or (surface is None and not may_follow_up(event)):
            return
        question = from_event(event, body, context, surface or "channel")
        if question is None:
            return
        if says_stop(question, str(context.bot_user_id)):
            await turns.stop_or_ask(question if surface else replace(question, in_doubt=True))
        else:
            await (turns.accept(question) if surface else turns.follow_up(question))


@dataclass(frozen=True, slots=True)
class Edit:
    """A person has given a message another text."""

    ts: str
    text: str
    edited_ts: str
    """When; events may come out of order."""
    before: str | None = None
    """What it said before, if Slack tells."""

    def is_to_others(self, bot_user_id: str) -> bool:
        """Whether it never mentioned the bot and now begins with a mention of somebody else: if it
        was a follow-up, it is none any more."""
        if self.before is None or not mentions_others(self.text):
            return False
        return not any(mentions(text, bot_user_id) for text in (self.before, self.text))


def edited(event: Mapping[str, Any]) -> Edit | None:
    """What somebody has edited, if `event` tells that.

    `message_changed` also comes for unfurls and the like, with the same text; and for the edits of
    bots (docs.slack.dev/reference/events/message/message_changed).
    """
    match event:
        case {
            "subtype": "message_changed",
            "message": {"ts": str(ts), "text": str(text), "edited": {"ts": str(edited_ts)}} as now,
        } if "bot_id" not in now and now.get("subtype") in ASKING:
            previous = event.get("previous_message")
            before = previous.get("text") if isinstance(previous, Mapping) else None
            if before == text:
                return None
            return Edit(ts, words_of(now), edited_ts, before if isinstance(before, str) else None)
    return None


def changed_ts(event: Mapping[str, Any]) -> str | None:
    """The ts of a message that somebody has changed in whatever way (an app its own, a person what
    was shared), if `event` tells that."""
    match event:
        case {"subtype": "message_changed", "message": {"ts": str(ts)}}:
            return ts
    return None


def deleted_ts(event: Mapping[str, Any]) -> str | None:
    """The ts of the message whose deletion `event` tells, if it does.

    A message with replies is not deleted but becomes a "tombstone", told as a change.
    """
    match event:
        case {"subtype": "message_deleted", "deleted_ts": ts}:
            return str(ts)
        case {"subtype": "message_changed", "message": {"subtype": "tombstone", "ts": ts}}:
            return str(ts)
    return None


def _surface(event: dict[str, Any], bot_user_id: str) -> Surface | None:
    """Where the bot is addressed; None if it is not.

    A mention comes as `app_mention` too; whichever is first is answered, the other is dropped.
    """
    if event.get("channel_type") == "im" or str(event.get("channel")).startswith("D"):
        return "direct"
    return "channel" if mentions(str(event.get("text") or ""), bot_user_id) else None
