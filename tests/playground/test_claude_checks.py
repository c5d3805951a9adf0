"""What the scripted Claude refuses, as the API of version 2026-10-21 does."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from math import inf
from typing import Any

import aiohttp
import anthropic
import pytest
from anthropic import AsyncAnthropic, DefaultAioHttpClient

from bot.playground.claude import Reply, ScriptedClaude

MODEL = "claude-sonnet-5-5"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
PDF = base64.b64encode(b"%PDF-1.7 ...").decode()
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


def user(content: Any = "Hi") -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: Any = "Hello") -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def image(media_type: str, data: str) -> dict[str, Any]:
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source}


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source}


GOOD: dict[str, Any] = {"model": MODEL, "max_tokens": 1000, "messages": [user()]}


async def post(
    claude: ScriptedClaude, body: Any, *, headers: dict[str, str] | None = None, path: str = ""
) -> tuple[int, str]:
    """The status and the error message of a request that may be anything."""
    url = f"{claude.base_url}/v1/messages{path}"
    async with aiohttp.ClientSession() as session:
        sent = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {"json": body}
        use = HEADERS if headers is None else headers
        async with session.post(url, headers=use, **sent) as response:
            answer = await response.json()
            return response.status, str(answer.get("error", {}).get("message", ""))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"system": "Be brief."}, id="a system prompt"),
        pytest.param({"system": [text("Be brief.")]}, id="a system prompt in blocks"),
        pytest.param({"system": ""}, id="an empty system prompt"),
        pytest.param({"thinking": {"type": "adaptive", "display": "omitted"}}, id="thinking"),
        pytest.param({"thinking": {"type": "between_tools"}}, id="thinking between tools"),
        pytest.param({"output_config": {"effort": "low"}}, id="effort"),
        pytest.param({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, id="caching"),
        pytest.param({"metadata": {"user_id": "9f86d081884c7d65"}}, id="a hashed user"),
        pytest.param({"max_tokens": 128_000}, id="the most tokens"),
        pytest.param({"messages": [user(), user("And?")]}, id="two user turns in a row"),
        pytest.param({"messages": [user(), said(), user()]}, id="a conversation"),
        pytest.param(
            {"messages": [user(), {"role": "system", "content": "It is late."}, user()]},
            id="a system message in the middle",
        ),
        pytest.param({"messages": [user([image("image/png", PNG), text("?")])]}, id="an image"),
        pytest.param(
            {"messages": [user([document(type="base64", media_type="application/pdf", data=PDF)])]},
            id="a PDF",
        ),
        pytest.param(
            {"messages": [user([document(type="text", media_type="text/plain", data="x")])]},
            id="a text",
        ),
    ],
)
async def test_good_requests_are_answered(claude: ScriptedClaude, more: dict[str, Any]) -> None:
    assert await post(claude, GOOD | more) == (200, "")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"temperature": 1.0}, "temperature: Extra inputs are not permitted"),
        ({"top_p": 1.0}, "top_p: Extra inputs are not permitted"),
        ({"top_k": 5}, "top_k: Extra inputs are not permitted"),
        ({"fallbacks": "default"}, "fallbacks: Extra inputs are not permitted"),
        ({"max_tokens": 128_001}, "max_tokens: 128001 > 128000"),
        ({"max_tokens": "1000"}, "max_tokens: Input should be a valid integer"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "Hi"}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "bot", "content": "Hi"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [user() | {"name": "ada"}]}, "messages.0.name: Extra inputs"),
        ({"messages": [user(), said()]}, "does not support assistant message prefill"),
        ({"messages": [{"role": "system", "content": "Hi"}, user()]}, "not allowed for the first"),
        (
            {"messages": [user(), {"role": "system", "content": "Hi"}]},
            "must end with a user message",
        ),
        ({"messages": [user("")]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [user([])]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [user(), said(""), user()]}, "messages.1: all messages must have non-empty"),
        ({"messages": [user([text("")])]}, "text content blocks must be non-empty"),
        ({"messages": [user([text(" \n")])]}, "must contain non-whitespace text"),
        ({"messages": [user(" ")]}, "must contain non-whitespace text"),
        ({"messages": [user([text("Hi", user="ada")])]}, "text.user: Extra inputs"),
        ({"messages": [user([text("Hi", citations=[{}])])]}, "citations are not permitted"),
        ({"messages": [user([{"type": "video"}])]}, "Input tag 'video' found"),
        (
            {"messages": [user(), said([document(type="text", data="x")]), user()]},
            "Input tag 'document' found",
        ),
        ({"system": [text("")]}, "system.0: text content blocks must be non-empty"),
        ({"system": 5}, "system: Input should be a valid string or list"),
        ({"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported'),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            '"thinking.type.enabled" is not supported for this model',
        ),
        ({"thinking": {"type": "between_tools", "display": "omitted"}}, "Extra inputs"),
        (
            {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}},
            'is not supported with effort "max"',
        ),
        (
            {"model": "claude-opus-5-5", "thinking": {"type": "disabled"}},
            '"thinking.type.disabled" is not supported',
        ),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'low'"),
        ({"output_config": {"effect": "low"}}, "output_config.effect: Extra inputs"),
        ({"cache_control": {"type": "eternal"}}, "cache_control.type: Input should be 'ephemeral'"),
        ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "ttl: Input should be '5m' or"),
        ({"metadata": {"user_id": "U0ADALOVE"}}, "identifying information"),
        ({"metadata": {"user_id": "slack:T0EMULATOR:U0ADA"}}, "identifying information"),
        ({"metadata": {"user_id": "ada@example.org"}}, "identifying information"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id: Input should be a valid string"),
        ({"metadata": {"team": "x"}}, "metadata.team: Extra inputs"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"speed": "fast"}, "fast mode is not supported"),
        ({"service_tier": "gold"}, "service_tier: Input should be"),
        ({"stop_sequences": [" "]}, "each stop sequence must contain non-whitespace"),
        ({"tool_choice": {"type": "any"}}, '"tool" and "any" are not supported'),
        ({"messages": [user([image("image/png", PDF)])]}, "specified using the image/png"),
        ({"messages": [user([image("image/tiff", PNG)])]}, "media_type: Input should be"),
        ({"messages": [user([image("image/png", "%%")])]}, "invalid base64 data"),
        (
            {"messages": [user([document(type="base64", media_type="application/pdf", data=PNG)])]},
            "The PDF specified was not valid",
        ),
        (
            {"messages": [user([document(type="base64", media_type="text/csv", data=PNG)])]},
            "media_type: Input should be 'application/pdf'",
        ),
        (
            {"messages": [user([document(type="url", url="https://files.slack.com/x.pdf")])]},
            "Unable to download the file",
        ),
        (
            {"messages": [user([text("x", cache_control={"type": "ephemeral"})])] * 5},
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
    ],
)
async def test_bad_requests_are_refused_with_the_reason(
    claude: ScriptedClaude, more: dict[str, Any], message: str
) -> None:
    status, said_why = await post(claude, GOOD | more)
    assert status == 400
    assert message in said_why
    assert claude.requests[0].status == 400


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
async def test_required_parameters_are_required(claude: ScriptedClaude, name: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != name}
    assert await post(claude, body) == (400, f"{name}: Field required")


async def test_a_body_that_is_not_an_object_is_refused(claude: ScriptedClaude) -> None:
    assert await post(claude, b"{") == (400, "The request body is not valid JSON")
    assert await post(claude, b"[]") == (400, "Input should be an object")


async def test_the_key_goes_into_the_authorization_header(claude: ScriptedClaude) -> None:
    version = {"anthropic-version": "2026-10-21"}
    status, _ = await post(claude, GOOD, headers=version | {"X-Api-Key": claude.api_key})
    assert status == 401
    status, _ = await post(claude, GOOD, headers=version | {"Authorization": "Bearer wrong"})
    assert status == 401
    assert [request.status for request in claude.requests] == [401, 401]


async def test_a_wrong_key_is_an_authentication_error(claude: ScriptedClaude) -> None:
    async with AsyncAnthropic(api_key="wrong", base_url=claude.base_url) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**GOOD)


async def test_the_version_header_is_required(claude: ScriptedClaude) -> None:
    key = {"Authorization": f"Bearer {claude.api_key}"}
    assert await post(claude, GOOD, headers=key) == (400, "anthropic-version: header is required")
    status, _ = await post(claude, GOOD, headers=key | {"anthropic-version": "1999-01-01"})
    assert status == 400


async def test_the_old_version_still_takes_sampling_parameters(claude: ScriptedClaude) -> None:
    old = HEADERS | {"anthropic-version": "2023-06-01"}
    assert await post(claude, GOOD | {"temperature": 1.0}, headers=old) == (200, "")


@pytest.mark.parametrize("model", ["claude-3-opus-20240229", "claude-sonnet-5-5-20260928", "gpt"])
async def test_unknown_and_retired_models_are_not_found(claude: ScriptedClaude, model: str) -> None:
    assert await post(claude, GOOD | {"model": model}) == (404, f"model: {model}")


async def test_an_unknown_model_is_the_clients_not_found_error(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.messages.create(**(GOOD | {"model": "claude-sonnet-9"}))
    assert caught.value.type == "not_found_error"


async def test_a_prompt_over_the_window_is_too_long(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.context_tokens = 50
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: .* > 50 maximum"):
        await client.messages.create(**(GOOD | {"messages": [user("x" * 400)]}))


async def test_a_body_over_32_megabytes_is_too_large(claude: ScriptedClaude) -> None:
    status, _ = await post(claude, b'{"x": "' + b"x" * 33 * 1024 * 1024 + b'"}')
    assert status == 413
    assert claude.requests[0].status == 413


async def test_the_models_are_listed_with_what_they_can_do(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    model = await client.models.retrieve(MODEL)
    assert model.id == MODEL
    assert model.lifecycle == "active"
    assert model.max_tokens == 128_000
    assert model.capabilities is not None
    types = model.capabilities.thinking.types
    assert types.between_tools.supported and not types.disabled.supported
    listed = {model.id: model async for model in client.models.list(lifecycle=["active"])}
    assert "claude-haiku-5-5" in listed
    assert "claude-sonnet-4-5-20250929" not in listed
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("claude-2")


async def test_tokens_are_counted_with_the_same_checks(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    count = await client.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "x" * 400}], system="y" * 40
    )
    assert 110 <= count.input_tokens <= 120
    status, why = await post(claude, GOOD, path="/count_tokens")
    assert (status, why) == (400, "max_tokens: Extra inputs are not permitted")
    assert claude.requests == []


async def test_unknown_paths_answer_in_the_apis_shape(claude: ScriptedClaude) -> None:
    status, why = await post(claude, GOOD, path="/batches")
    assert status == 404
    assert why


async def test_a_refused_request_uses_up_no_reply(
    claude: ScriptedClaude, client: AsyncAnthropic
) -> None:
    claude.script(Reply("Mine."))
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.create(**(GOOD | {"messages": []}))
    message = await client.messages.create(**GOOD)
    assert message.content[0].type == "text"
    assert message.content[0].text == "Mine."
