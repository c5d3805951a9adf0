"""What is asked and what the scripted Claude answers: both sides know it from the question."""

from __future__ import annotations

import random
import re
from typing import Final, NamedTuple

CHARACTERS_PER_TOKEN: Final = 4
_QUESTION: Final = re.compile(r"Run (?P<run>[\w-]+), question (?P<number>\d+): (?P<tokens>\d+)")
_WORDS: Final = (
    *("slack", "edit", "reply", "window", "budget", "stream", "thread", "channel", "message"),
    *("token", "slow", "early", "final", "whole", "first", "word", "reader", "minute", "second"),
    *("newest", "shown", "waits", "grows", "settles", "counts", "shares", "keeps", "takes"),
)
_CODE: Final = """```python
def free(sent: list[float], now: float) -> int:
    used = [at for at in sent if at > now - 60]  # number {number}
    return 50 - len(used)
```"""


class Asked(NamedTuple):
    """What a question asks for."""

    run: str
    number: int
    tokens: int


def question(run: str, number: int, tokens: int) -> str:
    """The words of a question; `asked` reads them back."""
    return f"Run {run}, question {number}: {tokens} tokens, please."


def asked(text: str) -> Asked:
    """What a question made by `question` asks for."""
    match = _QUESTION.search(text)
    if match is None:
        raise ValueError("not a question of the benchmark")
    return Asked(match["run"], int(match["number"]), int(match["tokens"]))


def reply(tokens: int, number: int) -> str:
    """Exactly that many tokens: paragraphs, a list and code in turn, prose at the end."""
    chance = random.Random(number)
    size = tokens * CHARACTERS_PER_TOKEN
    text = ""
    for section in range(size):
        block = _section(chance, section)
        if len(text) + len(block) + 40 > size:
            break
        text += f"{block}\n\n"
    return text + _filling(chance, size - len(text))


def _section(chance: random.Random, number: int) -> str:
    match number % 4:
        case 1:
            return "\n".join(f"- **{_words(chance, 2)}**: {_words(chance, 9)}" for _ in range(3))
        case 3:
            return _CODE.replace("{number}", str(number))
        case _:
            return " ".join(_sentence(chance) for _ in range(4))


def _filling(chance: random.Random, size: int) -> str:
    text = ""
    while len(text) < size:
        text += f"{_sentence(chance)} "
    return f"{text[: size - 1].rstrip():x<{size - 1}}." if size else ""


def _sentence(chance: random.Random) -> str:
    return f"{_words(chance, chance.randint(6, 14)).capitalize()}."


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(count))
