"""The control routes of the local Slack."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.local import LocalSlack
from tests.contract.slack_receiver import client_of, receiving


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(clock="virtual") as server:
        yield server


@pytest.fixture
async def http(slack: LocalSlack) -> AsyncIterator[ClientSession]:
    async with ClientSession(f"{slack.url}/_control/") as session:
        yield session


async def post(http: ClientSession, action: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with http.post(action, json=body) as response:
        return response.status, await response.json()


async def test_message_edit_delete(slack: LocalSlack, http: ClientSession):
    status, root = await post(http, "message", channel="general", user="ada", text="@threadline")
    assert (status, root["ok"], root["thread_ts"]) == (200, True, None)
    assert root["channel"] == slack.channels["general"]
    _, reply = await post(
        http, "message", channel="general", user="U0GRACE", text="re", thread_ts=root["ts"]
    )
    assert reply["thread_ts"] == root["ts"]
    await post(http, "edit", channel="general", ts=reply["ts"], text="edited")
    assert [one.text for one in slack.replies("general", root["ts"])][1] == "edited"
    await post(http, "delete", channel="general", ts=reply["ts"])
    assert len(slack.replies("general", root["ts"])) == 1


async def test_refusals(http: ClientSession):
    assert await post(http, "message", channel="general", user="nobody", text="hi") == (
        404,
        {"ok": False, "error": "user_not_found"},
    )
    assert await post(http, "message", channel="mpim", user="linus", text="hi") == (
        400,
        {"ok": False, "error": "not_in_channel"},
    )
    status, answer = await post(http, "message", channel="general", user="ada", txt="hi")
    assert (status, answer["error"]) == (422, "invalid_body")
    async with http.post("click", json={}) as response:
        assert response.status == 404


async def test_only_json_on_loopback_names(http: ClientSession):
    async with http.post("reset", data="{}") as response:
        assert response.status == 415
    async with http.post("reset", json={}, headers={"Host": "evil.example"}) as response:
        assert response.status == 403
    async with http.get("state", headers={"Host": "evil.example"}) as response:
        assert response.status == 403


async def test_faults_and_clock(slack: LocalSlack, http: ClientSession):
    await post(http, "fault", kind="ratelimit", method="auth.test", times=None)
    client = client_of(slack)
    with pytest.raises(Exception, match="ratelimited"):
        await client.auth_test()
    await post(http, "fault", kind="clear")
    assert (await client.auth_test())["ok"]
    before = slack.workspace.clock.now()
    _, answer = await post(http, "clock", advance=60)
    assert answer["now"] == pytest.approx(before + 60)


async def test_state_shows_everything(slack: LocalSlack, http: ClientSession):
    async with receiving(slack):
        await post(http, "message", channel="general", user="ada", text="@threadline hi")
        await slack.settle()
    async with http.get("state") as response:
        state = await response.json()
    assert set(state) == set(slack.state())
    assert state["workspace"]["bot_token"] == slack.bot_token
    assert [message["text"] for message in state["messages"]] == [f"<@{slack.bot_user_id}> hi"]
    assert [delivery["status"] for delivery in state["deliveries"]] == [200, 200]
    assert {user["name"] for user in state["users"]} == set(slack.users)
    assert {"ephemerals", "statuses", "calls", "unknown_methods"} <= set(state)
    async with http.get("state", params={"limit": 0}) as response:
        assert (await response.json())["messages"] == []


async def test_request_url_is_set_and_verified(slack: LocalSlack, http: ClientSession):
    async with receiving(slack) as receiver:
        slack.request_url = None
        _, answer = await post(http, "request_url", url=receiver.url, verify=True)
        assert answer == {"ok": True, "verified": True}
        await slack.say("ada", slack.dm("ada"), "hi")
        await slack.settle()
        assert [request.body["type"] for request in receiver.requests] == [
            "url_verification",
            "event_callback",
        ]


async def test_reset_keeps_the_token(slack: LocalSlack, http: ClientSession):
    token = slack.bot_token
    slack.add_user("zoe")
    said = await slack.say("ada", "general", "hi")
    slack.fault("revoke_token")
    await post(http, "reset")
    assert slack.bot_token == token
    assert "zoe" not in slack.users
    assert slack.replies("general", said.ts) == []
    assert (await client_of(slack).auth_test())["ok"]
    assert (await slack.say("ada", "general", "hi")).ts > said.ts


async def test_openapi_describes_the_routes(http: ClientSession):
    async with http.get("openapi.json") as response:
        document = await response.json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        f"/_control/{name}"
        for name in "message edit delete stop fault clock reset request_url state".split()  # noqa: SIM905
    }
    assert "stale" in str(document["components"]["schemas"]["FaultBody"])
