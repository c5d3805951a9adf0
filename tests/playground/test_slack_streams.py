"""Native streams and status lines: as strict as Slack, and what a reader sees of them over time."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from bot.playground.slack import DEFAULT_SUBSCRIPTIONS, Fault, Limits

from .slack_kit import Room, error_of, listening, room

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
STATUS = "assistant.threads.setStatus"


async def ask(space: Room) -> str:
    """A question in #general: the ts of its thread."""
    return await space.slack.say(space.ada, space.general, "question")


async def started(space: Room, root: str = "", **arguments: Any) -> dict[str, str]:
    """A stream in a thread of #general: its place, as the other methods want it."""
    answer = await space.client.chat_startStream(
        channel=space.general,
        thread_ts=root or await ask(space),
        recipient_team_id="T0EMULATOR",
        recipient_user_id=space.ada,
        **arguments,
    )
    return {"channel": space.general, "ts": str(answer["ts"])}


async def set_status(space: Room, root: str, status: str = "is thinking") -> None:
    await space.client.assistant_threads_setStatus(
        channel_id=space.general, thread_ts=root, status=status
    )


async def call(space: Room, method: str, where: dict[str, str], root: str) -> None:
    """A call of that method that Slack takes, for the stream or in the thread."""
    match method:
        case "chat.startStream":
            await started(space, root, markdown_text="one")
        case "chat.appendStream":
            await space.client.chat_appendStream(**where, markdown_text=" two")
        case "chat.stopStream":
            await space.client.chat_stopStream(**where, markdown_text=" two")
        case _:
            await set_status(space, root)


async def test_a_stream_grows_until_it_is_stopped() -> None:
    async with room() as space:
        where = await started(space, markdown_text="**one**")
        await space.client.chat_appendStream(**where, markdown_text=" two")
        edit = space.client.chat_update(**where, text="x")
        assert await error_of(edit) == "streaming_state_conflict"
        assert await error_of(space.client.chat_delete(**where)) == "cant_delete_message"
        await space.client.chat_stopStream(**where, markdown_text=" three")
        message = space.slack.message(**where)
        assert message is not None
        assert message.sent_markdown == "**one** two three"
        assert message.shown == "one two three"
        append = space.client.chat_appendStream(**where, markdown_text="late")
        assert await error_of(append) == "message_not_in_streaming_state"
        await space.client.chat_update(**where, text="x")


async def test_a_streamed_message_has_a_size_as_a_whole() -> None:
    async with room() as space:
        where = await started(space, markdown_text="x" * 10_000)
        append = space.client.chat_appendStream(**where, markdown_text="x" * 1_000)
        assert await error_of(append) == "msg_too_long"
        await space.client.chat_appendStream(**where, markdown_text="x" * 500)


async def test_text_and_chunks_exclude_each_other() -> None:
    async with room() as space:
        where = await started(space)
        chunks = [{"type": "markdown_text", "text": "x"}]
        append = space.client.chat_appendStream
        call = append(**where, markdown_text="x", chunks=chunks)
        assert await error_of(call) == "invalid_chunks"
        assert await error_of(append(**where, chunks=[{"type": "x"}])) == "invalid_chunks"
        await append(**where, chunks=chunks)


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


# --- streams --------------------------------------------------------------------------------------


async def test_a_deleted_stream_is_gone_and_a_stopped_one_can_be_deleted() -> None:
    async with room() as space:
        where = await started(space, markdown_text="one")
        await space.slack.delete(space.ada, **where)
        append = space.client.chat_appendStream(**where, markdown_text="two")
        assert await error_of(append) == "message_not_found"
        other = await started(space, markdown_text="one")
        await space.client.chat_stopStream(**other)
        await space.client.chat_delete(**other)
        assert [stream.end for stream in space.slack.streams] == ["deleted", "stopped"]


