"""The bench: what it makes of the emulator's records, and what it keeps."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import cases, chart, replies, report
from bench.measure import Question, ReplyFigures, is_whole, letters, progress, reply_figures
from bench.results import Results
from bench.run import _has_been_up
from bench.scripted import StreamRecord
from bot.clock import SystemClock
from bot.pacing.sharing import Sharing
from bot.playground.slack import Glimpse, Message
from bot.store.sqlite import SqliteStore
from tests.playground.slack_kit import Room, room

TEXT = ("one ", "two ", "three")


def record(at: float) -> StreamRecord:
    """Claude's words from `at` on, a tenth of a second apart."""
    times = [at, at + 0.1, at + 0.2]
    return StreamRecord(0, at - 0.1, at, times[-1], True, times, list(TEXT))


async def by_edits(space: Room, root: str) -> None:
    ts = await space.post(text="Thinking…", thread_ts=root)
    for text in ("one", "one two", "one two three"):
        await space.client.chat_update(
            channel=space.general, ts=ts, text=text, blocks=[{"type": "markdown", "text": text}]
        )


async def by_stream(space: Room, root: str) -> None:
    who: dict[str, Any] = {"recipient_user_id": space.ada, "recipient_team_id": "T0EMULATOR"}
    start = space.client.chat_startStream
    answer = await start(channel=space.general, thread_ts=root, markdown_text="one", **who)
    where: dict[str, Any] = {"channel": space.general, "ts": str(answer["ts"])}
    await space.client.chat_appendStream(**where, markdown_text=" two")
    await space.client.chat_stopStream(**where, markdown_text=" three")


async def by_post(space: Room, root: str) -> None:
    await space.client.assistant_threads_setStatus(
        channel_id=space.general, thread_ts=root, status="is thinking"
    )
    blocks = [{"type": "markdown", "text": "one two three"}]
    await space.post(text="one", blocks=blocks, thread_ts=root)


async def by_another_post(space: Room, root: str) -> None:
    """An edited message that is replaced by a new one before it is deleted."""
    blocks = [{"type": "markdown", "text": "one two"}]
    ts = await space.post(text="one", blocks=blocks, thread_ts=root)
    await by_post(space, root)
    await space.client.chat_delete(channel=space.general, ts=ts)


async def delivered(way: Any, **settings: Any) -> tuple[ReplyFigures, float]:
    """The figures of a reply that was delivered in some way 0.1 s after Claude's first word, and
    how long after that word it was delivered."""
    async with room(**settings) as space:
        loop = asyncio.get_running_loop()
        root = await space.slack.say(space.ada, space.general, "question")
        asked_at = loop.time()
        claude = record(asked_at)
        await asyncio.sleep(0.1)
        await way(space, root)
        took_s = loop.time() - asked_at
        one = Question(0, space.general, root, asked_at)
        return reply_figures(one, claude, space.slack, loop.time()), took_s


@pytest.mark.parametrize(
    ("way", "changes"), [(by_edits, 3), (by_stream, 2), (by_post, 0), (by_another_post, 2)]
)
async def test_every_delivery_is_measured_alike(way: Any, changes: int) -> None:
    figures, took_s = await delivered(way)
    assert figures.whole
    assert figures.changes == changes
    assert figures.sign_s is not None and figures.first_words_s is not None
    assert 0.1 <= figures.sign_s <= figures.first_words_s <= took_s
    assert figures.silent_s == 0.0
    assert figures.final_s is not None and figures.final_s <= max(0.0, took_s - 0.2)
    assert figures.age_s is not None and 0.02 < figures.age_s < took_s


async def test_a_status_line_that_lapsed_is_a_silence() -> None:
    async def way(space: Room, root: str) -> None:
        await space.client.assistant_threads_setStatus(
            channel_id=space.general, thread_ts=root, status="is thinking"
        )
        await asyncio.sleep(0.15)
        await by_post(space, root)

    figures, took_s = await delivered(way, status_lifetime_s=0.05)
    assert figures.whole
    assert 0.05 < figures.silent_s < took_s - 0.1


def test_a_half_that_is_still_there_does_not_hide_the_whole() -> None:
    glimpses = [
        Glimpse(1.0, ("one tw",)),
        Glimpse(2.0, ("one tw", "one two three")),
        Glimpse(3.0, ("one two three",)),
    ]
    assert progress(glimpses, letters("one two three")) == [(1.0, 5), (2.0, 11), (3.0, 11)]


