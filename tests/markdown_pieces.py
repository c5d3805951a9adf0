"""Random documents made of real pieces of Markdown, whole and half-written, and an oracle."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from markdown_it import MarkdownIt

PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
"""Not what the bot reads Markdown with, so it can tell whether that was right."""

INLINE = [
    *("word ", "two words ", "snake_case_name ", "2*3 ", "5 * 3 ", "a < b ", "List<int> "),
    *("**bold** ", "*slanted* ", "__init__ ", "***both*** ", "~~struck~~ ", "`code` ", "``a`b`` "),
    *("**重要：**次を。", "漢字。", "👩‍👩‍👧 ", "🇩🇪🇫🇷", "é", "नमस्ते ", "&amp; ", "\\* ", "\\"),
    *("[label](https://a.test/c_d) ", "[google.com](https://evil.test) ", "https://x.test/z_a "),
    *("![alt](https://a.test/i.png) ", "![](https://a.test/i.png) ", "<https://a.test|b.test> "),
    *("<b>x</b> ", "<i>y", "<br>", "<code>a</code> ", "x<sup>2</sup> ", "<div>", "<!-- c -->"),
    *("$a_1*b$ ", "$5 ", "\\(x_1\\) ", "$$y_2$$ ", "[^1] ", "[^", "[x](", "![", "<a href="),
    *(
        "<!channel> ",
        "&lt;!here&gt; ",
        "<\\!everyone> ",
        "<@U123> ",
        "<!subteam^S1> ",
        "<!DOCTYPE ",
    ),
    *("`", "``", "**", "*", "_", "~~", "[", "](", ")", "<", ">", "</b>", "$", "!", "|", "&", "#"),
]
BLOCKS = [
    *(
        "\n",
        "\n\n",
        "\n- item",
        "\n  - nested",
        "\n      - deep",
        "\n1. one",
        "\n2) two",
        "\n> quote ",
    ),
    *(
        "\n## Head\n",
        "\n# " + "long words " * 20 + "\n",
        "\n---\n",
        "\n===\n",
        "\n\n    indented\n",
    ),
    "\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| wide cell | **x** |\n",
    "\n\na | b\n--|--\n1 | 2\n",
    "\n| half | table |\n",
    "\n```py\nx = 1\n\ny = 2\n```\n",
    "\n- item\n  ~~~\n  <!here>\n  ~~~\n",
    "\n> ```\n> <!channel>\n> ```\n",
    *("\n```", "\n~~~~\n```\n", "\n$$\na_1 * b_1\n$$\n", "\n\\[\nx_1\n\\]\n", "\n<!-- a\nb -->\n"),
    *(
        "\n[^1]: note\n",
        "\n[ref]: https://a.test\n",
        "<details>\n<summary>S</summary>\n",
        "</details>\n",
    ),
    *("\n- [ ] to do", "\n- [x] done", "\n\n   more of the item\n"),
]
documents = st.lists(st.sampled_from(INLINE + BLOCKS), max_size=14).map("".join)
long_documents = st.lists(st.sampled_from(INLINE + BLOCKS), min_size=10, max_size=60).map("".join)

LIVE = re.compile(r"<(?:!(?:channel|here|everyone|group)\b|!subteam\^|@[UWB][A-Z0-9])", re.I)


def one_blank(text: str) -> str:
    """`text` with single blanks: the columns of a table that is shown as text grow wider."""
    return re.sub(r" +", " ", text)


def tables(text: str) -> int:
    """Tables that a Markdown parser finds."""
    return sum(token.type == "table_open" for token in PARSER.parse(text))


def shown(text: str) -> str:
    """The words that a Markdown parser shows, entities and escapes decoded."""
    words: list[str] = []
    for token in PARSER.parse(text):
        if token.type in ("fence", "code_block"):
            words.append(token.content)
        for child in token.children or ():
            words.append(child.content if child.content else "\n")
    return "".join(words)
