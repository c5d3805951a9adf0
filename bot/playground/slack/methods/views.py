"""views.*: the Home tab and modals."""

from __future__ import annotations

import json
from typing import Any

from .. import limits
from ..args import Args
from ..errors import SlackFailure, invalid_arguments
from ..limits import Tier
from ..records import Json
from ..validate import checked_blocks
from ..workspace import Workspace, now
from .registry import method

_TRIGGER_S = 3.0  # docs.slack.dev/interactivity/handling-user-interaction


@method("views.publish", Tier.FOUR)
def publish(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/views.publish"""
    user = args.required("user_id")
    if user not in workspace.world.users:
        raise SlackFailure("user_not_found")
    view = _view(args, "home")
    old = workspace.views.get(user)
    if old is not None and args.text("hash") not in (None, old["hash"]):
        raise SlackFailure("hash_conflict")
    stored = _stored(workspace, view)
    workspace.views[user] = stored
    workspace.watch.bump()
    return {"ok": True, "view": stored}


@method("views.open", Tier.FOUR)
def open_view(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/views.open: one view for a trigger, within three seconds."""
    trigger = args.required("trigger_id")
    view = _view(args, "modal")
    if trigger not in workspace.triggers:
        raise SlackFailure("invalid_trigger_id")
    made_at = workspace.triggers[trigger]
    if made_at < 0:
        raise SlackFailure("exchanged_trigger_id")
    if now() - made_at > _TRIGGER_S:
        raise SlackFailure("expired_trigger_id")
    workspace.triggers[trigger] = -1.0
    stored = _stored(workspace, view)
    workspace.modals.append(stored)
    workspace.watch.bump()
    return {"ok": True, "view": stored}


@method("views.update", Tier.FOUR)
def update(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/views.update"""
    view_id = args.required("view_id")
    for index, modal in enumerate(workspace.modals):
        if modal["id"] == view_id:
            view = _view(args, "modal")
            stored = _stored(workspace, view) | {"id": view_id}
            workspace.modals[index] = stored
            workspace.watch.bump()
            return {"ok": True, "view": stored}
    raise SlackFailure("not_found")


def _view(args: Args, kind: str) -> Json:
    view: Any = args.structure("view")
    if not isinstance(view, dict) or view.get("type") != kind:
        raise invalid_arguments(f"view must be of type {kind}")
    if len(json.dumps(view).encode()) > limits.VIEW_BYTES:
        raise SlackFailure("view_too_large")
    checked_blocks(view.get("blocks"), most=limits.HOME_BLOCKS)
    return view


def _stored(workspace: Workspace, view: Json) -> Json:
    ids = {"id": workspace.world.next_id("V0"), "hash": workspace.world.next_id("")}
    return {**view, **ids, "app_id": workspace.settings.app_id}
