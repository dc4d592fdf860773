"""Clicks while PostgreSQL or Slack fail: nobody is left to believe that something was decided."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot import proving, surfaces
from router import humans
from router.notices import Trouble, words
from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate
from tests.chaos.servers import stalled
from tests.flows.asked import Asking, asking
from tests.harness import World, world
from tests.support import eventually


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


async def away(at: Asking, table: str) -> None:
    await at.here.connection.execute(f"ALTER TABLE {table} RENAME TO away")


async def back(at: Asking, table: str) -> None:
    await at.here.connection.execute(f"ALTER TABLE away RENAME TO {table}")


# ------------------------------------------------------------------ PostgreSQL


async def test_a_click_that_cannot_be_written_down_is_answered_visibly(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await away(at, "agent_approvals")
    pressed = await at.press("ada", card, "approval.allow")
    assert (pressed.status, pressed.failure) == (200, None)
    told = await at.told("ada", words(Trouble.NOT_TAKEN))
    assert "Reference: " in told.text
    await back(at, "agent_approvals")
    assert (await at.approval_now(row.id)).state == "pending"
    await at.press("ada", card, "approval.allow")
    assert (await at.approval_now(row.id)).state == "allowed"


async def test_where_not_even_that_can_be_told_slack_tells(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await away(at, "agent_approvals")
    at.here.slack.fault("error_before", method="response_url", status=503)
    pressed = await at.press("ada", card, "approval.allow")
    assert pressed.status == 503
    [warned] = at.here.slack.warnings("ada")
    assert warned.on == card.ts


async def test_a_click_of_an_install_that_cannot_be_looked_up_is_answered_visibly(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await away(at, "oauth_installs")
    at.app.book.forget()
    assert (await at.press("ada", card, "approval.allow")).status == 200
    await at.told("ada", words(Trouble.NOT_TAKEN))
    await back(at, "oauth_installs")
    assert (await at.approval_now(row.id)).state == "pending"


async def test_a_decision_whose_audit_fails_is_none(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await away(at, "audit_entries")
    assert (await at.press("ada", card, "approval.allow")).status == 200
    await at.told("ada", words(Trouble.NOT_TAKEN))
    await back(at, "audit_entries")
    assert (await at.approval_now(row.id)).state == "pending"
    assert await at.decisions() == []


async def test_a_form_that_cannot_be_written_down_stays_open_and_says_so(at: Asking):
    row = await at.approval()
    await at.press("ada", await at.card(row), "approval.deny")
    view = at.view("ada")
    await away(at, "agent_approvals")
    done = await at.here.slack.submit("ada", view.id, {"reason": "no"})
    assert (done.status, done.failure) == (200, None)
    assert words(Trouble.NOT_TAKEN) in at.view("ada").errors["reason"]
    await back(at, "agent_approvals")
    await at.here.slack.submit("ada", view.id, {"reason": "no"})
    assert (await at.approval_now(row.id)).reason == "no"


@pytest.mark.usefixtures("in_time")
async def test_a_stalled_database_is_told_within_slacks_three_seconds(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(proving, "_SECONDS", 0.3)  # what is left of Slack's time is the machine's
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder, durable=False) as server:
            await migrate(server.dsn)
            async with world(server.dsn) as here, asking(here) as at:
                row = await at.approval()
                card = await at.card(row)
                with stalled(server.pid):
                    pressed = await at.press("ada", card, "approval.allow")
                    assert (pressed.status, pressed.failure) == (200, None)
                    await at.told("ada", words(Trouble.NOT_TAKEN))
                await eventually(lambda: decided_by(at, row.id, card.ts))


async def decided_by(at: Asking, row_id: object, ts: str) -> bool:
    await at.here.slack.click("ada", ts, action_id="approval.allow", anyway=True)
    found = await at.here.row("SELECT state FROM agent_approvals WHERE id = $1", row_id)
    return bool(found["state"] == "allowed")


# ------------------------------------------------------------------ Slack


@pytest.mark.parametrize("fault", ["error_before", "api_error", "drop_before"])
async def test_a_form_that_slack_does_not_open_is_told(at: Asking, fault: str):
    row = await at.approval()
    card = await at.card(row)
    at.here.slack.fault(fault, method="views.open")  # type: ignore[arg-type]  # a table's text
    assert (await at.press("ada", card, "approval.deny")).status == 200
    await at.told("ada", words(Trouble.FORM_NOT_OPENED))
    await at.press("ada", card, "approval.deny")
    await at.here.slack.submit("ada", at.view("ada").id)
    assert (await at.approval_now(row.id)).state == "denied"


@pytest.mark.usefixtures("in_time")
async def test_a_slow_users_info_costs_a_click_a_second_and_not_its_answer(
    at: Asking, monkeypatch: pytest.MonkeyPatch
):
    row = await at.approval()
    card = await at.card(row)
    monkeypatch.setattr(surfaces, "LOOK_SECONDS", 0.2)  # the rest of Slack's time is the machine's
    at.here.slack.fault("stall_before", method="users.info", seconds=60)
    assert (await at.press("ada", card, "approval.allow")).status == 200
    await at.told("ada", words(Trouble.NOT_FOUND_OUT))
    assert (await at.approval_now(row.id)).state == "pending"


async def test_a_form_opens_before_anybody_asks_who_it_is(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    seen = len(at.here.slack.calls)
    await at.press("ada", card, "approval.deny")
    calls = [c.method for c in at.here.slack.calls[seen:]]
    assert calls.index("views.open") < calls.index("users.info")


# ------------------------------------------------------------------ cards as deliveries


async def test_a_card_whose_answer_was_lost_is_posted_once(at: Asking):
    at.here.slack.fault("drop_after", method="chat.postMessage")
    row = await at.approval()
    card = await at.card(row)
    thread = at.here.slack.replies(at.channel, at.root.ts)
    assert [m.ts for m in thread if m.blocks == card.blocks] == [card.ts]


async def test_an_update_is_made_again_until_slack_takes_it(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    at.here.slack.fault("drop_after", method="chat.update")
    at.here.slack.fault("error_before", method="chat.update", status=503)
    await at.press("ada", card, "approval.allow")
    await at.shows(card, "Approved by <@U0ADA>")
    await eventually(lambda: ended(at))


async def test_a_card_that_is_gone_keeps_nobody_from_deciding(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await at.press("ada", card, "approval.deny")
    view = at.view("ada")
    at.here.slack.workspace.remove(at.now(card))
    await at.here.slack.submit("ada", view.id)
    assert (await at.approval_now(row.id)).state == "denied"
    await eventually(lambda: ended(at))


async def test_the_update_of_a_card_that_was_never_posted_ends_quietly(at: Asking):
    at.here.slack.fault("api_error", method="chat.postMessage", error="restricted_action")
    row = await at.approval()
    key = humans.post_key("approval", row.id, 1)
    states = "SELECT state FROM slack_outbox WHERE effect_key = $1"

    async def buried() -> bool:
        return bool((await at.here.row(states, key))["state"] == "dead")

    await eventually(buried)
    await humans.write_cards(at.here.connection, row, humans.update(row))
    await eventually(lambda: ended(at))


async def ended(at: Asking) -> bool:
    rows = await at.here.rows("SELECT state FROM slack_outbox WHERE kind = 'update'")
    return bool(rows) and {row["state"] for row in rows} == {"sent"}


# ------------------------------------------------------------------ Socket Mode


async def test_over_a_socket_buttons_and_forms_do_the_same(dsn: str):
    async with world(dsn, socket_mode=True) as here:
        settings: dict[str, Any] = {
            "slack_app_token": here.slack.app_token,
            "slack_signing_secret": None,
        }
        async with asking(here, **settings) as at:
            row, other = await at.approval(), await at.approval()
            await at.press("ada", await at.card(row), "approval.allow")
            assert (await at.approval_now(row.id)).state == "allowed"
            await at.press("ada", await at.card(other), "approval.deny")
            await at.here.slack.submit("ada", at.view("ada").id, {"reason": "no"})
            assert at.here.slack.open_views("ada") == []
            assert (await at.approval_now(other.id)).reason == "no"
            question = await at.escalation()
            await at.press("ada", await at.card(question), "escalation.answer")
            await at.here.slack.submit("ada", at.view("ada").id, {"answer": "  "})
            assert at.view("ada").errors == {"answer": "Write an answer."}
            await at.press("grace", await at.card(await at.approval()), "approval.deny")
            assert words(Trouble.NOT_YOURS_TO_DECIDE) in str(at.view("grace").body)
