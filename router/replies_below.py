"""Replies below a question's card in the escalation channel: each is an input of the asking session.

Such a thread is pinned to a session that speaks elsewhere. A reply locks that session by its id, out
of the order of conversation keys in which a batch takes its locks. So it is never part of a batch:
its transaction takes this one row of a session and waits for nothing else while it has it, and who
waits for one lock only closes no circle of waiters (engine.md 1).

There are no commands here: who writes "stop" below the card says so to the agent.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

from router import refusals, revisions
from router.routing import Arrival, Followed, Outcome, Turned
from store import calls, escalations, inputs
from store.database import Connection
from store.leases import Ready


def is_below_a_card(item: Followed) -> bool:
    """True for what `take` takes."""
    return item.thread.escalation_id is not None


async def take(connection: Connection, item: Followed) -> Outcome:
    """Makes a reply a decision for the holder, who judges it; in a transaction of its own.

    Until it was taken an edit replaces it and a deletion withdraws it; afterwards they come late.
    """
    item = replace(item, arrival=_words(item.arrival))
    arrival, thread = item.arrival, item.thread
    if arrival.command == "rename" or (arrival.command and arrival.empty):
        return Outcome("ignored", "below_a_card")
    asked = await escalations.get(connection, thread.deployed_agent_id, _question(item))
    if asked is None:
        return Outcome("ignored", "no_question")
    if await calls.wake(connection, thread.deployed_agent_id, thread.session_id) is None:
        why = "archived" if arrival.addressed else "archived_unaddressed"
        return (await refusals.turn_away(connection, [Turned(arrival, why)]))[
            arrival.conversation_key
        ]
    changed = await _write(connection, item, asked.turn_id)
    session = Ready(thread.deployed_agent_id, thread.session_id)
    return Outcome("accepted" if changed else "duplicate", session=session)


async def _write(connection: Connection, item: Followed, turn_id: UUID) -> bool:
    arrival = item.arrival
    body = _body(item, turn_id)
    mine = (await revisions.known(connection, [item])).get(arrival.dedupe_key)
    if mine is not None:
        return await revisions.revise(connection, arrival, mine, body)
    if revisions.makes_none(arrival):
        return False
    reply = revisions.input_of(item, item.thread.session_id, "decision", body)
    return bool(await inputs.add(connection, [reply]))


def _words(arrival: Arrival) -> Arrival:
    """Only words answer a question: what comes as a file alone says nothing."""
    return replace(arrival, text=arrival.text.strip(), files=())


def _body(item: Followed, turn_id: UUID) -> dict[str, Any]:
    arrival = item.arrival
    return {
        "turn": str(turn_id),
        "reply": {
            "escalation": str(_question(item)),
            "text": arrival.text,
            "user": arrival.user_id,
            "team": arrival.actor_team_id,
            "root_ts": arrival.root_ts,
        },
    }


def _question(item: Followed) -> UUID:
    found = item.thread.escalation_id
    assert found is not None  # noqa: S101  # the caller has looked (`is_below_a_card`)
    return found
