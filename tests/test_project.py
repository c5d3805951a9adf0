"""The files around the code say what the code does."""

from __future__ import annotations

import ast
import io
import itertools
import os
import re
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from slack_sdk.web.async_client import AsyncWebClient

import bot
from bot import cli, config
from bot.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PAGES = ["README.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]

# --- manifest.yml -----------------------------------------------------------------------------

# docs.slack.dev/reference/app-manifest, as far as the manifest may need it; Slack refuses others.
KEYS: dict[str, set[str]] = {
    "": {"_metadata", "display_information", "features", "oauth_config", "settings"},
    "_metadata": {"schema_version", "min_version", "major_version", "minor_version"},
    "display_information": {"name", "description", "long_description", "background_color"},
    "features": {
        *("app_home", "bot_user", "agent_view", "slash_commands", "shortcuts", "unfurl_domains"),
    },
    "features.app_home": {
        *("home_tab_enabled", "messages_tab_enabled", "messages_tab_read_only_enabled"),
    },
    "features.bot_user": {"display_name", "always_online"},
    "features.agent_view": {"agent_description", "suggested_prompts", "actions"},
    "features.agent_view.suggested_prompts[]": {"title", "message"},
    "oauth_config": {"redirect_urls", "scopes", "token_management_enabled", "pkce_enabled"},
    "oauth_config.scopes": {"bot", "user", "bot_optional", "user_optional"},
    "settings": {
        *("event_subscriptions", "interactivity", "socket_mode_enabled", "org_deploy_enabled"),
        *("token_rotation_enabled", "allowed_ip_address_ranges", "is_hosted", "function_runtime"),
        "is_mcp_enabled",
    },
    "settings.interactivity": {"is_enabled", "request_url", "message_menu_options_url"},
    "settings.event_subscriptions": {
        *("request_url", "bot_events", "user_events", "metadata_subscriptions"),
    },
}
LENGTHS = {
    "display_information.name": (1, 35),
    "display_information.description": (1, 140),
    "display_information.long_description": (175, 4_000),
    "display_information.background_color": (4, 7),
    "features.bot_user.display_name": (1, 80),
    "features.agent_view.agent_description": (1, 300),
}
COUNTS = {
    "features.agent_view.suggested_prompts": 4,
    "oauth_config.scopes.bot": 255,
    "settings.event_subscriptions.bot_events": 100,
}

HISTORY = {"channels:history", "groups:history", "im:history", "mpim:history"}
"""Reading what was said: public channels, private ones, direct messages, group messages."""

# Feature → scopes (docs.slack.dev/reference/scopes and each method's page).
METHOD_SCOPES: dict[str, set[str]] = {
    "auth_test": set(),
    "apps_connections_open": set(),  # an app-level token's own scope, outside the manifest
    "chat_appendStream": {"chat:write"},
    "chat_postMessage": {"chat:write"},
    "chat_startStream": {"chat:write"},
    "chat_stopStream": {"chat:write"},
    "chat_postEphemeral": {"chat:write"},
    "chat_update": {"chat:write"},
    "chat_delete": {"chat:write"},
    "assistant_threads_setStatus": {"chat:write", "assistant:write"},
    "conversations_replies": HISTORY,
    "conversations_history": HISTORY,
    "conversations_info": {"channels:read", "groups:read"},
    "users_info": {"users:read"},
    "files_info": {"files:read"},
    "files_upload_v2": {"files:write"},
}
EVENT_SCOPES: dict[str, set[str]] = {
    "agent_session_stopped": set(),
    "app_home_opened": set(),
    "app_mention": {"app_mentions:read"},
    "message.channels": {"channels:history"},
    "message.groups": {"groups:history"},
    "message.im": {"im:history"},
    "message.mpim": {"mpim:history"},
    "reaction_added": {"reactions:read"},
}
VIEW_SCOPES: dict[str, set[str]] = {"agent_view": {"assistant:write"}}


@pytest.fixture
def manifest() -> dict[str, Any]:
    loaded = yaml.safe_load(read("manifest.yml"))
    assert isinstance(loaded, dict)
    return loaded


def nodes(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value below `value` with its path; items of a list share the path `list[]`."""
    yield path, value
    if isinstance(value, dict):
        for key, below in value.items():
            yield from nodes(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item, f"{path}[]")


def called_methods() -> set[str]:
    """Slack's methods that the bot calls, as the SDK names them."""
    found: set[str] = set()
    for path in (ROOT / "bot").rglob("*.py"):
        if "playground" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and re.match(r"[a-z]+_\w", node.attr):
                is_method = callable(getattr(AsyncWebClient, node.attr, None))
                found |= {node.attr} if is_method else set()
    return found


def test_the_manifest_has_only_keys_that_slack_knows(manifest: dict[str, Any]) -> None:
    for path, value in nodes(manifest):
        if isinstance(value, dict):
            assert set(value) <= KEYS[path], path


def test_the_manifest_keeps_to_slacks_lengths(manifest: dict[str, Any]) -> None:
    found = dict(nodes(manifest))
    for path, (least, most) in LENGTHS.items():
        assert least <= len(str(found[path])) <= most, path
    for path, most in COUNTS.items():
        value = found[path]
        assert isinstance(value, list)
        assert 0 < len(value) <= most, path
    assert re.fullmatch(
        r"#[0-9a-f]{3}(?:[0-9a-f]{3})?", manifest["display_information"]["background_color"]
    )
    for prompt in manifest["features"]["agent_view"]["suggested_prompts"]:
        assert prompt["title"] and prompt["message"]


def test_the_manifest_works_as_it_is(manifest: dict[str, Any]) -> None:
    """Socket Mode needs no address; direct messages need a Messages tab that takes input."""
    settings, home = manifest["settings"], manifest["features"]["app_home"]
    assert settings["socket_mode_enabled"] or "request_url" in settings["event_subscriptions"]
    assert settings["interactivity"]["is_enabled"], "the buttons"
    assert home["messages_tab_enabled"] and not home["messages_tab_read_only_enabled"]
    assert not settings["token_rotation_enabled"]
    assert not settings["org_deploy_enabled"]


def test_the_manifest_subscribes_to_questions_and_deletions(manifest: dict[str, Any]) -> None:
    assert set(manifest["settings"]["event_subscriptions"]["bot_events"]) == set(EVENT_SCOPES)


def test_the_manifest_asks_for_the_scopes_that_are_used_and_no_others(
    manifest: dict[str, Any],
) -> None:
    used = set[str]()
    for method in called_methods():
        used |= METHOD_SCOPES[method]  # a new method: add its scopes there and to the manifest
    for event in manifest["settings"]["event_subscriptions"]["bot_events"]:
        used |= EVENT_SCOPES[event]
    for feature, scopes in VIEW_SCOPES.items():
        used |= scopes if feature in manifest["features"] else set()
    asked = manifest["oauth_config"]["scopes"]["bot"]
    assert sorted(used) == asked
    assert set(manifest["oauth_config"]["scopes"]) == {"bot"}


def test_the_table_of_methods_has_only_those_that_are_called() -> None:
    assert called_methods() == set(METHOD_SCOPES)


def test_every_scope_says_which_feature_needs_it(manifest: dict[str, Any]) -> None:
    for scope in manifest["oauth_config"]["scopes"]["bot"]:
        assert re.search(rf"^ +- {re.escape(scope)} # \w", read("manifest.yml"), re.M), scope


# --- .env.example and the README's table ------------------------------------------------------

REQUIRED = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "secret",
    "ANTHROPIC_API_KEY": "key",
}


class Recorder(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def settings_read() -> list[str]:
    recorder = Recorder()
    with pytest.raises(ConfigError):
        config.read(recorder)
    return recorder.asked


def documented() -> dict[str, str]:
    """Setting → default, as .env.example has them."""
    opened = re.sub(r"^#([A-Z][A-Z_]+=)", r"\1", read(".env.example"), flags=re.M)
    return {name: value or "" for name, value in dotenv_values(stream=io.StringIO(opened)).items()}


def test_env_example_names_exactly_the_settings_that_are_read() -> None:
    names = re.findall(r"^#?([A-Z][A-Z_]+)=", read(".env.example"), re.M)
    assert sorted(names) == sorted(settings_read())


def test_env_example_explains_every_setting() -> None:
    lines = read(".env.example").splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"#?[A-Z][A-Z_]+=", line):
            assert before.startswith("# "), line


def test_env_example_shows_the_true_defaults() -> None:
    defaults = config.read(REQUIRED)
    assert config.read({**documented(), **REQUIRED}) == defaults
    for name, value in documented().items():
        default = getattr(defaults, name.lower())
        hidden = name not in REQUIRED and default not in (None, frozenset()) and not value
        assert not hidden, f"{name} has a default that is not shown"


def test_env_example_copied_as_it_is_lacks_only_the_secrets() -> None:
    copied = dotenv_values(stream=io.StringIO(read(".env.example")))
    with pytest.raises(ConfigError) as raised:
        config.read({name: value or "" for name, value in copied.items()})
    assert len(raised.value.problems) == 3


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", read("README.md"), re.M)
    assert sorted(name for name, _ in rows) == sorted(settings_read())
    shown = {name: value.strip("` ") for name, value in rows}
    for name, value in documented().items():
        if value and name != "SYSTEM_PROMPT":
            assert shown[name].split("`")[0] == value, name


# --- README, changelog, docs ------------------------------------------------------------------


def code_in(text: str) -> str:
    """What a page shows as code: inline and fenced."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.S))


@pytest.mark.parametrize("name", [*PAGES, ".ci/run"])
def test_every_make_target_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", read("Makefile"), re.M))
    text = read(name) if name == ".ci/run" else code_in(read(name))
    named = set(re.findall(r"\bmake (?:--\S+ )*([a-z][\w-]*)", text))
    assert named <= targets
    assert named or name not in ("README.md", ".ci/run")


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_bot_that_is_named_exists(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in set(re.findall(r"python -m bot ([a-z]+)", code_in(read(name)))):
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        assert left.value.code == 0, command
    capsys.readouterr()


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    text = read(name)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_exists(name: str) -> None:
    for path in re.findall(r"`((?:bot|tests|docs)/[\w/.]*)`", read(name)):
        assert (ROOT / path).exists(), path


def test_pictures_need_nothing_from_elsewhere() -> None:
    pictures = list((ROOT / "docs").glob("*.svg"))
    assert pictures
    for picture in pictures:
        pages = [read("README.md"), *(page.read_text() for page in (ROOT / "docs").glob("*.md"))]
        assert any(picture.name in page for page in pages), picture.name
        ElementTree.parse(picture)
        text = re.sub(r'xmlns="[^"]*"', "", picture.read_text(encoding="utf-8"))
        assert not re.search(r"://|@import|url\(|<script", text)


# --- what is installed and run ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_with_hashes_and_name_no_server(name: str) -> None:
    lines = [line for line in read(name).splitlines() if line and not line.lstrip().startswith("#")]
    for line in lines:
        assert re.match(r"[a-z0-9][\w.-]*==\S+ \\$|    --hash=sha256:[0-9a-f]{64}", line), line
    for before, line in itertools.pairwise(lines):
        if before.endswith("\\"):
            assert line.startswith("    --hash="), before
    assert "://" not in read(name)


def test_requirements_hold_every_dependency() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    pinned = set(re.findall(r"^([a-z0-9][\w.-]*)==", read("requirements.txt"), re.M))
    assert {re.split(r"[\[<>=]", wanted)[0] for wanted in project["dependencies"]} <= pinned
    assert project["version"] == bot.__version__


def test_hosts_start_the_bot() -> None:
    entries = dict(line.split(": ", 1) for line in read("Procfile").splitlines())
    assert entries == {"web": "python -m bot run", "worker": "python -m bot run"}
    assert read(".python-version").strip() == "3.11"


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=False).returncode == 0


# Put together here, so that this file does not hold what it looks for.
FOREIGN = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+|tmp/l" + r"ab)/",
            r"py" + r"pi\.org|python" + r"hosted\.org|npm" + r"js\.(?:org|com)|deb" + r"ian\.org",
            r"--(?:extra-)?ind" + r"ex-url",
        ]
    )
)


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    found: list[str] = []
    for name in filter(None, listed.split("\0")):
        if not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []
