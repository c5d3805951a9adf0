"""Wires the objects: the only place that does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult

from bot import listeners, logs
from bot.channels import Channels
from bot.claude import Claude
from bot.claude.watch import Clocks
from bot.clock import Clock, SystemClock
from bot.config import Settings
from bot.conversation import MARKING, Conversations
from bot.files import Files
from bot.pacing import Pacer
from bot.policy import Policy
from bot.slack import Identity, Slack, Workspace, connect, new_session, patiently
from bot.store import LEASE_S, Store
from bot.store.lock import only_process
from bot.store.redis import RedisStore
from bot.store.sqlite import SqliteStore
from bot.turns import Turns
from bot.turns.follow_ups import FollowUps
from bot.turns.leases import Leases
from bot.turns.means import Means
from bot.turns.places import Places

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bot:
    """The parts that the server needs."""

    bolt: AsyncApp
    turns: Turns
    store: Store
    workspace: Workspace


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Bot]:
    """The bot, connected to Slack; everything is closed in reverse on leaving.

    Raises ConfigError when a file of the settings is wrong, AuthFailed when Slack does not accept
    the token, another SlackError when it cannot be reached, StoreUnavailable when DATA_DIR or the
    Redis cannot be used.
    """
    clock = SystemClock()
    channels = Channels(settings, clock, ending=MARKING)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_session())
        workspace = await patiently(
            lambda: connect(settings.slack_bot_token, settings.slack_api_url, session)
        )
        _warn_of_missing_scopes(channels, workspace.identity)
        store = await stack.enter_async_context(_store(settings, clock, workspace.identity))
        pacer = await stack.enter_async_context(
            Pacer(clock, settings.edits_per_minute, store.ledger, delivery=settings.delivery)
        )
        claude = await stack.enter_async_context(_claude(settings, channels))
        conversations = Conversations(
            pacer,
            Files(pacer),
            context_tokens=settings.context_tokens,
            dm_gap_hours=settings.dm_gap_hours,
            channel_background=settings.channel_background,
        )
        stack.push_async_callback(conversations.close)
        turns = Turns(
            _means(
                settings,
                clock=clock,
                channels=channels,
                workspace=workspace,
                store=store,
                pacer=pacer,
                claude=claude,
                conversations=conversations,
            )
        )
        bolt = _bolt(settings, workspace.identity)
        listeners.register(bolt, turns)
        yield Bot(bolt, turns, store, workspace)


@asynccontextmanager
async def _claude(settings: Settings, channels: Channels) -> AsyncIterator[Claude]:
    """Claude's side, with a connection that is opened beside the rest of the start."""
    claude = Claude(
        api_key=settings.anthropic_api_key,
        base_url=settings.anthropic_base_url,
        fallback_model=settings.claude_fallback_model,
        max_tokens=settings.claude_max_tokens,
        clocks=Clocks(
            first_event_s=settings.first_event_timeout_s,
            idle_s=settings.idle_timeout_s,
            total_s=settings.total_timeout_s,
        ),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(claude.close)
        warming = asyncio.create_task(claude.warm_up(channels.models()))
        stack.callback(warming.cancel)
        yield claude


def _means(
    settings: Settings,
    *,
    clock: Clock,
    channels: Channels,
    workspace: Workspace,
    store: Store,
    pacer: Pacer,
    claude: Claude,
    conversations: Conversations,
) -> Means:
    """What turns work with."""
    slack = Slack({workspace.identity.team: workspace})
    policy = Policy(
        settings.allowed_users,
        settings.allowed_channels,
        settings.allow_external_users,
        channels,
    )
    return Means(
        slack=slack,
        store=store,
        claude=claude,
        conversations=conversations,
        pacer=pacer,
        policy=policy,
        follow_ups=FollowUps(
            store=store,
            slack=slack,
            pacer=pacer,
            policy=policy,
            clock=clock,
            following=channels.follow_ups,
        ),
        channels=channels,
        leases=Leases(store, clock),
        places=Places(store, settings.max_concurrent_replies),
        max_messages=settings.max_messages,
        clock=clock,
    )


def _warn_of_missing_scopes(channels: Channels, identity: Identity) -> None:
    """Without them Slack sends no messages of such conversations, and says nothing."""
    if identity.scopes is None or not channels.any_follow_ups():
        return
    if missing := {"channels:history", "groups:history", "mpim:history"} - identity.scopes:
        logs.warning(log, "follow_ups_unheard", missing_scopes=",".join(sorted(missing)))


@asynccontextmanager
async def _store(settings: Settings, clock: Clock, identity: Identity) -> AsyncIterator[Store]:
    """The store that the settings name, for this process."""
    async with AsyncExitStack() as stack:
        store: Store
        if settings.redis_url is not None:
            prefix = f"claude-in-slack:{identity.team}:{identity.bot_user_id}:"
            store = await RedisStore.open(settings.redis_url, clock, prefix=prefix, lease_s=LEASE_S)
        else:
            await stack.enter_async_context(only_process(settings.data_dir))
            store = await SqliteStore.open(settings.data_dir, clock)
        stack.push_async_callback(store.close)
        yield store


def _bolt(settings: Settings, identity: Identity) -> AsyncApp:
    """Bolt, set up so that nothing is acknowledged before it is accepted.

    Bolt's defaults answer 200 first and run the listener as a loose task; ask auth.test at the
    first event; and hide the deletion of our own messages.
    """

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=identity.enterprise,
            team_id=identity.team,
            bot_token=settings.slack_bot_token,
            bot_id=identity.bot_id,
            bot_user_id=identity.bot_user_id,
        )

    # Bolt warns that it does not use the token of the environment, and logs rejected requests
    # with their bodies; what matters comes through our own error handler.
    logger = logging.getLogger("slack_bolt.app")
    logger.setLevel(logging.ERROR)
    return AsyncApp(
        name="claude-in-slack",
        logger=logger,
        signing_secret=settings.slack_signing_secret or "",
        authorize=authorize,
        process_before_response=True,
        request_verification_enabled=not settings.socket_mode,
        ignoring_self_events_enabled=False,
        attaching_conversation_kwargs_enabled=False,
    )
