"""What every message of the bot carries as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.turn import TurnKey

METADATA_TYPE: Final = "claude_reply"


@dataclass(frozen=True, slots=True)
class Mark:
    """What every message of the bot carries as metadata: ids only, never text.

    With it a post whose answer was lost is found again before it is repeated, an ambiguous last
    edit is read back, and a reply that was finished before a crash is known as such: Slack
    translates Markdown when it stores it, so texts never compare.
    """

    turn: str
    part: int
    rev: int
    final: bool = False
    reuses: bool = False
    continues: bool = False
    """As the turn's question says: what a run without any store needs to be ended rightly."""

    def key(self) -> TurnKey | None:
        """The turn, if it is one that this version writes."""
        try:
            return TurnKey.parse(self.turn)
        except ValueError:
            return None

    def metadata(self) -> dict[str, Any]:
        payload = {"turn": self.turn, "part": self.part, "rev": self.rev, "final": self.final}
        payload |= {"reuses": True} if self.reuses else {}
        payload |= {"continues": True} if self.continues else {}
        return {"event_type": METADATA_TYPE, "event_payload": payload}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Mark | None:
        """The mark of a message from history (read with its metadata); None if it has none."""
        metadata = message.get("metadata")
        if not isinstance(metadata, Mapping) or metadata.get("event_type") != METADATA_TYPE:
            return None
        payload = metadata.get("event_payload")
        if not isinstance(payload, Mapping):
            return None
        try:
            return cls(
                str(payload["turn"]),
                int(payload["part"]),
                int(payload["rev"]),
                bool(payload.get("final")),
                bool(payload.get("reuses")),
                bool(payload.get("continues")),
            )
        except (KeyError, TypeError, ValueError):
            return None
