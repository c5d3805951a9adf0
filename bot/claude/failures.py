"""Whatever goes wrong at Claude's side → one of our errors."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import anthropic

from bot.errors import (
    ClaudeBusy,
    ClaudeError,
    ClaudeFailing,
    ClaudeInterrupted,
    ClaudeMisconfigured,
    ClaudeOutOfCredit,
    ClaudeRejected,
    ClaudeUnreachable,
    ConversationTooLong,
    ModelUnknown,
)

# platform.claude.com/docs/en/api/errors: by type first, since an error in the middle of a stream
# comes with status 200; then by status, since a proxy's error has no type.
_BY_TYPE: Final[dict[str, type[ClaudeError]]] = {
    "overloaded_error": ClaudeBusy,
    "rate_limit_error": ClaudeBusy,
    "api_error": ClaudeFailing,
    "timeout_error": ClaudeFailing,
    "authentication_error": ClaudeMisconfigured,
    "permission_error": ClaudeMisconfigured,
    "not_found_error": ModelUnknown,
    "billing_error": ClaudeOutOfCredit,
    "request_too_large": ConversationTooLong,
}
_BY_STATUS: Final[dict[int, type[ClaudeError]]] = {
    401: ClaudeMisconfigured,
    402: ClaudeOutOfCredit,
    403: ClaudeMisconfigured,
    404: ModelUnknown,
    408: ClaudeFailing,
    409: ClaudeFailing,
    413: ConversationTooLong,
    429: ClaudeBusy,
    529: ClaudeBusy,
}
SPEND_LIMIT: Final = "enforced_spend_limit_reached"
DAY_S: Final = 86_400.0
_BLOCK = re.compile(r"messages\.(\d{1,6})\.content\.(\d{1,6})\b")


def translate(error: Exception) -> ClaudeError:
    """The error of ours for an exception of the SDK or of its HTTP client."""
    if isinstance(error, anthropic.APIStatusError):
        detail = f"{error.status_code} {error.type or ''} request_id={error.request_id}"
        kind = _kind(error.type, error.error_code, error.api_message, error.status_code)
        found = kind(detail, retry_after_s=retry_after_s(error.response.headers))
        found.block = _block(error.api_message)
        return found
    if isinstance(error, anthropic.APIConnectionError):
        cause = type(error.__cause__).__name__ if error.__cause__ else ""
        return ClaudeUnreachable(f"{type(error).__name__} {cause}".strip())
    return ClaudeInterrupted(type(error).__name__)


def from_event(payload: object, request_id: str | None) -> ClaudeError:
    """The error of ours for an `error` event in the middle of a stream."""
    error = payload.get("error") if isinstance(payload, Mapping) else None
    if not isinstance(error, Mapping):
        return ClaudeInterrupted(f"an error event that cannot be read request_id={request_id}")
    kind = str(error.get("type") or "")
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, Mapping) else None
    found = _kind(kind, code, str(error.get("message") or ""), 200)
    return found(f"error event {kind} request_id={request_id}")


def _kind(
    error_type: str | None, code: object, message: str | None, status: int
) -> type[ClaudeError]:
    if code == SPEND_LIMIT:
        return ClaudeOutOfCredit
    if error_type == "invalid_request_error":
        return _of_invalid_request((message or "").lower())
    if error_type in _BY_TYPE:
        return _BY_TYPE[error_type]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return ClaudeFailing
    return ClaudeRejected if status >= 400 else ClaudeInterrupted


def _of_invalid_request(message: str) -> type[ClaudeError]:
    """Two causes that only the wording tells (it may change; then the cause is ClaudeRejected)."""
    if "prompt is too long" in message:
        return ConversationTooLong
    return ClaudeOutOfCredit if "usage limits" in message else ClaudeRejected


def _block(message: str | None) -> tuple[int, int] | None:
    """The block that a message like "messages.0.content.1.image.source: …" complains about."""
    named = _BLOCK.match(message or "")
    return (int(named[1]), int(named[2])) if named else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that the server asks for: milliseconds, seconds or a date; None if it does not, or
    asks for nonsense. Never more than a day."""
    try:
        wait_s = _asked_wait_s(headers)
    except (ValueError, TypeError, OverflowError):
        return None
    if wait_s is None or not math.isfinite(wait_s):
        return None
    return min(max(0.0, wait_s), DAY_S)


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    if (milliseconds := headers.get("retry-after-ms")) is not None:
        return float(milliseconds) / 1_000
    if (value := headers.get("retry-after")) is None:
        return None
    if value.strip().isascii() and value.strip().replace(".", "", 1).isdigit():
        return float(value)
    return parsedate_to_datetime(value).timestamp() - time.time()
