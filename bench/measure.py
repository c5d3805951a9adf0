"""From the emulator's and Claude's records to figures. Pure functions, nothing of the bot's."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from bench.scripted import StreamRecord
from bot.playground.exchange import CLOSING_FENCE, OPENING_FENCE, same_text
from bot.playground.slack import Call, Glimpse, Message, SlackEmulator

STREAM_METHODS: Final = ("chat.startStream", "chat.appendStream", "chat.stopStream")
EDITS_PER_MINUTE: Final = 50
MOST_EDITS: Final = 21
"""Of one reply of ten seconds: half a second apart, the first at once."""
MINUTE_S: Final = 60.0


@dataclass(frozen=True)
class Question:
    """One question as it was asked."""

    number: int
    channel: str
    ts: str
    asked_at: float


@dataclass(frozen=True)
class ReplyFigures:
    """One question and its reply; seconds. None: it never came."""

    number: int
    tokens: int
    sign_s: float | None
    request_s: float | None
    first_words_s: float | None
    final_s: float | None
    silent_s: float
    """The longest time without any sign of life, after the first one and before the end."""
    age_s: float | None
    changes: int
    """How often its readers saw the text change."""
    whole: bool


def reply_figures(
    one: Question, record: StreamRecord | None, slack: SlackEmulator, until: float
) -> ReplyFigures:
    """What a reader of the channel saw of one reply until `until`."""
    sign_at = next((begin for begin, _ in slack.signs(one.channel, one.ts)), None)
    sign_s = None if sign_at is None else sign_at - one.asked_at
    glimpses = slack.reading(one.channel, one.ts)
    changes = sum(before.parts != after.parts for before, after in pairwise(glimpses))
    if record is None or record.first_text_at is None:
        return ReplyFigures(one.number, 0, sign_s, None, None, None, 0.0, None, changes, False)
    whole = letters(record.text)
    seen = progress(glimpses, whole)
    words_at = next((at for at, count in seen if count), None)
    whole_at = next((at for at, count in seen if count == len(whole)), None)
    ended_at = record.ended_at or until
    end_at = until if whole_at is None else whole_at
    silences = slack.silences(one.channel, one.ts, sign_at or one.asked_at, end_at)
    messages = [message for message in slack.said(one.channel, one.ts) if not message.deleted]
    return ReplyFigures(
        number=record.number,
        tokens=len(record.deltas),
        sign_s=sign_s,
        request_s=record.asked_at - one.asked_at,
        first_words_s=None if words_at is None else max(0.0, words_at - record.first_text_at),
        final_s=None if whole_at is None else max(0.0, whole_at - ended_at),
        silent_s=max((end - begin for begin, end in silences), default=0.0),
        age_s=mean_age(record, seen, max(end_at, ended_at)),
        changes=changes,
        whole=record.finished and is_whole(messages, record.text),
    )


# --- what is shown --------------------------------------------------------------------------------


def letters(text: str) -> str:
    """What remains of a text whatever its formatting: letters and digits."""
    return re.sub(r"[\W_]+", "", text)


def unformatted(text: str) -> str:
    """What remains without white space and without the characters that Markdown formats with."""
    return re.sub(r"[\s*_`~#>|\\\-\u2060]+", "", text)


def joined(parts: Sequence[str], kept: Callable[[str], str] = letters) -> str:
    """What is kept of a reply's messages; a fence that reopens cut code is not part of the text."""
    found = [kept(part) for part in parts[:1]]
    for before, part in pairwise(parts):
        is_cut = CLOSING_FENCE.search(before) and OPENING_FENCE.match(part)
        found.append(kept(OPENING_FENCE.sub("", part) if is_cut else part))
    return "".join(found)


def is_whole(messages: Sequence[Message], text: str) -> bool:
    """Whether all that Claude wrote is shown, in order, once, whatever its formatting."""
    parts = [message.sent_markdown for message in messages if message.sent_markdown]
    return same_text(parts, text) or joined(parts, unformatted) == unformatted(text)


