"""What an app may send as blocks, text and metadata, and the error that it gets otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import limits
from .errors import SlackFailure, invalid_blocks
from .translate import table_sizes

Json = dict[str, Any]
_COMMON = {"type", "block_id"}
_KEYS = {
    "section": {"text", "fields", "accessory", "expand"},
    "header": {"text", "level"},
    "divider": set[str](),
    "context": {"elements"},
    "actions": {"elements"},
    "markdown": {"text"},
    "context_actions": {"elements"},
    "rich_text": {"elements"},
    "table": {"rows", "column_settings"},
}
_OTHER_BLOCKS = {"image", "input", "file", "video", "task_card", "plan", "card", "carousel"}
_OTHER_BLOCKS |= {"alert", "container"}
_BUTTON_KEYS = {"type", "text", "action_id", "url", "value", "style", "confirm"}
_BUTTON_KEYS |= {"accessibility_label"}
_RICH = {"rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"}
_INLINE = {"text", "link", "user", "channel", "usergroup", "broadcast", "emoji", "date", "color"}
_INLINE |= {"team"}
_CELLS = {"rich_text", "raw_text", "raw_number"}
_INTERACTIVE = {"button", "overflow", "datepicker", "datetimepicker", "timepicker", "checkboxes"}
_INTERACTIVE |= {"radio_buttons", "static_select", "users_select", "conversations_select"}
_INTERACTIVE |= {"channels_select", "external_select", "workflow_button", "multi_static_select"}
_INTERACTIVE |= {"multi_users_select", "multi_conversations_select", "multi_channels_select"}


def checked_blocks(value: Any, *, most: int = limits.BLOCKS) -> list[Json]:
    """The blocks of a message or view, or the failure that Slack answers with."""
    if not isinstance(value, list) or not all(isinstance(block, dict) for block in value):
        raise SlackFailure("invalid_blocks_format")
    blocks: list[Json] = value
    if len(blocks) > most:
        raise invalid_blocks("/blocks", f"no more than {most} items allowed")
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        path = f"/blocks/{index}"
        _check_block(block, path)
        _check_block_id(block, path, seen)
    _check_sizes(blocks)
    _check_tables(blocks)
    return blocks


def joined_markdown(blocks: Sequence[Json] | None) -> str:
    """The text of all markdown blocks."""
    return "\n".join(str(b["text"]) for b in blocks or () if b.get("type") == "markdown")


def block_texts(value: Any) -> Iterator[str]:
    """Every text that stands in blocks; buttons' values and ids are none."""
    if isinstance(value, dict):
        text = value.get("text")
        if isinstance(text, str):
            yield text
        for key, child in value.items():
            if isinstance(child, dict | list) and key != "metadata":
                yield from block_texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from block_texts(child)


def checked_metadata(value: Any) -> Json | None:
    """Message metadata, `{"event_type": str, "event_payload": {…}}`; `{}` means none."""
    if not isinstance(value, dict):
        raise SlackFailure("invalid_metadata_format")
    if not value:
        return None
    if not isinstance(value.get("event_type"), str) or not value["event_type"]:
        raise SlackFailure("invalid_metadata_format")
    if not isinstance(value.get("event_payload"), dict):
        raise SlackFailure("invalid_metadata_format")
    if value.keys() - {"event_type", "event_payload", "entities"}:
        raise SlackFailure("invalid_metadata_schema")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > limits.METADATA_BYTES:
        raise SlackFailure("metadata_too_large")
    return value


