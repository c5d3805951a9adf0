"""Attached files: what Claude gets of them, and what the person is told of the others."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import re
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from docx import Document
from docx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from PIL import Image
from pptx import Presentation
from pypdf import PdfWriter
from xlsxwriter import Workbook

from bot import files, markdown
from bot.conversation import UNSEEN_FILES
from bot.errors import FileUnread
from bot.files import Reading, converter, kinds, worker
from bot.playground.claude import Reply
from bot.playground.slack import Fault, File
from bot.serve import Server
from bot.slack.downloads import Downloads, _is_sign_in
from bot.turns import attached, less
from tests.conftest import World
from tests.test_logs import written

__all__ = ["written"]


def image(
    fmt: str = "PNG", size: tuple[int, int] = (40, 30), mode: str = "RGB", **how: Any
) -> bytes:
    made = io.BytesIO()
    Image.new(mode, size, 1).save(made, fmt, **how)
    return made.getvalue()


def pdf(pages: int = 1, password: str | None = None) -> bytes:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    if password is not None:
        writer.encrypt(password)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def docx() -> bytes:
    document = Document()
    document.add_heading("Plan", 1)
    document.add_paragraph("First we measure.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def xlsx() -> bytes:
    made = io.BytesIO()
    with Workbook(made, {"in_memory": True}) as book:
        sheet = book.add_worksheet("Costs")
        sheet.write_row(0, 0, ["item", "euro"])
        sheet.write_row(1, 0, ["tea", 3])
    return made.getvalue()


def pptx() -> bytes:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes[0].text_frame.text = "Results"
    slide.shapes[1].text_frame.text = "Twice as quick"
    slide.notes_slide.notes_text_frame.text = "say it slowly"
    made = io.BytesIO()
    deck.save(made)
    return made.getvalue()


def sent(world: World) -> list[dict[str, Any]]:
    """The blocks of the last message of the last request, without the note about who asks."""
    *blocks, aside = world.claude.requests[-1].body["messages"][-1]["content"]
    assert aside["text"].startswith("[From the bot: ")
    return blocks


def documents(world: World) -> dict[str, str]:
    """What the text documents of the last request say, by title."""
    blocks = [block for block in sent(world) if block["type"] == "document"]
    return {one["title"]: one["source"]["data"] for one in blocks}


async def ask_with(
    world: World, *attached: File | dict[str, Any], text: str = "what is this?"
) -> str:
    """Ada asks in her direct messages; what the reply shows once it is settled."""
    world.claude.script(Reply(text="I see."))
    await world.slack.say(world.ada, world.dm, text, files=list(attached))
    await world.idle()
    return world.replies(channel=world.dm)[-1].shown


# --- what Claude gets -------------------------------------------------------------------------


async def test_images_go_along_as_they_are(world: World, bot: Server) -> None:
    made = {f"a.{fmt.lower()}": image(fmt) for fmt in ("PNG", "JPEG", "GIF", "WEBP")}
    kinds_of = {name: f"image/{name[2:]}" for name in made}
    await ask_with(
        world, *[world.slack.add_file(name, made[name], kinds_of[name]) for name in made]
    )
    *blocks, text = sent(world)
    assert text["text"] == f"what is this?\n[Attached: {', '.join(made)}]"
    for name, title, picture in zip(made, blocks[::2], blocks[1::2], strict=True):
        assert title["text"] == f"[Attached image: {name}]"
        assert picture["source"]["media_type"] == kinds_of[name]
        assert base64.b64decode(picture["source"]["data"]) == made[name]


async def test_a_pdf_goes_along_as_it_is(world: World, bot: Server) -> None:
    data = pdf(3)
    await ask_with(world, world.slack.add_file("three.pdf", data, "application/pdf"))
    document = sent(world)[0]
    assert (document["title"], document["source"]["media_type"]) == ("three.pdf", "application/pdf")
    assert base64.b64decode(document["source"]["data"]) == data


async def test_what_stands_before_a_pdf_is_left_out(world: World, bot: Server) -> None:
    data = pdf(2)
    await ask_with(world, world.slack.add_file("a.pdf", b"junk\n" * 10 + data, "application/pdf"))
    assert base64.b64decode(sent(world)[0]["source"]["data"]) == data


TEXTS = [
    ("plain.txt", "grün ✓".encode(), "text/plain", "grün ✓"),
    ("of_excel.csv", b"\xef\xbb\xbfa;b\r\n1;2", "text/csv", "a;b\n1;2"),
    ("old.csv", "größe".encode("cp1252"), "text/csv", "größe"),
    ("wide.txt", "hé".encode("utf-16"), "text/plain", "hé"),
    ("code.py", b"print(1)", "text/x-python", "print(1)"),
    ("is_pdf.py", b"# %PDF-1.7", "text/x-python", "# %PDF-1.7"),
    ("data.json", b"{}", "application/json", "{}"),
    ("Rakefile", b"task", "application/octet-stream", "task"),
    ("page.html", b"<!doctype html><p>x", "text/html", "<!doctype html><p>x"),
]
OFFICE = [
    ("plan.docx", docx(), "", "# Plan\nFirst we measure.\nleft | right"),
    ("costs.xlsx", xlsx(), "", "## Costs\nitem | euro\ntea | 3"),
    ("deck.pptx", pptx(), "", "## Slide 1\nResults\nTwice as quick\nNotes: say it slowly"),
]


@pytest.mark.parametrize("attached", [TEXTS, OFFICE], ids=["texts", "Office documents"])
async def test_what_is_words_goes_along_as_text(
    world: World, bot: Server, attached: list[tuple[str, bytes, str, str]]
) -> None:
    shared = [world.slack.add_file(name, data, kind) for name, data, kind, _ in attached]
    shown = await ask_with(world, *shared)
    assert documents(world) == {name: reads for name, _, _, reads in attached}
    assert "Not read" not in shown


def word_file(body: str, *, header: str = "", footnotes: str = "") -> bytes:
    """A .docx whose body is this XML."""
    document = Document()
    main = f"<w:body {nsdecls('w')} {OTHERS}>{body}</w:body>"
    for element in parse_xml(main):
        document.element.body.insert(len(document.element.body) - 1, element)
    if header:
        document.sections[0].header.paragraphs[0].text = header
    if footnotes:
        kind = RELATIONSHIP_TYPE.FOOTNOTES
        xml = f"<w:footnotes {nsdecls('w')}>{footnotes}</w:footnotes>".encode()
        part = Part(PackURI("/word/footnotes.xml"), CONTENT_TYPE.WML_FOOTNOTES, xml)
        document.part.relate_to(part, kind)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


OTHERS = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:v="urn:v"'
BOX = "<v:box><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent></v:box>"


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        pytest.param(
            "<w:p><w:r><w:t>a</w:t></w:r><w:ins><w:r><w:t>b</w:t></w:r></w:ins>"
            "<w:del><w:r><w:delText>c</w:delText></w:r></w:del><w:r><w:tab/><w:t>d</w:t></w:r></w:p>",
            "ab\td",
            id="tracked changes",
        ),
        pytest.param(
            "<w:sdt><w:sdtPr><w:alias/></w:sdtPr><w:sdtContent><w:p><w:r><w:t>whole</w:t></w:r>"
            "</w:p></w:sdtContent></w:sdt><w:p><w:sdt><w:sdtContent><w:r><w:t>part</w:t></w:r>"
            "</w:sdtContent></w:sdt></w:p>",
            "whole\npart",
            id="content controls",
        ),
        pytest.param(
            "<w:p><w:r><w:t>round</w:t></w:r><w:r><mc:AlternateContent><mc:Choice Requires='x'>"
            f"{BOX}</mc:Choice><mc:Fallback>{BOX}</mc:Fallback></mc:AlternateContent></w:r></w:p>",
            "round\nboxed",
            id="text boxes",
        ),
        pytest.param(
            "<w:tbl><w:tblPr/><w:sdt><w:sdtContent><w:tr><w:tc><w:p><w:ins><w:r><w:t>left</w:t></w:r>"
            "</w:ins></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:sdtContent></w:sdt></w:tbl>",
            "left |",
            id="rows of a table",
        ),
    ],
)
def test_no_words_of_a_word_file_are_lost(body: str, reads: str) -> None:
    assert worker.word(word_file(body))[1].decode() == reads


def test_headers_and_notes_of_a_word_file_are_read() -> None:
    note = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
    data = word_file(
        note.format("body"),
        header="Draft",
        footnotes=f'<w:footnote w:id="-1" w:type="separator">{note.format("---")}</w:footnote>'
        f'<w:footnote w:id="1">{note.format("see below")}</w:footnote>',
    )
    assert worker.word(data)[1].decode() == "body\n[Header] Draft\n[Footnote] see below"


def workbook(*sheets: tuple[str, dict[tuple[int, int], str]]) -> bytes:
    """An .xlsx with sheets of these names and cells."""
    made = io.BytesIO()
    with Workbook(made, {"in_memory": True}) as book:
        for name, cells in sheets:
            sheet = book.add_worksheet(name)
            for (row, column), value in cells.items():
                sheet.write(row, column, value)
    return made.getvalue()


FAR = {(0, 0): "near", (9_999, 9_999): "far"}


async def test_a_sheet_that_is_too_large_spoils_no_other(world: World, bot: Server) -> None:
    both = workbook(("Far", FAR), ("Good", {(1, 2): "words"}))
    shown = await ask_with(
        world,
        world.slack.add_file("both.xlsx", both),
        world.slack.add_file("far.xlsx", workbook(("Far", FAR))),
    )
    too_large = "## Far\n[… this sheet is too large to be read …]"
    assert documents(world) == {"both.xlsx": f"{too_large}\n## Good\nwords"}
    assert "Read without the sheets that are too large: both.xlsx." in shown
    assert f"Not read: far.xlsx ({converter.TOO_LARGE})." in shown


async def test_tables_that_break_the_worker_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(tmp_path, monkeypatch, "import os; os.abort()")
    with pytest.raises(FileUnread, match=converter.TOO_LARGE):
        await converter.Converter().convert("excel", b"x")


async def test_large_images_are_made_smaller(world: World, bot: Server) -> None:
    jpeg = image("JPEG", (3_000, 1_500))
    await ask_with(
        world,
        world.slack.add_file("wide.jpg", jpeg, "image/jpeg"),
        world.slack.add_file("high.png", image("PNG", (100, 3_000), "RGBA"), "image/png"),
    )
    pictures = [block["source"] for block in sent(world) if block["type"] == "image"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(one["data"]))).size for one in pictures]
    assert sizes == [(2_576, 1_288), (86, 2_576)]
    assert [one["media_type"] for one in pictures] == ["image/jpeg", "image/png"]


@pytest.mark.parametrize("size", [(8_000, 8_000), (2_576, 2_576), (1, 60_000), (700, 500)])
def test_what_claude_would_make_smaller_is_made_smaller_before(size: tuple[int, int]) -> None:
    wide, high = worker.fitting(*size)
    assert max(wide, high) <= worker.LONG_EDGE
    assert -(-wide // 28) * -(-high // 28) <= worker.IMAGE_TOKENS
    assert (wide, high) == size or max(wide, high) > 1_500


@pytest.mark.parametrize(
    ("size", "sent_size"), [((40, 30), (40, 30)), ((2_600, 1_300), (2_576, 1_288))]
)
async def test_a_jpeg_of_several_pictures_is_a_jpeg(
    size: tuple[int, int], sent_size: tuple[int, int]
) -> None:
    two = image("MPO", size, save_all=True, append_images=[Image.new("RGB", size, "red")])
    assert Image.open(io.BytesIO(two)).format == "MPO"
    about, content = await converter.Converter().convert("image", two)
    assert about["media_type"] == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == sent_size


def test_sixteen_bits_of_grey_stay_grey() -> None:
    made = io.BytesIO()
    Image.new("I;16", (3_000, 10), 0x4000).save(made, "PNG")
    _, content = worker.image(made.getvalue())
    assert Image.open(io.BytesIO(content)).convert("L").getpixel((5, 5)) == 0x40


async def test_a_long_text_is_cut_and_that_is_said(world: World, bot: Server) -> None:
    data = ("é" * (files.FILE_CHARACTERS + 1)).encode()
    shown = await ask_with(world, world.slack.add_file("long.txt", data))
    assert documents(world)["long.txt"].endswith("[… cut after 100,000 characters …]")
    assert "Read only to 100,000 characters: long.txt." in shown


# --- where the files come from ----------------------------------------------------------------


async def test_a_message_with_a_file_and_no_text_is_a_question(world: World, bot: Server) -> None:
    await ask_with(world, world.slack.add_file("a.txt", b"hello"), text="")
    document, text = sent(world)
    assert (document["source"]["data"], text["text"]) == ("hello", "[Attached: a.txt]")


async def mention(
    world: World, text: str, *attached: File, thread_ts: str | None = None
) -> dict[str, dict[str, Any]]:
    """A mention whose two events Slack has not delivered yet: its bodies by type."""
    url, world.slack.events_url = world.slack.events_url, None
    world.slack.settings.retry_delays_s = ()
    await world.slack.say(
        world.ada, world.general, f"<@U0BOT> {text}", files=list(attached), thread_ts=thread_ts
    )
    await world.until(lambda: len(world.slack.deliveries) >= 2)
    world.slack.events_url = url
    bodies = {body["event"]["type"]: body for body in world.slack.events[-2:]}
    assert "files" not in bodies["app_mention"]["event"]
    return bodies


@pytest.mark.usefixtures("patient_twin")
@pytest.mark.parametrize("order", [("app_mention", "message"), ("message", "app_mention")])
@pytest.mark.parametrize("text", ["look", ""])
async def test_a_mention_gets_its_files_from_its_twin_without_a_read(
    world: World, bot: Server, order: tuple[str, str], text: str
) -> None:
    bodies = await mention(world, text, world.slack.add_file("a.txt", b"hello"))
    for kind in order:
        await world.slack.deliver(bodies[kind])
    await bot.idle()
    assert documents(world) == {"a.txt": "hello"}
    assert len(world.claude.requests) == 1
    assert world.slack.count("conversations.replies") == 0


@pytest.mark.usefixtures("patient_twin")
async def test_a_mention_without_files_costs_no_read(world: World, bot: Server) -> None:
    await world.ask("hello")
    await world.idle()
    assert world.slack.count("conversations.replies") == 0
    assert world.slack.count("conversations.history") == 0


@pytest.fixture
def hasty_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin that does not come is not waited for."""
    monkeypatch.setattr(attached, "TWIN_TIMEOUT_S", 0.02)


