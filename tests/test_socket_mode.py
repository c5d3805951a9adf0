"""Socket Mode: the bot over it, and the connections by themselves."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot import metrics
from bot import sockets as sockets_module
from bot.errors import AuthFailed, StoreUnavailable
from bot.playground.claude import Reply
from bot.playground.slack import Fault, SlackEmulator
from bot.playground.slack import sockets as emulated
from bot.serve import Server
from bot.sockets import Sockets
from bot.sockets.link import Refused
from tests.conftest import World, prose
from tests.test_http import get

OPEN = "apps.connections.open"
SOON = (0.05,) * 40
"""Slack delivers again that soon, instead of at once and after a minute."""


@pytest.fixture
async def bot(world: World) -> AsyncIterator[Server]:
    world.env["SLACK_APP_TOKEN"] = "xapp-emulator"
    async with world.bot() as server:
        await world.until(lambda: world.slack.open_sockets == 2)
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes a tenth of one, up to deafness."""
    for name, seconds in {
        "link.PING_S": 0.05,
        "link.CLOSE_TIMEOUT_S": 0.1,
        "OPEN_TIMEOUT_S": 0.5,
        "AGAIN_S": 0.02,
        "AGAIN_MAX_S": 0.1,
        "SHORT_LIFE_S": 0.0,
        "REFUSED_AGAIN_S": 0.1,
        "REFUSED_ALONE_AGAIN_S": 0.05,
    }.items():
        monkeypatch.setattr(f"bot.sockets.{name}", seconds)


