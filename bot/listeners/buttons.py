"""The buttons under a reply: Stop, Retry, Continue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from bot.listeners.question import foreign_team
from bot.turn import Question, Stop
from bot.turns import Turns, again, sentences
from bot.turns.buttons import STOP, question_of


def register(app: AsyncApp, turns: Turns) -> None:
    @app.action(re.compile(".*"))
    async def on_press(
        ack: AsyncAck, action: dict[str, Any], body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        """Slack wants its answer within 3 s and sends a press only once."""
        authorized = context.authorize_result
        team = str(authorized.team_id if authorized else context.team_id)
        if action.get("type") == "button" and "value" in action:
            await _answer(turns, action, body, team)
        await ack()


async def _answer(
    turns: Turns, action: Mapping[str, Any], body: Mapping[str, Any], team: str
) -> None:
    channel, message_ts, thread_ts = _place(body)
    user = body.get("user")
    if channel is None or not isinstance(user, Mapping) or not isinstance(user.get("id"), str):
        return
    name, value = str(action.get("action_id")), str(action["value"])
    if name == STOP:
        question = question_of(value, channel, thread_ts)
    else:
        question = again.pressed(name, value, channel, thread_ts)
    if question is None or question.team != team:
        asks = Question(
            team=team,
            channel=channel,
            user=user["id"],
            ts="",
            surface="direct",
            thread_ts=thread_ts,
        )
        turns.tell(asks, sentences.OUTDATED)
        return
    foreign, at = foreign_team(user.get("team_id"), body), str(action.get("action_ts") or "")
    if name != STOP:
        await turns.again(again.Press(question, message_ts, user["id"], foreign, at))
        return
    stop = Stop(
        team=team,
        channel=channel,
        user=user["id"],
        at=at,
        messages=(question.ts,),
        run=question.run,
        user_team=foreign,
        is_shared=question.is_shared,
    )
    turns.stop_pressed(stop, question)


def _place(body: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Where the button stands: the channel, the message and, in a thread, its root
    (docs.slack.dev/reference/interaction-payloads/block_actions-payload)."""
    container, message = _mapping(body, "container"), _mapping(body, "message")
    channel = container.get("channel_id") or _mapping(body, "channel").get("id")
    message_ts = container.get("message_ts") or message.get("ts")
    thread_ts = message.get("thread_ts") or container.get("thread_ts")
    if thread_ts == message_ts:  # a thread under a flat reply is none that it belongs to
        thread_ts = None
    return _text(channel), _text(message_ts), _text(thread_ts)


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
