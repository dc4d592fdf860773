"""The work of the routes for approvals: the door of router.approvals, for members and keys."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from router import approvals as door
from router.api import asked, cursors
from router.api.call import Answer, Call
from router.api.problems import not_found
from router.api.schemas import Nothing
from router.api.schemas_asked import ApprovalOut, ApprovalPage, ApprovalsQuery, Decide
from router.approvals import Wish
from router.humans import Outcome, Ref
from store import approvals_read
from store.approvals import Approval
from store.approvals_read import STATES
from store.leases import Ready

_WHAT: Literal["approval"] = "approval"


async def listed(call: Call[ApprovalsQuery, Nothing]) -> Answer:
    """A page of an agent's approvals, or of one session's; the newest asked first."""
    query = call.query
    states: tuple[str, ...] = tuple(query.state) or STATES
    after = cursors.read(query.cursor, UUID)
    of = (call.connection, call.workspace_id, call.agent_id)
    most = query.limit + 1
    if query.session_id is None:
        rows = await approvals_read.page(*of, states, after=after, limit=most)
    else:
        rows = await approvals_read.of_session(
            *of, query.session_id, states, after=after, limit=most
        )
    page, cursor = cursors.page(rows, query.limit, _place)
    return Answer(ApprovalPage(data=[_shown(row) for row in page], next_cursor=cursor))


async def read(call: Call[Nothing, Nothing]) -> Answer:
    """One approval."""
    return Answer(_shown(await _found(call)))


async def decide(call: Call[Nothing, Decide]) -> Answer:
    """Takes a decision, or a vote of several."""
    found, wanted = await _found(call), call.body
    who = await asked.clicker(call.connection, call.principal, call.speaker, found)
    ref = Ref(_WHAT, found.deployed_agent_id, found.id, wanted.card_no or found.card_no)
    wish = Wish(wanted.verdict, wanted.reason, wanted.remember)
    return await _answered(call, await door.decide(call.connection, ref, wish, who))


async def ask_again(call: Call[Nothing, Nothing]) -> Answer:
    """Asks anew for a call whose time to be decided on ran out."""
    found = await _found(call)
    who = await asked.clicker(call.connection, call.principal, call.speaker, found)
    ref = Ref(_WHAT, found.deployed_agent_id, found.id, found.card_no)
    return await _answered(call, await door.ask_again(call.connection, ref, who))


async def _answered(call: Call[Any, Any], outcome: Outcome) -> Answer:
    after = await _found(call)
    ready = (Ready(after.deployed_agent_id, after.session_id),)
    return Answer(
        _shown(after),
        ready if outcome.kind == "decided" else (),
        spoke=outcome.kind in ("decided", "counted"),
        problem=asked.objected(outcome, _WHAT),
    )


async def _found(call: Call[Any, Any]) -> Approval:
    found = await approvals_read.get(
        call.connection, call.workspace_id, call.agent_id, call.path["approval_id"]
    )
    if found is None:
        raise not_found(_WHAT)
    return found


def _shown(approval: Approval) -> ApprovalOut:
    return ApprovalOut.model_validate(approval)


def _place(approval: Approval) -> tuple[datetime, UUID]:
    return approval.asked_at, approval.id
