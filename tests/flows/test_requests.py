"""What comes in over HTTP and is no ordinary event: each gets the right answer, none is a 500."""

import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bot.app import App
from tests.harness import World
from tests.logs import real_logs
from tests.support import eventually

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    http: aiohttp.ClientSession, app: App, body: bytes | str, headers: dict[str, str]
) -> tuple[int, str]:
    raw = io.BytesIO(body.encode() if isinstance(body, str) else body)
    async with http.post(f"{app.url}/slack/events", data=raw, headers=headers) as response:
        return response.status, await response.text()


async def counted(http: aiohttp.ClientSession, app: App, outcome: str, reason: str) -> float:
    """A figure of the metrics page."""
    async with http.get(f"{app.url}/metrics") as response:
        page = await response.text()
    name = f'threadline_slack_events_total{{outcome="{outcome}",reason="{reason}"}} '
    return sum(float(line[len(name) :]) for line in page.splitlines() if line.startswith(name))


def event(here: World, **changes: Any) -> dict[str, Any]:
    """A direct message of ada's, as Slack would put it."""
    now = f"{time.time():.6f}"
    inner = {"type": "message", "channel": here.slack.dm("ada"), "channel_type": "im"}
    return {
        "type": "event_callback",
        "team_id": here.slack.team_id,
        "api_app_id": here.slack.api_app_id,
        "event": inner | {"user": "U0ADA", "text": "hello", "ts": now, "event_ts": now},
        "event_id": "Ev1",
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": here.slack.team_id,
                "user_id": here.slack.bot_user_id,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
    } | changes


# ------------------------------------------------------------------ who sends it


UNPROVEN = [
    {"X-Slack-Signature": "v0=" + "0" * 64},
    {"X-Slack-Signature": ""},
    {"X-Slack-Signature": "v0=é"},
    {"X-Slack-Request-Timestamp": "soon"},
    {"X-Slack-Request-Timestamp": "٣"},
    {"X-Slack-Request-Timestamp": "-1"},
    {"X-Slack-Request-Timestamp": "1" * 5_000},
    {"X-Slack-Request-Timestamp": ""},
]


async def test_a_request_that_slack_did_not_sign_is_refused(
    here: World, http: aiohttp.ClientSession
):
    body = json.dumps(event(here))
    async with here.app() as app:
        for change in UNPROVEN:
            status, _ = await post(http, app, body, here.slack.sign(body) | change)
            assert status == 401, change
        await here.at_rest()
    assert await here.rows("SELECT * FROM session_inputs") == []


async def test_a_timestamp_five_minutes_off_is_refused(here: World, http: aiohttp.ClientSession):
    body = json.dumps(event(here))
    async with here.app() as app:
        for seconds in (-302, 330):  # what is ahead comes nearer while a busy machine reads it
            headers = here.slack.sign(body, timestamp=int(time.time()) + seconds)
            assert (await post(http, app, body, headers))[0] == 401


async def test_unsigned_junk_is_refused_before_anything_reads_it(
    here: World, http: aiohttp.ClientSession
):
    async with here.app() as app:
        for body in (b"", b"junk", b"\xff\xfe", b"{}", b"[" * 100_000):
            headers = {"Content-Type": "application/json"}
            assert (await post(http, app, body, headers))[0] == 401, body
            headers |= here.slack.sign(b"something else")
            assert (await post(http, app, body, headers))[0] == 401, body


# ------------------------------------------------------------------ what it says


JUNK = [
    b"",
    b"not json",
    b"\xff\xfe\xfd",
    b"[]",
    b'"text"',
    b"null",
    b"{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"type":"strange","team_id":"T0LOCALTEAM"}',
    *(
        b'{"type":"event_callback","team_id":"T0LOCALTEAM"%s}' % rest
        for rest in (
            b"",
            b',"event":[]',
            b',"event":17',
            b',"event":{}',
            b',"event":{"type":"message","channel_type":"im","user":"U0ADA"}',
            b',"authorizations":[17],"event":{"type":"message"}',
            b',"enterprise":"E1","event":{"type":"message"}',
        )
    ),
    b'{"type":"event_callback","team_id":17,"event":{"type":"message"}}',
    b'{"type":"block_actions","team":"T0LOCALTEAM","user":"U0ADA"}',
]


async def test_signed_junk_is_unreadable(here: World, http: aiohttp.ClientSession):
    async with here.app() as app:
        for body in JUNK:
            assert (await post(http, app, body, here.slack.sign(body)))[0] == 400, body[:80]
        async with http.get(f"{app.url}/metrics") as page:
            counter = f'threadline_slack_requests_total{{status="400"}} {len(JUNK)}.0'
            assert counter in await page.text()