@pytest.fixture
def soon_deaf(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.sockets.link.HEARD_WITHIN_S", 0.6)
    monkeypatch.setattr("bot.sockets.DEAF_AFTER_S", 0.3)
    monkeypatch.setattr("bot.sockets.STALL_S", 0.1)


# --- the bot ----------------------------------------------------------------------------------


async def test_a_mention_is_answered_over_the_socket(world: World, bot: Server) -> None:
    text = prose(1_000)
    world.claude.script(Reply(text=text))
    ts = await world.ask()
    await world.until_shown(text, ts)
    await world.idle()
    assert len(world.replies(ts)) == 1
    assert len(world.claude.requests) == 1


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_while_one_connection_is_refreshed_the_other_listens(
    world: World, bot: Server, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated, "_GRACE_S", 1.5)
    world.slack.settings.ack_timeout_s = 10.0
    asked = [await ask_alone(world) for _ in range(4)]
    await world.slack.disconnect_sockets(reason, which=0)
    asked += [await ask_alone(world) for _ in range(4)]
    await world.until(lambda: world.slack.open_sockets == 3)
    await asyncio.sleep(0.1)
    assert world.slack.open_sockets == 3  # a payload may be on its way over the old one
    await world.until(lambda: world.slack.open_sockets == 2)
    await answered_once(world, asked)
    assert world.slack.count(OPEN) == 3
    if reason == "refresh_requested":  # with a warning, the last payloads may be cut off
        assert {(one.status, one.attempt) for one in world.slack.deliveries} == {(200, 0)}


async def test_connections_that_break_are_reopened_and_nothing_is_lost_or_doubled(
    world: World, bot: Server
) -> None:
    world.slack.settings.retry_delays_s = SOON
    asked = [await ask_alone(world) for _ in range(3)]
    world.slack.drop_sockets()
    await world.until(lambda: world.slack.open_sockets == 0)
    asked += [await ask_alone(world) for _ in range(3)]
    await answered_once(world, asked)
    await world.until(lambda: world.slack.open_sockets == 2)


async def test_an_event_whose_acknowledgement_is_lost_comes_again_and_is_answered_once(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slack.settings.retry_delays_s = SOON
    store = bot._bot.turns._means.store
    accept, broken = store.accept, asyncio.Event()

    async def slow(*arguments: Any) -> bool:
        await broken.wait()
        return bool(await accept(*arguments))

    monkeypatch.setattr(store, "accept", slow)
    asked = [await ask_alone(world)]
    await world.until(lambda: world.slack.unacknowledged)
    world.slack.drop_sockets()
    await world.until(lambda: world.slack.open_sockets == 0)
    broken.set()
    await answered_once(world, asked)
    assert {one.reason for one in world.slack.deliveries} >= {"", "connection_failed"}


async def test_a_deaf_connection_is_replaced_while_the_other_keeps_the_bot_ready(
    world: World, soon_deaf: None, bot: Server
) -> None:
    world.slack.settings.retry_delays_s = SOON
    world.slack.settings.ack_timeout_s = 0.1
    opened = world.slack.count(OPEN)
    world.slack.mute_sockets(which=0)
    asked = [await ask_alone(world) for _ in range(2)]
    while world.slack.count(OPEN) == opened:
        assert (await get(bot, "/readyz"))[0] == 200
        await asyncio.sleep(0.02)
    await answered_once(world, asked)
    await world.until(lambda: world.slack.open_sockets == 2)


async def test_readyz_tells_when_no_connection_is_heard_and_when_one_is_again(
    world: World, soon_deaf: None, bot: Server
) -> None:
    world.slack.mute_sockets()
    await until(lambda: status_is(bot, 503))
    assert await get(bot, "/readyz") == (503, {"ok": False, "missing": ["socket"]})
    world.slack.mute_sockets(False)
    await until(lambda: status_is(bot, 200))


async def test_health_is_served_beside_the_socket(world: World, bot: Server) -> None:
    assert await get(bot, "/readyz") == (200, {"ok": True, "missing": []})
    status, _ = await get(bot, "/healthz")
    assert status == 200
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{bot.port}/metrics"
        async with session.get(url) as response:
            assert "bot_sockets_open 2.0" in await response.text()


async def test_an_event_that_was_not_accepted_is_not_acknowledged_and_comes_again(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slack.settings.ack_timeout_s = 0.2
    store = bot._bot.turns._means.store
    accept = store.accept

    async def unavailable(*arguments: object) -> bool:
        monkeypatch.setattr(store, "accept", accept)
        raise StoreUnavailable("cut off")

    monkeypatch.setattr(store, "accept", unavailable)
    world.claude.script(Reply(text="In the end."))
    ts = await world.ask()
    await world.until_shown("In the end.", ts)
    assert len(world.claude.requests) == 1


async def test_our_own_edits_are_acknowledged_without_bolt(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatched: list[str] = []
    dispatch = bot._bot.bolt.async_dispatch

    async def counting(request: Any) -> BoltResponse:
        dispatched.append(request.body["event"]["type"])
        return await dispatch(request)

    monkeypatch.setattr(bot._bot.bolt, "async_dispatch", counting)
    asked = [await ask_alone(world)]
    await answered_once(world, asked)
    assert dispatched == ["message"]
    assert len(world.slack.deliveries) > 1


async def test_a_malformed_payload_is_acknowledged_and_left_alone(
    world: World, bot: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It would come again as it is."""
    for event in ({"type": 5}, {"type": "message", "subtype": {}}):
        delivery = await world.slack.deliver({"type": "event_callback", "event": event})
        assert delivery.status == 200
    assert "Traceback" not in caplog.text


async def test_a_wrong_app_token_is_reported_at_start(world: World) -> None:
    world.env["SLACK_APP_TOKEN"] = "xapp-wrong"
    with pytest.raises(AuthFailed):
        async with world.bot():
            pass


async def ask_alone(world: World) -> str:
    """Somebody new asks in direct messages, where no other reply is in the way: the channel."""
    user = world.slack.add_user("Somebody")
    channel = world.slack.add_dm(user)
    await world.slack.say(user, channel, "hello?")
    return channel


async def answered_once(world: World, channels: list[str]) -> None:
    """Until Slack has nothing left to deliver and the bot nothing to do."""
    await world.until(lambda: all(world.replies(channel=channel) for channel in channels))
    await world.idle()
    assert [len(world.replies(channel=channel)) for channel in channels] == [1] * len(channels)
    assert len(world.claude.requests) == len(channels)


async def status_is(bot: Server, status: int) -> bool:
    return (await get(bot, "/readyz"))[0] == status


async def until(true: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Like `world.until`, for what the emulator does not know."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = true()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.02)


# --- the connections --------------------------------------------------------------------------


@dataclass
class Line:
    """An app that listens over sockets, and what it got."""

    slack: SlackEmulator
    sockets: Sockets
    channel: str
    user: str
    got: Counter[str] = field(default_factory=Counter)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    echoes: set[str] = field(default_factory=set)

    async def say(self, text: str = "hello") -> None:
        await self.slack.say(self.user, self.channel, text)

    @property
    def opens(self) -> int:
        return self.slack.count(OPEN)

    async def until(self, true: Callable[[], object]) -> None:
        await self.slack.wait_for(true, timeout_s=5.0)


@pytest.fixture
async def line(quick: None) -> AsyncIterator[Line]:
    async with unconnected() as made:
        await made.sockets.start()
        await made.until(lambda: made.slack.open_sockets == 2)
        yield made


@asynccontextmanager
async def unconnected(app_token: str = "xapp-emulator") -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SlackEmulator(retry_delays_s=SOON))
        user = slack.add_user("Ada")
        bolt = AsyncApp(
            signing_secret="x",
            authorize=authorize,
            process_before_response=True,
            request_verification_enabled=False,
        )
        sockets = Sockets(
            bolt,
            app_token=app_token,
            api_url=slack.api_url,
            is_nothing=lambda body: body["event"]["text"] == "an echo",
        )
        stack.push_async_callback(sockets.close)
        made = Line(slack, sockets, slack.add_channel("general", members=[user]), user)
        made.gate.set()

        @bolt.event("message")
        async def on_message(event: dict[str, Any]) -> None:
            await made.gate.wait()
            made.got[event["text"]] += 1

        yield made


async def authorize() -> AuthorizeResult:
    return AuthorizeResult(enterprise_id=None, team_id="T", bot_token="xoxb-emulator", bot_id="B")


async def test_a_burst_is_taken_whole(line: Line) -> None:
    for number in range(100):
        await line.say(str(number))
    await line.until(lambda: len(line.slack.deliveries) == 100)
    assert {(one.status, one.attempt) for one in line.slack.deliveries} == {(200, 0)}
    assert line.got == Counter(str(number) for number in range(100))


async def test_what_is_over_the_bound_is_left_to_slacks_next_try(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sockets.MOST_AT_ONCE", 2)
    line.slack.settings.ack_timeout_s = 0.1
    line.gate.clear()
    for number in range(3):
        await line.say(str(number))
    await line.until(lambda: len(line.slack.deliveries) >= 3)
    assert len(tasks("envelope")) == 2
    line.gate.set()
    await line.until(lambda: line.got["2"])


async def test_a_connection_that_was_never_heard_of_again_is_replaced(
    soon_deaf: None, line: Line
) -> None:
    before = replaced("deaf")
    line.slack.mute_sockets(which=0)
    await until(lambda: replaced("deaf") > before)
    await line.until(lambda: line.slack.open_sockets == 2)


async def test_silent_connections_do_not_count(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.sockets.link.HEARD_WITHIN_S", 0.2)
    assert line.sockets.is_open()
    line.slack.mute_sockets()
    await until(lambda: not line.sockets.is_open())
    assert line.slack.open_sockets == 2


async def test_a_process_that_stood_still_keeps_its_connections(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sockets.DEAF_AFTER_S", 0.6)
    monkeypatch.setattr("bot.sockets.STALL_S", 0.1)
    async with unconnected() as line:
        await line.sockets.start()
        await line.until(lambda: line.slack.open_sockets == 2)
        await asyncio.sleep(0.1)
        stand_still(0.75)
        await asyncio.sleep(0.1)
        assert line.opens == 2


async def test_of_two_connections_that_began_together_one_is_replaced_at_half_time(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated, "_CONNECTION_TIME_S", 0.8)
    async with unconnected() as line:
        await line.sockets.start()
        await line.until(lambda: line.opens == 3 and line.slack.open_sockets == 2)
        await asyncio.sleep(0.1)
        assert line.opens == 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(OPEN, "error", error="internal_error", times=3), id="an error"),
        pytest.param(Fault(OPEN, "error", error="never_heard_of_it", times=3), id="a new error"),
        pytest.param(Fault(OPEN, "ratelimited", retry_after_s=1), id="Retry-After"),
        pytest.param(Fault(OPEN, "ok_false_ratelimited", times=0), id="a rate limit in a 200"),
        pytest.param(Fault(OPEN, "http", status=503, times=3), id="503"),
        pytest.param(Fault(OPEN, "html", times=3), id="a page"),
        pytest.param(Fault(OPEN, "garbage", times=3), id="half a JSON"),
        pytest.param(Fault(OPEN, "reset", times=3), id="no connection"),
        pytest.param(Fault(OPEN, "hang", seconds=0.3, times=1), id="silence"),
        pytest.param(Fault(OPEN, "error", error="invalid_auth", times=3), id="a bad token"),
    ],
)
async def test_while_slack_gives_no_address_it_is_asked_again_and_again(
    line: Line, fault: Fault
) -> None:
    line.slack.fault(fault)
    line.slack.drop_sockets()
    await line.say()
    await line.until(lambda: line.got["hello"] and line.slack.open_sockets == 2)
    assert line.slack.impatient == []


async def test_a_token_that_was_taken_back_is_told_once_and_never_hammers(
    line: Line, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sockets.AGAIN_MAX_S", 0.02)
    line.slack.fault(Fault(OPEN, "error", error="invalid_auth", times=1_000))
    line.slack.drop_sockets()
    await line.until(lambda: line.opens >= 12)
    assert not line.sockets.is_open()
    told = [record for record in caplog.records if record.message == "socket_trouble"]
    assert [record.levelno for record in told] == [logging.ERROR]
    line.slack.clear_faults()
    await line.until(lambda: line.slack.open_sockets == 2)


async def test_an_address_that_is_refused_is_not_used_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = line.slack._workspace
    good = workspace.open_socket_url

    def bad() -> str:
        monkeypatch.setattr(workspace, "open_socket_url", good)
        return good().replace("/socket/", "/socket/spent")

    monkeypatch.setattr(workspace, "open_socket_url", bad)
    line.slack.drop_sockets(which=0)
    await line.until(lambda: line.opens == 4 and line.slack.open_sockets == 2)


async def test_connections_that_end_at_once_are_opened_less_and_less_often(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sockets.CONNECTIONS", 1)
    monkeypatch.setattr("bot.sockets.SHORT_LIFE_S", 30.0)
    monkeypatch.setattr("bot.sockets.AGAIN_S", 0.05)
    monkeypatch.setattr("bot.sockets.AGAIN_MAX_S", 10.0)
    monkeypatch.setattr("bot.sockets._jittered", lambda seconds: seconds)
    async with unconnected() as line:
        await line.sockets.start()
        async with asyncio.timeout(10):
            while line.opens < 6:
                line.slack.drop_sockets()
                await asyncio.sleep(0.01)
        at = [call.at for call in line.slack.calls if call.method == OPEN]
        gaps = [later - earlier for earlier, later in pairwise(at)]
        assert all(gap > least for gap, least in zip(gaps, (0, 0.05, 0.1, 0.2, 0.4), strict=True))
        await line.until(lambda: line.slack.open_sockets == 1)


@pytest.mark.parametrize(("tries", "seconds"), [(0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0)])
def test_tries_are_at_most_half_a_minute_apart(
    monkeypatch: pytest.MonkeyPatch, tries: int, seconds: float
) -> None:
    monkeypatch.setattr("bot.sockets._jittered", lambda seconds: seconds)
    assert sockets_module._backoff_s(tries) == seconds


async def test_ten_connections_are_enough(quick: None, caplog: pytest.LogCaptureFixture) -> None:
    async with unconnected() as line, others(line.slack, 9) as sockets:
        await line.sockets.start()
        await line.until(lambda: line.opens >= 9 + 4)
        assert (line.sockets.is_open(), line.slack.open_sockets) == (True, 10)
        assert codes(caplog) == ["too_many_websockets"]
        await sockets[0].close()
        await line.until(lambda: line.slack.open_sockets == 10)
        before = replaced("refresh_requested")
        await line.slack.disconnect_sockets("refresh_requested", which=8)
        await until(lambda: replaced("refresh_requested") > before)
        assert codes(caplog) == ["too_many_websockets"]


async def test_without_a_place_the_bot_does_not_start(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.calls.CONNECT_AGAIN_S", 0.01)
    async with unconnected() as line, others(line.slack, 10):
        with pytest.raises(Refused):
            await line.sockets.start()


@pytest.mark.parametrize("reason", ["link_disabled", "too_many_websockets"])
async def test_connections_that_are_refused_come_back_after_a_while_and_are_told_once(
    line: Line, caplog: pytest.LogCaptureFixture, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sockets.REFUSED_AGAIN_S", 0.4)
    monkeypatch.setattr("bot.sockets.REFUSED_ALONE_AGAIN_S", 0.4)
    await line.slack.disconnect_sockets(reason)
    await line.until(lambda: line.slack.open_sockets == 0)
    await asyncio.sleep(0.1)
    assert not line.sockets.is_open()
    assert line.opens == 2
    await line.until(lambda: line.slack.open_sockets == 2)
    assert codes(caplog) == [reason]


async def test_echoes_are_acknowledged_at_once(line: Line) -> None:
    line.gate.clear()
    await line.say("an echo")
    await line.until(lambda: line.slack.deliveries)
    assert line.slack.deliveries[0].status == 200
    assert not line.got


async def test_on_leaving_what_was_taken_is_acknowledged_and_nothing_more_is_taken(
    line: Line,
) -> None:
    line.gate.clear()
    await line.say("before")
    await line.until(lambda: line.slack.unacknowledged == 1)
    await until(lambda: tasks("envelope"))
    closing = asyncio.create_task(line.sockets.close())
    await until(lambda: tasks("socket-leaving"))
    await line.say("after")
    await line.until(lambda: line.slack.unacknowledged == 2)
    line.gate.set()
    await closing
    await line.until(lambda: len(line.slack.deliveries) >= 2)
    assert line.got == {"before": 1}
    assert [one.status for one in line.slack.deliveries[:2]] == [200, 0]


async def test_leaving_waits_only_so_long_and_leaves_nothing_behind(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sockets.link.ACK_WITHIN_S", 0.1)
    async with unconnected() as line:
        before = asyncio.all_tasks()
        line.slack.settings.retry_delays_s = ()
        await line.sockets.start()
        await line.until(lambda: line.slack.open_sockets == 2)
        line.gate.clear()
        await line.say()
        await until(lambda: tasks("envelope"))
        await line.sockets.close()
        await line.until(lambda: line.slack.open_sockets == 0)
        await until(lambda: asyncio.all_tasks() <= before)
        assert not line.got
        assert metric("bot_sockets_open") == 0


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


def tasks(name: str) -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == name]


def codes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the operator was told."""
    told = [record for record in caplog.records if record.message == "socket_trouble"]
    return [record.__dict__["fields"]["code"] for record in told]


def replaced(reason: str) -> float:
    return metric("bot_socket_reconnects_total", reason=reason)


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def others(
    slack: SlackEmulator, count: int
) -> AsyncIterator[list[aiohttp.ClientWebSocketResponse]]:
    """Connections of other processes."""
    web = AsyncWebClient(base_url=slack.api_url)
    async with aiohttp.ClientSession() as session:
        urls = [
            str((await web.apps_connections_open(app_token="xapp-emulator"))["url"])
            for _ in range(count)
        ]
        opened = [await session.ws_connect(url) for url in urls]
        yield opened