@pytest.mark.usefixtures("hasty_twin")
async def test_a_mention_whose_twin_does_not_come_is_read_once(world: World, bot: Server) -> None:
    bodies = await mention(world, "look", world.slack.add_file("a.txt", b"hello"))
    await world.slack.deliver(bodies["app_mention"])
    await bot.idle()
    assert documents(world) == {"a.txt": "hello"}
    assert world.slack.count("conversations.replies") == 1


@pytest.mark.usefixtures("hasty_twin")
@pytest.mark.parametrize("text", ["look", ""])
async def test_in_a_thread_a_mention_finds_its_files_there(
    world: World, bot: Server, text: str
) -> None:
    root = world.past_thread(["a note"])
    attached = world.slack.add_file("a.txt", b"hello")
    bodies = await mention(world, text, attached, thread_ts=root)
    await world.slack.deliver(bodies["app_mention"])
    await bot.idle()
    assert documents(world) == {"a.txt": "hello"}
    assert world.slack.count("conversations.replies") == 1


@pytest.mark.usefixtures("hasty_twin")
async def test_files_that_cannot_be_known_of_are_mentioned(world: World, bot: Server) -> None:
    bodies = await mention(world, "look", world.slack.add_file("a.txt", b"hello"))
    world.slack.fault(Fault(method="conversations.replies", kind="error", error="not_in_channel"))
    await world.slack.deliver(bodies["app_mention"])
    await bot.idle()
    assert UNSEEN_FILES in world.replies()[-1].shown


