"""A scripted Claude: the Messages API over loopback, byte-faithful, with faults on demand."""

from bot.playground.claude.reply import Damage, Reply
from bot.playground.claude.request import Request
from bot.playground.claude.server import ScriptedClaude

__all__ = ["Damage", "Reply", "Request", "ScriptedClaude"]
