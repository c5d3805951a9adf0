"""Rounds of questions to real bot processes that are stopped and killed at random moments; at the
end the ledger of questions and settled replies must match one to one.

`make soak` runs a hundred rounds, `make test` a few. A round is told by its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bot.playground.claude import Damage, Reply, ScriptedClaude
from bot.playground.slack import Message
from bot.turns.sentences import INTERRUPTED
from tests.bot_process import BotProcess, bot_process, free_port
from tests.conftest import World, emulator, environment, going_on, prose, same
from tests.redis_server import RedisServer

SETTLED_WITHIN_S: Final = 45.0
BREAKS: Final = ("cut", "reset", "half_event", "error", "silent_end")


@dataclass
class Asked:
    """A question, and what Claude answers to it."""

    number: int
    channel: str
    ts: str
    text: str


@dataclass
class Round:
    """One round: `processes` bots, on one Redis if there is one."""

    seed: int
    world: World
    redis: RedisServer | None
    random: random.Random = field(init=False)
    asked: list[Asked] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    bots: dict[int, BotProcess] = field(default_factory=dict)
    happened: list[str] = field(default_factory=list)
    interrupted: int = 0
    """Replies that were ended in the middle, with a reason and a button."""
    _broken: set[int] = field(default_factory=set)
    _stacks: dict[int, AsyncExitStack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def run(self, *, questions: int, deaths: int) -> None:
        """Ask and kill; AssertionError if the ledger does not match at the end."""
        self.texts = [prose(self.random.randint(20, 4_000)) for _ in range(questions)]
        self.world.claude.default = self._answer
        ports = [free_port() for _ in range(2 if self.redis else 1)]
        try:
            await asyncio.gather(*(self._start(port) for port in ports))
            self._route()
            await asyncio.gather(self._ask_all(), self._kill_some(deaths))
            await self._until_settled()
        finally:
            await asyncio.gather(*(stack.aclose() for stack in self._stacks.values()))
        self._check()

    def _answer(self, body: dict[str, Any]) -> Reply:
        """Claude's answer to the newest question in the request, sometimes broken off once."""
        asked = str(body["messages"][-1]["content"])
        number = int(re.findall(r"question (\d+):", asked)[-1])
        text = self.texts[number]
        speed = self.random.choice((100.0, 300.0, 4_000.0))
        damage = None
        if number not in self._broken and self.random.random() < 0.3:
            self._broken.add(number)
            kind = self.random.choice(BREAKS)
            damage = Damage(kind, at=self.random.randint(0, len(text)))  # type: ignore[arg-type]
        return going_on(text, tokens_per_second=speed, damage=damage)(body)

    async def _ask_all(self) -> None:
        world = self.world
        roots: list[str] = []
        for number in range(len(self.texts)):
            await asyncio.sleep(self.random.uniform(0.0, 1.0))
            self._route()
            place = self.random.choice(("new", "new", "thread", "dm"))
            words = f"question {number}: why?"
            if place == "dm":
                ts = await world.slack.say(world.ada, world.dm, words)
                self.asked.append(Asked(number, world.dm, ts, self.texts[number]))
                continue
            root = self.random.choice(roots) if roots and place == "thread" else None
            who = self.random.choice((world.ada, world.bob))
            ts = await world.slack.say(who, world.general, f"<@U0BOT> {words}", thread_ts=root)
            roots.append(root or ts)
            self.asked.append(Asked(number, world.general, ts, self.texts[number]))
            if self.random.random() < 0.3:
                await self._deliver_again(self.random.choice(world.slack.events))

    async def _kill_some(self, deaths: int) -> None:
        for _ in range(deaths):
            await asyncio.sleep(self.random.uniform(0.2, 3.0))
            port = self.random.choice(list(self.bots))
            how = self.random.choice(("KILL", "KILL", "TERM"))
            self.happened.append(f"{how} {port}")
            bot = self.bots.pop(port)
            self._route()
            if how == "KILL":
                await bot.kill()
            else:
                bot.terminate()
                code, errors = await bot.ended()
                assert code == 0, errors
            await self._stacks.pop(port).aclose()
            await self._start(port)

    async def _start(self, port: int) -> None:
        env = {**self.world.env, "SHUTDOWN_GRACE_S": str(self.random.choice((1, 3)))}
        if self.redis is not None:
            env["REDIS_URL"] = self.redis.url
        stack = self._stacks[port] = AsyncExitStack()
        bot = await stack.enter_async_context(bot_process(env, port=port))
        await bot.ready()
        self.bots[port] = bot
        self._route()

    def _route(self) -> None:
        if self.bots:
            port = self.random.choice(list(self.bots))
            self.world.slack.events_url = f"http://127.0.0.1:{port}/slack/events"

    async def _deliver_again(self, event: dict[str, Any]) -> None:
        await self.world.slack.deliver(event, retry_num=1)

    async def _until_settled(self) -> None:
        """Slack delivers again what nobody has taken; then every reply must come to its end."""
        until = time.monotonic() + SETTLED_WITHIN_S
        while time.monotonic() < until:
            taken = {one.event_id for one in self.world.slack.deliveries if one.status == 200}
            for event in list(self.world.slack.events):
                if event["event_id"] not in taken and event["event"].get("user") != "U0BOT":
                    self._route()
                    await self._deliver_again(event)
            if not self._unsettled():
                await asyncio.sleep(1.0)  # whatever would come twice gets the time to come
                return
            await asyncio.sleep(0.1)

    def _unsettled(self) -> list[int]:
        return [one.number for one in self.asked if not self._is_settled(self._reply(one))]

    def _reply(self, asked: Asked) -> list[Message]:
        """The messages of the reply, by what they are marked with."""
        everywhere = self.world.slack.channel(asked.channel).messages.values()
        turn = f"{asked.channel}:{asked.ts}:"
        return [one for one in everywhere if not one.deleted and turn in _turn(one)]

    def _is_settled(self, reply: list[Message]) -> bool:
        return bool(reply) and bool(_payload(reply[-1]).get("final"))

    def _check(self) -> None:
        world = self.world
        for asked in self.asked:
            reply = self._reply(asked)
            told = f"seed {self.seed}, question {asked.number}, {self.happened}"
            assert self._is_settled(reply), f"{told}: not settled"
            parts = Counter(_payload(one)["part"] for one in reply)
            assert set(parts.values()) == {1}, f"{told}: twice {parts}"
            shown = "".join(one.sent_markdown for one in reply)
            if not same(shown, asked.text):
                last = str(reply[-1].blocks)
                honest = INTERRUPTED in last and "'retry'" in last
                assert honest, f"{told}: neither whole nor with a reason: {last}"
                self.interrupted += 1
        answered = {
            _turn(one) for channel in (world.general, world.dm) for one in self._ours(channel)
        }
        assert len(answered) == len(self.asked), f"seed {self.seed}: {answered}"
        refused = [one for one in world.slack.calls if one.status == 429]
        assert refused == [], f"seed {self.seed}: over the limits: {refused[:3]}"
        assert world.slack.notified == [] and world.slack.unfurled == []

    def _ours(self, channel: str) -> list[Message]:
        everywhere = self.world.slack.channel(channel).messages.values()
        return [one for one in everywhere if one.bot_id and not one.deleted]


