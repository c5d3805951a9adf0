"""What Slack gets of Claude's Markdown, whole and half-written."""

from __future__ import annotations

import pytest

from bot import markdown
from bot.markdown import WORD_JOINER as J

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n"
TEXT_TABLE = "```\na   | b\n--- | ---\n1   | 2\n```\n"


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        pytest.param("a <!here> `<!here>`", f"a <{J}!here> `<{J}!here>`", id="calls are inert"),
        pytest.param(
            "&lt;!here&gt; <\\!here>", f"&lt;{J}!here&gt; <{J}\\!here>", id="also escaped"
        ),
        pytest.param(
            "<!DOCTYPE html> <b> a < b List<int> Map<b, i>",
            "<!DOCTYPE html> <b> a < b List<int> Map<b, i>",
            id="what only looks like HTML reads as written",
        ),
        pytest.param("```\n<b>x</b>\n", "```\n<b>x</b>\n```", id="code is left alone and closed"),
        pytest.param("`<b>x</b> [a](#b)`", "`<b>x</b> [a](#b)`", id="inline code is left alone"),
        pytest.param(
            "<b>x</b> <em>y</em> <del>z</del> <u>u</u>", "**x** *y* ~~z~~ u", id="HTML marks"
        ),
        pytest.param("one<br>two<br/>three", "one\ntwo\nthree", id="HTML breaks"),
        pytest.param("- one<br>two", "- one\n  two", id="HTML breaks in an item"),
        pytest.param("<code>a`b</code> <kbd>Esc</kbd>", "``a`b`` `Esc`", id="HTML code"),
        pytest.param("x<sup>2</sup> H<sub>2</sub>O x<sup>ab</sup>", "x² H₂O x^ab", id="raised"),
        pytest.param(
            '<a href="https://a.test">x</a> <img src="https://a.test/i.png" alt="y">',
            "[x](https://a.test) [y](https://a.test/i.png)",
            id="HTML links and images",
        ),
        pytest.param(
            "<details>\n<summary>More</summary>\n\ntext\n</details>",
            "**More**\n\n\ntext",
            id="details are a bold line and their text",
        ),
        pytest.param("a <!-- c --> b\n<!-- d\ne -->\nf", "a  b\nf", id="comments are left out"),
        pytest.param("the <div> element", "the <div> element", id="a tag as a word stays"),
        pytest.param(
            "![alt](https://a.test/i.png) ![](https://a.test/i.png)",
            "[alt](https://a.test/i.png) [i.png](https://a.test/i.png)",
            id="images are links",
        ),
        pytest.param(
            "[![build](https://a.test/b.svg)](https://ci.test)",
            "[build](https://ci.test)",
            id="a linked image is the link",
        ),
        pytest.param(
            "[google.com](https://evil.test/x) [https://a.test](https://a.test@evil.test)",
            "[google.com](https://evil.test/x) (evil.test)"
            " [https://a.test](https://a.test@evil.test) (evil.test)",
            id="a label that looks like another host is followed by the real one",
        ),
        pytest.param(
            "[www.a.test](https://a.test/x) [Node.js](https://nodejs.org) [x](https://a.test)",
            "[www.a.test](https://a.test/x) [Node.js](https://nodejs.org) [x](https://a.test)",
            id="other labels stay",
        ),
        pytest.param(
            "[part](#part) [file](./a.md) [js](javascript:x)",
            "part file (./a.md) js (javascript:x)",
            id="what leads nowhere in Slack is no link",
        ),
        pytest.param(
            "<https://a.test|b.test>", "[b.test](https://a.test) (a.test)", id="mrkdwn links"
        ),
        pytest.param("a[^1]\n\n[^1]: note", "a[1]\n\n[1] note", id="footnotes"),
        pytest.param(
            "[ref]: https://a.test", "\\[ref]: https://a.test", id="definitions are shown"
        ),
        pytest.param(
            "$a_1 * b_1$ and \\(x_1\\) but $5 and $10, $HOME",
            "`$a_1 * b_1$` and `\\(x_1\\)` but $5 and $10, $HOME",
            id="formulas are code, prices are not",
        ),
        pytest.param("$$\na_1\n$$", "```\n$$\na_1\n$$\n```", id="a formula over lines"),
        pytest.param(
            "1. a\n   \\[\n   x\n   \\]",
            "1. a\n   ```\n   \\[\n   x\n   \\]\n   ```",
            id="in an item",
        ),
        pytest.param("text\n---\nmore", "text\n\n---\nmore", id="dashes below a text divide"),
        pytest.param(
            "**注意：**次", f"**注意：{J}**次", id="bold beside punctuation without blanks"
        ),
        pytest.param(TABLE, TABLE, id="the first table is one"),
        pytest.param(f"{TABLE}\n{TABLE}", f"{TABLE}\n{TEXT_TABLE}", id="a further table is text"),
        pytest.param(
            f"> {TABLE[:-1]}".replace("\n", "\n> "),
            "> ```\n> a   | b\n> --- | ---\n> 1   | 2\n> ```",
            id="a table in a quotation is text",
        ),
        pytest.param(f"{TABLE}Text", f"{TABLE}\nText", id="text below a table is no row"),
        pytest.param(
            "| a | b |\n|---|---|\n| `x|y` | 2 | 3 |\n",
            "| a | b |\n|---|---|\n| `x\\|y` | 2 \\| 3 |\n",
            id="a cell too many is kept",
        ),
        pytest.param(
            f"{TABLE}\n| Name | 数量 |\n|---|---|\n| **漢字** | [l](https://a.test) |\n",
            f"{TABLE}\n```\nName | 数量\n---  | ---\n漢字 | l (https://a.test)\n```\n",
            id="a table as text is aligned, without marks",
        ),
        pytest.param("1. a\n  - b\n2. c", "1. a\n   - b\n2. c", id="sloppy nesting"),
        pytest.param("    - b\n    - c\n- d", "- b\n- c\n- d", id="a list that goes on"),
        pytest.param("  4. d\n     more\n5. e", "4. d\n   more\n5. e", id="with its numbers"),
        pytest.param(" \n ", "", id="nothing is nothing"),
    ],
)
def test_a_message_is_what_slack_can_show(text: str, rendered: str) -> None:
    assert markdown.render(text) == rendered


