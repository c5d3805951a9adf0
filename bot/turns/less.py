"""What is left out when Claude does not accept all of a conversation.

too long   half of the conversation; then all of it without the files from before the question, then
           half of that; then without any files in the same way
refused    the file that Claude names; else the files from before the question, then all of them

What went wrong with a file is remembered, so that it does not stand in the way of later questions.
"""

from __future__ import annotations

from typing import Final

from bot.conversation import Conversation, Conversations
from bot.errors import ClaudeRejected, ConversationTooLong
from bot.files import TOO_MUCH
from bot.turn import Message

NOT_ACCEPTED: Final = "Claude did not accept it"
ONE_NOT_ACCEPTED: Final = "Claude did not accept one of these"


class Less:
    """One conversation, and what of it Claude does not get."""

    def __init__(self, conversations: Conversations, conversation: Conversation) -> None:
        self._conversations = conversations
        self._conversation = conversation
        self._halved = False
        self._unread: dict[str, str] = {}
        self._doubted: set[str] = set()
        """The files that were left out though Claude named none."""
        self._suspects: set[str] = set()
        """Those of any that were left out last."""

    async def after(
        self, error: ClaudeRejected | ConversationTooLong, messages: list[Message]
    ) -> list[Message] | None:
        """What to ask with instead of `messages`; None if nothing is left that could be wrong."""
        is_too_long = isinstance(error, ConversationTooLong)
        if is_too_long and not self._halved:
            self._halved = True
            smaller = await self._messages()
            if smaller != messages:
                return smaller
        attached = {one.file_id for message in messages for one in message.attachments}
        if not attached:
            return None
        older = attached - self._conversation.asked_files
        if is_too_long:
            self._halved = False  # it may have been the files
            self._suspects = older or attached
            self._unread |= dict.fromkeys(self._suspects, TOO_MUCH)
        elif error.file_id in attached:
            self._unread[error.file_id] = NOT_ACCEPTED
            self._conversations.refuse({error.file_id: NOT_ACCEPTED})
        else:
            self._suspects = older or attached
            self._doubted |= self._suspects
            reason = NOT_ACCEPTED if len(self._doubted) == 1 else ONE_NOT_ACCEPTED
            self._unread |= dict.fromkeys(self._doubted, reason)
        return await self._messages()

    def accepted(self) -> None:
        """Claude has taken the rest: it was what was left out last."""
        self._conversations.refuse({one: self._unread[one] for one in self._suspects})

    async def _messages(self) -> list[Message]:
        return await self._conversation.less(self._halved, self._unread)