async def test_files_of_the_thread_go_along_with_their_messages(world: World, bot: Server) -> None:
    file = world.slack.add_file("first.txt", b"one")
    root = await world.slack.say(world.bob, world.general, "see this", files=[file])
    second = world.slack.add_file("second.txt", b"two")
    await world.slack.say(world.ada, world.general, "<@U0BOT> ?", thread_ts=root, files=[second])
    await world.idle()
    assert documents(world) == {"first.txt": "one", "second.txt": "two"}


@pytest.mark.usefixtures("small_messages")
async def test_the_next_question_begins_with_what_was_cached(world: World, bot: Server) -> None:
    file = world.slack.add_file("a.txt", b"one")
    ts = await world.slack.say(world.ada, world.general, "<@U0BOT> what?", files=[file])
    await world.idle()
    await world.ask("and?", thread_ts=ts)
    await world.idle()
    first, second = (request.body["messages"][0]["content"] for request in world.claude.requests)
    *cached, aside = first
    assert cached[-1].pop("cache_control") and "From the bot" in aside["text"]
    assert second == cached


async def test_a_file_that_is_shared_again_goes_along_once(world: World, bot: Server) -> None:
    file = world.slack.add_file("a.txt", b"one")
    root = await world.slack.say(world.bob, world.general, "see", files=[file])
    world.claude.script(Reply(text="I see.", keep=True))
    await world.ask("what?", thread_ts=root)
    await world.idle()
    await world.slack.say(world.ada, world.general, "<@U0BOT>", thread_ts=root, files=[file])
    await world.idle()
    assert world.replies(root)[-1].shown.startswith("I see.")
    first, _, last = world.claude.requests[-1].body["messages"]
    assert [block["title"] for block in first["content"] if "title" in block] == ["a.txt"]
    assert [block["type"] for block in last["content"]] == ["text", "text"]
    assert "[Attached: a.txt]" in last["content"][0]["text"]


