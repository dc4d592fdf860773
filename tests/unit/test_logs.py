"""Logs: one line per event, to stderr, with nothing in it that looks like a secret."""

import json
import logging
import re

import pytest
import structlog
from structlog.typing import EventDict

from router import logs
from tests.logs import real_logs
from tests.supabase import b64, shared

SECRETS = {
    "slack bot token": "xoxb-123-456-abcDEF",
    "slack user token": "xoxp-123-456-abcDEF",
    "slack refresh token": "xoxe-1-abcDEF",
    "slack app token": "xapp-1-A1-2-abcdef",
    "runtime key": "sk-ant-api03-abc_DEF-123",
    "webhook secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw+/=",
    "API key": f"tl_ab2c3d4e_{'aZ-_9' * 8}abc",
    "access token": shared(),
    "access token without a signature": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    "session cookie": f"base64-{b64({'access_token': shared(), 'refresh_token': 'v1'})}",
}


styles = pytest.mark.parametrize("style", ["json", "console"])


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_masked_wherever_it_stands(secret: str):
    assert logs.redact(f"before {secret}, after") == "before [redacted], after"
    assert secret not in logs.redact(json.dumps({"token": secret}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.DEF-123=", "Authorization: Bearer [redacted]"),
        ("authorization: bearer abc", "authorization: bearer [redacted]"),
        ("postgresql://user:pass@host/db", "postgresql://[redacted]@host/db"),
        ("nothing to hide: 3 of 4", "nothing to hide: 3 of 4"),
        ("key tl_ab2c3d4e of html_renderer_on", "key tl_ab2c3d4e of html_renderer_on"),
        ("eyJ is no token, base64- no cookie", "eyJ is no token, base64- no cookie"),
        ("/stream?x=eyJhbGci.eyJzdWIi.c2ln&y=1", "/stream?x=[redacted]&y=1"),
        ("https://example.com:8080/path", "https://example.com:8080/path"),
    ],
)
def test_what_surrounds_a_secret_stays(text: str, expected: str):
    assert logs.redact(text) == expected


@styles
def test_secrets_are_masked_in_values_of_any_kind(style: str, capfd: pytest.CaptureFixture[str]):
    token = SECRETS["slack bot token"]
    with real_logs(style):
        log = structlog.get_logger("test").bind(bound=token)
        log.info("thing.done", text=token, nested={"a": [token]}, error=ValueError(token), n=3)
    written = capfd.readouterr()
    assert written.out == ""
    assert "thing.done" in written.err
    assert token not in written.err
    assert written.err.count("[redacted]") == 4


@styles
@pytest.mark.parametrize("name", ["API key", "access token", "session cookie"])
def test_who_calls_shows_nothing_that_others_could_call_with(
    name: str, style: str, capfd: pytest.CaptureFixture[str]
):
    secret = SECRETS[name]
    headers = {"Authorization": f"Bearer {secret}", "Cookie": f"sb-p-auth-token={secret}"}
    with real_logs(style):
        log = structlog.get_logger("test").bind(headers=headers)
        log.warning("api.failed", path=f"/dashboard/me?token={secret}", raw=secret.encode())
        logging.getLogger("aiohttp.server").error("Error handling %r", headers)
    written = capfd.readouterr().err
    assert "/dashboard/me?token=[redacted]" in written
    assert not [part for part in re.findall(r"[\w-]{12,}", secret) if part in written]


@styles
def test_secrets_are_masked_in_tracebacks(style: str, capfd: pytest.CaptureFixture[str]):
    token = SECRETS["runtime key"]
    with real_logs(style):
        try:
            int(f"rejected {token}")
        except ValueError:
            structlog.get_logger("test").exception("thing.failed")
    written = capfd.readouterr().err
    assert "'rejected [redacted]'" in written
    assert token not in written


@styles
def test_the_standard_library_logs_the_same_way(style: str, capfd: pytest.CaptureFixture[str]):
    token = SECRETS["slack app token"]
    with real_logs(style):
        logging.getLogger("some.library").warning("refused %s", token)
    written = capfd.readouterr().err
    assert "refused [redacted]" in written
    assert "some.library" in written
    assert "warning" in written


def test_libraries_that_write_down_requests_are_kept_quiet(capfd: pytest.CaptureFixture[str]):
    with real_logs(level="DEBUG"):
        logging.getLogger("slack_bolt.App").info("the whole body")
        logging.getLogger("slack_sdk.web").debug("the whole body")
    assert capfd.readouterr().err == ""


def test_what_is_less_severe_than_the_level_is_left_out(capfd: pytest.CaptureFixture[str]):
    with real_logs(level="WARNING"):
        structlog.get_logger("test").info("thing.done")
        logging.getLogger("test").info("thing.done")
    assert capfd.readouterr().err == ""


def test_a_line_of_json_has_time_level_name_and_event(capfd: pytest.CaptureFixture[str]):
    with real_logs(level="DEBUG"):
        structlog.get_logger("router.turns").debug("turn.ended", number=1, text="a\nb")
    (line,) = capfd.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "turn.ended",
        "level": "debug",
        "logger": "router.turns",
        "number": 1,
        "text": "a\nb",
    }


def test_what_is_below_the_level_costs_nothing(capfd: pytest.CaptureFixture[str]):
    """It comes to no processor: in busy channels thousands a minute are only noted at INFO."""
    came: list[str] = []

    def watch(_logger: object, method: str, event: EventDict) -> EventDict:
        came.append(method)
        return event

    with real_logs(level="WARNING"):
        structlog.configure(processors=[watch, *structlog.get_config()["processors"]])
        log = structlog.get_logger("test")
        assert not log.is_enabled_for(logging.INFO)
        log.info("thing.done")
        log.warning("thing.failed")
    assert came == ["warning"]
    assert "thing.failed" in capfd.readouterr().err
