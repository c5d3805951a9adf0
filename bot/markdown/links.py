"""Links, images and footnotes: they show where they lead."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

# A destination and an optional title: spec.commonmark.org/0.31.2/#links
_TARGET = re.compile(
    r"\([ \t]*(?P<target><[^<>\n]*>|[^\s()<][^\s()]*(?:\([^\s()]*\)[^\s()]*)*|)"
    r"(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*\)"
)
_BRACKET = re.compile(r"\\.|(`+)(?!`)(?:(?!\1).)*?(?<!`)\1(?!`)|[\[\]]")
FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,40})\]")
_HOST = re.compile(r"(?:https?://|www\.)?((?:[^\s/:@()\[\]<>*_`,]+\.)+[^\W\d_]{2,})", re.I)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
_OPENS: Final = ("http://", "https://", "mailto:", "tel:", "slack://")
# `README.md` and `Node.js` are names of files, though some of these are names of countries too.
_FILES: Final = re.compile(
    r"c|cc|cpp|cs|css|csv|go|h|html|java|jsx?|json|kt|lua|md|mjs|net|php|pl|png|pdf|py|rb|rs|sh|"
    r"sql|svg|toml|tsx?|txt|vue|xml|ya?ml"
)
_COUNTRIES: Final = frozenset(("cc", "md", "net", "pl", "py", "rs", "sh"))


def brackets(text: str) -> dict[int, int]:
    """Where each `[` of a line is closed; escaped ones and those in code do not count."""
    if "[" not in text:
        return {}
    pairs: dict[int, int] = {}
    open_: list[int] = []
    for found in _BRACKET.finditer(text):
        if found[0] == "[":
            open_.append(found.start())
        elif found[0] == "]" and open_:
            pairs[open_.pop()] = found.start()
    return pairs


def target(text: str, position: int) -> tuple[str, int] | None:
    """The destination in the parentheses at `position`, and where they end."""
    found = _TARGET.match(text, position)
    return (found["target"].strip("<>"), found.end()) if found else None


def shown(label: str, to: str, *, written: str | None = None, after: str = "") -> str:
    """A link as Slack can show it: `label`, and the real host if it looks like another one.

    What leads nowhere outside a browser's page (`#part`, `./file`, `data:`) is not a link here.
    `written` is how it stood in the text, where nothing about it had to change; `after` is what
    follows it there.
    """
    to = to.strip()
    if not to.lower().startswith(_OPENS):
        if not to or to.startswith("#") or to.lower().startswith("data:"):
            return label
        if not _SCHEME.match(to) and re.match(r"[\w-]+(?:\.[\w-]+)+(?:[/?#]|$)", to):
            to, written = f"https://{to}", None
        else:
            return f"{label} ({to})"
    link = written or f"[{label}]({to})"
    host = _host(to)
    said = f" ({host})"
    if not host or after.startswith(said) or not _looks_elsewhere(label, to, host):
        return link
    return link + said


def image(alt: str, to: str) -> str:
    """An image is a link with its description: a `markdown` block shows no images
    (docs.slack.dev/reference/block-kit/blocks/markdown-block)."""
    name = alt.strip() or re.split(r"[?#]", to)[0].rstrip("/").rpartition("/")[2]
    return shown(name if name and not to.startswith("data:") else alt.strip() or "image", to)


def _host(to: str) -> str:
    try:
        return (urlsplit(to).hostname or "") if "//" in to else ""
    except ValueError:
        return to.partition("//")[2].partition("/")[0]


def _looks_elsewhere(label: str, to: str, host: str) -> bool:
    """Whether the label names a host that is not the one the link leads to."""
    if "." not in label:
        return False
    for found in _HOST.finditer(label.replace("\\", "")):
        name = found[1].lower()
        if _bare(name) == _bare(host):
            continue
        ending = name.rpartition(".")[2]
        is_file = bool(_FILES.fullmatch(ending)) and not found[0].lower().startswith(
            ("http", "www.")
        )
        if is_file and (ending not in _COUNTRIES or to.lower().endswith(name)):
            continue
        return True
    return False


def _bare(host: str) -> str:
    return host.lower().strip(".").removeprefix("www.")
