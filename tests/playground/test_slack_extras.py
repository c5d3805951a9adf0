"""Files, views, reactions."""

from __future__ import annotations

import aiohttp
import pytest

from bot.playground.slack import DEFAULT_SCOPES, DEFAULT_SUBSCRIPTIONS

from .slack_kit import error_of, listening, room


async def test_a_file_needs_the_token_or_shows_the_sign_in_page() -> None:
    async with room() as space, aiohttp.ClientSession() as session:
        file = space.slack.add_file("a.csv", b"1,2", "text/csv", space.ada)
        info = (await space.client.files_info(file=file.id))["file"]
        assert (info["mimetype"], info["size"], info["filetype"]) == ("text/csv", 3, "csv")
        url = info["url_private_download"]
        async with session.get(url, headers={"Authorization": "Bearer xoxb-emulator"}) as response:
            assert await response.read() == b"1,2"
        async with session.get(url) as response:
            assert response.status == 200
            assert response.content_type == "text/html"


async def test_a_download_may_be_sent_to_another_address() -> None:
    async with room() as space, aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer xoxb-emulator"}
        moved = space.slack.add_file("a.txt", b"a", redirect_to="edge")
        info = (await space.client.files_info(file=moved.id))["file"]
        async with session.get(info["url_private"], headers=headers) as response:
            assert await response.read() == b"a"
            assert len(response.history) == 1
        evil = space.slack.add_file("b.txt", b"b", redirect_to="http://evil.example/")
        info = (await space.client.files_info(file=evil.id))["file"]
        url = info["url_private"]
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            assert response.headers["Location"] == "http://evil.example/"


async def test_the_sdk_uploads_a_file() -> None:
    async with room(scopes=DEFAULT_SCOPES | {"files:write"}) as space:
        await space.client.files_upload_v2(
            channel=space.general, content="a,b", filename="a.csv", initial_comment="here"
        )
        message = space.slack.messages(space.general)[0]
        assert (message.text, message.subtype) == ("here", "file_share")
        assert message.files[0]["size"] == 3


async def test_the_home_view_is_kept_for_each_person() -> None:
    async with room() as space:
        text = {"type": "mrkdwn", "text": "hello"}
        view = {"type": "home", "blocks": [{"type": "section", "text": text}]}
        await space.client.views_publish(user_id=space.ada, view=view)
        published = space.slack.view(space.ada)
        assert published is not None
        assert published["blocks"] == view["blocks"]
        call = space.client.views_publish(user_id=space.ada, view={"type": "modal", "blocks": []})
        assert await error_of(call) == "invalid_arguments"


async def test_a_trigger_opens_one_view() -> None:
    async with room() as space:
        view = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": []}
        call = space.client.views_open(trigger_id="made-up", view=view)
        assert await error_of(call) == "invalid_trigger_id"
        async with listening(space.slack) as app:
            await space.slack.command(space.ada, space.general, "/claude")
            trigger = app.requests[-1].body["trigger_id"]
            await space.client.views_open(trigger_id=trigger, view=view)
            assert space.slack.modals[0]["type"] == "modal"
            call = space.client.views_open(trigger_id=trigger, view=view)
            assert await error_of(call) == "exchanged_trigger_id"


async def test_a_reaction_is_added_once() -> None:
    async with room() as space:
        ts = await space.slack.say(space.ada, space.general, "hi")
        where = {"channel": space.general, "timestamp": ts, "name": "eyes"}
        assert await error_of(space.client.reactions_remove(**where)) == "no_reaction"
        await space.client.reactions_add(**where)
        assert await error_of(space.client.reactions_add(**where)) == "already_reacted"
        message = space.slack.message(space.general, ts)
        assert message is not None
        assert message.reactions == {"eyes": ["U0BOT"]}


@pytest.mark.parametrize("scopes", [DEFAULT_SCOPES, DEFAULT_SCOPES | {"reactions:read"}])
async def test_a_persons_reaction_is_told_to_who_may_read_it(scopes: frozenset[str]) -> None:
    subscriptions = DEFAULT_SUBSCRIPTIONS | {"reaction_added"}
    async with (
        room(scopes=scopes, subscriptions=subscriptions) as space,
        listening(space.slack) as app,
    ):
        ts = await space.post(text="x")
        await space.slack.react(space.ada, space.general, ts, "octagonal_sign")
        with pytest.raises(ValueError, match="before"):
            await space.slack.react(space.ada, space.general, ts, "octagonal_sign")
        await space.slack.unreact(space.ada, space.general, ts, "octagonal_sign")
        await space.slack.say(space.ada, space.general, "the last one")
        may = "reactions:read" in scopes
        events = await app.got(3 if may else 2)
        told = [event for event in events if event["type"] != "message"]
        assert len(told) == (1 if may else 0)
        for event in told:
            assert (event["type"], event["user"]) == ("reaction_added", space.ada)
            assert event["reaction"] == "octagonal_sign"
            assert event["item"] == {"type": "message", "channel": space.general, "ts": ts}
