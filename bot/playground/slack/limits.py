"""Rates and lengths, as Slack enforces them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

# Lengths. Characters unless the name says bytes.
UPDATE_TEXT_BYTES = 4_000  # docs.slack.dev/reference/methods/chat.update; measured in UTF-8
POST_TEXT = 40_000  # docs.slack.dev/reference/methods/chat.postMessage: cut, with a warning
POST_SPLIT = 4_900  # a longer text without blocks becomes several messages
SPLIT_PART = 4_000
MARKDOWN = 12_000  # over all markdown blocks: docs.slack.dev/reference/block-kit/blocks
MARKDOWN_TEXT = 12_000
ALL_BLOCKS_TEXT = 12_500  # measured between 11,300 and 13,200; Slack: "12,000 and a buffer"
STREAM_BYTES = 10_600  # measured: 10,571 accepted, 10,821 refused
METADATA_BYTES = 8_000
BLOCKS = 50
HOME_BLOCKS = 100
SECTION = 3_000
FIELDS = 10
FIELD = 2_000
HEADER = 150
CONTEXT_ELEMENTS = 10
ACTIONS_ELEMENTS = 25
CONTEXT_ACTIONS_ELEMENTS = 5
IDENTIFIER = 255
BUTTON_TEXT = 75
BUTTON_VALUE = 2_000
URL = 3_000
ALT_TEXT = 2_000
TABLE_ROWS = 100
TABLE_COLUMNS = 20
TABLE_TEXT = 10_000
ATTACHMENTS = 100
VIEW_BYTES = 250_000


class Tier(Enum):
    """How often a method may be called: docs.slack.dev/apis/web-api/rate-limits."""

    TWO = "tier2"
    THREE = "tier3"
    FOUR = "tier4"
    STATUS = "status"
    POST = "post"
    SPECIAL = "special"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Calls allowed in any `window_s` seconds, for each method and workspace."""

    window_s: float = 60.0
    tier2: int = 20
    tier3: int = 50
    tier4: int = 100
    status: int = 600
    special: int = 600
    post: int = 300
    channel_posts: int = 5
    channel_window_s: float = 5.0

    def of(self, tier: Tier) -> int:
        """Calls in a window for a method of this tier."""
        count: int = getattr(self, tier.value)
        return count


class Window:
    """At most `limit` calls in any `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._times: deque[float] = deque()

    def wait_s(self, now: float) -> float:
        """Seconds until a call would be allowed; 0 when it is now."""
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        if len(self._times) < self._limit:
            return 0.0
        return max(self._times[0] + self._seconds - now, 1e-9)

    def take(self, now: float) -> None:
        """Count a call."""
        self._times.append(now)


@dataclass(frozen=True)
class Refusal:
    """Why a call is over its rate, and after how many whole seconds it may come again."""

    error: str
    retry_after_s: int


class RateLimiter:
    """All windows of one workspace and app. A refused call does not count."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._methods: dict[str, Window] = {}
        self._channels: dict[str, Window] = {}
        self._last_post: dict[str, float] = {}
        self.over_one_per_second = 0

    def refusal(self, method: str, tier: Tier, channel: str, now: float) -> Refusal | None:
        """The answer to a call that comes too early, or None."""
        wait_s = self._method(method, tier).wait_s(now)
        error = "ratelimited"
        if tier is Tier.POST:
            channel_wait_s = self._channel(channel).wait_s(now)
            if channel_wait_s > wait_s:
                # "application has posted too many messages", spelled differently
                wait_s, error = channel_wait_s, "rate_limited"
        return Refusal(error, max(1, math.ceil(wait_s))) if wait_s else None

    def take(self, method: str, tier: Tier, channel: str, now: float) -> None:
        """Count an accepted call."""
        self._method(method, tier).take(now)
        if tier is not Tier.POST:
            return
        self._channel(channel).take(now)
        if now - self._last_post.get(channel, -math.inf) < 1.0:
            self.over_one_per_second += 1
        self._last_post[channel] = now

    def _method(self, method: str, tier: Tier) -> Window:
        window = self._methods.get(method)
        if window is None:
            window = Window(self._limits.of(tier), self._limits.window_s)
            self._methods[method] = window
        return window

    def _channel(self, channel: str) -> Window:
        window = self._channels.get(channel)
        if window is None:
            window = Window(self._limits.channel_posts, self._limits.channel_window_s)
            self._channels[channel] = window
        return window
