"""What a person sees when Claude fails, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot import claude as claude_module
from bot import errors
from bot.playground.claude import Damage, Reply
from bot.serve import Server
from bot.turns.run import CONTEXT_FULL, EMPTY, REFUSED, TRUNCATED
from tests.conftest import World, prose, same

TEXT = prose(1_500)


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_module, "BACKOFF_S", 0.02)


@pytest.fixture
async def bot(world: World) -> AsyncIterator[Server]:
    clocks = {"first_event_timeout_s": 0.5, "idle_timeout_s": 0.5, "total_timeout_s": 5.0}
    async with world.bot(**clocks) as server:
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
        pytest.param(529, "overloaded_error", 4, errors.ClaudeBusy.sentence, id="overloaded"),
        pytest.param(500, "api_error", 4, errors.ClaudeFailing.sentence, id="failing"),
        pytest.param(400, "invalid_request_error", 1, errors.ClaudeRejected.sentence, id="400"),
        pytest.param(401, "authentication_error", 1, errors.ClaudeMisconfigured.sentence, id="401"),
        pytest.param(402, "billing_error", 1, errors.ClaudeOutOfCredit.sentence, id="402"),
        pytest.param(403, "permission_error", 1, errors.ClaudeMisconfigured.sentence, id="403"),
        pytest.param(404, "not_found_error", 1, errors.ClaudeMisconfigured.sentence, id="404"),
        pytest.param(413, "request_too_large", 1, errors.ConversationTooLong.sentence, id="413"),
    ],
)
async def test_a_lasting_error_ends_in_the_placeholder_with_a_plain_sentence(
    world: World, bot: Server, status: int, kind: str, attempts: int, sentence: str
) -> None:
    world.claude.script(*failing(status, kind, 5))
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


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param("cut", errors.ClaudeInterrupted.sentence, id="cut by FIN"),
        pytest.param("reset", errors.ClaudeInterrupted.sentence, id="cut by RST"),
        pytest.param("silent_end", errors.ClaudeInterrupted.sentence, id="a proper end too early"),
        pytest.param("half_event", errors.ClaudeInterrupted.sentence, id="half an event"),
        pytest.param("bad_json", errors.ClaudeInterrupted.sentence, id="malformed JSON"),
        pytest.param("error", errors.ClaudeBusy.sentence, id="an error event"),
        pytest.param("stall", errors.ClaudeStalled.sentence, id="a stall"),
        pytest.param("pings", errors.ClaudeStalled.sentence, id="only pings"),
    ],
)
async def test_a_break_in_mid_reply_keeps_the_partial_text_with_its_reason(
    world: World, bot: Server, damage: str, sentence: str
) -> None:
    world.claude.script(Reply(text=TEXT, damage=Damage(damage, at=800)))  # type: ignore[arg-type]
    ts = await world.ask()
    await world.until_says(sentence, ts)
    await world.idle()
    (reply,) = world.replies(ts)
    assert len(reply.sent_markdown) >= 700
    assert TEXT.startswith(reply.sent_markdown[:700])
    assert world.claude.open_streams == 0


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


async def test_a_stream_without_a_first_event_is_given_up_in_time(
    world: World, bot: Server
) -> None:
    world.claude.script(*[Reply(text=TEXT, damage=Damage("hang_headers"))] * 4)
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
    await world.until_says(EMPTY, ts)


async def test_exception_text_reaches_nobody(world: World, bot: Server) -> None:
    world.claude.script(
        Reply(status=400, error_type="invalid_request_error", error_message="secret detail 42")
    )
    ts = await world.ask()
    await world.until_says(errors.ClaudeRejected.sentence, ts)
    assert "secret detail" not in str([m.shown for m in world.replies(ts)])
