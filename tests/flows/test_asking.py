"""Held calls and questions as the router sees them: asked, decided at its doors, confirmed, closed."""

import asyncio
from uuid import UUID

import pytest

from router.humans import Ref
from store import sessions
from store.approvals import Verdict
from tests.flows.people import (
    actions,
    approvals_in,
    awaits_people,
    clicker,
    confirmations,
    console,
    doors,
    ref,
    set_behaviour,
)
from tests.harness import World
from tests.support import eventually


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("allow", "bash was allowed and ran."),
        ("deny", "bash was denied: A person declined this call."),
    ],
)
async def test_a_held_call_waits_for_a_person(here: World, verdict: Verdict, told: str):
    """Nobody holds the session meanwhile; the words before the call stand above its card."""
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", "@threadline !ask bash")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        assert (await here.session())["status"] == "running"
        await eventually(lambda: here.slack.shown_status(said.channel, said.ts) == "suspended")
        assert here.bot_posts(said.channel, said.ts)[0] == "This needs a confirmation."
        outcome = await door.approvals.decide(ref(row), verdict, clicker())
        assert outcome.kind == "decided"
        await here.at_rest()
        posts = here.bot_posts(said.channel, said.ts)
    assert posts[-1].startswith(told)
    assert len(posts) == 3
    (after,) = await approvals_in(here, "confirmed", 1)
    assert after.verdict == verdict
    decided = "allowed" if verdict == "allow" else "denied"
    assert await actions(here, row.id) == ["asked", decided, "confirmed"]
    assert [c["result"] for c in confirmations(here)] == [verdict]


async def test_seven_calls_are_decided_apart_though_five_are_named_at_a_time(here: World):
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask7")
        await approvals_in(here, "pending", 5)
        for n in range(7):

            async def newest() -> UUID:
                rows = await here.rows("SELECT id FROM agent_approvals WHERE state = 'pending'")
                assert rows
                return UUID(str(max(r["id"] for r in rows)))

            target = Ref("approval", here.agent_id, await eventually(newest))
            verdict: Verdict = "allow" if n % 2 else "deny"
            assert (await door.approvals.decide(target, verdict, clicker())).kind == "decided"
        await here.at_rest()
    await approvals_in(here, "confirmed", 7)
    results = [c["result"] for c in confirmations(here)]
    assert sorted(results) == ["allow"] * 3 + ["deny"] * 4
    (turn,) = await here.turns()
    assert turn["state"] == "completed"


@pytest.mark.parametrize(
    ("word", "server", "closing"),
    [
        ("!ask linear.create_issue", "linear", "create_issue was allowed and ran."),
        ("!ask sub bash", None, "bash was allowed and ran."),
    ],
    ids=["mcp", "subagent"],
)
async def test_calls_of_servers_and_subagents_are_asked_about_alike(
    here: World, word: str, server: str | None, closing: str
):
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", f"@threadline {word}")
        (row,) = await approvals_in(here, "pending", 1)
        assert row.server == server
        await awaits_people(here)
        await door.approvals.decide(ref(row), "allow", clicker())
        await approvals_in(here, "confirmed", 1)
        await here.at_rest()
        assert here.bot_posts(said.channel, said.ts)[-1].endswith(closing)
    assert len(confirmations(here)) == 1


async def test_two_decisions_at_once_are_one(here: World):
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        async with asyncio.TaskGroup() as tasks:
            wanted = [
                tasks.create_task(door.approvals.decide(ref(row), verdict, clicker()))
                for verdict in ("allow", "deny", "allow", "deny")
            ]
        await here.at_rest()
    kinds = sorted(task.result().kind for task in wanted)
    assert kinds == ["decided", "late", "late", "late"]
    assert len(confirmations(here)) == 1


async def test_a_quorum_takes_two_people_and_one_who_is_against_it_is_enough(here: World):
    await set_behaviour(here, approvals={"default": {"who": ["admins"], "quorum": 2}})
    one, two = clicker("U0ONE", admin=True), clicker("U0TWO", admin=True)
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        assert (await door.approvals.decide(ref(row), "allow", one)).kind == "counted"
        assert (await door.approvals.decide(ref(row), "allow", one)).kind == "late"
        assert (await door.approvals.decide(ref(row), "allow", two)).kind == "decided"
        await here.at_rest()
        await here.slack.say("ada", "general", "@threadline !ask")
        (other,) = await approvals_in(here, "pending", 1)
        assert (await door.approvals.decide(ref(other), "allow", one)).kind == "counted"
        assert (await door.approvals.decide(ref(other), "deny", two)).kind == "decided"
        await here.at_rest()
    assert [c["result"] for c in confirmations(here)] == ["allow", "deny"]
    assert await actions(here, row.id) == ["asked", "voted", "allowed", "confirmed"]
    assert await actions(here, other.id) == ["asked", "voted", "denied", "confirmed"]


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        ({}, "not_named"),
        ({"external": True, "in_channel": True}, "external"),
        ({"guest": True, "in_channel": True}, "guest"),
        ({"bot": True, "admin": True}, "bot"),
        ({"deactivated": True, "admin": True}, "deactivated"),
        ({"known": False}, "unknown"),
    ],
)
async def test_who_may_not_decide_is_refused_and_consumes_nothing(
    here: World, standing: dict[str, bool], why: str
):
    await set_behaviour(here, approvals={"default": {"who": ["admins", "channel", "requester"]}})
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        outcome = await door.approvals.decide(ref(row), "allow", clicker("U0OTHER", **standing))
        assert (outcome.kind, outcome.why) == ("refused", why)
        await approvals_in(here, "pending", 1)
        assert await actions(here, row.id) == ["asked", "refused"]
        assert (await door.approvals.decide(ref(row), "allow", clicker())).kind == "decided"
        await here.at_rest()


