"""What Claude is told to say, and how the saying goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

CHARACTERS_PER_TOKEN = 4
TOKEN_LENGTHS = (4, 3, 5, 2, 6, 4)  # averages CHARACTERS_PER_TOKEN; fixed, so runs are repeatable

When = Callable[[dict[str, Any]], bool] | str

Kind = Literal[
    "bad_index",
    "bad_json",
    "close_delimited",
    "cut",
    "delta_before_start",
    "empty",
    "error",
    "error_text",
    "half_event",
    "half_utf8",
    "hang_headers",
    "html",
    "no_event_line",
    "no_stop_event",
    "pings",
    "reset",
    "silent_end",
    "stall",
    "unknown_block",
    "unknown_delta",
    "unknown_event",
]


@dataclass(frozen=True)
class Damage:
    """One fault, struck when `at` characters of the text have been sent.

    `at=-1` strikes before message_start, with the response headers already out.

    These end the stream:

    - `cut`: FIN inside the chunked body; `reset`: RST
    - `silent_end`: the HTTP body ends properly, without message_delta and message_stop
    - `close_delimited`: as a proxy that drops chunked framing: the body ends with the connection
    - `half_event`: the next event is cut in half, then the body ends properly
    - `half_utf8`: FIN inside a character of several bytes (the next such one, or an ellipsis)
    - `bad_json`: an event whose data is not JSON, then the body ends properly
    - `error`: `event: error` with `error_type` and `message`; `error_text`: the same, not JSON
    - `no_stop_event`: message_delta comes, message_stop does not (`at` is ignored)

    These go on afterwards as if nothing had been:

    - `stall`: silence for `seconds` (None: until the client leaves); `pings`: only pings meanwhile
    - `unknown_event`, `unknown_block`, `unknown_delta`: something of tomorrow's protocol
    - `delta_before_start`: the first delta comes before message_start (`at` is ignored)
    - `bad_index`: the next delta has an index that no block has
    - `no_event_line`: from here on records come without their `event:` line

    These replace the answer (`at` is ignored): `empty` (200, no body), `html` (200, a web page),
    `hang_headers` (no response headers for `seconds`, None: until the client leaves).
    """

    kind: Kind
    at: int = 0
    seconds: float | None = None
    error_type: str = "overloaded_error"
    message: str = "Overloaded"


@dataclass(frozen=True)
class Reply:
    """One answer: text with its manner of arriving, or an error by HTTP status.

    `when` chooses the requests it answers: a callable of the body, or a part of the last user
    text. `keep` leaves it in the queue after use. `chunks` are sent as deltas exactly as they are;
    without them the text is cut into tokens of about four characters. `tokens_per_second` and
    `first_token_s` replace the server's own for this reply. `thinking` puts a thinking block first,
    its text omitted as the 5.x models do by default, for `thinking_s`.
    """

    text: str = ""
    _: KW_ONLY
    when: When | None = None
    keep: bool = False
    thinking: bool = False
    thinking_s: float = 0.0
    stop_reason: str = "end_turn"
    stop_details: Mapping[str, Any] | None = None
    status: int = 200
    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens_per_second: float | None = None
    first_token_s: float | None = None
    chunks: Sequence[str] | None = None
    damage: Damage | Sequence[Damage] | None = None
    pings_every_s: float | None = None
    model: str | None = None
    usage: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.chunks is not None:
            object.__setattr__(self, "text", "".join(self.chunks))

    @property
    def damages(self) -> list[Damage]:
        """All faults of this reply, in the order in which they strike."""
        if self.damage is None:
            return []
        damages = [self.damage] if isinstance(self.damage, Damage) else list(self.damage)
        return sorted(damages, key=lambda damage: damage.at)

    def struck_by(self, *kinds: Kind) -> Damage | None:
        """The first fault of one of these kinds, if this reply has one."""
        return next((damage for damage in self.damages if damage.kind in kinds), None)


def tokens(text: str) -> list[str]:
    """Cut `text` into pieces the size of tokens, inside words too, never inside a code point."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = start + TOKEN_LENGTHS[len(pieces) % len(TOKEN_LENGTHS)]
        pieces.append(text[start:end])
        start = end
    return pieces


def count_tokens(text: str) -> int:
    """The estimate used for usage, limits and windows alike."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)
