"""Every call that carries a Slack token, typed; Slack's answers become our errors.

One aiohttp session is shared by all calls. Writes are never retried by the SDK: its default handler
repeats a `chat.postMessage` whose connection broke after Slack had accepted it, and its rate-limit
handler sleeps where no budget can see it. Reads may be repeated safely, so they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

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
    TooLong,
    Transient,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

SlackMessage = dict[str, Any]
"""A message as Slack's history shows it."""

METADATA_TYPE: Final = "claude_reply"
CALL_TIMEOUT_S: Final = 10.0
PAUSE_WITHOUT_HEADER_S: Final = 5.0
PAGE: Final = 200
LOOKUP_PAGES: Final = 5
CONNECT_TRIES: Final = 5
CONNECT_AGAIN_S: Final = 2.0
CONNECT_AGAIN_MAX_S: Final = 60.0

# docs.slack.dev/reference/methods/chat.update and chat.postMessage, by what can be done about them.
_CODES: Final[dict[type[SlackError], frozenset[str]]] = {
    MessageGone: frozenset({"message_not_found", "thread_not_found"}),
    NotEditable: frozenset(
        {"cant_update_message", "edit_window_closed", "streaming_state_conflict"}
    ),
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


@dataclass(frozen=True, slots=True)
class Mark:
    """What every message of the bot carries as metadata: ids only, never text.

    With it a post whose answer was lost is found again before it is repeated, an ambiguous last
    edit is read back, and a reply that was finished before a crash is known as such: Slack
    translates Markdown when it stores it, so texts never compare.
    """

    turn: str
    part: int
    rev: int
    final: bool = False

    def metadata(self) -> dict[str, Any]:
        payload = {"turn": self.turn, "part": self.part, "rev": self.rev, "final": self.final}
        return {"event_type": METADATA_TYPE, "event_payload": payload}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Mark | None:
        """The mark of a message from history (read with its metadata); None if it has none."""
        metadata = message.get("metadata")
        if not isinstance(metadata, Mapping) or metadata.get("event_type") != METADATA_TYPE:
            return None
        payload = metadata.get("event_payload")
        if not isinstance(payload, Mapping):
            return None
        try:
            return cls(
                str(payload["turn"]),
                int(payload["part"]),
                int(payload["rev"]),
                bool(payload.get("final")),
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is in a workspace (auth.test)."""

    team: str
    team_name: str
    bot_user_id: str
    bot_id: str | None
    enterprise: str | None = None


class Workspace:
    """The bot's calls in one workspace."""

    def __init__(self, identity: Identity, writes: AsyncWebClient, reads: AsyncWebClient) -> None:
        self.identity = identity
        self._writes = writes
        self._reads = reads

    async def check(self) -> None:
        """Return if Slack accepts the token; raises AuthFailed if not."""
        await call("auth.test", self._reads.auth_test)

    async def post(
        self,
        channel: str,
        *,
        text: str,
        blocks: list[dict[str, Any]],
        mark: Mark | None,
        thread_ts: str | None,
    ) -> str:
        """Post a message; its ts. Raises Doubtful when it may have been posted all the same."""
        response = await call(
            "chat.postMessage",
            lambda: self._writes.chat_postMessage(
                channel=channel,
                text=text,
                blocks=blocks,
                metadata=mark.metadata() if mark else None,
                thread_ts=thread_ts,
                unfurl_links=False,
                unfurl_media=False,
            ),
        )
        return str(response["ts"])

    async def update(
        self,
        channel: str,
        ts: str,
        *,
        text: str,
        blocks: list[dict[str, Any]],
        mark: Mark | None,
    ) -> None:
        """Replace the content of a message. The same edit may be sent again safely."""
        await call(
            "chat.update",
            lambda: self._writes.chat_update(
                channel=channel,
                ts=ts,
                text=text,
                blocks=blocks,
                metadata=mark.metadata() if mark else None,
            ),
        )

    async def delete(self, channel: str, ts: str) -> None:
        """Delete one of the bot's messages; one that is gone already is fine."""
        with contextlib.suppress(MessageGone):
            await call("chat.delete", lambda: self._writes.chat_delete(channel=channel, ts=ts))

    async def attach(self, channel: str, thread_ts: str | None, name: str, text: str) -> None:
        """Share `text` as a file `name` (scope files:write); Slack posts it a moment later."""
        await call(
            "files.completeUploadExternal",
            lambda: self._writes.files_upload_v2(
                channel=channel, thread_ts=thread_ts, filename=name, title=name, content=text
            ),
        )

    async def tell(self, channel: str, user: str, text: str, thread_ts: str | None) -> None:
        """Say something that only `user` sees."""
        await call(
            "chat.postEphemeral",
            lambda: self._writes.chat_postEphemeral(
                channel=channel, user=user, text=text, thread_ts=thread_ts
            ),
        )

    async def set_status(self, channel: str, thread_ts: str, status: str) -> None:
        """Slack's own status line in a thread; it lapses after two minutes or when we post there.

        docs.slack.dev/reference/methods/assistant.threads.setStatus
        """
        await call(
            "assistant.threads.setStatus",
            lambda: self._writes.assistant_threads_setStatus(
                channel_id=channel, thread_ts=thread_ts, status=status
            ),
        )

    async def thread_page(
        self,
        channel: str,
        thread_ts: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> tuple[list[SlackMessage], str | None]:
        """One page of a thread, oldest first, the root on every page; and the next cursor."""
        response = await call(
            "conversations.replies",
            lambda: self._reads.conversations_replies(
                channel=channel,
                ts=thread_ts,
                oldest=oldest,
                latest=latest,
                inclusive=True,
                limit=limit,
                cursor=cursor,
                include_all_metadata=True,
            ),
        )
        return _messages(response), _next_cursor(response)

    async def history_page(
        self,
        channel: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> tuple[list[SlackMessage], str | None]:
        """One page of a channel outside its threads, newest first; and the next cursor."""
        response = await call(
            "conversations.history",
            lambda: self._reads.conversations_history(
                channel=channel,
                oldest=oldest,
                latest=latest,
                inclusive=True,
                limit=limit,
                cursor=cursor,
                include_all_metadata=True,
            ),
        )
        return _messages(response), _next_cursor(response)

    async def since(
        self,
        channel: str,
        thread_ts: str | None,
        oldest: str,
        *,
        slot: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[SlackMessage]:
        """The messages at `oldest` and later: of a thread, or of the channel outside threads.

        `slot()` waits for the budget before each page; Transient is raised if it gives none.
        """
        cursor: str | None = None
        for _ in range(LOOKUP_PAGES):
            if not await slot():
                raise Transient("conversations.replies", "no_slot")
            if thread_ts is not None:
                page, cursor = await self.thread_page(
                    channel, thread_ts, oldest=oldest, cursor=cursor
                )
            else:
                page, cursor = await self.history_page(channel, oldest=oldest, cursor=cursor)
            for message in page:
                yield message
            if cursor is None:
                return

    async def display_name(self, user: str) -> str:
        """How a person is called: display name, else real name, else the id."""
        response = await call("users.info", lambda: self._reads.users_info(user=user))
        found = response.get("user")
        record = found if isinstance(found, Mapping) else {}
        profile = record.get("profile")
        profile = profile if isinstance(profile, Mapping) else {}
        for value in (profile.get("display_name"), profile.get("real_name"), record.get("name")):
            if isinstance(value, str) and value.strip():
                return value.strip()
        return user


class Slack:
    """The workspaces that the bot is installed in; one workspace is a map of one."""

    def __init__(self, workspaces: Mapping[str, Workspace]) -> None:
        self._workspaces = dict(workspaces)

    def of(self, team: str) -> Workspace | None:
        """The calls for `team`; None for a workspace that the bot is not in."""
        return self._workspaces.get(team)


def clients(
    token: str, base_url: str, session: aiohttp.ClientSession
) -> tuple[AsyncWebClient, AsyncWebClient]:
    """The client for writes (never repeated by itself) and the one for reads (repeated once)."""
    writes = AsyncWebClient(token=token, base_url=base_url, session=session, retry_handlers=[])
    reads = AsyncWebClient(
        token=token,
        base_url=base_url,
        session=session,
        retry_handlers=[
            AsyncConnectionErrorRetryHandler(max_retry_count=1),
            AsyncServerErrorRetryHandler(max_retry_count=1),
        ],
    )
    return writes, reads


async def connect(token: str, base_url: str, session: aiohttp.ClientSession) -> Workspace:
    """The workspace that `token` belongs to, checked with auth.test.

    Bolt asks lazily at the first event and loses that event when the token is wrong. Raises
    AuthFailed for a bad token, another SlackError when Slack cannot be reached.
    """
    writes, reads = clients(token, base_url, session)
    answer = await call("auth.test", reads.auth_test)
    identity = Identity(
        team=str(answer.get("team_id") or ""),
        team_name=str(answer.get("team") or ""),
        bot_user_id=str(answer.get("user_id") or ""),
        bot_id=answer.get("bot_id"),
        enterprise=answer.get("enterprise_id"),
    )
    return Workspace(identity, writes, reads)


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


def new_session() -> aiohttp.ClientSession:
    """The one HTTP session for all calls to Slack; its owner closes it.

    `timeout` of the SDK is ignored when a session is given, so the limit is set here.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, connect=5.0),
        connector=aiohttp.TCPConnector(limit=200, keepalive_timeout=30.0),
    )


async def call(method: str, send: Callable[[], Awaitable[Any]]) -> Mapping[str, Any]:
    """Send one call; the answer as a mapping. Raises a SlackError in every other case."""
    try:
        answer = await _answer(method, send)
    except SlackError as error:
        metrics.SLACK_CALLS.labels(method, type(error).__name__).inc()
        raise
    metrics.SLACK_CALLS.labels(method, "ok").inc()
    return answer


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


def _messages(response: Mapping[str, Any]) -> list[SlackMessage]:
    found = response.get("messages")
    return [message for message in found if isinstance(message, dict)] if found else []


def _next_cursor(response: Mapping[str, Any]) -> str | None:
    metadata = response.get("response_metadata")
    cursor = metadata.get("next_cursor") if isinstance(metadata, Mapping) else None
    return str(cursor) if cursor else None
