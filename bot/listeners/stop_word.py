"""A message that says no more than "stop"."""

from __future__ import annotations

import re
from typing import Final

from bot.turn import Question

CHARACTERS: Final = 60

_WORD = re.compile(
    r"[^\w?]*(?:please[^\w?]+)?(?:stop|cancel)(?:[^\w?]+(?:it|this|that|now))?"
    r"(?:[^\w?]+please)?[^\w?]*",
    re.IGNORECASE,
)


def says_stop(question: Question, bot_user_id: str) -> bool:
    """Whether it does: `stop` or `cancel`, in any case and with any signs around it (`!stop`,
    `*Stop!*`), perhaps with `please` before or after it, and `it`, `this`, `that` or `now` behind
    it; the bot may be mentioned with it. With a question mark it asks something."""
    if question.files or question.attachments or len(question.text) > CHARACTERS:
        return False
    mention = rf"<@{re.escape(bot_user_id)}(?:\|[^>]*)?>"
    said = re.sub(mention, " ", question.text).replace("_", " ")
    return _WORD.fullmatch(said) is not None
