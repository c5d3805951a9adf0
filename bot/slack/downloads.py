"""Files of people, downloaded with the bot token: from Slack's hosts and no others."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from bot import logs
from bot.errors import FileUnread

log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_S: Final = 30.0
SILENCE_TIMEOUT_S: Final = 10.0
REDIRECTS: Final = 5
TRIES: Final = 2
CHUNK_BYTES: Final = 64 * 1024
HOSTS: Final = ("slack.com", "slack-files.com", "slack-edge.com")
"""They and what is below them. Slack does not document the list; these are seen in practice."""

_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s|<\?[^>]*>|<!--.*?-->)*+<(?:!doctype\s+html|html)\b", re.I | re.S
)
"""How a page begins; a mark of the encoding and comments may stand before it."""

ELSEWHERE: Final = "it is not stored at Slack"
GONE: Final = "it was deleted"
NOT_ALLOWED: Final = "Slack does not let me read it"
UNREACHABLE: Final = "Slack did not deliver it"
TOO_SLOW: Final = "it took too long to download"


def too_large(max_bytes: int) -> str:
    """The reason for a file over the limit."""
    return f"larger than {max_bytes / 1_000_000:g} MB"


class Downloads:
    """Sends the token to https hosts of Slack; besides those only to where the Web API is."""

    def __init__(self, token: str, api_url: str, session: aiohttp.ClientSession) -> None:
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        self._api = URL(api_url)
        self._session = session

    async def content(self, file: Mapping[str, Any], max_bytes: int) -> bytes:
        """The bytes of `file`, at most `max_bytes`, within 30 s. Raises FileUnread."""
        address = file.get("url_private_download") or file.get("url_private")
        if not isinstance(address, str) or not address:
            raise FileUnread(NOT_ALLOWED)
        size = file.get("size")
        if isinstance(size, int) and size > max_bytes:
            raise FileUnread(too_large(max_bytes))
        try:
            async with asyncio.timeout(DOWNLOAD_TIMEOUT_S):
                for _ in range(TRIES - 1):
                    try:
                        return await self._follow(address, file, max_bytes)
                    except (aiohttp.ClientError, OSError) as error:
                        logs.warning(log, "download_broke", kind=type(error).__name__)
                return await self._follow(address, file, max_bytes)
        except TimeoutError as error:
            raise FileUnread(TOO_SLOW) from error
        except (aiohttp.ClientError, OSError) as error:
            raise FileUnread(UNREACHABLE) from error

    async def _follow(self, address: str, file: Mapping[str, Any], max_bytes: int) -> bytes:
        """Redirects are followed by hand: aiohttp drops the token on the way to Slack's other
        hosts, and any other client may carry it to a host that is not Slack's."""
        url = self._checked(address)
        for _ in range(REDIRECTS + 1):
            async with self._session.get(
                url,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=5.0, sock_read=SILENCE_TIMEOUT_S
                ),
            ) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    return await self._read(response, file, max_bytes)
                url = self._checked(response.headers.get("Location", ""), url)
        raise FileUnread(UNREACHABLE)

    def _checked(self, address: str, base: URL | None = None) -> URL:
        """The address if the token may go there. What is checked is what connects: one parser."""
        try:
            url = URL(address) if base is None else base.join(URL(address))
        except ValueError as error:
            raise FileUnread(ELSEWHERE) from error
        host = url.host or ""
        is_slack = (
            url.scheme == "https"
            and url.port == 443
            and any(host == known or host.endswith(f".{known}") for known in HOSTS)
        )
        is_api = (url.scheme, host, url.port) == (self._api.scheme, self._api.host, self._api.port)
        if not (is_slack or is_api) or url.user is not None or url.password is not None:
            logs.warning(log, "download_refused", host=host)
            raise FileUnread(ELSEWHERE)
        return url

    async def _read(
        self, response: aiohttp.ClientResponse, file: Mapping[str, Any], max_bytes: int
    ) -> bytes:
        if response.status in (404, 410):
            raise FileUnread(GONE)
        if response.status in (401, 403):
            raise FileUnread(NOT_ALLOWED)
        if response.status != 200:
            # A server's error or a 429; tried again once, as a broken connection is.
            raise aiohttp.ClientPayloadError(f"status {response.status}")
        if (response.content_length or 0) > max_bytes:
            raise FileUnread(too_large(max_bytes))
        content = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            content += chunk
            if len(content) > max_bytes:
                raise FileUnread(too_large(max_bytes))
        if response.content_type == "text/html" and _is_sign_in(content, file):
            logs.warning(log, "download_needs_sign_in")
            raise FileUnread(NOT_ALLOWED)
        return bytes(content)


def _is_sign_in(content: bytearray, file: Mapping[str, Any]) -> bool:
    """A page that Slack sends, with status 200, to whoever may not read the file (wrong token,
    scope files:read missing); a file that is itself such a page has the size that Slack told."""
    is_page = _PAGE.match(content[:10_000]) is not None
    is_html = "html" in str(file.get("mimetype")) or file.get("filetype") == "html"
    return is_page and not (is_html and file.get("size") == len(content))
