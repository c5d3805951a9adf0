"""`python -m bot.playground.slack`: the emulator alone, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from .emulator import SlackEmulator


def main() -> None:
    """Start it and print what a bot needs to be told."""
    parser = argparse.ArgumentParser(prog="python -m bot.playground.slack", description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--events-url", help="where events are posted; none: Socket Mode only")
    parser.add_argument("--signing-secret", default="emulator-signing-secret")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, options.events_url, options.signing_secret))


async def _serve(port: int, events_url: str | None, signing_secret: str) -> None:
    emulator = SlackEmulator(signing_secret=signing_secret, events_url=events_url)
    await emulator.start(port)
    user = emulator.add_user("Ada Lovelace")
    channel = emulator.add_channel("general", members=[user])
    print(f"SLACK_API_URL={emulator.api_url}")
    print(f"SLACK_BOT_TOKEN={emulator.settings.bot_token}")
    print(f"SLACK_SIGNING_SECRET={signing_secret}")
    print(f"SLACK_APP_TOKEN={emulator.settings.app_token}")
    print(f"# {user} (Ada Lovelace) is in {channel} (#general)", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await emulator.stop()


if __name__ == "__main__":
    main()
