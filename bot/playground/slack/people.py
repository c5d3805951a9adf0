"""What people do in the workspace: they write, edit, delete and press."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .delivery import Outbox
from .events import stopped_event
from .records import Channel, Ephemeral, File, Json, Message
from .wire import client_msg_id, message_json
from .workspace import Workspace, now


class People:
    """Acts as people, so that the app gets the events that their acts cause."""

    def __init__(self, workspace: Workspace, outbox: Outbox) -> None:
        self._workspace = workspace
        self._outbox = outbox

    def say(
        self,
        user: str,
        channel_id: str,
        text: str,
        *,
        thread_ts: str | None = None,
        files: Sequence[File | Json] | None = None,
        subtype: str | None = None,
        attachments: Sequence[Json] = (),
    ) -> str:
        """Write a message: its ts."""
        world = self._workspace.world
        channel = self._channel(channel_id, user)
        if thread_ts is not None:
            root = channel.messages.get(thread_ts)
            if root is None or root.thread_ts is not None:
                raise ValueError(f"{thread_ts} does not start a thread in {channel_id}")
        person = world.user(user)
        attached = [self._attached(file, channel) for file in files or ()]
        message = Message(
            world.next_ts(),
            channel.id,
            user,
            text,
            person.team,
            thread_ts,
            bot_id=person.bot_id,
            bot_name=person.real_name if person.is_bot else None,
            app_id="A0OTHERBOT" if person.is_bot else None,
            client_msg_id=None if person.is_bot or attached else client_msg_id(),
            subtype=subtype or ("file_share" if attached else None),
            files=attached,
            attachments=list(attachments),
        )
        self._workspace.post(message)
        return message.ts

    def backfill(
        self,
        channel_id: str,
        said: Sequence[tuple[str, str]],
        thread_ts: str | None,
        step_s: float,
    ) -> list[str]:
        """Put messages into the past: their ts."""
        world = self._workspace.world
        found: list[str] = []
        for left, (user, text) in zip(range(len(said), 0, -1), said, strict=True):
            person = world.user(user)
            message = Message(
                world.past_ts(left * step_s),
                channel_id,
                user,
                text,
                person.team,
                thread_ts,
                bot_id=person.bot_id,
                bot_name=person.real_name if person.is_bot else None,
                app_id="A0OTHERBOT" if person.is_bot else None,
            )
            world.place(message)
            found.append(message.ts)
        return found

    def edit(self, user: str, channel_id: str, ts: str, text: str) -> None:
        """Change one's own message."""
        message = self._own(user, channel_id, ts)
        previous = self._workspace.snapshot(message)
        message.text = text
        message.edited = {"user": user, "ts": self._workspace.world.next_ts()}
        self._workspace.change(message, previous)

    def delete(self, user: str, channel_id: str, ts: str) -> None:
        """Delete a message; administrators may delete everybody's."""
        self._channel(channel_id, user)
        message = self._workspace.world.message(channel_id, ts)
        if message is None or message.deleted:
            raise ValueError(f"no message {ts} in {channel_id}")
        self._workspace.remove(message)

    async def press(
        self, user: str, channel_id: str, ts: str, action_id: str, *, value: str | None = None
    ) -> int:
        """Press a button of a message: the status that the app answered, 0 for none in time. A
        client may still show the blocks of before the last edits."""
        shown: Message | Ephemeral | None = self._workspace.world.message(channel_id, ts)
        if shown is None:
            private = [note for note in self._workspace.ephemerals if note.ts == ts]
            shown = private[0] if private else None
        if shown is None:
            raise LookupError(f"no message {ts} in {channel_id}")
        seen = list(shown.blocks)
        for revision in reversed(shown.revisions) if isinstance(shown, Message) else ():
            seen += revision.blocks or []
        block_id, element = _pressable(seen, action_id)
        payload = self._interaction(user, channel_id, shown)
        action = {
            "action_id": action_id,
            "block_id": block_id,
            "type": element["type"],
            "text": element.get("text"),
            "value": element.get("value") if value is None else value,
            "action_ts": self._workspace.world.next_ts(),
        }
        payload["actions"] = [{key: each for key, each in action.items() if each is not None}]
        return (await self._outbox.interact(payload)).status

    async def command(self, user: str, channel_id: str, command: str, text: str) -> int:
        """Use a slash command: the status that the app answered."""
        channel = self._channel(channel_id, user)
        person = self._workspace.world.user(user)
        payload = {
            "token": "emulator-verification-token",
            "team_id": self._workspace.settings.team_id,
            "team_domain": "emulator",
            "channel_id": channel.id,
            "channel_name": channel.name or "directmessage",
            "user_id": user,
            "user_name": person.display_name,
            "command": command,
            "text": text,
            "api_app_id": self._workspace.settings.app_id,
            "is_enterprise_install": "false",
            "response_url": self._response_url(channel.id, user, None),
            "trigger_id": self._trigger(),
        }
        return (await self._outbox.interact(payload, "slash_commands")).status

    def open_home(self, user: str, tab: str) -> None:
        """Open the app's Home or Messages tab."""
        if "app_home_opened" not in self._workspace.settings.subscriptions:
            return
        channel = self._workspace.world.dm(user)
        event: Json = {
            "type": "app_home_opened",
            "user": user,
            "channel": channel.id,
            "tab": tab,
            "event_ts": self._workspace.world.next_ts(),
        }
        if tab == "home" and user in self._workspace.views:
            event["view"] = self._workspace.views[user]
        self._workspace.publish("app_home_opened", event, channel)

    def react(self, user: str, channel_id: str, ts: str, name: str) -> None:
        """Add a reaction to a message."""
        message = self._workspace.world.message(channel_id, ts)
        if message is None or message.deleted:
            raise ValueError(f"no message {ts} in {channel_id}")
        if user in message.reactions.get(name, ()):
            raise ValueError(f"{user} has added {name} to {ts} before")
        self._workspace.react(user, message, name, added=True)

    def unreact(self, user: str, channel_id: str, ts: str, name: str) -> None:
        """Take a reaction back."""
        message = self._workspace.world.message(channel_id, ts)
        if message is None or user not in message.reactions.get(name, ()):
            raise ValueError(f"{user} has not added {name} to {ts}")
        self._workspace.react(user, message, name, added=False)

    def stop_stream(self, user: str, channel_id: str, ts: str, *, stays_open: bool = False) -> None:
        """Stop a native stream from the client; what is appended later is refused.

        Slack stops the stream itself (docs.slack.dev/ai/agent-sessions). Whether chat.stopStream
        is still taken then is not documented: with `stays_open` it is, and must be called.
        """
        message = self._workspace.world.message(channel_id, ts)
        stream = None if message is None else self._workspace.open_stream(message)
        if message is None or stream is None:
            raise ValueError(f"no open stream {ts} in {channel_id}")
        stream.stopped_by_user = True
        if not stays_open:
            self._workspace.end_stream(message, "stopped_by_user")
        self._workspace.watch.bump()
        kind = "agent_session_stopped"
        if kind in self._workspace.settings.subscriptions:
            event = stopped_event(self._workspace, user, message)
            self._workspace.publish(kind, event, self._workspace.world.channels[channel_id])

    def _interaction(self, user: str, channel_id: str, shown: Message | Ephemeral) -> Json:
        person = self._workspace.world.user(user)
        settings = self._workspace.settings
        team = {"id": settings.team_id, "domain": "emulator"}
        container: Json = {"type": "message", "message_ts": shown.ts, "channel_id": channel_id}
        container["is_ephemeral"] = isinstance(shown, Ephemeral)
        if shown.thread_ts is not None:
            container["thread_ts"] = shown.thread_ts
        channel = self._workspace.world.channels[channel_id]
        name = person.display_name
        body: Json = {
            "type": "block_actions",
            "user": {"id": user, "username": name, "name": name, "team_id": person.team},
            "api_app_id": settings.app_id,
            "token": "emulator-verification-token",
            "container": container,
            "trigger_id": self._trigger(),
            "team": team,
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": channel_id, "name": channel.name or "directmessage"},
            "state": {"values": {}},
            "response_url": self._response_url(channel_id, user, shown.ts),
        }
        if isinstance(shown, Message):
            body["message"] = json.loads(json.dumps(message_json(shown, settings, metadata=True)))
        return body

    def _trigger(self) -> str:
        """A trigger id, good for one view within three seconds."""
        trigger = self._workspace.world.next_id("trigger.")
        self._workspace.triggers[trigger] = now()
        return trigger

    def _response_url(self, channel_id: str, user: str, ts: str | None) -> str:
        key = self._workspace.world.next_id("R")
        self._workspace.response_urls[key] = {
            "channel": channel_id,
            "user": user,
            "ts": ts,
            "uses": 0,
        }
        return f"{self._workspace.base_url}actions/{key}"

    def _attached(self, file: File | Json, channel: Channel) -> Json:
        if not isinstance(file, File):
            return dict(file)
        file.channels.append(channel.id)
        return self._workspace.file_json(file)

    def _channel(self, channel_id: str, user: str) -> Channel:
        channel = self._workspace.world.channels[channel_id]
        if channel.is_archived:
            raise ValueError(f"{channel_id} is archived")
        self._workspace.world.user(user)
        if user not in channel.members:
            if channel.kind == "im":
                raise ValueError(f"{channel_id} is a direct message of somebody else")
            channel.members.append(user)
        return channel

    def _own(self, user: str, channel_id: str, ts: str) -> Message:
        message = self._workspace.world.message(channel_id, ts)
        if message is None or message.deleted or message.user != user:
            raise ValueError(f"{user} has no message {ts} in {channel_id}")
        return message


def _pressable(blocks: Sequence[Json], action_id: str) -> tuple[str, Json]:
    """The element with that action id, and the id of its block."""
    for block in blocks:
        for element in _elements(block):
            if element.get("action_id") == action_id:
                return str(block.get("block_id", "")), element
    known = [str(e["action_id"]) for b in blocks for e in _elements(b) if "action_id" in e]
    raise LookupError(f"nothing to press is called {action_id!r}; there is {known}")


def _elements(block: Json) -> Iterator[Json]:
    candidates: list[Any] = [*(block.get("elements") or ()), block.get("accessory")]
    return (each for each in candidates if isinstance(each, dict))
