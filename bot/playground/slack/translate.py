"""Markdown as Slack stores it: other blocks, with ids of their own.

docs.slack.dev/reference/block-kit/blocks/markdown-block: one markdown block may become several
blocks, and its `block_id` is ignored.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from .limits import HEADER

Json = dict[str, Any]

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
_ENTITY = re.compile(
    r"<(?:@(?P<user>[UW][A-Z0-9]+)|#(?P<channel>[CG][A-Z0-9]+)"
    r"|!(?P<range>channel|here|everyone)|!subteam\^(?P<usergroup>[A-Z0-9]+))(?:\|[^<>]*)?>"
)
# After an empty line: neither indented, nor another item, quote or row of what came before.
_BEGINS_ANEW = re.compile(r"(?![-*+>|]|\d{1,9}[.)])\S|(?:\*\*|---|\*\*\*)")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_ids = itertools.count(0x51AC)


def fresh_block_id() -> str:
    """A block id that was never given before."""
    return f"{next(_ids):05x}"


def stored_blocks(blocks: Sequence[Json]) -> list[Json]:
    """The blocks of a message as Slack gives them back."""
    stored: list[Json] = []
    for block in blocks:
        if block.get("type") == "markdown":
            stored += translated(str(block["text"]))
        else:
            stored.append(_completed(block))
    return stored


def translated(markdown: str) -> list[Json]:
    """A markdown block's text as rich_text, header, table and divider blocks."""
    blocks: list[Json] = []
    for block in _all_parsed(markdown):
        if blocks and blocks[-1]["type"] == block["type"] == "rich_text":
            _append_rich(blocks[-1]["elements"], block["elements"])
        elif block["type"] == "rich_text":
            blocks.append({"type": "rich_text", "elements": list(block["elements"])})
        else:
            blocks.append(dict(block))
    return [{**block, "block_id": fresh_block_id()} for block in blocks]


def table_sizes(markdown: str) -> list[tuple[int, int, int]]:
    """Rows, columns and characters of each table that this Markdown becomes."""
    if "|" not in markdown:
        return []
    tables = [block["rows"] for block in _all_parsed(markdown) if block["type"] == "table"]
    return [
        (len(rows), max(map(len, rows)), sum(len(_words(cell)) for row in rows for cell in row))
        for rows in tables
    ]


def _all_parsed(markdown: str) -> Iterator[Json]:
    for segment in _segments(markdown):
        yield from _parsed(segment)


def _segments(markdown: str) -> Iterator[str]:
    """Pieces that mean the same alone: a live message that grows is parsed only at its end."""
    lines: list[str] = []
    fence = ""
    was_blank = False
    for line in markdown.splitlines(keepends=True):
        if was_blank and not fence and lines and _BEGINS_ANEW.match(line):
            yield "".join(lines)
            lines = []
        lines.append(line)
        was_blank = not line.strip()
        if found := _FENCE.match(line):
            mark = found.group(1)
            if not fence:
                fence = mark
            elif mark.startswith(fence) and not line.strip().strip(mark[0]):
                fence = ""
    if lines:
        yield "".join(lines)


@lru_cache(maxsize=16_384)
def _parsed(markdown: str) -> tuple[Json, ...]:
    """The blocks of one piece, without ids. Shared: never changed after this."""
    blocks: list[Json] = []
    for node in SyntaxTreeNode(_PARSER.parse(markdown)).children:
        match node.type:
            case "heading":
                blocks.append(_heading(node))
            case "hr":
                blocks.append({"type": "divider"})
            case "table":
                blocks.append(_table(node))
            case _:
                if not blocks or blocks[-1]["type"] != "rich_text":
                    blocks.append({"type": "rich_text", "elements": []})
                _append_rich(blocks[-1]["elements"], _rich(node))
    return tuple(blocks)


def _append_rich(elements: list[Json], more: Sequence[Json]) -> None:
    """Add rich text; neighbouring paragraphs become one section with an empty line between."""
    for element in more:
        last = elements[-1] if elements else None
        if last is not None and last["type"] == element["type"] == "rich_text_section":
            gap = {"type": "text", "text": "\n\n"}
            joined = _joined([*last["elements"], gap, *element["elements"]])
            elements[-1] = {**last, "elements": joined}
        else:
            elements.append(element)


