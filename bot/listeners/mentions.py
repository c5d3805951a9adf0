"""`@mention` in channels, private channels and group direct messages."""

from __future__ import annotations

from typing import Any

from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.listeners.question import from_event
from bot.listeners.stop_word import says_stop
from bot.turns import Turns


def register(app: AsyncApp, turns: Turns) -> None:
    @app.event("app_mention")
    async def on_mention(
        event: dict[str, Any], body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        if (question := from_event(event, body, context, "channel")) is not None:
            if says_stop(question, str(context.bot_user_id)):
                await turns.stop_or_ask(question)
            else:
                await turns.accept(question)
