"""Slack's own Stop button, beside a native stream and a working agent."""

from __future__ import annotations

from typing import Any

from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.listeners.stops import stop_of
from bot.turns import Turns


def register(app: AsyncApp, turns: Turns) -> None:
    @app.event("agent_session_stopped")
    async def on_stopped(
        event: dict[str, Any], body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        """The streams that it names are those that Slack has stopped; without any, all work in the
        thread is meant (docs.slack.dev/reference/events/agent_session_stopped)."""
        streams = event.get("streaming_message_ts")
        messages = tuple(map(str, streams)) if isinstance(streams, list) else ()
        stop = stop_of(event, body, context, event.get("channel"), messages=messages)
        if stop is not None:
            turns.stop(stop)
