"""The scripted Claude's streams, read by the real client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from math import inf
from typing import Any

import aiohttp
import anthropic
import pytest
from anthropic import AsyncAnthropic, DefaultAioHttpClient

from bot.playground.claude import Reply, ScriptedClaude

MODEL = "claude-sonnet-5-5"
ASK: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 16_000,
    "messages": [{"role": "user", "content": "What is a seam?"}],
}
HEADERS = {"Authorization": "Bearer sk-ant-scripted", "anthropic-version": "2026-10-21"}


@pytest.fixture
async def claude() -> AsyncIterator[ScriptedClaude]:
    async with ScriptedClaude(tokens_per_second=inf) as server:
        yield server


@pytest.fixture
async def client(claude: ScriptedClaude) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        api_key=claude.api_key,
        base_url=claude.base_url,
        http_client=DefaultAioHttpClient(),
        max_retries=0,
    ) as real:
        yield real


async def raw(claude: ScriptedClaude) -> str:
    """The body of a stream as it comes over the wire."""
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.post(f"{claude.base_url}/v1/messages", json=ASK | {"stream": True}) as response,
    ):
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["request-id"].startswith("req_")
        assert "anthropic-ratelimit-tokens-remaining" in response.headers
        return await response.text()


async def test_a_reply_arrives_whole_with_its_stop_reason(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    text = "Ein Saum, 縫い目, un ourlet 🪡 — where two parts meet.\n" * 40
    claude.script(Reply(text))
    async with client.messages.stream(**ASK) as stream:
        message = await stream.get_final_message()
        assert stream.request_id is not None
    assert message.content[0].type == "text"
    assert message.content[0].text == text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == -(-len(text) // 4)
    assert message.usage.cache_read_input_tokens == 0
    request = claude.requests[0]
    assert request.finished and not request.closed_by_client
    assert request.sent_text == text
    assert request.last_user_text == "What is a seam?"


async def test_events_come_in_the_order_of_the_documentation(claude: ScriptedClaude) -> None:
    claude.script(Reply("Hello"))
    records = (await raw(claude)).removesuffix("\n\n").split("\n\n")
    names = []
    for record in records:
        event, data = record.split("\n")
        names.append(event.removeprefix("event: "))
        assert json.loads(data.removeprefix("data: "))["type"] == names[-1]
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_an_empty_reply_has_no_content_block(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(""))
    async with client.messages.stream(**ASK) as stream:
        message = await stream.get_final_message()
    assert message.content == []
    assert message.stop_reason == "end_turn"


async def test_a_thinking_block_comes_first_and_is_empty(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("So.", thinking=True, thinking_s=0.02))
    async with client.messages.stream(**ASK) as stream:
        seen = [event async for event in stream]
        message = await stream.get_final_message()
    starts = [event.content_block.type for event in seen if event.type == "content_block_start"]
    assert starts == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking == ""
    assert message.content[0].signature
    details = message.usage.output_tokens_details
    assert details is not None and details.thinking_tokens > 0


async def test_explicit_chunks_are_sent_as_they_are(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    chunks = ["a", "bcdefghijklmnop", "", "<!chan", "nel>"]
    claude.script(Reply(chunks=chunks))
    deltas = []
    async for event in await client.messages.create(stream=True, **ASK):
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            deltas.append(event.delta.text)
    assert deltas == chunks


async def test_one_token_is_one_delta_at_reading_speed(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("abcd" * 12, tokens_per_second=90))
    deltas = []
    started = asyncio.get_running_loop().time()
    async for event in await client.messages.create(stream=True, **ASK):
        if event.type == "content_block_delta":
            deltas.append(event)
    assert len(deltas) >= 8
    assert asyncio.get_running_loop().time() - started > 0.09


async def test_a_speed_of_zero_holds_the_stream_until_it_is_raised(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.tokens_per_second = 0
    claude.script(Reply("x" * 400))
    reading = asyncio.create_task(client.messages.create(stream=True, **ASK))
    stream = await reading
    await claude.wait_for(lambda: claude.requests and claude.requests[0].sent_text)
    assert len(claude.requests[0].sent_text) < 10
    claude.tokens_per_second = inf
    await stream.response.aread()
    assert claude.requests[0].sent_text == "x" * 400


async def test_a_fast_reply_shares_deltas_and_keeps_its_speed(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("abcd" * 600, tokens_per_second=3_000))
    started = asyncio.get_running_loop().time()
    count = 0
    async for event in await client.messages.create(stream=True, **ASK):
        count += event.type == "content_block_delta"
    took_s = asyncio.get_running_loop().time() - started
    assert 10 <= count <= 60
    assert 0.1 < took_s < 1.0


async def test_pings_come_while_it_thinks(claude: ScriptedClaude) -> None:
    claude.script(Reply("So.", thinking=True, thinking_s=0.1, pings_every_s=0.02))
    assert (await raw(claude)).count("event: ping") >= 4


async def test_a_client_that_leaves_is_noticed_at_once(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("x" * 10_000, tokens_per_second=50))
    async with client.messages.stream(**ASK) as stream:
        async for event in stream:
            if event.type == "text":
                assert claude.open_streams == 1
                break
    await claude.wait_for(lambda: claude.requests[0].closed_by_client, timeout_s=0.5)
    assert claude.open_streams == 0
    assert claude.peak_streams == 1
    assert not claude.requests[0].finished


async def test_a_client_that_leaves_a_silent_stream_is_noticed(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("x", first_token_s=600))
    stream = await client.messages.create(stream=True, **ASK)
    assert claude.open_streams == 1
    await stream.close()
    await claude.wait_for(lambda: claude.requests[0].closed_by_client, timeout_s=0.5)
    assert claude.open_streams == 0


async def test_stopping_the_server_breaks_streams_off_without_blaming_the_client() -> None:
    claude = ScriptedClaude()
    await claude.start()
    claude.script(Reply("x", first_token_s=600))
    async with AsyncAnthropic(
        api_key=claude.api_key, base_url=claude.base_url, http_client=DefaultAioHttpClient()
    ) as client:
        stream = await client.messages.create(stream=True, **ASK)
        await claude.stop()
        assert not claude.requests[0].closed_by_client
        assert claude.open_streams == 0
        await stream.close()


async def test_max_tokens_cuts_the_text_and_counts_thinking(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("abcd" * 50), Reply("abcd" * 50, thinking=True))
    async with client.messages.stream(**(ASK | {"max_tokens": 10})) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 10
    async with client.messages.stream(**(ASK | {"max_tokens": 10})) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking"]
    assert message.stop_reason == "max_tokens"


async def test_a_full_window_ends_with_its_own_stop_reason(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.context_tokens = 100
    claude.script(Reply("abcd" * 500))
    async with client.messages.stream(**ASK) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "model_context_window_exceeded"


async def test_a_refusal_says_something_in_stop_details(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    claude.script(Reply("Well", stop_reason="refusal", stop_details=details))
    async with client.messages.stream(**ASK) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.category == "cyber"


async def test_without_stream_the_whole_message_comes_at_once(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("All of it.", thinking=True, model="claude-sonnet-5-5-x"))
    message = await client.messages.create(**ASK)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.stop_reason == "end_turn"
    assert message.model == "claude-sonnet-5-5-x"
    assert claude.requests[0].finished
    assert claude.requests[0].sent_text == "All of it."


async def test_replies_are_chosen_by_text_by_predicate_and_in_order(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    def is_haiku(body: dict[str, Any]) -> bool:
        return "haiku" in str(body["model"])

    claude.script(
        Reply("seam", when="seam", keep=True),
        Reply("haiku", when=is_haiku),
        Reply("first"),
        Reply("second"),
    )

    async def ask(text: str, model: str = MODEL) -> str:
        message = await client.messages.create(
            model=model, max_tokens=100, messages=[{"role": "user", "content": text}]
        )
        assert message.content[0].type == "text"
        return message.content[0].text

    assert await ask("a seam") == "seam"
    assert await ask("a seam", "claude-haiku-5-5") == "seam"
    assert await ask("?", "claude-haiku-5-5") == "haiku"
    assert await ask("?") == "first"
    assert await ask("?") == "second"
    assert "> why?" in await ask("why?")


async def test_the_default_reply_to_a_long_question_is_long(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    messages = [{"role": "user", "content": "Give me a long answer"}]
    async with client.messages.stream(**(ASK | {"messages": messages})) as stream:
        text = await stream.get_final_text()
    assert 24_900 < len(text) <= 25_000
    assert text.endswith(".")
    assert text.count("```") % 2 == 0


@pytest.mark.parametrize(
    ("status", "error", "error_type"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
async def test_an_error_status_becomes_the_clients_error(
    claude: ScriptedClaude,
    client: AsyncAnthropic,
    status: int,
    error: type[anthropic.APIStatusError],
    error_type: str,
) -> None:
    claude.script(Reply(status=status, error_message="No", headers={"x-extra": "1"}))
    with pytest.raises(error) as caught:
        await client.messages.create(stream=True, **ASK)
    assert caught.value.status_code == status
    assert caught.value.type == error_type
    assert caught.value.api_message == "No"
    assert caught.value.request_id is not None
    assert caught.value.response.headers["x-extra"] == "1"
    assert claude.requests[0].status == status
    assert not claude.requests[0].finished


async def test_a_rate_limit_carries_retry_after_and_the_client_obeys_it(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(status=429, retry_after=0.05), Reply("Now."))
    message = await client.with_options(max_retries=1).messages.create(**ASK)
    assert message.content[0].type == "text"
    assert [request.status for request in claude.requests] == [429, 200]
    assert claude.requests[1].at - claude.requests[0].at >= 0.05


async def test_an_error_code_reaches_the_client(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(status=429, error_code="enforced_spend_limit_reached"))
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.messages.create(stream=True, **ASK)
    assert caught.value.error_code == "enforced_spend_limit_reached"


async def test_waiting_in_vain_tells_what_was_seen(claude: ScriptedClaude) -> None:
    with pytest.raises(TimeoutError, match="the last requests: none"):
        await claude.wait_for(lambda: False, timeout_s=0.01)