async def test_what_was_decided_at_the_console_closes_the_card(here: World):
    async with here.app(), doors(here) as door, console(here) as runtime:
        said = await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        confirmation = {
            "type": "user.tool_confirmation",
            "tool_use_id": row.runtime_event_id,
            "result": "allow",
        }
        (session,) = here.runtime.sessions()
        await runtime.send(session["id"], [confirmation])
        (closed,) = await approvals_in(here, "closed", 1)
        assert closed.reason == "allowed there"
        await here.at_rest()
        late = await door.approvals.decide(ref(row), "deny", clicker())
        assert late.kind == "late"
        posts = here.bot_posts(said.channel, said.ts)
    assert posts[-1] == "bash was allowed and ran."
    assert len(confirmations(here)) == 1


async def test_a_stop_closes_what_waits(here: World):
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", "@threadline !ask7")
        rows = await approvals_in(here, "pending", 5)
        await awaits_people(here)
        await here.slack.say("ada", "general", "stop", thread_ts=said.ts)
        await approvals_in(here, "closed", 5)
        await here.at_rest()
        assert (await door.approvals.decide(ref(rows[0]), "allow", clicker())).kind == "late"
    (turn,) = await here.turns()
    assert turn["state"] == "interrupted"
    assert not confirmations(here)


async def test_an_archive_stops_and_closes_what_waits(here: World):
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        session = await here.session()
        await sessions.request_archive(here.connection, here.agent_id, session["id"])
        await approvals_in(here, "closed", 1)
        await here.at_rest()
        assert (await door.approvals.decide(ref(row), "allow", clicker())).kind == "late"
        assert (await here.session())["status"] == "archived"


async def test_a_message_waits_and_can_change_course(here: World):
    """What is said meanwhile waits; whoever may decide can deny all that waits and have it read."""
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", "@threadline !ask7")
        await approvals_in(here, "pending", 5)
        await awaits_people(here)
        await here.slack.say("ada", "general", "!echo rather this", thread_ts=said.ts)
        await awaits_people(here)
        assert here.sent_texts() == ["!ask7"]
        (turn,) = await here.turns()
        stranger = await door.approvals.change_course(
            here.agent_id, turn["id"], clicker("U0OTHER", external=True)
        )
        assert stranger.kind == "refused"
        for _ in range(2):  # two of the seven become known only once the five are decided
            await door.approvals.change_course(here.agent_id, turn["id"], clicker())
            await here.at_rest()
        posts = here.bot_posts(said.channel, said.ts)
    assert posts[-1] == "rather this"
    assert any(post.startswith("Nothing is waited for any more") for post in posts)
    assert not any(post.startswith("Your message waits") for post in posts)
    assert {c["result"] for c in confirmations(here)} == {"deny"}


@pytest.mark.parametrize(
    ("remember", "passes"), [("tool", True), ("arguments", True), ("no", False)]
)
async def test_an_approval_for_the_thread_lets_later_calls_pass(
    here: World, remember: str, *, passes: bool
):
    await set_behaviour(here, approvals={"default": {"remember": remember}})
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await door.approvals.decide(ref(row), "allow", clicker(), remember=True)
        await here.at_rest()
        await here.slack.say("ada", "general", "!ask", thread_ts=said.ts)
        if passes:
            await here.at_rest()
            await approvals_in(here, "confirmed", 2)
        else:
            await approvals_in(here, "pending", 1)
            await here.at_rest()


async def test_an_approval_for_the_thread_does_not_hold_elsewhere(here: World):
    await set_behaviour(here, approvals={"default": {"remember": "tool"}})
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await door.approvals.decide(ref(row), "allow", clicker(), remember=True)
        await here.at_rest()
        await here.slack.say("ada", "general", "@threadline !ask")
        await approvals_in(here, "pending", 1)
        await here.at_rest()


async def test_a_card_runs_out_and_is_asked_again(here: World):
    await set_behaviour(here, approvals={"default": {"expires_minutes": 60, "remind_minutes": 30}})
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        await _later(here, 31)
        await eventually(lambda: _was(here, row.id, "reminded"))
        await here.at_rest()
        assert here.shown(said.channel, said.ts)[-1].startswith("Still to be decided")
        await _later(here, 30)
        (expired,) = await approvals_in(here, "expired", 1)
        assert (await door.approvals.decide(ref(row), "allow", clicker())).kind == "late"
        assert (await door.approvals.ask_again(ref(expired), clicker())).kind == "decided"
        (again,) = await approvals_in(here, "pending", 1)
        assert again.card_no == 2
        assert (await door.approvals.decide(ref(row), "allow", clicker())).kind == "late"
        assert (await door.approvals.decide(ref(again), "allow", clicker())).kind == "decided"
        await here.at_rest()
    assert len(confirmations(here)) == 1


async def _later(here: World, minutes: int) -> None:
    await here.connection.execute(
        "UPDATE agent_approvals SET remind_at = remind_at - $1 * interval '1 minute',"
        " expires_at = expires_at - $1 * interval '1 minute' WHERE state = 'pending'",
        minutes,
    )


async def _was(here: World, subject: UUID, action: str) -> bool:
    return action in await actions(here, subject)
