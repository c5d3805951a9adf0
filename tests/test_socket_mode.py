"""The same bot over Socket Mode."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.errors import AuthFailed, StoreUnavailable
from bot.playground.claude import Reply
from bot.serve import Server
from tests.conftest import World, prose
from tests.test_http import get


@pytest.fixture
async def bot(world: World) -> AsyncIterator[Server]:
    world.env["SLACK_APP_TOKEN"] = "xapp-emulator"
    async with world.bot() as server:
        yield server


async def test_a_mention_is_answered_over_the_socket(world: World, bot: Server) -> None:
    text = prose(1_000)
    world.claude.script(Reply(text=text))
    ts = await world.ask()
    await world.until_shown(text, ts)
    await world.idle()
    assert len(world.replies(ts)) == 1
    assert len(world.claude.requests) == 1


async def test_a_socket_that_slack_closes_is_reopened_and_nothing_is_lost(
    world: World, bot: Server
) -> None:
    world.claude.script(Reply(text="Before.", when="one"), Reply(text="After.", when="two"))
    first = await world.ask("one")
    await world.until_shown("Before.", first)
    await world.slack.disconnect_sockets()
    await world.until(lambda: world.slack.open_sockets == 0)
    second = await world.ask("two")
    await world.until_shown("After.", second)
    assert len(world.replies(second)) == 1


async def test_health_is_served_beside_the_socket(world: World, bot: Server) -> None:
    assert await get(bot, "/readyz") == (200, {"ok": True, "missing": []})
    status, _ = await get(bot, "/healthz")
    assert status == 200


async def test_an_event_that_was_not_accepted_is_not_acknowledged_and_comes_again(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bot._bot.turns._means.store
    accept = store.accept

    async def unavailable(question: object) -> bool:
        monkeypatch.setattr(store, "accept", accept)
        raise StoreUnavailable("cut off")

    monkeypatch.setattr(store, "accept", unavailable)
    world.claude.script(Reply(text="In the end."))
    ts = await world.ask()
    await world.until_shown("In the end.", ts)
    assert len(world.claude.requests) == 1


async def test_a_wrong_app_token_is_reported_at_start(world: World) -> None:
    world.env["SLACK_APP_TOKEN"] = "xapp-wrong"
    with pytest.raises(AuthFailed):
        async with world.bot():
            pass
