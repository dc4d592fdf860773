"""Approvals and questions by REST: whose they are, what becomes of them, and what Slack shows."""

from typing import Any
from uuid import UUID

from tests.flows.api import Caller, House, house
from tests.flows.people import (
    actions,
    approvals_in,
    awaits_people,
    confirmations,
    question,
    set_behaviour,
)
from tests.harness import World


async def held(on: House, text: str = "!ask bash", caller: Caller | None = None) -> Any:
    """The approval that a session of somebody's waits for."""
    await (caller or on.member).session(message=text)
    await awaits_people(on.here)
    page = (await on.viewer.get("/approvals?state=pending")).ok()
    (approval,) = page["data"]
    return approval


async def asked(on: House, caller: Caller | None = None) -> Any:
    """The question that a session of somebody's waits for."""
    await (caller or on.member).session(message="!escalate which one? | red | blue")
    await awaits_people(on.here)
    (one,) = (await on.viewer.get("/escalations")).ok()["data"]
    return one


# ------------------------------------------------------------------ approvals


async def test_who_asked_may_allow_and_the_turn_goes_on(here: World):
    async with house(here) as on:
        approval = await held(on)
        assert approval["requesters"] == ["member:member"]
        assert (approval["state"], approval["verdict"]) == ("pending", None)
        path = f"/approvals/{approval['id']}"
        decided = (await on.member.post(f"{path}/decide", {"verdict": "allow"})).ok()
        assert (decided["state"], decided["verdict"]) == ("allowed", "allow")
        assert decided["decided_by"] == {
            "origin": "rest",
            "user": "member:member",
            "name": "member@example.com",
            "team": None,
        }
        await here.at_rest()
        assert (await on.viewer.get(path)).ok()["state"] == "confirmed"
        late = await on.member.post(f"{path}/decide", {"verdict": "deny"})
        assert (late.status, late.slug, late.body["state"]) == (409, "conflict", "confirmed")
    assert [c["result"] for c in confirmations(here)] == ["allow"]
    assert [turn["state"] for turn in await here.turns()] == ["completed"]
    assert (await actions(here, UUID(approval["id"])))[-1] == "late"


async def test_a_denial_gives_the_agent_its_reason(here: World):
    async with house(here) as on:
        approval = await held(on)
        path = f"/approvals/{approval['id']}/decide"
        said = {"verdict": "deny", "reason": "Not on a Friday."}
        first = await on.member.post(path, said, key="k")
        assert first.ok()["reason"] == "Not on a Friday."
        await here.at_rest()
        again = await on.member.post(path, said, key="k")
        assert (again.status, again.raw) == (200, first.raw)
    (told,) = confirmations(here)
    assert told["result"] == "deny"
    assert "Not on a Friday." in told["deny_message"]


async def test_only_those_whom_the_policy_names_decide(here: World):
    async with house(here) as on:
        approval = await held(on)
        path = f"/approvals/{approval['id']}/decide"
        for caller in (on.admin, on.callers["owner"], await on.key("admin")):
            said = await caller.post(path, {"verdict": "allow"}, key="k")
            assert (said.status, said.slug) == (403, "forbidden")
        assert (await on.viewer.get(f"/approvals/{approval['id']}")).ok()["state"] == "pending"
        assert (await actions(here, UUID(approval["id"])))[-3:] == ["refused"] * 3
        assert await here.rows("SELECT key FROM idempotency_keys WHERE status IS NOT NULL") == []


async def test_admins_by_our_own_table_are_the_admins_of_a_policy(here: World):
    await set_behaviour(here, approvals={"default": {"who": ["admins"]}})
    async with house(here) as on:
        approval = await held(on)
        path = f"/approvals/{approval['id']}/decide"
        assert (await on.member.post(path, {"verdict": "allow"})).slug == "forbidden"
        assert (await (await on.key("admin")).post(path, {"verdict": "allow"})).slug == "forbidden"
        assert (await on.admin.post(path, {"verdict": "allow"})).ok()["state"] == "allowed"
        await here.at_rest()


async def test_a_quorum_counts_every_person_once(here: World):
    await set_behaviour(here, approvals={"default": {"who": ["admins"], "quorum": 2}})
    async with house(here) as on:
        approval = await held(on)
        path = f"/approvals/{approval['id']}/decide"
        assert (await on.admin.post(path, {"verdict": "allow"})).ok()["state"] == "pending"
        assert (await on.admin.post(path, {"verdict": "allow"})).slug == "conflict"
        second = await on.callers["owner"].post(path, {"verdict": "allow"})
        assert second.ok()["state"] == "allowed"
        await here.at_rest()


async def test_a_key_decides_on_what_it_asked_for_itself(here: World):
    async with house(here) as on:
        program = await on.key()
        approval = await held(on, caller=program)
        path = f"/approvals/{approval['id']}/decide"
        other = await (await on.key()).post(path, {"verdict": "allow"})
        assert (other.status, other.slug) == (403, "forbidden")
        assert (await program.post(path, {"verdict": "allow"})).ok()["state"] == "allowed"
        await here.at_rest()


