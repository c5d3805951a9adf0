"""What the scripted Claude was asked, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One POST /v1/messages, refused ones included.

    Times are of the event loop's clock. `finished` is true only when everything scripted was sent
    and the client was still there; `closed_by_client` when the client went away before that.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    at: float
    status: int | None = None
    closed_by_client: bool = False
    finished: bool = False
    first_text_at: float | None = None
    ended_at: float | None = None
    sent: list[str] = field(default_factory=list, repr=False)

    @property
    def last_user_text(self) -> str:
        """The text of the last user message."""
        return last_user_text(self.body)

    @property
    def sent_text(self) -> str:
        """All text that was sent to the client, in order."""
        return "".join(self.sent)


def last_user_text(body: Mapping[str, Any]) -> str:
    """The text of the last user message of a request body, "" if there is none."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return ""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def text_of(content: object) -> str:
    """The joined text of a message's content: a string, or a list of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = (block for block in content if isinstance(block, dict))
    return "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