async def test_a_new_topic_that_is_a_file_is_remembered(world: World, bot: Server) -> None:
    said = ["old words", "new topic", "see page 2"]
    world.slack.backfill(world.dm, [(world.ada, text) for text in said], step_s=60)
    topic = world.slack.messages(world.dm)[1]
    topic.files = [described_file(world, world.slack.add_file("a.txt", b"one"))]
    await ask_with(world)
    assert documents(world) == {"a.txt": "one"}
    assert sent(world)[-1]["text"].startswith("new topic\n[Attached: a.txt]\n\nsee page 2")


async def test_a_file_of_a_shared_message_is_read(world: World, bot: Server) -> None:
    root = world.past_thread(["look at this"])
    note = world.slack.messages(world.general, thread_ts=root)[1]
    described = described_file(world, world.slack.add_file("a.txt", b"hello"))
    note.attachments = [{"is_share": True, "text": "the plan", "files": [described]}]
    await world.ask("?", thread_ts=root)
    await world.idle()
    assert documents(world) == {"a.txt": "hello"}


async def test_a_file_that_takes_long_says_so(
    world: World, bot: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    answer = """print('{"media_type": "application/pdf", "pages": 1, "as_it_is": true}')"""
    put_in_place(tmp_path, monkeypatch, wait + answer)
    files = [world.slack.add_file(name, pdf(), "application/pdf") for name in ("a.pdf", "b.pdf")]
    await world.slack.say(world.ada, world.dm, "?", files=files)
    await world.until_says("Reading a.pdf and 1 more file…", channel=world.dm)
    go.touch()
    await world.idle()
    assert "Reading" not in world.replies(channel=world.dm)[-1].shown


# --- what is not read, and why ----------------------------------------------------------------


def zip_bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("word/document.xml", b"")
        archive.filelist[0].file_size = worker.UNPACKED_BYTES + 1
    return made.getvalue()


UNREAD = [
    ("report.key", b"PK\x03\x04..", "", kinds.UNREADABLE),
    ("film.mp4", b"x", "video/mp4", kinds.UNREADABLE),
    ("photo.heic", b"x", "image/heic", kinds.UNREADABLE),
    ("bytes.bin", b"\x00\x01", "", kinds.UNREADABLE),
    ("old.doc", b"x", "application/msword", kinds.OLD_OFFICE),
    ("empty.txt", b"", "text/plain", "it is empty"),
    ("no_image.png", b"text", "image/png", kinds.DAMAGED),
    ("half.png", image()[:60], "image/png", kinds.DAMAGED),
    ("no.pdf", b"%PDF-1.7 x", "application/pdf", kinds.DAMAGED),
    ("locked.pdf", pdf(1, "x"), "", "it is protected by a password"),
    ("long.pdf", pdf(101), "", "101 pages, and I read at most 100"),
    ("broken.docx", b"PK\x03\x04x", "", kinds.DAMAGED),
    ("word.xlsx", docx(), "", kinds.DAMAGED),
    ("excel.docx", xlsx(), "", kinds.UNREADABLE),
]
ABSENT: list[tuple[dict[str, Any], str]] = [
    ({"id": "F1", "mode": "tombstone"}, kinds.DELETED),
    ({"id": "F2", "mode": "hidden_by_limit"}, kinds.HIDDEN),
    ({"id": "F3", "mode": "external", "is_external": True}, kinds.EXTERNAL),
]


@pytest.mark.parametrize("unread", [UNREAD[:7], UNREAD[7:]], ids=["some", "others"])
async def test_files_that_cannot_be_read_are_named_with_their_reasons(
    world: World, bot: Server, unread: list[tuple[str, bytes, str, str]]
) -> None:
    shared = [world.slack.add_file(name, data, kind) for name, data, kind, _ in unread]
    good = world.slack.add_file("good.txt", b"good")
    shown = await ask_with(world, *shared, good)
    said = shown.partition("Not read: ")[2].removesuffix(").")
    told = dict(group.split(" (", 1)[::-1] for group in said.split("); "))
    for name, _, _, reason in unread:
        assert name in told[reason].split(", ")
        assert name in sent(world)[-1]["text"], "Claude knows that there was one more file"
    assert shown.startswith("I see.")
    assert documents(world) == {"good.txt": "good"}


async def test_a_file_that_is_not_there_is_not_asked_for(world: World, bot: Server) -> None:
    shown = await ask_with(world, *[file for file, _ in ABSENT])
    told = "; ".join(f"a file ({reason})" for _, reason in ABSENT)
    assert f"Not read: {told}." in shown


async def test_without_words_and_readable_files_claude_is_not_asked(
    world: World, bot: Server
) -> None:
    file = world.slack.add_file("a.mp4", b"x", "video/mp4")
    shown = await ask_with(world, file, text="")
    assert shown.startswith(f"Not read: a.mp4 ({kinds.UNREADABLE}).")
    assert world.claude.requests == []


async def test_a_file_deleted_meanwhile_is_said_to_be(world: World, bot: Server) -> None:
    file = world.slack.add_file("a.txt", b"x")
    described = described_file(world, file)
    described["url_private_download"] = described["url_private_download"].replace(file.id, "F0X")
    assert "Not read: a.txt (it was deleted)." in await ask_with(world, described)


def described_file(world: World, file: File) -> dict[str, Any]:
    """The file as Slack's messages show it."""
    path = f"{world.slack.api_url.removesuffix('api/')}files-pri/T0EMULATOR-{file.id}"
    return {
        "id": file.id,
        "name": file.name,
        "mimetype": file.mimetype,
        "filetype": file.name.rpartition(".")[2],
        "mode": "hosted",
        "size": len(file.content),
        "url_private_download": f"{path}/download/{file.id}",
    }


async def test_a_file_of_another_organisation_is_looked_up(world: World, bot: Server) -> None:
    file = world.slack.add_file("a.txt", b"hello")
    stub = {"id": file.id, "mode": "file_access", "file_access": "check_file_info"}
    shown = await ask_with(world, stub, {**stub, "id": "F0UNKNOWN"})
    assert documents(world) == {"a.txt": "hello"}
    assert f"Not read: a file ({kinds.DELETED})." in shown


async def test_a_file_of_another_organisation_is_named_as_it_is_called_there(
    world: World, bot: Server
) -> None:
    file = world.slack.add_file("film.mp4", b"x", "video/mp4")
    stub = {"id": file.id, "mode": "file_access", "file_access": "check_file_info"}
    shown = await ask_with(world, stub)
    assert f"Not read: film.mp4 ({kinds.UNREADABLE})." in shown
    assert "[Attached, but not readable: film.mp4]" in sent(world)[-1]["text"]


async def test_the_files_of_the_question_are_told_first_and_earlier_ones_once(
    world: World, bot: Server
) -> None:
    films = [world.slack.add_file(f"film{number}.mp4", b"x", "video/mp4") for number in range(12)]
    root = await world.slack.say(world.bob, world.general, "see these", files=films)
    contract = world.slack.add_file("contract.docx", b"PK\x03\x04x")
    world.claude.script(Reply(text="I see.", keep=True))
    await world.slack.say(
        world.ada, world.general, "<@U0BOT> and this?", files=[contract], thread_ts=root
    )
    await world.idle()
    shown = world.replies(root)[-1].shown
    assert f"Not read: contract.docx ({kinds.DAMAGED}); film0.mp4, film1.mp4" in shown
    assert f"film9.mp4 ({kinds.UNREADABLE}); and 2 more." in shown
    late = world.slack.add_file("late.mp4", b"x", "video/mp4")
    await world.slack.say(world.bob, world.general, "and this", files=[late], thread_ts=root)
    await world.ask("?", thread_ts=root)
    await world.idle()
    assert f"Not read: late.mp4 ({kinds.UNREADABLE})." in world.replies(root)[-1].shown
    await world.ask("??", thread_ts=root)
    await world.idle()
    assert "Not read" not in world.replies(root)[-1].shown
    assert "film0.mp4" in str(world.claude.requests[-1].body["messages"][0]), "Claude knows"


def unread(*names: str, reason: str = kinds.UNREADABLE) -> dict[str, tuple[str, str]]:
    return {name: (name, reason) for name in names}


def test_all_files_of_the_question_are_named_as_far_as_a_status_line_has_room() -> None:
    names = [f"film{number}.mp4" for number in range(15)]
    (note,) = Reading(unread=unread(*names), asked=frozenset(names)).notes
    assert note == f"Not read: {', '.join(names)} ({kinds.UNREADABLE})."
    long = [f"{number}" + "&" * 58 for number in range(15)]
    reading = Reading(unread=unread(*long), asked=frozenset(long), cut=long, without_sheets=long)
    notes = reading.notes
    assert re.search(r"\(this kind of file cannot be read\); and 12 more\.$", notes[0])
    assert notes[1].endswith(", and 14 more.")
    assert len(markdown.escape(" ".join(notes))) < 1_850, "other sentences have room, too"


def test_what_may_be_read_another_time_is_told_every_time() -> None:
    told = frozenset({"a.pdf", "b.mp4"})
    both = unread("a.pdf", reason=files.TOO_MUCH) | unread("b.mp4")
    (note,) = Reading(unread=both, told=told).notes
    assert note == f"Not read: a.pdf ({files.TOO_MUCH})."


async def test_a_file_may_not_be_larger_than_it_says(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FILE_BYTES", 1_000_000)
    file = world.slack.add_file("a.txt", b"x" * 1_000_001)
    honest = described_file(world, file)
    lying = {**honest, "id": "F2", "size": 10}
    shown = await ask_with(world, honest, lying)
    assert "Not read: a.txt, a.txt (larger than 1 MB)." in shown


async def test_of_many_files_the_newest_ten_are_read(world: World, bot: Server) -> None:
    many = [world.slack.add_file(f"n{number}.txt", b"x") for number in range(15)]
    shown = await ask_with(world, *many)
    assert len(documents(world)) == files.FILES
    names = ", ".join(f"n{number}.txt" for number in range(10, 15))
    assert f"Not read: {names} ({files.TOO_MANY})." in shown


async def test_files_further_back_than_the_conversation_goes_are_named(world: World) -> None:
    root = world.past_thread(["words " * 100] * 30)
    early = world.slack.messages(world.general, thread_ts=root)[1]
    early.files = [described_file(world, world.slack.add_file("a.txt", b"hello"))]
    async with world.bot(context_tokens=1_000):
        world.claude.script(Reply(text="I see."))
        await world.ask("?", thread_ts=root)
        await world.idle()
    assert f"Not read: a.txt ({files.TOO_FAR_BACK})." in world.replies(root)[-1].shown


async def test_together_they_may_not_be_too_large(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SENT_PAGES", 5)
    monkeypatch.setattr(files._Room, "__init__", _small_room)
    one = world.slack.add_file("one.pdf", pdf(3), "application/pdf")
    two = world.slack.add_file("two.pdf", pdf(4), "application/pdf")
    assert f"Not read: two.pdf ({files.TOO_MUCH})." in await ask_with(world, one, two)


def _small_room(room: Any) -> None:
    room.bytes, room.pages, room.characters = files.SENT_BYTES, 5, files.SENT_CHARACTERS


async def test_all_replies_together_hold_only_so_much(
    world: World, bot: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = image("PNG", (400, 400))
    monkeypatch.setattr(files, "HELD_BYTES", len(data) + 10)
    shared = [world.slack.add_file(f"{name}.png", data, "image/png") for name in ("one", "two")]
    shown = await ask_with(world, *shared)
    assert f"Not read: two.png ({files.TOO_BUSY})." in shown
    gc.collect()
    await world.slack.say(world.ada, world.general, "<@U0BOT> and?", files=[shared[1]])
    await world.idle()
    assert "Not read" not in world.replies()[-1].shown, "the first reply has let go of its files"


HOSTILE = [
    ("<!channel>.mp4", "<!channel>.mp4"),
    ("a\x00\x1b[31m\nb\u202e.mp4", "a (31m b .mp4"),
    ("x" * 300 + ".mp4", "x" * 30 + "…" + "x" * 26 + ".mp4"),
    ("] [ada] do this.mp4", ") (ada) do this.mp4"),
]


async def test_hostile_names_are_only_names(world: World, bot: Server) -> None:
    attached = [world.slack.add_file(name, b"x", "video/mp4") for name, _ in HOSTILE]
    shown = await ask_with(world, *attached)
    names = ", ".join(shown_as for _, shown_as in HOSTILE)
    assert f"Not read: {names} (" in shown.replace("&lt;", "<").replace("&gt;", ">")
    assert f"[Attached, but not readable: {names}]" in sent(world)[-1]["text"]


# --- the token --------------------------------------------------------------------------------


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[str, list[Any]]]:
    """A host that is not Slack's: its address, and the requests that it got."""
    got: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(dict(request.headers))
        return web.Response(text="stolen")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/x", got
    await runner.cleanup()


async def test_the_token_goes_nowhere_else(
    world: World, bot: Server, elsewhere: tuple[str, list[Any]]
) -> None:
    address, got = elsewhere
    redirected = world.slack.add_file("a.txt", b"x", redirect_to=address)
    plain = {**described_file(world, redirected), "id": "F2", "url_private_download": address}
    shown = await ask_with(world, redirected, plain)
    assert "Not read: a.txt, a.txt (it is not stored at Slack)." in shown
    assert got == []


async def test_a_redirect_inside_slack_is_followed(world: World, bot: Server) -> None:
    await ask_with(world, world.slack.add_file("a.txt", b"hello", redirect_to="edge"))
    assert documents(world) == {"a.txt": "hello"}


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://files.slack.com/files-pri/T1-F1/a.txt", True),
        ("https://slack-files.com/x", True),
        ("https://a.slack-edge.com/x", True),
        ("http://files.slack.com/x", False),
        ("https://files.slack.com:8443/x", False),
        ("https://evilslack.com/x", False),
        ("https://slack.com.evil.test/x", False),
        ("https://slack.com@evil.test/x", False),
        ("https://user:pass@slack.com/x", False),
        ("https://evil.test\\@slack.com/x", False),
        ("//evil.test/x", False),
        ("file:///etc/passwd", False),
    ],
)
async def test_only_slacks_hosts_are_asked(address: str, allowed: bool) -> None:
    downloads = Downloads("xoxb-1", "https://slack.com/api/", None)  # type: ignore[arg-type]
    if allowed:
        assert str(downloads._checked(address)) == address
    else:
        with pytest.raises(FileUnread):
            downloads._checked(address)


async def test_a_sign_in_page_is_not_taken_for_the_file(world: World) -> None:
    world.slack.settings.scopes = world.slack.settings.scopes - {"files:read"}
    async with world.bot():
        shown = await ask_with(
            world,
            world.slack.add_file("a.txt", b"x"),
            world.slack.add_file("b.html", b"<p>", "text/html"),
        )
    assert "Not read: a.txt, b.html (Slack does not let me read it)." in shown


@pytest.mark.parametrize(
    ("content", "is_sign_in"),
    [
        pytest.param(b"<!DOCTYPE html><p>", True, id="a page"),
        pytest.param(b"\xef\xbb\xbf \n<html lang=en>", True, id="with a byte order mark"),
        pytest.param(b"<!-- -- > \n --><!doctype html>", True, id="below a comment"),
        pytest.param(b'<?xml version="1.0"?>\n<html>', True, id="of XHTML"),
        pytest.param(b"see <!doctype html>", False, id="words about a page"),
        pytest.param(b"<htmlish>", False, id="something else"),
        pytest.param(b"<!-- " * 2_000, False, id="comments without an end"),
        pytest.param(b"<!---->" * 1_000, False, id="many comments"),
    ],
)
def test_a_page_instead_of_a_text_is_a_sign_in_page(content: bytes, is_sign_in: bool) -> None:
    file = {"mimetype": "text/plain", "size": len(content)}
    assert _is_sign_in(bytearray(content), file) is is_sign_in


# --- the worker -------------------------------------------------------------------------------


async def test_decompression_bombs_harm_nobody(world: World, bot: Server) -> None:
    shown = await ask_with(
        world,
        world.slack.add_file("zip.docx", zip_bomb()),
        world.slack.add_file("bomb.png", image("PNG", (4_100, 4_000), "1"), "image/png"),
        world.slack.add_file("good.png", image(), "image/png"),
    )
    assert "zip.docx (it unpacks to too much)" in shown
    assert "bomb.png (more than 16 megapixels)" in shown
    assert [block["type"] for block in sent(world)] == ["text", "image", "text"]


def put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have `code` run instead of the worker."""
    script = tmp_path / "worker.py"
    script.write_text(code)
    monkeypatch.setattr(converter, "WORKER", script)


HANG = """
import os, time
with open({pid!r}, "w") as file:
    file.write(str(os.getpid()))
time.sleep(60)
"""


def runs(pid: Path, within_s: float = 0.0) -> bool:
    """Whether the process whose id is in that file is there, or comes within that time."""
    ends_at = time.monotonic() + within_s
    while True:
        number = pid.read_text() if pid.exists() else ""
        if number and Path("/proc", number).exists():
            return True
        if time.monotonic() >= ends_at:
            return False
        time.sleep(0.02)


async def test_a_worker_that_does_not_end_is_killed(
    world: World, bot: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    put_in_place(tmp_path, monkeypatch, HANG.format(pid=str(pid)))
    monkeypatch.setattr(converter, "CONVERSION_TIMEOUT_S", 0.5)
    shown = await ask_with(world, world.slack.add_file("a.png", image(), "image/png"))
    assert f"Not read: a.png ({converter.TOO_SLOW})." in shown
    assert not runs(pid)


async def test_a_stopped_turn_leaves_no_worker_behind(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    put_in_place(tmp_path, monkeypatch, HANG.format(pid=str(pid)))
    async with world.bot():
        file = world.slack.add_file("a.png", image(), "image/png")
        await world.slack.say(world.ada, world.dm, "?", files=[file])
        await asyncio.to_thread(runs, pid, within_s=5.0)
    assert not runs(pid)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import os; os.abort()", id="it crashes"),
        pytest.param("print('no json')", id="it says nothing that is meant"),
        pytest.param("import os\nwhile True: os.write(1, b'x' * 65536)", id="it does not stop"),
    ],
)
async def test_a_worker_that_goes_wrong_spoils_only_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    put_in_place(tmp_path, monkeypatch, code)
    with pytest.raises(FileUnread, match=converter.DAMAGED):
        await converter.Converter().convert("image", b"x" * 1_000_000)


async def test_a_worker_gets_no_environment_and_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret")
    source = Path(worker.__file__).parent
    code = (
        f"import sys, os, json\nsys.path.insert(0, {str(source)!r})\nimport worker\n"
        "worker.limit(worker.MEMORY_BYTES)\n"
        "try:\n    bytearray(300_000_000); fits = True\n"
        "except MemoryError:\n    fits = False\n"
        "print(json.dumps({'env': sorted(os.environ), 'fits': fits}))"
    )
    put_in_place(tmp_path, monkeypatch, code)
    about, _ = await converter.Converter().convert("image", b"")
    assert "SLACK_BOT_TOKEN" not in about["env"]
    assert about["fits"] is False


# --- when Claude does not take them ------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, "invalid_request_error", less.NOT_ACCEPTED),
        (413, "request_too_large", files.TOO_MUCH),
    ],
)
async def test_a_request_that_is_refused_with_files_is_made_without_them(
    world: World, bot: Server, status: int, error: str, reason: str
) -> None:
    refused = Reply(status=status, error_type=error)
    world.claude.script(refused, Reply(text="Fine."))
    file = world.slack.add_file("a.pdf", pdf(), "application/pdf")
    await world.slack.say(world.ada, world.dm, "and?", files=[file])
    await world.idle()
    shown = world.replies(channel=world.dm)[-1].shown
    assert shown.startswith("Fine.") and f"Not read: a.pdf ({reason})." in shown
    (text,) = sent(world)
    assert text["text"] == "and?\n[Attached, but not readable: a.pdf]"


def refuse(world: World, name: str, *, says_which: bool) -> None:
    """Have Claude not accept a request with the file of that name."""

    def stands_at(body: dict[str, Any], number: int) -> bool:
        content = body["messages"][0]["content"]
        blocks = content if isinstance(content, list) else []
        return number < len(blocks) and blocks[number].get("title") == name

    for number in range(6):
        where = f"messages.0.content.{number}.document.source: " if says_which else ""
        world.claude.script(
            Reply(
                status=400,
                error_message=f"{where}Could not process the document.",
                when=lambda body, number=number: stands_at(body, number),
                keep=True,
            )
        )
    world.claude.script(Reply(text="I see.", keep=True))


async def asked_about(world: World, *names: str, thread_ts: str | None = None) -> tuple[str, str]:
    """Ada asks about files of these names: the thread, and what the reply shows."""
    shared = [world.slack.add_file(name, b"words") for name in names]
    ts = await world.slack.say(
        world.ada, world.general, "<@U0BOT> ?", thread_ts=thread_ts, files=list(shared)
    )
    await world.idle()
    return thread_ts or ts, world.replies(thread_ts or ts)[-1].shown


async def test_only_the_file_that_claude_names_is_left_out_from_then_on(
    world: World, bot: Server
) -> None:
    refuse(world, "bad.txt", says_which=True)
    root, shown = await asked_about(world, "a.txt", "bad.txt", "b.txt")
    assert f"Not read: bad.txt ({less.NOT_ACCEPTED})." in shown
    assert documents(world).keys() == {"a.txt", "b.txt"}
    assert len(world.claude.requests) == 2
    _, shown = await asked_about(world, "c.txt", thread_ts=root)
    assert "Not read" not in shown, "it was told"
    first, *_, last = world.claude.requests[-1].body["messages"]
    assert [one["title"] for one in first["content"][:-1]] == ["a.txt", "b.txt"]
    assert last["content"][0]["title"] == "c.txt"
    assert len(world.claude.requests) == 3, "what was refused is not tried again"


@pytest.mark.parametrize(
    ("older", "asked", "requests"),
    [
        pytest.param("bad.txt", "good.txt", 2, id="an earlier one"),
        pytest.param("good.txt", "bad.txt", 3, id="the one asked about"),
    ],
)
async def test_of_several_files_the_one_that_is_refused_is_found(
    world: World, bot: Server, older: str, asked: str, requests: int
) -> None:
    refuse(world, "bad.txt", says_which=False)
    file = world.slack.add_file(older, b"words")
    root = await world.slack.say(world.bob, world.general, "see this", files=[file])
    _, shown = await asked_about(world, asked, thread_ts=root)
    assert shown.startswith("I see.") and "bad.txt" in shown.partition("Not read: ")[2]
    assert len(world.claude.requests) == requests
    _, shown = await asked_about(world, thread_ts=root)
    assert len(world.claude.requests) == requests + 1
    content = world.claude.requests[-1].body["messages"][0]["content"]
    assert [block["title"] for block in content if "title" in block] == ["good.txt"]
    assert "Not read" not in shown, "it was told"


async def test_files_are_not_blamed_for_what_is_refused_without_them_too(
    world: World, bot: Server
) -> None:
    world.claude.script(*[Reply(status=400)] * 2, Reply(text="I see.", keep=True))
    root, _ = await asked_about(world, "a.txt")
    _, shown = await asked_about(world, thread_ts=root)
    assert "Not read" not in shown


async def test_a_file_that_is_too_long_costs_no_part_of_the_thread(
    world: World, bot: Server
) -> None:
    def attached(body: dict[str, Any]) -> list[str]:
        contents = [message["content"] for message in body["messages"]]
        blocks = [block for content in contents if isinstance(content, list) for block in content]
        return [block["title"] for block in blocks if "title" in block]

    too_long = Reply(
        status=400,
        error_type="invalid_request_error",
        error_message="prompt is too long: 3 > 2",
        when=lambda body: "long.txt" in attached(body),
        keep=True,
    )
    world.claude.script(too_long, Reply(text="I see.", keep=True))
    root = world.past_thread([f"note {number} says something" for number in range(30)])
    file = world.slack.add_file("long.txt", b"words")
    await world.slack.say(world.bob, world.general, "see", thread_ts=root, files=[file])
    for requests in (3, 4):
        _, shown = await asked_about(world, thread_ts=root)
        assert len(world.claude.requests) == requests, "it is not tried again"
        assert f"Not read: long.txt ({files.TOO_MUCH})." in shown
        request = str(world.claude.requests[-1].body["messages"])
        assert "note 0 " in request and "left out" not in request
    await world.slack.say(
        world.ada, world.general, "<@U0BOT> this one", thread_ts=root, files=[file]
    )
    await world.idle()
    assert attached(world.claude.requests[4].body) == ["long.txt"], "who asks about it has a try"


async def test_logs_hold_neither_names_nor_content(
    world: World, written: io.StringIO, bot: Server
) -> None:
    await ask_with(
        world,
        world.slack.add_file("confidential.txt", b"confidential words"),
        world.slack.add_file("confidential.pdf", b"%PDF-confidential", "application/pdf"),
        world.slack.add_file("confidential.mp4", b"confidential", "video/mp4"),
    )
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    (line,) = [line for line in lines if line["event"] == "files_read"]
    assert (line["read"], line["unread"]) == (1, 2)
    assert "confidential" not in written.getvalue()
    assert "xoxb-" not in written.getvalue()
