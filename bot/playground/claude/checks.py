"""The checks of API version 2026-10-21, in the API's words where they are documented."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.playground.claude import content, models
from bot.playground.claude.errors import ApiError, invalid
from bot.playground.claude.models import EFFORTS, Model

VERSION = "2026-10-21"
VERSIONS = (VERSION, "2023-06-01")  # docs: api/versioning
SAMPLING = {"temperature", "top_p", "top_k"}  # refused since 2026-10-21, at default values too
MOST_USER_ID_CHARACTERS = 256
SLACK_ID = re.compile(r"(?<![A-Za-z0-9])([UWT][A-Z0-9]{4,}|[CDGB]0[A-Z0-9]{3,12})(?![A-Za-z0-9])")

COUNTED = {
    *("messages", "model", "cache_control", "output_config", "speed", "system", "thinking"),
    *("tool_choice", "tools", "user_profile_id", "workspace_id"),
}
PARAMETERS = COUNTED | {
    *("max_tokens", "stream", "container", "diagnostics", "inference_geo", "metadata"),
    *("service_tier", "stop_sequences"),
}


def check_headers(headers: Mapping[str, str], api_key: str) -> None:
    """The credential and the version, as the SDK sends them since 2.0."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ApiError(401, "Authorization: Bearer header is required")
    if key != api_key:
        raise ApiError(401)
    version = headers.get("anthropic-version")
    if version is None:
        raise invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')


def check(body: dict[str, Any], *, version: str = VERSION, context_tokens: int) -> None:
    """Refuse what POST /v1/messages refuses."""
    known = PARAMETERS | (SAMPLING if version != VERSION else set())
    model = _check_common(body, known, {"model", "max_tokens", "messages"})
    _check_max_tokens(body["max_tokens"], model)
    _check_metadata(body.get("metadata"))
    if not isinstance(body.get("stream", False), bool):
        raise invalid("stream: Input should be a valid boolean")
    if body.get("service_tier", "auto") not in ("auto", "standard_only"):
        raise invalid("service_tier: Input should be 'auto' or 'standard_only'")
    for number, text in enumerate(body.get("stop_sequences") or ()):
        if not isinstance(text, str) or not text.strip():
            raise invalid(
                f"stop_sequences.{number}: each stop sequence must contain non-whitespace"
            )
    window = min(context_tokens, model.max_input_tokens)
    if (asked := content.estimate_tokens(body)) > window:
        raise invalid(f"prompt is too long: {asked} tokens > {window} maximum")


def check_count(body: dict[str, Any]) -> None:
    """Refuse what POST /v1/messages/count_tokens refuses: the same, without max_tokens."""
    _check_common(body, COUNTED, {"model", "messages"})


def _check_common(body: dict[str, Any], known: set[str], required: set[str]) -> Model:
    for name in sorted(body.keys() - known):
        raise invalid(f"{name}: Extra inputs are not permitted")
    for name in sorted(required - body.keys()):
        raise invalid(f"{name}: Field required")
    if not isinstance(body["model"], str) or not body["model"]:
        raise invalid("model: Input should be a valid string")
    model = models.find(body["model"])
    if model is None:
        raise ApiError(404, f"model: {body['model']}")
    content.check_system(body.get("system", ""))
    content.check_messages(body["messages"], model)
    content.check_cache_control("cache_control", body.get("cache_control"))
    effort = _check_output_config(body.get("output_config"), model)
    _check_thinking(body.get("thinking"), effort, body.get("max_tokens", 0), model)
    _check_tools(body.get("tools"), body.get("tool_choice"), model)
    if body.get("speed") not in (None, "standard", "fast"):
        raise invalid("speed: Input should be 'standard' or 'fast'")
    if body.get("speed") == "fast" and not model.has_fast_mode:
        raise invalid(f"speed: fast mode is not supported for {model.id}")
    return model


def _check_max_tokens(max_tokens: object, model: Model) -> None:
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise invalid("max_tokens: Input should be a valid integer")
    if max_tokens < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    if max_tokens > model.max_tokens:
        raise invalid(
            f"max_tokens: {max_tokens} > {model.max_tokens}, which is the maximum allowed number "
            f"of output tokens for {model.id}"
        )


def _check_metadata(metadata: object) -> None:
    """`user_id` must be opaque (docs: api/messages): a hash, never a Slack id."""
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise invalid("metadata: Input should be a valid dictionary")
    for name in metadata.keys() - {"user_id"}:
        raise invalid(f"metadata.{name}: Extra inputs are not permitted")
    user_id = metadata.get("user_id")
    if user_id is None:
        return
    if not isinstance(user_id, str):
        raise invalid("metadata.user_id: Input should be a valid string")
    if len(user_id) > MOST_USER_ID_CHARACTERS:
        raise invalid("metadata.user_id: String should have at most 256 characters")
    if SLACK_ID.search(user_id) or "@" in user_id:
        raise invalid("metadata.user_id: user_id appears to contain identifying information")


def _check_output_config(config: object, model: Model) -> str | None:
    """Check effort and format; the effort that was asked for."""
    if config is None:
        return None
    if not isinstance(config, dict):
        raise invalid("output_config: Input should be a valid dictionary")
    for name in config.keys() - {"effort", "format"}:
        raise invalid(f"output_config.{name}: Extra inputs are not permitted")
    effort = config.get("effort")
    if effort is None:
        return None
    if effort not in EFFORTS:
        raise invalid(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
        )
    if not model.efforts:
        raise invalid("This model does not support the effort parameter.")
    if effort not in model.efforts:
        raise invalid(f"output_config.effort: '{effort}' is not supported for this model.")
    return str(effort)


def _check_thinking(thinking: object, effort: str | None, max_tokens: Any, model: Model) -> None:
    """Which types a model takes: docs models/overview."""
    if thinking is None:
        return
    if not isinstance(thinking, dict) or "type" not in thinking:
        raise invalid("thinking.type: Field required")
    kind = thinking["type"]
    if kind not in models.THINKING_TYPES:
        names = ", ".join(f"'{name}'" for name in models.THINKING_TYPES)
        raise invalid(f"thinking: Input tag '{kind}' does not match any of the expected: {names}")
    if kind not in model.thinking:
        raise invalid(f'"thinking.type.{kind}" is not supported for this model.')
    extra = {"adaptive": {"display"}, "enabled": {"budget_tokens", "display"}}.get(kind, set())
    for name in thinking.keys() - extra - {"type"}:
        raise invalid(f"thinking.{kind}.{name}: Extra inputs are not permitted")
    if thinking.get("display") not in (None, "summarized", "omitted"):
        raise invalid(f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            raise invalid("thinking.enabled.budget_tokens: Input should be at least 1024")
        if budget >= max_tokens:
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`")
    is_off = kind in ("disabled", "between_tools")
    if is_off and model.thinks_above_high and effort in ("xhigh", "max"):
        raise invalid(f'"thinking.type.{kind}" is not supported with effort "{effort}".')


def _check_tools(tools: object, choice: object, model: Model) -> None:
    if tools is not None and not isinstance(tools, list):
        raise invalid("tools: Input should be a valid list")
    names: set[str] = set()
    for number, tool in enumerate(tools or ()):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str):
            raise invalid(f"tools.{number}.name: Field required")
        if name in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(name)
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("any", "tool") and not model.takes_forced_tools:
        raise invalid('tool_choice: type "tool" and "any" are not supported for this model.')
