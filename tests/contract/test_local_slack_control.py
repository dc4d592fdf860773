"""The control routes of the local Slack."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.local import LocalSlack
from tests.contract.slack_cards import button, home, modal, posted
from tests.contract.slack_receiver import client_of, receiving
from tests.support import eventually


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


async def state_of(http: ClientSession) -> dict[str, Any]:
    async with http.get("state") as response:
        state: dict[str, Any] = await response.json()
        return state


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


async def test_reacting_renaming_and_opening(slack: LocalSlack, http: ClientSession):
    said = await slack.say("ada", "general", "hi")
    here = {"channel": "general", "ts": said.ts, "name": "eyes", "user": "grace"}
    _, reacted = await post(http, "react", **here)
    assert reacted["reactions"] == [{"name": "eyes", "users": [slack.users["grace"]], "count": 1}]
    assert await post(http, "react", **here) == (400, {"ok": False, "error": "already_reacted"})
    _, reacted = await post(http, "react", **here, away=True)
    assert reacted["reactions"] == []
    _, opened = await post(http, "open_dm", user="linus")
    assert opened["channel"] == slack.dm("linus")
    asked = await slack.say("linus", opened["channel"], "hi")
    title = {"user": "linus", "channel": opened["channel"], "thread_ts": asked.ts, "title": "New"}
    _, renamed = await post(http, "rename", **title)
    assert renamed["title"] == "New"
    assert [one.title for one in slack.statuses] == ["New"]
    strange = title | {"user": "ada"}
    assert await post(http, "rename", **strange) == (400, {"ok": False, "error": "not_in_channel"})


async def test_how_far_people_have_read_survives_a_restart(tmp_path: Path):
    data, general = tmp_path / "slack.sqlite3", "C0GENERAL"
    async with LocalSlack(data=data) as slack:
        first = await slack.say("ada", "general", "hi")
        second = await slack.say("grace", "general", "hi", thread_ts=first.ts)
        async with ClientSession(f"{slack.url}/_control/") as http:
            mark = {"channel": "general", "ts": second.ts}
            assert await post(http, "mark", user="linus", **mark) == (
                200,
                {"ok": True, "channel": general, "ts": second.ts},
            )
            refused = {"ok": False, "error": "not_in_channel"}
            assert await post(http, "mark", user="connect", **mark) == (400, refused)
            _, refused = await post(http, "mark", user="ada", channel="general", ts="now")
            assert refused["error"] == "bad_timestamp"
        reads = slack.workspace.state.reads[general]
        # Who posts has read what came before.
        assert reads == {
            slack.users["ada"]: first.ts,
            slack.users["grace"]: second.ts,
            slack.users["linus"]: second.ts,
        }
        assert slack.workspace.state.latest(general) == second.ts
    async with LocalSlack(data=data) as slack:
        assert slack.workspace.state.reads == {general: reads}
        assert slack.workspace.state.latest(general) == second.ts
        slack.reset()
        assert slack.workspace.state.reads == {}
        assert slack.workspace.state.latest(general) is None


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
    async with http.post("nothing", json={}) as response:
        assert response.status == 404


async def test_only_json_on_loopback_names(http: ClientSession):
    async with http.post("reset", data="{}") as response:
        assert response.status == 415
    async with http.post("reset", json={}, headers={"Host": "evil.example"}) as response:
        assert response.status == 403
    async with http.get("state", headers={"Host": "evil.example"}) as response:
        assert response.status == 403


async def test_pressing_filling_in_and_closing(slack: LocalSlack, http: ClientSession):
    client = client_of(slack)
    async with receiving(slack) as receiver:

        @receiver.app.action("approve")
        async def on_action(ack: Any, body: dict[str, Any]) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=modal(notify_on_close=True))

        @receiver.app.view("deny")
        async def on_submission(ack: Any) -> None:
            await ack(response_action="errors", errors={"reason": "No."})

        @receiver.app.view_closed("deny")
        async def on_closed(ack: Any) -> None:
            await ack()

        ts = await posted(client, "C0GENERAL", button("approve"))
        status, clicked = await post(http, "click", user="ada", on=ts, text="Approve", times=1)
        assert status == 200
        assert clicked["clicks"][0]["failure"] is None
        await eventually(lambda: slack.open_views("ada"))
        shown = (await state_of(http))["views"][slack.users["ada"]][0]
        assert shown["callback_id"] == "deny"
        _, sent = await post(http, "submit", user="ada", view=shown["id"], values={"text": "x"})
        assert sent["status"] == 200
        shown = (await state_of(http))["views"][slack.users["ada"]][0]
        assert (shown["values"], shown["errors"]) == ({"reason": {"text": "x"}}, {"reason": "No."})
        assert await post(http, "close_view", user="ada", view=shown["id"]) == (
            200,
            {"ok": True, "sent": True},
        )
        assert (await state_of(http))["views"] == {}
        refused = await post(http, "submit", user="ada", view=shown["id"])
        assert refused == (404, {"ok": False, "error": "view_not_found"})
    slack.request_url = None
    await post(http, "click", user="ada", on=ts, text="Approve")
    [warned] = (await state_of(http))["warnings"]
    assert (warned["user"], warned["on"]) == (slack.users["ada"], ts)


async def test_homes_groups_and_accounts(slack: LocalSlack, http: ClientSession):
    await client_of(slack).views_publish(user_id=slack.users["ada"], view=home())
    assert await post(http, "home", user="ada") == (200, {"ok": True})
    _, group = await post(http, "usergroup", handle="fresh", users=["ada", "U0GRACE"])
    assert group["users"] == ["U0ADA", "U0GRACE"]
    _, user = await post(http, "user", user="linus", deleted=True, kind="guest")
    assert user == {"ok": True, "id": "U0LINUS", "deleted": True, "kind": "guest"}
    state = await state_of(http)
    assert list(state["home_views"]) == [slack.users["ada"]]
    assert group["id"] in [one["id"] for one in state["usergroups"]]
    said = await slack.say("ada", "general", "hi")
    _, chosen = await post(http, "shortcut", user="grace", ts=said.ts, callback_id="ask")
    assert chosen["trigger_id"]


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
        for name in [
            "message",
            "edit",
            "delete",
            "stop",
            "fault",
            "clock",
            "reset",
            "request_url",
            "state",
            "click",
            "submit",
            "close_view",
            "home",
            "shortcut",
            "usergroup",
            "user",
            "react",
            "rename",
            "mark",
            "open_dm",
        ]
    }
    assert "stale" in str(document["components"]["schemas"]["FaultBody"])