@pytest.mark.parametrize("kind", replies.TEXTS)
def test_a_reply_has_its_length_and_is_told_from_a_wrong_one(kind: replies.Text) -> None:
    text = replies.reply(cases.TOKENS, 3, kind)
    assert len(text) == cases.TOKENS * replies.CHARACTERS_PER_TOKEN
    assert is_whole([Message("1", "C", "U", sent_markdown=text)], text)
    for what in (r"\w+", r"[.:]", "[<(]" if kind == "code" else r"\w"):
        lost = re.sub(what, "", text, count=1)
        assert not is_whole([Message("1", "C", "U", sent_markdown=lost)], text)
    question = replies.question("run-1", 3, cases.TOKENS, kind)
    assert replies.asked(question) == ("run-1", 3, cases.TOKENS, kind)


def test_cases_are_the_same_in_every_run() -> None:
    assert cases.every() == cases.every()
    assert {case.name for case in [*cases.full(), *cases.quick()]} <= cases.every().keys()
    assert cases.named(["60 a minute"])[0].arrivals[0] < 60


def row(case: str, mode: str, **more: Any) -> dict[str, Any]:
    kind = cases.every()[case].kind
    names = ("sign", "request", "first_words", "final", "ack")
    times = {f"{name}_{q}_s": 0.1 for name in names for q in ("p50", "p95", "p99", "max")}
    figures = {"age_s": 0.3, "age_bound_s": 0.2, "silent_max_s": 0.0}
    usage = {"cpu_s": 0.05, "rss_peak_mb": 100.0}
    counts = {"replies": 1, "whole": 1, "refused": 0, "refused_by": {}, "calls": {"chat.update": 3}}
    size = cases.every()[case].size
    health = {"bench_lag_p99_s": 0.001, "stream_stretch": 1.0}
    return {
        "case": case,
        "kind": kind,
        "size": size,
        "mode": mode,
        **times,
        **figures,
        **usage,
        **counts,
        **health,
    } | more


def test_one_file_keeps_the_rows_of_many_runs(tmp_path: Path) -> None:
    path, setting = tmp_path / "bench.json", {"latency_s": 0.12}
    first = Results(path, setting)
    first.keep(row("5 at once", "auto"))
    first.keep({"case": "1 at once", "mode": "auto", "error": "it did not start"})
    second = Results(path, setting)
    assert second.known == {("5 at once", "auto")}
    second.keep(row("1 at once", "auto"))
    second.keep(row("5 at once", "edit"))
    second.keep(row("5 at once", "auto", age_s=0.4))
    again = Results(path, setting).rows
    assert [(one["case"], one["mode"], one["age_s"]) for one in again] == [
        ("1 at once", "auto", 0.3),
        ("5 at once", "auto", 0.4),
        ("5 at once", "edit", 0.3),
    ]
    assert Results(path, {"latency_s": 0.2}).rows == []
    assert len(json.loads(path.read_text())["rows"]) == 3


def test_the_table_and_the_chart_are_made_from_rows() -> None:
    rows = [row("5 at once", "auto"), row("5 at once", "fixed timer", age_s=None, refused=4)]
    rows.append(row("50 at once", "stream", refused=2, refused_by={"chat.startStream": 2}))
    rows.append({"case": "1 at once", "mode": "auto", "error": "it did not start"})
    lines = report.verdicts(rows, cases.every())
    assert lines[:2] == [
        "MISSED stream, 50 at once: calls refused with 429: 2 startStream, target 0",
        "MISSED auto, 1 at once: it did not start",
    ]
    document = report.with_table(f"a{report.BEGIN}{report.END}b", rows, lines)
    assert "| 2 startStream |" in document
    picture = chart.draw(rows)
    assert "never" in picture and "stream" not in picture.lower().replace("upstream", "")


async def test_a_bot_that_has_been_up_knows_that_nothing_was_spent(tmp_path: Path) -> None:
    await _has_been_up(str(tmp_path / "data"))
    store = await SqliteStore.open(str(tmp_path / "data"), SystemClock())
    sharing = Sharing(SystemClock(), store.ledger)
    try:
        await sharing.recall()
        for name in ("edits", "starts", "appends", "stops", "statuses", "whatever comes"):
            assert sharing.mirrors.add(f"T0EMULATOR:{name}", 20, 60.5).free() == 20
    finally:
        await sharing.close()
        await store.close()
