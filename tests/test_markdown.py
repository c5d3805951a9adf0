"""Pure text: inert, closed, cut, plain."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import markdown

J = markdown.WORD_JOINER


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        pytest.param("<!channel>", f"<{J}!channel>", id="the channel"),
        pytest.param("<!here|here>", f"<{J}!here|here>", id="here, with a label"),
        pytest.param("<!EVERYONE>", f"<{J}!EVERYONE>", id="everyone, shouted"),
        pytest.param("<!subteam^S1|@x>", f"<{J}!subteam^S1|@x>", id="a user group"),
        pytest.param("<@U123>", f"<{J}@U123>", id="a person"),
        pytest.param("<@W123|w>", f"<{J}@W123|w>", id="a person of an organisation"),
        pytest.param("`<!here>`", f"`<{J}!here>`", id="inside code"),
        pytest.param("<!DOCTYPE html>", "<!DOCTYPE html>", id="a doctype reads as written"),
        pytest.param("a < b", "a < b", id="a comparison reads as written"),
        pytest.param("<@example.com>", "<@example.com>", id="a host reads as written"),
        pytest.param("<https://x|y>", "<https://x|y>", id="a link stays a link"),
        pytest.param("&lt;!here&gt;", f"&lt;{J}!here&gt;", id="written with an entity"),
        pytest.param("&#60;&#33;here", f"&#60;{J}&#33;here", id="written with numbers"),
        pytest.param("<\\!here>", f"<{J}\\!here>", id="written with a backslash"),
    ],
)
def test_only_what_would_notify_is_made_inert(text: str, inert: str) -> None:
    assert markdown.neutralise(text) == inert


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        pytest.param("a", "a", id="prose stays"),
        pytest.param("```py\nx", "```py\nx\n```", id="an open fence is closed"),
        pytest.param("```py\nx\n", "```py\nx\n```", id="without an empty line"),
        pytest.param("```py\nx\n```", "```py\nx\n```", id="a closed one stays"),
        pytest.param("~~~~\n```\nx", "~~~~\n```\nx\n~~~~", id="the right marker"),
        pytest.param("- a\n  ```\n  x", "- a\n  ```\n  x\n  ```", id="inside a list"),
        pytest.param("1. ```py\n   x", "1. ```py\n   x\n   ```", id="on the line of a list"),
        pytest.param("> ```py\n> x", "> ```py\n> x\n> ```", id="in a quotation"),
        pytest.param("```\n- ```\n```", "```\n- ```\n```", id="a list marker closes nothing"),
        pytest.param("a ``` b", "a ``` b", id="backticks in prose are no fence"),
        pytest.param("```a`b", "```a`b", id="nor with a backtick in the info"),
    ],
)
def test_an_open_fence_is_closed(text: str, closed: str) -> None:
    assert markdown.close(text) == closed


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        pytest.param("# Title\n\n**Bold** `x`", "Title Bold x", id="marks are left out"),
        pytest.param("[label](https://x.test)", "label", id="a link is its label"),
        pytest.param("a < b & c", "a &lt; b &amp; c", id="escaped"),
        pytest.param("```py\nx = 1\n```", "x = 1", id="fences are left out"),
        pytest.param("| a | b |\n|---|---|\n| 1 | |\n", "a, b 1", id="rows are lists of words"),
        pytest.param("- [x] *a*\n2. _b_ snake_case", "a 2. b snake_case", id="items are words"),
        pytest.param(
            "<b>x</b><br>y <!-- c --> List<int>", "x y List&lt;int&gt;", id="HTML is left out"
        ),
        pytest.param("`<b>**` \\* &amp;", "&lt;b&gt;** * &amp;", id="code reads as written"),
        pytest.param("a[^1] ![pic](https://a.test/x.png)", "a pic", id="notes and targets too"),
        pytest.param("  \n ", "", id="nothing is nothing"),
    ],
)
def test_the_fallback_is_the_beginning_in_plain_words(text: str, plain: str) -> None:
    assert markdown.plain_beginning(text) == plain


texts = st.text(alphabet=st.sampled_from(list("ab \n`~#*<!@>&é漢👍🏽\u200d")), max_size=400)


@given(texts, st.integers(20, 60))
def test_cutting_never_loses_a_character_and_keeps_the_limit(text: str, limit: int) -> None:
    rest = text
    parts = []
    while rest:
        end = markdown.cut(rest, limit)
        assert 0 < end <= limit
        parts.append(rest[:end])
        rest = rest[end:]
    assert "".join(parts) == text


@given(texts)
def test_a_closed_text_has_no_open_fence(text: str) -> None:
    assert markdown.open_fence(markdown.close(text)) is None
    assert markdown.close(text).startswith(text)


@given(texts, st.integers(10, 200))
def test_the_fallback_keeps_its_limit_and_holds_no_control_sequence(text: str, limit: int) -> None:
    plain = markdown.plain_beginning(text, limit)
    assert len(plain.encode()) <= limit
    assert "<" not in plain and ">" not in plain
    assert re.sub(r"&(amp|lt|gt);", "", plain).count("&") == 0


@given(st.text(max_size=200))
def test_escaping_can_be_undone(text: str) -> None:
    assert markdown.unescape(markdown.escape(text)) == text
