"""The rows of the table in `router/turns/__init__.py` at which an agent's own calls to Slack are made."""

import pytest

from bot.local import Pressed
from tests.chaos.crashes import ask, attempts_are_over, dead, requests_are_over, row
from tests.chaos.processes import Fleet
from tests.flows.people import awaits_people, confirmations, set_behaviour
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

READ = "!tool slack_conversation_history {}"
OWN = '!tool slack_post_message {"text": "done"}'
ELSEWHERE = '!tool slack_post_message {"channel": "random", "text": "done"}'
_MAKING = "router.turns.tools:_Making"

# What is durable: the approval, the message, the answer and its decision.
KILLED = {
    "tool.read": row("bot.slack_tools:ChannelReading.history", "returned", "- - - -", READ),
    "tool.asked": row("store.approvals:add", "committed", "pending - - -", ELSEWHERE),
    "tool.approved": row(f"{_MAKING}._say", "called", "allowed - - -", ELSEWHERE),
    "tool.posted": row(f"{_MAKING}._say", "returned", "allowed pending - -", ELSEWHERE),
    "tool.unwritten": row("store.usage_logs:add", "commit", "- sent - -", OWN),
    "tool.answered": row("store.usage_logs:add", "committed", "- sent done queued", OWN),
}


async def durable(fleet: Fleet) -> str:
    """What is there of the call; a message that is being delivered counts as pending."""
    found = await fleet.here.row(
        """
        SELECT (SELECT state FROM agent_approvals) AS asked,
               (SELECT CASE state WHEN 'sending' THEN 'pending' ELSE state END FROM slack_outbox
                WHERE effect_key LIKE 'tool:%') AS post,
               (SELECT status FROM usage_logs) AS used,
               (SELECT state FROM session_inputs WHERE kind = 'decision') AS input
        """
    )
    return " ".join(str(value or "-") for value in found.values())


async def approve(fleet: Fleet, channel: str, thread_ts: str) -> Pressed:
    """Who is answered by a process that dies of what they decided may see that it failed."""
    here = fleet.here

    def card() -> list[str]:
        return [ts for ts, label in here.buttons(channel, thread_ts) if label == "Approve"]

    (ts,) = await eventually(card, says="a card")
    await awaits_people(here)
    [pressed] = await here.click("ada", ts, "Approve")
    return pressed


@pytest.mark.parametrize("name", list(KILLED))
async def test_killed_while_a_call_is_made_at(fleet: Fleet, name: str):
    """The message stands there once, the agent has one answer, and it is on record once."""
    here, doomed = fleet.here, KILLED[name]
    await set_behaviour(here, slack_tools={"channels": "all"})
    first = await fleet.serve(point=doomed.point)
    asked = await ask(fleet, doomed.text)
    if name in ("tool.approved", "tool.posted"):
        await approve(fleet, asked.channel, asked.ts)
    await dead(first)
    assert await durable(fleet) == doomed.durable
    await attempts_are_over(fleet)
    await requests_are_over(fleet)
    await fleet.serve()
    if name == "tool.asked":
        assert (await approve(fleet, asked.channel, asked.ts)).failure is None
    await eventually(lambda: len(confirmations(here)) == 1, 45, "the answer")
    await here.at_rest(30)
    (answer,) = confirmations(here)
    assert not answer["is_error"]
    there = here.slack.history("random") if doomed.text == ELSEWHERE else []
    there += here.slack.replies(asked.channel, asked.ts)
    said = [m.text for m in there if m.user == here.slack.bot_user_id]
    assert said.count("done") == (doomed.text != READ)
    state = "confirmed" if doomed.text == ELSEWHERE else "-"
    post = "-" if doomed.text == READ else "sent"
    assert await durable(fleet) == f"{state} {post} done done"
    assert [t["state"] for t in await here.turns()] == ["completed"]
    (audited,) = await here.rows("SELECT action FROM audit_entries WHERE subject = 'tool'")
    assert audited["action"] == "done"
