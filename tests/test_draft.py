"""What a reply should look like: nothing is lost at a cut, wherever the last edit ended."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import blocks, markdown
from bot.live_message.draft import PART_CHARACTERS, Draft
from bot.live_message.part import Earlier
from bot.playground.slack.translate import stored_blocks
from tests.conftest import code, lines

LINE = "Some words stand on every line here, and then the line is at its end.\n"
AT_THE_CUT = {
    "a formula": "\n$$\n" + "x_1 + y_2 = z\n" * 40 + "$$\n",
    "a bracket formula": "\n\\[\n" + "x_1 + y_2 = z\n" * 40 + "\\]\n",
    "an open comment": "\n<!-- never closed\n" + "still text\n" * 40,
    "a table": "\n| a | b |\n| --- | --- |\n" + "| one | two |\n" * 60,
    "a code block": "\n```python\n" + "value = compute(value)\n" * 60 + "```\n",
    "a list": "\n" + "".join(f"{n}. item number {n}\n" for n in range(1, 80)),
}


@pytest.mark.parametrize("kind", AT_THE_CUT)
@pytest.mark.parametrize("before", range(PART_CHARACTERS - 400, PART_CHARACTERS + 20, 35))
def test_what_was_held_back_in_the_last_edit_before_a_cut_is_shown_after_it(
    kind: str, before: int
) -> None:
    head = (LINE * 200)[: before - before % len(LINE)]
    text = head + AT_THE_CUT[kind] + LINE * 20
    for stop in range(len(head), min(len(text), PART_CHARACTERS + 200), 23):
        draft = Draft({}, 15)
        draft.add(text[:stop])
        edit_all(draft)
        draft.add(text[stop:])
        draft.settle(None, complete=True)
        edit_all(draft)
        for part in draft.parts:
            assert part.sent is not None
            assert part.sent.body == part.render(len(part.text))
        assert "".join(part.text for part in draft.parts) == text


def edit_all(draft: Draft) -> None:
    """Send what the draft says, as the writer does, until nothing differs."""
    draft.plan()
    for part in draft.parts:
        while any(draft.differs(part)):
            part.ts = part.ts or f"{part.number}.000000"
            part.sent = draft.newest(part)
            part.shown = max(part.shown, part.sent.end)
            if not draft.settled:
                break


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([LINE, "\n", *AT_THE_CUT.values()]), min_size=1, max_size=40),
    st.lists(st.integers(1, 4_000), min_size=1, max_size=20),
)
def test_any_deltas_end_as_the_whole_text_in_messages_that_stand_alone(
    pieces: list[str], sizes: list[int]
) -> None:
    text = "".join(pieces)
    draft = Draft({}, 1_000)
    at = 0
    for size in sizes:
        draft.add(text[at : at + size])
        at += size
        edit_all(draft)
    draft.add(text[at:])
    draft.settle(None, complete=True)
    edit_all(draft)
    assert "".join(part.text for part in draft.parts) == text
    for part in draft.parts:
        body = part.render(len(part.text))
        assert len(body) <= 10_000 or len(part.text) == part.shown
        assert markdown.open_fence(body) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(LINE * 400, id="prose"),
        pytest.param(code(25_000), id="code"),
        pytest.param("".join(f"- item number {n}\n" for n in range(1_500)), id="a list"),
    ],
)
def test_what_slack_shows_of_a_broken_reply_stays_when_the_next_try_fails_too(text: str) -> None:
    first = Draft({}, 15)
    first.add(text)
    first.settle("It broke.", complete=False)
    edit_all(first)
    read_back = {}
    for part in first.parts:
        assert part.ts is not None and part.sent is not None
        _, sent = first.payload(part, part.sent)
        read_back[part.number] = Earlier(part.ts, blocks.to_text(stored_blocks(sent), own=True))
    again = Draft(read_back, 15)
    again.settle("It broke again.", complete=False)
    edit_all(again)
    before = [(part.ts, lines(part.render(len(part.text)))) for part in first.parts]
    assert len(before) > 2
    assert [(part.ts, lines(part.render(len(part.text)))) for part in again.parts] == before
    assert again.leftovers() == set()


def test_where_the_rest_is_in_a_file_there_is_no_button_to_go_on() -> None:
    draft = Draft({}, 1)
    draft.add(LINE * 200)
    draft.settle("It is too long.", complete=True, button=blocks.Button("continue", "Go on", "{}"))
    edit_all(draft)
    (part,) = draft.parts
    assert part.sent is not None and part.sent.button is None


def test_where_the_file_was_refused_the_button_stands_under_the_last_message() -> None:
    draft = Draft({}, 1)
    draft.add(LINE * 200)
    button = blocks.Button("continue", "Go on", "{}")
    draft.settle("It is too long.", complete=True, button=button)
    edit_all(draft)
    draft.lift_the_limit()
    edit_all(draft)
    assert [part.sent.button for part in draft.parts if part.sent] == [None, button]


def test_a_button_while_it_grows_stands_under_the_last_message_alone_and_not_at_the_end() -> None:
    draft = Draft({}, 15, blocks.Button("stop", "Stop", "{}"))
    for _ in range(3):
        draft.add(LINE * 100)
        edit_all(draft)
        have = [part.sent.button is not None for part in draft.parts if part.sent]
        assert have == [False] * (len(have) - 1) + [True]
    assert len(draft.parts) > 1
    draft.settle(None, complete=True)
    edit_all(draft)
    assert [part.sent.button for part in draft.parts if part.sent] == [None] * len(draft.parts)


def test_a_button_while_it_grows_costs_no_edit_of_its_own_under_the_last_words() -> None:
    draft = Draft({}, 15, blocks.Button("stop", "Stop", "{}"))
    draft.add("Some words.")
    edit_all(draft)
    (part,) = draft.parts
    assert part.sent is not None and part.sent.button is not None
    assert draft.differs(part) == (False, False)


def test_where_an_earlier_try_has_left_more_its_first_message_loses_the_button_too() -> None:
    earlier = {0: Earlier("1.1", "one, two, three"), 1: Earlier("1.2", "four, five")}
    draft = Draft(earlier, 15, blocks.Button("stop", "Stop", "{}"))
    edit_all(draft)
    assert draft.parts[0].sent is not None and draft.parts[0].sent.button is not None
    draft.settle("Stopped.", complete=False)
    assert any(draft.differs(draft.parts[0]))
    edit_all(draft)
    assert [part.sent.body for part in draft.parts if part.sent] == [
        "one, two, three",
        "four, five",
    ]
    assert "Stop" not in str(
        next(draft.payload(part, part.sent) for part in draft.parts if part.sent)
    )


def test_a_streamed_reply_has_no_button_while_it_grows() -> None:
    draft = Draft({}, 15, blocks.Button("stop", "Stop", "{}"))
    draft.streamed = True
    draft.add("Some words.")
    assert draft.newest(draft.parts[0]).button is None


def test_a_message_that_is_posted_anew_is_no_stream_though_the_one_before_was_left_open() -> None:
    draft = Draft({0: Earlier("1.1", "some", is_stream=True)}, 15)
    part = draft.parts[0]
    assert part.left_open
    assert draft.post_early(part)
    draft.posted(part, "1.2")
    assert not part.left_open
    assert draft.unwanted == {"1.1"}
