"""What one request to Claude says."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from anthropic.types import (
    DocumentBlockParam,
    ImageBlockParam,
    MessageParam,
    TextBlockParam,
)
from anthropic.types.message_create_params import MessageCreateParamsBase

from bot.claude import models
from bot.config import Effort
from bot.turn import Attachment, Message

# Models since 4.6 refuse a request whose last message is the assistant's, so the partial text is
# quoted to them: platform.claude.com/docs/en/build-with-claude/streaming (error recovery).
# It stands last, with nothing after it: one could not tell a line end of ours from one of its own.
CONTINUE: Final = (
    "Your previous response to this was interrupted. What you had written is quoted below the line "
    "of equals signs, up to the end of this message, and is already shown to the reader. Continue "
    "it from exactly where it ends: write only what comes next, beginning with the very next "
    "character, even in the middle of a word, a line or a code block. Repeat nothing, and do not "
    "mention the interruption.\n====\n{partial}"
)
GO_ON: Final = "Please continue from where you left off."

LARGE_BYTES: Final = 1_000_000
"""Of files in a request: what has more takes longer to encode than the event loop may be held."""
PIECE_BYTES: Final = 3 * 2**17
"""Encoded at once: a third of a millisecond. No other thread runs meanwhile."""

Block = TextBlockParam | ImageBlockParam | DocumentBlockParam
ImageType = Literal["image/jpeg", "image/png", "image/gif", "image/webp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for one reply, before it is known which model gets it and how."""

    messages: Sequence[Message]
    system: str
    user: str
    effort: Effort
    max_tokens: int

    def continuing(self, partial: str) -> Request:
        """The request for the rest, when `partial` was written and the stream broke."""
        asked = self.messages[-1]
        more = CONTINUE.format(partial=partial)
        if asked.aside:
            asked = replace(asked, aside=f"{asked.aside}\n\n{more}")
        else:
            asked = replace(asked, text=f"{asked.text}\n\n{more}")
        return replace(self, messages=[*self.messages[:-1], asked])

    def after_pause(self, partial: str) -> Request:
        """The request for the rest, when Claude itself paused its turn after `partial`."""
        if not partial.strip():
            return self
        turns = [Message("assistant", partial.rstrip()), Message("user", GO_ON)]
        return replace(self, messages=[*self.messages, *turns])

    def file_at(self, message: int, block: int) -> str | None:
        """The id of the file that this block of this message holds."""
        if message >= len(self.messages):
            return None
        attachments = self.messages[message].attachments
        holders = [one for one in attachments for _ in _blocks(one, lambda _: "")]
        return (holders[block].file_id or None) if block < len(holders) else None

    def limited_to(self, max_tokens: int) -> Request:
        """The same, for a reply of at most `max_tokens`."""
        return replace(self, max_tokens=min(self.max_tokens, max_tokens))

    @property
    def is_large(self) -> bool:
        """Whether to send its `body`, made in a thread, instead of its `params`."""
        files = (one for message in self.messages for one in message.attachments)
        return sum(len(one.data) for one in files) > LARGE_BYTES

    def params(
        self, model: str, encoded: Callable[[bytes], str] | None = None
    ) -> MessageCreateParamsBase:
        """The parameters of the call, but `stream`. The person who asks is sent as a hash. What
        stands for the data of a file may be chosen."""
        encoded = encoded or _base64
        params: MessageCreateParamsBase = {
            "model": model,
            "max_tokens": min(self.max_tokens, models.most_tokens(model)),
            "system": self.system,
            "messages": [_param(message, encoded) for message in self.messages],
            "cache_control": {"type": "ephemeral"},
            "metadata": {"user_id": hashlib.sha256(self.user.encode()).hexdigest()[:32]},
        }
        if (effort := models.effort(model, self.effort)) is not None:
            params["output_config"] = {"effort": effort}
        return params

    def body(self, model: str, *, stream: bool) -> list[bytes]:
        """The whole call as JSON, made in small steps and in pieces: a long step would hold the
        event loop up from another thread, too."""
        mark = secrets.token_hex(16)  # nobody can have written it
        files: list[bytes] = []

        def put_off(data: bytes) -> str:
            files.append(data)
            return mark

        params = {**self.params(model, put_off), "stream": stream}
        written = json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode()
        first, *rest = written.split(mark.encode())
        pieces = [first]
        for data, after in zip(files, rest, strict=True):
            starts = range(0, len(data), PIECE_BYTES)
            pieces += [base64.b64encode(data[at : at + PIECE_BYTES]) for at in starts]
            pieces.append(after)
        return pieces


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _param(message: Message, encoded: Callable[[bytes], str]) -> MessageParam:
    if message.role == "assistant":
        return {"role": "assistant", "content": message.text}
    if not (message.attachments or message.aside):
        return {"role": "user", "content": message.text}
    content = [
        block for attachment in message.attachments for block in _blocks(attachment, encoded)
    ]
    if message.text.strip():
        content.append({"type": "text", "text": message.text})
    if message.aside:
        # What the next question's request begins with ends here, so that is where it is cached:
        # platform.claude.com/docs/en/build-with-claude/prompt-caching.
        content[-1]["cache_control"] = {"type": "ephemeral"}
        content.append({"type": "text", "text": message.aside})
    return {"role": "user", "content": content}


def _blocks(attachment: Attachment, encoded: Callable[[bytes], str]) -> Iterator[Block]:
    """The blocks of one file: platform.claude.com/docs/en/build-with-claude/vision, pdf-support.

    An image has no title, so its name stands before it.
    """
    match attachment.kind:
        case "image":
            yield {"type": "text", "text": f"[Attached image: {attachment.name}]"}
            yield {
                "type": "image",
                "source": {
                    "type": "base64",
                    "media_type": cast(ImageType, attachment.media_type),
                    "data": encoded(attachment.data),
                },
            }
        case "pdf":
            yield {
                "type": "document",
                "title": attachment.name,
                "source": {
                    "type": "base64",
                    "media_type": "application/pdf",
                    "data": encoded(attachment.data),
                },
            }
        case "text":
            yield {
                "type": "document",
                "title": attachment.name,
                "source": {"type": "text", "media_type": "text/plain", "data": attachment.text},
            }
