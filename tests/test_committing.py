"""What may be shown of a growing text where nothing can be taken back: Slack's native streams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import markdown
from tests.markdown_pieces import documents

MORE = settings(max_examples=100, deadline=None)


def streamed(text: str, steps: list[int]) -> list[str]:
    """What the stream shows as the text grows by `steps`."""
    found, end = [""], 0
    for step in steps:
        end = min(len(text), end + step)
        found.append(markdown.committed(text[:end], len(found[-1])))
    return found


@MORE
@given(documents, st.lists(st.integers(1, 40), max_size=30))
def test_what_was_streamed_is_a_beginning_of_all_that_follows(text: str, steps: list[int]) -> None:
    final = markdown.render(text)
    before = ""
    for body in streamed(text, steps):
        assert body.startswith(before)
        assert final.startswith(body)
        before = body


@MORE
@given(documents, st.lists(st.integers(1, 40), max_size=30))
def test_no_append_begins_with_white_space_outside_code(text: str, steps: list[int]) -> None:
    bodies = streamed(text, steps)
    for before, after in itertools.pairwise(bodies):
        more = after.removeprefix(before)
        if before and more and markdown.open_fence(before) is None and after.startswith(before):
            assert not more[0].isspace(), (before, after)


def shown_of(text: str, floor: int = 0) -> str:
    return markdown.committed(text, floor)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hel", ""),
        ("Hello wor", "Hello "),
        ("Hello world. And", "Hello world. "),
        ("One\n\nTwo", "One\n\n"),
        ("## Head", ""),
        ("One\n\n- Two", "One\n\n"),
        ("See the [full docs", "See "),
        ("See the [docs](https://exa", "See "),
        ("See [the docs](https://example.com/a) now", "See [the docs](https://example.com/a) "),
        ("This is **very impor", "This is "),
        ("This is **very important** and", "This is **very important** "),
        ("You may use `the co", "You may use "),
        ("```python\nx = 1\ny =", "```python\nx = 1\n"),
        ("```python\nx = 1\nif x:\n    y = 1\n    z", "```python\nx = 1\n"),
        (
            "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n| 5",
            "| a | b |\n| --- | --- |\n| 1 | 2 |\n",
        ),
        ("| a | b |\n| --", ""),
        ("Hi all <!chan", "Hi "),
    ],
)
def test_only_whole_words_lines_of_code_and_rows_are_shown(text: str, shown: str) -> None:
    assert shown_of(text) == shown


def test_emphasis_that_stays_open_holds_back_only_so_much() -> None:
    text = "This is **" + "very " * 80
    assert len(shown_of(text)) > 200


def test_a_script_without_blanks_is_shown_in_sentences_and_then_between_characters() -> None:
    assert shown_of("这是第一句。这是") == "这是第一句。"
    assert 0 < len(shown_of("这" * 100)) < 100
