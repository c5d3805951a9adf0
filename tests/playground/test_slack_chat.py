"""chat.*: what the emulator does with the app's messages."""

from __future__ import annotations

from typing import Any

import pytest

from .slack_kit import Room, error_of, room


def markdown(text: str) -> dict[str, Any]:
    return {"type": "markdown", "text": text}


def button(**more: Any) -> dict[str, Any]:
    text = {"type": "plain_text", "text": "Stop"}
    return {"type": "button", "text": text, "action_id": "stop", **more}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def table(rows: int, columns: int = 2) -> str:
    line = "|" + "x|" * columns
    return "\n".join([line, "|" + "-|" * columns, *[line] * (rows - 1)])


async def update(space: Room, ts: str, **arguments: Any) -> None:
    # Not chat_update: it warns where a call has no text.
    body = {"channel": space.general, "ts": ts, **arguments}
    await space.client.api_call("chat.update", json=body)


async def test_a_post_is_stored_as_the_app_sent_it_and_as_slack_shows_it() -> None:
    async with room() as space:
        ts = await space.post(text="a & b", blocks=[markdown("**bold** and\n\n- one\n- two")])
        message = space.slack.message(space.general, ts)
        assert message is not None
        assert message.sent_text == "a & b"
        assert message.text == "a &amp; b"
        assert message.sent_blocks == [markdown("**bold** and\n\n- one\n- two")]
        assert message.sent_markdown == "**bold** and\n\n- one\n- two"
        assert [block["type"] for block in message.blocks] == ["rich_text"]
        assert message.shown == "bold and\none\ntwo"
        assert (message.user, message.bot_id) == ("U0BOT", "B0BOT")


