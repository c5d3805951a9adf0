"""The bot that tutorials write, to compare with: a placeholder, then an edit a second per reply.

It knows nothing of a budget: Slack refuses what is too much, and the SDK's own handler waits as
long as Slack says and tries again. Kinder than most: a refused edit does not end the reply, a
retry is tried often, and long texts go into a `markdown` block.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any, Final

from anthropic import AsyncAnthropic
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

EDIT_EVERY_S: Final = 1.0
RETRIES: Final = 20
MOST_CHARACTERS: Final = 11_000
TEXT_CHARACTERS: Final = 3_000

app = AsyncApp(
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
    client=AsyncWebClient(
        token=os.environ["SLACK_BOT_TOKEN"],
        base_url=os.environ["SLACK_API_URL"],
        retry_handlers=[AsyncRateLimitErrorRetryHandler(max_retry_count=RETRIES)],
    ),
)
claude = AsyncAnthropic()


@app.event("app_mention")
async def answer(event: dict[str, Any], client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(
        channel=event["channel"], thread_ts=event["ts"], text="Thinking…"
    )
    text, edited_at = "", 0.0
    async with claude.messages.stream(
        model="claude-sonnet-5-5",
        max_tokens=16_000,
        messages=[{"role": "user", "content": event["text"]}],
    ) as stream:
        async for delta in stream.text_stream:
            text += delta
            if time.monotonic() - edited_at >= EDIT_EVERY_S:
                with suppress(SlackApiError):
                    await show(client, posted, text)
                edited_at = time.monotonic()
    await show(client, posted, text)


async def show(client: AsyncWebClient, posted: Any, text: str) -> None:
    await client.chat_update(
        channel=posted["channel"],
        ts=posted["ts"],
        text=text[:TEXT_CHARACTERS],
        blocks=[{"type": "markdown", "text": text[:MOST_CHARACTERS]}],
    )


if __name__ == "__main__":
    app.start(port=int(os.environ["PORT"]), host="127.0.0.1")
