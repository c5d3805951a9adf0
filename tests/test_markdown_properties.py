"""What holds for every text and every way of splitting it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import markdown
from bot.markdown import inline, tables
from bot.markdown.graphemes import joined
from tests.markdown_pieces import LIVE, documents, long_documents, one_blank, shown
from tests.markdown_pieces import tables as tables_in

MORE = settings(max_examples=100, deadline=None)


def parts(text: str, limit: int) -> list[tuple[str, str]]:
    """The reply as messages: what each begins with, and its own text."""
    found: list[tuple[str, str]] = []
    prefix = ""
    while text:
        end = markdown.cut(text, limit, prefix=prefix)
        assert 0 < end <= limit
        found.append((prefix, text[:end]))
        prefix = markdown.continuation(prefix + text[:end])
        text = text[end:]
    return found


@MORE
@given(documents, st.data())
def test_every_interim_rendering_is_a_beginning_of_the_later_ones(
    text: str, data: st.DataObject
) -> None:
    step = data.draw(st.integers(1, 3))
    final = one_blank(markdown.render(text))
    before = ""
    for end in [*range(1, len(text), step), len(text)]:
        body, _ = markdown.render_apart(text[:end], growing=True)
        assert one_blank(body).startswith(one_blank(before)), (text[:end], before)
        assert final.startswith(one_blank(body)), text[:end]
        before = body


@MORE
@given(documents, st.data())
def test_nothing_that_was_shown_disappears_when_the_message_ends(
    text: str, data: st.DataObject
) -> None:
    """A message that was shown up to `floor` and is cut at or after it."""
    if not text:
        return
    floor = data.draw(st.integers(1, len(text)))
    limit = data.draw(st.integers(floor, len(text)))
    end = markdown.cut(text, limit, floor)
    assert floor <= end <= limit
    body, _ = markdown.render_apart(text[:floor], growing=True)
    assert one_blank(markdown.render(text[:end])).startswith(one_blank(body))


@MORE
@given(long_documents, st.integers(40, 400))
def test_the_messages_joined_again_are_the_text(text: str, limit: int) -> None:
    assert "".join(part for _, part in parts(text, limit)) == text


@MORE
@given(long_documents, st.integers(40, 400))
def test_every_message_is_valid_alone(text: str, limit: int) -> None:
    for prefix, part in parts(text, limit):
        body = markdown.render(part, prefix=prefix)
        assert markdown.open_fence(body) is None
        assert tables_in(body) <= 1, body


@MORE
@given(documents)
def test_every_interim_rendering_is_valid_alone(text: str) -> None:
    for end in range(1, len(text) + 1, 3):
        body = markdown.render(text[:end], growing=True)
        assert markdown.open_fence(body) is None
        assert tables_in(body) <= 1


@MORE
@given(long_documents, st.integers(10, 60), st.booleans())
def test_no_message_holds_a_live_control_sequence(text: str, limit: int, growing: bool) -> None:
    for prefix, part in parts(text, limit):
        body = markdown.render(part, prefix=prefix, growing=growing)
        assert not LIVE.search(body)
        assert not LIVE.search(shown(body))
        assert "<" not in markdown.plain_beginning(body)


@MORE
@given(
    st.lists(st.sampled_from([*"<!@&;\\`*_[]()| \n>", "!here", "<b>", "</b>", "<!-- -->", "lt"]))
)
def test_no_control_sequence_comes_about_by_what_is_left_out(pieces: list[str]) -> None:
    text = "".join(pieces)
    for growing in (False, True):
        body = markdown.render(text, growing=growing)
        assert not LIVE.search(body)
        assert not LIVE.search(shown(body))


@MORE
@given(
    st.text(alphabet=st.sampled_from(list("ab \n`~#*<!@>&é漢👍🏽\u200d🇩🇪กำ각\u0301")), max_size=400)
)
def test_a_cut_keeps_visible_characters_whole(text: str) -> None:
    end = markdown.cut(text, 300)
    assert not joined(text, end)


@MORE
@given(documents, st.integers(4, 300))
def test_the_fallback_keeps_its_limit_and_its_entities(text: str, limit: int) -> None:
    plain = markdown.plain_beginning(text, limit)
    assert len(plain.encode()) <= limit
    assert "<" not in plain and ">" not in plain
    assert markdown.escape(markdown.unescape(plain)) == plain


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Prose with **bold**, `code` and [a link](https://a.test).\n", id="prose"),
        pytest.param("1. one\n   - two\n     - three\n\n   more\n2. four\n", id="lists"),
        pytest.param("| a | b |\n|---|---|\n| 1 | 2 |\n", id="a table"),
        pytest.param("```py\nx = '<b>'\n```\n", id="code"),
        pytest.param("[google.com](https://evil.test) (evil.test) x\n", id="a link with its host"),
        pytest.param("> quoted **text**\n\n---\n\n### Head\n", id="quotes, dividers, headings"),
    ],
)
def test_what_slack_can_show_stays_as_it_is(text: str) -> None:
    assert markdown.render(text) == text


@MORE
@given(documents)
def test_a_rendering_is_made_inert_and_closed_only_once(text: str) -> None:
    body = markdown.render(text)
    assert markdown.neutralise(body) == body
    assert markdown.close(body) == body


def steps(call: Callable[[], object]) -> int:
    """Lines of this package that run during `call`: a count, so that no clock decides."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal count
        code: CodeType = frame.f_code
        if "bot/markdown" not in code.co_filename.replace("\\", "/"):
            return None
        count += event == "line"
        return trace

    for cached in (inline.line, tables.cells, tables._plain):
        cached.cache_clear()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


ANSWER = (
    "## Part\n\nSome **prose** with `code`, a [link](https://a.test) and $x_1$.\n\n"
    "1. one\n   - two <b>three</b>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\n\n"
)


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(ANSWER, id="an answer"),
        *(
            pytest.param(piece, id=repr(piece))
            for piece in ("[", "<", "`", "**a ", "$a ", "| ", "<b>")
        ),
        *(
            pytest.param(piece, id=repr(piece))
            for piece in ("- a\n", "> ", "&lt;!", "[a](", "$$\n")
        ),
    ],
)
def test_the_cost_is_linear_in_the_length(piece: str) -> None:
    def cost(length: int) -> int:
        text = (piece * (length // len(piece) + 1))[:length]
        return steps(lambda: (markdown.render(text, growing=True), markdown.cut(text, length - 9)))

    short, middle, long = cost(3_000), cost(6_000), cost(9_000)
    assert long - middle <= 1.3 * (middle - short) + 1_000
