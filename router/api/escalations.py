"""The work of the routes for questions: the door of router.escalations, for members and keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from router import escalations as door
from router.api import asked, cursors
from router.api.call import Answer, Call
from router.api.problems import not_found
from router.api.schemas import Nothing
from router.api.schemas_asked import (
    AnswerQuestion,
    EscalationOut,
    EscalationPage,
    EscalationsQuery,
)
from store import escalations_read
from store.escalations import Escalation
from store.escalations_read import STATES
from store.leases import Ready

_WHAT = "escalation"


async def listed(call: Call[EscalationsQuery, Nothing]) -> Answer:
    """A page of an agent's questions, or of one session's; the newest first."""
    query = call.query
    states: tuple[str, ...] = tuple(query.state) or STATES
    after = cursors.read(query.cursor, UUID)
    of = (call.connection, call.workspace_id, call.agent_id)
    most = query.limit + 1
    if query.session_id is None:
        rows = await escalations_read.page(*of, states, after=after, limit=most)
    else:
        rows = await escalations_read.of_session(
            *of, query.session_id, states, after=after, limit=most
        )
    page, cursor = cursors.page(rows, query.limit, _place)
    return Answer(EscalationPage(data=[_shown(row) for row in page], next_cursor=cursor))


async def read(call: Call[Nothing, Nothing]) -> Answer:
    """One question."""
    return Answer(_shown(await _found(call)))


async def answer(call: Call[Nothing, AnswerQuestion]) -> Answer:
    """Answers; the first answer counts."""
    return await _decided(call, call.body.answer)


async def cancel(call: Call[Nothing, Nothing]) -> Answer:
    """Takes the question away: the agent is told that nobody will answer."""
    return await _decided(call, None)


async def _decided(call: Call[Any, Any], text: str | None) -> Answer:
    found = await _found(call)
    who = await asked.clicker(call.connection, call.principal, call.speaker, found)
    outcome = await door.decide(call.connection, call.agent_id, found.id, who, text)
    ready = (Ready(found.deployed_agent_id, found.session_id),)
    return Answer(
        _shown(await _found(call)),
        ready if outcome.kind == "decided" else (),
        spoke=outcome.kind == "decided",
        problem=asked.objected(outcome, _WHAT),
    )


async def _found(call: Call[Any, Any]) -> Escalation:
    found = await escalations_read.get(
        call.connection, call.workspace_id, call.agent_id, call.path["escalation_id"]
    )
    if found is None:
        raise not_found(_WHAT)
    return found


def _shown(escalation: Escalation) -> EscalationOut:
    return EscalationOut.model_validate(escalation)


def _place(escalation: Escalation) -> tuple[datetime, UUID]:
    return escalation.asked_at, escalation.id
