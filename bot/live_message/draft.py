"""What a reply should look like now: its text cut into messages. No calls, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bot import blocks, markdown
from bot.live_message.part import Content, Earlier, Form, Leftovers, Part

MESSAGE_CHARACTERS: Final = 10_000
"""Rendered Markdown in one message: block text fails above some 11,000 (Slack says 12,000)."""
PART_CHARACTERS: Final = 9_600
"""Of Claude's own text; rendering may add to it."""
LEAST_CHARACTERS: Final = 1_000
BARE_CHARACTERS: Final = 1_500
"""Of a message without blocks, whose `text` Slack limits in bytes."""
STREAM_BYTES: Final = 8_900
"""Of a streamed message, closers included: Slack refuses more than some 10,600 bytes in all, less
beside what else it counts (github.com/CopilotKit/CopilotKit/issues/6064)."""
HOLD_SHARE: Final = 0.75
"""Beyond this share of a message an interim edit ends at a line or word, where it can be cut."""

UNLIMITED: Final = 1_000
REFUSALS: Final = 3
TAKEN_OVER: Final = 1_000
EARLY_POSTS: Final = 2
"""For the first words, and for the final text."""

THINKING: Final = "Thinking…"
LONGER: Final = "The reply is longer than this; the rest follows at its end."
IN_THE_FILE: Final = "The reply is longer than this: all of it is in the attached file."
NOTHING: Final = "Claude had nothing to say to that. Please ask in another way."
STARTED_OVER: Final = "Started again after an interruption…"


