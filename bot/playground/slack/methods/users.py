"""auth, users, bots, team: who is who."""

from __future__ import annotations

from ..args import Args
from ..errors import SlackFailure
from ..limits import Tier
from ..records import Json
from ..wire import bot_json, user_json
from ..workspace import Workspace
from .registry import method


@method("api.test", Tier.SPECIAL, token="none")
def api_test(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/api.test"""
    if error := args.text("error"):
        raise SlackFailure(error)
    return {"ok": True, "args": {key: args[key] for key in args if key != "token"}}


@method("auth.test", Tier.SPECIAL)
def auth_test(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/auth.test"""
    settings = workspace.settings
    return {
        "ok": True,
        "url": "https://emulator.slack.com/",
        "team": settings.team_name,
        "user": settings.bot_name,
        "team_id": settings.team_id,
        "user_id": settings.bot_user_id,
        "bot_id": settings.bot_id,
        "is_enterprise_install": False,
    }


@method("users.info", Tier.FOUR, "users:read")
def users_info(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/users.info"""
    user = workspace.world.users.get(args.required("user"))
    if user is None:
        raise SlackFailure("user_not_found")
    return {"ok": True, "user": user_json(user, workspace.settings)}


@method("users.list", Tier.TWO, "users:read")
def users_list(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/users.list"""
    people = [user_json(user, workspace.settings) for user in workspace.world.users.values()]
    return {"ok": True, "members": people, "response_metadata": {"next_cursor": ""}}


@method("bots.info", Tier.THREE, "users:read")
def bots_info(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/bots.info"""
    bot_id = args.required("bot")
    bot = workspace.world.bots.get(bot_id)
    if bot is None:
        raise SlackFailure("bot_not_found")
    body = bot_json(bot_id, None, workspace.settings)
    return {"ok": True, "bot": body | {"name": bot.real_name, "user_id": bot.id}}


@method("team.info", Tier.THREE, "team:read")
def team_info(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/team.info"""
    settings = workspace.settings
    team = {"id": settings.team_id, "name": settings.team_name, "domain": "emulator"}
    return {"ok": True, "team": team | {"email_domain": "", "icon": {"image_default": True}}}


@method("apps.connections.open", Tier.THREE, token="app")
def connections_open(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/apps.connections.open: a Socket Mode address, used once."""
    return {"ok": True, "url": workspace.open_socket_url()}
