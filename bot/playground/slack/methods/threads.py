"""assistant.threads.* and agents.sessions.*: what an agent shows about a thread."""

from __future__ import annotations

from ..args import Args
from ..errors import SlackFailure, invalid_arguments
from ..limits import Tier
from ..records import Json, Message
from ..workspace import Workspace
from .registry import method

_SESSION_STATUSES = {"active", "processing", "suspended", "closed"}


@method("assistant.threads.setStatus", Tier.STATUS, "chat:write", "assistant:write")
def set_status(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/assistant.threads.setStatus"""
    root = _thread(workspace, args)
    status = args.text("status")
    if status is None:
        raise invalid_arguments("missing required field: status")
    loading = args.structure("loading_messages")
    if loading is not None and (not isinstance(loading, list) or len(loading) > 10):
        raise invalid_arguments("no more than 10 items allowed: loading_messages")
    workspace.set_status(root.channel, root.ts, status)
    return {"ok": True}


@method("assistant.threads.setTitle", Tier.FOUR, "assistant:write")
def set_title(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/assistant.threads.setTitle"""
    root = _thread(workspace, args)
    workspace.titles[root.channel, root.ts] = args.required("title")
    return {"ok": True}


@method("assistant.threads.setSuggestedPrompts", Tier.FOUR, "assistant:write")
def set_suggested_prompts(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts"""
    workspace.world.visible(args.required("channel_id"))
    if args.text("thread_ts"):
        _thread(workspace, args)
    prompts = args.structure("prompts")
    if not isinstance(prompts, list) or len(prompts) > 4:
        raise invalid_arguments("no more than 4 items allowed: prompts")
    for prompt in prompts:
        if not isinstance(prompt, dict) or not prompt.get("title") or not prompt.get("message"):
            raise invalid_arguments("missing required field: title or message")
    workspace.prompts.append(dict(args) | {"prompts": prompts})
    return {"ok": True}


@method("agents.sessions.setStatus", Tier.THREE, "chat:write")
def set_session_status(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/agents.sessions.setStatus"""
    channel = workspace.world.visible(args.required("channel_id"))
    status = args.required("status")
    if status not in _SESSION_STATUSES:
        raise SlackFailure("invalid_status")
    thread_ts = args.text("thread_ts")
    if not thread_ts:
        raise SlackFailure("thread_ts_required")
    _thread(workspace, args)
    workspace.sessions[channel.id, thread_ts] = status
    return {"ok": True}


def _thread(workspace: Workspace, args: Args) -> Message:
    """The root that the call names; a thread begins with a message that exists."""
    channel = workspace.world.visible(args.required("channel_id"))
    root = workspace.world.living(channel, args.text("thread_ts"))
    if root is None or root.thread_ts is not None:
        raise SlackFailure("invalid_thread_ts")
    return root
