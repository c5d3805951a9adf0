"""What Slack and the host see of the HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import aiohttp
import pytest

from bot import turns as turns_module
from bot.errors import StoreUnavailable
from bot.serve import Server
from tests.conftest import World

SECRET = "emulator-signing-secret"


def headers(body: bytes, *, secret: str = SECRET, at: str | None = None) -> dict[str, str]:
    timestamp = at or str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256)
    return {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest.hexdigest()}",
        "Content-Type": "application/json",
    }


async def post(bot: Server, body: bytes, sent: dict[str, str]) -> int:
    url = f"http://127.0.0.1:{bot.port}/slack/events"
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=sent) as r:
        await r.read()
        return r.status


async def get(bot: Server, path: str) -> tuple[int, dict[str, object]]:
    url = f"http://127.0.0.1:{bot.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.json()


EVENT = json.dumps({"type": "event_callback", "event": {"type": "team_join"}}).encode()


@pytest.mark.parametrize(
    ("body", "change", "status"),
    [
        pytest.param(EVENT, {}, 200, id="a signed event"),
        pytest.param(EVENT, {"X-Slack-Signature": "v0=00"}, 401, id="a wrong signature"),
        pytest.param(EVENT, {"X-Slack-Signature": "v0=é"}, 401, id="a signature not in ASCII"),
        pytest.param(EVENT, {"X-Slack-Signature": ""}, 401, id="no signature"),
        pytest.param(EVENT, {"X-Slack-Request-Timestamp": ""}, 401, id="no timestamp"),
        pytest.param(EVENT, {"X-Slack-Request-Timestamp": "soon"}, 401, id="not a timestamp"),
        pytest.param(EVENT, {"X-Slack-Request-Timestamp": "9" * 5000}, 401, id="a huge timestamp"),
        pytest.param(EVENT, {"X-Slack-Request-Timestamp": "1700000000"}, 401, id="an old one"),
        pytest.param(b"{", {}, 400, id="half a JSON"),
        pytest.param(b"[]", {}, 400, id="JSON that is no object"),
        pytest.param(b"\xff\xfe", {}, 401, id="bytes that are no text"),
        pytest.param(b"", {}, 400, id="nothing"),
        pytest.param(b'{"type":"event_callback"}', {}, 400, id="an envelope without event"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, {}, 400, id="JSON without a bottom"),
    ],
)
async def test_requests_are_verified_and_never_answered_with_500(
    world: World, bot: Server, body: bytes, change: dict[str, str], status: int
) -> None:
    assert await post(bot, body, headers(body) | change) == status


async def test_a_rejected_request_is_not_logged(
    world: World, bot: Server, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"type":"event_callback","event":{"text":"very private"}}'
    await post(bot, body, headers(body, secret="wrong"))
    assert "very private" not in caplog.text


async def test_slacks_url_verification_is_answered(world: World, bot: Server) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    assert await post(bot, body, headers(body)) == 200


async def test_health_is_served(world: World, bot: Server) -> None:
    assert await get(bot, "/healthz") == (200, {"ok": True})
    assert await get(bot, "/readyz") == (200, {"ok": True, "missing": []})


async def test_a_revoked_token_is_not_ready(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.serve.AUTH_CHECK_EVERY_S", 0.0)
    world.slack.revoke_token()
    assert await get(bot, "/readyz") == (503, {"ok": False, "missing": ["slack"]})


async def test_a_store_that_does_not_answer_becomes_503_and_slack_delivers_again(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = bot._bot.turns
    store = turns._means.store
    accept = store.accept

    async def unavailable(question: object) -> bool:
        monkeypatch.setattr(store, "accept", accept)
        raise StoreUnavailable("cut off")

    monkeypatch.setattr(store, "accept", unavailable)
    ts = await world.ask("hello")
    await world.until(lambda: world.replies(ts))
    await world.idle()
    assert 503 in {delivery.status for delivery in world.slack.deliveries}
    assert len(world.claude.requests) == 1


async def test_a_claim_that_is_written_too_late_is_answered_all_the_same(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "ACCEPT_TIMEOUT_S", 0.0)
    ts = await world.ask("hello")
    await world.until(lambda: world.replies(ts))
    monkeypatch.undo()
    await world.idle()
    assert len(world.claude.requests) == 1
