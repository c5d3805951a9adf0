"""A stop sign under a question or a reply."""

from __future__ import annotations

from typing import Any, Final

from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.listeners.stops import stop_of
from bot.turns import Turns

STOP_SIGNS: Final = frozenset(
    {"octagonal_sign", "black_square_for_stop", "stop_sign", "stop_button"}
)
"""Slack's own names of 🛑 and ⏹ (github.com/iamcal/emoji-data), and those that people give them
elsewhere, which may be aliases in a workspace."""


def register(app: AsyncApp, turns: Turns) -> None:
    @app.event("reaction_added")
    async def on_reaction(
        event: dict[str, Any], body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        match event:
            case {
                "reaction": str(name),
                "item": {"type": "message", "channel": str(channel), "ts": str(ts)},
            } if name in STOP_SIGNS:
                if (stop := stop_of(event, body, context, channel, messages=(ts,))) is not None:
                    turns.stop(stop)