class Draft:
    """The reply so far. Messages of an earlier run (by part) are used again. `growing_button`
    stands under the last one until the reply is settled, unless it is streamed."""

    def __init__(
        self,
        earlier: Mapping[int, Earlier],
        max_messages: int,
        growing_button: blocks.Button | None = None,
    ) -> None:
        self._max_messages = max_messages
        self._beyond = ""
        self._earlier = dict(earlier)
        self._started_over = STARTED_OVER if earlier else None
        self._arrived: list[str] = []
        self._limit = PART_CHARACTERS
        self.unwanted: set[str] = set()
        """ts of messages that are not part of the reply (any more)."""
        self.parts = [self._new_part(0)]
        self.settled = False
        self.streamed = False
        """Parts are no longer than a stream may be."""
        self.stray_stream = False
        """A stream may have been started of which nothing is known."""
        self.status: str | None = THINKING
        self._growing_button = growing_button
        self._button: blocks.Button | None = None

    def add(self, delta: str) -> None:
        """More of Claude's text, which says more than any status did."""
        self._arrived.append(delta)
        self.status = None

    def restart(self) -> None:
        """The reply begins again. What was written stays in sight until there is more of it."""
        self.plan()
        for part in self.parts:
            if len(part.text) > len(part.kept):
                part.kept = part.render(len(part.text))
        self._clear()
        self._started_over = STARTED_OVER

    def settle(
        self, reason: str | None, *, complete: bool, button: blocks.Button | None = None
    ) -> None:
        """No more text comes; `reason` says why it is not complete, `button` how to go on. Of two
        tries that both broke the longer text stays."""
        self.plan()
        kept = {
            part.number: Earlier(part.ts or "", part.kept, part.rev, part.is_stream)
            for part in self.parts
        }
        kept |= self._earlier
        written = sum(len(part.text) for part in self.parts)
        if sum(len(one.text) for one in kept.values()) > written and not (complete and written):
            self._keep(kept)
        self.status = reason
        self._button = button
        self.settled = True

    def withdraw(self) -> None:
        """Take back all the text."""
        self._clear()
        for part in self.parts:
            part.kept = ""
        self._earlier = {
            number: replace(one, text="", rev=0) for number, one in self._earlier.items()
        }

    def abandon(self) -> set[str]:
        """Give up the reply: the ts of all its messages."""
        self.withdraw()
        self._give_up(self.parts[0])
        return self.leftovers()

    def as_earlier(self) -> dict[int, Earlier]:
        """The reply's messages and what they show, for another run to take over."""
        found = dict(self._earlier)
        for part in self.parts:
            ts = part.ts or (part.left[-1] if part.left else None)
            if ts is not None:
                shown = part.sent.body if part.sent is not None else part.kept
                found[part.number] = Earlier(ts, shown, part.rev, part.is_stream)
        return found

    def beside_earlier(self) -> Leftovers:
        """What has not been taken away yet, for another run to do so."""
        taken_over = {one.ts for one in self.as_earlier().values()}
        left = {ts for part in self.parts for ts in part.left}
        return Leftovers(frozenset((self.unwanted | left) - taken_over), self.stray_stream)

    def leftovers(self) -> set[str]:
        """The ts of messages to be deleted once the reply is settled."""
        found = self.unwanted | {one.ts for one in self._earlier.values()}
        return found - {part.ts for part in self.parts}

    def plan(self) -> None:
        """Move what has arrived into the last part, and begin another where it grows too long."""
        part = self.parts[-1]
        arrived = "".join(self._arrived)
        self._arrived.clear()
        if self._beyond:
            self._beyond += arrived
            return
        part.text += arrived
        while (end := self._end(part)) < len(part.text):
            rest, part.text = part.text[end:], part.text[:end]
            if len(self.parts) >= self._max_messages:
                self._beyond = rest
                return
            prefix = markdown.continuation(part.prefix + part.text)
            part = self._new_part(part.number + 1)
            part.prefix, part.text = prefix, rest
            self.parts.append(part)

    def end_here(self, part: Part) -> None:
        """Let the next part go on with what is to come."""
        self.plan()
        if part.ends_at is None and part is self.parts[-1]:
            length = len(part.text)
            part.ends_at = markdown.last_break(part.text, length, max(part.shown, 1))
            self.plan()

    def is_complete(self, part: Part) -> bool:
        """Whether no more text comes to `part`."""
        return self.settled or part.ends_at is not None or part is not self.parts[-1]

    def newest(self, part: Part) -> Content:
        """What to show of `part` by a call that may go now."""
        self.plan()
        part.rev += 1
        content = self.content(part)
        part.had_button = part.had_button or content.button is not None
        return content

    def newest_streamable(self, part: Part) -> Content:
        """What to stream of `part` by a call that may go now."""
        self.plan()
        return self.streamable(part)

    def streamable(self, part: Part) -> Content:
        """What a stream may show of `part`: whole words, and lines of code, that nothing which
        may follow can change."""
        text = part.text[: self._growing_end(part)] if part is self._last() else part.text
        shown = len(part.stream.text) if part.stream is not None else 0
        body = markdown.committed(text, shown, prefix=part.prefix)
        if part.stream is not None and part.stream.text.startswith(body):
            body = part.stream.text
        end = markdown.committable(text, part.shown, prefix=part.prefix)
        return Content(body, None, end, growing=True)

    def whole_text(self) -> str | None:
        """All that Claude wrote, if it does not fit into the messages that a reply may have."""
        self.plan()
        if not self._beyond:
            return None
        return "".join(part.text for part in self.parts) + self._beyond

    def lift_the_limit(self) -> None:
        """Show the rest in further messages after all: it cannot be shown otherwise."""
        self._max_messages = UNLIMITED
        self._arrived, self._beyond = [self._beyond], ""

    def halve(self, part: Part) -> bool:
        """Slack found `part` too long: cut it and what follows anew; False if it is short."""
        if self._limit <= LEAST_CHARACTERS:
            return False
        self._recut(part, self._limit // 2)
        return True

    def plainer(self, part: Part) -> bool:
        """Send `part` in the next plainer form; False if there is none."""
        if part.form is Form.BARE:
            return False
        part.form = Form(part.form + 1)
        part.sent = None
        if part.form is Form.BARE:
            self._recut(part, min(self._limit, BARE_CHARACTERS))
        return True

    def unmarked(self, part: Part) -> bool:
        """Send `part` without metadata; False if it is sent so already."""
        if not part.marked:
            return False
        part.marked = False
        part.sent = None
        return True

    def post_anew(self, part: Part) -> bool:
        """Show `part` in a new message, since its own cannot be edited; again and again refused,
        only once the reply is settled. False if it has none."""
        if part.ts is None:
            return False
        part.refusals += 1
        part.frozen = not self.settled and part.refusals > REFUSALS
        if not part.frozen:
            self._leave_message(part)
        return True

    def post_early(self, part: Part) -> bool:
        """Show `part` in a new message, since an edit would come late; False if that was done."""
        if part.early_posts >= EARLY_POSTS:
            return False
        part.early_posts += 1
        self._leave_message(part)
        return True

    def posted(self, part: Part, ts: str) -> None:
        """`part` is shown by message `ts`: those that it was shown by before may go."""
        part.ts = ts
        self.unwanted |= set(part.left)
        part.left.clear()

    def _leave_message(self, part: Part) -> None:
        if part.ts is not None:
            part.left.append(part.ts)
        part.ts = part.sent = None
        part.left_open = False

    def content(self, part: Part) -> Content:
        """What `part` should show now."""
        last = part is self._last()
        growing = last and not self.settled and part.ends_at is None
        end = self._growing_end(part) if growing else len(part.text)
        status = self.status if last else None
        if last and self._beyond:
            status = " ".join(filter(None, [IN_THE_FILE if self.settled else LONGER, status]))
        if growing and self._started_over:
            status = status or self._started_over
        grows_by_edits = last and not self.settled and not self.streamed
        button = self._growing_button if grows_by_edits else None
        if not self.settled and end < len(part.kept):
            kept = markdown.render(part.kept[:MESSAGE_CHARACTERS])
            return Content(kept, status, 0, button=button)
        body = part.render(end, growing=growing)
        if not body and status is None:
            status = NOTHING if self.settled else THINKING
        final = last and self.settled
        if final and not self._beyond:
            button = self._button
        return Content(body, status, end, growing=growing, final=final, button=button)

    def differs(self, part: Part) -> tuple[bool, bool]:
        """Whether `part` shows something else than it should: its text; only its status."""
        if part.number and not part.text.strip():
            return False, False
        if part.frozen:
            if not self.settled:
                return False, False
            part.frozen = False
            self._leave_message(part)
        if part.sent is None or part.mark_is_due:
            return True, False
        last = part is self._last()
        sent = part.sent
        whole = sent.end == len(part.text) and not sent.growing
        if not last and sent.status is None and sent.button is None and whole:
            return False, False
        content = self.content(part)
        by_text = part.sent.body != content.body or part.sent.final != content.final
        by_text |= sent.button is not None and content.button is None
        return by_text, part.sent.status != content.status

    def ahead_of(self, part: Part) -> Part:
        """`part`; or the first one after it that must be shown before text is taken from `part`,
        so that no text is out of sight meanwhile."""
        moved = part.sent.end - len(part.text) if part.sent else 0
        for after in self.parts[self.parts.index(part) + 1 :]:
            if moved <= 0:
                break
            if after.ts is None:
                return after
            moved -= len(after.text)
        return part

    def payload(self, part: Part, content: Content) -> tuple[str, list[dict[str, Any]]]:
        """`text` and `blocks` of a call that shows `content`."""
        body, status = content.body, content.status
        if not body and self.settled:
            notice = status or NOTHING
            built = [] if part.form is Form.BARE else blocks.notice(notice, content.button)
            return markdown.plain_beginning(notice), built
        text = (
            markdown.plain_beginning(body)
            or markdown.escaped_beginning(body)
            or markdown.escape(status or THINKING)
        )
        if part.form is Form.BARE:
            shown = "\n".join(filter(None, [body, status]))
            return markdown.escaped_beginning(shown), []
        if part.form is Form.PLAIN:
            return text, blocks.plain(body) + blocks.reply("", status, content.button)
        return text, blocks.reply(body, status, content.button)

    def under(self, content: Content) -> list[dict[str, Any]]:
        """The blocks that stand under a text which is there already."""
        return blocks.reply("", content.status, content.button)

    def _growing_end(self, part: Part) -> int:
        end = len(part.text)
        if end > self._limit * HOLD_SHARE:
            end = markdown.last_break(part.text, end, part.shown)
        return end

    def _end(self, part: Part) -> int:
        """Where the part ends: with all its text while that fits in one message."""
        if part.ends_at is not None:
            return part.ends_at
        limit = max(self._limit, part.shown)
        while True:
            end = markdown.cut(part.text, limit, part.shown, prefix=part.prefix)
            if end <= max(part.shown, 1) or self._fits(part, end):
                return max(end, 1)
            limit = max(part.shown, min(limit, end) * 9 // 10)

    def _fits(self, part: Part, end: int) -> bool:
        """Whether the first `end` characters fit in one message."""
        body = part.render(end)
        if self.streamed and len(body.encode()) > STREAM_BYTES:
            return False
        return len(body) <= MESSAGE_CHARACTERS

    def _last(self) -> Part:
        """The part that carries the status: the last one with something in it."""
        return next((part for part in reversed(self.parts) if part.text.strip()), self.parts[0])

    def _new_part(self, number: int) -> Part:
        earlier = self._earlier.pop(number, None)
        if earlier is None:
            return Part(number)
        # Its writer may have a call under way that lands late: told from ours by its number, and
        # looked for at the end.
        rev = earlier.rev + TAKEN_OVER
        return Part(
            number,
            ts=earlier.ts,
            kept=earlier.text,
            rev=rev,
            in_doubt=True,
            left_open=earlier.is_stream,
        )

    def _keep(self, kept: Mapping[int, Earlier]) -> None:
        """The messages of an earlier try stay as they are: how their text was cut cannot be told
        from what Slack shows of it."""
        self._arrived.clear()
        self._beyond = ""
        self._earlier.clear()
        with_button = {one.number for one in self.parts if one.had_button}
        self.parts = [
            Part(
                number,
                text=one.text,
                ts=one.ts or None,
                rev=one.rev,
                in_doubt=True,
                left_open=one.is_stream,
            )
            for number, one in sorted(kept.items())
            if one.text.strip() or number == 0
        ]
        for part in self.parts[:-1]:
            if part.number not in with_button:
                part.sent = Content(part.render(len(part.text)), None, len(part.text))
        self._earlier = {
            number: one for number, one in kept.items() if number and not one.text.strip()
        }

    def _recut(self, part: Part, limit: int) -> None:
        self._limit = limit
        index = self.parts.index(part)
        part.text = "".join(other.text for other in self.parts[index:]) + self._beyond
        self._beyond = ""
        part.shown = 0
        # Not used again: their text moves, and would be out of sight between two edits.
        for other in self.parts[index + 1 :]:
            self.unwanted |= {ts for ts in (other.ts, *other.left) if ts is not None}
        del self.parts[index + 1 :]

    def _clear(self) -> None:
        self._arrived.clear()
        self._beyond = ""
        self._drop_after(self.parts[0])
        self.parts[0].text, self.parts[0].shown = "", 0

    def _drop_after(self, part: Part) -> None:
        index = self.parts.index(part)
        for other in self.parts[index + 1 :]:
            self._give_up(other)
        del self.parts[index + 1 :]

    def _give_up(self, part: Part) -> None:
        self.unwanted |= set(part.left)
        if part.ts is not None:
            self._earlier[part.number] = Earlier(part.ts, part.kept, part.rev, part.is_stream)
        part.ts = part.sent = part.stream = None