async def test_a_signed_form_of_junk_is_unreadable(here: World, http: aiohttp.ClientSession):
    async with here.app() as app:
        for body in (b"payload=junk", b"payload=[]", b"a=b", b"payload=", b"%ff", b"payload=null"):
            headers = here.slack.sign(body) | {"Content-Type": FORM}
            assert (await post(http, app, body, headers))[0] == 400, body


async def test_a_body_over_a_mebibyte_is_refused(here: World, http: aiohttp.ClientSession):
    body = b'"' + b"x" * (1024 * 1024) + b'"'
    async with here.app() as app:
        assert (await post(http, app, body, here.slack.sign(body)))[0] == 413


async def test_text_that_postgres_cannot_hold_is_taken_without_it(
    here: World, http: aiohttp.ClientSession
):
    said = event(here)
    said["event"]["text"] = "one\x00two \ud800 three"
    body = json.dumps(said)
    async with here.app() as app:
        assert (await post(http, app, body, here.slack.sign(body)))[0] == 200
        await here.at_rest()
    (text,) = here.sent_texts()
    assert (text[:6], text[-5:]) == ("onetwo", "three")


async def test_the_challenge_is_answered(here: World):
    async with here.app():
        assert await here.slack.verify_request_url()


async def test_the_certificate_check_is_answered(here: World, http: aiohttp.ClientSession):
    body = "ssl_check=1&token=legacy"
    async with here.app() as app:
        headers = here.slack.sign(body) | {"Content-Type": FORM}
        assert (await post(http, app, body, headers))[0] == 200


async def test_a_team_without_the_app_is_acknowledged_and_counted(
    here: World, http: aiohttp.ClientSession
):
    stranger = {"team_id": "T0NOBODY", "authorizations": []}
    body = json.dumps(event(here, **stranger))
    async with here.app() as app:
        assert (await post(http, app, body, here.slack.sign(body)))[0] == 200
        assert await counted(http, app, "ignored", "not_installed") == 1
        await here.at_rest()
    assert await here.rows("SELECT * FROM session_inputs") == []


async def test_a_thin_envelope_is_filled_in_from_the_install(
    here: World, http: aiohttp.ClientSession
):
    thin = event(here)
    body = json.dumps({k: thin[k] for k in ("type", "team_id", "event")})
    async with here.app() as app:
        assert (await post(http, app, body, here.slack.sign(body)))[0] == 200
        await here.at_rest()
    assert here.sent_texts() == ["hello"]


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "block_actions", "actions": [{"action_id": "a", "type": "button"}]},
        {"type": "view_submission", "view": {"id": "V1"}},
        {"type": "shortcut", "callback_id": "c"},
    ],
    ids=lambda payload: payload["type"],
)
async def test_an_interaction_is_acknowledged(
    here: World, http: aiohttp.ClientSession, payload: dict[str, Any]
):
    where = {"team": {"id": here.slack.team_id}, "user": {"id": "U0ADA"}}
    more = {"api_app_id": here.slack.api_app_id, "is_enterprise_install": False}
    body = urlencode({"payload": json.dumps(payload | where | more)})
    async with here.app() as app:
        headers = here.slack.sign(body) | {"Content-Type": FORM}
        assert (await post(http, app, body, headers))[0] == 200
        assert await counted(http, app, "ignored", "interaction") == 1


# ------------------------------------------------------------------ the install's end


@pytest.mark.parametrize("end", ["revoke_token", "uninstall_app"])
async def test_after_its_end_an_install_is_unknown(
    here: World, http: aiohttp.ClientSession, end: Any
):
    async with here.app() as app:
        here.slack.fault(end)
        await eventually(lambda: here.slack.deliveries)
        await here.slack.settle()
        body = json.dumps(event(here))
        assert (await post(http, app, body, here.slack.sign(body)))[0] == 200
        assert await counted(http, app, "ignored", "not_installed") >= 1
        await here.at_rest()
    assert {d.status for d in here.slack.deliveries} == {200}
    install = await here.row("SELECT status, bot_token FROM oauth_installs")
    assert install["status"] in ("revoked", "uninstalled")
    assert install["bot_token"] is None
    assert await here.rows("SELECT * FROM session_inputs") == []


async def test_no_secret_and_no_text_of_a_person_reaches_the_logs(
    here: World, http: aiohttp.ClientSession, capfd: pytest.CaptureFixture[str]
):
    with real_logs():
        async with here.app() as app:
            body = json.dumps(event(here))
            await post(http, app, body, {"X-Slack-Signature": "v0=1", "Authorization": "Bearer s3"})
            asked = await here.slack.say("ada", here.slack.dm("ada"), "my private words")
            await here.answers(asked.channel, asked.ts, 1)
    logged = capfd.readouterr().err
    assert '"event": "turn.ended"' in logged
    for secret in (here.slack.bot_token, here.slack.signing_secret, "my private words"):
        assert secret not in logged