async def test_ts_are_strictly_increasing_strings_with_six_decimals() -> None:
    async with room(enforce_limits=False) as space:
        stamps = [await space.post(text="x") for _ in range(20)]
        assert stamps == sorted(set(stamps))
        assert all(len(ts.split(".")[1]) == 6 for ts in stamps)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"text": ""}, "no_text", id="empty text"),
        pytest.param({"text": " \n"}, "no_text", id="blank text"),
        pytest.param({"markdown_text": " "}, "no_text", id="blank markdown_text"),
        pytest.param({"markdown_text": "a", "text": "b"}, "markdown_text_conflict", id="with text"),
        pytest.param({"markdown_text": "a", "text": ""}, "markdown_text_conflict", id="with empty"),
        pytest.param(
            {"markdown_text": "a", "blocks": []}, "markdown_text_conflict", id="with blocks"
        ),
        pytest.param({"markdown_text": "a" * 12_001}, "msg_too_long", id="long markdown_text"),
        pytest.param({"text": "a", "blocks": {}}, "invalid_blocks_format", id="blocks no list"),
        pytest.param({"text": "a", "metadata": "x"}, "invalid_metadata_format", id="metadata"),
        pytest.param(
            {"text": "a", "metadata": {"event_type": "t"}}, "invalid_metadata_format", id="payload"
        ),
        pytest.param(
            {"text": "a", "metadata": {"event_type": "t", "event_payload": {"x": "y" * 9000}}},
            "metadata_too_large",
            id="large metadata",
        ),
    ],
)
async def test_a_post_without_proper_content_is_refused(
    arguments: dict[str, Any], error: str
) -> None:
    async with room() as space:
        call = space.client.api_call(
            "chat.postMessage", json={"channel": space.general, **arguments}
        )
        assert await error_of(call) == error
        assert space.slack.messages(space.general) == []


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        pytest.param([{"type": "marquee"}], "invalid_blocks", id="unknown type"),
        pytest.param([markdown("")], "invalid_blocks", id="empty markdown"),
        pytest.param([markdown("x" * 12_001)], "msg_blocks_too_long", id="long markdown"),
        pytest.param(
            [markdown("x" * 6_001), markdown("x" * 6_000)], "msg_blocks_too_long", id="two long"
        ),
        pytest.param(
            [{"type": "section", "text": mrkdwn("x" * 2_600)}] * 5, "msg_blocks_too_long", id="all"
        ),
        pytest.param([{"type": "section", "text": mrkdwn("x" * 3_001)}], "invalid_blocks", id="s"),
        pytest.param([{"type": "section", "text": mrkdwn("")}], "invalid_blocks", id="empty s"),
        pytest.param([{"type": "header", "text": plain("x" * 151)}], "invalid_blocks", id="h"),
        pytest.param([{"type": "header", "text": mrkdwn("x")}], "invalid_blocks", id="h mrkdwn"),
        pytest.param(
            [{"type": "rich_text", "elements": [{"type": "text", "text": "x"}]}],
            "invalid_blocks",
            id="rich text without a section",
        ),
        pytest.param([{"type": "table", "rows": [["x"]]}], "invalid_blocks", id="bare cells"),
        pytest.param([{"type": "divider"}] * 51, "invalid_blocks", id="51 blocks"),
        pytest.param(
            [{"type": "context", "elements": [mrkdwn("x")] * 11}], "invalid_blocks", id="context"
        ),
        pytest.param([{"type": "context", "elements": []}], "invalid_blocks", id="no elements"),
        pytest.param(
            [actions(*[button(action_id=f"a{n}") for n in range(26)])], "invalid_blocks", id="26"
        ),
        pytest.param([actions(button(), button())], "invalid_blocks", id="twice one action_id"),
        pytest.param([actions(button(text=plain("x" * 76)))], "invalid_blocks", id="label"),
        pytest.param([actions(button(value="x" * 2_001))], "invalid_blocks", id="value"),
        pytest.param([actions(button(action_id="x" * 256))], "invalid_blocks", id="action_id"),
        pytest.param([actions(button(style="blue"))], "invalid_blocks", id="style"),
        pytest.param([{"type": "divider", "text": "x"}], "invalid_blocks", id="unknown property"),
        pytest.param(
            [{"type": "divider", "block_id": "a"}] * 2, "invalid_blocks", id="twice one block_id"
        ),
        pytest.param([markdown(f"{table(2)}\n\nand\n\n{table(2)}")], "invalid_blocks", id="tables"),
        pytest.param([markdown(table(2)), markdown(table(2))], "invalid_blocks", id="in two"),
        pytest.param([markdown(table(101))], "invalid_blocks", id="rows"),
        pytest.param([markdown(table(2, 21))], "invalid_blocks", id="columns"),
    ],
)
async def test_blocks_over_slacks_limits_are_refused(
    blocks: list[dict[str, Any]], error: str
) -> None:
    async with room() as space:
        call = space.client.chat_postMessage(channel=space.general, text="x", blocks=blocks)
        assert await error_of(call) == error


async def test_blocks_at_slacks_limits_are_accepted() -> None:
    async with room() as space:
        await space.post(text="x", blocks=[markdown("x" * 12_000)])
        await space.post(text="x", blocks=[markdown(table(100)), actions(button(value="v" * 2000))])
        await space.post(text="x", blocks=[markdown("```\n" + table(2) + "\n\n```\n\n" + table(3))])


async def test_an_update_over_4000_bytes_is_refused() -> None:
    async with room() as space:
        ts = await space.post(text="x")
        blocks = [markdown("short")]
        await update(space, ts, text="x" * 4_000, blocks=blocks)
        for text in ("x" * 4_001, "é" * 2_001, "&" * 801):
            call = space.client.chat_update(channel=space.general, ts=ts, text=text, blocks=blocks)
            assert await error_of(call) == "msg_too_long"


async def test_a_long_post_without_blocks_becomes_several_messages_under_one_ts() -> None:
    async with room() as space:
        ts = await space.post(text="word " * 1_800)
        parts = space.slack.messages(space.general)
        assert len(parts) == 3
        assert parts[0].ts == ts
        await space.post(text="word " * 1_800, blocks=[markdown("x")])
        assert len(space.slack.messages(space.general)) == 4


