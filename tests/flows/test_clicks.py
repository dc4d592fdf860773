"""Buttons of cards, pressed by all sorts of people: the right one decides, once, and it is said."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bot import standing
from router.humans import Ref
from router.notices import Trouble, words
from store.ids import new_id
from tests.flows.asked import Asking, asking
from tests.harness import World
from tests.store import factories
from tests.support import eventually


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


def action_ids(blocks: list[dict[str, Any]]) -> list[str]:
    return [e["action_id"] for b in blocks if b["type"] == "actions" for e in b["elements"]]


# ------------------------------------------------------------------ deciding


async def test_an_approval_is_decided_by_a_click_and_its_card_says_so(at: Asking):
    row = await at.approval({"command": "rm -rf /tmp/x"})
    card = await at.card(row)
    assert action_ids(card.blocks) == ["approval.allow", "approval.deny"]
    assert (await at.press("ada", card, "approval.allow")).failure is None
    assert (await at.approval_now(row.id)).state == "allowed"
    blocks = await at.shows(card, "Approved by <@U0ADA> in Slack <!date^", "rm -rf /tmp/x")
    assert action_ids(blocks) == []
    [decision] = await at.decisions()
    assert decision["result"] == "allow"
    assert decision["event"] == {"id": row.runtime_event_id, "custom": False}
    assert ("allowed", "", "U0ADA") in await at.audited(row)
    stored = (await at.approval_now(row.id)).decided_by
    assert stored == {
        "origin": "slack",
        "user": "U0ADA",
        "name": "ada",
        "team": at.here.slack.team_id,
    }


async def test_deny_asks_for_a_reason_which_goes_to_the_agent_and_on_the_card(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await at.press("ada", card, "approval.deny")
    assert (await at.approval_now(row.id)).state == "pending"
    view = at.view("ada")
    done = await at.here.slack.submit("ada", view.id, {"reason": "*not* <!here> today"})
    assert done.failure is None
    assert at.here.slack.open_views("ada") == []
    assert (await at.approval_now(row.id)).reason == "*not* <!here> today"
    await at.shows(card, "Denied by <@U0ADA>", "Reason: *not* <!here> today")
    [decision] = await at.decisions()
    assert decision["result"] == "deny"
    assert decision["says"].endswith("They said: *not* <!here> today")


async def test_a_denial_needs_no_reason(at: Asking):
    row = await at.approval()
    await at.press("ada", await at.card(row), "approval.deny")
    await at.here.slack.submit("ada", at.view("ada").id)
    now = await at.approval_now(row.id)
    assert (now.state, now.reason) == ("denied", None)


async def test_sibling_cards_are_decided_each_for_itself(at: Asking):
    rows = [await at.approval({"command": f"step {n}"}) for n in range(4)]
    cards = [await at.card(row) for row in rows]
    for place in (2, 0):
        await at.press("ada", cards[place], "approval.allow")
    states = [(await at.approval_now(row.id)).state for row in rows]
    assert states == ["allowed", "pending", "allowed", "pending"]


async def test_two_of_two_are_counted_on_the_card_and_one_person_counts_once(at: Asking):
    row = await at.approval(who=("channel",), quorum=2)
    card = await at.card(row)
    await at.press("ada", card, "approval.allow")
    await at.shows(card, "Approved by 1 of 2: <@U0ADA>")
    await at.press("ada", card, "approval.allow")
    assert (await at.approval_now(row.id)).state == "pending"
    await at.press("grace", card, "approval.allow")
    await at.shows(card, "Approved by <@U0GRACE>", "with <@U0ADA>")
    assert (await at.approval_now(row.id)).state == "allowed"
    assert len(await at.decisions()) == 1


async def test_approve_for_this_thread_is_offered_and_remembered_where_policy_lets_it(at: Asking):
    row = await at.approval(remember="tool")
    card = await at.card(row)
    assert "approval.remember" in action_ids(card.blocks)
    await at.press("ada", card, "approval.remember")
    [grant] = await at.here.rows("SELECT tool, arguments_hash FROM approval_grants")
    assert grant == {"tool": "bash", "arguments_hash": b""}


async def test_long_arguments_are_folded_and_shown_whole_on_demand(at: Asking):
    lines = "\n".join(f"line {n}" for n in range(400))
    row = await at.approval({"script": lines})
    card = await at.card(row)
    assert "line 399" not in str(card.blocks)
    await at.press("grace", card, "approval.view")
    assert "line 399" in str(at.view("grace").body["blocks"])
    assert ("viewed", "", "U0GRACE") in await at.audited(row)


async def test_an_expired_card_can_be_asked_again_and_says_that_it_was(at: Asking):
    row = await at.approval(expires_minutes=60)
    card = await at.card(row)
    assert "Open until <!date^" in str(card.blocks)
    await at.here.connection.execute(
        "UPDATE agent_approvals SET state = 'expired', expires_at = NULL, remind_at = NULL"
    )
    await at.press("ada", card, "approval.allow")
    told = await at.told("ada", words(Trouble.DECIDED_ALREADY))
    assert told.thread_ts == at.root.ts
    value = Ref("approval", row.deployed_agent_id, row.id, 1).opaque()
    await at.here.slack.interact(pressed_as(at, "approval.again", value, card.ts))
    again = await at.approval_now(row.id)
    assert (again.state, again.card_no) == ("pending", 2)
    blocks = await at.shows(card, "Replaced: this call is asked about again")
    assert action_ids(blocks) == []
    newest = await at.card(again)
    await at.press("ada", newest, "approval.allow")
    assert (await at.approval_now(row.id)).state == "allowed"


# ------------------------------------------------------------------ who may not


@pytest.mark.parametrize(
    ("user", "trouble", "why"),
    [
        ("grace", Trouble.NOT_YOURS_TO_DECIDE, "not_named"),
        ("guest", Trouble.NOT_FOR_GUESTS, "guest"),
    ],
)
async def test_who_may_not_decide_is_told_privately_who_may_and_nothing_is_consumed(
    at: Asking, user: str, trouble: Trouble, why: str
):
    row = await at.approval()
    card = await at.card(row)
    await at.press(user, card, "approval.allow")
    told = await at.told(user, words(trouble))
    assert told.thread_ts == at.root.ts
    assert "May decide: <@U0ADA>" in str(told.blocks)
    assert (await at.approval_now(row.id)).state == "pending"
    user_id = at.here.slack.users[user]
    assert ("refused", why, user_id) in await at.audited(row)
    await at.press("ada", card, "approval.allow")
    assert (await at.approval_now(row.id)).state == "allowed"


async def test_a_stranger_of_slack_connect_decides_only_where_they_are_named(here: World):
    async with asking(here, "shared") as at:
        row = await at.approval(who=("channel", "requester"), requesters=("U0ADA", "U0CONNECT"))
        card = await at.card(row)
        await at.press("connect", card, "approval.allow")
        await at.told("connect", words(Trouble.NOT_FOR_OUTSIDERS))
        assert (await at.approval_now(row.id)).state == "pending"
        named = await at.approval(who=("user:U0CONNECT",))
        await at.press("connect", await at.card(named), "approval.allow")
        assert (await at.approval_now(named.id)).state == "allowed"


async def test_a_bot_and_who_was_deactivated_decide_nothing_and_are_told_nothing(at: Asking):
    row = await at.approval(who=("channel", "user:U0GONE", "user:U0DEPLOY"))
    card = await at.card(row)
    await at.press("gone", card, "approval.allow", anyway=True)
    await at.press("deploybot", card, "approval.allow", anyway=True)
    assert (await at.approval_now(row.id)).state == "pending"
    refused = [
        (detail, who) for action, detail, who in await at.audited(row) if action == "refused"
    ]
    assert refused == [("deactivated", "U0GONE"), ("bot", "U0DEPLOY")]
    assert await at.here.rows("SELECT FROM slack_outbox WHERE kind = 'private'") == []


@pytest.mark.parametrize(
    ("who", "may", "may_not"),
    [
        (("admins",), ["admin", "owner"], ["ada", "guest"]),
        (("group:S0ONCALL",), ["ada", "grace"], ["linus", "admin"]),
        (("group:S0RETIRED",), [], ["ada"]),
        (("user:U0GRACE", "user:U0GUEST"), ["grace", "guest"], ["ada"]),
        (("channel",), ["linus"], ["guest", "solo"]),
    ],
)
async def test_policy_says_who_decides(
    at: Asking, who: tuple[str, ...], may: list[str], may_not: list[str]
):
    row = await at.approval(who=who)
    card = await at.card(row)
    for user in may_not:
        await at.press(user, card, "approval.allow")
    assert (await at.approval_now(row.id)).state == "pending"
    refused = [detail for action, detail, _ in await at.audited(row) if action == "refused"]
    assert refused == ["guest" if user in ("guest", "solo") else "not_named" for user in may_not]
    for user in may:
        one = await at.approval(who=who)
        await at.press(user, await at.card(one), "approval.allow")
        assert (await at.approval_now(one.id)).state == "allowed", user


async def test_whoever_left_the_channel_does_not_count_as_in_it(at: Asking):
    row = await at.approval(who=("channel",))
    outside = at.here.slack.add_user("ruth")
    await at.press(outside, await at.card(row), "approval.allow", anyway=True)
    assert (await at.approval_now(row.id)).state == "pending"


async def test_a_refusal_is_in_the_form_where_one_is_open_already(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await at.press("grace", card, "approval.deny")
    view = at.view("grace")
    assert words(Trouble.NOT_YOURS_TO_DECIDE) in str(view.body["blocks"])
    assert view.body["submit"] is None
    await at.press("grace", card, "approval.deny")  # now it is known before
    await at.told("grace", words(Trouble.NOT_YOURS_TO_DECIDE))
    refused = [a for a in await at.audited(row) if a[0] == "refused"]
    assert refused == [("refused", "not_named", "U0GRACE")] * 2


async def test_what_a_person_is_is_found_out_anew_when_they_send_the_form(
    at: Asking, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(standing, "_SECONDS", 0.0)
    row = await at.approval(who=("group:S0ONCALL",))
    await at.press("grace", await at.card(row), "approval.deny")
    view = at.view("grace")
    at.here.slack.set_user_group("oncall", ["ada"])
    await at.here.slack.submit("grace", view.id, {"reason": "no"})
    assert (await at.approval_now(row.id)).state == "pending"
    assert words(Trouble.NOT_YOURS_TO_DECIDE) in str(at.view("grace").body["blocks"])


async def test_where_slack_does_not_say_who_it_is_nothing_is_decided(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    at.here.slack.fault("error_before", method="users.info", status=503)
    await at.press("ada", card, "approval.allow")
    await at.told("ada", words(Trouble.NOT_FOUND_OUT))
    assert (await at.approval_now(row.id)).state == "pending"
    await at.press("ada", card, "approval.allow")
    assert (await at.approval_now(row.id)).state == "allowed"


# ------------------------------------------------------------------ late, twice, at once


async def test_who_comes_late_hears_who_was_faster(at: Asking):
    row = await at.approval(who=("channel",))
    card = await at.card(row)
    await at.press("ada", card, "approval.allow")
    await at.press("grace", card, "approval.allow", anyway=True)
    told = await at.told("grace", words(Trouble.DECIDED_ALREADY))
    assert "Approved by <@U0ADA>" in str(told.blocks)
    assert len(await at.decisions()) == 1


async def test_a_double_click_is_one_decision_and_no_reproach(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    clicks = await at.here.slack.click("ada", card.ts, action_id="approval.allow", times=5)
    assert [one.status for one in clicks] == [200] * 5
    assert len(await at.decisions()) == 1
    await at.shows(card, "Approved by <@U0ADA>")
    assert await at.here.rows("SELECT FROM slack_outbox WHERE kind = 'private'") == []


async def test_of_two_at_once_one_decides_and_the_other_hears_it(at: Asking):
    row = await at.approval(who=("channel",))
    card = await at.card(row)
    async with asyncio.TaskGroup() as both:
        both.create_task(at.press("ada", card, "approval.allow", anyway=True))
        both.create_task(at.press("grace", card, "approval.allow", anyway=True))
    winner = str(((await at.approval_now(row.id)).decided_by or {})["user"])
    loser = {"U0ADA": "grace", "U0GRACE": "ada"}[winner]
    await at.told(loser, words(Trouble.DECIDED_ALREADY))
    assert len(await at.decisions()) == 1


# ------------------------------------------------------------------ forged


def pressed_as(at: Asking, action_id: str, value: str, ts: str, **changes: Any) -> dict[str, Any]:
    """A signed click as nobody's screen could have made it."""
    slack = at.here.slack
    container = {
        "type": "message",
        "message_ts": ts,
        "thread_ts": at.root.ts,
        "channel_id": at.channel,
        "is_ephemeral": False,
    }
    return {
        "type": "block_actions",
        "user": {"id": "U0ADA", "username": "ada", "team_id": slack.team_id},
        "api_app_id": slack.api_app_id,
        "token": "t",
        "team": {"id": slack.team_id, "domain": "local"},
        "enterprise": None,
        "is_enterprise_install": False,
        "container": container | changes.pop("container", {}),
        "channel": {"id": container["channel_id"], "name": "general"},
        "message": {"type": "message", "ts": ts, "user": slack.bot_user_id},
        "trigger_id": "1.2.3",
        "response_url": "",
        "actions": [
            {
                "type": "button",
                "action_id": action_id,
                "block_id": "b",
                "value": value,
                "action_ts": "1700000000.000100",
            }
        ],
    } | changes


