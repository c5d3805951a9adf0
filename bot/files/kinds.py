"""What kind of file it is: by what Slack says before it is downloaded, then by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from bot.errors import FileUnread

Kind = Literal["image", "pdf", "word", "excel", "powerpoint", "text", "unknown"]

UNREADABLE: Final = "this kind of file cannot be read"
OLD_OFFICE: Final = "this old Office format cannot be read; a .docx or .pptx can"
DELETED: Final = "it was deleted"
HIDDEN: Final = "Slack hides it, because of the limits of the workspace's plan"
EXTERNAL: Final = "it is not stored at Slack"
DAMAGED: Final = "it is damaged or not what its name says"

UNKNOWN_BYTES: Final = 1_000_000
"""A file of a type that says nothing may be text, if it is not larger."""

IMAGES: Final = frozenset({"png", "jpg", "jpeg", "gif", "webp"})
IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Those that Claude takes."""
OFFICE: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("docx", "docm", "dotx"), "word"),
    **dict.fromkeys(("xlsx", "xlsm", "xlsb", "xls", "ods"), "excel"),
    **dict.fromkeys(("pptx", "pptm", "ppsx"), "powerpoint"),
}
TEXT_TYPES: Final = frozenset(
    {
        *("application/json", "application/xml", "application/javascript", "application/sql"),
        *("application/x-yaml", "application/yaml", "application/toml", "application/x-sh"),
        *("application/x-ndjson", "application/x-httpd-php", "application/typescript"),
    }
)
IMAGE_MAGIC: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0"
"""Office before 2007, and protected files since."""
NAME_CHARACTERS: Final = 60

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def said(file: Mapping[str, Any]) -> Kind:
    """The kind that Slack's description promises (docs.slack.dev/reference/objects/file-object).

    Raises FileUnread for what is not worth a download.
    """
    _check_mode(file)
    mimetype = str(file.get("mimetype") or "").lower()
    filetype = str(file.get("filetype") or "").lower()
    extension = str(file.get("name") or "").lower().rpartition(".")[2]
    if mimetype in {f"image/{name}" for name in IMAGES} or filetype in IMAGES:
        return "image"
    if mimetype == "application/pdf" or filetype == "pdf":
        return "pdf"
    for name in (filetype, extension):
        if name in OFFICE:
            return OFFICE[name]
    if filetype in ("doc", "ppt") or extension in ("doc", "ppt"):
        raise FileUnread(OLD_OFFICE)
    if mimetype.startswith("text/") or mimetype in TEXT_TYPES:
        return "text"
    if file.get("mode") in ("snippet", "post"):
        return "text"
    if mimetype.startswith(("image/", "video/", "audio/", "font/")):
        raise FileUnread(UNREADABLE)
    size = file.get("size")
    if isinstance(size, int) and size > UNKNOWN_BYTES:
        raise FileUnread(UNREADABLE)
    return "unknown"


def _check_mode(file: Mapping[str, Any]) -> None:
    match file.get("mode"):
        case "tombstone":
            raise FileUnread(DELETED)
        case "hidden_by_limit":
            raise FileUnread(HIDDEN)
        case "external":
            raise FileUnread(EXTERNAL)
        case "space" | "canvas" | "list" | "quip" | "docs" | "email":
            raise FileUnread(UNREADABLE)
    if file.get("is_external"):
        raise FileUnread(EXTERNAL)


def found(data: bytes, promised: Kind) -> Kind:
    """The kind that the content has; "unknown" is settled here. Raises FileUnread."""
    if not data:
        raise FileUnread("it is empty")
    if data.startswith(IMAGE_MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return "image"
    if data.startswith(b"%PDF-") or (promised == "pdf" and b"%PDF-" in data[:1_024]):
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        if promised in ("word", "excel", "powerpoint"):
            return promised
        raise FileUnread(UNREADABLE)
    if data.startswith(OLE_MAGIC):
        if promised == "excel":
            return promised
        raise FileUnread(OLD_OFFICE if promised == "unknown" else DAMAGED)
    if promised in ("text", "unknown"):
        return "text"
    raise FileUnread(DAMAGED)


def decode(data: bytes, promised: Kind, characters: int) -> tuple[str, bool]:
    """The beginning of a text, at most `characters`, and whether that is less than all.

    Raises FileUnread for what is no text.
    """
    piece = data[: 4 * characters + 4]
    if piece.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = piece.decode("utf-16", "replace")
    elif b"\0" in piece:
        raise FileUnread(UNREADABLE)
    else:
        try:
            text = piece.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            is_cut = len(piece) < len(data) and error.start > len(piece) - 4
            if is_cut:
                text = piece[: error.start].decode("utf-8-sig")
            elif promised == "text":
                text = piece.decode("cp1252", "replace")  # what Excel and old editors write
            else:
                raise FileUnread(UNREADABLE) from error
    is_cut = len(piece) < len(data) or len(text) > characters
    text = clean(text[:characters])
    if not text.strip():
        raise FileUnread("it is empty")
    return text, is_cut


def clean(text: str) -> str:
    """`text` without control characters, which say nothing, and without lone surrogates."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def name_of(file: Mapping[str, Any]) -> str:
    """What to call the file: one line of printable characters, not too long.

    Slack has none for a deleted file, or for one of another organisation.
    """
    name = str(file.get("name") or file.get("title") or "a file")
    name = name.replace("[", "(").replace("]", ")")  # what the bot itself says stands in brackets
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if len(line) > NAME_CHARACTERS:
        half = NAME_CHARACTERS // 2
        line = f"{line[:half]}…{line[-half:]}"  # the end says what kind of file it is
    return line or "a file"
