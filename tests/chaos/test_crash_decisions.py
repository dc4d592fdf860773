"""The rows of the table in `router/turns/__init__.py` at which people decide, with a real kill each.

Somebody presses a button of the card in Slack; where the process that takes the press dies, they see
that it failed and press once more, as people do.
"""

from dataclasses import dataclass

import pytest

from bot.local import Pressed
from bot.local.model import Message
from tests.cases import few_of
from tests.chaos.crashes import (
    ROLES_THAT_DELIVER_NOTHING,
    ask,
    attempts_are_over,
    dead,
    requests_are_over,
    row,
)
from tests.chaos.processes import Fleet, Process
from tests.flows.people import awaits_people, confirmations
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

CALL = "!ask bash"
QUESTION = "!escalate which one? | blue | red"
_SEND = "router.runtime.client:Runtime.send"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The button that is pressed, and what is there once it is over."""

    label: str
    posts: tuple[str, ...]
    card: tuple[str, ...]
    state: str


OUTCOMES = {
    CALL: Outcome(
        "Approve",
        ("This needs a confirmation.", "The agent wants to use bash", "bash was allowed and ran."),
        ("Approved by <@U0ADA>", "the agent was told."),
        "confirmed",
    ),
    QUESTION: Outcome(
        "blue",
        ("The agent asks:", "escalate_to_human answered:"),
        ("Answer: blue", "Answered by <@U0ADA>"),
        "answered",
    ),
}


async def durable(fleet: Fleet) -> str:
    """The states of the turn, its words so far, what is asked, its decision; whether it is held."""
    found = await fleet.here.row(
        """
        SELECT (SELECT string_agg(state, ',') FROM agent_turns) AS turn,
               (SELECT string_agg(state, ',' ORDER BY position) FROM slack_outbox
                WHERE kind = 'reply') AS outbox,
               (SELECT string_agg(state, ',')
                FROM (SELECT state FROM agent_approvals
                      UNION ALL SELECT state FROM agent_escalations) a) AS asked,
               (SELECT string_agg(state, ',') FROM session_inputs WHERE kind = 'decision') AS input,
               (SELECT CASE WHEN lease_owner IS NULL THEN 'free' ELSE 'held' END
                FROM agent_sessions) AS lease
        """
    )
    return " ".join(str(value or "-") for value in found.values())


# Killed before anybody can press.
ASKING = {
    "ask.uncommitted": row("store.approvals:add", "commit", "running - - - held", CALL),
    "ask.committed": row("store.approvals:add", "committed", "running - pending - held", CALL),
    "pause.committed": row(
        "store.turns:await_human", "committed", "awaiting_human pending pending - free", CALL
    ),
}
# Killed by what the press leads to.
PRESSED = {
    "decide.uncommitted": row(
        "store.approvals:decide", "commit", "awaiting_human sent pending - free", CALL
    ),
    "decide.committed": row(
        "store.approvals:decide", "committed", "awaiting_human sent allowed queued free", CALL
    ),
    "confirm.sending": row(_SEND, "called", "running sent allowed sending held", CALL, 2),
    "confirm.unstored": row(_SEND, "returned", "running sent allowed sending held", CALL, 2),
    "confirm.stored": row(
        "store.approvals:delivered", "committed", "running sent confirmed sent held", CALL
    ),
    "answer.committed": row(
        "store.escalations:answer", "committed", "awaiting_human - answered queued free", QUESTION
    ),
    "answer.unstored": row(_SEND, "returned", "running - answered sending held", QUESTION, 2),
}
KILLED = ASKING | PRESSED


async def card(fleet: Fleet, asked: Message) -> str:
    """The ts of the card, once it has the button."""
    label = OUTCOMES[asked.text].label

    def found() -> list[str]:
        buttons = fleet.here.buttons(asked.channel, asked.ts)
        return [ts for ts, name in buttons if name == label]

    return (await eventually(found, says="a card"))[0]


async def press(fleet: Fleet, asked: Message, ts: str) -> Pressed:
    """Presses, on a screen that may be older than the card."""
    label = OUTCOMES[asked.text].label
    [pressed] = await fleet.here.click("ada", ts, label, anyway=True)
    return pressed


async def decided_once(fleet: Fleet, asked: Message) -> None:
    """One confirmation at the runtime, one card that says who decided, the answer; no reproach."""
    here, outcome = fleet.here, OUTCOMES[asked.text]
    count = len(outcome.posts)
    await eventually(lambda: len(_shown(fleet, asked)) >= count, 45, f"the answer to {asked.text}")
    await here.at_rest(30)
    shown = _shown(fleet, asked)
    assert len(shown) == count, shown
    for text, starts in zip(shown, outcome.posts, strict=True):
        assert text.startswith(starts), shown
    [standing] = [text for text in shown if outcome.card[0] in text]
    assert all(words in standing for words in outcome.card), standing
    assert here.buttons(asked.channel, asked.ts) == []
    assert len(confirmations(here)) == 1
    assert [t["state"] for t in await here.turns()] == ["completed"]
    assert (await durable(fleet)).split()[2:] == [outcome.state, "done", "free"]
    assert here.sent_texts() == [asked.text]
    assert len(here.runtime.sessions()) == 1
    left = await here.rows("SELECT * FROM slack_outbox WHERE state <> 'sent' OR kind = 'private'")
    assert left == []


def _shown(fleet: Fleet, asked: Message) -> list[str]:
    return fleet.here.shown(asked.channel, asked.ts)


async def taken_over(fleet: Fleet, killed: Process) -> None:
    """Another replica comes, in whose time nothing of the dead one is under way any more."""
    await dead(killed)
    await attempts_are_over(fleet)
    await requests_are_over(fleet)
    await fleet.serve()


@pytest.mark.parametrize("name", list(ASKING))
async def test_killed_while_asking_at(fleet: Fleet, name: str):
    doomed = KILLED[name]
    first = await fleet.serve(point=doomed.point, roles=ROLES_THAT_DELIVER_NOTHING)
    asked = await ask(fleet, doomed.text)
    await dead(first)
    assert await durable(fleet) == doomed.durable
    await taken_over(fleet, first)
    pressed = await press(fleet, asked, await card(fleet, asked))
    assert pressed.failure is None
    await decided_once(fleet, asked)


# as in test_crash_points
_TYPICAL = ("decide.uncommitted", "decide.committed", "confirm.unstored", "answer.unstored")


@pytest.mark.parametrize("name", few_of(list(PRESSED), _TYPICAL))
async def test_killed_after_a_press_at(fleet: Fleet, name: str):
    doomed = KILLED[name]
    first = await fleet.serve(point=doomed.point)
    asked = await ask(fleet, doomed.text)
    ts = await card(fleet, asked)
    await awaits_people(fleet.here)
    pressed = await press(fleet, asked, ts)
    if name.startswith("decide") or name == "answer.committed":
        assert pressed.failure is not None
    await dead(first)
    assert await durable(fleet) == doomed.durable
    await taken_over(fleet, first)
    if pressed.failure is not None:
        assert (await press(fleet, asked, ts)).failure is None
    await decided_once(fleet, asked)


async def test_confirm__unanswered(fleet: Fleet):
    here = fleet.here
    first = await fleet.serve()
    asked = await ask(fleet, CALL)
    ts = await card(fleet, asked)
    await awaits_people(here)
    stalled = here.runtime.fault("stall", route="events.send", seconds=60)
    assert (await press(fleet, asked, ts)).failure is None
    await eventually(lambda: stalled.hits)
    await first.kill()
    assert await durable(fleet) == "running sent allowed sending held"
    await taken_over(fleet, first)
    await decided_once(fleet, asked)