async def test_a_post_over_40000_characters_is_cut_with_a_warning() -> None:
    async with room() as space:
        answer = await space.client.chat_postMessage(
            channel=space.general, text="x" * 40_001, blocks=[markdown("x")]
        )
        assert answer["response_metadata"]["warnings"] == ["message_truncated"]
        assert len(space.slack.messages(space.general)[0].text) == 40_000


async def test_text_without_blocks_removes_the_blocks_of_an_updated_message() -> None:
    async with room() as space:
        ts = await space.post(text="x", blocks=[markdown("**x**")])
        await update(space, ts, text="y")
        message = space.slack.message(space.general, ts)
        assert message is not None
        assert (message.text, message.blocks, message.sent_markdown) == ("y", [], "")


async def test_an_update_keeps_what_it_does_not_mention() -> None:
    async with room() as space:
        metadata = {"event_type": "reply", "event_payload": {"rev": 1}}
        ts = await space.post(text="x", blocks=[markdown("**x**")], metadata=metadata)
        await update(space, ts, metadata={"event_type": "reply", "event_payload": {"rev": 2}})
        message = space.slack.message(space.general, ts)
        assert message is not None
        assert message.shown == "x"
        assert message.metadata == {"event_type": "reply", "event_payload": {"rev": 2}}
        await update(space, ts, text="y", blocks=[markdown("z")])
        assert message.metadata == {"event_type": "reply", "event_payload": {"rev": 2}}
        await update(space, ts, text="y", metadata={})
        assert message.metadata is None


async def test_an_update_that_leaves_nothing_to_show_is_refused() -> None:
    async with room() as space:
        ts = await space.post(text="x", blocks=[markdown("x")])
        for arguments in ({}, {"text": ""}, {"text": " ", "blocks": []}):
            call = space.client.api_call(
                "chat.update", json={"channel": space.general, "ts": ts, **arguments}
            )
            assert await error_of(call) == "no_text"


async def test_every_update_gives_fresh_block_ids() -> None:
    async with room() as space:
        ts = await space.post(text="x", blocks=[markdown("x")])
        message = space.slack.message(space.general, ts)
        assert message is not None
        before = message.blocks[0]["block_id"]
        await update(space, ts, text="x", blocks=[markdown("x")])
        assert message.blocks[0]["block_id"] != before


async def test_only_own_living_messages_can_be_updated_or_deleted() -> None:
    async with room() as space:
        hers = await space.slack.say(space.ada, space.general, "mine")
        ours = await space.post(text="ours")
        client, channel = space.client, space.general
        refused = client.chat_update(channel=channel, ts=hers, text="y")
        assert await error_of(refused) == "cant_update_message"
        refused = client.chat_delete(channel=channel, ts=hers)
        assert await error_of(refused) == "cant_delete_message"
        await client.chat_delete(channel=channel, ts=ours)
        refused = client.chat_update(channel=channel, ts=ours, text="y")
        assert await error_of(refused) == "message_not_found"
        refused = client.chat_delete(channel=channel, ts=ours)
        assert await error_of(refused) == "message_not_found"
        deleted = space.slack.message(channel, ours)
        assert deleted is not None
        assert deleted.deleted


async def test_an_archived_channel_is_archived_for_posts_and_inactive_for_updates() -> None:
    async with room() as space:
        ts = await space.post(text="x")
        space.slack.archive(space.general)
        post = space.client.chat_postMessage(channel=space.general, text="x")
        assert await error_of(post) == "is_archived"
        edit = space.client.chat_update(channel=space.general, ts=ts, text="x")
        assert await error_of(edit) == "is_inactive"


async def test_the_app_cannot_post_where_it_is_no_member() -> None:
    async with room() as space:
        slack = space.slack
        public = slack.add_channel("random", bot_is_member=False)
        private = slack.add_channel("secret", kind="group")
        slack.kick_bot(private)
        expected = {
            public: "not_in_channel",
            private: "channel_not_found",
            "C0": "channel_not_found",
        }
        for channel, error in expected.items():
            assert await error_of(space.client.chat_postMessage(channel=channel, text="x")) == error


