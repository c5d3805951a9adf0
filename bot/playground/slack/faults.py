"""Faults on demand: how a Web API call goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

FaultKind = Literal[
    "ratelimited",
    "rate_limited",
    "ok_false_ratelimited",
    "error",
    "http",
    "apply_http",
    "html",
    "garbage",
    "lost",
    "reset",
    "hang",
    "delay",
    "late",
]


@dataclass
class Fault:
    """What happens to the calls of a method (`"*"`: of any), `times` times, after `skip` calls.

    - ratelimited, rate_limited: HTTP 429 with Retry-After and that error; nothing happens.
    - ok_false_ratelimited: HTTP 200 with the error `ratelimited` and no header; nothing happens.
    - error: HTTP 200 with `error`; nothing happens.
    - http: that `status` with an HTML body; nothing happens.
    - apply_http: the call takes effect, then that `status`.
    - html: HTTP 200 with an HTML page; garbage: HTTP 200 with JSON cut short. Nothing happens.
    - lost: the call takes effect, then the connection ends without an answer.
    - reset: the connection is reset before anything happens.
    - hang: no answer for `seconds` (None: for ever), then the connection ends; nothing happens.
    - delay: effect and answer after `seconds`, or once `until` is set.
    - late: effect at once, answer after `seconds`.
    """

    method: str
    kind: FaultKind
    error: str = "internal_error"
    status: int = 500
    retry_after_s: int = 1
    seconds: float | None = None
    until: asyncio.Event | None = None
    times: int = 1
    skip: int = 0
    when: Callable[[dict[str, Any]], object] | None = None
    used: int = field(default=0, init=False)

    @property
    def is_rate_limit(self) -> bool:
        """Whether the call is refused without being counted."""
        return self.kind in ("ratelimited", "rate_limited", "ok_false_ratelimited")

    def matches(self, method: str, args: dict[str, Any]) -> bool:
        """Whether it is meant for this call; counts the calls that it skips."""
        if self.method not in ("*", method) or self.used >= self.times:
            return False
        if self.when is not None and not self.when(args):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        return True


class Faults:
    """The faults that wait for their calls, in order; the first that matches is used."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let it wait for its call."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """From now on everything works."""
        self._waiting.clear()

    def take(self, method: str, args: dict[str, Any]) -> Fault | None:
        """The fault of this call, or None."""
        for fault in self._waiting:
            if fault.matches(method, args):
                fault.used += 1
                if fault.used >= fault.times:
                    self._waiting.remove(fault)
                return fault
        return None