async def test_slack_closes_an_old_stream_while_appends_arrive() -> None:
    async with room(stream_lifetime_s=0.15) as space:
        where = await started(space, markdown_text="one")
        append, error = space.client.chat_appendStream, ""
        for _ in range(100):
            try:
                await append(**where, markdown_text=" more")
            except SlackApiError as refused:
                error = str(refused.response["error"])
                break
            await asyncio.sleep(0.02)
        assert error == "message_not_in_streaming_state"
        stop = space.client.chat_stopStream(**where)
        assert await error_of(stop) == "message_not_in_streaming_state"
        await space.client.chat_update(**where, text="repaired")
        (stream,) = space.slack.streams
        assert (stream.end, stream.ended_at) == ("expired", stream.started_at + 0.15)


async def test_a_stream_is_closed_in_time_though_nobody_calls() -> None:
    async with room(stream_lifetime_s=0.05) as space:
        await started(space, markdown_text="one")
        await space.slack.wait_for(lambda: space.slack.streams[0].end == "expired", 1.0)


@pytest.mark.parametrize("stays_open", [False, True])
async def test_a_person_may_stop_a_stream(stays_open: bool) -> None:
    subscriptions = DEFAULT_SUBSCRIPTIONS | {"agent_session_stopped"}
    async with room(subscriptions=subscriptions) as space, listening(space.slack) as app:
        root = await ask(space)
        where = await started(space, root, markdown_text="one")
        await space.slack.stop_stream(space.ada, **where, stays_open=stays_open)
        events = {event["type"]: event for event in await app.got(3)}
        told = events["agent_session_stopped"]
        assert (told["channel"], told["thread_ts"]) == (space.general, root)
        assert (told["user"], told["streaming_message_ts"]) == (space.ada, [where["ts"]])
        append = space.client.chat_appendStream(**where, markdown_text="two")
        assert await error_of(append) == "stopped_by_user"
        stop, edit = space.client.chat_stopStream, space.client.chat_update
        if stays_open:
            assert await error_of(edit(**where, text="x")) == "streaming_state_conflict"
            await stop(**where)
        else:
            assert await error_of(stop(**where)) == "message_not_in_streaming_state"
        await edit(**where, text="x")


async def test_who_did_not_subscribe_hears_of_a_stop_by_the_refused_append() -> None:
    async with room() as space, listening(space.slack) as app:
        where = await started(space, markdown_text="one")
        await space.slack.stop_stream(space.ada, **where)
        append = space.client.chat_appendStream(**where, markdown_text="two")
        assert await error_of(append) == "stopped_by_user"
        assert "agent_session_stopped" not in {event["type"] for event in app.events}
        with pytest.raises(ValueError, match="no open stream"):
            await space.slack.stop_stream(space.ada, **where)


async def test_a_stream_in_a_channel_needs_its_recipient() -> None:
    async with room() as space:
        place = {"channel": space.general, "thread_ts": await ask(space)}
        start = space.client.chat_startStream
        assert await error_of(start(**place)) == "missing_recipient_user_id"
        refused = start(**place, recipient_user_id=space.ada)
        assert await error_of(refused) == "missing_recipient_team_id"
        refused = start(**place, recipient_user_id="U0NOBODY", recipient_team_id="T0EMULATOR")
        assert await error_of(refused) == "user_not_found"
        refused = start(**place, recipient_user_id=space.ada, recipient_team_id="T0OTHER")
        assert await error_of(refused) == "team_not_found"


async def test_direct_messages_need_no_recipient_but_a_thread() -> None:
    async with room() as space:
        dm = space.slack.add_dm(space.ada)
        ts = await space.slack.say(space.ada, dm, "question")
        start = space.client.chat_startStream
        refused = space.client.api_call(START, json={"channel": dm, "markdown_text": "one"})
        assert await error_of(refused) == "invalid_thread_ts"
        await start(channel=dm, thread_ts=ts, markdown_text="one")


