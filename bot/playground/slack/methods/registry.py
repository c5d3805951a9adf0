"""Which methods there are, how often they may be called and what they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..args import Args
from ..limits import Tier
from ..records import Json
from ..workspace import Workspace

Run = Callable[[Workspace, Args], Json]


@dataclass(frozen=True)
class Method:
    """One Web API method. Any one of its `scopes` will do; none means none is needed."""

    name: str
    run: Run
    tier: Tier
    scopes: tuple[str, ...]
    token: Literal["bot", "app", "none"]


METHODS: dict[str, Method] = {}


def method(
    name: str,
    tier: Tier,
    *scopes: str,
    token: Literal["bot", "app", "none"] = "bot",
) -> Callable[[Run], Run]:
    """Register a function as the Web API method `name`."""

    def register(run: Run) -> Run:
        METHODS[name] = Method(name, run, tier, scopes, token)
        return run

    return register
