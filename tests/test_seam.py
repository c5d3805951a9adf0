"""A resumed reply reads as if it had been written in one go."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.claude.seam import Seam


def join(partial: str, *deltas: str) -> str:
    seam = Seam(partial)
    return partial + "".join(seam.add(delta) for delta in deltas) + seam.rest()


CODE = "Look:\n\n```python\ndef total(items):\n    return su"


@pytest.mark.parametrize(
    ("partial", "new", "whole"),
    [
        pytest.param("the quick bro", "wn fox", "the quick brown fox", id="the next character"),
        pytest.param("the quick bro", "brown fox", "the quick brown fox", id="the word again"),
        pytest.param(
            "It was late. The quick bro",
            "The quick brown fox",
            "It was late. The quick brown fox",
            id="the sentence again",
        ),
        pytest.param("the quick ", " brown", "the quick brown", id="the space again"),
        pytest.param("One.\n\n", "\n\nTwo.", "One.\n\nTwo.", id="the paragraph break again"),
        pytest.param("One.\n", "\nTwo.", "One.\n\nTwo.", id="the break's second half"),
        pytest.param(CODE, "m(items)\n```", CODE + "m(items)\n```", id="in code"),
        pytest.param(
            CODE, "    return sum(items)\n```", CODE + "m(items)\n```", id="in code, the line again"
        ),
        pytest.param(
            CODE,
            "```python\n    return sum(items)\n```",
            CODE + "m(items)\n```",
            id="in code, the fence and the line again",
        ),
        pytest.param(
            "```py\nx = 1\n", "```\n\nDone.", "```py\nx = 1\n```\n\nDone.", id="the closing fence"
        ),
        pytest.param("```py\nx\n``", "`\nDone", "```py\nx\n```\nDone", id="half a closing fence"),
        pytest.param("```js\nlet a = ", "`b`;\n", "```js\nlet a = `b`;\n", id="backticks in code"),
        pytest.param("| - | - ", "| - |", "| - | - | - |", id="a table's ruler is no repetition"),
        pytest.param("| yes ", "| yes |", "| yes | yes |", id="nor are equal cells"),
        pytest.param(
            "[None, None, ", "None, None]", "[None, None, None, None]", id="nor are equal values"
        ),
        pytest.param("1000", "000", "1000000", id="nor are zeros"),
        pytest.param(
            "| Supported |", " Supported |", "| Supported | Supported |", id="nor are equal cells'"
        ),
        pytest.param("- one\n    ", "  - two", "- one\n      - two", id="nor is an indentation"),
        pytest.param("a.\n        -", "        - b", "a.\n        - b", id="a list item again"),
        pytest.param("One.\nTwo.\n", "Three.", "One.\nTwo.\nThree.", id="the next line"),
        pytest.param("----------", "----------", "--------------------", id="nor is a line"),
        pytest.param("a", "", "a", id="nothing more"),
        pytest.param(
            "他说。今天天气", "今天天气很好", "他说。今天天气很好", id="a Chinese clause again"
        ),
    ],
)
def test_a_seam_is_healed(partial: str, new: str, whole: str) -> None:
    assert join(partial, new) == whole
    assert join(partial, *new) == whole


def test_a_repetition_of_hundreds_of_characters_is_removed() -> None:
    text = " ".join(f"word{number}" for number in range(300))
    assert join(text[:1_500], text[700:]) == text


def test_a_whole_reply_again_adds_only_what_is_new() -> None:
    text = " ".join(f"word{number}" for number in range(1_000))
    assert join(text[:3_000], text) == text


def test_another_reply_from_the_start_is_told_apart() -> None:
    text = " ".join(f"word{number}" for number in range(300))
    seam = Seam(text[:1_000])
    other = text[:400] + " and then something else"
    assert seam.add(other) == other
    assert seam.starts_over


def test_text_that_repeats_itself_does_not_wait() -> None:
    line = f"All work and no play makes Jack a dull boy{', and so on' * 6}.\n"
    seam = Seam(line * 20 + line[:30])
    assert len(seam.add(line[30:] + line * 3)) > 0


words = st.lists(
    st.text(alphabet="abcdefghijklmnop", min_size=1, max_size=8), min_size=45, max_size=90
).map(" ".join)


@given(words, st.data())
def test_an_exact_continuation_is_kept_exactly(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(10, len(text) - 5))
    partial, rest = text[:at], text[at:]
    # A word doubled right at the break cannot be told from a repetition.
    assume(not any(partial.endswith(rest[:size]) for size in range(1, 16)))
    size = data.draw(st.integers(1, 7))
    deltas = [rest[start : start + size] for start in range(0, len(rest), size)]
    assert join(partial, *deltas) == text


@given(words, st.data())
def test_a_repeated_end_is_removed(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(40, len(text) - 5))
    back = data.draw(st.integers(20, min(at, 200)))
    assume(len(set(text[at - back : at]) - {" "}) > 6)
    assert join(text[:at], text[at - back :]) == text
