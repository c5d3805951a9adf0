"""A status line while Claude writes, and the whole reply at once when it ends."""

from __future__ import annotations

import math

from bot.live_message.edits import Edits
from bot.live_message.part import Part


class Posts(Edits):
    """As edits, but nothing is shown before the end."""

    def is_due(self, part: Part) -> bool:
        return self._writing.draft.settled and super().is_due(part)

    def wait_s(self, part: Part) -> float:
        return math.inf