async def test_a_person_of_another_workspace_has_its_team() -> None:
    async with room() as space:
        eve = space.slack.add_user("Eve", team="T0PARTNER", is_stranger=True)
        shared = space.slack.add_channel("shared", members=[space.ada, eve], is_shared=True)
        place = {"channel": shared, "thread_ts": await space.slack.say(eve, shared, "hi")}
        start = space.client.chat_startStream
        refused = start(**place, recipient_user_id=eve, recipient_team_id="T0EMULATOR")
        assert await error_of(refused) == "user_not_found"
        await start(**place, recipient_user_id=eve, recipient_team_id="T0PARTNER")


@pytest.mark.parametrize("what", ["", "1700000000.000001", "no ts", "a reply"])
async def test_a_stream_needs_the_root_of_a_thread(what: str) -> None:
    async with room() as space:
        thread_ts = what
        if what == "a reply":
            thread_ts = await space.post(text="x", thread_ts=await ask(space))
        who = {"recipient_user_id": space.ada, "recipient_team_id": "T0EMULATOR"}
        refused = space.client.chat_startStream(channel=space.general, thread_ts=thread_ts, **who)
        assert await error_of(refused) == "invalid_thread_ts"
        refused = space.client.assistant_threads_setStatus(
            channel_id=space.general, thread_ts=thread_ts, status="is thinking"
        )
        assert await error_of(refused) == "invalid_thread_ts"


async def test_a_kind_of_channel_may_be_unsupported() -> None:
    kinds = frozenset({"channel", "group", "im"})
    async with room(stream_kinds=kinds) as space:
        mpim = space.slack.add_channel("", "mpim", [space.ada])
        ts = await space.slack.say(space.ada, mpim, "hi")
        who = {"recipient_user_id": space.ada, "recipient_team_id": "T0EMULATOR"}
        refused = space.client.chat_startStream(channel=mpim, thread_ts=ts, **who)
        assert await error_of(refused) == "channel_type_not_supported"


async def test_an_open_stream_ends_with_its_channel() -> None:
    async with room() as space:
        where = await started(space, markdown_text="one")
        append = space.client.chat_appendStream
        space.slack.kick_bot(space.general)
        assert await error_of(append(**where, markdown_text="x")) == "not_in_channel"
        space.slack.archive(space.general)
        assert await error_of(space.client.chat_stopStream(**where)) == "is_archived"


