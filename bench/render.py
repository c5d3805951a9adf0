"""CPU of rendering: a reply that grows, through the draft, as the writer takes it for each edit.

.venv/bin/python -m bench.render
"""

from __future__ import annotations

import inspect
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from bench import replies
from bot.live_message.draft import Draft

EDIT_S: Final = 0.5
TOKENS_PER_SECOND: Final = 60
TARGET_S: Final = 1.0
LONG_TOKENS: Final = 25_000
MANY_MESSAGES: Final = 1_000


@dataclass(frozen=True)
class Growth:
    """A reply, and how much of it comes between two edits."""

    name: str
    tokens: int
    tokens_per_edit: int


STEP: Final = round(EDIT_S * TOKENS_PER_SECOND)
GROWTHS: Final = (
    Growth("600 tokens, an edit each 0.5 s", 600, STEP),
    Growth("50 kB at 60 tokens/s, an edit each 0.5 s", LONG_TOKENS // 2, STEP),
    Growth("100 kB at 60 tokens/s, an edit each 0.5 s", LONG_TOKENS, STEP),
    Growth("100 kB at 600 tokens/s, an edit each 0.5 s", LONG_TOKENS, 10 * STEP),
    Growth("100 kB in one burst", LONG_TOKENS, LONG_TOKENS),
)


def main() -> int:
    """Measure; 1 if a reply costs more than its target."""
    slow = False
    for growth in GROWTHS:
        cpu_s, edits, messages = min(measured(growth) for _ in range(3))
        slow = slow or cpu_s > TARGET_S
        verdict = "ok" if cpu_s <= TARGET_S else f"target {TARGET_S:g} s"
        print(
            f"{growth.name:<46}{cpu_s:>8.3f} s of CPU{edits:>6} calls"
            f"{cpu_s / edits * 1e3:>8.2f} ms each{messages:>4} messages   {verdict}"
        )
    return int(slow)


def measured(growth: Growth) -> tuple[float, int, int]:
    """CPU seconds, calls and messages of one reply."""
    text = replies.reply(growth.tokens, number=1)
    tokens = [text[at : at + 4] for at in range(0, len(text), replies.CHARACTERS_PER_TOKEN)]
    draft = _draft()
    edits = 0
    began = time.process_time()
    for start in range(0, len(tokens), growth.tokens_per_edit):
        for token in tokens[start : start + growth.tokens_per_edit]:
            draft.add(token)
        edits += _write(draft)
    draft.settle(None, complete=True)
    edits += _write(draft)
    return time.process_time() - began, edits, len(draft.parts)


def _write(draft: Draft) -> int:
    """Make every call that is due, as `live_message.writer` would; how many."""
    calls = 0
    draft.plan()
    for part in draft.parts:
        by_text, by_status = draft.differs(part)
        if not (by_text or (by_status and draft.settled)):
            continue
        content = draft.content(part)
        draft.payload(part, content)
        part.sent, part.ts = content, part.ts or "1.0"
        part.shown = max(part.shown, content.end)
        calls += 1
    return calls


def _draft() -> Draft:
    """A draft without an earlier run, and with no bound on its messages if it has one."""
    known: dict[str, Any] = {"max_messages": MANY_MESSAGES}
    wanted = inspect.signature(Draft).parameters
    return Draft({}, **{name: value for name, value in known.items() if name in wanted})


if __name__ == "__main__":
    sys.exit(main())
