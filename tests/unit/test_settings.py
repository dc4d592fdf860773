"""Settings: read once from the environment, with every mistake named and no value shown."""

import pytest
from pydantic import ValidationError

from router.errors import ConfigurationError
from router.settings import Settings


def test_without_any_variable_the_defaults_stand():
    settings = Settings.from_environment()
    assert (settings.host, settings.port) == ("127.0.0.1", 3000)
    assert settings.slack_api_url == "https://slack.com/api/"
    assert settings.anthropic_base_url == "https://api.anthropic.com"
    assert (settings.threadline_lease_seconds, settings.threadline_sweep_seconds) == (15, 1)
    assert (settings.threadline_retention_days, settings.log_format) == (30, "json")
    assert settings.database_url is settings.slack_bot_token is settings.anthropic_api_key is None


def test_variables_are_read_by_their_documented_names(monkeypatch: pytest.MonkeyPatch):
    given = {
        "DATABASE_URL": "postgresql://u:p@h/d",
        "SLACK_BOT_TOKEN": "xoxb-1",
        "SLACK_SIGNING_SECRET": "s",
        "SLACK_APP_TOKEN": "xapp-1",
        "SLACK_API_URL": "http://127.0.0.1:1/api/",
        "ANTHROPIC_API_KEY": "sk-ant-1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:2",
        "THREADLINE_ENCRYPTION_KEYS": "k:1",
        "THREADLINE_PUBLIC_URL": "https://t.example",
        "THREADLINE_CORS_ORIGINS": "https://a.example,https://b.example",
        "SUPABASE_URL": "https://p.supabase.co",
        "SUPABASE_JWT_SECRET": "s" * 32,
        "THREADLINE_LEASE_SECONDS": "20",
        "THREADLINE_SWEEP_SECONDS": "0.5",
        "THREADLINE_AWAITING_READS": "30",
        "THREADLINE_RUNTIME_READS": "2400",
        "THREADLINE_RUNTIME_CREATES": "600",
        "THREADLINE_LIVE_TURNS": "500",
        "THREADLINE_RETENTION_DAYS": "7",
        "HOST": "0.0.0.0",
        "PORT": "0",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "console",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    read = settings.model_dump(mode="python")
    shown = {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in read.items()
    }
    assert shown == {name.lower(): value for name, value in given.items()} | {
        "threadline_lease_seconds": "20.0",
        "threadline_awaiting_reads": "30.0",
    }


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "")
    monkeypatch.setenv("PORT", "")
    settings = Settings.from_environment()
    assert settings.slack_signing_secret is None
    assert settings.port == 3000


def test_every_wrong_variable_is_named_and_none_is_shown(monkeypatch: pytest.MonkeyPatch):
    wrong = {
        "PORT": "99999",
        "THREADLINE_LEASE_SECONDS": "0.1",
        "THREADLINE_RETENTION_DAYS": "soon-ish",
        "LOG_FORMAT": "yaml-like",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment()
    for name, value in wrong.items():
        assert f"{name}: " in str(refused.value)
        assert value not in str(refused.value)
    assert refused.value.__cause__ is None


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch):
    for name in ("DATABASE_URL", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "very-secret")
    settings = Settings.from_environment()
    assert "very-secret" not in f"{settings} {settings!r} {settings.model_dump_json()}"


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # that is the point
