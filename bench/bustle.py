"""What else goes on in a workspace while replies are under way."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import Final

from bench.run import Scene

EVENTS_PER_SECOND: Final = 50
PRESS_EVERY_S: Final = 4.0
SEED: Final = 6


class Bustle:
    """People who ask the bot nothing."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._chance = random.Random(SEED)
        self._said: list[tuple[str, str, str]] = []
        self.presses: list[tuple[float, int]] = []

    async def talk(self) -> None:
        """So many events a second; what was late is made up for."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in count():
                if (wait_s := began_at + number / EVENTS_PER_SECOND - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(self._happen(number % 10))

    async def _happen(self, kind: int) -> None:
        """Of ten events: six messages, one more in a thread, one edit, two that come again."""
        slack, chance, asked = self._scene.slack, self._chance, self._scene.questions
        user, channel = chance.choice(self._scene.users), chance.choice(self._scene.channels)
        if kind == 6 and asked:
            question = chance.choice(asked)
            await slack.say(user, question.channel, "So do I.", thread_ts=question.ts)
        elif kind == 7 and self._said:
            await slack.edit(*chance.choice(self._said), f"Lunch at {chance.random()}?")
        elif kind >= 8 and asked:
            events = slack.events
            if kind == 8:  # a question
                events = [one for one in events[:1_000] if one["event"]["type"] == "app_mention"]
            await slack.deliver(chance.choice(events or slack.events), retry_num=1)
        else:
            self._said.append((user, channel, await slack.say(user, channel, "Lunch at one?")))

    async def press(self) -> None:
        """Now and then, a button that an earlier version of the bot has left behind."""
        slack, loop = self._scene.slack, asyncio.get_running_loop()
        user, channel = self._scene.users[0], self._scene.channels[0]
        ts = await slack.say(user, channel, "As it was answered then:")
        message = slack.message(channel, ts)
        assert message is not None
        label = {"type": "plain_text", "text": "Retry"}
        button = {"type": "button", "action_id": "retry", "text": label, "value": "{}"}
        message.set_blocks([{"type": "actions", "block_id": "old", "elements": [button]}])
        while True:
            await asyncio.sleep(PRESS_EVERY_S)
            began_at = loop.time()
            status = await slack.press(user, channel, ts, "retry")
            self.presses.append((loop.time() - began_at, status))
