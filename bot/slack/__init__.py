"""Every call that carries a Slack token, typed; Slack's answers become our errors.

One aiohttp session is shared by all calls. Writes are never retried by the SDK: its default handler
repeats a `chat.postMessage` whose connection broke after Slack had accepted it, and its rate-limit
handler sleeps where no budget can see it. Reads may be repeated safely, so they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.calls import call, patiently
from bot.slack.downloads import Downloads
from bot.slack.mark import Mark
from bot.slack.workspace import Identity, Person, SlackFile, SlackMessage, Workspace

CALL_TIMEOUT_S: Final = 10.0


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
    headers: Mapping[str, str] = {}

    async def auth_test() -> AsyncSlackResponse:
        nonlocal headers
        response = await reads.auth_test()
        headers = response.headers
        return response

    answer = await call("auth.test", auth_test)
    scopes = headers.get("x-oauth-scopes")
    identity = Identity(
        team=str(answer.get("team_id") or ""),
        team_name=str(answer.get("team") or ""),
        bot_user_id=str(answer.get("user_id") or ""),
        bot_id=answer.get("bot_id"),
        enterprise=answer.get("enterprise_id"),
        scopes=None if scopes is None else frozenset(scopes.replace(",", " ").split()),
    )
    return Workspace(identity, writes, reads, Downloads(token, base_url, session))


def new_session() -> aiohttp.ClientSession:
    """The one HTTP session for all calls to Slack; its owner closes it.

    `timeout` of the SDK is ignored when a session is given, so the limit is set here.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, connect=5.0),
        connector=aiohttp.TCPConnector(limit=200, keepalive_timeout=30.0),
    )


__all__ = [
    "Identity",
    "Mark",
    "Person",
    "Slack",
    "SlackFile",
    "SlackMessage",
    "Workspace",
    "call",
    "connect",
    "new_session",
    "patiently",
]
