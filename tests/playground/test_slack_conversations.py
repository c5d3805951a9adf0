"""Reading: conversations, users, status lines."""

from __future__ import annotations

from bot.playground.slack import DEFAULT_SCOPES

from .slack_kit import error_of, room


async def test_replies_come_oldest_first_with_the_root_on_every_page() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "root")
        for number in range(5):
            await space.slack.say(space.ada, space.general, str(number), thread_ts=root)
        texts: list[list[str]] = []
        cursor = None
        while cursor != "":
            page = await space.client.conversations_replies(
                channel=space.general, ts=root, limit=2, cursor=cursor
            )
            texts.append([message["text"] for message in page["messages"]])
            cursor = page.get("response_metadata", {}).get("next_cursor", "")
            assert page["has_more"] is (cursor != "")
        assert texts == [["root", "0", "1"], ["root", "2", "3"], ["root", "4"]]


async def test_replies_can_be_bounded_by_time() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "root")
        stamps = [
            await space.slack.say(space.ada, space.general, str(number), thread_ts=root)
            for number in range(4)
        ]
        call = space.client.conversations_replies
        bounds = {"oldest": stamps[1], "latest": stamps[3]}
        page = await call(channel=space.general, ts=root, **bounds)
        assert [message["text"] for message in page["messages"]] == ["root", "2"]
        page = await call(channel=space.general, ts=root, inclusive=True, **bounds)
        assert [message["text"] for message in page["messages"]] == ["root", "1", "2", "3"]


async def test_metadata_is_shown_only_on_request() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "root")
        metadata = {"event_type": "turn", "event_payload": {"part": 0}}
        await space.post(text="x", thread_ts=root, metadata=metadata)
        where = {"channel": space.general, "ts": root}
        page = await space.client.conversations_replies(**where)
        assert "metadata" not in page["messages"][1]
        page = await space.client.conversations_replies(**where, include_all_metadata=True)
        assert page["messages"][1]["metadata"] == metadata


async def test_messages_look_as_slack_shapes_them() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "root")
        reply = await space.post(text="x", thread_ts=root)
        page = await space.client.conversations_replies(channel=space.general, ts=root)
        first, second = page["messages"]
        assert (first["thread_ts"], first["reply_count"]) == (root, 1)
        assert (first["latest_reply"], first["user"]) == (reply, space.ada)
        assert "client_msg_id" in first
        assert (second["parent_user_id"], second["bot_id"]) == (space.ada, "B0BOT")
        assert second["bot_profile"]["app_id"] == "A0EMULATOR"


async def test_a_reply_alone_and_an_unknown_thread() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "root")
        reply = await space.post(text="x", thread_ts=root)
        page = await space.client.conversations_replies(channel=space.general, ts=reply)
        assert [message["ts"] for message in page["messages"]] == [reply]
        call = space.client.conversations_replies(channel=space.general, ts="1700000000.000001")
        assert await error_of(call) == "thread_not_found"


async def test_history_comes_newest_first_without_replies() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "one")
        await space.slack.say(space.ada, space.general, "hidden", thread_ts=root)
        await space.slack.say(space.ada, space.general, "two")
        page = await space.client.conversations_history(channel=space.general)
        assert [message["text"] for message in page["messages"]] == ["two", "one"]
        page = await space.client.conversations_history(channel=space.general, limit=1)
        cursor = page["response_metadata"]["next_cursor"]
        page = await space.client.conversations_history(channel=space.general, cursor=cursor)
        assert [message["text"] for message in page["messages"]] == ["one"]


async def test_bad_paging_is_refused() -> None:
    async with room() as space:
        history = space.client.conversations_history
        assert await error_of(history(channel=space.general, cursor="x")) == "invalid_cursor"
        assert await error_of(history(channel=space.general, limit=1_000)) == "invalid_limit"


