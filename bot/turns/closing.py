"""Closing a turn's journal entry, also while the store is away for a moment."""

from __future__ import annotations

import logging
from typing import Final

from bot import logs
from bot.clock import Clock
from bot.errors import StoreUnavailable
from bot.store import Store
from bot.turn import Outcome, TurnKey

log = logging.getLogger(__name__)

RECORD_AGAIN_S: Final = (0.2, 1.0, 3.0, 10.0)


async def record(store: Store, clock: Clock, key: TurnKey, outcome: Outcome) -> bool:
    """Write the outcome down, in a few tries. What stays open all the same is released: taken up
    again, it is found finished in Slack. Whether it is written."""
    for wait_s in (*RECORD_AGAIN_S, None):
        try:
            await store.settle(key, outcome)
        except StoreUnavailable as error:
            logs.warning(log, "outcome_not_recorded", detail=str(error))
        else:
            return True
        if wait_s is not None:
            await clock.sleep(wait_s)
    await release(store, key, tried=True)
    return False


async def release(store: Store, key: TurnKey, *, tried: bool) -> None:
    """Leave the turn open for whoever takes it up; at the latest its lease will lapse."""
    try:
        await store.release(key, tried=tried)
    except StoreUnavailable as error:
        logs.warning(log, "turn_not_released", detail=str(error))