@pytest.mark.parametrize("size", [12_001, 10_601])
async def test_too_long_a_text_is_refused_by_every_stream_method(size: int) -> None:
    async with room() as space:
        assert await error_of(started(space, markdown_text="x" * size)) == "msg_too_long"
        where = await started(space)
        text = "é" * (size // 2 + 1)  # bytes count
        for method in (space.client.chat_appendStream, space.client.chat_stopStream):
            assert await error_of(method(**where, markdown_text=text)) == "msg_too_long"
        await space.client.chat_stopStream(**where, markdown_text="x" * 10_600)


async def test_empty_text_is_refused_and_white_space_is_kept() -> None:
    async with room() as space:
        where = await started(space, markdown_text="a")
        append, stop = space.client.chat_appendStream, space.client.chat_stopStream
        assert await error_of(append(**where, markdown_text="")) == "no_text"
        assert await error_of(append(**where)) == "no_text"
        assert await error_of(stop(**where, markdown_text="")) == "no_text"
        for part in (" ", "\n\n  b", "\tc"):
            await append(**where, markdown_text=part)
        await append(**where, chunks=[{"type": "markdown_text", "text": "  d "}])
        await stop(**where, markdown_text="\n")
        assert space.slack.messages(space.general)[1].sent_markdown == "a \n\n  b\tc  d \n"


async def test_a_stream_is_in_the_thread_without_metadata_until_the_stop_sets_it() -> None:
    async with room() as space:
        root = await ask(space)
        where = await started(space, root, markdown_text="**one**")
        metadata = {"event_type": "reply", "event_payload": {"rev": 1}}

        async def read() -> dict[str, Any]:
            answer = await space.client.conversations_replies(
                channel=space.general, ts=root, include_all_metadata=True
            )
            message: dict[str, Any] = answer["messages"][1]
            return message

        open_one = await read()
        assert open_one["text"] == "**one**"
        assert "metadata" not in open_one
        assert open_one["streaming_state"] == "in_progress"
        label = {"type": "plain_text", "text": "Retry"}
        button = {"type": "button", "action_id": "retry", "text": label}
        actions = {"type": "actions", "elements": [button]}
        await space.client.chat_stopStream(**where, metadata=metadata, blocks=[actions])
        stopped = await read()
        assert stopped["metadata"] == metadata
        assert stopped["streaming_state"] == "completed"
        assert [block["type"] for block in stopped["blocks"]] == ["rich_text", "actions"]
        history = await space.client.conversations_history(channel=space.general)
        assert [message["ts"] for message in history["messages"]] == [root]


# --- rates and faults -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "limits"),
    [
        pytest.param(START, Limits(tier2=2), id="start"),
        pytest.param(STOP, Limits(tier2=3), id="stop"),
        pytest.param(APPEND, Limits(tier4=2), id="append"),
        pytest.param(STATUS, Limits(status=2), id="status"),
    ],
)
async def test_each_method_has_a_budget_of_its_own(method: str, limits: Limits) -> None:
    async with room(limits=limits) as space:
        root = await ask(space)
        places = [{"channel": "", "ts": ""}] * 3
        if method == STOP:
            places = [await started(space, root) for _ in range(3)]
            await space.client.chat_stopStream(**places[0])
            places = [*places[1:], places[0]]
        elif method == APPEND:
            places = [await started(space, root)] * 3
        for place in places[:2]:
            await call(space, method, place, root)
        with pytest.raises(SlackApiError) as refused:
            await call(space, method, places[2], root)
        assert refused.value.response.status_code == 429
        assert refused.value.response["error"] == "ratelimited"
        assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60
        assert space.slack.count(method, "ratelimited") == 1
        await space.post(text="other methods go on", thread_ts=root)


FAULTS = [
    # what goes wrong, the status and the error that the app sees, whether it took effect
    pytest.param(Fault("", "http", status=500), 500, "", False, id="500 before"),
    pytest.param(Fault("", "apply_http", status=500), 500, "", True, id="500 after"),
    pytest.param(Fault("", "rate_limited", retry_after_s=7), 429, "rate_limited", False, id="429"),
    pytest.param(Fault("", "error", error="fatal_error"), 200, "fatal_error", False, id="error"),
    pytest.param(Fault("", "reset"), 0, "", False, id="dropped before"),
    pytest.param(Fault("", "lost"), 0, "", True, id="dropped after"),
    pytest.param(Fault("", "delay", seconds=0.02), 200, "", True, id="slow"),
    pytest.param(Fault("", "late", seconds=0.02), 200, "", True, id="slow after"),
]


@pytest.mark.parametrize("method", [START, APPEND, STOP, STATUS])
@pytest.mark.parametrize(("fault", "status", "error", "applied"), FAULTS)
async def test_every_fault_can_hit_every_method(
    fault: Fault, status: int, error: str, applied: bool, method: str
) -> None:
    async with room() as space:
        root, other = await ask(space), await ask(space)
        where = await started(space, root, markdown_text="one")
        chosen = Fault(
            method, fault.kind, fault.error, fault.status, fault.retry_after_s, fault.seconds
        )
        space.slack.fault(chosen)
        seen: tuple[int, str] = (200, "")
        try:
            await call(space, method, where, other)
        except SlackApiError as refused:
            data = refused.response.data
            seen = (refused.response.status_code, str(dict(data or {}).get("error") or ""))
            if status == 429:
                assert refused.response.headers["Retry-After"] == "7"
        except aiohttp.ClientError:
            seen = (0, "")
        assert seen == (status, error)
        message = space.slack.message(**where)
        assert message is not None
        effects = {
            START: len(space.slack.streams) == 2,
            APPEND: message.sent_markdown == "one two",
            STOP: message.sent_markdown == "one two",
            STATUS: space.slack.status(space.general, other) == "is thinking",
        }
        assert effects[method] is applied
        assert space.slack.streams[0].is_open is not (method == STOP and applied)


