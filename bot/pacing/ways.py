"""In which way a reply gets into Slack: by the budgets, as they are and as they are going to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from bot.config import Delivery
from bot.pacing.edits import EDIT_SPACING_S, EditLine, Seat
from bot.pacing.forecast import LEAST_RATE_PER_S, Forecast
from bot.pacing.streams import Streams, StreamSeat
from bot.store.ledger import Live

STREAMED_SHARE: Final = 2 / 3
STREAMED_PER_S: Final = 20 / 60
"""So many of the replies to come are reckoned to be streamed: Slack lets no more begin ..."""
EDITED_PER_S: Final = 15 / 60
"""... and so many of the others to be edited; the rest will be posted whole."""
LAST_EDIT_ONLY_S: Final = 0.5
"""A reply of which only the first words and the last edit can be shown is worth so little less than
one that is posted whole, and spares its channel a post at the end."""
POSTS_AT_ONCE: Final = 1
POSTS_IN_NEED: Final = 3
"""So many replies that are posted whole may share a channel before the second that each waits for
the ones before it counts: more, and evenly, once ..."""
NEED: Final = 20
"""... fewer last edits than this are free."""


class Way(StrEnum):
    """How a reply gets into Slack."""

    EDIT = "edit"
    """A message that is edited while the reply grows."""
    STREAM = "stream"
    """Slack's native stream, which only grows."""
    POST = "post"
    """A status line, and the whole reply at its end."""


class Coming:
    """How many replies begin in a second, by the way that they will go."""

    def __init__(
        self, delivery: Delivery, forecast: Forecast, others: Callable[[], Sequence[Live]]
    ) -> None:
        self._delivery = delivery
        self._forecast = forecast
        self._others = others

    def edited_per_s(self) -> float:
        """Of those that will be edited."""
        per_s = max(LEAST_RATE_PER_S, self._seen_per_s())
        if self._delivery == "edit":
            return per_s
        return min(per_s * (1 - STREAMED_SHARE), EDITED_PER_S)

    def streamed_per_s(self) -> float:
        """Of those that will be streamed. One more is not always reckoned with: a stream needs no
        call that must be kept for its end."""
        return min(self._seen_per_s() * STREAMED_SHARE, STREAMED_PER_S)

    def _seen_per_s(self) -> float:
        told = sum(other.rate_per_s for other in self._others())
        return self._forecast.seen_rate_per_s() + told


class Ways:
    """Of one workspace.

    Where it is free to choose, a reply goes the way in which its text is unseen for the shortest
    time; of ways that are equal the first:

        edit    the spacing of its edits if it joined the replies that are edited now, at most
                half its expected length (and a little more) where there is only the first post
                and the last edit, at least the wait for that post; not while finals own all slots
        stream  the spacing of its appends likewise; not while no start is free, or no stop for
                each stream that would be open
        post    half its expected length, and a second for each reply above one of the channel
                that will be posted whole too; above three, once few last edits are free
    """

    def __init__(
        self, delivery: Delivery, forecast: Forecast, edits: EditLine, streams: Streams
    ) -> None:
        self._delivery = delivery
        self.forecast = forecast
        self.edits = edits
        self.streams = streams

    def live(self) -> int:
        """How many replies are not settled yet."""
        return self.edits.live()

    def asks(self) -> Live:
        """What the live replies of this process will ask of the budgets."""
        appends = replace(self.streams.appends.asks(), owned=self.streams.open)
        return Live(self.edits.asks(), appends, self.forecast.seen_rate_per_s())

    def review(self) -> None:
        """What other processes will ask has changed."""
        self.edits.review()
        self.streams.appends.review()

    def choose(
        self, seat: Seat, channel: str, *, post_wait_s: float, may_stream: bool
    ) -> tuple[Way, StreamSeat | None]:
        """The way of a reply in a thread that has text to show now, and no message yet; and the
        stream that is kept for it, if it is to be streamed."""
        seat.posts_in = None
        match self._delivery:
            case "edit":
                way = Way.EDIT
            case "post":
                way = Way.POST
            case "stream":
                way = Way.STREAM if may_stream and self.streams.may_start() else Way.EDIT
            case _:
                way = self._liveliest(channel, post_wait_s, may_stream)
        if way is Way.POST:
            seat.posts_in = channel
        return way, self.streams.reserve(seat.began_at) if way is Way.STREAM else None

    def edits_are_short(self) -> bool:
        """Whether a reply that begins now could not be edited every half second."""
        if self._delivery in ("stream", "post"):
            return True
        joining = 1 if self._delivery == "auto" else 0  # else its seat is counted already
        return self.edits.spacing_s(joining) > EDIT_SPACING_S

    def _liveliest(self, channel: str, post_wait_s: float, may_stream: bool) -> Way:
        edits, half_s = self.edits, self.forecast.length_s / 2
        edit_s = min(edits.spacing_s(joining=1), half_s + LAST_EDIT_ONLY_S)
        at_once = POSTS_AT_ONCE if edits.free() >= NEED else POSTS_IN_NEED
        ages_s = {
            Way.EDIT: max(edit_s, post_wait_s) if edits.first_wait_s() <= 0 else math.inf,
            Way.STREAM: self.streams.spacing_s() if may_stream else math.inf,
            Way.POST: half_s + max(0, edits.will_post_in(channel) + 1 - at_once),
        }
        return min(ages_s, key=lambda way: ages_s[way])