async def test_a_decision_on_a_card_that_was_replaced_is_late(here: World):
    async with house(here) as on:
        approval = await held(on)
        path = f"/approvals/{approval['id']}"
        await here.connection.execute(
            "UPDATE agent_approvals SET state = 'expired', remind_at = NULL, expires_at = NULL"
        )
        assert (await on.member.post(f"{path}/decide", {"verdict": "allow"})).slug == "conflict"
        assert (await on.admin.post(f"{path}/ask-again")).slug == "forbidden"
        anew = (await on.member.post(f"{path}/ask-again")).ok()
        assert (anew["state"], anew["card_no"]) == ("pending", 2)
        assert (await on.member.post(f"{path}/ask-again")).slug == "conflict"
        old = {"verdict": "allow", "card_no": 1}
        assert (await on.member.post(f"{path}/decide", old)).slug == "conflict"
        new = {"verdict": "allow", "card_no": 2}
        assert (await on.member.post(f"{path}/decide", new)).ok()["state"] == "allowed"
        await here.at_rest()


async def test_a_decision_by_rest_is_written_on_the_card_in_slack(here: World):
    await set_behaviour(here, approvals={"default": {"who": ["admins"]}})
    async with house(here) as on:
        root = await here.slack.say("ada", "general", "@threadline !ask bash")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        path = f"/approvals/{row.id}/decide"
        (await on.admin.post(path, {"verdict": "allow"})).ok()
        await here.at_rest()
        shown = "\n".join(here.shown(root.channel, root.ts))
    assert "by adminexample.com through the API" in shown


async def test_a_card_names_nobody_who_has_no_name_in_slack(here: World):
    async with house(here) as on:
        root = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(root.channel, root.ts, 1)
        session = await here.session()
        path = f"/sessions/{session['id']}/messages"
        (await on.member.post(path, {"text": "!ask bash"})).ok(202)
        await approvals_in(here, "pending", 1)
        await awaits_people(here)
        card = here.shown(root.channel, root.ts)[-1]
    assert "Asked for by somebody outside of Slack." in card
    assert "May decide: somebody outside of Slack." in card


async def test_whoever_is_in_a_channel_of_slack_decides_there(here: World):
    await set_behaviour(here, approvals={"default": {"who": ["channel"]}})
    async with house(here) as on:
        await here.slack.say("ada", "general", "@threadline !ask bash")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        said = await on.admin.post(f"/approvals/{row.id}/decide", {"verdict": "allow"})
        assert (said.status, said.slug) == (403, "forbidden")


async def test_approvals_are_listed_by_session_and_state_in_pages(here: World):
    async with house(here) as on:
        approval = await held(on, "!ask bash")
        session = approval["session_id"]
        for query, count in (
            ("", 1),
            (f"?session_id={session}", 1),
            (f"?session_id={session}&state=denied&state=allowed", 0),
            ("?state=pending&state=expired", 1),
            ("?state=closed", 0),
        ):
            page = (await on.viewer.get(f"/approvals{query}")).ok()
            assert (len(page["data"]), page["next_cursor"]) == (count, None), query
        assert (await on.viewer.get("/approvals?state=open")).slug == "invalid"


# ------------------------------------------------------------------ questions


async def test_an_answer_reaches_the_agent_with_the_name_of_who_gave_it(here: World):
    async with house(here) as on:
        one = await asked(on)
        assert (one["question"], one["choices"]) == ("which one?", ["red", "blue"])
        path = f"/escalations/{one['id']}"
        # of a session without a channel everybody of the workspace is "the channel"
        said = (await on.admin.post(f"{path}/answer", {"answer": " red "})).ok()
        assert (said["state"], said["answer"]) == ("answered", "red")
        await here.at_rest()
        late = await on.member.post(f"{path}/cancel")
        assert (late.status, late.slug, late.body["state"]) == (409, "conflict", "answered")
    (told,) = confirmations(here)
    assert '"answered_by": "admin@example.com"' in told["content"][0]["text"]


async def test_a_question_is_taken_away(here: World):
    async with house(here) as on:
        one = await asked(on)
        path = f"/escalations/{one['id']}"
        said = await (await on.key()).post(f"{path}/cancel")
        assert (said.status, said.slug) == (403, "forbidden")
        assert (await on.member.post(f"{path}/cancel")).ok()["state"] == "cancelled"
        await here.at_rest()
        assert (await on.viewer.get("/escalations?state=cancelled")).ok()["data"][0]["id"] == one[
            "id"
        ]
    (told,) = confirmations(here)
    assert told["is_error"] is True


async def test_a_message_by_rest_does_not_pass_for_an_answer_of_slacks(here: World):
    """It waits behind the question, and does not stand in the way of Slack's answer."""
    async with house(here) as on:
        root = await here.slack.say("ada", "general", "@threadline !escalate which one?")
        row = await question(here)
        await awaits_people(here)
        path = f"/sessions/{row.session_id}/messages"
        (await on.member.post(path, {"text": "and hello"})).ok(202)
        await awaits_people(here)
        await here.slack.say("ada", root.channel, "the red one", thread_ts=root.ts)
        answered = await question(here, "answered")
        await here.at_rest()
    assert answered.answer == "the red one"
    assert here.sent_texts()[-1] == "and hello"
    assert "refused" not in await actions(here, row.id)
