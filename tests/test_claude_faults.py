"""What a person sees when Claude fails, over real HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot import claude as claude_module
from bot import errors
from bot.live_message import NOTHING
from bot.playground.claude import Damage, Reply
from bot.serve import Server
from bot.turns.sentences import CONTEXT_FULL, PAUSED, REFUSED, TRUNCATED
from tests.conftest import World, before_the_aside, going_on, prose, same

TEXT = prose(1_500)
CLOCKS = {"first_event_timeout_s": 2.0, "idle_timeout_s": 0.6, "total_timeout_s": 20.0}


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_module, "BACKOFF_S", 0.02)


@pytest.fixture
async def bot(world: World) -> AsyncIterator[Server]:
    async with world.bot(**CLOCKS) as server:
        yield server


def failing(status: int, kind: str, times: int = 1, **more: object) -> list[Reply]:
    return [Reply(status=status, error_type=kind, **more)] * times  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(529, "overloaded_error", id="overloaded"),
        pytest.param(500, "api_error", id="an internal error"),
        pytest.param(504, "timeout_error", id="a gateway timeout"),
        pytest.param(429, "rate_limit_error", id="a rate limit"),
    ],
)
async def test_a_passing_error_before_the_text_is_tried_again(
    world: World, bot: Server, status: int, kind: str
) -> None:
    world.claude.script(*failing(status, kind, 2), Reply(text="At last."))
    ts = await world.ask()
    await world.until_shown("At last.", ts)
    assert len(world.claude.requests) == 3
    assert len(world.replies(ts)) == 1


async def test_retry_after_is_the_least_that_is_waited(world: World, bot: Server) -> None:
    world.claude.script(
        *failing(429, "rate_limit_error", retry_after=0.6), Reply(text="After a while.")
    )
    ts = await world.ask()
    await world.until_shown("After a while.", ts)
    first, second = world.claude.requests
    assert second.at - first.at >= 0.6


@pytest.mark.parametrize(
    ("status", "kind", "attempts", "sentence"),
    [
        pytest.param(529, "overloaded_error", 7, errors.ClaudeBusy.sentence, id="overloaded"),
        pytest.param(500, "api_error", 7, errors.ClaudeFailing.sentence, id="failing"),
        pytest.param(400, "invalid_request_error", 1, errors.ClaudeRejected.sentence, id="400"),
        pytest.param(401, "authentication_error", 1, errors.ClaudeMisconfigured.sentence, id="401"),
        pytest.param(402, "billing_error", 1, errors.ClaudeOutOfCredit.sentence, id="402"),
        pytest.param(403, "permission_error", 1, errors.ClaudeMisconfigured.sentence, id="403"),
        pytest.param(404, "not_found_error", 2, errors.ModelUnknown.sentence, id="404"),
        pytest.param(413, "request_too_large", 1, errors.ConversationTooLong.sentence, id="413"),
    ],
)
async def test_a_lasting_error_ends_in_the_placeholder_with_a_plain_sentence(
    world: World, bot: Server, status: int, kind: str, attempts: int, sentence: str
) -> None:
    """Four attempts, two with the other model, one in one piece; or none where it cannot help."""
    world.claude.script(*failing(status, kind, 8))
    ts = await world.ask()
    await world.until_says(sentence, ts)
    await world.idle()
    assert len(world.claude.requests) == attempts
    assert len(world.replies(ts)) == 1
    assert "Thinking" not in world.replies(ts)[0].shown


async def test_a_spending_limit_is_not_tried_again(world: World, bot: Server) -> None:
    world.claude.script(
        *failing(429, "rate_limit_error", 3, error_code="enforced_spend_limit_reached")
    )
    ts = await world.ask()
    await world.until_says(errors.ClaudeOutOfCredit.sentence, ts)
    assert len(world.claude.requests) == 1


BREAKS = [
    pytest.param("cut", id="cut by FIN"),
    pytest.param("reset", id="cut by RST"),
    pytest.param("silent_end", id="a proper end too early"),
    pytest.param("close_delimited", id="cut by a proxy"),
    pytest.param("half_event", id="half an event"),
    pytest.param("half_utf8", id="half a character"),
    pytest.param("bad_json", id="malformed JSON"),
    pytest.param("error", id="an error event"),
    pytest.param("error_text", id="an error event that is no JSON"),
    pytest.param("stall", id="a stall"),
    pytest.param("pings", id="only pings"),
]
FENCED = f"{prose(600)}\n\n```python\n" + "\n".join(
    f"value_{n} = compute({n})  # größer als {n}" for n in range(40)
)
TEXTS = {
    "in prose": (prose(1_500), 800),
    "before the text": (prose(800), 0),
    "in the first words": (prose(800), 100),
    "in code": (FENCED + "\n```\n\nThat is all.", 1_200),
    "in Chinese": ("".join(f"这是第{n}句话，说的是自己的事情。" for n in range(90)), 700),
}


@pytest.mark.parametrize("damage", BREAKS)
@pytest.mark.parametrize("where", TEXTS)
async def test_a_broken_reply_is_gone_on_with_and_ends_as_one_whole_text(
    world: World, bot: Server, damage: str, where: str
) -> None:
    text, at = TEXTS[where]
    world.claude.script(Reply(text=text, damage=Damage(damage, at=at)))  # type: ignore[arg-type]
    world.claude.default = going_on(text)
    ts = await world.ask()
    await world.until_shown(text, ts)
    await world.idle()
    (reply,) = world.replies(ts)
    assert same(reply.shown.replace("```", ""), reply.shown)
    assert len(world.claude.requests) == 2
    assert world.claude.open_streams == 0


@pytest.mark.parametrize("damage", BREAKS)
async def test_when_nothing_helps_the_partial_text_stays_with_its_reason(
    world: World, bot: Server, damage: str
) -> None:
    broken = Reply(text=TEXT, damage=Damage(damage, at=800))  # type: ignore[arg-type]
    world.claude.script(broken)
    gone = Reply(text="", damage=Damage("cut", at=-1))
    world.claude.default = lambda body: gone
    ts = await world.ask()
    await world.until_says(errors.ClaudeInterrupted.sentence, ts)
    await world.idle()
    (reply,) = world.replies(ts)
    assert len(reply.sent_markdown) >= 700
    assert TEXT.startswith(reply.sent_markdown)
    assert world.claude.open_streams == 0


@pytest.mark.parametrize("again", [12, 25, 200])
async def test_what_claude_repeats_at_the_seam_is_removed(
    world: World, bot: Server, again: int
) -> None:
    world.claude.script(Reply(text=TEXT, damage=Damage("reset", at=900)))
    world.claude.default = going_on(TEXT, again=again)
    ts = await world.ask()
    await world.until_shown(TEXT, ts)
    quoted = world.claude.requests[-1].body["messages"]
    assert [turn["role"] for turn in quoted] == ["user"]


async def test_two_breaks_are_resumed_and_the_third_goes_to_the_other_model(
    world: World, bot: Server
) -> None:
    text = prose(4_000)
    going = going_on(text)
    breaks = iter([Damage("cut", at=900)] * 3)

    def answer(body: dict[str, object]) -> Reply:
        return replace(going(body), damage=next(breaks, None))

    world.claude.default = answer
    ts = await world.ask()
    await world.until_shown(text, ts)
    models = [request.body["model"] for request in world.claude.requests]
    assert models == ["claude-sonnet-5-5"] * 3 + ["claude-haiku-5-5"]


async def test_an_overloaded_model_gives_way_to_the_other_one(world: World, bot: Server) -> None:
    busy = Reply(status=529, error_type="overloaded_error", keep=True)
    world.claude.script(replace(busy, when=lambda body: body["model"] == "claude-sonnet-5-5"))
    world.claude.default = lambda body: Reply(text="From the other model.")
    ts = await world.ask()
    await world.until_shown("From the other model.", ts)


async def test_a_retired_model_gives_way_at_once(world: World, bot: Server) -> None:
    world.claude.script(*failing(404, "not_found_error"), Reply(text="From the other model."))
    ts = await world.ask()
    await world.until_shown("From the other model.", ts)
    assert len(world.claude.requests) == 2


async def test_a_wait_of_more_than_a_minute_goes_to_the_other_model_at_once(
    world: World, bot: Server
) -> None:
    world.claude.script(
        *failing(429, "rate_limit_error", retry_after=3_600), Reply(text="No wait.")
    )
    ts = await world.ask()
    await world.until_shown("No wait.", ts)
    assert world.claude.requests[-1].body["model"] == "claude-haiku-5-5"


async def test_when_both_models_refuse_for_long_it_is_said_when_to_come_back(
    world: World, bot: Server
) -> None:
    world.claude.script(*failing(429, "rate_limit_error", 8, retry_after=600))
    ts = await world.ask()
    await world.until_says("try again in about 10 minutes", ts)
    assert len(world.claude.requests) == 2


async def test_the_rest_is_written_in_one_piece_when_no_stream_holds(
    world: World, bot: Server
) -> None:
    going = going_on(TEXT)

    def answer(body: dict[str, object]) -> Reply:
        if body.get("stream"):
            return replace(going(body), damage=Damage("reset", at=0 if _resumes(body) else 800))
        return going(body)

    world.claude.default = answer
    ts = await world.ask()
    await world.until_shown(TEXT, ts)
    last = world.claude.requests[-1].body
    assert not last.get("stream") and last["max_tokens"] == 4_000


def _resumes(body: dict[str, object]) -> bool:
    return "interrupted" in str(body["messages"])


async def test_a_reply_that_begins_again_says_so_and_never_shows_less(
    world: World, bot: Server
) -> None:
    text = prose(280)
    world.claude.script(
        Reply(text=text, damage=Damage("stall", at=200), tokens_per_second=200),
        Reply(text=text, tokens_per_second=60),
    )
    ts = await world.ask()
    await world.until_shown(text, ts)
    (reply,) = world.replies(ts)
    lengths = [len(revision.markdown) for revision in reply.revisions]
    assert lengths == sorted(lengths)
    assert any("Started again" in str(revision.blocks) for revision in reply.revisions)


async def test_the_person_sees_that_claude_is_busy_and_when_the_next_try_comes(
    world: World, bot: Server
) -> None:
    world.claude.script(*failing(529, "overloaded_error", retry_after=3.2), Reply(text="Done."))
    ts = await world.ask()
    await world.until_says("Claude is busy; trying again in 3 s", ts)
    await world.until_shown("Done.", ts)


async def test_a_long_thinking_phase_shows_a_sign_of_life(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.turns.answer.THINKING_EVERY_S", 0.1)
    world.claude.script(Reply(text="Done.", thinking=True, thinking_s=1.5, pings_every_s=0.05))
    async with world.bot():
        ts = await world.ask()
        thinking = re.compile(r"Thinking… \d s")
        await world.until(lambda: thinking.search("".join(m.shown for m in world.replies(ts))))
        await world.until_shown("Done.", ts)


async def test_a_pause_of_claudes_own_is_gone_on_with(world: World, bot: Server) -> None:
    world.claude.script(
        Reply(text="First half, ", stop_reason="pause_turn"), Reply(text="second half.")
    )
    ts = await world.ask()
    await world.until_shown("First half, second half.", ts)
    roles = [turn["role"] for turn in world.claude.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "user"]


async def test_pauses_without_end_are_bounded(world: World, bot: Server) -> None:
    world.claude.script(*[Reply(text="More. ", stop_reason="pause_turn")] * 10)
    ts = await world.ask()
    await world.idle()
    assert len(world.claude.requests) == 6
    await world.until_says(PAUSED, ts)


async def test_an_unknown_stop_reason_counts_as_done(world: World, bot: Server) -> None:
    world.claude.script(Reply(text=TEXT, stop_reason="of_tomorrow"))
    ts = await world.ask()
    await world.until_shown(TEXT, ts)


async def test_overload_opens_a_breather_for_all(world: World, bot: Server) -> None:
    world.claude.script(*failing(529, "overloaded_error", 4), Reply(text="Done.", keep=True))
    breather = bot._bot.turns._means.claude.breather("claude-sonnet-5-5")
    first = await world.ask("one")
    await world.until(lambda: len(world.claude.requests) >= 4)
    assert breather.wait_s() > 1.0
    await world.until_shown("Done.", first)


async def test_a_stopped_turn_closes_claudes_stream_at_once_and_leaks_nothing(
    world: World, bot: Server
) -> None:
    world.claude.script(*[Reply(text=prose(30_000), tokens_per_second=50)] * 5)
    rooms = [world.slack.add_channel(f"r{n}", members=[world.ada]) for n in range(5)]
    asked = [(room, await world.ask(channel=room)) for room in rooms]
    await world.until(lambda: all(world.shown(ts, room) for room, ts in asked))
    assert world.claude.open_streams == 5
    before = asyncio.get_running_loop().time()
    for room, ts in asked:
        await world.slack.delete(world.ada, room, ts)
    await world.claude.wait_for(lambda: world.claude.open_streams == 0)
    assert asyncio.get_running_loop().time() - before < 1.0
    await world.idle()
    assert not [task for task in asyncio.all_tasks() if "live:" in task.get_name()]


async def test_the_line_is_in_order_and_tells_the_place_once(world: World) -> None:
    world.claude.script(Reply(text="Answer.", keep=True, first_token_s=0.3))
    async with world.bot(max_concurrent_replies=1):
        rooms = [world.slack.add_channel(f"r{n}", members=[world.ada]) for n in range(3)]
        asked = [(room, await world.ask(f"from {room}", channel=room)) for room in rooms]
        for room, ts in asked:
            await world.until_shown("Answer.", ts, channel=room)
        order = [before_the_aside(one.body["messages"][-1]) for one in world.claude.requests]
        assert [text.rpartition("] ")[2] for text in order] == [f"from {room}" for room in rooms]
        assert world.claude.peak_streams == 1
        told = str(world.slack.statuses) + str(
            [revision.blocks for revision in world.replies(asked[2][1], rooms[2])[0].revisions]
        )
        assert told.count("number 2 in line") == 1


async def test_a_wait_in_line_has_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.turns.places.LINE_WAIT_S", 0.3)
    world.claude.script(Reply(text=prose(20_000), tokens_per_second=50))
    async with world.bot(max_concurrent_replies=1):
        await world.ask("one", channel=world.secret)
        await world.until(lambda: world.claude.open_streams == 1)
        ts = await world.ask("two")
        await world.until_says(errors.TooManyQuestions.sentence, ts)


@pytest.mark.parametrize("damage", ["empty", "html", "silent_end", "reset", "hang_headers"])
async def test_a_break_before_the_text_is_tried_again(
    world: World, bot: Server, damage: str
) -> None:
    world.claude.script(
        Reply(text=TEXT, damage=Damage(damage, at=0)),  # type: ignore[arg-type]
        Reply(text="Now it works."),
    )
    ts = await world.ask()
    await world.until_shown("Now it works.", ts)
    await world.idle()
    assert len(world.replies(ts)) == 1


async def test_a_stream_without_a_first_event_is_given_up_in_time(world: World) -> None:
    world.claude.script(*[Reply(text=TEXT, damage=Damage("hang_headers"))] * 6)
    world.claude.script(*failing(500, "api_error"))
    async with world.bot(first_event_timeout_s=0.4):
        ts = await world.ask()
        await world.until_says(errors.ClaudeSilent.sentence, ts)
        await world.idle()
    assert world.claude.open_streams == 0


async def test_a_reply_over_the_total_clock_is_stopped_and_kept(world: World) -> None:
    async with world.bot(total_timeout_s=1.0):
        world.claude.script(Reply(text=prose(40_000), tokens_per_second=400))
        ts = await world.ask()
        await world.until_says(errors.ClaudeTooSlow.sentence, ts)
        await world.idle()
        assert len(world.shown(ts)) > 500
        assert world.claude.open_streams == 0


async def test_what_tomorrow_brings_does_not_break_a_reply(world: World, bot: Server) -> None:
    strange = [Damage("unknown_event", at=100), Damage("unknown_block", at=200)]
    world.claude.script(Reply(text=TEXT, thinking=True, damage=strange))
    ts = await world.ask()
    await world.until_shown(TEXT, ts)
    await world.idle()
    assert "Claude" not in world.replies(ts)[0].shown


@pytest.mark.parametrize(
    ("stop_reason", "said"),
    [
        pytest.param("max_tokens", TRUNCATED, id="the maximum length is said"),
        pytest.param("model_context_window_exceeded", CONTEXT_FULL, id="a full context is said"),
    ],
)
async def test_a_reply_that_claude_cuts_short_says_so(
    world: World, bot: Server, stop_reason: str, said: str
) -> None:
    world.claude.script(Reply(text=TEXT, stop_reason=stop_reason))
    ts = await world.ask()
    await world.until_says(said, ts)
    assert same(world.shown(ts), TEXT)


async def test_a_refusal_withdraws_what_was_shown(world: World, bot: Server) -> None:
    world.claude.script(
        Reply(text=prose(15_000), stop_reason="refusal", stop_details={"category": "cyber"})
    )
    ts = await world.ask()
    await world.until_says(REFUSED, ts)
    await world.idle()
    (reply,) = world.replies(ts)
    assert "Sentence" not in reply.shown


async def test_an_empty_answer_is_said(world: World, bot: Server) -> None:
    world.claude.script(Reply(text=""))
    ts = await world.ask()
    await world.until_says(NOTHING, ts)


async def test_exception_text_reaches_nobody(world: World, bot: Server) -> None:
    world.claude.script(
        Reply(status=400, error_type="invalid_request_error", error_message="secret detail 42")
    )
    ts = await world.ask()
    await world.until_says(errors.ClaudeRejected.sentence, ts)
    assert "secret detail" not in str([m.shown for m in world.replies(ts)])


async def test_the_idle_clock_rules_although_the_first_event_has_longer(world: World) -> None:
    async with world.bot(first_event_timeout_s=30.0, idle_timeout_s=0.2):
        world.claude.script(Reply(text=TEXT, damage=Damage("stall", at=800)))
        world.claude.default = going_on(TEXT)
        ts = await world.ask()
        await world.until_shown(TEXT, ts, timeout_s=4)


async def test_a_broken_refusal_of_the_other_model_does_not_hide_the_reason(
    world: World, bot: Server
) -> None:
    busy = Reply(status=529, error_type="overloaded_error", keep=True)
    world.claude.script(replace(busy, when=lambda body: body["model"] == "claude-sonnet-5-5"))
    world.claude.default = lambda body: Reply(status=400, error_type="invalid_request_error")
    ts = await world.ask()
    await world.until_says(errors.ClaudeBusy.sentence, ts)


async def test_a_whole_reply_instead_of_the_rest_is_shown_once(world: World, bot: Server) -> None:
    text = prose(6_000)
    world.claude.script(Reply(text=text, damage=Damage("cut", at=3_000)), Reply(text=text))
    ts = await world.ask()
    await world.until_shown(text, ts)


async def test_another_reply_instead_of_the_rest_replaces_the_first(
    world: World, bot: Server
) -> None:
    text = prose(3_000)
    other = text[:500] + " But now for something else. " + prose(2_000)
    world.claude.script(Reply(text=text, damage=Damage("cut", at=1_000)), Reply(text=other))
    ts = await world.ask()
    await world.until_shown(other, ts)


@pytest.mark.parametrize("header", ["inf", "9" * 400, "nonsense", "-5"])
async def test_nonsense_as_retry_after_harms_nobody(world: World, bot: Server, header: str) -> None:
    refused = failing(529, "overloaded_error", 1, headers={"retry-after-ms": header})
    world.claude.script(*refused, Reply(text="Fine."))
    ts = await world.ask()
    await world.until_shown("Fine.", ts)


async def test_a_reply_that_begins_again_and_stays_empty_keeps_what_was_written(
    world: World, bot: Server
) -> None:
    text = prose(200)
    world.claude.script(Reply(text=text, damage=Damage("cut", at=150)), Reply(text=""))
    ts = await world.ask()
    await world.until_says(NOTHING, ts)
    assert text.startswith(world.shown(ts)) and len(world.shown(ts)) > 100


async def test_questions_in_line_do_not_freeze_the_reply_that_runs(world: World) -> None:
    text = prose(4_000)
    world.claude.script(Reply(text=text, tokens_per_second=300))
    async with world.bot(max_concurrent_replies=1):
        ts = await world.ask("first", channel=world.secret)
        await world.claude.wait_for(lambda: world.claude.open_streams == 1)
        rooms = [world.slack.add_channel(f"r{n}", members=[world.ada]) for n in range(30)]
        for room in rooms:
            await world.ask("waiting", channel=room)
        await world.until_shown(text, ts, channel=world.secret)
    (reply,) = world.replies(ts, world.secret)
    assert len(reply.revisions) >= 5
