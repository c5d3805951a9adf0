"""Many questions at once, in long threads, with few reads left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.conversation import UNREAD_THREAD, Conversation, Conversations
from bot.files import Files
from bot.pacing import Pacer
from tests.conversation.paper import PaperWorkspace, question
from tests.conversation.test_threads import long_thread
from tests.fake_clock import FakeClock


class SlowWorkspace(PaperWorkspace):
    """Others go on while it answers."""

    async def thread_page(self, *args: Any, **page: Any) -> Any:
        await asyncio.sleep(0.01)
        return await super().thread_page(*args, **page)


@pytest.mark.parametrize(("reads", "second_is_read"), [(3, False), (8, True)])
async def test_a_long_thread_that_is_begun_is_read_before_others_are_begun(
    monkeypatch: pytest.MonkeyPatch, reads: int, second_is_read: bool
) -> None:
    monkeypatch.setattr("bot.pacing.pacer.READS_PER_MINUTE", reads)
    monkeypatch.setattr("bot.conversation.READ_SLOT_TIMEOUT_S", 0.2)
    pacer = Pacer(FakeClock(), 50)
    conversations = Conversations(pacer, Files(pacer), context_tokens=60_000, dm_gap_hours=4)
    thread = long_thread(5_000, "note {n} " + "with some more words " * 8)
    asked = question(at=5_000 * 60 + 30.0)
    second: list[asyncio.Task[Conversation]] = []

    def begin_the_second(_: str) -> None:
        reading = conversations.read(SlowWorkspace(thread), asked, lambda _: None)
        second.append(asyncio.create_task(reading))

    first = await conversations.read(SlowWorkspace(thread), asked, begin_the_second)
    assert first.notes == []
    assert "note 5000 " in first.messages[-1].text
    other = await second[0]
    assert (UNREAD_THREAD not in other.notes) == second_is_read
    await conversations.close()
