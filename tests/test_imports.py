"""Imports point one way: a part uses only lower floors, and each SDK has its border."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Drawn in docs/architecture.md. A package (`turns/`) is one part.
FLOORS = (
    {"turn", "clock", "errors", "logs", "metrics"},
    {"config", "environment", "markdown"},
    {"blocks", "channels", "slack", "store"},
    {"pacing", "files", "claude"},
    {"conversation", "live_message", "policy"},
    {"turns"},
    {"listeners"},
    {"app", "sockets"},
    {"serve", "playground"},
    {"cli"},
    {"__main__"},
)
LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}

# Where other people's types may be seen. Inside, we pass our own.
BORDER = {
    "anthropic": {"claude"},
    "httpx2": {"claude"},
    "slack_sdk": {"slack", "app", "sockets", "serve", "store"},
    "slack_bolt": {"listeners", "app", "sockets", "serve"},
    "sqlite3": {"store"},
    "redis": {"store"},
    "aiohttp": {"slack", "app", "sockets", "serve", "playground"},
    "yarl": {"slack"},
    "PIL": {"files"},
    "pypdf": {"files"},
    "docx": {"files"},
    "pptx": {"files"},
    "python_calamine": {"files"},
    "prometheus_client": {"metrics"},
    "dotenv": {"environment"},
    "markdown_it": {"playground"},
    "rich": {"playground"},
}

# A fake that shared the bot's limits or text code would prove nothing.
SHARED_WITH_THE_FAKES = {"clock", "environment", "logs"}


def modules() -> dict[str, Path]:
    """Every module of the bot by its dotted name."""
    found: dict[str, Path] = {}
    for path in sorted((ROOT / "bot").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def part_of(module: str) -> str:
    """`bot.turns.run` → `turns`; the package `bot` itself is no part."""
    return module.split(".")[1] if "." in module else ""


def imports(module: str, path: Path) -> Iterator[str]:
    """The dotted names that a module imports, anywhere in it, also for type checking only."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in MODULES else base


@cache
def all_imports() -> dict[str, set[str]]:
    return {module: set(imports(module, path)) for module, path in MODULES.items()}


@cache
def inner() -> list[tuple[str, str]]:
    """Which module imports which of another part."""
    return [
        (module, other)
        for module, others in all_imports().items()
        for other in sorted(others)
        if other.split(".")[0] == "bot" and part_of(other) not in ("", part_of(module))
    ]


def test_every_part_has_a_floor_and_every_floor_only_parts_that_exist() -> None:
    assert set(LEVEL) == {part_of(module) for module in MODULES} - {""}


def test_the_package_itself_imports_nothing() -> None:
    assert all_imports()["bot"] <= {"__future__"}


def test_imports_only_point_downwards() -> None:
    upwards = [
        f"{module} (floor {LEVEL[part_of(module)]}) imports {other} (floor {LEVEL[part_of(other)]})"
        for module, other in inner()
        if LEVEL[part_of(other)] >= LEVEL[part_of(module)]
    ]
    assert upwards == []


@pytest.mark.parametrize("sdk", BORDER)
def test_an_sdk_stays_at_its_border(sdk: str) -> None:
    beyond = [
        module
        for module, others in all_imports().items()
        if part_of(module) not in BORDER[sdk]
        and any(other.split(".")[0] == sdk for other in others)
    ]
    assert beyond == []


def test_everything_that_is_imported_is_ours_the_standard_library_or_has_a_border() -> None:
    known = {"bot", *BORDER, *sys.stdlib_module_names}
    imported = {other.split(".")[0] for others in all_imports().values() for other in others}
    assert imported - known == set()


def test_the_fakes_share_no_code_with_the_bot() -> None:
    shared = [
        f"{module} imports {other}"
        for module, other in inner()
        if part_of(module) == "playground" and part_of(other) not in SHARED_WITH_THE_FAKES
    ]
    assert shared == []


def test_only_the_command_line_knows_the_playground() -> None:
    assert {module for module, other in inner() if part_of(other) == "playground"} <= {"bot.cli"}


def test_the_drawing_in_the_docs_shows_these_floors() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^ *(\d+) +([a-z_]+(?: · [a-z_]+)*)(?: {2,}|$)", text, re.M)
    floors = {int(number): set(parts.split(" · ")) for number, parts in drawn}
    assert floors == dict(enumerate(FLOORS))


IMPORT_EACH_ALONE = """
import gc, importlib, sys
gc.disable()
names = sys.argv[1:]
for name in names:  # loads the SDKs, once
    importlib.import_module(name)
loaded_by = {}
for name in names:
    depth = 3 if name.startswith("bot.playground.") else 2
    part = ".".join(name.split(".")[:depth])
    if name in loaded_by.get(part, ()):
        continue  # whoever imports it alone imports its package before it, which imports it
    for loaded in [loaded for loaded in sys.modules if f"{loaded}.".startswith(f"{part}.")]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: {error}")
    if name == part:
        loaded_by[part] = {loaded for loaded in sys.modules if loaded.startswith(f"{part}.")}
"""


def test_every_module_can_be_imported_alone() -> None:
    """An import cycle shows only for some orders, so each module is once the first of its part:
    no part imports from one above it."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH_ALONE, *sorted(MODULES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
