"""A few of the rounds that `make soak` plays a hundred of."""

from __future__ import annotations

import pytest

from tests.redis_server import need
from tests.soak import play


@pytest.mark.timeout(90)
async def test_kills_cost_nobody_an_answer() -> None:
    await play(2, with_redis=False, questions=5, deaths=1)


@pytest.mark.timeout(90)
async def test_kills_among_processes_cost_nobody_an_answer() -> None:
    need("redis-server", "redis")
    await play(5, with_redis=True, questions=5, deaths=1)
