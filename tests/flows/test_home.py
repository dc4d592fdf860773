"""The home tab, opened by all sorts of people: what waits for whom, and nothing for anybody else."""

import json
from collections.abc import AsyncIterator

import pytest

from bot import homes
from router.notices import Trouble, words
from tests.contract.slack_receiver import client_of
from tests.flows.asked import Asking, asking
from tests.flows.homes import crafted, opened, press, publishes, shows, value, waits_for
from tests.harness import World
from tests.store import factories
from tests.support import eventually


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens their home again need not wait a few seconds."""
    monkeypatch.setattr(homes, "_OPENED_AGAIN_SECONDS", 0.0)


async def test_a_newcomer_reads_how_to_begin(here: World):
    async with here.app(roles=frozenset({"ingress"})):
        text = shows(await opened(here, "grace"))
    assert "Nothing waits for you." in text
    assert f"mention <@{here.slack.bot_user_id}> in a channel" in text
    assert here.warnings() == []


async def test_sessions_come_with_their_state_and_slacks_own_link(at: Asking):
    view = await opened(at.here, "ada")
    text = shows(view)
    assert "do it" in text
    assert "Working · <#C0GENERAL>" in text
    assert not [c for c in at.here.slack.calls if c.method == "chat.getPermalink"]
    asked = client_of(at.here.slack).chat_getPermalink(channel=at.channel, message_ts=at.root.ts)
    assert json.dumps((await asked)["permalink"]) in text
    assert "do it" not in shows(await opened(at.here, "grace"))


async def test_an_approval_waits_for_who_may_decide_and_for_nobody_else(at: Asking):
    mine = await at.approval({"command": "ls"})
    theirs = await at.approval({"command": "rm"}, who=("user:U0GRACE", "admins"))
    assert waits_for(await opened(at.here, "ada")) == {value(mine)}
    assert waits_for(await opened(at.here, "grace")) == {value(theirs)}
    assert waits_for(await opened(at.here, "admin")) == {value(theirs)}
    linus = await opened(at.here, "linus")
    assert waits_for(linus) == set()
    assert "Nothing waits for you." in shows(linus)
    assert "bash" not in shows(linus)


async def test_members_of_the_channel_and_of_groups_are_found_out(at: Asking):
    channel = await at.approval(who=("channel",))
    group = await at.approval(who=("group:S0ONCALL",))
    both = await at.escalation(who=("channel",))
    assert waits_for(await opened(at.here, "grace")) == {
        value(one) for one in (channel, group, both)
    }
    assert waits_for(await opened(at.here, "linus")) == {value(channel), value(both)}
    at.here.slack.add_user("zoe")
    assert waits_for(await opened(at.here, "zoe")) == set()


async def test_what_cannot_be_found_out_is_left_out_and_said(at: Asking):
    mine, unknown = await at.approval(), await at.approval(who=("channel",))
    at.here.slack.fault("error_before", method="conversations.members", times=None)
    view = await opened(at.here, "ada")
    assert waits_for(view) == {value(mine)}
    assert "there may be more" in shows(view)
    assert str(unknown.id) not in shows(view)


async def test_secrets_stay_out_of_the_page(at: Asking):
    await at.approval({"command": "ls", "api_key": "sk-very-secret-value"})
    text = shows(await opened(at.here, "ada"))
    assert "ls" in text
    assert "sk-very-secret" not in text


async def test_a_direct_message_waits_only_for_whose_it_is(here: World):
    """Also where its policy says: who is in the channel. And a click that nobody was shown is none."""
    async with asking(here, here.slack.dm("ada")) as at:
        row = await at.approval({"command": "private"}, who=("channel",))
        asks = await at.escalation("Private?", who=("channel",))
        assert waits_for(await opened(here, "grace")) == set()
        assert "rivate" not in shows(here.slack.home_view("grace"))
        for action, one in (("approval.allow", row), ("escalation.cancel", asks)):
            assert await here.slack.interact(crafted(here, "grace", action, value(one))) == 200
        assert "Not decided" in str(at.view("grace").body)
        assert (await at.approval_now(row.id)).state == "pending"
        assert (await at.escalation_now(asks.id)).state == "pending"
        assert waits_for(await opened(here, "ada")) == {value(row), value(asks)}
        await press(here, "ada", "approval.allow", value(row))
        assert (await at.approval_now(row.id)).state == "allowed"


@pytest.mark.parametrize("who", ["outsider", "connect"])
async def test_people_from_outside_read_one_sentence(at: Asking, who: str):
    await at.approval(who=("channel", "requester"), requesters=("U0OUTSIDER", "U0CONNECT"))
    text = shows(await opened(at.here, who))
    assert words(Trouble.STRANGER) in text
    assert "bash" not in text
    assert "Recent sessions" not in text


async def test_guests_read_one_sentence_where_they_may_not_begin(at: Asking):
    await at.approval(who=("requester",), requesters=("U0GUEST",))
    assert "bash" in shows(await opened(at.here, "guest"))
    await at.here.connection.execute("UPDATE oauth_installs SET allow_guests = false")
    at.app.book.forget()
    at.app.book._by_id.clear()
    text = shows(await opened(at.here, "solo"))
    assert words(Trouble.GUEST) in text
    assert "bash" not in text


async def test_whom_slack_does_not_know_now_is_asked_to_come_again(at: Asking):
    await at.approval()
    at.here.slack.fault("error_before", method="users.info", times=None)
    text = shows(await opened(at.here, "ada"))
    assert "Press Refresh in a minute" in text
    assert "bash" not in text


async def test_the_deactivated_and_bots_have_no_home(at: Asking):
    await at.approval(who=("requester",), requesters=("U0GONE", "U0DEPLOY"))
    for user in ("gone", "deploybot"):
        await at.here.slack.open_home(user)
    await opened(at.here, "ada")
    await eventually(lambda: len([c for c in at.here.slack.calls if c.method == "users.info"]) > 2)
    assert publishes(at.here, "gone") == publishes(at.here, "deploybot") == []


async def test_the_rows_of_another_workspace_are_not_shown(at: Asking, at_once: None):  # noqa: ARG001
    await at.approval(who=("requester",))
    other = await factories.workspace(at.here.connection)
    await at.here.connection.execute("SET session_replication_role = replica")
    await at.here.connection.execute("UPDATE agent_approvals SET workspace_id = $1", other)
    await at.here.connection.execute("UPDATE agent_sessions SET workspace_id = $1", other)
    text = shows(await opened(at.here, "ada"))
    assert "Nothing waits for you." in text
    assert "You have not begun one yet." in text


async def test_an_agent_is_named_where_several_answer(at: Asking):
    await at.here.connection.execute("UPDATE deployed_agents SET name = '<!here> *Bob*'")
    text = shows(await opened(at.here, "ada"))
    assert '{"type": "plain_text", "text": "<!here> *Bob*", "emoji": false}' in text
