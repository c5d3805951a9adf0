"""Native streams, files, views, reactions."""

from __future__ import annotations

import aiohttp

from bot.playground.slack import DEFAULT_SCOPES

from .slack_kit import Room, error_of, listening, room


async def started(space: Room, **arguments: str) -> str:
    """A stream in a thread of #general: its ts."""
    root = await space.slack.say(space.ada, space.general, "question")
    answer = await space.client.chat_startStream(
        channel=space.general,
        thread_ts=root,
        recipient_team_id="T0EMULATOR",
        recipient_user_id=space.ada,
        **arguments,
    )
    return str(answer["ts"])


async def test_a_stream_grows_until_it_is_stopped() -> None:
    async with room() as space:
        ts = await started(space, markdown_text="**one**")
        where = {"channel": space.general, "ts": ts}
        await space.client.chat_appendStream(**where, markdown_text=" two")
        edit = space.client.chat_update(**where, text="x")
        assert await error_of(edit) == "streaming_state_conflict"
        assert await error_of(space.client.chat_delete(**where)) == "cant_delete_message"
        await space.client.chat_stopStream(**where, markdown_text=" three")
        message = space.slack.message(space.general, ts)
        assert message is not None
        assert message.sent_markdown == "**one** two three"
        assert message.shown == "one two three"
        append = space.client.chat_appendStream(**where, markdown_text="late")
        assert await error_of(append) == "message_not_in_streaming_state"
        await space.client.chat_update(**where, text="x")


async def test_a_stream_in_a_channel_needs_its_recipient() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "question")
        start, where = space.client.chat_startStream, {"channel": space.general, "thread_ts": root}
        assert await error_of(start(**where)) == "missing_recipient_user_id"
        call = start(**where, recipient_user_id=space.ada)
        assert await error_of(call) == "missing_recipient_team_id"
        call = start(**where, recipient_user_id=space.ada, recipient_team_id="T0OTHER")
        assert await error_of(call) == "team_not_found"
        call = start(channel=space.general, thread_ts="1700000000.000001")
        assert await error_of(call) == "invalid_thread_ts"


async def test_slack_closes_an_old_stream() -> None:
    async with room(stream_lifetime_s=0.0) as space:
        ts = await started(space, markdown_text="one")
        where = {"channel": space.general, "ts": ts}
        stop = space.client.chat_stopStream(**where)
        assert await error_of(stop) == "message_not_in_streaming_state"
        await space.client.chat_update(**where, text="repaired")


async def test_a_streamed_message_has_a_size_as_a_whole() -> None:
    async with room() as space:
        ts = await started(space, markdown_text="x" * 10_000)
        where = {"channel": space.general, "ts": ts}
        append = space.client.chat_appendStream(**where, markdown_text="x" * 1_000)
        assert await error_of(append) == "msg_too_long"
        await space.client.chat_appendStream(**where, markdown_text="x" * 500)


async def test_text_and_chunks_exclude_each_other() -> None:
    async with room() as space:
        ts = await started(space)
        where = {"channel": space.general, "ts": ts}
        chunks = [{"type": "markdown_text", "text": "x"}]
        append = space.client.chat_appendStream
        call = append(**where, markdown_text="x", chunks=chunks)
        assert await error_of(call) == "invalid_chunks"
        assert await error_of(append(**where, chunks=[{"type": "x"}])) == "invalid_chunks"
        await append(**where, chunks=chunks)


async def test_a_person_may_stop_a_stream() -> None:
    async with room() as space:
        ts = await started(space, markdown_text="one")
        await space.slack.stop_stream(space.ada, space.general, ts)
        where = {"channel": space.general, "ts": ts}
        append = space.client.chat_appendStream(**where, markdown_text="two")
        assert await error_of(append) == "stopped_by_user"


async def test_the_sdks_own_stream_works() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "question")
        stream = await space.client.chat_stream(
            channel=space.general,
            thread_ts=root,
            recipient_team_id="T0EMULATOR",
            recipient_user_id=space.ada,
            buffer_size=4,
        )
        for part in ("hello ", "<!chan", "nel>"):
            await stream.append(markdown_text=part)
        await stream.stop()
        assert [each.what for each in space.slack.notified] == ["<!channel>"]
        assert space.slack.messages(space.general)[1].sent_markdown == "hello <!channel>"


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
