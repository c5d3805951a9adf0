"""The bot's calls in one workspace, typed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import AuthFailed, MessageGone, Transient
from bot.slack.calls import call
from bot.slack.downloads import Downloads
from bot.slack.mark import Mark

SlackMessage = dict[str, Any]
"""A message as Slack's history shows it."""

SlackFile = dict[str, Any]
"""A file as Slack describes it: docs.slack.dev/reference/objects/file-object."""

Page = tuple[list[SlackMessage], str | None]
"""Messages, and the cursor of the next page."""

PAGE: Final = 200
LOOKUP_PAGES: Final = 5
NAME_SCOPES: Final = frozenset({"channels:read", "groups:read"})
"""Where a conversation has a name, one of these tells it. For a group of people it would take
mpim:read, only to be told that there is none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is in a workspace (auth.test)."""

    team: str
    team_name: str
    bot_user_id: str
    bot_id: str | None
    enterprise: str | None = None
    scopes: frozenset[str] | None = None
    """What the token may do, if Slack told."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a workspace (users.info)."""

    name: str
    utc_offset_s: int | None = None
    """Seconds by which their clock is ahead of UTC; None where Slack does not tell."""


class Workspace:
    """The bot's calls in one workspace."""

    def __init__(
        self,
        identity: Identity,
        writes: AsyncWebClient,
        reads: AsyncWebClient,
        downloads: Downloads,
    ) -> None:
        self.identity = identity
        self._writes = writes
        self._reads = reads
        self._downloads = downloads

    def is_own(self, message: SlackMessage) -> bool:
        """Whether the bot itself has written `message`."""
        bot_id = message.get("bot_id")
        return message.get("user") == self.identity.bot_user_id or (
            bot_id is not None and bot_id == self.identity.bot_id
        )

    def mark_of(self, message: SlackMessage) -> Mark | None:
        """The mark of one of the bot's own messages; None for any other, since every app can write
        the same metadata (another installation of this bot does)."""
        return Mark.of(message) if self.is_own(message) else None

    def may_be_a_stream(self, message: SlackMessage) -> bool:
        """Whether the bot has written it as a native stream that was not stopped rightly: until
        its stop it carries no mark, and nothing else of the bot's is without."""
        is_plain = not message.get("files") and message.get("subtype") in (None, "bot_message")
        return is_plain and self.is_own(message) and Mark.of(message) is None

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

    async def start_stream(
        self, channel: str, thread_ts: str, text: str, *, user: str, team: str
    ) -> str:
        """Begin a native stream with `text` in a thread, for `user` of `team` to read; its ts.

        Slack closes it some five minutes later. docs.slack.dev/reference/methods/chat.startStream
        Raises Doubtful when it may have begun all the same.
        """
        response = await call(
            "chat.startStream",
            lambda: self._writes.chat_startStream(
                channel=channel,
                thread_ts=thread_ts,
                markdown_text=text,
                recipient_user_id=user,
                recipient_team_id=team,
            ),
        )
        return str(response["ts"])

    async def append_stream(self, channel: str, ts: str, text: str) -> None:
        """Add `text` to an open stream, for good: it is never to be sent again."""
        await call(
            "chat.appendStream",
            lambda: self._writes.chat_appendStream(channel=channel, ts=ts, markdown_text=text),
        )

    async def stop_stream(
        self,
        channel: str,
        ts: str,
        text: str = "",
        *,
        blocks: list[dict[str, Any]] | None = None,
        mark: Mark | None = None,
    ) -> None:
        """End a stream: its message is one like any other then. `text` is added, `blocks` stand
        under it."""
        await call(
            "chat.stopStream",
            lambda: self._writes.chat_stopStream(
                channel=channel,
                ts=ts,
                markdown_text=text or None,
                blocks=blocks or None,
                metadata=mark.metadata() if mark else None,
            ),
        )

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
    ) -> Page:
        """One page of a thread, oldest first, the root on every page; and the next cursor."""
        return await _page(
            "conversations.replies",
            self._reads.conversations_replies,
            channel=channel,
            ts=thread_ts,
            oldest=oldest,
            latest=latest,
            limit=limit,
            cursor=cursor,
        )

    async def history_page(
        self,
        channel: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> Page:
        """One page of a channel outside its threads, newest first; and the next cursor."""
        return await _page(
            "conversations.history",
            self._reads.conversations_history,
            channel=channel,
            oldest=oldest,
            latest=latest,
            limit=limit,
            cursor=cursor,
        )

    async def since(
        self,
        channel: str,
        thread_ts: str | None,
        oldest: str,
        *,
        latest: str | None = None,
        slot: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[SlackMessage]:
        """The messages from `oldest` to `latest`: of a thread, or of the channel outside threads.

        `slot()` waits for the budget before each page; Transient is raised if it gives none.
        """
        cursor: str | None = None
        for _ in range(LOOKUP_PAGES):
            if not await slot():
                raise Transient("conversations.replies", "no_slot")
            if thread_ts is not None:
                page, cursor = await self.thread_page(
                    channel, thread_ts, oldest=oldest, latest=latest, cursor=cursor
                )
            else:
                page, cursor = await self.history_page(
                    channel, oldest=oldest, latest=latest, cursor=cursor
                )
            for message in page:
                yield message
            if cursor is None:
                return

    async def file_info(self, file_id: str) -> SlackFile:
        """What Slack knows of a file; a message from another organisation has only its id."""
        response = await call("files.info", lambda: self._reads.files_info(file=file_id))
        found = response.get("file")
        return found if isinstance(found, dict) else {}

    async def download(self, file: SlackFile, max_bytes: int) -> bytes:
        """The content of a file, of at most `max_bytes`. Raises FileUnread with the reason."""
        return await self._downloads.content(file, max_bytes)

    async def channel_name(self, channel: str, *, only_public: bool = False) -> str:
        """How a channel is called, "" for a conversation without a name of its own, or one that
        not everybody may know of."""
        try:
            response = await call(
                "conversations.info", lambda: self._reads.conversations_info(channel=channel)
            )
        except AuthFailed as error:
            scopes = self.identity.scopes or frozenset()
            if error.code == "missing_scope" and scopes >= NAME_SCOPES:
                return ""
            raise
        found = response.get("channel")
        if not isinstance(found, Mapping) or found.get("is_mpim") or found.get("is_im"):
            return ""
        if only_public and found.get("is_private") is not False:
            return ""
        return str(found.get("name") or "")

    async def person(self, user: str) -> Person:
        """Who somebody is: display name, else real name, else the id; and their time zone now."""
        response = await call("users.info", lambda: self._reads.users_info(user=user))
        found = response.get("user")
        record = found if isinstance(found, Mapping) else {}
        profile = record.get("profile")
        profile = profile if isinstance(profile, Mapping) else {}
        offset = record.get("tz_offset")
        offset_s = offset if isinstance(offset, int) and abs(offset) <= 86_400 else None
        for value in (profile.get("display_name"), profile.get("real_name"), record.get("name")):
            if isinstance(value, str) and value.strip():
                return Person(value.strip(), offset_s)
        return Person(user, offset_s)


async def _page(method: str, read: Callable[..., Awaitable[Any]], **asked: Any) -> Page:
    response = await call(method, lambda: read(inclusive=True, include_all_metadata=True, **asked))
    found = response.get("messages")
    metadata = response.get("response_metadata")
    cursor = metadata.get("next_cursor") if isinstance(metadata, Mapping) else None
    messages = [message for message in found if isinstance(message, dict)] if found else []
    return messages, str(cursor) if cursor else None
