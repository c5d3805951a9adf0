"""How Markdown is stored, and what Slack makes of text."""

from __future__ import annotations

from typing import Any

import pytest

from bot.playground.slack.mrkdwn import split, stored_text
from bot.playground.slack.translate import shown_text, translated


def kinds(markdown: str) -> list[str]:
    """The types of the blocks and of the pieces of rich text."""
    found: list[str] = []
    for block in translated(markdown):
        if block["type"] == "rich_text":
            found += [element["type"].removeprefix("rich_text_") for element in block["elements"]]
        else:
            found.append(block["type"])
    return found


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        pytest.param("# One\n\ntwo", ["header", "section"], id="a heading is a header"),
        pytest.param("one\n\ntwo", ["section"], id="paragraphs are one section"),
        pytest.param("- a\n- b", ["list"], id="a list"),
        pytest.param("- a\n  - b\n- c", ["list", "list", "list"], id="nested lists lie flat"),
        pytest.param("- a\n\n- b\n\n- c", ["list"], id="a loose list is one list"),
        pytest.param("> a\n> b", ["quote"], id="a quote"),
        pytest.param("```py\na\n\n# b\n```", ["preformatted"], id="code stays whole"),
        pytest.param("```\nnever closed\n\n# b", ["preformatted"], id="an open fence swallows"),
        pytest.param("a\n\n---\n\nb", ["section", "divider", "section"], id="a rule divides"),
        pytest.param("|a|\n|-|\n|1|", ["table"], id="a table"),
        pytest.param(
            "1. a\n\n   ```\n   x\n   ```\n2. b", ["list", "preformatted", "list"], id="in"
        ),
        pytest.param("# " + "x" * 151, ["section"], id="a heading too long for a header"),
    ],
)
def test_markdown_becomes_other_blocks(markdown: str, expected: list[str]) -> None:
    assert kinds(markdown) == expected


def test_styles_links_and_mentions_become_elements() -> None:
    block = translated("**a _b_** ~~c~~ `d` [e](http://e.x) <@U0AB> <!here>")[0]
    elements: list[dict[str, Any]] = block["elements"][0]["elements"]
    styled = {each["text"]: each["style"] for each in elements if "style" in each}
    assert styled == {
        "a ": {"bold": True},
        "b": {"bold": True, "italic": True},
        "c": {"strike": True},
        "d": {"code": True},
    }
    types = [each["type"] for each in elements if each["type"] != "text"]
    assert types == ["link", "user", "broadcast"]


def test_a_text_that_grows_is_the_same_as_one_that_came_whole() -> None:
    text = "# T\n\none\n\n- a\n\n- b\n\n```\nx\n\ny\n```\n\n|a|\n|-|\n\nend **bold**"
    for end in range(0, len(text), 3):
        translated(text[:end])
    assert shown_text(translated(text)) == "T\none\na\nb\nx\n\ny\na\nend bold"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        pytest.param("a < b & c > d", "a &lt; b &amp; c &gt; d", id="escapes"),
        pytest.param("&lt;x&gt; &amp;", "&lt;x&gt; &amp;", id="escapes once"),
        pytest.param("<@U0AB> <!here> <#C0AB|x>", "<@U0AB> <!here> <#C0AB|x>", id="sequences stay"),
        pytest.param("see https://a.x/y.", "see <https://a.x/y.>", id="links are marked"),
        pytest.param("<https://a.x|here>", "<https://a.x|here>", id="marked links stay"),
    ],
)
def test_text_is_stored_in_slacks_own_format(text: str, stored: str) -> None:
    assert stored_text(text) == stored


def test_a_long_text_splits_at_words() -> None:
    parts = split("word " * 2_000, 4_000)
    assert all(len(part) <= 4_000 for part in parts)
    assert " ".join(part.strip() for part in parts).split() == ["word"] * 2_000
