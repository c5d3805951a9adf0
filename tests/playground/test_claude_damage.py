"""Every damage, as the real client sees it (the SDK's behaviour is the reference)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic, DefaultAioHttpClient

from bot.playground.claude import Damage, Reply, ScriptedClaude

TEXT = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich."
ASK: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 16_000,
    "messages": [{"role": "user", "content": "A pangram?"}],
}


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


@dataclass
class Seen:
    """What came out of a stream: event types, text, the stop reason, the error."""

    types: list[str] = field(default_factory=list)
    text: str = ""
    stop_reason: str | None = None
    error: Exception | None = None


async def watch(client: AsyncAnthropic, **options: Any) -> Seen:
    """Read a stream with create(), the least forgiving way, dispatching on types only."""
    seen = Seen()
    try:
        async for event in await client.messages.create(stream=True, **(ASK | options)):
            seen.types.append(event.type)
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                seen.text += event.delta.text
            if event.type == "message_delta":
                seen.stop_reason = event.delta.stop_reason
    except (anthropic.APIError, httpx2.HTTPError, ValueError) as error:
        seen.error = error
    return seen


@pytest.mark.parametrize("kind", ["cut", "reset", "half_utf8"])
async def test_a_broken_connection_is_a_read_error(
    claude: ScriptedClaude, client: AsyncAnthropic, kind: Any
) -> None:
    claude.script(Reply(TEXT, damage=Damage(kind, at=30)))
    seen = await watch(client)
    assert isinstance(seen.error, httpx2.ReadError)
    assert seen.text == TEXT[:30]
    assert claude.requests[0].sent_text == TEXT[:30]
    await claude.wait_for(lambda: claude.requests[0].ended_at)
    assert not claude.requests[0].finished
    assert not claude.requests[0].closed_by_client
    assert claude.open_streams == 0


async def test_half_a_character_is_really_on_the_wire(claude: ScriptedClaude) -> None:
    claude.script(Reply(TEXT, damage=Damage("half_utf8", at=0)))
    body = b""
    headers = {"Authorization": f"Bearer {claude.api_key}", "anthropic-version": "2026-10-21"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        url = f"{claude.base_url}/v1/messages"
        with pytest.raises(httpx2.RemoteProtocolError):
            async with http.stream("POST", url, json=ASK | {"stream": True}, headers=headers) as r:
                async for data in r.aiter_raw():
                    body += data
    assert body.endswith(b"Zw\xc3")


@pytest.mark.parametrize("kind", ["silent_end", "half_event", "close_delimited"])
async def test_an_end_without_last_events_is_no_error_and_has_no_stop_reason(
    claude: ScriptedClaude, client: AsyncAnthropic, kind: Any
) -> None:
    claude.script(Reply(TEXT, damage=Damage(kind, at=30)), Reply("And again."))
    seen = await watch(client)
    assert seen.error is None
    assert seen.stop_reason is None
    assert seen.text == TEXT[:30]
    assert (await watch(client)).text == "And again."


async def test_a_silent_end_before_message_start_gives_no_event(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("silent_end", at=-1)))
    assert (await watch(client)).types == []


async def test_a_missing_message_stop_leaves_the_stop_reason(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("no_stop_event")))
    seen = await watch(client)
    assert seen.stop_reason == "end_turn"
    assert seen.types[-1] == "message_delta"
    assert seen.text == TEXT


@pytest.mark.parametrize("kind", ["empty", "html"])
async def test_a_200_without_events_gives_no_event_and_no_error(
    claude: ScriptedClaude, client: AsyncAnthropic, kind: Any
) -> None:
    claude.script(Reply(TEXT, damage=Damage(kind)), Reply(TEXT, damage=Damage(kind)))
    seen = await watch(client)
    assert seen.types == []
    assert seen.error is None
    with pytest.raises(AssertionError):
        async with client.messages.stream(**ASK) as stream:
            await stream.get_final_message()


async def test_an_error_event_is_an_api_status_error_with_status_200(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    for error_type in ("overloaded_error", "api_error", "rate_limit_error", "timeout_error"):
        claude.script(Reply(TEXT, damage=Damage("error", at=10, error_type=error_type)))
        seen = await watch(client)
        assert type(seen.error) is anthropic.APIStatusError
        assert seen.error.status_code == 200
        assert seen.error.type == error_type
        assert seen.text == TEXT[:10]


async def test_an_error_event_without_json_has_no_type(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("error_text", at=10, message="upstream gone")))
    seen = await watch(client)
    assert type(seen.error) is anthropic.APIStatusError
    assert seen.error.type is None
    assert seen.error.body == "upstream gone"


async def test_malformed_data_is_a_json_error(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("bad_json", at=10)))
    assert isinstance((await watch(client)).error, json.JSONDecodeError)


async def test_a_stall_lets_the_clients_read_timeout_expire(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("stall", at=10)))
    timeout = httpx2.Timeout(5, read=0.1)
    seen = await watch(client.with_options(timeout=timeout))
    assert isinstance(seen.error, httpx2.ReadTimeout)
    assert seen.text == TEXT[:10]
    await claude.wait_for(lambda: claude.requests[0].closed_by_client)


async def test_pings_keep_the_read_timeout_from_expiring(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    damage = Damage("pings", at=10, seconds=0.4)
    claude.script(Reply(TEXT, damage=damage, pings_every_s=0.05))
    seen = await watch(client.with_options(timeout=httpx2.Timeout(5, read=0.2)))
    assert seen.error is None
    assert seen.text == TEXT


async def test_a_stall_of_some_seconds_goes_on_afterwards(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("stall", at=10, seconds=0.05)))
    seen = await watch(client)
    assert seen.text == TEXT
    assert seen.stop_reason == "end_turn"


async def test_hanging_headers_are_a_timeout_of_the_api(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("hang_headers")))
    seen = await watch(client.with_options(timeout=httpx2.Timeout(5, read=0.1)))
    assert isinstance(seen.error, anthropic.APITimeoutError)
    await claude.wait_for(lambda: claude.requests[0].closed_by_client)
    claude.script(Reply(TEXT, damage=Damage("hang_headers", seconds=0.05)))
    assert (await watch(client)).text == TEXT


@pytest.mark.parametrize("kind", ["unknown_event", "unknown_delta", "unknown_block", "bad_index"])
async def test_what_tomorrow_brings_does_not_end_the_stream(
    claude: ScriptedClaude, client: AsyncAnthropic, kind: Any
) -> None:
    claude.script(Reply(TEXT, damage=Damage(kind, at=10)))
    seen = await watch(client)
    assert seen.error is None
    assert seen.text == TEXT
    assert seen.stop_reason == "end_turn"
    assert ("weather" in seen.types) == (kind == "unknown_event")


async def test_a_bad_index_breaks_the_helper(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("bad_index", at=10)))
    with pytest.raises(IndexError):
        async with client.messages.stream(**ASK) as stream:
            await stream.until_done()


async def test_a_delta_before_the_start_is_passed_through(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("delta_before_start")))
    seen = await watch(client)
    assert seen.types[:2] == ["content_block_delta", "message_start"]
    assert seen.text == TEXT


async def test_records_without_event_lines_are_dropped_by_the_client(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("no_event_line", at=10)))
    seen = await watch(client)
    assert seen.text == TEXT[:10]
    assert seen.stop_reason is None
    assert claude.requests[0].sent_text == TEXT


async def test_several_damages_strike_one_after_the_other(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    damages = [Damage("cut", at=20), Damage("unknown_event", at=5)]
    claude.script(Reply(TEXT, damage=damages))
    seen = await watch(client)
    assert "weather" in seen.types
    assert seen.text == TEXT[:20]
    assert isinstance(seen.error, httpx2.ReadError)


@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_whole_answer_can_break_too(
    claude: ScriptedClaude, client: AsyncAnthropic, kind: Any
) -> None:
    claude.script(Reply(TEXT, damage=Damage(kind)))
    with pytest.raises((anthropic.APIConnectionError, httpx2.HTTPError)):
        await client.messages.create(**ASK)


async def test_an_error_in_a_whole_answer_is_a_status(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply(TEXT, damage=Damage("error")))
    with pytest.raises(anthropic.InternalServerError) as caught:
        await client.messages.create(**ASK)
    assert caught.value.status_code == 529