def _payload(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = (message.metadata or {}).get("event_payload", {})
    return payload


def _turn(message: Message) -> str:
    return str(_payload(message).get("turn", ""))


async def play(seed: int, *, with_redis: bool, questions: int = 6, deaths: int = 2) -> Round:
    """One round in a world of its own."""
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(emulator())
        claude = await stack.enter_async_context(ScriptedClaude())
        data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = None
        if with_redis:
            redis = RedisServer()
            stack.callback(redis.remove)
            redis.start()
        ada, bob = slack.add_user("Ada"), slack.add_user("Bob")
        world = World(
            slack=slack,
            claude=claude,
            data_dir=data_dir,
            ada=ada,
            bob=bob,
            general=slack.add_channel("general", members=[ada, bob]),
            secret="",
            dm=slack.add_dm(ada),
            env=environment(slack, claude, data_dir),
        )
        played = Round(seed, world, redis)
        await played.run(questions=questions, deaths=deaths)
        return played


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    chosen = parser.parse_args()
    failed = []
    for seed in range(chosen.seed, chosen.seed + chosen.rounds):
        with_redis = seed % 2 == 1
        started = time.monotonic()
        try:
            played = asyncio.run(play(seed, with_redis=with_redis))
        except (AssertionError, TimeoutError) as error:
            failed.append(seed)
            told = f"FAILED: {error}"
        else:
            told = f"{', '.join(played.happened)}; interrupted: {played.interrupted}"
        store = "Redis " if with_redis else "SQLite"
        print(f"seed {seed:4} {store} {time.monotonic() - started:5.1f} s  {told}", flush=True)
    print(f"{chosen.rounds - len(failed)} of {chosen.rounds} rounds held; failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
