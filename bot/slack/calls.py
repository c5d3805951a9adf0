"""One call of Slack: its answer, or an error named after what the caller can do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp
from slack_sdk.errors import SlackApiError

from bot import logs, metrics
from bot.errors import (
    AuthFailed,
    BlocksRefused,
    ChannelClosed,
    Doubtful,
    MessageGone,
    MetadataRefused,
    NotEditable,
    RateLimited,
    SlackError,
    StreamClosed,
    StreamOpen,
    TooLong,
    Transient,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_WITHOUT_HEADER_S: Final = 5.0
CONNECT_TRIES: Final = 5
CONNECT_AGAIN_S: Final = 2.0
CONNECT_AGAIN_MAX_S: Final = 60.0

# docs.slack.dev/reference/methods/chat.update and chat.postMessage, by what can be done about them.
_CODES: Final[dict[type[SlackError], frozenset[str]]] = {
    MessageGone: frozenset({"message_not_found", "thread_not_found"}),
    NotEditable: frozenset({"cant_update_message", "edit_window_closed"}),
    # chat.delete says the second of a stream that is open, and of messages that are not ours.
    StreamOpen: frozenset({"streaming_state_conflict", "cant_delete_message"}),
    StreamClosed: frozenset({"message_not_in_streaming_state"}),
    TooLong: frozenset({"msg_too_long", "msg_blocks_too_long", "msg_blocks_too_many"}),
    BlocksRefused: frozenset(
        {
            "invalid_blocks",
            "invalid_blocks_format",
            "invalid_attachments",
            "block_mismatch",
            "too_many_attachments",
            "attachment_payload_limit_exceeded",
        }
    ),
    MetadataRefused: frozenset(
        {
            "metadata_too_large",
            "invalid_metadata_format",
            "invalid_metadata_schema",
            "metadata_must_be_sent_from_app",
        }
    ),
    ChannelClosed: frozenset(
        {
            "channel_not_found",
            "not_in_channel",
            "is_archived",
            "is_inactive",
            "team_not_found",
            "external_channel_migrating",
            "messages_tab_disabled",
            "restricted_action",
            "restricted_action_read_only_channel",
            "restricted_action_thread_only_channel",
            "restricted_action_non_threadable_channel",
            "restricted_action_thread_locked",
            "cannot_reply_to_message",
            "app_access_restricted",
            "message_limit_exceeded",
        }
    ),
    AuthFailed: frozenset(
        {
            "not_authed",
            "invalid_auth",
            "account_inactive",
            "token_revoked",
            "token_expired",
            "missing_scope",
            "ekm_access_denied",
            "team_access_not_granted",
            "team_added_to_org",
            "org_login_required",
            "not_allowed_token_type",
            "no_permission",
        }
    ),
    # "It's possible some aspect of the operation succeeded before the error was raised."
    Doubtful: frozenset({"internal_error", "fatal_error"}),
    Transient: frozenset({"service_unavailable", "request_timeout", "update_failed"}),
}
_CLASSES: Final = {code: kind for kind, codes in _CODES.items() for code in codes}
_RATE_LIMITS: Final = frozenset({"ratelimited", "rate_limited"})


async def call(method: str, send: Callable[[], Awaitable[Any]]) -> Mapping[str, Any]:
    """Send one call; the answer as a mapping. Raises a SlackError in every other case."""
    try:
        answer = await _answer(method, send)
    except SlackError as error:
        metrics.SLACK_CALLS.labels(method, type(error).__name__).inc()
        raise
    metrics.SLACK_CALLS.labels(method, "ok").inc()
    return answer


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """`attempt()`, in a few tries, as long apart as Slack asks: a deploy must not fail for a blip.

    Raises the SlackError of the last one; one that will not pass (a wrong token) at once.
    """
    for left in range(CONNECT_TRIES - 1, 0, -1):
        try:
            return await attempt()
        except (Doubtful, Transient, RateLimited) as error:
            logs.warning(log, "slack_unreachable", code=error.code, tries_left=left)
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else CONNECT_AGAIN_S
        await asyncio.sleep(min(wait_s, CONNECT_AGAIN_MAX_S))
    return await attempt()


async def _answer(method: str, send: Callable[[], Awaitable[Any]]) -> Mapping[str, Any]:
    try:
        response = await send()
    except SlackApiError as error:
        raise _translate(method, error) from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Transient(method, type(error).__name__) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Doubtful(method, type(error).__name__) from error
    except (AttributeError, ValueError) as error:
        # The SDK cannot read a 200 that is not JSON (a proxy's page, plain text).
        raise Doubtful(method, "unreadable_answer") from error
    data = response.data
    return data if isinstance(data, Mapping) else {}


def _translate(method: str, error: SlackApiError) -> SlackError:
    response = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    data = getattr(response, "data", None)
    code = data.get("error") if isinstance(data, Mapping) else None
    if status == 429 or code in _RATE_LIMITS:
        wait_s = _retry_after_s(getattr(response, "headers", {}))
        return RateLimited(method, str(code or "ratelimited"), wait_s)
    if isinstance(code, str) and code:
        return _CLASSES.get(code, SlackError)(method, code)
    return Doubtful(method, f"http_{status}" if status != 200 else "unreadable_answer")


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", PAUSE_WITHOUT_HEADER_S)))
    except ValueError:
        return PAUSE_WITHOUT_HEADER_S
