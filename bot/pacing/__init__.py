"""One budget per method and workspace, shared by every live message: who may call, and when.

    used     calls sent in the last minute (Slack counts per method, workspace and app)
    owned    live replies whose final edit has not gone yet: one slot each
    final    goes as soon as used < limit; of several the one whose text ended first
    first    the first words of a reply: as soon as used + owned < limit, ahead of every interim
    interim  as `first`, and d after its message's last edit (or first text), the longest unseen
             first, where d = max(0.5 s, text to cover / edits left to cover it): the greatest
             over the next 10, 20, 30, 45 and 60 s, and infinite if the finals owned and those of
             newcomers (as many as expected and a standard deviation more) need all that is left
               text to cover = what live replies have yet to write or to show, and newcomers' text
               edits left    = limit - what the window will still hold by then
    starving words unseen for 60 s go whatever d says, if need be from a fifth of the owned slots
    short    d > 0.5 s: then the call that creates a message carries its first words
    429      a pause of the method in the workspace until a deadline, which nothing lifts; after it
             a fifth fewer calls, and a tenth more again for each minute without another one

The limits are Slack's tiers: docs.slack.dev/apis/web-api/rate-limits. What is kept for newcomers
and errors follows from the forecast; four slots always (or two) would cost text its age under load
and in bursts (`bench/pacing.py`). The rule is the "cover" of the project's simulations, with a
forecast that also learns how much lengths differ, and that a long reply goes on.
A final waits at most a window for each `limit` finals ahead of it, and as long as pauses last.

Of three ways a reply goes the liveliest, chosen when its first text is there (`ways.py`): edits as
above; a native stream, whose appends are spaced by the same rule, with nothing kept for finals
since a stop is kept free for each open stream; or one post at its end, and a status line before.

With a ledger that several processes share, each applies this rule to what it knows of all of them,
and a call goes when the ledger has counted it too:

    used     what the ledger said last, and calls of this process that it may not have counted then
    owned    of all processes; so are the text to cover and the newcomers: told once a second
    refused  the ledger knew of more: wait on in the old place, by what it said
    short    where others wait too: one call at a time, at random up to 50 ms later, so that not
             always the same process is first
    429      pauses and slows down all processes, once
    away     no answer in 0.3 s: each process goes on with an equal share of what the last minute
             has left; what it calls meanwhile is handed over when the ledger answers again, and
             shares stay for 2 s more, until the others have done so too
    start    the last minute is recalled; without memory every budget of a minute is half spent

A ledger of one process only remembers: it changes nothing of the above, whatever becomes of it.
"""

from bot.pacing.budget import Budget
from bot.pacing.edits import EDIT_SPACING_S, Seat
from bot.pacing.pacer import MINUTE_S, POST_SPACING_S, Pacer
from bot.pacing.streams import StreamSeat
from bot.pacing.ways import Way

__all__ = [
    "EDIT_SPACING_S",
    "MINUTE_S",
    "POST_SPACING_S",
    "Budget",
    "Pacer",
    "Seat",
    "StreamSeat",
    "Way",
]