async def test_only_members_read() -> None:
    async with room() as space:
        ts = await space.slack.say(space.ada, space.general, "one")
        space.slack.kick_bot(space.general)
        call = space.client.conversations_replies(channel=space.general, ts=ts)
        assert await error_of(call) == "not_in_channel"
        secret = space.slack.add_channel("secret", "group", bot_is_member=False)
        call = space.client.conversations_history(channel=secret)
        assert await error_of(call) == "channel_not_found"


async def test_the_scope_depends_on_the_kind_of_channel() -> None:
    async with room(scopes=DEFAULT_SCOPES - {"groups:read"}) as space:
        info = await space.client.conversations_info(channel=space.general)
        assert info["channel"]["name"] == "general"
        members = await space.client.conversations_members(channel=space.general)
        assert members["members"] == [space.ada, "U0BOT"]
        secret = space.slack.add_channel("secret", "group")
        call = space.client.conversations_info(channel=secret)
        assert await error_of(call) == "missing_scope"


async def test_conversations_open_finds_the_direct_messages() -> None:
    async with room() as space:
        answer = await space.client.conversations_open(users=space.ada)
        assert answer["channel"]["id"] == space.slack.add_dm(space.ada)


async def test_users_info_tells_little_of_a_stranger() -> None:
    async with room() as space:
        eve = space.slack.add_user("Eve", team="T0OTHER", is_stranger=True)
        ada = (await space.client.users_info(user=space.ada))["user"]
        assert (ada["profile"]["display_name"], ada["tz"]) == ("ada", "Europe/London")
        assert (ada["team_id"], ada["is_bot"]) == ("T0EMULATOR", False)
        stranger = (await space.client.users_info(user=eve))["user"]
        assert stranger["is_stranger"] is True
        assert stranger["team_id"] == "T0OTHER"
        assert "tz" not in stranger
        assert await error_of(space.client.users_info(user="U0")) == "user_not_found"


async def test_who_the_app_is() -> None:
    async with room() as space:
        answer = await space.client.auth_test()
        assert (answer["user_id"], answer["bot_id"]) == ("U0BOT", "B0BOT")
        assert answer["team_id"] == "T0EMULATOR"
        bot = await space.client.bots_info(bot="B0BOT")
        assert bot["bot"]["user_id"] == "U0BOT"
        ts = await space.post(text="x")
        link = await space.client.chat_getPermalink(channel=space.general, message_ts=ts)
        assert link["permalink"].endswith(f"/p{ts.replace('.', '')}")


async def test_a_status_line_stays_until_the_app_posts_in_the_thread() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "one")
        where = {"channel_id": space.general, "thread_ts": root}
        await space.client.assistant_threads_setStatus(**where, status="is thinking")
        assert space.slack.status(space.general, root) == "is thinking"
        reply = await space.post(text="x", thread_ts=root)
        assert space.slack.status(space.general, root) == ""
        await space.client.chat_update(channel=space.general, ts=reply, text="y")
        assert [each.status for each in space.slack.statuses] == ["is thinking"]
        where["thread_ts"] = reply
        call = space.client.assistant_threads_setStatus(**where, status="x")
        assert await error_of(call) == "invalid_thread_ts"


async def test_a_status_line_goes_by_itself() -> None:
    async with room(status_lifetime_s=0.0) as space:
        root = await space.slack.say(space.ada, space.general, "one")
        await space.client.assistant_threads_setStatus(
            channel_id=space.general, thread_ts=root, status="is thinking"
        )
        assert space.slack.status(space.general, root) == ""


async def test_suggested_prompts_are_four_at_most() -> None:
    async with room() as space:
        prompts = [{"title": "t", "message": "m"}] * 5
        dm = space.slack.add_dm(space.ada)
        call = space.client.assistant_threads_setSuggestedPrompts
        assert await error_of(call(channel_id=dm, prompts=prompts)) == "invalid_arguments"
        await call(channel_id=dm, prompts=prompts[:4])
        assert len(space.slack.prompts) == 1