def test_lists_are_six_levels_deep_at_most() -> None:
    text = "\n".join(f"{'  ' * level}- {level}" for level in range(9))
    lines = markdown.render(text).split("\n")
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 6, 8, 10, 10, 10, 10]


def test_a_heading_over_150_characters_goes_on_in_bold() -> None:
    above, below = markdown.render("## " + "word " * 50).strip().split("\n")
    assert len(above) <= 153
    assert f"{above} {below.strip('*')}" == "## " + ("word " * 50).strip()


def test_a_table_over_100_rows_goes_on_as_text() -> None:
    rows = "".join(f"| {number} | x |\n" for number in range(150))
    native, text = markdown.render(f"| a | b |\n|---|---|\n{rows}").split("\n\n")
    assert native.count("\n") == 100
    assert text.startswith("```\na   | b\n--- | ---\n99  | x\n")


def test_a_table_over_20_columns_is_text() -> None:
    row = "|" + " a |" * 21
    assert markdown.render(f"{row}\n|{'---|' * 21}\n{row}\n").startswith("```\na ")


def test_aligning_adds_little_however_wide_a_cell_is() -> None:
    rows = "| a | b |\n" * 400 + f"| {'w' * 300} | b |\n"
    text = f"{TABLE}\n| a | b |\n|---|---|\n{rows}"
    assert len(markdown.render(text)) <= len(text) + 1_600


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        pytest.param("some **bo", "some **bo**", id="open bold is closed"),
        pytest.param("**a *b", "**a *b***", id="the inner one first"),
        pytest.param("some **", "some", id="a mark with nothing behind it is held back"),
        pytest.param("some **bold*", "some **bold**", id="half a closing mark too"),
        pytest.param("~~gone", "~~gone~~", id="open strikethrough is closed"),
        pytest.param("2*3 and snake_case", "2*3 and snake_case", id="within a word is no mark"),
        pytest.param("`co", "`co`", id="open code is closed"),
        pytest.param("``a`b", "``a`b``", id="with its own marks"),
        pytest.param("a `", "a", id="empty code is held back"),
        pytest.param("**a `b", "**a `b`**", id="code in bold"),
        pytest.param("see [lab", "see", id="half a label is held back"),
        pytest.param("see [label](https://a", "see", id="half a target is held back"),
        pytest.param("see [x](<!channel>", "see", id="so is one in angle brackets"),
        pytest.param('see [x](<a b> "ti', "see", id="and one with a title"),
        pytest.param("see ![al", "see", id="half an image is held back"),
        pytest.param("really!", "really", id="what may begin an image too"),
        pytest.param("a[0] = 1", "a[0] = 1", id="other brackets are not"),
        pytest.param("a &am", "a", id="half an entity is held back"),
        pytest.param("a <b", "a", id="half a tag is held back"),
        pytest.param("a <!chan", "a", id="half a call is held back"),
        pytest.param("`<!chan", "", id="also in code"),
        pytest.param("```\nx <!chan", "```\nx\n```", id="also in a fence"),
        pytest.param("a <int", "a <int", id="what cannot become a tag is not"),
        pytest.param("a < b", "a < b", id="nor a comparison"),
        pytest.param("<b>bo", "**bo**", id="an open tag is closed"),
        pytest.param("$x_1 +", "", id="half a formula is held back"),
        pytest.param("costs $5 mill", "costs $5 mill", id="a price is not"),
        pytest.param("$$\na_1\n", "", id="half a formula over lines is held back"),
        pytest.param("text\n\n##", "text", id="half a heading marker is held back"),
        pytest.param("text\n\n## ", "text", id="a heading without words too"),
        pytest.param("text\n-", "text", id="half a list marker is held back"),
        pytest.param("text\n- [", "text", id="an item without words too"),
        pytest.param("text\n12", "text", id="a number that may be a marker"),
        pytest.param("text\n> ", "text", id="half a quotation is held back"),
        pytest.param("text\n``", "text", id="half a fence is held back"),
        pytest.param("text\n```py", "text", id="half a language is held back"),
        pytest.param("text\n```py\n", "text", id="a fence without code is held back"),
        pytest.param("```py\nx", "```py\nx\n```", id="an open fence is closed"),
        pytest.param("```py\nx\n``", "```py\nx\n```", id="half a closing fence is held back"),
        pytest.param("| a | b |", "", id="a header is held back"),
        pytest.param("| a | b |\n|--", "", id="until its separator has come"),
        pytest.param("| a | b |\n|---|---|\n", "| a | b |\n|---|---|", id="then it is shown"),
        pytest.param(f"{TABLE}| 3 | ", TABLE.strip(), id="half a row is held back"),
        pytest.param(f"{TABLE}\n{TABLE}| 3", f"{TABLE}\n{TEXT_TABLE}".strip(), id="in text too"),
        pytest.param("| a |\ntext", "| a |\ntext", id="what was no header is shown"),
        pytest.param("x | y", "x", id="a header without a pipe at its begin"),
        pytest.param("text \n\n", "text", id="blanks at the end are held back"),
    ],
)
def test_half_written_text_is_healed(text: str, rendered: str) -> None:
    assert markdown.render(text, growing=True) == rendered


