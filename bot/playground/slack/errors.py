"""What a Web API method raises to answer `"ok": false`."""

from __future__ import annotations

from typing import Any


class SlackFailure(Exception):
    """A refused call: Slack's error code, and what else stands in the answer.

    `retry_after_s` makes it an HTTP 429; everything else is an HTTP 200, as with Slack.
    """

    def __init__(self, code: str, *, retry_after_s: int | None = None, **extra: Any) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s
        self.extra = extra

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that Slack answers with."""
        return {"ok": False, "error": self.code, **self.extra}


def invalid_blocks(path: str, problem: str) -> SlackFailure:
    """`invalid_blocks` with the place and the reason, as Slack's own messages have them."""
    message = f"[ERROR] {problem} [json-pointer:{path}]"
    return SlackFailure("invalid_blocks", response_metadata={"messages": [message]})


def invalid_arguments(problem: str) -> SlackFailure:
    """`invalid_arguments` with Slack's explanation."""
    return SlackFailure("invalid_arguments", response_metadata={"messages": [f"[ERROR] {problem}"]})
