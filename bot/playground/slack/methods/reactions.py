"""reactions.*: the app's reactions to messages."""

from __future__ import annotations

from ..args import Args
from ..errors import SlackFailure
from ..limits import Tier
from ..records import Json, Message
from ..workspace import Workspace
from .registry import method


@method("reactions.add", Tier.THREE, "reactions:write")
def add(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/reactions.add"""
    message, name = _target(workspace, args)
    if workspace.settings.bot_user_id in message.reactions.get(name, ()):
        raise SlackFailure("already_reacted")
    workspace.react(workspace.settings.bot_user_id, message, name, added=True)
    return {"ok": True}


@method("reactions.remove", Tier.TWO, "reactions:write")
def remove(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/reactions.remove"""
    message, name = _target(workspace, args)
    if workspace.settings.bot_user_id not in message.reactions.get(name, ()):
        raise SlackFailure("no_reaction")
    workspace.react(workspace.settings.bot_user_id, message, name, added=False)
    return {"ok": True}


def _target(workspace: Workspace, args: Args) -> tuple[Message, str]:
    channel = workspace.world.visible(args.required("channel"))
    if channel.is_archived:
        raise SlackFailure("is_archived")
    message = workspace.world.living(channel, args.required("timestamp"))
    if message is None:
        raise SlackFailure("message_not_found")
    name = args.required("name")
    if not all(character.isalnum() or character in "_-+':" for character in name):
        raise SlackFailure("invalid_name")
    return message, name
