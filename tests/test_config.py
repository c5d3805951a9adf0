"""Settings: read once, every problem reported together, secrets hidden."""

from __future__ import annotations

import pytest

from bot import config
from bot.errors import ConfigError

HTTP = {
    "SLACK_BOT_TOKEN": "xoxb-secret",
    "SLACK_SIGNING_SECRET": "signing-secret",
    "ANTHROPIC_API_KEY": "sk-ant-secret",
}


def problems(**changes: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.read({**HTTP, **changes})
    return caught.value.problems


def test_the_three_secrets_are_enough_for_http_mode() -> None:
    settings = config.read(HTTP)
    assert settings.port == 3000
    assert not settings.socket_mode


def test_an_app_token_means_socket_mode_without_a_port() -> None:
    settings = config.read({**HTTP, "SLACK_APP_TOKEN": "xapp-1"})
    assert settings.socket_mode
    assert settings.port is None


def test_a_port_is_bound_in_socket_mode_when_it_is_set() -> None:
    assert config.read({**HTTP, "SLACK_APP_TOKEN": "xapp-1", "PORT": "5000"}).port == 5000


def test_nothing_set_names_everything_that_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        config.read({})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("SLACK_BOT_TOKEN", "", id="an empty token"),
        pytest.param("SLACK_BOT_TOKEN", "xoxp-1", id="a token of another kind"),
        pytest.param("SLACK_SIGNING_SECRET", "  ", id="neither mode"),
        pytest.param("SLACK_APP_TOKEN", "xoxb-1", id="a bot token as app token"),
        pytest.param("ANTHROPIC_API_KEY", "", id="an empty key"),
        pytest.param("SLACK_BOT_TOKEN", "xoxb-1 2", id="a blank inside a token"),
        pytest.param("SLACK_APP_TOKEN", "xapp-1\n2", id="a line break inside a token"),
        pytest.param("SLACK_SIGNING_SECRET", "secr\x00et", id="a control character in a secret"),
        pytest.param("ANTHROPIC_API_KEY", "sk-ant-é", id="a letter that no header takes"),
        pytest.param("PORT", "http", id="a word as port"),
        pytest.param("PORT", "70000", id="a port too high"),
        pytest.param("CLAUDE_MAX_TOKENS", "many", id="a word as number"),
        pytest.param("CLAUDE_MAX_TOKENS", "1.5", id="a fraction as whole number"),
        pytest.param("TOTAL_TIMEOUT_S", "nan", id="not a number"),
        pytest.param("TOTAL_TIMEOUT_S", "-1", id="a negative time"),
        pytest.param("FOLLOW_UPS", "some", id="a word that is no choice"),
        pytest.param("SLACK_API_URL", "slack.com", id="an address without scheme"),
        pytest.param("ANTHROPIC_BASE_URL", "http://:x", id="an address without host"),
        pytest.param("ANTHROPIC_BASE_URL", "http://host:0", id="an address with port 0"),
        pytest.param("CLAUDE_EFFORT", "huge", id="an unknown effort"),
        pytest.param("LOG_LEVEL", "loud", id="an unknown level"),
        pytest.param("ALLOWED_USERS", "@ada", id="a name instead of an id"),
        pytest.param("ALLOWED_USERS", "Ursula B.", id="a name that begins like an id"),
        pytest.param("ALLOWED_USERS", " , ", id="no id where something is written"),
        pytest.param("ALLOWED_CHANNELS", "D0123", id="a direct message as channel"),
        pytest.param("ALLOW_EXTERNAL_USERS", "perhaps", id="neither true nor false"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert name in problem
    if len(value.strip()) > 3:
        assert value not in problem


def test_every_problem_is_reported_at_once() -> None:
    found = problems(SLACK_BOT_TOKEN="", PORT="x", ANTHROPIC_BASE_URL="x", LOG_LEVEL="x")
    assert len(found) == 4


def test_secrets_are_not_in_the_representation() -> None:
    assert "secret" not in repr(config.read(HTTP))


def test_lists_take_commas_and_spaces() -> None:
    settings = config.read({**HTTP, "ALLOWED_USERS": "U1, U2 W3"})
    assert settings.allowed_users == {"U1", "U2", "W3"}
