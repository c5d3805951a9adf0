"""chat.*: messages of the app."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .. import limits, mrkdwn
from ..args import Args
from ..errors import SlackFailure
from ..limits import Tier
from ..records import Channel, Ephemeral, Json, Message
from ..validate import checked_attachments, checked_blocks, checked_metadata
from ..wire import message_json
from ..workspace import Workspace, now
from .access import require_scope
from .registry import method

TS = re.compile(r"\d{10}\.\d{6}")


@dataclass
class Content:
    """What a call wants a message to be. None: not said."""

    text: str | None
    blocks: list[Json] | None
    markdown_text: str | None
    attachments: list[Json] | None
    has_metadata: bool
    metadata: Json | None

    @property
    def is_empty(self) -> bool:
        """Whether a message with nothing but this would show nothing."""
        has_words = any(part and part.strip() for part in (self.text, self.markdown_text))
        return not has_words and not self.blocks and not self.attachments

    @property
    def shown_blocks(self) -> list[Json]:
        """The blocks to store; markdown_text counts as a markdown block."""
        if self.markdown_text is not None:
            return [{"type": "markdown", "text": self.markdown_text}]
        return self.blocks or []


def read_content(args: Args) -> Content:
    """The checked content of a posting or updating call."""
    markdown_text = args.text("markdown_text")
    blocks: Any = args.structure("blocks", "invalid_blocks_format")
    if markdown_text is not None:
        if "text" in args or "blocks" in args:
            raise SlackFailure("markdown_text_conflict")
        if not markdown_text.strip():
            raise SlackFailure("no_text")
        if len(markdown_text) > limits.MARKDOWN_TEXT:
            raise SlackFailure("msg_too_long")
        checked_blocks([{"type": "markdown", "text": markdown_text}])
    attachments: Any = args.structure("attachments", "invalid_attachments")
    metadata: Any = args.structure("metadata", "invalid_metadata_format")
    return Content(
        args.text("text"),
        None if blocks is None else checked_blocks(blocks),
        markdown_text,
        None if attachments is None else checked_attachments(attachments),
        metadata is not None,
        None if metadata is None else checked_metadata(metadata),
    )


@method("chat.postMessage", Tier.POST, "chat:write")
def post_message(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.postMessage"""
    channel = postable(workspace, args.required("channel"))
    thread_ts = thread_of(workspace, channel, args.text("thread_ts"))
    content = read_content(args)
    if content.is_empty:
        raise SlackFailure("no_text")
    answer: Json = {"ok": True, "channel": channel.id}
    text = content.text or ""
    if len(text) > limits.POST_TEXT:
        text = text[: limits.POST_TEXT]
        answer |= _warning("message_truncated")
    parts = [text]
    if len(text) > limits.POST_SPLIT and not content.shown_blocks:
        parts = mrkdwn.split(text)
    messages = [_new(workspace, channel, thread_ts, part) for part in parts]
    first = messages[0]
    first.metadata = content.metadata
    first.attachments = content.attachments or []
    first.set_blocks(content.shown_blocks)
    first.sent_blocks = content.blocks
    first.sent_markdown = content.markdown_text or ""
    if thread_ts is not None and args.flag("reply_broadcast"):
        first.subtype = "thread_broadcast"
    first.sent_text = content.text or ""
    quiet = not args.flag("unfurl_links", True) and not args.flag("unfurl_media", True)
    for message in messages:
        workspace.note_revision(message, "chat.postMessage")
        workspace.note_unfurl(message, allowed=not quiet)
        workspace.post(message)
    body = message_json(first, workspace.settings, metadata=True)
    return answer | {"ts": first.ts, "message": body}