# --- status lines ---------------------------------------------------------------------------------


async def test_a_status_line_goes_when_the_app_posts_or_streams_in_the_thread() -> None:
    async with room() as space:
        root, other, third = [await ask(space) for _ in range(3)]
        for thread in (root, other, third):
            await set_status(space, thread)
        await space.post(text="elsewhere")
        await space.slack.say(space.ada, space.general, "well?", thread_ts=third)
        await space.post(text="here", thread_ts=root)
        await started(space, other)
        await set_status(space, third, "")
        ends = [line.end for line in space.slack.status_lines]
        assert ends == ["posted", "posted", "cleared"]


async def test_a_status_line_lapses_unless_it_is_renewed() -> None:
    async with room(status_lifetime_s=0.8) as space:
        root, changes = await ask(space), space.slack.changes(space.general)
        await set_status(space, root)
        await asyncio.sleep(0.05)
        await set_status(space, root, "is still thinking")
        told = [await asyncio.wait_for(anext(changes), 10.0) for _ in range(3)]
        assert [change.status and change.status.status for change in told] == [
            "is thinking",
            "is still thinking",
            "",
        ]
        first, second = space.slack.status_lines
        assert (first.end, second.end) == ("replaced", "lapsed")
        assert first.until == second.since or second.since - (first.until or 0.0) < 0.01
        assert second.until == second.since + 0.8
        assert space.slack.status(space.general, root) == ""


# --- what a person sees ---------------------------------------------------------------------------


async def test_the_words_of_every_way_to_deliver_are_seen_over_time() -> None:
    async with room() as space:
        root = await ask(space)
        where = await started(space, root, markdown_text="one")
        await space.client.chat_appendStream(**where, markdown_text=" two")
        await space.client.chat_stopStream(**where, markdown_text=" three")
        blocks = [{"type": "markdown", "text": "four"}]
        ts = await space.post(text="four", blocks=blocks, thread_ts=root)
        blocks = [{"type": "markdown", "text": "four five"}]
        await space.client.chat_update(channel=space.general, ts=ts, text="four", blocks=blocks)
        await space.client.chat_delete(**where)
        glimpses = space.slack.reading(space.general, root)
        assert [glimpse.parts for glimpse in glimpses] == [
            ("one",),
            ("one two",),
            ("one two three",),
            ("one two three", "four"),
            ("one two three", "four five"),
            ("four five",),
        ]
        times = [glimpse.at for glimpse in glimpses]
        assert times == sorted(times)


async def test_whether_there_was_a_sign_of_life_all_the_time_is_known() -> None:
    async with room(status_lifetime_s=0.1) as space:
        loop, root = asyncio.get_running_loop(), await ask(space)
        asked_at = loop.time()
        await set_status(space, root)
        await asyncio.sleep(0.15)
        ts = await space.post(text="here", thread_ts=root)
        posted_at = loop.time()
        await space.client.chat_delete(channel=space.general, ts=ts)
        until = loop.time() + 1.0
        before, lapsed, after = space.slack.silences(space.general, root, asked_at, until)
        assert before[0] == asked_at
        assert lapsed[0] == space.slack.status_lines[0].until
        assert before[1] < lapsed[0] < lapsed[1] <= posted_at <= after[0]
        assert after[1] == until
        assert space.slack.silences(space.general, root, before[1], lapsed[0]) == []
