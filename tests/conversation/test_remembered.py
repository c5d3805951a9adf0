"""The last read of each thread: how much of it, how long, and when it is forgotten."""

from __future__ import annotations

import pytest

from bot.conversation import UNREAD_NEWEST, UNREAD_THREAD, Conversations, remembered
from bot.conversation.remembered import Place, Remembered
from bot.conversation.thread import History
from bot.errors import MessageGone, RateLimited
from bot.files import Files
from bot.pacing import Pacer
from tests.conversation.paper import (
    CHANNEL,
    ROOT,
    TEAM,
    PaperWorkspace,
    question,
    replies,
    says,
    told,
    ts,
)
from tests.fake_clock import FakeClock

PLACE = (TEAM, CHANNEL, ROOT)


def history(*texts: str) -> History:
    found = History()
    found.add([says("UBOB", at, text) for at, text in enumerate(texts)])
    return found


async def keep(memory: Remembered, place: Place = PLACE, *texts: str) -> None:
    await memory.keep(place, history(*texts or ("root", "note")), memory.begin())


async def test_a_thread_is_remembered_as_it_was_read_last() -> None:
    memory = Remembered(FakeClock())
    await keep(memory)
    await keep(memory, PLACE, "root", "\ud800 ünd", "new")
    found = await memory.recall(PLACE)
    assert found is not None
    assert found.messages == history("root", "\ud800 ünd", "new").messages
    assert found.gap_after == ts(2), "what came since is not known"
    assert await memory.recall((TEAM, CHANNEL, ts(1))) is None


async def test_it_is_forgotten_after_a_while() -> None:
    clock = FakeClock()
    memory = Remembered(clock)
    await keep(memory)
    await clock.advance(remembered.AGE_S - 1)
    assert await memory.recall(PLACE) is not None
    await clock.advance(2)
    assert await memory.recall(PLACE) is None


async def test_only_so_many_threads_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "THREADS", 3)
    memory = Remembered(FakeClock())
    places = [(TEAM, CHANNEL, ts(number)) for number in range(5)]
    for place in [*places[:3], places[0], *places[3:]]:
        await keep(memory, place)
    kept = [place for place in places if await memory.recall(place) is not None]
    assert kept == [places[0], *places[3:]]


async def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "BYTES", 25_000)
    monkeypatch.setattr(remembered, "THREAD_BYTES", 10_000)
    memory = Remembered(FakeClock())
    places = [(TEAM, CHANNEL, ROOT), (TEAM, "C2", ROOT), (TEAM, "C3", ROOT)]
    for place in places:
        await keep(memory, place, "root", *["words " * 200] * 40)
    assert await memory.recall(places[0]) is None
    found = await memory.recall(places[2])
    assert found is not None
    first, *rest = sorted(found.messages)
    assert first == ROOT and rest == [ts(number) for number in range(41 - len(rest), 41)]
    assert 2 < len(rest) < 10
    assert (found.gap_after, found.gap) == (ROOT, 0)


async def test_an_edit_or_a_deletion_makes_it_forget() -> None:
    memory = Remembered(FakeClock())
    other = (TEAM, "C2", ROOT)
    await keep(memory)
    await keep(memory, other)
    memory.forget(TEAM, CHANNEL, ts(1))
    assert await memory.recall(PLACE) is None
    assert await memory.recall(other) is not None


async def test_what_was_deleted_while_it_was_read_is_not_remembered() -> None:
    memory = Remembered(FakeClock())
    begun = memory.begin()
    memory.forget(TEAM, CHANNEL, ts(1))
    await memory.keep(PLACE, history("root", "note"), begun)
    assert await memory.recall(PLACE) is None


async def test_what_slack_does_not_show_any_more_is_forgotten() -> None:
    pacer = Pacer(FakeClock(), 50)
    conversations = Conversations(pacer, Files(pacer), context_tokens=60_000, dm_gap_hours=4)
    thread = PaperWorkspace(
        [says("UBOB", 0, "the root"), says("UADA", 1, "?"), replies(2, "Half", ts(1), final=False)]
    )
    busy = RateLimited("conversations.replies", "ratelimited", 30.0)
    await conversations.read(thread, question(at=5), lambda _: None)
    thread.faults = [busy, MessageGone("conversations.replies", "thread_not_found"), busy]
    notes = []
    for at in (6, 7, 8):
        conversation = await conversations.read(thread, question(at=at), lambda _: None)
        notes += conversation.notes
        assert ("the root" in told(conversation)) == (at == 6)
        assert conversation.orphans == [], "it may have ended since"
        await pacer.clock.advance(31)
    await conversations.close()
    assert notes == [UNREAD_NEWEST, UNREAD_THREAD, UNREAD_THREAD]
