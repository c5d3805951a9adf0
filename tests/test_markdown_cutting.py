"""Where a reply is cut."""

from __future__ import annotations

import pytest

from bot import markdown
from bot.markdown.graphemes import joined


@pytest.mark.parametrize(
    ("text", "limit", "first"),
    [
        pytest.param("one\n\ntwo\nthree", 10, "one\n\n", id="after a blank line"),
        pytest.param("one two\nthree four", 12, "one two\n", id="after a line"),
        pytest.param("One. Two three", 10, "One. ", id="after a sentence"),
        pytest.param("one two three", 10, "one two ", id="after a word"),
        pytest.param("abcdefghij", 4, "abcd", id="within a word when it must"),
        pytest.param(
            "これは。それは、何", 8, "これは。", id="after a Chinese or Japanese sentence"
        ),
        pytest.param("यह है। वह है", 10, "यह है। ", id="after a Hindi sentence"),
        pytest.param("```\naa\nbb\ncc\n```\n", 9, "```\naa\n", id="inside code at a line"),
        pytest.param("text text\n\n## Head\n\nmore", 20, "text text\n\n", id="before a heading"),
        pytest.param(
            "text text\n\nHere is the code:\n\n```\nx\n```\n",
            32,
            "text text\n\n",
            id="before an introduction",
        ),
        pytest.param(
            "a b\n\n| a |\n|---|\n| 1 |\n", 14, "a b\n\n", id="not below a table's header"
        ),
        pytest.param("- one\n- two\n- three", 14, "- one\n- two\n", id="after an item"),
        pytest.param("```\na\nb\n```\ntext", 8, "```\na\n", id="not before what closes the code"),
        pytest.param("see [the label](https://a.test)", 20, "see ", id="before a link"),
        pytest.param("see https://a.test/b/c", 15, "see ", id="before an address"),
        pytest.param("see `some code here`", 12, "see ", id="before inline code"),
        pytest.param("see $x_1 + y_1$ so", 10, "see ", id="before a formula"),
        pytest.param("see <b>x</b>", 6, "see ", id="before a tag"),
        pytest.param("ab &amp; c", 5, "ab ", id="before an entity"),
    ],
)
def test_a_message_ends_where_it_reads_well(text: str, limit: int, first: str) -> None:
    assert text[: markdown.cut(text, limit)] == first


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("👍🏽", id="a skin tone"),
        pytest.param("👩‍👩‍👧‍👦", id="a family"),
        pytest.param("🇩🇪", id="a flag"),
        pytest.param("🏴󠁧󠁢󠁥󠁮󠁧󠁿", id="a flag of tags"),
        pytest.param("1️⃣", id="a keycap"),
        pytest.param("e\u0301", id="an accent"),
        pytest.param("क्षि", id="a Devanagari conjunct"),
        pytest.param("กำ", id="a Thai vowel"),
        pytest.param("เก", id="a Thai vowel before its consonant"),
        pytest.param("각", id="Hangul letters"),
        pytest.param("\ud83d\ude00", id="a surrogate pair"),
        pytest.param("\r\n", id="a line end"),
    ],
)
def test_one_visible_character_is_never_cut(text: str) -> None:
    assert all(joined(text, position) for position in range(1, len(text)))
    whole = f"a{text}b"
    assert markdown.cut(whole, len(text)) == 1


def test_flags_are_cut_between_two() -> None:
    assert markdown.cut("🇩🇪🇫🇷🇮🇹", 5) == 4


def test_a_floor_is_kept() -> None:
    text = "one. two\n\nthree four"
    assert [markdown.cut(text, 15, floor) for floor in (1, 11, 15)] == [10, 15, 15]


def test_code_that_goes_on_is_cut_as_code() -> None:
    text = "a = 1\n\nb = 2\nc = 3\n```\n\nprose that goes on and on\n"
    assert text[: markdown.cut(text, 20, prefix="```py\n")] == "a = 1\n\nb = 2\n"
    assert text[: markdown.cut(text, 30, prefix="```py\n")] == "a = 1\n\nb = 2\nc = 3\n```\n\n"
