"""chat.startStream, appendStream, stopStream: native streams of the app."""

from __future__ import annotations

from typing import Any

from .. import limits, mrkdwn
from ..args import Args
from ..errors import SlackFailure, invalid_arguments
from ..limits import Tier
from ..records import Channel, Json, Message, Stream
from ..validate import checked_blocks, checked_metadata
from ..wire import message_json
from ..workspace import Workspace, now
from .chat import postable
from .registry import method

_TASK_STATUSES = {"pending", "in_progress", "complete", "error"}
_SESSION_STATUSES = {None, "active", "processing", "suspended", "closed"}


@method("chat.startStream", Tier.TWO, "chat:write")
def start_stream(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.startStream"""
    channel = postable(workspace, args.required("channel"), by_user=False)
    if channel.kind not in workspace.settings.stream_kinds:
        raise SlackFailure("channel_type_not_supported")
    root = workspace.world.living(channel, args.text("thread_ts"))
    if root is None or root.thread_ts is not None:
        raise SlackFailure("invalid_thread_ts")
    _check_recipient(workspace, channel, args)
    if args.text("task_display_mode") not in (None, "timeline", "plan"):
        raise invalid_arguments("must be timeline or plan: task_display_mode")
    chunks = _chunks(args)
    settings = workspace.settings
    stream = Stream(channel.id, workspace.world.next_ts(), now())
    message = Message(
        stream.ts,
        channel.id,
        settings.bot_user_id,
        team=settings.team_id,
        thread_ts=root.ts,
        bot_id=settings.bot_id,
        app_id=settings.app_id,
    )
    _grow(message, stream, chunks)
    _note(workspace, message, stream, "chat.startStream")
    workspace.begin_stream(message, stream)
    return {"ok": True, "channel": channel.id, "ts": message.ts}


@method("chat.appendStream", Tier.FOUR, "chat:write")
def append_stream(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.appendStream"""
    message, stream = _streaming(workspace, args, "stopped_by_user")
    if stream.stopped_by_user:
        raise SlackFailure("stopped_by_user")
    chunks = _chunks(args)
    if not chunks:
        raise SlackFailure("no_text")
    _grow(message, stream, chunks)
    _note(workspace, message, stream, "chat.appendStream")
    workspace.grow(message)
    return {"ok": True, "channel": message.channel, "ts": message.ts}


@method("chat.stopStream", Tier.TWO, "chat:write")
def stop_stream(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/chat.stopStream"""
    message, stream = _streaming(workspace, args)
    blocks: Any = args.structure("blocks", "invalid_blocks")
    checked = [] if blocks is None else checked_blocks(blocks)
    metadata: Any = args.structure("metadata", "invalid_metadata_format")
    meant = None if metadata is None else checked_metadata(metadata)
    if args.text("session_status") not in _SESSION_STATUSES:
        raise SlackFailure("invalid_status")
    previous = workspace.snapshot(message)
    _grow(message, stream, [*_chunks(args), {"type": "blocks", "blocks": checked}])
    message.metadata = message.metadata if metadata is None else meant
    message.sent_blocks = checked or None
    _note(workspace, message, stream, "chat.stopStream")
    workspace.end_stream(message, "stopped")
    workspace.change(message, previous)
    body = message_json(message, workspace.settings, metadata=True)
    return {"ok": True, "channel": message.channel, "ts": message.ts, "message": body}


def _check_recipient(workspace: Workspace, channel: Channel, args: Args) -> None:
    """In channels Slack wants to know who reads; a stranger's team is the stranger's own."""
    user_id, team_id = args.text("recipient_user_id"), args.text("recipient_team_id")
    if channel.kind != "im":
        if not user_id:
            raise SlackFailure("missing_recipient_user_id")
        if not team_id:
            raise SlackFailure("missing_recipient_team_id")
    if user_id:
        user = workspace.world.users.get(user_id)
        teams = {each.team for each in workspace.world.users.values()}
        if team_id and team_id not in teams:
            raise SlackFailure("team_not_found")
        if user is None or (team_id and team_id != user.team):
            raise SlackFailure("user_not_found")


def _streaming(
    workspace: Workspace, args: Args, after_a_stop: str = "message_not_in_streaming_state"
) -> tuple[Message, Stream]:
    """The open stream that is meant; `after_a_stop` is the error where a person has ended it."""
    channel = postable(workspace, args.required("channel"), by_user=False)
    message = workspace.world.living(channel, args.required("ts"))
    if message is None:
        raise SlackFailure("message_not_found")
    if message.bot_id != workspace.settings.bot_id:
        raise SlackFailure("message_not_owned_by_app")
    stream = workspace.open_stream(message)
    if stream is None:
        by_user = message.stream is not None and message.stream.end == "stopped_by_user"
        raise SlackFailure(after_a_stop if by_user else "message_not_in_streaming_state")
    return message, stream


def _chunks(args: Args) -> list[Json]:
    """What a call adds. Text is either markdown_text or in chunks, never both."""
    text = args.text("markdown_text")
    chunks: Any = args.structure("chunks", "invalid_chunks")
    if text is not None and chunks is not None:
        raise SlackFailure("invalid_chunks")
    if text is not None:
        if not text:
            raise SlackFailure("no_text")
        chunks = [{"type": "markdown_text", "text": text}]
    if chunks is None:
        return []
    if not isinstance(chunks, list):
        raise SlackFailure("invalid_chunks")
    for chunk in chunks:
        _check_chunk(chunk)
    return chunks


def _check_chunk(chunk: Any) -> None:
    match chunk:
        case {"type": "markdown_text", "text": str(text)}:
            if len(text) > limits.MARKDOWN_TEXT:
                raise SlackFailure("msg_too_long")
        case {"type": "task_update", "id": str(), "title": str(), "status": status}:
            if status not in _TASK_STATUSES:
                raise SlackFailure("invalid_chunks")
        case {"type": "plan_update", "title": str()}:
            pass
        case {"type": "blocks", "blocks": list(blocks)}:
            checked_blocks(blocks)
        case _:
            raise SlackFailure("invalid_chunks")


def _grow(message: Message, stream: Stream, chunks: list[Json]) -> None:
    """Add chunks, all or none: the whole streamed message has a size of its own."""
    size = stream.size_bytes + sum(_size(chunk) for chunk in chunks)
    if size > limits.STREAM_BYTES:
        raise SlackFailure("msg_too_long")
    added = [block for chunk in chunks for block in chunk.get("blocks", ())]
    if len(stream.blocks) + len(added) > limits.BLOCKS:
        raise SlackFailure("msg_blocks_too_many")
    stream.size_bytes = size
    stream.blocks += added
    for chunk in chunks:
        if chunk["type"] == "markdown_text":
            stream.markdown.append(chunk["text"])
        elif chunk["type"] == "task_update":
            _update_task(stream, chunk)
    message.sent_markdown = message.sent_text = "".join(stream.markdown)
    message.text = mrkdwn.stored_text(message.sent_text)
    cards = [
        {"type": "task_card", "task_id": task["id"], **{k: task[k] for k in ("title", "status")}}
        for task in stream.tasks.values()
    ]
    markdown = message.sent_markdown
    text = [{"type": "markdown", "text": markdown}] if markdown.strip() else []
    message.set_blocks([*cards, *text, *stream.blocks])


def _size(chunk: Json) -> int:
    """Bytes that count: texts and titles once, details and output twice."""
    once = (chunk.get("text"), chunk.get("title"))
    twice = (chunk.get("details"), chunk.get("output"))
    parts = [part for part in (*once, *twice, *twice) if isinstance(part, str)]
    return sum(len(part.encode()) for part in parts)


def _update_task(stream: Stream, chunk: Json) -> None:
    """A known task id: title and status are replaced, details and output appended."""
    task = stream.tasks.setdefault(chunk["id"], {"id": chunk["id"]})
    task |= {"title": chunk["title"], "status": chunk["status"]}
    for key in ("details", "output"):
        if chunk.get(key):
            task[key] = f"{task.get(key, '')}{chunk[key]}"


def _note(workspace: Workspace, message: Message, stream: Stream, name: str) -> None:
    """Record the state, and the mentions that the added text completed."""
    found = mrkdwn.live_mentions(message.sent_markdown)
    new, stream.mentions = found[stream.mentions :], len(found)
    workspace.note_mentions(message.channel, message.ts, new, None)
    workspace.keep_revision(message, name)