def progress(glimpses: Sequence[Glimpse], whole: str) -> list[tuple[float, int]]:
    """When how many letters of `whole` could be read; never fewer than before.

    They stand in all messages one after the other, or in one of them: a reply may be posted anew
    before what there was of it is deleted.
    """
    seen: list[tuple[float, int]] = []
    most = 0
    for at, parts in glimpses:
        shown = [joined(parts), *(map(letters, parts) if len(parts) > 1 else ())]
        most = max(most, *(_common(one, whole) for one in shown))
        seen.append((at, most))
    return seen


def _common(left: str, right: str) -> int:
    """How many characters both begin with."""
    if right.startswith(left):
        return len(left)
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (one, other) in pairs if one != other), len(right))


def mean_age(record: StreamRecord, seen: Sequence[tuple[float, int]], until: float) -> float | None:
    """Time average, from Claude's first text to the whole text visible, of the age of the oldest
    text that cannot be read yet."""
    if not record.times or until <= record.times[0]:
        return None
    count, counts = 0, []
    for delta in record.deltas:
        count += len(letters(delta))
        counts.append(count)
    start = record.times[0]
    total = 0.0
    moments = [(start, 0), *((at, shown) for at, shown in seen if start < at < until)]
    ends = [*(at for at, _ in moments[1:]), until]
    for (begin, shown), end in zip(moments, ends, strict=True):
        oldest = bisect_right(counts, shown)
        if oldest < len(counts):
            since = record.times[oldest]
            total += (max(0.0, end - since) ** 2 - max(0.0, begin - since) ** 2) / 2
    return total / (until - start)


# --- what it could be at best ---------------------------------------------------------------------


def least_age(edits: int, stream_s: float, latency_s: float) -> float:
    """f(m) of pacing.md: the least mean age of a reply with so many edits, the final included."""
    area = stream_s**2 / (2 * edits) + latency_s * stream_s + latency_s**2 / 2
    return area / (stream_s + latency_s)


def bound_at_once(replies: int, stream_s: float, latency_s: float) -> float | None:
    """The least mean age of so many equal replies that share one minute's edits; None where these
    are not even enough for the ends."""
    if replies > EDITS_PER_MINUTE:
        return None
    share, more = divmod(EDITS_PER_MINUTE, replies)
    counts = [min(MOST_EDITS, share + (index < more)) for index in range(replies)]
    return sum(least_age(max(1, m), stream_s, latency_s) for m in counts) / replies


# --- calls ----------------------------------------------------------------------------------------


def busiest_minutes(calls: Iterable[Call]) -> dict[str, int]:
    """The most calls of each method that Slack took within any minute."""
    times: dict[str, list[float]] = {}
    for call in calls:
        if call.status == 200:
            times.setdefault(call.method, []).append(call.at)
    return {method: _busiest(sorted(at)) for method, at in sorted(times.items())}


def _busiest(times: Sequence[float]) -> int:
    return max(index - bisect_left(times, at - MINUTE_S) + 1 for index, at in enumerate(times))


def refused(calls: Iterable[Call]) -> int:
    """Calls that were over their rate."""
    return sum(call.status == 429 for call in calls)


def by_method(calls: Iterable[Call]) -> dict[str, int]:
    """How many calls of each method came."""
    return dict(sorted(Counter(call.method for call in calls).items()))


def quantile(values: Iterable[float | None], share: float) -> float | None:
    """The smallest value that is not below `share` of all; None is larger than any number."""
    found = sorted(math.inf if value is None else value for value in values)
    if not found:
        return None
    value = found[max(0, math.ceil(share * len(found)) - 1)]
    return None if math.isinf(value) else value


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def as_json(figures: ReplyFigures) -> dict[str, Any]:
    """For the JSON file; milliseconds are precise enough."""
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(figures).items()
    }
