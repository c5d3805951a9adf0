"""A small error tree, named after what the caller can do.

Each class has one fixed sentence for the person who asked. Exception text is for the log: it is
never shown (design law 8).
"""

from __future__ import annotations

import math
from typing import ClassVar


class BotError(Exception):
    """Something that this bot knows how to end well."""

    sentence: ClassVar[str] = "Something went wrong on my side. Please ask again."


# --- before anything runs ---------------------------------------------------------------------


class ConfigError(BotError):
    """The settings are wrong; `problems` names every one. Mend them and start again."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StoreUnavailable(BotError):
    """The store did not answer in time. Nothing was accepted: let Slack deliver again."""


class Draining(BotError):
    """The process is going away and accepts nothing new: let Slack deliver elsewhere."""


class TooManyQuestions(BotError):
    """More questions at once than the process may answer."""

    sentence = "Too many people are asking me right now. Please ask again in a few minutes."


# --- Slack ------------------------------------------------------------------------------------


class SlackError(BotError):
    """Slack refused a call. `code` is Slack's own word for why."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"{method}: {code}")
        self.method = method
        self.code = code


class RateLimited(SlackError):
    """Wait `retry_after_s`, then the same call may succeed."""

    def __init__(self, method: str, code: str, retry_after_s: float) -> None:
        super().__init__(method, code)
        self.retry_after_s = retry_after_s


class Doubtful(SlackError):
    """No clear answer: the call may or may not have taken effect. Look before repeating a post."""


class Transient(SlackError):
    """Slack failed and says so; the same call may succeed in a moment."""


class MessageGone(SlackError):
    """Somebody deleted the message. Stop writing to it."""


class NotEditable(SlackError):
    """This message cannot be edited (any more). Go on in a new one."""


class StreamOpen(NotEditable):
    """The message is a stream that is still open. Stop it, then the same call may succeed."""


class StreamClosed(SlackError):
    """The stream is not open (any more): its message can be edited like any other."""


class TooLong(SlackError):
    """The content is over Slack's limits. Send less of it."""


class BlocksRefused(SlackError):
    """Slack does not accept these blocks. Send plain text instead."""


class MetadataRefused(SlackError):
    """Slack does not accept the message's metadata. Send it without."""


class ChannelClosed(SlackError):
    """Nothing can be posted there: archived, left, restricted. The turn is over."""


class AuthFailed(SlackError):
    """The token is wrong, revoked, or lacks a scope. The operator must act."""


class FileUnread(BotError):
    """A file cannot be read. `reason` says why in words for the person, after its name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# --- Claude -----------------------------------------------------------------------------------


class ClaudeError(BotError):
    """Claude cannot answer."""

    sentence = "Claude could not answer this. Please try again in a minute."
    retryable: ClassVar[bool] = False
    """The same request may succeed in a moment."""
    block: tuple[int, int] | None = None
    """What it is about, if Claude said so: the number of a message, and of a block in it."""
    file_id: str | None = None
    """Of the file in that block."""

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def told(self) -> str:
        """What the person reads; with the time at which Claude wants to be asked again, if it gave
        one that is worth saying."""
        if not self.retryable or not self.retry_after_s or self.retry_after_s < 60:
            return self.sentence
        minutes = math.ceil(self.retry_after_s / 60)
        when = f"{minutes} minutes" if minutes > 1 else "a minute"
        cause = self.sentence.partition(". ")[0]
        return f"{cause}. Please try again in about {when}."


class ClaudeBusy(ClaudeError):
    """Overloaded or rate limited."""

    sentence = "Claude is very busy right now. Please try again in a few minutes."
    retryable = True


class ClaudeFailing(ClaudeError):
    """Claude's service answered with an error of its own."""

    sentence = "Claude's service has a problem right now. Please try again in a minute."
    retryable = True


class ClaudeUnreachable(ClaudeError):
    """No connection to Claude."""

    sentence = "I could not reach Claude. Please try again in a minute."
    retryable = True


class ClaudeSilent(ClaudeError):
    """Connected, but no first event came in time."""

    sentence = "Claude did not start to answer in time. Please try again."
    retryable = True


class ClaudeStalled(ClaudeError):
    """The stream stood still for too long."""

    sentence = "Claude stopped in the middle of the reply and did not go on."
    retryable = True


class ClaudeInterrupted(ClaudeError):
    """The stream broke before Claude said that it was done."""

    sentence = "The connection to Claude broke in the middle of the reply."
    retryable = True


class ClaudeTooSlow(ClaudeError):
    """The reply took longer than one reply may."""

    sentence = "This reply took too long, so I stopped it."


class ClaudeMisconfigured(ClaudeError):
    """The key, the model or the account is wrong. The operator must act."""

    sentence = "I am not set up correctly to reach Claude. Please tell the people who run this bot."


class ModelUnknown(ClaudeMisconfigured):
    """The model is retired, or its name is wrong; another model may answer."""


class ClaudeOutOfCredit(ClaudeError):
    """The account's spending limit is reached."""

    sentence = "The spending limit for Claude is reached. Please tell the people who run this bot."


class ConversationTooLong(ClaudeError):
    """Claude refused the request as too long."""

    sentence = "This conversation is too long for Claude. Please start a new thread."


class ClaudeRejected(ClaudeError):
    """Claude's service does not accept this request; sending it again changes nothing."""

    sentence = "Claude did not accept this request. Please ask in another way."