def opaque(row: Any, **changes: Any) -> str:
    parts = {"agent": row.deployed_agent_id, "id": row.id, "card": row.card_no} | changes
    return Ref("approval", parts["agent"], parts["id"], parts["card"]).opaque()


async def is_refused(at: Asking, payload: dict[str, Any], *rows: Any) -> None:
    assert await at.here.slack.interact(payload) == 200
    await at.told("ada", words(Trouble.NO_SUCH_CARD))
    for row in rows:
        assert (await at.approval_now(row.id)).state == row.state
    assert await at.decisions() == []


async def test_a_value_pressed_on_another_message_decides_nothing(at: Asking):
    one, other = await at.approval(), await at.approval()
    card, elsewhere = await at.card(one), await at.card(other)
    assert card.ts != elsewhere.ts
    await is_refused(at, pressed_as(at, "approval.allow", opaque(one), elsewhere.ts), one, other)
    assert (
        await at.here.slack.interact(pressed_as(at, "approval.allow", opaque(one), card.ts)) == 200
    )
    assert (await at.approval_now(one.id)).state == "allowed"


async def test_a_value_pressed_in_another_channel_decides_nothing(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    there: dict[str, Any] = {
        "container": {"channel_id": "C0RANDOM", "thread_ts": None},
        "channel": {"id": "C0RANDOM", "name": "random"},
    }
    await is_refused(at, pressed_as(at, "approval.allow", opaque(row), card.ts, **there), row)


@pytest.mark.parametrize(
    "value", ["", "junk", "%00", "AQ", "A" * 48, "ÄÖÜ", "x" * 200], ids=lambda v: v[:8]
)
async def test_an_edited_value_decides_nothing(at: Asking, value: str):
    row = await at.approval()
    card = await at.card(row)
    await is_refused(at, pressed_as(at, "approval.allow", value, card.ts), row)


@pytest.mark.parametrize("changed", ["agent", "id", "card"])
async def test_a_value_of_another_row_decides_nothing(at: Asking, changed: str):
    row = await at.approval()
    card = await at.card(row)
    wrong: Any = 7 if changed == "card" else new_id()
    value = opaque(row, **{changed: wrong})
    await is_refused(at, pressed_as(at, "approval.allow", value, card.ts), row)


async def test_the_row_of_another_workspace_is_not_even_known(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    other = await factories.workspace(at.here.connection)
    await at.here.connection.execute("SET session_replication_role = replica")
    await at.here.connection.execute("UPDATE agent_approvals SET workspace_id = $1", other)
    await is_refused(at, pressed_as(at, "approval.allow", opaque(row), card.ts), row)
    assert await at.audited(row) == []


async def test_the_value_of_an_escalation_is_none_of_an_approval(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    value = Ref("escalation", row.deployed_agent_id, row.id).opaque()
    await is_refused(at, pressed_as(at, "approval.allow", value, card.ts), row)
    question = await at.escalation()
    asks = await at.card(question)
    value = Ref("escalation", question.deployed_agent_id, question.id).opaque()
    await is_refused(at, pressed_as(at, "approval.allow", value, asks.ts), row)
    assert len(await at.here.rows("SELECT FROM slack_outbox WHERE kind = 'private'")) == 2


async def test_a_click_that_slack_did_not_sign_is_turned_away(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    payload = json.dumps(pressed_as(at, "approval.allow", opaque(row), card.ts))
    form = urlencode({"payload": payload})
    signed = at.here.slack.sign(form)
    stale = at.here.slack.sign(form, int(signed["X-Slack-Request-Timestamp"]) - 600)
    other = at.here.slack.sign(form.replace("allow", "deny"))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with aiohttp.ClientSession() as http:
        for headers in ({}, stale, other):
            posted = http.post(f"{at.app.url}/slack/events", data=form, headers=headers | kind)
            async with posted as answer:
                assert answer.status == 401
    assert (await at.approval_now(row.id)).state == "pending"


async def test_a_click_before_its_post_is_written_down_counts_on_our_own_message(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await at.here.connection.execute("UPDATE slack_outbox SET slack_ts = NULL")
    stranger = {"message": {"type": "message", "ts": card.ts, "user": "U0ADA"}}
    await is_refused(at, pressed_as(at, "approval.allow", opaque(row), card.ts, **stranger), row)
    await at.press("ada", card, "approval.allow")
    assert (await at.approval_now(row.id)).state == "allowed"


@pytest.mark.parametrize("action", ["other.button", "approval.allowed", "escalation.choose.77"])
async def test_buttons_that_are_none_of_ours_are_acknowledged(at: Asking, action: str):
    row = await at.approval()
    payload = pressed_as(at, action, opaque(row), "1700000000.000100")
    assert await at.here.slack.interact(payload) == 200
    assert await at.here.rows("SELECT FROM slack_outbox WHERE kind = 'private'") == []
    metric = at.app.metrics.events.labels("ignored", "interaction")
    await eventually(lambda: metric._value.get() == 1)
