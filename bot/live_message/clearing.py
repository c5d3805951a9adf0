"""Takes messages away that are not part of the reply (any more)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from bot import logs
from bot.errors import (
    Doubtful,
    MessageGone,
    RateLimited,
    SlackError,
    StreamClosed,
    StreamOpen,
    Transient,
)
from bot.pacing import Pacer
from bot.slack import Mark, Workspace

log = logging.getLogger(__name__)

TRY_AGAIN_S: Final = (0.5, 2.0, 5.0, 15.0)


async def clear_away(
    workspace: Workspace, pacer: Pacer, channel: str, messages: Iterable[str]
) -> set[str]:
    """Delete messages of ours, within the budget and in several tries, since one that stays may
    say "Thinking…" for ever; those that Slack does not let go are logged. The deleted ones."""
    return {ts for ts in messages if await _delete(workspace, pacer, channel, ts)}


async def stop_streams(
    workspace: Workspace, pacer: Pacer, channel: str, messages: Mapping[str, Mark | None]
) -> None:
    """Stop streams of ours that nothing more is written to, in several tries; each gets its mark.
    One that is closed or deleted already is left alone."""
    for ts, mark in messages.items():
        for wait_s in (*TRY_AGAIN_S, None):
            try:
                if await _stop_stream(workspace, pacer, channel, ts, mark):
                    break
            except SlackError as error:
                logs.warning(log, "stop_failed", code=error.code)
                break
            await pacer.clock.sleep(wait_s or 0.0)


async def _delete(workspace: Workspace, pacer: Pacer, channel: str, ts: str) -> bool:
    team = workspace.identity.team
    is_no_stream = False
    for wait_s in (*TRY_AGAIN_S, None):
        await pacer.delete(team)
        try:
            await workspace.delete(channel, ts)
        except RateLimited as error:
            pacer.pause_deletes(team, error.retry_after_s)
            code = error.code
        except (Doubtful, Transient) as error:
            code = error.code
            await pacer.clock.sleep(wait_s or 0.0)
        except StreamOpen as error:
            code = error.code
            if is_no_stream:  # Slack does not let it go for another reason
                break
            try:
                await _stop_stream(workspace, pacer, channel, ts)
            except StreamClosed:
                is_no_stream = True  # it may have been closed just now
            except SlackError:
                break
        except MessageGone:
            return True
        except SlackError as error:
            code = error.code
            break
        else:
            return True
    logs.warning(log, "message_stays", code=code)
    return False


async def _stop_stream(
    workspace: Workspace, pacer: Pacer, channel: str, ts: str, mark: Mark | None = None
) -> bool:
    """Stop a message that may be an open stream; False if a further try may succeed. Raises a
    SlackError where it would be in vain."""
    team = workspace.identity.team
    await pacer.stop_stream(team)
    try:
        await workspace.stop_stream(channel, ts, mark=mark)
    except RateLimited as error:
        pacer.pause_stream(team, "stops", error.retry_after_s)
    except (Doubtful, Transient) as error:
        logs.warning(log, "slack_retry", method=error.method, code=error.code)
    else:
        return True
    return False
