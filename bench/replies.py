"""What is asked and what the scripted Claude answers: both sides know it from the question."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

Text = Literal["mixed", "prose", "code", "tables"]
TEXTS: Final[tuple[Text, ...]] = ("mixed", "prose", "code", "tables")
CHARACTERS_PER_TOKEN: Final = 4
_QUESTION: Final = re.compile(
    r"Run (?P<run>[\w-]+), question (?P<number>\d+): (?P<tokens>\d+) tokens"
    rf" of (?P<text>{'|'.join(TEXTS)})"
)
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
    text: Text


def question(run: str, number: int, tokens: int, text: Text = "mixed") -> str:
    """The words of a question; `asked` reads them back."""
    return f"Run {run}, question {number}: {tokens} tokens of {text}, please."


def asked(text: str) -> Asked:
    """What a question made by `question` asks for."""
    match = _QUESTION.search(text)
    if match is None:
        raise ValueError("not a question of the benchmark")
    text = next(one for one in TEXTS if one == match["text"])
    return Asked(match["run"], int(match["number"]), int(match["tokens"]), text)


def reply(tokens: int, number: int, kind: Text = "mixed") -> str:
    """Exactly that many tokens, the end of them always prose."""
    chance = random.Random(number)
    size = tokens * CHARACTERS_PER_TOKEN
    text = ""
    for section in range(size):
        block = _SECTIONS[kind](chance, section)
        if len(text) + len(block) + 40 > size:
            break
        text += f"{block}\n\n"
    return text + _filling(chance, size - len(text))


def _mixed(chance: random.Random, number: int) -> str:
    """Paragraphs, a list and code in turn."""
    match number % 4:
        case 1:
            return "\n".join(f"- **{_words(chance, 2)}**: {_words(chance, 9)}" for _ in range(3))
        case 3:
            return _CODE.replace("{number}", str(number))
        case _:
            return _paragraph(chance)


def _prose(chance: random.Random, number: int) -> str:
    """Paragraphs, with a heading, a list and a quotation now and then."""
    match number % 6:
        case 2:
            return f"## {_words(chance, 3).capitalize()}\n\n{_paragraph(chance)}"
        case 3:
            return "\n".join(
                f"{n}. **{_words(chance, 2)}**: {_words(chance, 9)}" for n in (1, 2, 3)
            )
        case 5:
            return f"> {_sentence(chance)}"
        case _:
            return _paragraph(chance)


def _code(chance: random.Random, number: int) -> str:
    """A sentence, then a function of some twenty lines."""
    if number % 2 == 0:
        return f"{_sentence(chance)[:-1]}:"
    lines = [f"def step_{number}(window: list[float]) -> int:"]
    for _ in range(chance.randint(4, 8)):
        name, other = chance.choice(_WORDS), chance.choice(_WORDS)
        lines += [
            f"    {name} = [at for at in window if at > {chance.randint(1, 60)}]",
            f"    if len({name}) < {chance.randint(1, 50)}:  # {other}",
            f"        return {chance.randint(0, 99)} * len({name})",
        ]
    return "\n".join(["```python", *lines, "    return 0", "```"])


def _tables(chance: random.Random, number: int) -> str:
    """A large table after a paragraph; a message takes only one, so the next is far away."""
    if number % 10 != 1:
        return _paragraph(chance)
    rows = [[_words(chance, 1), _words(chance, 2), str(chance.randint(1, 999))] for _ in range(17)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * 3, *rows[1:]])


_SECTIONS: Final[dict[Text, Callable[[random.Random, int], str]]] = {
    "mixed": _mixed,
    "prose": _prose,
    "code": _code,
    "tables": _tables,
}


def _paragraph(chance: random.Random) -> str:
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
