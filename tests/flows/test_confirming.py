"""What is confirmed to the runtime: what was shown, once, whatever it says and whoever dies."""

import json
from contextlib import AsyncExitStack

import pytest

from router import redaction
from tests.flows.people import (
    actions,
    approvals_in,
    awaits_people,
    clicker,
    confirmations,
    doors,
    ref,
)
from tests.flows.streams import messages, quicken, streaming, words_come
from tests.harness import World
from tests.support import eventually

LATER = "SELECT FROM slack_outbox WHERE state = 'pending' AND not_before > now() + interval '60 s'"


async def test_a_decision_survives_the_process_that_took_it(here: World):
    """The door commits and its process is gone; another one confirms, once."""
    async with AsyncExitStack() as first, doors(here) as door:
        await first.enter_async_context(here.app())
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        await first.aclose()
        assert (await door.approvals.decide(ref(row), "allow", clicker())).kind == "decided"
        assert not confirmations(here)
        async with here.app():
            await here.at_rest()
    assert [c["result"] for c in confirmations(here)] == ["allow"]


async def test_nothing_is_confirmed_but_what_was_shown(here: World):
    """The call is not the one that was on the card: it is asked about again, as it is."""
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        await here.connection.execute(
            "UPDATE agent_approvals SET arguments_hash = 'x', arguments = '{\"command\": \"ls\"}'"
        )
        await door.approvals.decide(ref(row), "allow", clicker())
        (again,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        assert not confirmations(here)
        assert (again.card_no, again.arguments_hash) == (2, row.arguments_hash)
        assert again.arguments == row.arguments
        assert (await door.approvals.decide(ref(row), "allow", clicker())).kind == "late"
        assert (await door.approvals.decide(ref(again), "allow", clicker())).kind == "decided"
        await here.at_rest()
    assert len(confirmations(here)) == 1
    assert (await actions(here, row.id))[:4] == ["asked", "allowed", "changed", "asked"]


async def test_a_decision_that_the_runtime_does_not_take_yet_goes_out_again(here: World):
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        here.runtime.fault("refused", route="events.send", times=2)
        await door.approvals.decide(ref(row), "allow", clicker())
        await approvals_in(here, "confirmed", 1)
        await here.at_rest()
    assert len(confirmations(here)) == 1


async def test_a_decision_that_the_runtime_never_takes_is_void_and_asked_for_again(here: World):
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        refusals = here.runtime.fault("refused", route="events.send", times=None)
        await door.approvals.decide(ref(row), "allow", clicker())

        async def newer() -> bool:
            return (await approvals_in(here, "pending", 1))[0].card_no == 2

        await eventually(newer)
        assert refusals.hits == 4
        here.runtime.clear_faults()
        (again,) = await approvals_in(here, "pending", 1)
        await door.approvals.decide(ref(again), "allow", clicker())
        await here.at_rest()
    assert len(confirmations(here)) == 1
    assert "void" in await actions(here, row.id)


async def test_what_follows_a_decision_is_shown_while_it_is_written_below_the_card(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    quicken(monkeypatch)
    async with here.app(), doors(here) as door:
        asked = await here.slack.say("ada", "general", "@threadline !ask slow")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        before = messages(here, asked)
        here.runtime.world.pace.set_rate(0)
        await door.approvals.decide(ref(row), "allow", clicker())
        await words_come(here, 1)
        stream = await streaming(here, asked, words=4)
        assert stream.ts > max(m.ts for m in before)
        here.runtime.world.pace.set_rate(1000)
        await here.at_rest()
        after = messages(here, asked)
    assert [m.ts for m in after] == [*(m.ts for m in before), stream.ts]
    assert after[0].text == before[0].text
    assert after[-1].streaming_state == "completed"
    text = after[-1].blocks[-1]["text"]
    assert text.startswith("slow was allowed and ran. This is sentence 1")
    assert text.endswith("so that a stream has something to show.")


async def test_secrets_are_in_no_row_and_on_no_card(here: World):
    async with here.app():
        said = await here.slack.say("ada", "general", "@threadline !ask secret")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        shown = "\n".join(here.shown(said.channel, said.ts))
    (held,) = [
        event
        for session in here.runtime.sessions()
        for event in here.runtime.events(session["id"])
        if event["type"] == "agent.tool_use"
    ]
    secrets = [v for k, v in held["input"].items() if "key" in k or "password" in k]
    assert secrets
    for secret in secrets:
        assert secret not in shown
        assert secret not in json.dumps(row.arguments)
    assert redaction.HIDDEN in shown


async def test_of_two_writings_of_a_card_that_wait_only_the_last_is_made(here: World):
    """Edits are scarce: what was decided, and that the agent was told, are one of them then."""
    async with here.app(), doors(here) as door:
        asked = await here.slack.say("ada", "general", "@threadline !ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        here.slack.fault("ratelimit", method="chat.update", retry_after=600)
        await door.approvals.decide(ref(row), "allow", clicker())
        await approvals_in(here, "confirmed", 1)
        await eventually(lambda: here.rows(LATER), says="an edit that waits")
        await here.connection.execute("DELETE FROM slack_budgets WHERE method = 'chat.update'")
        await here.connection.execute("UPDATE slack_outbox SET not_before = now()")
        await here.at_rest()
        edits = [call for call in here.slack.calls if call.method == "chat.update"]
        shown = here.shown(asked.channel, asked.ts)
    assert len(edits) == 2
    assert any("the agent was told" in text for text in shown)
