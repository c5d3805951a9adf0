"""The arguments of a Web API call, whatever form they came in."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from .errors import SlackFailure, invalid_arguments

# Arguments that are JSON inside of forms.
_STRUCTURED = {
    "attachments",
    "blocks",
    "chunks",
    "files",
    "loading_messages",
    "metadata",
    "prompts",
    "view",
}


class Args(dict[str, Any]):
    """Arguments by name, with the readings that Slack allows."""

    def text(self, name: str) -> str | None:
        """A string, or None where it was not given."""
        value = self.get(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return str(value)
        raise invalid_arguments(f"must be a string: {name}")

    def required(self, name: str) -> str:
        """A string that must be there."""
        value = self.text(name)
        if not value:
            raise invalid_arguments(f"missing required field: {name}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean: true, "true", 1, "1"."""
        value = self.get(name)
        if value is None:
            return default
        return value in (True, 1) or str(value).lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        value = self.get(name)
        if value is None or value == "":
            return default
        try:
            return int(value)
        except (TypeError, ValueError):
            raise invalid_arguments(f"must be an integer: {name}") from None

    def structure(self, name: str, error: str = "invalid_arguments") -> Any:
        """A JSON value, given as such or as a string; None where it was not given."""
        value = self.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise SlackFailure(error) from None


def parsed(body: bytes, content_type: str, query: dict[str, str]) -> Args:
    """The arguments of a request; SlackFailure when they cannot be read."""
    args = Args(query)
    if not body:
        return _unpacked(args)
    if content_type == "application/json":
        try:
            values = json.loads(body)
        except ValueError:
            raise SlackFailure("invalid_json") from None
        if not isinstance(values, dict):
            raise SlackFailure("json_not_object")
        args.update({name: value for name, value in values.items() if value is not None})
        return _unpacked(args)
    if content_type == "application/x-www-form-urlencoded":
        try:
            args.update(parse_qsl(body.decode(), keep_blank_values=True))
        except UnicodeDecodeError:
            raise SlackFailure("invalid_form_data") from None
        return _unpacked(args)
    raise SlackFailure("invalid_post_type")


def _unpacked(args: Args) -> Args:
    """JSON strings as what they say; what is no JSON stays, for the method to refuse."""
    for name in _STRUCTURED & args.keys():
        if isinstance(value := args[name], str):
            with suppress(ValueError):
                args[name] = json.loads(value)
    return args
