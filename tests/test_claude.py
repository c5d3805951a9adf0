"""Claude's side alone, over real HTTP: whole or an honest partial, whatever breaks."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import claude as claude_module
from bot import logs
from bot.channels import Manner
from bot.claude import Claude, models, prices
from bot.claude import request as request_module
from bot.claude.breather import OVERLOADS, Breather
from bot.claude.request import Request
from bot.claude.watch import Clocks
from bot.config import EFFORTS, Effort
from bot.errors import ClaudeError
from bot.playground.claude import Damage, Reply, ScriptedClaude
from bot.playground.claude.models import ALIASES, ALL
from bot.turn import (
    Attachment,
    ClaudeEvent,
    Done,
    Message,
    Restarted,
    StreamReport,
    Switched,
    Text,
    Usage,
)
from tests.conftest import going_on, prose, same

MANNER = Manner("Be brief.", "claude-sonnet-5-5", "low")
ASKED = [Message("user", "[ada] tell me")]
PATIENT = Clocks(first_event_s=5.0, idle_s=5.0, total_s=25.0)


def client(scripted: ScriptedClaude, **changes: Any) -> Claude:
    arguments: dict[str, Any] = {
        "api_key": "sk-ant-scripted",
        "base_url": scripted.base_url,
        "fallback_model": "claude-haiku-5-5",
        "max_tokens": 16_000,
        "clocks": PATIENT,
    }
    return Claude(**{**arguments, **changes})


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_module, "BACKOFF_S", 0.01)


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedClaude]:
    async with ScriptedClaude(tokens_per_second=20_000) as server:
        yield server


class Heard:
    """What a turn would have heard: the events, and the text as it stands."""

    def __init__(self) -> None:
        self.events: list[ClaudeEvent] = []
        self.text = ""

    def __call__(self, event: ClaudeEvent) -> None:
        self.events.append(event)
        if isinstance(event, Text):
            self.text += event.delta
        elif isinstance(event, Restarted):
            self.text = ""


async def ask(claude: Claude) -> tuple[Heard, Done | ClaudeError, StreamReport]:
    heard, report = Heard(), StreamReport()
    try:
        ended: Done | ClaudeError = await claude.reply(
            ASKED, MANNER, user="u", tell=heard, report=report
        )
    except ClaudeError as error:
        ended = error
    await claude.close()
    return heard, ended, report


KINDS = ["cut", "reset", "silent_end", "half_event", "half_utf8", "bad_json", "error"]
breaks = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(-1, 1_500)), max_size=9)
sentences = st.lists(
    st.text(
        alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")),
        min_size=1,
        max_size=30,
    ),
    min_size=3,
    max_size=60,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(breaks, sentences)
def test_for_any_text_and_any_breaks_the_end_is_the_whole_text_or_an_honest_partial(
    struck: list[tuple[str, int]], pieces: list[str]
) -> None:
    text = " ".join(f"{number} {piece}" for number, piece in enumerate(pieces)).strip()

    async def run() -> None:
        async with ScriptedClaude(tokens_per_second=50_000) as scripted:
            going, left = going_on(text), iter(struck)

            def answer(body: dict[str, Any]) -> Reply:
                kind, at = next(left, ("", 0))
                damage = Damage(kind, at=at) if kind else None  # type: ignore[arg-type]
                return replace(going(body), damage=damage)

            scripted.default = answer
            heard, ended, report = await ask(client(scripted))
            if isinstance(ended, Done):
                assert heard.text.split() == text.split()
            else:
                assert text.startswith(heard.text)
            assert report.attempts == len(scripted.requests) <= 4 + 2 * 4 + 2 + 1
            await scripted.wait_for(lambda: scripted.open_streams == 0)

    asyncio.run(run())


async def test_a_cancel_closes_the_stream_at_once(
    scripted: ScriptedClaude,
) -> None:
    scripted.script(Reply(text=prose(20_000), tokens_per_second=50))
    claude = client(scripted)
    heard = Heard()
    asking = asyncio.create_task(
        claude.reply(ASKED, MANNER, user="u", tell=heard, report=StreamReport())
    )
    await scripted.wait_for(lambda: scripted.open_streams == 1 and heard.text)
    asking.cancel()
    await scripted.wait_for(lambda: scripted.open_streams == 0)
    assert len(scripted.requests[0].sent_text) < 10_000, "it is not read to its end"
    await asyncio.wait([asking])
    await claude.close()


async def test_twenty_cancelled_replies_leave_no_connection_and_no_task(
    scripted: ScriptedClaude,
) -> None:
    scripted.default = lambda body: Reply(text=prose(20_000), tokens_per_second=20)
    claude = client(scripted)
    before = len(asyncio.all_tasks())
    asking = [
        asyncio.create_task(
            claude.reply(ASKED, MANNER, user="u", tell=Heard(), report=StreamReport())
        )
        for _ in range(20)
    ]
    await scripted.wait_for(lambda: scripted.open_streams == 20)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    await scripted.wait_for(lambda: scripted.open_streams == 0)
    transport = claude.client._client._transport
    assert not transport.client.connector._acquired  # type: ignore[attr-defined]
    await claude.close()
    await scripted.wait_for(lambda: len(asyncio.all_tasks()) <= before)


async def test_every_damage_is_named_in_the_log_with_the_request_id(
    scripted: ScriptedClaude,
) -> None:
    stream = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    logs.setup(level="INFO", as_json=False, stream=stream)
    text = prose(1_000)
    damages = ["unknown_event", "unknown_block", "unknown_delta", "bad_index", "no_event_line"]
    scripted.script(
        Reply(
            text=text,
            damage=[Damage("delta_before_start")]
            + [Damage(kind, at=100 * n) for n, kind in enumerate(damages)],  # type: ignore[arg-type]
        )
    )
    heard, ended, report = await ask(client(scripted))
    logging.getLogger().handlers[:] = handlers
    assert isinstance(ended, Done)
    assert heard.text == text
    assert len(report.damages) >= 5
    assert stream.getvalue().count("request_id=req_") >= 5


async def test_usage_counts_every_attempt_and_thinking_apart(scripted: ScriptedClaude) -> None:
    scripted.script(Reply(text=prose(1_500), damage=Damage("cut", at=900)))
    scripted.default = going_on(prose(1_500), thinking=True)
    _, ended, report = await ask(client(scripted))
    assert isinstance(ended, Done)
    used = report.usage["claude-sonnet-5-5"]
    first, second = scripted.requests
    assert used.output >= 300
    assert used.input > 0
    assert report.resumes == 1 and report.attempts == 2
    assert report.first_event_s is not None and report.first_text_s is not None
    assert report.gap_s(0.5) is not None
    assert report.dollars is not None and report.dollars > 0
    assert len(str(second.body)) > len(str(first.body))


def test_costs_follow_the_price_table() -> None:
    million = 1_000_000
    assert prices.cost("claude-sonnet-5-5", Usage(input=million, output=million)) == 12.0
    assert prices.cost("claude-sonnet-5-5", Usage(cache_read=million)) == pytest.approx(0.10)
    assert prices.cost("claude-sonnet-5-5", Usage(cache_write=million)) == 2.5
    assert prices.cost("claude-haiku-5-5", Usage(input=100_000)) == pytest.approx(0.01)
    assert prices.cost("claude-haiku-5-5", Usage(input=200_000)) == pytest.approx(0.10)
    assert prices.cost("claude-haiku-4-5-20251001", Usage(input=million)) == 1.0
    assert prices.cost("a-model-of-tomorrow", Usage(input=1)) is None


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
async def test_every_model_takes_what_it_is_asked_with(scripted: ScriptedClaude) -> None:
    claude = client(scripted, fallback_model=None, max_tokens=128_000)
    for model in [*(model.id for model in ALL), *ALIASES]:
        for effort in EFFORTS:
            manner = Manner("Be brief.", model, cast(Effort, effort))
            report = StreamReport()
            await claude.reply(ASKED, manner, user="u", tell=Heard(), report=report)
            assert list(report.usage) == [model] and report.dollars, "its own price is known"
    await claude.close()


@pytest.mark.parametrize(
    ("model", "wanted", "asked"),
    [
        ("claude-opus-5-5", "xhigh", "xhigh"),
        ("a-model-of-tomorrow", "max", "max"),
        ("claude-opus-4-6", "xhigh", "high"),
        ("claude-sonnet-4-6", "max", "max"),
        ("claude-opus-4-5-20251101", "max", "high"),
        ("claude-haiku-4-5", "low", None),
    ],
)
def test_an_effort_that_a_model_does_not_know_becomes_the_next_lower_one(
    model: str, wanted: Effort, asked: Effort | None
) -> None:
    assert models.effort(model, wanted) == asked


def test_each_request_has_its_own_price() -> None:
    report = StreamReport()
    for _ in range(2):
        used = Usage(input=60_000)
        report.spent("claude-haiku-5-5", used, prices.cost("claude-haiku-5-5", used))
    assert report.dollars == pytest.approx(0.012)
    report.spent("a-model-of-tomorrow", Usage(input=1), None)
    assert report.dollars is None


async def test_the_connection_is_warm_before_the_first_question(scripted: ScriptedClaude) -> None:
    claude = client(scripted)
    await claude.warm_up([MANNER.model])
    pool = claude.client._client._transport.client.connector  # type: ignore[attr-defined]
    assert sum(len(idle) for idle in pool._conns.values()) == 1
    await claude.close()


async def test_a_wrong_model_is_said_in_the_log_at_start(
    scripted: ScriptedClaude, caplog: pytest.LogCaptureFixture
) -> None:
    claude = client(scripted)
    await claude.warm_up([MANNER.model, "claude-3-opus"])
    assert caplog.text.count("claude_check") == 1
    await claude.close()


async def test_a_switch_is_told(scripted: ScriptedClaude) -> None:
    scripted.script(Reply(status=404, error_type="not_found_error"))
    heard, _, _ = await ask(client(scripted))
    assert Switched("claude-haiku-5-5") in heard.events


async def test_without_a_fallback_model_none_is_asked(scripted: ScriptedClaude) -> None:
    scripted.script(Reply(status=404, error_type="not_found_error", keep=True))
    _, ended, _ = await ask(client(scripted, fallback_model=None))
    assert isinstance(ended, ClaudeError)
    assert {request.body["model"] for request in scripted.requests} == {"claude-sonnet-5-5"}


async def test_a_breather_opens_after_repeated_overload_and_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr("bot.claude.breather._now", lambda: now)
    breather = Breather()
    for _ in range(OVERLOADS - 1):
        breather.overloaded(None)
    assert breather.wait_s() == 0.0
    breather.overloaded(None)
    assert 3.0 <= breather.wait_s() <= 4.5
    now += 2.9
    breather.succeeded()
    assert breather.wait_s() > 0.0, "nothing but time lifts it"
    now += 0.2
    assert breather.wait_s() == 0.0


async def test_single_refusals_between_successes_open_no_breather() -> None:
    breather = Breather()
    for _ in range(20):
        breather.overloaded(None)
        breather.succeeded()
    assert breather.wait_s() == 0.0


PNG = b"\x89PNG\r\n\x1a\n"
LARGE = [
    Message("user", "[ada] “see”", attachments=(Attachment("pdf", "a.pdf", "", b"%PDF" * 999),)),
    Message("assistant", "ünd?"),
    Message(
        "user",
        "[ada] these",
        aside="[From the bot: asked]",
        attachments=(
            Attachment("image", "b.png", "image/png", PNG + bytes(range(256)), file_id="F2"),
            Attachment("text", "c.txt", "text/plain", text="words", file_id="F3"),
        ),
    ),
]


def test_the_body_of_a_large_request_says_what_its_parameters_say() -> None:
    request = Request(messages=LARGE, system="s", user="U1", effort="low", max_tokens=9)
    body = b"".join(request.body("claude-sonnet-5-5", stream=True))
    assert json.loads(body) == {**request.params("claude-sonnet-5-5"), "stream": True}
    assert not request.is_large
    (file,) = LARGE[0].attachments
    file = replace(file, data=bytes(1_000_001))
    large = replace(request, messages=[replace(LARGE[0], attachments=(file,))])
    assert large.is_large
    assert max(map(len, large.body("claude-sonnet-5-5", stream=True))) < 600_000, "no long steps"


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "in one piece"])
async def test_a_large_request_gets_its_reply_as_others_do(
    scripted: ScriptedClaude, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    monkeypatch.setattr(request_module, "LARGE_BYTES", 0)
    monkeypatch.setattr(request_module, "PIECE_BYTES", 300)
    if not streams:
        scripted.script(Reply(status=500, when=lambda body: body["stream"], keep=True))
    scripted.script(Reply(text="I see."))
    claude, heard = client(scripted), Heard()
    report = StreamReport()
    await claude.reply(LARGE, MANNER, user="U1", tell=heard, report=report)
    await claude.close()
    assert same(heard.text, "I see.") and report.usage
    body = scripted.requests[-1].body
    document = body["messages"][0]["content"][0]
    assert base64.b64decode(document["source"]["data"]) == b"%PDF" * 999
    assert body["stream"] == streams
