"""What Slack and the host see of the HTTP server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import zlib

import aiohttp
import pytest

from bot import turns as turns_module
from bot.errors import StoreUnavailable
from bot.serve import Server
from bot.store.sqlite import SqliteStore
from bot.turn import Outcome, Question
from tests.conftest import World
from tests.test_restart import outcomes

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


def event(**fields: object) -> bytes:
    return json.dumps({"type": "event_callback", "event": fields}).encode()


def actions(found: object) -> bytes:
    return json.dumps({"type": "block_actions", "actions": found}).encode()


EVENT = event(type="team_join")


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
        pytest.param(event(type=5), {}, 400, id="an event whose type is no text"),
        pytest.param(event(type="message", subtype=[]), {}, 400, id="a subtype that is no text"),
        pytest.param(actions({}), {}, 400, id="actions that are no list"),
        pytest.param(actions([]), {}, 400, id="an empty list of actions"),
        pytest.param(actions(["retry"]), {}, 400, id="an action that is no object"),
        pytest.param(actions([{"type": "button"}]), {}, 400, id="an action without an id"),
        pytest.param(actions([{"action_id": 5}]), {}, 400, id="an action's id that is no text"),
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


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "nonsense"])
async def test_a_body_that_says_it_is_compressed_is_never_unpacked(
    world: World, bot: Server, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    """Slack sends none; what is unpacked before its signature is checked may be a bomb."""
    bomb = zlib.compress(b"0" * 50_000_000)
    for body in (b"garbage", bomb):
        unsigned = {"Content-Encoding": encoding}
        assert await post(bot, body, unsigned) == 401
        assert await post(bot, body, headers(body) | unsigned) in (400, 401)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"Content-Length: 10\r\n\r\nabc", id="half a body"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n4\r\nab", id="half a chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", id="no chunk at all"),
    ],
)
async def test_a_request_that_breaks_off_is_no_error_of_ours(
    world: World, bot: Server, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    writer.write(b"POST /slack/events HTTP/1.1\r\nHost: bot\r\n" + sent)
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    assert await get(bot, "/healthz") == (200, {"ok": True})
    assert "Traceback" not in caplog.text


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


async def test_a_bot_that_is_stopping_is_not_ready_and_says_so(world: World, bot: Server) -> None:
    await bot.drain(0.0)
    assert await get(bot, "/readyz") == (503, {"ok": False, "missing": ["draining"]})


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


async def test_a_redelivery_is_not_acknowledged_before_the_claim_that_is_being_written(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "ACCEPT_TIMEOUT_S", 0.05)
    world.slack.settings.retry_delays_s = (0.05,) * 40
    writing: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    accept = SqliteStore.accept
    monkeypatch.setattr(SqliteStore, "accept", lambda *_: writing)
    await world.ask(channel=world.dm)
    await world.until(lambda: len(world.slack.deliveries) == 3)
    assert {one.status for one in world.slack.deliveries} == {503}
    monkeypatch.setattr(SqliteStore, "accept", accept)
    writing.set_exception(StoreUnavailable("cut off"))
    await world.until(lambda: world.shown(channel=world.dm))
    await world.idle()
    assert len(world.claude.requests) == 1


@pytest.mark.parametrize("place", ["dm", "general"])
async def test_a_question_that_was_deleted_before_its_redelivery_is_not_answered(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    world.slack.settings.retry_delays_s = (0.1,) * 40
    accept = SqliteStore.accept

    async def away(*_: object) -> bool:
        raise StoreUnavailable("away")

    monkeypatch.setattr(SqliteStore, "accept", away)
    channel = getattr(world, place)
    ts = await world.ask(channel=channel)
    await world.until(lambda: world.slack.deliveries)
    await deleted(world, channel, ts)
    monkeypatch.setattr(SqliteStore, "accept", accept)
    await world.idle()
    assert world.slack.count("chat.postMessage") == len(world.claude.requests) == 0
    assert outcomes(world.data_dir) == [Outcome.GONE]


@pytest.mark.parametrize("place", ["dm", "general"])
async def test_a_question_that_is_deleted_while_its_claim_is_written_is_not_answered(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    accept, begun, may_go = SqliteStore.accept, asyncio.Event(), asyncio.Event()

    async def held(store: SqliteStore, question: Question) -> bool:
        begun.set()
        await may_go.wait()
        return await accept(store, question)

    monkeypatch.setattr(SqliteStore, "accept", held)
    channel = getattr(world, place)
    ts = await world.ask(channel=channel)
    await begun.wait()
    await deleted(world, channel, ts)
    may_go.set()
    await world.idle()
    assert world.slack.count("chat.postMessage") == len(world.claude.requests) == 0
    assert outcomes(world.data_dir) == [Outcome.GONE]


async def deleted(world: World, channel: str, ts: str) -> None:
    """Ada deletes her message, and the bot is told."""
    before = len(world.slack.events)
    await world.slack.delete(world.ada, channel, ts)
    (event,) = world.slack.events[before:]
    told = (event["event_id"], 200)
    await world.until(lambda: told in [(d.event_id, d.status) for d in world.slack.deliveries])