def checked_attachments(value: Any) -> list[Json]:
    """Legacy attachments."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise SlackFailure("invalid_attachments")
    if len(value) > limits.ATTACHMENTS:
        raise SlackFailure("too_many_attachments")
    return value


def _check_sizes(blocks: Sequence[Json]) -> None:
    markdown = sum(len(block["text"]) for block in blocks if block["type"] == "markdown")
    everything = sum(len(text) for text in block_texts(list(blocks)))
    if markdown > limits.MARKDOWN or everything > limits.ALL_BLOCKS_TEXT:
        raise SlackFailure("msg_blocks_too_long")


def _check_tables(blocks: Sequence[Json]) -> None:
    tables: list[tuple[str, int, int, int]] = []
    for index, block in enumerate(blocks):
        path = f"/blocks/{index}"
        if block["type"] == "markdown":
            tables += [(path, *size) for size in table_sizes(block["text"])]
        elif block["type"] == "table":
            rows = block["rows"]
            text = sum(len(each) for each in block_texts(rows))
            tables.append((path, len(rows), max(len(row) for row in rows), text))
    for path, rows_count, columns, text in tables:
        if rows_count > limits.TABLE_ROWS:
            raise invalid_blocks(path, f"no more than {limits.TABLE_ROWS} rows allowed")
        if columns > limits.TABLE_COLUMNS:
            raise invalid_blocks(path, f"no more than {limits.TABLE_COLUMNS} columns allowed")
        if text > limits.TABLE_TEXT:
            raise invalid_blocks(path, "the table's text is too long")
    if len(tables) > 1:
        raise invalid_blocks(tables[1][0], "only_one_table_allowed")


def _check_block_id(block: Json, path: str, seen: set[str]) -> None:
    block_id = block.get("block_id")
    if block_id is None:
        return
    if not isinstance(block_id, str) or not 0 < len(block_id) <= limits.IDENTIFIER:
        raise invalid_blocks(f"{path}/block_id", "must be 1 to 255 characters")
    if block_id in seen:
        raise invalid_blocks(f"{path}/block_id", "`block_id` exists already")
    seen.add(block_id)


def _check_block(block: Json, path: str) -> None:
    kind = block.get("type")
    if not isinstance(kind, str) or (kind not in _KEYS and kind not in _OTHER_BLOCKS):
        raise invalid_blocks(f"{path}/type", f"unsupported type: {kind}")
    allowed = _KEYS.get(kind)
    if allowed is not None and (unknown := block.keys() - allowed - _COMMON):
        raise invalid_blocks(path, f"invalid additional property: {min(unknown)}")
    _CHECKS.get(kind, _other)(block, path)


def _section(block: Json, path: str) -> None:
    if block.get("text") is None and not block.get("fields"):
        raise invalid_blocks(path, "text or fields required")
    if block.get("text") is not None:
        check_text(block["text"], f"{path}/text", limits.SECTION)
    fields = block.get("fields") or []
    _check_count(fields, f"{path}/fields", limits.FIELDS, least=0)
    for index, each in enumerate(fields):
        check_text(each, f"{path}/fields/{index}", limits.FIELD)
    if block.get("accessory") is not None:
        _check_element(block["accessory"], f"{path}/accessory", _INTERACTIVE | {"image"})


def _header(block: Json, path: str) -> None:
    check_text(block.get("text"), f"{path}/text", limits.HEADER, kinds=("plain_text",))


def _context(block: Json, path: str) -> None:
    elements = block.get("elements")
    _check_count(elements, f"{path}/elements", limits.CONTEXT_ELEMENTS)
    for index, each in enumerate(elements or ()):
        place = f"{path}/elements/{index}"
        if isinstance(each, dict) and each.get("type") == "image":
            _image(each, place)
        else:
            check_text(each, place, limits.SECTION)


def _actions(block: Json, path: str) -> None:
    elements = block.get("elements")
    _check_count(elements, f"{path}/elements", limits.ACTIONS_ELEMENTS)
    _check_elements(elements or [], path, _INTERACTIVE)


def _context_actions(block: Json, path: str) -> None:
    elements = block.get("elements")
    _check_count(elements, f"{path}/elements", limits.CONTEXT_ACTIONS_ELEMENTS)
    _check_elements(elements or [], path, {"feedback_buttons", "icon_button"})


def _markdown(block: Json, path: str) -> None:
    if not isinstance(block.get("text"), str) or not block["text"].strip():
        raise invalid_blocks(f"{path}/text", "must be more than 0 characters")


def _image(block: Json, path: str) -> None:
    if not isinstance(block.get("alt_text"), str):
        raise invalid_blocks(path, "missing required field: alt_text")
    if len(block["alt_text"]) > limits.ALT_TEXT:
        raise invalid_blocks(f"{path}/alt_text", "must be less than 2001 characters")
    url = block.get("image_url")
    if url is None and block.get("slack_file") is None:
        raise invalid_blocks(path, "missing required field: image_url")
    if url is not None and (not isinstance(url, str) or not 0 < len(url) <= limits.URL):
        raise invalid_blocks(f"{path}/image_url", "must be less than 3001 characters")


def _rich_text(block: Json, path: str) -> None:
    elements = block.get("elements")
    _check_count(elements, f"{path}/elements", 10_000)
    for index, each in enumerate(elements or ()):
        _rich_element(each, f"{path}/elements/{index}")


def _rich_element(element: Any, path: str) -> None:
    """A section, list, quote or code of rich text; a list holds sections."""
    if not isinstance(element, dict) or element.get("type") not in _RICH:
        raise invalid_blocks(path, "unsupported element")
    inner = element.get("elements")
    _check_count(inner, f"{path}/elements", 10_000, least=0)
    for index, each in enumerate(inner or ()):
        place = f"{path}/elements/{index}"
        if element["type"] == "rich_text_list":
            _rich_element(each, place)
        elif not isinstance(each, dict) or each.get("type") not in _INLINE:
            raise invalid_blocks(place, "unsupported element")


def _table(block: Json, path: str) -> None:
    rows = block.get("rows")
    _check_count(rows, f"{path}/rows", limits.TABLE_ROWS)
    for index, row in enumerate(rows or ()):
        place = f"{path}/rows/{index}"
        _check_count(row, place, limits.TABLE_COLUMNS)
        for cell in row:
            if not isinstance(cell, dict) or cell.get("type") not in _CELLS:
                raise invalid_blocks(place, "unsupported cell")
            if cell["type"] == "rich_text":
                _rich_text(cell, place)


def _other(block: Json, path: str) -> None:
    """Blocks of which only the form of their elements is known here."""
    elements = block.get("elements", [])
    if not isinstance(elements, list) or not all(isinstance(each, dict) for each in elements):
        raise invalid_blocks(f"{path}/elements", "must be an array of objects")


def _task_card(block: Json, path: str) -> None:
    for key in ("task_id", "title"):
        if not isinstance(block.get(key), str) or not block[key]:
            raise invalid_blocks(path, f"missing required field: {key}")


def _plan(block: Json, path: str) -> None:
    if not isinstance(block.get("title"), str):
        raise invalid_blocks(path, "missing required field: title")
    _check_count(block.get("tasks") or [], f"{path}/tasks", 50, least=0)


_CHECKS: dict[str, Callable[[Json, str], None]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "context_actions": _context_actions,
    "markdown": _markdown,
    "image": _image,
    "rich_text": _rich_text,
    "table": _table,
    "task_card": _task_card,
    "plan": _plan,
}


def check_text(
    text: Any, path: str, most: int, *, kinds: tuple[str, ...] = ("mrkdwn", "plain_text")
) -> None:
    """A text object of the right kind, neither empty nor too long."""
    if not isinstance(text, dict) or text.get("type") not in kinds:
        raise invalid_blocks(path, f"must be a text object of type {' or '.join(kinds)}")
    if not isinstance(text.get("text"), str) or not text["text"]:
        raise invalid_blocks(f"{path}/text", "must be more than 0 characters")
    if len(text["text"]) > most:
        raise invalid_blocks(f"{path}/text", f"must be less than {most + 1} characters")
    if unknown := text.keys() - {"type", "text", "emoji", "verbatim"}:
        raise invalid_blocks(path, f"invalid additional property: {min(unknown)}")


def _check_count(value: Any, path: str, most: int, *, least: int = 1) -> None:
    if not isinstance(value, list):
        raise invalid_blocks(path, "must be an array")
    if len(value) < least:
        raise invalid_blocks(path, "must have at least one item")
    if len(value) > most:
        raise invalid_blocks(path, f"no more than {most} items allowed")


def _check_elements(elements: Sequence[Any], path: str, kinds: set[str]) -> None:
    seen: set[str] = set()
    for index, element in enumerate(elements):
        place = f"{path}/elements/{index}"
        _check_element(element, place, kinds)
        action_id = element.get("action_id")
        if action_id is not None and action_id in seen:
            raise invalid_blocks(f"{place}/action_id", "`action_id` exists already")
        seen.add(action_id)


def _check_element(element: Any, path: str, kinds: set[str]) -> None:
    if not isinstance(element, dict) or element.get("type") not in kinds:
        raise invalid_blocks(f"{path}/type", "unsupported element")
    action_id = element.get("action_id")
    is_good = isinstance(action_id, str) and 0 < len(action_id) <= limits.IDENTIFIER
    if action_id is not None and not is_good:
        raise invalid_blocks(f"{path}/action_id", "must be 1 to 255 characters")
    if element["type"] == "button":
        _button(element, path)
    elif element["type"] == "image":
        _image(element, path)
    elif element["type"] == "overflow":
        _check_count(element.get("options"), f"{path}/options", 5)
    elif element["type"] == "feedback_buttons":
        for key in ("positive_button", "negative_button"):
            _labelled(element.get(key), f"{path}/{key}")


def _button(element: Json, path: str) -> None:
    if unknown := element.keys() - _BUTTON_KEYS:
        raise invalid_blocks(path, f"invalid additional property: {min(unknown)}")
    _labelled(element, path)
    if element.get("style") not in (None, "primary", "danger"):
        raise invalid_blocks(f"{path}/style", "must be primary or danger")
    url = element.get("url")
    if url is not None and (not re.match(r"https?://", str(url)) or len(url) > limits.URL):
        raise invalid_blocks(f"{path}/url", "must be a URL of at most 3000 characters")
    if (confirm := element.get("confirm")) is not None:
        if not isinstance(confirm, dict):
            raise invalid_blocks(f"{path}/confirm", "must be an object")
        for key, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            if key in confirm:
                check_text(confirm[key], f"{path}/confirm/{key}", most)


def _labelled(element: Any, path: str) -> None:
    """Something to press: a plain label, and a value that comes back."""
    if not isinstance(element, dict):
        raise invalid_blocks(path, "must be an object")
    check_text(element.get("text"), f"{path}/text", limits.BUTTON_TEXT, kinds=("plain_text",))
    value = element.get("value")
    if value is not None and (not isinstance(value, str) or len(value) > limits.BUTTON_VALUE):
        raise invalid_blocks(f"{path}/value", "must be a string of less than 2001 characters")
    label = element.get("accessibility_label")
    if label is not None and len(str(label)) > limits.BUTTON_TEXT:
        raise invalid_blocks(f"{path}/accessibility_label", "must be less than 76 characters")
