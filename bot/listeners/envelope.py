"""What must hold of a payload of Slack's before it is read: by Bolt, which raises otherwise, and by
the listeners."""

from __future__ import annotations

from typing import Any


def is_well_formed(body: Any) -> bool:
    """Whether `body` is an object, and what says its kind is text."""
    if not isinstance(body, dict) or not body:
        return False
    authorized = body.get("authorizations")
    if not (authorized is None or _are_objects(authorized)):
        return False
    if not isinstance(body.get("callback_id", ""), str):
        return False
    match body.get("type"):
        case "event_callback":
            return _is_event(body.get("event"))
        case "block_actions":
            return _are_actions(body.get("actions"), named=True)
        case "interactive_message":
            return _are_actions(body.get("actions"), named=False)
        case kind:
            return isinstance(kind, str | None)


def _is_event(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and isinstance(event.get("type"), str)
        and isinstance(event.get("subtype"), str | None)
    )


def _are_actions(actions: Any, *, named: bool) -> bool:
    if not (_are_objects(actions) and actions):
        return False
    return not named or all(isinstance(action.get("action_id"), str) for action in actions)


def _are_objects(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(one, dict) for one in found)
