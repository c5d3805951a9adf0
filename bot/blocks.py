"""Block Kit: what a reply is made of, and what other people's blocks say as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bot import markdown

Block = dict[str, Any]

CONTEXT_CHARACTERS: Final = 2_000
CUT_HERE: Final = "\n[… cut here …]"
"""Where what is too long ends."""

FILLERS: Final = frozenset(
    {"this content can't be displayed", "this message contains interactive elements"}
)
"""What Slack itself writes as the `text` of blocks that came without one."""

DEEPEST_LIST: Final = 8

_SAYING: Final = ("title", "subtitle", "text", "body", "description", "details", "output")
"""Where blocks that are not known here have their words."""

_HALF = re.compile(r"(?:&\w{0,4}|<[^<>\n]{0,300}|\n\[…[^\n\]]{0,20}\]?)$")
"""The beginning of an entity, or another such mark, at the end of what was cut."""

_LABELLED = re.compile(r"<(?:!|([@#]\w++))[^<>]*+>")
_WORD = re.compile(r"[^\W_]+")

_ENTITY = re.compile(r"&lt;((?:[@#!]|https?:|mailto:)(?:(?!&[lg]t;)[^<>\n])*)&gt;")
"""As `markdown.escape` leaves it. It looks no further than to the next bracket: else a long text of
opening ones would take seconds."""


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a message; `value` (up to 2,000 characters) comes back when it is pressed."""

    action: str
    label: str
    value: str


def reply(text: str, status: str | None, button: Button | None = None) -> list[Block]:
    """A message of the bot: `text` as Markdown, then `status` as a small line, then a button; each
    may be missing.

    A `markdown` block is not split by Slack as long `text` is, and an edit that carries blocks
    shows no "(edited)" (docs.slack.dev/reference/methods/chat.update).
    """
    built: list[Block] = []
    if text.strip():
        built.append({"type": "markdown", "text": text})
    if status:
        element = {"type": "mrkdwn", "text": markdown.escape(status)[:CONTEXT_CHARACTERS]}
        built.append({"type": "context", "elements": [element]})
    return built + _actions(button)


def notice(text: str, button: Button | None = None) -> list[Block]:
    """A message of the bot that is not Claude's: a hint, or why there is no reply."""
    said = {"type": "mrkdwn", "text": markdown.escape(text)[:3_000]}
    return [{"type": "section", "text": said}, *_actions(button)]


def _actions(button: Button | None) -> list[Block]:
    if button is None:
        return []
    element = {
        "type": "button",
        "action_id": button.action,
        "text": {"type": "plain_text", "text": button.label},
        "value": button.value,
    }
    return [{"type": "actions", "elements": [element]}]


def plain(text: str) -> list[Block]:
    """`text` without any Markdown, for when Slack does not accept it as Markdown."""
    chunks: list[str] = []
    while text:
        end = markdown.last_break(text, 3_000) if len(text) > 3_000 else len(text)
        chunks.append(text[:end])
        text = text[end:]
    return [
        {"type": "section", "text": {"type": "plain_text", "text": chunk, "emoji": False}}
        for chunk in chunks
        if chunk.strip()
    ]


def to_text(blocks: Iterable[Mapping[str, Any]], *, own: bool = False) -> str:
    """What `blocks` say, as Markdown. Buttons are left out.

    Slack translates a `markdown` block when it stores it, and `text` holds only the beginning of a
    long reply, so this is how the bot reads what it wrote itself: with `own`, without its notices
    and its status lines (context).
    """
    parts = [
        _block(block)
        for block in blocks
        if isinstance(block, Mapping) and not (own and _is_aside(block))
    ]
    return "\n\n".join(part for part in parts if part.strip())


def to_mrkdwn(blocks: Iterable[Mapping[str, Any]], most: int) -> str:
    """What `blocks` say (its first `most` characters), escaped; what stands for a person, a channel
    or a link stays live."""
    return _ENTITY.sub(r"<\1>", markdown.escape(cut(to_text(blocks), most)))


def cut(text: str, most: int) -> str:
    """`text` if it has at most `most` characters; else its beginning, and that it was cut there."""
    if len(text) <= most:
        return text
    sure = max(0, most - 400)
    return f"{text[:sure]}{_HALF.sub('', text[sure:most])}{CUT_HERE}"


def with_text(blocks: Iterable[Mapping[str, Any]], text: str, most: int) -> str:
    """What an app's message says, as mrkdwn: its `blocks`, which are what people see, and what its
    `text` adds, which is often only the notification, or Slack's own words."""
    shown = to_mrkdwn(blocks, most)
    if not shown.strip():
        return text
    is_filler = text.strip().rstrip(".").replace("’", "'").casefold() in FILLERS
    seen, more = _words(shown), _words(text)
    if is_filler or more <= seen:
        return shown
    return text if seen <= more else f"{shown}\n{text}"


def _words(text: str) -> set[str]:
    """The words in `text`, without labels of people and channels, and a last one that is cut."""
    plain = markdown.unescape(_LABELLED.sub(r" \1 ", text)).casefold().rstrip()
    found = _WORD.findall(plain)
    return set(found[:-1] if plain.endswith(("…", "...")) else found)


