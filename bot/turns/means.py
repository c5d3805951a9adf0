"""What a turn works with."""

from __future__ import annotations

from dataclasses import dataclass

from bot.channels import Channels
from bot.claude import Claude
from bot.clock import Clock
from bot.conversation import Conversations
from bot.pacing import Pacer
from bot.policy import Policy
from bot.slack import Slack
from bot.store import Store
from bot.turns.follow_ups import FollowUps
from bot.turns.leases import Leases
from bot.turns.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One of each per process."""

    slack: Slack
    store: Store
    claude: Claude
    conversations: Conversations
    pacer: Pacer
    policy: Policy
    channels: Channels
    follow_ups: FollowUps
    leases: Leases
    places: Places
    max_messages: int
    clock: Clock
