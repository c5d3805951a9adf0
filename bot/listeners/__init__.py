"""Slack's events → turns. One file per surface; `register` binds them all."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from slack_bolt.async_app import AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot import logs
from bot.errors import BotError, Draining, StoreUnavailable
from bot.listeners import buttons, mentions, messages, reactions, sessions
from bot.turns import Turns

log = logging.getLogger(__name__)


def register(app: AsyncApp, turns: Turns) -> None:
    """Bind every listener. The first that matches runs, so the catch-all comes last."""
    app.middleware(_drop_echoes)
    app.error(_on_error)
    mentions.register(app, turns)
    messages.register(app, turns)
    buttons.register(app, turns)
    reactions.register(app, turns)
    sessions.register(app, turns)
    app.event(re.compile(".*"))(_nothing_to_do)


def is_echo(body: Mapping[str, Any], bot_user_id: str) -> bool:
    """Our own posts and edits come back as events, and so do other bots' messages: none of them
    asks anything, and an answer could start a loop. Deletions are none: a reply may be among them;
    nor are the edits of others: of a question, perhaps, and of what is remembered.
    """
    event = body.get("event")
    if not isinstance(event, dict) or messages.deleted_ts(event) is not None:
        return False
    if messages.changed_ts(event) is not None:
        return bool(event["message"].get("user") == bot_user_id)
    own = event.get("user") == bot_user_id or event.get("bot_id") is not None
    return own or event.get("subtype") in ("message_changed", "bot_message")


async def _drop_echoes(
    body: dict[str, Any], context: AsyncBoltContext, next: Callable[[], Awaitable[None]]
) -> BoltResponse | None:
    if body.get("type") == "app_rate_limited":
        logs.warning(log, "events_rate_limited", minute=body.get("minute_rate_limited"))
        return BoltResponse(status=200)
    if is_echo(body, str(context.bot_user_id)):
        return BoltResponse(status=200)
    await next()
    return None


async def _on_error(error: Exception) -> BoltResponse:
    """Anything but 200 makes Slack deliver again (in Socket Mode: nothing is acknowledged)."""
    if isinstance(error, StoreUnavailable | Draining):
        logs.warning(log, "not_accepted", kind=type(error).__name__, detail=str(error))
        return BoltResponse(status=503)
    kind = "listener_failed" if isinstance(error, BotError) else "listener_crashed"
    log.error(kind, exc_info=error)
    return BoltResponse(status=500)


async def _nothing_to_do() -> None:
    """Bolt answers an event without a listener with 404, and Slack would deliver it again."""
