"""Slack's native stream: a message that only grows, by appends that can never be taken back.

Whatever a stream cannot do (begin again, show a status, go on after five minutes or an answer that
was lost) is left to edits: the stream is stopped, and its message edited like any other.
"""

from __future__ import annotations

import logging
import math
from typing import Final

from bot import logs
from bot.errors import (
    AuthFailed,
    ChannelClosed,
    Doubtful,
    MessageGone,
    RateLimited,
    SlackError,
    StreamClosed,
    Transient,
)
from bot.live_message.edits import Edits
from bot.live_message.part import Part, Stream
from bot.live_message.writing import Writing, race
from bot.store import BEGINS

log = logging.getLogger(__name__)

ROLL_S: Final = 235.0
"""Slack closes a stream some 300 s after its start, whatever it does meanwhile
(github.com/slackapi/python-slack-sdk/issues/1859): the next message goes on before that."""
UNKNOWN: Final = frozenset(
    {
        "unknown_method",
        "method_deprecated",
        "feature_not_enabled",
        "not_allowed_token_type",
        "missing_scope",
    }
)
"""Answers to a start that say that the workspace, or the app, has no streams at all."""


class Streams:
    """Start with the first words, appends of whole words or lines, stop with the rest."""

    def __init__(self, writing: Writing, edits: Edits) -> None:
        self._writing = writing
        self._edits = edits

    def is_due(self, part: Part) -> bool:
        draft = self._writing.draft
        if self._is_edited(part):
            return self._edits.is_due(part)
        if part.stream is None:
            return bool(draft.streamable(part).body)
        return self._must_stop(part) or draft.streamable(part).body != part.stream.text

    def wait_s(self, part: Part) -> float:
        if self._is_edited(part):
            return self._edits.wait_s(part)
        if part.stream is None:
            return math.inf
        return part.stream.opened_at + ROLL_S - self._writing.clock.now()

    def _is_edited(self, part: Part) -> bool:
        """Whether the part's stream is over, or was never needed."""
        return part.stream is None and (part.ts is not None or self._writing.draft.settled)

    async def deliver(self, part: Part) -> None:
        if self._is_edited(part):
            await self._edits.deliver(part)
        elif part.stream is None:
            await self._start(part)
        elif self._must_stop(part):
            await self._stop(part, part.stream)
        else:
            await self._append(part, part.stream)

    def _must_stop(self, part: Part) -> bool:
        stream, draft = part.stream, self._writing.draft
        if stream is None:
            return False
        if draft.settled or draft.is_complete(part) or stream.in_doubt or self.wait_s(part) <= 0:
            return True
        return not draft.streamable(part).body.startswith(stream.text)

    # --- start --------------------------------------------------------------------------------

    async def _start(self, part: Part) -> None:
        writing = self._writing
        seat = writing.take_stream()
        if seat is None or not await seat.start() or part not in writing.draft.parts:
            return writing.choose_again()
        await writing.note_message(part.number, BEGINS)  # a kill before its ts is noted, too
        content = writing.draft.newest_streamable(part)
        stream = Stream(seat, writing.clock.now(), content.body)
        ts = await self._started(stream)
        if ts is None:
            writing.close_stream(seat)
            return writing.choose_again()
        if part in writing.draft.parts:
            part.stream = stream
        else:
            writing.close_stream(seat)
        await writing.appeared(part, ts, content)

    async def _started(self, stream: Stream) -> str | None:
        """The ts of a new stream; None if there is none, and will be none for this reply."""
        writing = self._writing
        question = writing.question
        assert writing.thread_ts is not None
        writing.report.posts += 1
        try:
            return await writing.workspace.start_stream(
                writing.channel,
                writing.thread_ts,
                stream.text,
                user=question.user,
                team=question.user_team or question.team,
            )
        except RateLimited as error:
            writing.rate_limited(error)
            writing.pacer.pause_stream(writing.team, "starts", error.retry_after_s)
            if error.code == "rate_limited":  # too many messages in the channel
                writing.pacer.pause_posts(writing.team, writing.channel, error.retry_after_s)
        except Doubtful as error:
            stream.in_doubt = True
            return await self._started_after_all(error)
        except SlackError as error:
            logs.warning(log, "stream_refused", code=error.code)
            if error.code in UNKNOWN:
                writing.pacer.no_streams(writing.team)
        return None

    async def _started_after_all(self, error: Doubtful) -> str | None:
        """What a start whose answer was lost has left: it carries no mark. Its text is not known
        for sure, so it is stopped and edited."""
        writing = self._writing
        logs.warning(log, "stream_in_doubt", code=error.code)
        writing.draft.stray_stream = True
        known = {part.ts for part in writing.draft.parts if part.ts is not None}
        return await writing.lookup.find_stream(known | writing.draft.unwanted)

    # --- append -------------------------------------------------------------------------------

    async def _append(self, part: Part, stream: Stream) -> None:
        writing = self._writing
        assert part.ts is not None
        if not await race(stream.seat.append(), writing.ending.wait()):
            return  # it ended meanwhile: the stop carries the rest
        writing.draft.plan()  # what has come meanwhile may belong to the next message
        if part not in writing.draft.parts or self._must_stop(part):
            return
        content = writing.draft.newest_streamable(part)
        more = content.body.removeprefix(stream.text)
        if not more:
            return
        writing.report.appends += 1
        try:
            await writing.workspace.append_stream(writing.channel, part.ts, more)
        except RateLimited as error:
            writing.rate_limited(error)
            writing.pacer.pause_stream(writing.team, "appends", error.retry_after_s)
        except StreamClosed:
            self._closed(part)
        except (MessageGone, ChannelClosed, AuthFailed):
            raise
        except SlackError as error:
            logs.warning(log, "append_failed", code=error.code)
            stream.in_doubt = True
        else:
            stream.text = content.body
            writing.sent(part, content)

    # --- stop ---------------------------------------------------------------------------------

    async def _stop(self, part: Part, stream: Stream) -> None:
        writing, draft = self._writing, self._writing.draft
        assert part.ts is not None
        rolls = not draft.settled and not stream.in_doubt and self.wait_s(part) <= 0
        if rolls:
            draft.end_here(part)
        if not await self._may_stop(part, stream):
            return
        content = draft.newest(part)
        is_whole = not stream.in_doubt and content.body.startswith(stream.text)
        rest = content.body.removeprefix(stream.text) if is_whole else ""
        under = draft.under(content) if is_whole and content.final else []
        mark = writing.mark(part, content) if is_whole else None
        try:
            await writing.workspace.stop_stream(
                writing.channel, part.ts, rest, blocks=under, mark=mark
            )
        except RateLimited as error:
            writing.rate_limited(error)
            writing.pacer.pause_stream(writing.team, "stops", error.retry_after_s)
            return
        except StreamClosed:
            is_whole = False
        except (MessageGone, ChannelClosed, AuthFailed):
            raise
        except (Doubtful, Transient):
            stream.in_doubt = True  # the next stop carries nothing
            raise
        except SlackError as error:
            logs.warning(log, "stop_failed", code=error.code)
            if not stream.in_doubt:
                stream.in_doubt = True
                return
            is_whole = False
        goes_on = is_whole and not content.growing
        self._closed(part, goes_on=goes_on)
        if goes_on:
            writing.sent(part, content)

    async def _may_stop(self, part: Part, stream: Stream) -> bool:
        """Wait for a stop; False if the reply ended before it came, or if its end is better posted
        anew."""
        if await self._edits.may_stop(part, stream.seat.stop):
            return True
        if part.ts is None:  # posted anew
            self._closed(part)
        return False

    def _closed(self, part: Part, *, goes_on: bool = False) -> None:
        """The part is a message like any other now; unless the next one `goes_on` as a stream, all
        the rest is edited too, if only so that the message gets its mark."""
        if part.stream is not None:
            self._writing.close_stream(part.stream.seat)
            part.stream = None
        if not goes_on:
            logs.event(log, "stream_left", part=part.number)
            part.mark_is_due = True
            self._writing.choose_again()
