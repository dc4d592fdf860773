"""Decided on the home tab: as on the card, judged at the click, and shown in both."""

from collections.abc import AsyncIterator

import pytest

from bot import homes, presses
from router.notices import Trouble, words
from tests.flows.asked import Asking, asking
from tests.flows.homes import becomes, crafted, opened, press, shows, value, waits_for
from tests.flows.people import approvals_in, awaits_people, confirmations
from tests.harness import World
from tests.store import factories


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens their home again need not wait a few seconds."""
    monkeypatch.setattr(homes, "_OPENED_AGAIN_SECONDS", 0.0)


async def test_approved_at_home_the_runtime_is_told_and_the_card_and_the_page_say_so(here: World):
    """From the mention to the answer, with everything running."""
    async with here.app():
        root = await here.slack.say("ada", "general", "@threadline !ask bash")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        view = await opened(here, "ada")
        assert waits_for(view) == {value(row)}
        assert "Waiting for a person" in shows(view)
        await press(here, "ada", "approval.allow", value(row))
        await becomes(here, "ada", says="Nothing waits for you.")
        await here.at_rest()
        assert [c["result"] for c in confirmations(here)] == ["allow"]
        shown = "\n".join(here.shown(root.channel, root.ts))
        assert "Approved by <@U0ADA> in Slack" in shown
        assert "bash was allowed and ran." in shown
    assert here.warnings() == []


async def test_denied_at_home_with_a_reason(at: Asking):
    row = await at.approval()
    card = await at.card(row)
    await opened(at.here, "ada")
    await press(at.here, "ada", "approval.deny", value(row))
    assert at.view("ada").body["private_metadata"].endswith(presses.FROM_HOME)
    await at.here.submit("ada", reason="not today")
    await at.shows(card, "Denied by <@U0ADA>", "Reason: not today")
    await becomes(at.here, "ada", says="Nothing waits for you.")
    assert at.here.open_views("ada") == []


async def test_answered_at_home_by_a_choice_or_in_own_words(at: Asking):
    chosen = await at.escalation(choices=("blue", "green"))
    said = await at.escalation("And why?")
    await opened(at.here, "ada")
    await press(at.here, "ada", "escalation.choose.1", f"{value(chosen)}:1")
    await becomes(at.here, "ada", says="And why?", lacks="green")
    await press(at.here, "ada", "escalation.answer", value(said))
    await at.here.submit("ada", answer="because")
    await becomes(at.here, "ada", says="Nothing waits for you.")
    answers = [(await at.escalation_now(one.id)).answer for one in (chosen, said)]
    assert answers == ["green", "because"]


async def test_who_may_answer_only_in_the_escalation_channel_may_at_home(at: Asking):
    """Whoever is in either of the channels where it was asked is in "the channel"."""
    olive = at.here.slack.add_user("olive")
    at.here.slack.add_channel("help", ["olive"])
    there = at.here.slack.channels["help"]
    asks = await at.escalation(who=("channel",), channel=there)
    assert waits_for(await opened(at.here, "olive")) == {value(asks)}
    await press(at.here, "olive", "escalation.answer", value(asks))
    await at.here.submit("olive", answer="mine")
    decided = await at.escalation_now(asks.id)
    assert (decided.answer, (decided.decided_by or {})["user"]) == ("mine", olive)


async def test_one_vote_of_two_leaves_the_page_of_who_cast_it(at: Asking):
    row = await at.approval(who=("channel",), quorum=2)
    await opened(at.here, "ada")
    await press(at.here, "ada", "approval.allow", value(row))
    await becomes(at.here, "ada", says="Nothing waits for you.")
    grace = await opened(at.here, "grace")
    assert "Approved by 1 of 2: <@U0ADA>." in shows(grace)
    await press(at.here, "grace", "approval.allow", value(row))
    assert (await at.approval_now(row.id)).state == "allowed"


async def test_all_of_a_long_call_is_seen_from_home(at: Asking):
    row = await at.approval({"command": "x" * 2_000})
    await opened(at.here, "ada")
    await press(at.here, "ada", "approval.view", value(row))
    assert "x" * 1_500 in str(at.view("ada").body)
    await at.here.slack.close_view("ada", at.view("ada").id)
    payload = crafted(at.here, "linus", "approval.view", value(row))
    assert await at.here.slack.interact(payload) == 200
    assert "x" * 20 not in str(at.view("linus").body)
    assert ("viewed", "", "U0LINUS") not in await at.audited(row)


async def test_whom_slack_does_not_know_now_does_not_see_all_of_a_call(at: Asking):
    row = await at.approval({"command": "x" * 2_000})
    at.here.slack.fault("error_before", method="users.info", times=None)
    payload = crafted(at.here, "grace", "approval.view", value(row))
    assert await at.here.slack.interact(payload) == 200
    assert words(Trouble.NOT_FOUND_OUT) in str(at.view("grace").body)
    assert "x" * 20 not in str(at.view("grace").body)


async def test_a_page_that_is_too_old_decides_nothing_and_says_so(at: Asking):
    row = await at.approval(who=("channel",))
    await opened(at.here, "ada")
    await at.press("grace", await at.card(row), "approval.deny")
    await at.here.submit("grace")
    await press(at.here, "ada", "approval.allow", value(row))
    assert words(Trouble.DECIDED_ALREADY) in str(at.view("ada").body)
    await becomes(at.here, "ada", says="Nothing waits for you.")
    assert len(await at.decisions()) == 1


async def test_decided_elsewhere_the_next_opening_shows_it(at: Asking, at_once: None):  # noqa: ARG001
    row = await at.approval()
    assert waits_for(await opened(at.here, "ada")) == {value(row)}
    await at.press("ada", await at.card(row), "approval.allow")
    assert waits_for(await opened(at.here, "ada")) == set()


async def test_who_may_not_any_more_is_refused_at_the_click(at: Asking):
    row = await at.approval(who=("user:U0GRACE",))
    await opened(at.here, "grace")
    await at.here.connection.execute(
        "UPDATE agent_approvals SET policy = jsonb_set(policy, '{who}', '[\"user:U0ADA\"]')"
    )
    await press(at.here, "grace", "approval.allow", value(row))
    assert words(Trouble.NOT_YOURS_TO_DECIDE) in str(at.view("grace").body)
    assert "May decide: <@U0ADA>." in str(at.view("grace").body)
    assert (await at.approval_now(row.id)).state == "pending"
    await becomes(at.here, "grace", says="Nothing waits for you.")


@pytest.mark.parametrize("of", ["", "junk", "A" * 48])
async def test_a_click_of_nothing_decides_nothing(at: Asking, of: str):
    await at.approval()
    assert await at.here.slack.interact(crafted(at.here, "ada", "approval.allow", of)) == 200
    assert words(Trouble.NO_SUCH_CARD) in str(at.view("ada").body)
    assert await at.decisions() == []


async def test_a_click_on_the_row_of_another_workspace_decides_nothing(at: Asking):
    row = await at.approval()
    other = await factories.workspace(at.here.connection)
    await at.here.connection.execute("SET session_replication_role = replica")
    await at.here.connection.execute("UPDATE agent_approvals SET workspace_id = $1", other)
    payload = crafted(at.here, "ada", "approval.allow", value(row))
    assert await at.here.slack.interact(payload) == 200
    assert words(Trouble.NO_SUCH_CARD) in str(at.view("ada").body)
    assert (await at.approval_now(row.id)).state == "pending"


async def test_a_click_through_another_install_decides_nothing(at: Asking):
    """Of the same workspace, but the thread is not in that Slack."""
    row = await at.approval()
    second = await factories.install(at.here.connection, row.workspace_id, row.deployed_agent_id)
    await at.here.connection.execute(
        "UPDATE agent_sessions SET slack_install_id = $1 WHERE id = $2", second, row.session_id
    )
    payload = crafted(at.here, "ada", "approval.allow", value(row))
    assert await at.here.slack.interact(payload) == 200
    assert words(Trouble.NO_SUCH_CARD) in str(at.view("ada").body)
    assert (await at.approval_now(row.id)).state == "pending"


async def test_a_form_from_home_is_judged_when_it_is_sent(at: Asking):
    row = await at.approval(who=("user:U0GRACE",))
    await opened(at.here, "grace")
    await press(at.here, "grace", "approval.deny", value(row))
    await at.here.connection.execute(
        "UPDATE agent_approvals SET policy = jsonb_set(policy, '{who}', '[\"user:U0ADA\"]')"
    )
    await at.here.submit("grace", reason="mine")
    assert words(Trouble.NOT_YOURS_TO_DECIDE) in str(at.view("grace").body)
    assert (await at.approval_now(row.id)).state == "pending"


async def test_refresh_shows_the_page_as_it_is_now(at: Asking):
    view = await opened(at.here, "ada")
    assert waits_for(view) == set()
    row = await at.approval()
    await press(at.here, "ada", "home.refresh", "now")
    await becomes(at.here, "ada", says=value(row))