@method("chat.update", Tier.THREE, "chat:write")
def update(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.update"""
    channel_id, ts = args.required("channel"), args.required("ts")
    channel = workspace.world.visible(channel_id)
    if channel.is_archived:
        raise SlackFailure("is_inactive")
    message = own_message(workspace, channel, ts, "cant_update_message")
    if workspace.open_stream(message) is not None:
        raise SlackFailure("streaming_state_conflict")
    content = read_content(args)
    if content.text and len(mrkdwn.escaped(content.text).encode()) > limits.UPDATE_TEXT_BYTES:
        raise SlackFailure("msg_too_long")
    previous = workspace.snapshot(message)
    _apply(message, content)
    message.edited = {"user": workspace.settings.bot_id, "ts": workspace.world.next_ts()}
    workspace.note_revision(message, "chat.update")
    workspace.change(message, previous)
    body = message_json(message, workspace.settings, metadata=True)
    return {"ok": True, "channel": channel.id, "ts": ts, "text": message.text, "message": body}


def _apply(message: Message, content: Content) -> None:
    """What an update says replaces, what it leaves out stays; text without blocks drops blocks."""
    says_words = content.text is not None or content.markdown_text is not None
    says_blocks = content.blocks is not None or says_words
    blocks = content.shown_blocks if says_blocks else message.source_blocks
    text = content.text if content.text is not None else message.text
    if content.markdown_text is not None:
        text = ""
    attachments = message.attachments if content.attachments is None else content.attachments
    if not text.strip() and not blocks and not attachments:
        raise SlackFailure("no_text")
    if content.is_empty and not content.has_metadata and not says_blocks:
        raise SlackFailure("no_text")
    if says_blocks:
        message.set_blocks(blocks)
        message.sent_blocks = content.blocks
        message.sent_markdown = content.markdown_text or ""
    if content.text is not None or content.markdown_text is not None:
        message.text = mrkdwn.stored_text(text)
        message.sent_text = text
    message.attachments = attachments
    if content.has_metadata:
        message.metadata = content.metadata


@method("chat.delete", Tier.THREE, "chat:write")
def delete(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.delete"""
    channel_id, ts = args.required("channel"), args.required("ts")
    channel = workspace.world.visible(channel_id)
    message = own_message(workspace, channel, ts, "cant_delete_message")
    if workspace.open_stream(message) is not None:
        raise SlackFailure("cant_delete_message")
    workspace.remove(message)
    return {"ok": True, "channel": channel.id, "ts": ts}


@method("chat.postEphemeral", Tier.FOUR, "chat:write")
def post_ephemeral(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.postEphemeral"""
    channel_id, user = args.required("channel"), args.required("user")
    channel = postable(workspace, channel_id, by_user=False)
    if user not in channel.members:
        raise SlackFailure("user_not_in_channel")
    thread_ts = thread_of(workspace, channel, args.text("thread_ts"))
    content = read_content(args)
    if content.is_empty:
        raise SlackFailure("no_text")
    text = content.text or content.markdown_text or ""
    note = Ephemeral(
        workspace.world.next_ts(), channel.id, user, text, content.shown_blocks, thread_ts, now()
    )
    workspace.note_mentions(channel.id, note.ts, [text], content.blocks)
    workspace.show_privately(note)
    return {"ok": True, "message_ts": note.ts}


@method("chat.getPermalink", Tier.SPECIAL)
def get_permalink(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.getPermalink"""
    channel = workspace.world.visible(args.required("channel"))
    ts = args.required("message_ts")
    if workspace.world.living(channel, ts) is None:
        raise SlackFailure("message_not_found")
    link = f"https://emulator.slack.com/archives/{channel.id}/p{ts.replace('.', '')}"
    return {"ok": True, "channel": channel.id, "permalink": link}


def postable(workspace: Workspace, channel_id: str, *, by_user: bool = True) -> Channel:
    """Where the app may post; a user's id stands for the direct messages with that person."""
    if by_user and channel_id in workspace.world.users:
        if channel_id == workspace.settings.bot_user_id:
            raise SlackFailure("channel_not_found")
        return workspace.world.dm(channel_id)
    channel = workspace.world.visible(channel_id)
    if channel.is_archived:
        raise SlackFailure("is_archived")
    if not channel.bot_is_member:
        try:
            require_scope(workspace, "chat:write.public")
        except SlackFailure:
            raise SlackFailure("not_in_channel") from None
    return channel


def thread_of(workspace: Workspace, channel: Channel, thread_ts: str | None) -> str | None:
    """The root to reply to.

    A reply's ts is refused. Where the root was deleted and left no tombstone, Slack posts into
    the channel instead: github.com/slackapi/python-slack-events-api/issues/87.
    """
    if not thread_ts:
        return None
    if not TS.fullmatch(thread_ts):
        raise SlackFailure("invalid_thread_ts")
    root = channel.messages.get(thread_ts)
    if root is None:
        return None
    if root.thread_ts is not None:
        raise SlackFailure("cannot_reply_to_message")
    has_replies = any(not reply.deleted for reply in root.replies)
    return thread_ts if has_replies or not root.deleted else None


def own_message(workspace: Workspace, channel: Channel, ts: str, not_ours: str) -> Message:
    """A message that the app itself posted."""
    message = workspace.world.living(channel, ts)
    if message is None:
        raise SlackFailure("message_not_found")
    if message.bot_id != workspace.settings.bot_id:
        raise SlackFailure(not_ours)
    return message


def _new(workspace: Workspace, channel: Channel, thread_ts: str | None, text: str) -> Message:
    settings = workspace.settings
    return Message(
        workspace.world.next_ts(),
        channel.id,
        settings.bot_user_id,
        mrkdwn.stored_text(text),
        settings.team_id,
        thread_ts,
        bot_id=settings.bot_id,
        app_id=settings.app_id,
        sent_text=text,
    )


def _warning(code: str) -> Json:
    return {"warning": code, "response_metadata": {"warnings": [code]}}
