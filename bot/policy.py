"""Who may ask, and where."""

from __future__ import annotations

from dataclasses import dataclass

from bot.channels import Channels
from bot.turn import Question


@dataclass(frozen=True, slots=True)
class Policy:
    """Empty sets allow everybody and everywhere. People of other organisations (Slack Connect)
    are refused unless `external` says otherwise: answering them would spend the owner's money and
    could carry what the bot has read out of the house.

    A channel's own list of people (`per_channel`) stands in the place of `users`, for that channel.
    It neither opens a channel that `channels` leaves out nor lets other organisations in."""

    users: frozenset[str]
    channels: frozenset[str]
    external: bool
    per_channel: Channels

    def refusal(self, question: Question, enterprise: str | None) -> str | None:
        """A plain sentence for the person if the question is not to be answered, else None.

        `enterprise` is the organisation of the bot's workspace (Enterprise Grid), if any.
        """
        if not self.external and _is_external(question, enterprise):
            return "Sorry, I only answer people of the workspace that I belong to."
        here = self.per_channel.of(question.channel).allowed_users
        if here is not None and question.user not in here:
            return "Sorry, you are not on the list of people whom I may answer in this channel."
        if here is None and self.users and question.user not in self.users:
            return "Sorry, you are not on the list of people whom I may answer."
        direct = question.surface == "direct"
        if self.channels and not direct and question.channel not in self.channels:
            return "Sorry, I may not answer in this channel."
        return None


def _is_external(question: Question, enterprise: str | None) -> bool:
    """Whether the asker is of another organisation.

    `user_team` may name the organisation (E…) instead of a workspace, and on Enterprise Grid
    another workspace of the same one; there only a shared channel holds strangers.
    """
    if question.user_team in (None, question.team, enterprise):
        return False
    return question.is_shared or enterprise is None