async def test_a_user_id_is_a_channel_for_posts_only() -> None:
    async with room() as space:
        answer = await space.client.chat_postMessage(channel=space.ada, text="x")
        assert answer["channel"] == space.slack.add_dm(space.ada)
        edit = space.client.chat_update(channel=space.ada, ts=answer["ts"], text="y")
        assert await error_of(edit) == "channel_not_found"


async def test_a_reply_needs_the_ts_of_a_root() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "hello")
        reply = await space.post(text="x", thread_ts=root)
        call = space.client.chat_postMessage(channel=space.general, text="x", thread_ts=reply)
        assert await error_of(call) == "cannot_reply_to_message"
        call = space.client.chat_postMessage(channel=space.general, text="x", thread_ts="soon")
        assert await error_of(call) == "invalid_thread_ts"
        thread = space.slack.messages(space.general, thread_ts=root)
        assert [message.ts for message in thread] == [root, reply]


async def test_a_reply_to_a_deleted_question_lands_in_the_channel() -> None:
    async with room() as space:
        root = await space.slack.say(space.ada, space.general, "hello")
        await space.slack.delete(space.ada, space.general, root)
        ts = await space.post(text="x", thread_ts=root)
        message = space.slack.message(space.general, ts)
        assert message is not None
        assert message.thread_ts is None


@pytest.mark.parametrize("what", ["<!channel>", "<!here|here>", "<!subteam^S0AB>", "<@U0AB>"])
async def test_live_mentions_of_the_app_are_noticed(what: str) -> None:
    async with room(enforce_limits=False) as space:
        await space.post(text="x", blocks=[markdown(f"so {what}, look")])
        await space.post(text="x", blocks=[markdown(f"```\n{what}\n```")])
        await space.post(text=f"so {what}")
        await space.post(text="x", blocks=[{"type": "section", "text": mrkdwn(what)}])
        ts = await space.post(text="x")
        await update(space, ts, text="x", blocks=[markdown(what)])
        assert [each.what for each in space.slack.notified] == [what] * 5


async def test_neutralised_mentions_notify_nobody() -> None:
    async with room() as space:
        await space.post(text="&lt;!channel&gt; @channel", blocks=[markdown("<\u2060!channel>")])
        assert space.slack.notified == []


async def test_links_unfurl_unless_both_switches_are_off() -> None:
    async with room() as space:
        await space.post(text="https://a.example", unfurl_links=False, unfurl_media=False)
        assert space.slack.unfurled == []
        ts = await space.post(text="x", blocks=[markdown("[a](https://a.example)")])
        assert space.slack.unfurled == [(space.general, ts, "https://a.example")]


async def test_an_ephemeral_message_reaches_members_only_and_cannot_be_edited() -> None:
    async with room() as space:
        bob = space.slack.add_user("Bob")
        client, channel = space.client, space.general
        answer = await client.chat_postEphemeral(channel=channel, user=space.ada, text="psst")
        assert space.slack.ephemerals[0].text == "psst"
        assert space.slack.messages(channel) == []
        edit = client.chat_update(channel=channel, ts=answer["message_ts"], text="y")
        assert await error_of(edit) == "message_not_found"
        post = client.chat_postEphemeral(channel=channel, user=bob, text="psst")
        assert await error_of(post) == "user_not_in_channel"


async def test_revisions_keep_every_state_that_the_app_sent() -> None:
    async with room() as space:
        ts = await space.post(text="1", blocks=[markdown("one")])
        await update(space, ts, text="2", blocks=[markdown("one two")])
        message = space.slack.message(space.general, ts)
        assert message is not None
        states = [(each.method, each.text, each.markdown) for each in message.revisions]
        assert states == [("chat.postMessage", "1", "one"), ("chat.update", "2", "one two")]
