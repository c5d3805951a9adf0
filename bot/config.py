"""Settings, read once from what is set, frozen; every problem reported at once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar, cast
from urllib.parse import urlsplit

from bot.errors import ConfigError

T = TypeVar("T")

SLACK_API_URL: Final = "https://slack.com/api/"
HTTP_PORT: Final = 3000
CHANNELS_FILE: Final = "./channels.toml"
"""Read if it is there; a file of another name must be."""
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")

DELIVERIES: Final = ("auto", "edit", "stream", "post")
FOLLOWING: Final = ("off", "own", "all")

Effort = Literal["low", "medium", "high", "xhigh", "max"]
Delivery = Literal["auto", "edit", "stream", "post"]
"""How replies get into Slack: edits, Slack's streams, one post at the end, or what suits best."""
Following = Literal["off", "own", "all"]
"""Whose messages without a mention are answered in a thread where the bot was asked: of nobody, of
those who have asked there themselves, of everybody."""

DEFAULT_SYSTEM_PROMPT: Final = (
    "You are Claude, a helpful colleague in a Slack workspace. Answer in Markdown that reads well "
    "in a chat: come to the point first, keep paragraphs short, use lists and fenced code blocks "
    "with their language where they help, and headings only in long answers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the process runs with. Times are in seconds."""

    slack_bot_token: str = field(repr=False)
    slack_signing_secret: str | None = field(repr=False)
    slack_app_token: str | None = field(repr=False)
    slack_api_url: str
    anthropic_api_key: str = field(repr=False)
    anthropic_base_url: str | None
    claude_model: str
    claude_fallback_model: str | None
    claude_effort: Effort
    claude_max_tokens: int
    system_prompt: str = field(repr=False)
    system_prompt_file: str | None = field(repr=False)
    """Holds the system prompt instead."""
    channels_file: str = field(repr=False)
    context_tokens: int
    dm_gap_hours: float
    follow_ups: Following
    channel_background: int
    port: int | None
    data_dir: str
    redis_url: str | None = field(repr=False)
    delivery: Delivery
    edits_per_minute: int
    max_concurrent_replies: int
    max_messages: int
    first_event_timeout_s: float
    idle_timeout_s: float
    total_timeout_s: float
    shutdown_grace_s: float
    allowed_users: frozenset[str]
    allowed_channels: frozenset[str]
    allow_external_users: bool
    log_level: str
    log_format: Literal["text", "json"]

    @property
    def socket_mode(self) -> bool:
        """Socket Mode wins when both it and HTTP are configured."""
        return self.slack_app_token is not None


class _Reader:
    """Takes values out of the environment and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def optional(self, name: str) -> str | None:
        return self._env.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def model_or_off(self, name: str, default: str) -> str | None:
        value = self.text(name, default)
        return None if value.lower() in ("off", "none") else value

    def token(self, name: str, prefix: str, *, required: bool = True) -> str | None:
        value = self.secret(name, required=required)
        if value is not None and not value.startswith(prefix):
            self.problems.append(f"{name} must start with {prefix}")
        return value

    def secret(self, name: str, *, required: bool = True) -> str | None:
        """What goes into a header, which takes no blanks or line breaks inside."""
        value = self.optional(name)
        if value is None:
            if required:
                self.problems.append(f"{name} is not set")
        elif not all("!" <= sign <= "~" for sign in value):
            self.problems.append(
                f"{name} has white space or other signs inside that do not belong there"
            )
        return value

    def url(self, name: str, default: str | None) -> str | None:
        value = self.optional(name) or default
        if value is not None and not _is_url(value, ("http", "https")):
            self.problems.append(f"{name} must be an http:// or https:// address")
        return value

    def redis_url(self, name: str) -> str | None:
        """An address with a password in it, most often: it is not repeated."""
        value = self.optional(name)
        if value is not None and not _is_url(value, ("redis", "rediss")):
            self.problems.append(f"{name} must be a redis:// or rediss:// address")
        return value

    def number(
        self, name: str, default: T, parse: Callable[[str], T], low: float, high: float
    ) -> T:
        """A number between `low` and `high`. The value itself is not repeated: it may be a secret
        that was put on the wrong line."""
        value = self.optional(name)
        if value is None:
            return default
        try:
            number = parse(value)
            fits = low <= cast(float, number) <= high and math.isfinite(cast(float, number))
        except (ValueError, OverflowError):
            fits = False
        if not fits:
            kind = "a whole number" if parse is cast(object, int) else "a number"
            self.problems.append(f"{name} must be {kind} from {low:g} to {high:g}")
            return default
        return number

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        self.problems.append(f"{name} must be one of {', '.join(choices)}")
        return default

    def flag(self, name: str) -> bool:
        return self.choice(name, "false", ("true", "false")) == "true"

    def ids(self, name: str, prefixes: str) -> frozenset[str]:
        """None is everybody: only for a setting that is empty."""
        given = self.optional(name)
        values = frozenset((given or "").replace(",", " ").split())
        is_id = re.compile(f"[{prefixes}][A-Za-z0-9]+").fullmatch
        if (given and not values) or not all(map(is_id, values)):
            kind = " or ".join(f"{prefix}…" for prefix in prefixes)
            self.problems.append(f"{name} must be Slack ids ({kind}), separated by commas")
        return values


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and port != 0


def read(env: Mapping[str, str], check: Callable[[Settings], list[str]] = lambda _: []) -> Settings:
    """The settings in `env` (variable name → value). Raises ConfigError naming every problem, also
    those that `check` finds in the files that the settings name."""
    reader = _Reader(env)
    bot_token = reader.token("SLACK_BOT_TOKEN", "xoxb-")
    app_token = reader.token("SLACK_APP_TOKEN", "xapp-", required=False)
    signing_secret = reader.secret("SLACK_SIGNING_SECRET", required=False)
    if app_token is None and signing_secret is None:
        reader.problems.append(
            "neither SLACK_SIGNING_SECRET (HTTP mode) nor SLACK_APP_TOKEN (Socket Mode) is set"
        )
    api_key = reader.secret("ANTHROPIC_API_KEY")
    system_prompt = reader.optional("SYSTEM_PROMPT")
    system_prompt_file = reader.optional("SYSTEM_PROMPT_FILE")
    if system_prompt and system_prompt_file:
        reader.problems.append("SYSTEM_PROMPT and SYSTEM_PROMPT_FILE are both set; keep one")
    default_port = None if app_token else HTTP_PORT
    settings = Settings(
        slack_bot_token=bot_token or "",
        slack_signing_secret=signing_secret,
        slack_app_token=app_token,
        slack_api_url=reader.url("SLACK_API_URL", SLACK_API_URL) or SLACK_API_URL,
        anthropic_api_key=api_key or "",
        anthropic_base_url=reader.url("ANTHROPIC_BASE_URL", None),
        claude_model=reader.text("CLAUDE_MODEL", "claude-sonnet-5-5"),
        claude_fallback_model=reader.model_or_off("CLAUDE_FALLBACK_MODEL", "claude-haiku-5-5"),
        claude_effort=cast(Effort, reader.choice("CLAUDE_EFFORT", "low", EFFORTS)),
        claude_max_tokens=reader.number("CLAUDE_MAX_TOKENS", 16_000, int, 256, 128_000),
        system_prompt=system_prompt or DEFAULT_SYSTEM_PROMPT,
        system_prompt_file=system_prompt_file,
        channels_file=reader.text("CHANNELS_FILE", CHANNELS_FILE),
        context_tokens=reader.number("CONTEXT_TOKENS", 60_000, int, 1_000, 900_000),
        dm_gap_hours=reader.number("DM_GAP_HOURS", 4.0, float, 0, 24 * 365),
        follow_ups=cast(Following, reader.choice("FOLLOW_UPS", "off", FOLLOWING)),
        channel_background=reader.number("CHANNEL_BACKGROUND", 0, int, 0, 50),
        port=reader.number("PORT", default_port, int, 1, 65_535),
        data_dir=reader.text("DATA_DIR", "./data"),
        redis_url=reader.redis_url("REDIS_URL"),
        delivery=cast(Delivery, reader.choice("DELIVERY", "auto", DELIVERIES)),
        edits_per_minute=reader.number("EDITS_PER_MINUTE", 50, int, 10, 1_000),
        max_concurrent_replies=reader.number("MAX_CONCURRENT_REPLIES", 200, int, 1, 10_000),
        max_messages=reader.number("MAX_MESSAGES", 15, int, 1, 100),
        first_event_timeout_s=reader.number("FIRST_EVENT_TIMEOUT_S", 60.0, float, 0.05, 600),
        idle_timeout_s=reader.number("IDLE_TIMEOUT_S", 90.0, float, 0.05, 600),
        total_timeout_s=reader.number("TOTAL_TIMEOUT_S", 600.0, float, 0.1, 3_600),
        shutdown_grace_s=reader.number("SHUTDOWN_GRACE_S", 25.0, float, 0, 600),
        allowed_users=reader.ids("ALLOWED_USERS", "UW"),
        allowed_channels=reader.ids("ALLOWED_CHANNELS", "CG"),
        allow_external_users=reader.flag("ALLOW_EXTERNAL_USERS"),
        log_level=reader.choice("LOG_LEVEL", "INFO", LEVELS),
        log_format=cast(
            Literal["text", "json"], reader.choice("LOG_FORMAT", "text", ("text", "json"))
        ),
    )
    if problems := reader.problems + check(settings):
        raise ConfigError(problems)
    return settings
