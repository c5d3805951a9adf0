"""What `/metrics` tells: counters and histograms of the process, in Prometheus' text format."""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)

TURNS = Counter("bot_turns", "Turns that ended", ["outcome", "surface"], registry=REGISTRY)
LIVE = Gauge("bot_live_replies", "Replies under way", registry=REGISTRY)
WAITING = Gauge("bot_waiting_questions", "Questions that wait for a place", registry=REGISTRY)
TOOK = Histogram("bot_turn_seconds", "From accept to settled", buckets=SECONDS, registry=REGISTRY)
SETTLING = Histogram(
    "bot_settle_seconds", "From Claude's end to settled", buckets=SECONDS, registry=REGISTRY
)
EDITS = Counter("bot_edits", "Edits of replies", registry=REGISTRY)

FIRST_EVENT = Histogram(
    "bot_claude_first_event_seconds",
    "From the request to the first event",
    buckets=SECONDS,
    registry=REGISTRY,
)
FIRST_TEXT = Histogram(
    "bot_claude_first_text_seconds",
    "From the request to the first text",
    buckets=SECONDS,
    registry=REGISTRY,
)
LONGEST_GAP = Histogram(
    "bot_claude_longest_gap_seconds",
    "The longest gap between two deltas of a reply",
    buckets=SECONDS,
    registry=REGISTRY,
)
ATTEMPTS = Counter("bot_claude_attempts", "Requests to Claude", registry=REGISTRY)
RESUMES = Counter("bot_claude_resumes", "Replies gone on after a break", registry=REGISTRY)
DAMAGES = Counter("bot_claude_damages", "Streams that were not as they should", registry=REGISTRY)
FAILURES = Counter("bot_claude_failures", "Replies that failed", ["kind"], registry=REGISTRY)
TOKENS = Counter("bot_claude_tokens", "Tokens used", ["model", "kind"], registry=REGISTRY)
DOLLARS = Counter("bot_claude_dollars", "Cost by the price table", registry=REGISTRY)

SLACK_CALLS = Counter("bot_slack_calls", "Calls of Slack", ["method", "result"], registry=REGISTRY)
SOCKETS = Gauge("bot_sockets_open", "Socket Mode connections that are open", registry=REGISTRY)
RECONNECTS = Counter(
    "bot_socket_reconnects", "Socket Mode connections replaced", ["reason"], registry=REGISTRY
)


def text() -> bytes:
    """All metrics as Prometheus reads them."""
    return generate_latest(REGISTRY)
