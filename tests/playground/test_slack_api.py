"""The Web API's door: tokens, bodies, rates, faults."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.http_retry.builtin_interval_calculators import FixedValueRetryIntervalCalculator
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.slack import Fault, Limits
from bot.playground.slack.limits import Window

from .slack_kit import error_of, room


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        pytest.param({}, "not_authed", id="none"),
        pytest.param({"Authorization": "xoxb-emulator"}, "not_authed", id="no Bearer"),
        pytest.param({"Authorization": "Bearer xoxb-other"}, "invalid_auth", id="wrong"),
        pytest.param({"Authorization": "Bearer xapp-emulator"}, "not_allowed_token_type", id="app"),
        pytest.param({"Authorization": "Bearer xoxb-emulator"}, None, id="right"),
    ],
)
async def test_a_call_needs_the_right_token(headers: dict[str, str], error: str | None) -> None:
    async with room() as space, aiohttp.ClientSession() as session:
        url = f"{space.slack.api_url}auth.test"
        async with session.post(url, headers=headers) as response:
            body = await response.json()
            assert response.status == 200
            assert body.get("error") == error
            assert "chat:write" in response.headers["x-oauth-scopes"]
        assert space.slack.calls[-1].token_ok is (error is None)


async def test_a_token_counts_in_forms_but_not_in_json() -> None:
    async with room() as space, aiohttp.ClientSession() as session:
        url = f"{space.slack.api_url}auth.test"
        token = {"token": "xoxb-emulator"}
        async with session.post(url, data=token) as response:
            assert (await response.json())["ok"]
        async with session.post(url, json=token) as response:
            assert (await response.json())["error"] == "not_authed"


async def test_a_revoked_token_is_revoked_for_every_call() -> None:
    async with room() as space:
        space.slack.revoke_token()
        assert await error_of(space.client.auth_test()) == "token_revoked"


async def test_an_unknown_method_and_broken_json_are_refused() -> None:
    async with room() as space:
        assert await error_of(space.client.api_call("chat.shout")) == "unknown_method"
        headers = {"Authorization": "Bearer xoxb-emulator", "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session:
            url = f"{space.slack.api_url}chat.postMessage"
            async with session.post(url, data=b'{"text":', headers=headers) as response:
                assert (await response.json())["error"] == "invalid_json"


async def test_forms_and_json_mean_the_same() -> None:
    async with room() as space:
        blocks = '[{"type": "divider"}]'
        form = {"channel": space.general, "text": "x", "blocks": blocks, "unfurl_links": "false"}
        await space.client.api_call("chat.postMessage", data=form)
        message = space.slack.messages(space.general)[0]
        assert message.sent_blocks == [{"type": "divider"}]
        assert space.slack.calls[-1].args["blocks"] == [{"type": "divider"}]


async def test_a_missing_scope_is_named() -> None:
    async with room(scopes=frozenset({"im:history"})) as space:
        with pytest.raises(SlackApiError) as refused:
            await space.client.chat_postMessage(channel=space.general, text="x")
        assert refused.value.response["error"] == "missing_scope"
        assert refused.value.response["needed"] == "chat:write"
        assert refused.value.response["provided"] == "im:history"
        call = space.client.conversations_replies(channel=space.general, ts="1.1")
        assert await error_of(call) == "missing_scope"


async def test_the_call_over_a_tier_gets_a_429_and_does_not_count() -> None:
    async with room(limits=Limits(tier3=3)) as space:
        ts = await space.post(text="x")
        for number in range(3):
            await space.client.chat_update(channel=space.general, ts=ts, text=str(number))
        with pytest.raises(SlackApiError) as refused:
            await space.client.chat_update(channel=space.general, ts=ts, text="4")
        assert refused.value.response.status_code == 429
        assert 50 <= int(refused.value.response.headers["Retry-After"]) <= 60
        assert refused.value.response["error"] == "ratelimited"
        assert space.slack.count("chat.update", "ratelimited") == 1
        assert space.slack.count("chat.update") == 4
        assert space.slack.impatient == []


def test_a_window_slides_and_refused_calls_do_not_fill_it() -> None:
    window = Window(limit=2, seconds=60.0)
    window.take(0.0)
    window.take(10.0)
    assert window.wait_s(59.5) == pytest.approx(0.5)
    assert window.wait_s(60.0) == 0.0
    window.take(60.0)
    assert window.wait_s(61.0) == pytest.approx(9.0)


async def test_calls_during_a_pause_are_noticed() -> None:
    async with room() as space:
        space.slack.fault(Fault("auth.test", "ratelimited", retry_after_s=30))
        assert await error_of(space.client.auth_test()) == "ratelimited"
        await space.client.users_info(user=space.ada)
        assert space.slack.impatient == []
        await space.client.auth_test()
        assert [call.method for call in space.slack.impatient] == ["auth.test"]


async def test_tiers_are_those_that_slack_documents() -> None:
    limits = Limits()
    assert (limits.tier2, limits.tier3, limits.tier4, limits.status) == (20, 50, 100, 600)
    async with room() as space:
        ts = await space.post(text="x")
        calls = [
            space.client.chat_update(channel=space.general, ts=ts, text=str(number))
            for number in range(51)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [each for each in outcomes if isinstance(each, SlackApiError)]
        assert len(refused) == 1
        assert int(refused[0].response.headers["Retry-After"]) in (59, 60)


async def test_the_sixth_post_within_five_seconds_in_a_channel_is_refused() -> None:
    async with room() as space:
        other = space.slack.add_channel("other")
        for _ in range(5):
            await space.post(text="x")
        with pytest.raises(SlackApiError) as refused:
            await space.post(text="x")
        assert refused.value.response.status_code == 429
        assert refused.value.response["error"] == "rate_limited"
        await space.client.chat_postMessage(channel=other, text="x")
        assert space.slack.over_one_per_second == 4


async def test_limits_can_be_switched_off() -> None:
    async with room(enforce_limits=False) as space:
        for _ in range(60):
            await space.post(text="x")
        assert len(space.slack.messages(space.general)) == 60


@pytest.mark.parametrize("kind", ["ratelimited", "rate_limited"])
async def test_a_rate_limit_on_demand_answers_429(kind: Any) -> None:
    async with room() as space:
        space.slack.fault(Fault("auth.test", kind, retry_after_s=7))
        with pytest.raises(SlackApiError) as refused:
            await space.client.auth_test()
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "7"
        assert refused.value.response["error"] == kind
        await space.client.auth_test()


async def test_faults_skip_match_and_run_out() -> None:
    async with room() as space:
        space.slack.fault(Fault("auth.test", "error", error="fatal_error", skip=1, times=2))
        outcomes = []
        for _ in range(4):
            try:
                await space.client.auth_test()
                outcomes.append("ok")
            except SlackApiError as refused:
                outcomes.append(refused.response["error"])
        assert outcomes == ["ok", "fatal_error", "fatal_error", "ok"]


async def test_a_fault_may_choose_calls_by_their_arguments() -> None:
    async with room() as space:
        space.slack.fault(
            Fault("chat.postMessage", "error", when=lambda args: args["text"] == "second")
        )
        await space.post(text="first")
        post = space.client.chat_postMessage(channel=space.general, text="second")
        assert await error_of(post) == "internal_error"


async def test_a_lost_answer_took_effect() -> None:
    async with room() as space:
        space.slack.fault(Fault("chat.postMessage", "lost"))
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await space.post(text="x")
        assert len(space.slack.messages(space.general)) == 1


async def test_a_client_that_retries_connections_posts_twice_when_an_answer_is_lost() -> None:
    async with room() as space:
        space.slack.fault(Fault("chat.postMessage", "lost"))
        at_once = FixedValueRetryIntervalCalculator(0.01)
        careless = AsyncWebClient(
            "xoxb-emulator",
            base_url=space.slack.api_url,
            retry_handlers=[AsyncConnectionErrorRetryHandler(1, at_once)],
        )
        await careless.chat_postMessage(channel=space.general, text="x")
        assert len(space.slack.messages(space.general)) == 2


async def test_a_reset_call_took_no_effect() -> None:
    async with room() as space:
        space.slack.fault(Fault("chat.postMessage", "reset"))
        with pytest.raises(aiohttp.ClientOSError):
            await space.post(text="x")
        assert space.slack.messages(space.general) == []


async def test_a_hanging_call_never_takes_effect() -> None:
    async with room() as space:
        space.slack.fault(Fault("chat.postMessage", "hang"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await space.post(text="x")
        assert space.slack.messages(space.general) == []


async def test_a_delayed_call_takes_effect_late() -> None:
    async with room() as space:
        space.slack.fault(Fault("chat.postMessage", "delay", seconds=0.05))
        post = asyncio.create_task(space.post(text="x"))
        await space.slack.wait_for(lambda: space.slack.count("chat.postMessage"))
        assert space.slack.messages(space.general) == []
        await post
        assert len(space.slack.messages(space.general)) == 1


@pytest.mark.parametrize(
    ("kind", "status", "posts"), [("http", 503, 0), ("apply_http", 502, 1), ("html", 200, 0)]
)
async def test_a_page_instead_of_json(kind: Any, status: int, posts: int) -> None:
    async with room() as space:
        space.slack.fault(Fault("chat.postMessage", kind, status=status))
        with pytest.raises(SlackApiError) as refused:
            await space.post(text="x")
        assert refused.value.response.status_code == status
        assert len(space.slack.messages(space.general)) == posts


async def test_garbage_is_no_json() -> None:
    async with room() as space:
        space.slack.fault(Fault("auth.test", "garbage"))
        with pytest.raises(SlackApiError):
            await space.client.auth_test()


async def test_a_rate_limit_may_come_as_a_200() -> None:
    async with room() as space:
        space.slack.fault(Fault("auth.test", "ok_false_ratelimited"))
        with pytest.raises(SlackApiError) as refused:
            await space.client.auth_test()
        assert refused.value.response.status_code == 200
        assert "Retry-After" not in refused.value.response.headers


async def test_latency_passes_before_and_after_the_effect() -> None:
    async with room(latency_s=0.04) as space:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await space.client.auth_test()
        assert loop.time() - started >= 0.039


async def test_waiting_in_vain_says_what_happened() -> None:
    async with room() as space:
        await space.client.auth_test()
        with pytest.raises(TimeoutError, match=r"auth\.test:200"):
            await space.slack.wait_for(lambda: False, timeout_s=0.01)


async def test_changes_show_what_people_see() -> None:
    async with room() as space:
        changes = space.slack.changes(space.general)
        root = await space.slack.say(space.ada, space.general, "hi")
        await space.client.assistant_threads_setStatus(
            channel_id=space.general, thread_ts=root, status="is thinking"
        )
        ts = await space.post(text="x", thread_ts=root)
        await space.client.chat_update(channel=space.general, ts=ts, text="y")
        await space.client.chat_delete(channel=space.general, ts=ts)
        seen = [(await anext(changes)).kind for _ in range(6)]
        assert seen == ["posted", "status", "status", "posted", "updated", "deleted"]
        await changes.aclose()
        assert [change async for change in changes] == []


async def test_two_calls_at_once_about_one_message_are_noticed() -> None:
    async with room() as space:
        one, two = await space.post(text="1"), await space.post(text="2")
        space.slack.latency_s = 0.02
        await asyncio.gather(
            space.client.chat_update(channel=space.general, ts=one, text="x"),
            space.client.chat_update(channel=space.general, ts=two, text="x"),
        )
        assert space.slack.overlapping == []
        await asyncio.gather(
            space.client.chat_update(channel=space.general, ts=one, text="y"),
            space.client.chat_update(channel=space.general, ts=one, text="z"),
        )
        assert len(space.slack.overlapping) == 1


async def test_a_call_that_was_given_up_overlaps_with_nothing() -> None:
    async with room() as space:
        ts = await space.post(text="x")
        space.slack.fault(Fault("chat.update", "hang"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await space.client.chat_update(channel=space.general, ts=ts, text="y")
        await space.client.chat_update(channel=space.general, ts=ts, text="z")
        assert space.slack.overlapping == []
