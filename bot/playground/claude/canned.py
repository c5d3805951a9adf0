"""What the scripted Claude says when nobody wrote a script: the same question, the same answer."""

from __future__ import annotations

import re
from itertools import cycle

from bot.playground.claude.reply import Reply

LONG_CHARACTERS = 25_000
LONG_TOKENS_PER_SECOND = 1500.0
QUOTED_CHARACTERS = 300

SPEAKER = re.compile(r"^\[[^\]\n]{1,80}\]:? ")  # how a bot may say who asks
NOTE = "[From the bot:"  # and what it tells about the asker, which is no part of the question

TOPICS = (
    ("Buffers", "hold what has arrived until somebody is ready for it", "buffer"),
    ("Queues", "keep the order when the work comes faster than it can be done", "queue"),
    ("Budgets", "decide in advance how much may be spent in a minute", "budget"),
    ("Retries", "try again, but later and not for ever", "retry"),
    ("Deadlines", "give every wait an end", "deadline"),
    ("Journals", "write down what was promised before starting on it", "journal"),
    ("Leases", "own something for a while, and prove that you still live", "lease"),
    ("Seams", "cut a long text where the cut does not show", "seam"),
    ("Signals", "stop in an orderly way when asked to", "signal"),
    ("Clocks", "pass time as an argument, so that a test need not wait", "clock"),
)


def default_reply(question: str, tokens_per_second: float) -> Reply:
    """A reply that quotes the question; a question with the word "long" gets a long one, faster."""
    if "long" in question.lower().split():
        speed = max(LONG_TOKENS_PER_SECOND, tokens_per_second) if tokens_per_second else None
        return Reply(long_answer(), tokens_per_second=speed)
    return Reply(short_answer(question))


def short_answer(question: str) -> str:
    """About 700 characters with a quote, a list, some code."""
    words = [line for line in question.strip().splitlines() if not line.startswith(NOTE)][-3:]
    words = [_quotable(SPEAKER.sub("", line)) for line in words]
    quoted = "\n".join(f"> {line}".rstrip() for line in words) or "> …"
    return f"""You asked:

{quoted}

I am a **scripted** Claude, so I cannot really know. But this is how an answer looks while it grows:

1. The first words appear as soon as they exist, not when the last one does.
2. The message is then edited as often as Slack allows, and *never* more often.
3. What stands here at the end is everything that was written, in order, once.

```python
async for delta in stream:
    message.grow(delta)
```

Ask for a `long` answer to see one that needs several messages. To talk to the real Claude, run \
`make playground ARGS=--live` with an `ANTHROPIC_API_KEY`.
"""


def long_answer(characters: int = LONG_CHARACTERS) -> str:
    """So many characters of prose, lists and code, or up to a sentence less."""
    text = "# Notes on programs that never stop in the middle\n\n"
    number = 0
    while len(text) + len(chapter := _chapter(number)) < characters - 200:
        text += chapter
        number += 1
    text += "## In short\n\nPut together:"
    closing = cycle(f" {title} {purpose}." for title, purpose, _ in TOPICS)
    while len(text) + len(sentence := next(closing)) <= characters:
        text += sentence
    return text


def _quotable(line: str) -> str:
    """A line as it is, or its beginning: a pasted page must not become a reply of many messages."""
    return line if len(line) <= QUOTED_CHARACTERS else line[:QUOTED_CHARACTERS].rstrip() + " …"


def _chapter(number: int) -> str:
    title, purpose, noun = TOPICS[number % len(TOPICS)]
    return f"""## {number + 1}. {title}

{title} exist to {purpose}. That sounds obvious, and yet most of what goes wrong in a small \
service goes wrong because somebody left it out on a quiet afternoon. The {noun} is not there for \
the good days: it is there for the **one minute a month** when everything happens at once — and \
then it is too late to add it. Rule {number + 1} is therefore: *write the {noun} first*.

- **Small:** one {noun}, one owner, one place in the code.
- **Bounded:** a {noun} without a limit is only a slower way to fail.
- **Visible:** when it fills up, somebody should read about it — “{noun} full” is enough.
  1. Count what goes in.
  2. Count what comes out.

```python
class {title.rstrip("s")}:
    \"\"\"One {noun}: {purpose}.\"\"\"

    def __init__(self, limit: int = {10 * (number + 1)}) -> None:
        self.limit = limit
        self.items: list[str] = []

    def add(self, item: str) -> bool:
        if len(self.items) >= self.limit:
            return False  # say so, never drop it silently
        self.items.append(item)
        return True
```

In `{noun}_{number + 1}.py` this takes {12 + number} lines; the test beside it takes twice as many.

"""
