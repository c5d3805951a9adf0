"""The checks of messages and their blocks."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from bot.playground.claude.errors import ApiError, invalid
from bot.playground.claude.models import Model
from bot.playground.claude.reply import count_tokens

ROLES = ("user", "assistant", "system")
MAX_MESSAGES = 100_000
MAX_CACHE_MARKS = 4  # docs: build-with-claude/prompt-caching
MAX_IMAGE_BASE64_BYTES = 10 * 1024 * 1024  # docs: build-with-claude/vision
IMAGE_TOKENS = 1_500
DOCUMENT_TOKENS = 3_000

RESULTS = {
    *("tool_result", "web_search_tool_result", "web_fetch_tool_result"),
    *("code_execution_tool_result", "bash_code_execution_tool_result"),
    *("text_editor_code_execution_tool_result", "tool_search_tool_result"),
}
USER_BLOCKS = {"text", "image", "document", "search_result", "container_upload", *RESULTS}
ASSISTANT_BLOCKS = {
    *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "container_upload"),
    *RESULTS,
}
BLOCKS = {"user": USER_BLOCKS, "assistant": ASSISTANT_BLOCKS, "system": {"text"}}
IMAGE_MAGIC = {
    "image/png": (b"\x89PNG",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
SLACK_FILE = re.compile(r"https://([\w-]+\.)*slack(-edge|-files)?\.com/")

PREFILL = (
    "This model does not support assistant message prefill. "
    "The conversation must end with a user message."
)


def check_messages(messages: object, model: Model) -> None:
    """Roles, order and content of a conversation."""
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    if len(messages) > MAX_MESSAGES:
        raise invalid(f"messages: List should have at most {MAX_MESSAGES} items")
    for number, message in enumerate(messages):
        _check_message(f"messages.{number}", message, is_last=number == len(messages) - 1)
    if messages[0]["role"] == "system":
        raise invalid("messages.0: role 'system' is not allowed for the first message")
    if messages[-1]["role"] == "assistant" and not model.takes_prefill:
        raise invalid(PREFILL)
    if messages[-1]["role"] == "system":
        raise invalid("messages: the conversation must end with a user message")
    marks = sum(1 for block in blocks_of(messages) if block.get("cache_control"))
    if marks > MAX_CACHE_MARKS:
        raise invalid(
            f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. "
            f"Found {marks}."
        )


def check_system(system: object) -> None:
    """A string, or text blocks."""
    if isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid string or list")
    for number, block in enumerate(system):
        _check_block(f"system.{number}", block, "system")


def check_cache_control(where: str, value: object) -> None:
    """`{"type": "ephemeral"}`, with a ttl of 5m or 1h or without."""
    if value is None:
        return
    if not isinstance(value, dict) or value.get("type") != "ephemeral":
        raise invalid(f"{where}.cache_control.type: Input should be 'ephemeral'")
    if value.get("ttl", "5m") not in ("5m", "1h"):
        raise invalid(f"{where}.cache_control.ttl: Input should be '5m' or '1h'")
    for name in value.keys() - {"type", "ttl"}:
        raise invalid(f"{where}.cache_control.{name}: Extra inputs are not permitted")


def blocks_of(messages: list[Any]) -> Iterator[dict[str, Any]]:
    """All content blocks of all messages."""
    for message in messages:
        if isinstance(message, dict) and isinstance(content := message.get("content"), list):
            yield from (block for block in content if isinstance(block, dict))


def estimate_tokens(body: dict[str, Any]) -> int:
    """Characters of all text over four, and a flat price for images and documents."""
    total = 0
    for content in (body.get("system"), *(m.get("content") for m in body.get("messages", []))):
        if isinstance(content, str):
            total += count_tokens(content)
        for block in content if isinstance(content, list) else ():
            total += _block_tokens(block)
    total += count_tokens(str(body["tools"])) if body.get("tools") else 0
    return total + 4 * len(body.get("messages", []))


def _block_tokens(block: dict[str, Any]) -> int:
    source = block.get("source")
    if block.get("type") == "image":
        return IMAGE_TOKENS
    if block.get("type") == "document" and isinstance(source, dict):
        is_text = source.get("type") == "text"
        return count_tokens(str(source.get("data"))) if is_text else DOCUMENT_TOKENS
    return count_tokens(str(block.get("text") or block.get("content") or ""))


def _check_message(where: str, message: object, *, is_last: bool) -> None:
    if not isinstance(message, dict):
        raise invalid(f"{where}: Input should be a valid dictionary")
    for name in message.keys() - {"role", "content"}:
        raise invalid(f"{where}.{name}: Extra inputs are not permitted")
    for name in ("role", "content"):
        if name not in message:
            raise invalid(f"{where}.{name}: Field required")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise invalid(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    if not isinstance(content, (str, list)):
        raise invalid(f"{where}.content: Input should be a valid string or list")
    if not content and not (is_last and role == "assistant"):
        raise invalid(
            f"{where}: all messages must have non-empty content "
            "except for the optional final assistant message"
        )
    if isinstance(content, str) and content and not content.strip():
        raise invalid(f"{where}: text content blocks must contain non-whitespace text")
    for number, block in enumerate(content if isinstance(content, list) else []):
        _check_block(f"{where}.content.{number}", block, role)


def _check_block(where: str, block: object, role: str) -> None:
    if not isinstance(block, dict):
        raise invalid(f"{where}: Input should be a valid dictionary")
    kind = block.get("type")
    if kind not in BLOCKS[role]:
        allowed = ", ".join(f"'{name}'" for name in sorted(BLOCKS[role]))
        raise invalid(
            f"{where}: Input tag '{kind}' found using 'type' does not match any of the "
            f"expected tags: {allowed}"
        )
    check_cache_control(where, block.get("cache_control"))
    if kind == "text":
        _check_text(where, block, role)
    elif kind == "image":
        _check_image(f"{where}.image", block.get("source"))
    elif kind == "document":
        _check_document(f"{where}.document", block)


def _check_text(where: str, block: dict[str, Any], role: str) -> None:
    text = block.get("text")
    if not isinstance(text, str):
        raise invalid(f"{where}.text.text: Input should be a valid string")
    if not text:
        raise invalid(f"{where}: text content blocks must be non-empty")
    if not text.strip():
        raise invalid(f"{where}: text content blocks must contain non-whitespace text")
    for name in block.keys() - {"type", "text", "cache_control", "citations"}:
        raise invalid(f"{where}.text.{name}: Extra inputs are not permitted")
    if role == "user" and block.get("citations"):  # docs: api/migration-2026-10-21
        raise invalid(f"{where}.text.citations: citations are not permitted in user messages")


def _check_image(where: str, source: object) -> None:
    if not isinstance(source, dict):
        raise invalid(f"{where}.source: Field required")
    if source.get("type") != "base64":
        _check_remote(where, source)
        return
    media_type, data = source.get("media_type"), source.get("data")
    if media_type not in IMAGE_MAGIC:
        allowed = "'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
        raise invalid(f"{where}.source.base64.media_type: Input should be {allowed}")
    if not isinstance(data, str) or not data:
        raise invalid(f"{where}.source.base64.data: image cannot be empty")
    if len(data) > MAX_IMAGE_BASE64_BYTES:
        raise invalid(f"{where}.source.base64: image exceeds 10 MB maximum: {len(data)} bytes")
    if not _decode(where, data).startswith(IMAGE_MAGIC[media_type]):
        raise invalid(
            f"{where}.source.base64: The image was specified using the {media_type} media type, "
            "but does not appear to be one"
        )


def _check_document(where: str, block: dict[str, Any]) -> None:
    for name in block.keys() - {"type", "source", "title", "context", "citations", "cache_control"}:
        raise invalid(f"{where}.{name}: Extra inputs are not permitted")
    source = block.get("source")
    if not isinstance(source, dict):
        raise invalid(f"{where}.source: Field required")
    kind, media_type, data = source.get("type"), source.get("media_type"), source.get("data")
    if kind == "text":
        if media_type != "text/plain":
            raise invalid(f"{where}.source.text.media_type: Input should be 'text/plain'")
        if not isinstance(data, str) or not data:
            raise invalid(f"{where}.source.text.data: String should have at least 1 character")
    elif kind == "base64":
        if media_type != "application/pdf":
            raise invalid(f"{where}.source.base64.media_type: Input should be 'application/pdf'")
        if not _decode(where, data).startswith(b"%PDF"):
            raise invalid(f"{where}.source.base64.data: The PDF specified was not valid.")
    elif kind != "content":
        _check_remote(where, source)


def _check_remote(where: str, source: dict[str, Any]) -> None:
    """A url or file source: Slack's files need a token, and there is no Files API here."""
    kind = source.get("type")
    if kind == "file":
        raise ApiError(404, f"File not found: {source.get('file_id')}")
    if kind != "url":
        raise invalid(f"{where}.source: Input tag '{kind}' does not match any of the expected tags")
    if SLACK_FILE.match(str(source.get("url"))):
        raise invalid(f"{where}.source.url: Unable to download the file. Please verify the URL.")


def _decode(where: str, data: object) -> bytes:
    """The first bytes of base64 data; the whole of it must be valid."""
    try:
        return base64.b64decode(str(data), validate=True)[:16]
    except binascii.Error as error:
        raise invalid(f"{where}.source.base64.data: invalid base64 data") from error
