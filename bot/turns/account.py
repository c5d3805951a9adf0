"""The account of a turn: its one structured line in the log, and its metrics."""

from __future__ import annotations

import logging

from bot import logs, metrics
from bot.live_message import Report
from bot.turn import Done, Outcome, Question, StreamReport, Usage

log = logging.getLogger(__name__)


def settled(
    question: Question,
    outcome: Outcome,
    done: Done | None,
    stream: StreamReport,
    shown: Report | None,
    took_s: float,
    settle_s: float,
    stopped_by: str | None = None,
) -> None:
    """Write down a turn that has ended: `took_s` in all, `settle_s` from Claude's end. `shown` is
    None where there was no reply."""
    metrics.TURNS.labels(outcome.value, question.surface).inc()
    metrics.TOOK.observe(took_s)
    metrics.SETTLING.observe(settle_s)
    fields: dict[str, object] = {
        "outcome": outcome.value,
        "surface": question.surface,
        "user": question.user,
        "took_s": round(took_s, 3),
        "settle_s": round(settle_s, 3),
    }
    if stopped_by is not None:
        fields["stopped_by"] = stopped_by
    if shown is not None:
        fields |= {
            "messages": len(shown.messages),
            "way": shown.way,
            "posts": shown.posts,
            "edits": shown.edits,
            "appends": shown.appends,
            "rate_limited": shown.rate_limited,
        }
    if done is not None:
        fields |= {"model": done.model, "stop_reason": done.stop_reason}
    if stream.attempts:
        _count(stream)
        fields |= _stream_fields(stream)
    logs.event(log, "turn", **fields)


def _count(stream: StreamReport) -> None:
    metrics.ATTEMPTS.inc(stream.attempts)
    metrics.RESUMES.inc(stream.resumes + stream.restarts)
    metrics.DAMAGES.inc(len(stream.damages))
    for model, usage in stream.usage.items():
        for kind in ("input", "cache_read", "cache_write", "output", "thinking"):
            metrics.TOKENS.labels(model, kind).inc(getattr(usage, kind))
    for histogram, seconds in (
        (metrics.FIRST_EVENT, stream.first_event_s),
        (metrics.FIRST_TEXT, stream.first_text_s),
        (metrics.LONGEST_GAP, stream.gap_s(1.0)),
    ):
        if seconds is not None:
            histogram.observe(seconds)
    if stream.dollars is not None:
        metrics.DOLLARS.inc(stream.dollars)


def _stream_fields(stream: StreamReport) -> dict[str, object]:
    used = sum(stream.usage.values(), Usage())
    return {
        "first_event_s": _rounded(stream.first_event_s),
        "first_text_s": _rounded(stream.first_text_s),
        "gap_p50_s": _rounded(stream.gap_s(0.5)),
        "gap_p95_s": _rounded(stream.gap_s(0.95)),
        "gap_max_s": _rounded(stream.gap_s(1.0)),
        "attempts": stream.attempts,
        "resumes": stream.resumes,
        "restarts": stream.restarts,
        "damages": len(stream.damages),
        "input_tokens": used.input,
        "cached_tokens": used.cache_read,
        "cache_write_tokens": used.cache_write,
        "output_tokens": used.output,
        "thinking_tokens": used.thinking,
        "dollars": None if stream.dollars is None else round(stream.dollars, 6),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