@pytest.mark.parametrize(
    ("before", "after", "begins"),
    [
        pytest.param("text\n", "more", "more", id="text needs nothing"),
        pytest.param("```py\nx\n", "y\n```\n", "```py\ny\n```\n", id="a fence is opened again"),
        pytest.param(
            "- a\n      ```py\n      x\n", "      y\n      ```", "```py\ny\n```", id="in an item"
        ),
        pytest.param("> ```py\n> x\n", "> y", "> ```py\n> y\n> ```", id="in a quotation"),
        pytest.param("```py\nx\n", "```\ntext", "text", id="a fence closed at once is left out"),
        pytest.param(
            TABLE, "| 3 | 4 |\n", "| a | b |\n|---|---|\n| 3 | 4 |\n", id="a table's header"
        ),
        pytest.param(TABLE, "\ntext", "\ntext", id="no header without rows"),
        pytest.param(f"{TABLE}\n", "text", "text", id="the table was over"),
        pytest.param("1. a\n   - b\n", "   - c\n2. d", "- c\n2. d", id="a nested item"),
        pytest.param("1. a\n\n", "   more\n\n2. d", "more\n\n2. d", id="a paragraph of an item"),
    ],
)
def test_the_next_message_goes_on_well(before: str, after: str, begins: str) -> None:
    prefix = markdown.continuation(before)
    assert markdown.render(after, prefix=prefix) == begins


def test_a_table_over_three_messages_keeps_its_header() -> None:
    prefix = markdown.continuation(TABLE)
    again = markdown.continuation(prefix + "| 3 | 4 |\n")
    assert prefix == again == "| a | b |\n|---|---|\n"