def shown_text(blocks: Sequence[Json]) -> str:
    """The words of stored blocks, one block or list item to a line."""
    return "\n".join(line for block in blocks for line in _lines(block))


def _lines(block: Json) -> Iterator[str]:
    match block.get("type"):
        case "rich_text":
            for element in block.get("elements", []):
                if element["type"] == "rich_text_list":
                    yield from (_words(item) for item in element["elements"])
                else:
                    yield _words(element)
        case "table":
            for row in block["rows"]:
                yield " | ".join(_words(cell) for cell in row)
        case "section" | "header" if isinstance(block.get("text"), dict):
            yield str(block["text"]["text"])
        case "context":
            yield " ".join(str(e["text"]) for e in block.get("elements", []) if "text" in e)


def _words(element: Json) -> str:
    match element.get("type"):
        case "user":
            return f"@{element.get('user_id')}"
        case "broadcast":
            return f"@{element.get('range')}"
        case "emoji":
            return f":{element.get('name')}:"
        case "link":
            return str(element.get("text") or element.get("url", ""))
    if "elements" in element:
        return "".join(_words(child) for child in element["elements"])
    return str(element.get("text", ""))


def _completed(block: Json) -> Json:
    """A block of the app's with what Slack fills in."""
    done = {**block, "block_id": block.get("block_id") or fresh_block_id()}
    if isinstance(text := done.get("text"), dict):
        done["text"] = _completed_text(text)
    if isinstance(elements := done.get("elements"), list) and done["type"] != "rich_text":
        done["elements"] = [_completed_element(element) for element in elements]
    if isinstance(accessory := done.get("accessory"), dict):
        done["accessory"] = _completed_element(accessory)
    return done


def _completed_element(element: Json) -> Json:
    if element.get("type") in ("plain_text", "mrkdwn"):
        return _completed_text(element)
    done = dict(element)
    if isinstance(text := done.get("text"), dict):
        done["text"] = _completed_text(text)
    if done.get("type") != "image":
        done.setdefault("action_id", fresh_block_id())
    return done


def _completed_text(text: Json) -> Json:
    filled = "emoji" if text.get("type") == "plain_text" else "verbatim"
    return {filled: filled == "emoji", **text}


def _heading(node: SyntaxTreeNode) -> Json:
    inline = _inline(node)
    text = "".join(_words(element) for element in inline)
    if 0 < len(text) <= HEADER:
        return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": True}}
    bold = [{**e, "style": {**e.get("style", {}), "bold": True}} for e in inline]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": bold}]}


def _table(node: SyntaxTreeNode) -> Json:
    rows = [row for part in node.children for row in part.children]
    return {"type": "table", "rows": [[_cell(cell) for cell in row.children] for row in rows]}


def _cell(node: SyntaxTreeNode) -> Json:
    section = {"type": "rich_text_section", "elements": _inline(node)}
    return {"type": "rich_text", "elements": [section]}


def _rich(node: SyntaxTreeNode) -> list[Json]:
    match node.type:
        case "bullet_list" | "ordered_list":
            return _list(node, 0)
        case "fence" | "code_block":
            return [_preformatted(node)]
        case "blockquote":
            return [{"type": "rich_text_quote", "elements": _quoted(node)}]
    return [{"type": "rich_text_section", "elements": _inline(node)}]


def _preformatted(node: SyntaxTreeNode) -> Json:
    content = node.content.removesuffix("\n")
    block: Json = {"type": "rich_text_preformatted", "border": 0}
    block["elements"] = [{"type": "text", "text": content}]
    if node.type == "fence" and node.info.strip():
        block["language"] = node.info.split()[0]
    return block


