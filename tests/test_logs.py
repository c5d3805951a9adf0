"""Operators get one structured line per turn, and nobody's words."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from bot import logs
from bot.playground.claude import Reply
from bot.serve import Server
from tests.conftest import World


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    logs.setup(level="INFO", as_json=True, stream=stream)
    yield stream
    logging.getLogger().handlers[:] = before


async def test_a_turn_is_one_line_with_its_key_and_no_words(
    world: World, written: io.StringIO, bot: Server
) -> None:
    used = {"cache_read_input_tokens": 700, "cache_creation_input_tokens": 50}
    world.claude.script(Reply(text="confidential answer", usage=used))
    ts = await world.ask("confidential question")
    await world.until_shown("confidential answer", ts)
    await world.idle()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    (turn,) = [line for line in lines if line["event"] == "turn"]
    assert turn["turn"] == f"T0EMULATOR:{world.general}:{ts}:0"
    assert turn["outcome"] == "complete"
    assert turn["posts"] == 1 and turn["edits"] >= 1
    assert turn["model"] == "claude-sonnet-5-5" and turn["output_tokens"] > 0
    assert (turn["cached_tokens"], turn["cache_write_tokens"]) == (700, 50)
    assert "confidential" not in written.getvalue()
    for secret in ("xoxb-", "sk-ant", "emulator-signing-secret"):
        assert secret not in written.getvalue()


def test_the_text_format_quotes_what_needs_it(written: io.StringIO) -> None:
    stream = io.StringIO()
    logs.setup(level="INFO", as_json=False, stream=stream)
    logs.event(logging.getLogger("x"), "happened", a=1, b="two words", c=None, d=0.12345)
    line = stream.getvalue()
    assert 'INFO happened a=1 b="two words" d=0.123' in line
    assert "c=" not in line