def attachment_to_mrkdwn(
    attached: Mapping[str, Any], most: int, *, with_author: bool = True
) -> str:
    """What is attached to a message (an app's card, a shared message, the preview of a link), in
    about `most` characters.

    docs.slack.dev/messaging/formatting-message-text and reference/messaging/attachments: titles and
    names are plain text, the rest is mrkdwn.
    """
    found = _items(attached, "blocks") or [
        block
        for shared in _items(attached, "message_blocks")
        if isinstance(message := shared.get("message"), Mapping)
        for block in _items(message, "blocks")
    ]
    title, link = (str(attached.get(name) or "") for name in ("title", "title_link"))
    fields = [
        f"{field.get('title') or ''}: {field.get('value') or ''}".strip(": ")
        for field in _items(attached, "fields")
    ]
    written = [
        attached.get("pretext"),
        attached.get("author_name") if with_author else None,
        f"{title} ({link})" if title and link else title,
        with_text(found, str(attached.get("text") or ""), most),
        *fields,
    ]
    said = "\n".join(str(part) for part in written if part and str(part).strip())
    return cut(said or str(attached.get("fallback") or ""), most)


def _block(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "rich_text":
            return "\n".join(_rich(element) for element in _items(block, "elements"))
        case "markdown":
            return str(block.get("text") or "")
        case "header":
            return f"## {_plain(block.get('text'))}"
        case "section":
            fields = [_plain(field) for field in _items(block, "fields")]
            return "\n".join([_plain(block.get("text")), *fields]).strip()
        case "context":
            elements = _items(block, "elements")
            said = [_plain(one.get("text") or one.get("alt_text")) for one in elements]
            return " ".join(one for one in said if one.strip())
        case "table":
            return _table(block)
        case "divider":
            return "---"
        case "actions" | "context_actions" | "input":
            return ""
        case "carousel":
            return "\n\n".join(_block(card) for card in _items(block, "elements"))
        case _:
            return _any(block)


def _any(block: Mapping[str, Any]) -> str:
    """The words of an image, a video, or a block that is not known here."""
    said: list[str] = []
    for name in _SAYING:
        match block.get(name):
            case {"text": str()} | str() as text:
                said.append(_plain(text))
            case Mapping() as inner:
                said.append(_block(inner))
    said += [_block(task) for task in _items(block, "tasks")]
    if (alt := _plain(block.get("alt_text"))) not in said:
        said.append(alt)
    return "\n".join(part for part in said if part.strip())


def _is_aside(block: Mapping[str, Any]) -> bool:
    """Whether it is a status line or a notice, as the bot writes them."""
    text = block.get("text")
    return block.get("type") == "context" or (
        block.get("type") == "section"
        and isinstance(text, Mapping)
        and text.get("type") == "mrkdwn"
    )


def _items(block: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = block.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _plain(text: object) -> str:
    value = text.get("text") if isinstance(text, Mapping) else text
    return markdown.unescape(str(value or ""))


def _rich(element: Mapping[str, Any]) -> str:
    match element.get("type"):
        case "rich_text_list":
            return _list(element)
        case "rich_text_quote":
            quoted = _inline(element)
            return "\n".join(f"> {line}" for line in quoted.split("\n"))
        case "rich_text_preformatted":
            language = str(element.get("language") or "")
            return f"```{language}\n{_inline(element, styled=False)}\n```"
        case _:
            return _inline(element)


def _list(element: Mapping[str, Any]) -> str:
    indent = "  " * min(_number(element.get("indent")), DEEPEST_LIST)
    first = _number(element.get("offset")) + 1
    ordered = element.get("style") == "ordered"
    return "\n".join(
        f"{indent}{f'{number}.' if ordered else '-'} {_inline(item)}"
        for number, item in enumerate(_items(element, "elements"), first)
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _inline(element: Mapping[str, Any], *, styled: bool = True) -> str:
    return "".join(_leaf(leaf, styled) for leaf in _items(element, "elements"))


def _leaf(leaf: Mapping[str, Any], styled: bool) -> str:
    match leaf.get("type"):
        case "text":
            text = str(leaf.get("text") or "")
            return _style(text, leaf.get("style")) if styled else text
        case "link":
            url = str(leaf.get("url") or "")
            label = str(leaf.get("text") or "")
            return f"[{label}]({url})" if label and label != url else url
        case "emoji":
            return f":{leaf.get('name')}:"
        case "user":
            return f"<@{leaf.get('user_id')}>"
        case "usergroup":
            return "@group"
        case "channel":
            return f"<#{leaf.get('channel_id')}>"
        case "broadcast":
            return f"@{leaf.get('range')}"
        case "date":
            return str(leaf.get("fallback") or "") or _date(leaf.get("timestamp"))
        case _:
            return _inline(leaf, styled=styled)


def _date(timestamp: object) -> str:
    try:
        return f"{datetime.fromtimestamp(_number(timestamp), UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return ""


def _style(text: str, style: object) -> str:
    if not isinstance(style, Mapping) or not text.strip():
        return text
    core = text.strip()
    for name, mark in (("code", "`"), ("bold", "**"), ("italic", "_"), ("strike", "~~")):
        if style.get(name):
            core = f"{mark}{core}{mark}"
    return text.replace(text.strip(), core, 1)


def _table(block: Mapping[str, Any]) -> str:
    rows = [
        [_cell(cell) for cell in row if isinstance(cell, Mapping)]
        for row in (block.get("rows") or [])
        if isinstance(row, list)
    ]
    if not rows:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|{' --- |' * len(rows[0])}")
    return "\n".join(lines)


def _cell(cell: Mapping[str, Any]) -> str:
    if cell.get("type") == "rich_text":
        return " ".join(_rich(element) for element in _items(cell, "elements"))
    return str(cell.get("text") or "")