def _quoted(node: SyntaxTreeNode) -> list[Json]:
    inner: list[Json] = []
    for child in node.children:
        if inner:
            inner.append({"type": "text", "text": "\n"})
        match child.type:
            case "fence" | "code_block":
                inner.append({"type": "text", "text": child.content, "style": {"code": True}})
            case "blockquote":
                inner += _quoted(child)
            case "bullet_list" | "ordered_list":
                for part in _list(child, 0):
                    for item in part.get("elements", []):
                        inner += [{"type": "text", "text": "• "}, *item.get("elements", [item])]
            case _:
                inner += _inline(child)
    return inner


def _list(node: SyntaxTreeNode, indent: int) -> list[Json]:
    """A list as Slack has it: flat, with its indent; what is nested follows as its own list."""
    style = "ordered" if node.type == "ordered_list" else "bullet"
    start = int(node.attrs.get("start", 1)) if style == "ordered" else 1
    parts: list[Json] = []
    current: Json | None = None
    for number, item in enumerate(node.children, start):
        if current is None:
            current = {"type": "rich_text_list", "style": style, "indent": indent, "border": 0}
            current |= {"offset": number - 1} if number > 1 and style == "ordered" else {}
            current["elements"] = []
            parts.append(current)
        if nested := _list_item(item, current, indent):
            parts += nested
            current = None
    return parts


def _list_item(item: SyntaxTreeNode, part: Json, indent: int) -> list[Json]:
    words: list[Json] = []
    nested: list[Json] = []
    for child in item.children:
        match child.type:
            case "bullet_list" | "ordered_list":
                nested += _list(child, indent + 1)
            case "fence" | "code_block":
                nested.append(_preformatted(child))
            case "blockquote":
                nested.append({"type": "rich_text_quote", "elements": _quoted(child)})
            case _:
                words += [{"type": "text", "text": "\n"}] if words else []
                words += _inline(child)
    part["elements"].append({"type": "rich_text_section", "elements": words})
    return nested


def _inline(node: SyntaxTreeNode, style: dict[str, bool] | None = None) -> list[Json]:
    elements: list[Json] = []
    for child in node.children:
        elements += _inline_element(child, style or {})
    return _joined(elements)


def _inline_element(node: SyntaxTreeNode, style: dict[str, bool]) -> list[Json]:
    match node.type:
        case "strong" | "em" | "s":
            return _inline(node, {**style, _STYLES[node.type]: True})
        case "link":
            text = "".join(_words(element) for element in _inline(node))
            return [_styled({"type": "link", "url": str(node.attrs["href"]), "text": text}, style)]
        case "image":
            link = {"type": "link", "url": str(node.attrs["src"]), "text": node.content}
            return [_styled(link, style)]
        case "code_inline":
            return [_styled({"type": "text", "text": node.content}, {**style, "code": True})]
        case "softbreak" | "hardbreak":
            return [_styled({"type": "text", "text": "\n"}, style)]
        case "text":
            return [_styled(element, style) for element in _entities(node.content)]
    return _inline(node, style)


def text_elements(text: str) -> list[Json]:
    """A person's words as rich text: mentions become elements, entities characters."""
    return [
        {**element, "text": html.unescape(element["text"])} if "text" in element else element
        for element in _entities(text)
    ]


def _entities(text: str) -> Iterator[Json]:
    end = 0
    for found in _ENTITY.finditer(text):
        if found.start() > end:
            yield {"type": "text", "text": text[end : found.start()]}
        end = found.end()
        if user := found["user"]:
            yield {"type": "user", "user_id": user}
        elif channel := found["channel"]:
            yield {"type": "channel", "channel_id": channel}
        elif usergroup := found["usergroup"]:
            yield {"type": "usergroup", "usergroup_id": usergroup}
        else:
            yield {"type": "broadcast", "range": found["range"]}
    if end < len(text):
        yield {"type": "text", "text": text[end:]}


def _styled(element: Json, style: dict[str, bool]) -> Json:
    return {**element, "style": style} if style else element


def _joined(elements: list[Json]) -> list[Json]:
    """Neighbouring texts of one style as one element."""
    joined: list[Json] = []
    for element in elements:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last["type"] == element["type"] == "text"
            and last.get("style") == element.get("style")
        ):
            joined[-1] = {**last, "text": last["text"] + element["text"]}
        else:
            joined.append(element)
    return joined
