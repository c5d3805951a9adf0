"""Runs in a process of its own, once for each file: reads what may be hostile, and ends.

`python worker.py KIND`, the file on standard input; on standard output one line of JSON, then what
Claude gets instead. It knows nothing of the bot and gets no environment, so no token; its memory
and time are limited, it cannot write files, and nothing of a file stays for the next one. Each
library is loaded only for its kind of file.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import posixpath
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

MEMORY_BYTES: Final = 256 * 1024 * 1024
"""Of address space. Python and a library take 50 to 100 MB; an image of 16 megapixels with
transparency takes 64 MB, and once more while it is made smaller."""
CPU_S: Final = 20
LONG_EDGE: Final = 2_576
IMAGE_TOKENS: Final = 4_784
PATCH: Final = 28
"""Claude makes larger images smaller itself: long edge in pixels, and squares of 28 pixels in all
(platform.claude.com/docs/en/build-with-claude/vision)."""
PIXELS: Final = 16_000_000
"""To be decoded; of a JPEG that is after its first, cheap division by two, four or eight."""
IMAGE_BYTES: Final = 5_000_000
"""Claude takes 10 MB in base64; more than this is a photograph stored as PNG."""
PAGES: Final = 100
CHARACTERS: Final = 100_000
UNPACKED_BYTES: Final = 200_000_000
"""Of an Office file, which is a zip archive."""
CELLS: Final = 1_000_000
WORKBOOK: Final = frozenset({"xl/workbook.xml", "xl/_rels/workbook.xml.rels"})
CELL: Final = re.compile(rb"""\sr=["']([A-Z]{0,3})([0-9]{1,7})["']""")
"""Where a cell, or a row, of a sheet is."""

WORD_SIGNS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
WORD_UNSAID: Final = frozenset(
    {"", "del", "moveFrom", "pPr", "rPr", "tblPr", "trPr", "tcPr", "sdtPr", "sectPr", "Fallback"}
)
"""What holds no words of the document: deleted, moved away, properties, what older programs show
instead of a text box."""

FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
MEDIA_TYPES: Final = {
    **{name: f"image/{name.lower()}" for name in FORMATS},
    "MPO": "image/jpeg",  # a JPEG with more pictures after the first, as many telephones make them
}

Result = tuple[dict[str, Any], bytes]
"""What is known of the content, and the content; none where the file is good `as_it_is`."""


class Refused(Exception):
    """The file is not read, for this reason."""


def image(data: bytes) -> Result:
    """The image as it is if Claude can use all of it, else smaller. Of an animation the first
    frame counts, as for Claude."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # counted below, in one way for all formats
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise Refused("this kind of image cannot be read") from error
    media_type = MEDIA_TYPES[str(opened.format)]
    wide, high = fitting(*opened.size)
    as_it_is = (wide, high) == opened.size and len(data) <= IMAGE_BYTES
    if media_type == "image/jpeg":
        opened.draft("RGB", (wide, high))  # decodes large ones at a half, a quarter, an eighth
    if opened.size[0] * opened.size[1] > PIXELS:
        raise Refused(f"more than {PIXELS // 1_000_000} megapixels")
    opened.load()
    if as_it_is:
        return {"media_type": media_type, "as_it_is": True}, b""
    small: Image.Image = opened
    if opened.mode.startswith("I"):  # 16 bits of grey, of which convert() would keep the lower 8
        small = opened.point(lambda grey: grey * (1 / 256)).convert("L")
        small.info.pop("transparency", None)  # one of the 65,536 shades
    has_alpha = small.mode in ("LA", "PA", "RGBA") or "transparency" in small.info
    if small.mode not in ("L", "RGB", "RGBA"):
        small = small.convert("RGBA" if has_alpha else "RGB")
    small.thumbnail((wide, high), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = ImageOps.exif_transpose(small.convert("RGBA" if has_alpha else "RGB"))
    written = io.BytesIO()
    if media_type != "image/jpeg":  # a screenshot, perhaps: letters stay sharp
        small.save(written, "PNG")
        if written.tell() <= IMAGE_BYTES:
            return {"media_type": "image/png"}, written.getvalue()
    written = io.BytesIO()
    if has_alpha:
        paper = Image.new("RGB", small.size, "white")
        paper.paste(small, mask=small)
        small = paper
    small.save(written, "JPEG", quality=85)
    return {"media_type": "image/jpeg"}, written.getvalue()


def fitting(wide: int, high: int) -> tuple[int, int]:
    """The size at which Claude sees an image of `wide` times `high` pixels."""
    scale = min(1.0, LONG_EDGE / max(wide, high))
    while True:
        size = max(1, round(wide * scale)), max(1, round(high * scale))
        tokens = math.ceil(size[0] / PATCH) * math.ceil(size[1] / PATCH)
        if tokens <= IMAGE_TOKENS:
            return size
        scale *= min(0.99, math.sqrt(IMAGE_TOKENS / tokens))


def pdf(data: bytes) -> Result:
    """The PDF, counted: Claude reads the pages itself, but takes nothing that stands before it."""
    from pypdf import PdfReader

    begins_at = max(0, data.find(b"%PDF-"))
    data = data[begins_at:]
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        raise Refused("it is protected by a password")
    pages = len(reader.pages)
    if pages > PAGES:
        raise Refused(f"{pages} pages, and I read at most {PAGES}")
    if pages == 0:
        raise Refused("it is empty")
    about = {"media_type": "application/pdf", "as_it_is": begins_at == 0, "pages": pages}
    return about, data if begins_at else b""


def word(data: bytes) -> Result:
    """What a .docx says, in order: paragraphs, headings and tables, with what was inserted and
    without what was deleted; then its headers, footers and notes."""
    from docx import Document
    from docx.oxml import parse_xml

    check_archive(data, "word/")
    document = Document(io.BytesIO(data))
    headings = {
        f"{style.style_id}": "#" * int(level)
        for style in document.styles
        if (level := (style.name or "").removeprefix("Heading ")) in list("123456")
    }

    def lines() -> Iterator[str]:
        yield from word_blocks(document.element.body, headings)
        said: set[str] = set()
        for kind in ("header", "footer", "footnotes", "endnotes"):
            for relation in document.part.rels.values():
                if relation.is_external or relation.reltype.rpartition("/")[2] != kind:
                    continue
                found = parse_xml(relation.target_part.blob)
                notes = [found] if kind in ("header", "footer") else word_notes(found)
                for note in notes:
                    text = "\n".join(word_blocks(note, headings)).strip()
                    if text and text not in said:  # each section may repeat the same
                        said.add(text)
                        yield f"[{kind.removesuffix('s').capitalize()}] {text}"

    return as_text(lines())


def word_notes(notes: Any) -> Iterator[Any]:
    """The notes of people; the lines between notes and text are kept as notes, too."""
    return (note for note in notes if not any(name.endswith("}type") for name in note.attrib))


def word_blocks(parent: Any, headings: dict[str, str]) -> Iterator[str]:
    """The lines of the paragraphs and tables in `parent`, whatever they are wrapped in."""
    for element in parent:
        match name_of(element):
            case "p":
                yield from word_paragraph(element, headings)
            case "tbl":
                yield from (row_of(cells) for cells in word_rows(element, headings))
                yield ""
            case name if name not in WORD_UNSAID:
                yield from word_blocks(element, headings)


def word_paragraph(paragraph: Any, headings: dict[str, str]) -> Iterator[str]:
    """Its text, then that of the boxes that are anchored in it."""
    boxes: list[Any] = []
    text = "".join(word_text(paragraph, boxes))
    style = paragraph.style  # the id, as python-docx reads it
    heading = headings.get(style or "")
    yield f"{heading} {text}" if heading and text else text
    for box in boxes:
        yield from word_blocks(box, headings)


def word_text(parent: Any, boxes: list[Any]) -> Iterator[str]:
    """The words in `parent`; text boxes are put in `boxes`."""
    for element in parent:
        name = name_of(element)
        if name == "t":
            yield element.text or ""
        elif name in WORD_SIGNS:
            yield WORD_SIGNS[name]
        elif name == "txbxContent":
            boxes.append(element)
        elif name not in WORD_UNSAID:
            yield from word_text(element, boxes)


def word_rows(parent: Any, headings: dict[str, str]) -> Iterator[list[str]]:
    """The rows of a table, each with what its cells say."""
    for element in parent:
        name = name_of(element)
        if name == "tr":
            yield ["\n".join(word_blocks(cell, headings)) for cell in word_cells(element)]
        elif name not in WORD_UNSAID:
            yield from word_rows(element, headings)


def word_cells(parent: Any) -> Iterator[Any]:
    """The cells of a row."""
    for element in parent:
        name = name_of(element)
        if name == "tc":
            yield element
        elif name not in WORD_UNSAID:
            yield from word_cells(element)


def name_of(element: Any) -> str:
    """The name of an XML element without its namespace; "" for a comment."""
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def excel(data: bytes) -> Result:
    """The sheets of a workbook as rows of values, but those that are too large."""
    from python_calamine import CalamineWorkbook, PasswordError

    if data.startswith(b"PK"):
        check_archive(data, "")
    extents = Extents(data)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError as error:
        raise Refused("it is protected by a password") from error

    too_large: list[str] = []
    read: list[str] = []

    def lines() -> Iterator[str]:
        for name in book.sheet_names:
            yield f"## {name}"
            sheet = book.get_sheet_by_name(name) if extents.of(name) <= CELLS else None
            if sheet is None or sheet.total_height * sheet.total_width > CELLS:
                too_large.append(name)
                yield "[… this sheet is too large to be read …]"
                continue
            read.append(name)
            for row in sheet.iter_rows():
                values = ["" if value is None else shown(value) for value in row]
                if any(values):
                    yield row_of(values)
            yield ""

    head, text = as_text(lines())
    if too_large and not read:
        raise Refused("its tables are too large")
    return {**head, "without_sheets": bool(too_large)}, text


class Extents:
    """How many cells the sheets of an .xlsx span. To load a single cell that is far away takes
    memory for all that are not there, so that is known before."""

    def __init__(self, data: bytes) -> None:
        self._archive: zipfile.ZipFile | None = None
        self._paths: dict[str, str] = {}
        if data.startswith(b"PK"):
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            if WORKBOOK.issubset(self._archive.namelist()):
                self._paths = sheet_paths(self._archive)

    def of(self, name: str) -> int:
        """At most a few more than `CELLS`; 0 where it is not known."""
        path = self._paths.get(name)
        if self._archive is None or path not in self._archive.namelist():
            return 0
        with self._archive.open(path) as sheet:
            return extent(sheet)


def sheet_paths(archive: zipfile.ZipFile) -> dict[str, str]:
    """Which file of an .xlsx holds which sheet."""
    from xml.etree import ElementTree

    relations = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    targets = {one.get("Id"): one.get("Target", "") for one in relations}
    found: dict[str, str] = {}
    for element in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter():
        ids = [value for key, value in element.attrib.items() if key.endswith("}id")]
        if name_of(element) == "sheet" and ids and ids[0] in targets:
            found[element.get("name", "")] = posixpath.join("/xl", targets[ids[0]]).lstrip("/")
    return found


def extent(sheet: IO[bytes]) -> int:
    """The last row of a sheet times its last column."""
    rows, columns, rest = 0, 0, b""
    while rows * columns <= CELLS and (chunk := sheet.read(1 << 20)):
        text = rest + chunk
        for letters, number in CELL.findall(text):
            rows = max(rows, int(number))
            columns = max(columns, column_of(letters))
        rest = text[max(text.rfind(b"<"), len(text) - 1_000) :]
    return rows * columns


@functools.cache
def column_of(letters: bytes) -> int:
    """The number of a column: 1 for A, 27 for AA."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def powerpoint(data: bytes) -> Result:
    """What the slides of a .pptx say, with tables and the speaker's notes."""
    from pptx import Presentation

    check_archive(data, "ppt/")

    def lines() -> Iterator[str]:
        for number, slide in enumerate(Presentation(io.BytesIO(data)).slides, 1):
            yield f"## Slide {number}"
            yield from shape_lines(slide.shapes)
            notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
            if notes is not None and notes.text.strip():
                yield f"Notes: {notes.text}"
            yield ""

    return as_text(lines())


def shape_lines(shapes: Any) -> Iterator[str]:
    """The words of shapes, those in groups too."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from shape_lines(shape.shapes)
        elif getattr(shape, "has_table", False):
            yield from (row_of(cell.text for cell in row.cells) for row in shape.table.rows)
        elif shape.has_text_frame and shape.text_frame.text.strip():
            yield shape.text_frame.text


def check_archive(data: bytes, folder: str) -> None:
    """Refuse an archive that unpacks to far too much, or that has no `folder`."""
    entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    if sum(entry.file_size for entry in entries) > UNPACKED_BYTES:
        raise Refused("it unpacks to too much")
    if not any(entry.filename.startswith(folder) for entry in entries):
        raise Refused("this kind of file cannot be read")


def shown(value: object) -> str:
    """A cell's value as people write it: 3, not 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def row_of(cells: Any) -> str:
    """One row of a table, on one line."""
    return " | ".join(" ".join(str(cell).split()) for cell in cells)


def as_text(lines: Iterator[str]) -> Result:
    """The lines, as far as the limit; what comes after it is not even read."""
    kept: list[str] = []
    size = 0
    for line in lines:
        kept.append(line)
        size += len(line) + 1
        if size > CHARACTERS:
            break
    text = "\n".join(kept).strip()
    if not text:
        raise Refused("there is no text in it")
    head = {"media_type": "text/plain", "cut": len(text) > CHARACTERS}
    return head, text[:CHARACTERS].encode("utf-8", "replace")


KINDS: Final[dict[str, Callable[[bytes], Result]]] = {
    "image": image,
    "pdf": pdf,
    "word": word,
    "excel": excel,
    "powerpoint": powerpoint,
}


def limit(memory_bytes: int) -> None:
    """What the operating system ends this process for, or refuses it."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        # Where a limit does not exist (macOS: RLIMIT_AS) or a lower one is set already.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def main(kind: str) -> None:
    """Read, convert, answer; a reason instead of content where it does not work out."""
    limit(MEMORY_BYTES)
    try:
        head, content = KINDS[kind](sys.stdin.buffer.read())
    except Refused as refused:
        head, content = {"reason": str(refused)}, b""
    except MemoryError:
        head, content = {"reason": "it takes too much memory to read"}, b""
    except Exception:  # the libraries' errors for damaged files are of many kinds
        head, content = {"reason": "it is damaged or not what its name says"}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + content)


if __name__ == "__main__":
    main(sys.argv[1])
