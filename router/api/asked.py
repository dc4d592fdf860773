"""What approvals and questions have in common here: whose they are to decide, and how that ends."""

from router.api.auth.principals import Principal
from router.api.problems import CONFLICT, Problem, forbidden, not_found
from router.humans import Actor, Clicker, Outcome
from router.ports import Standing
from store import calls
from store.approvals import Approval
from store.database import Connection
from store.escalations import Escalation


async def clicker(
    connection: Connection, principal: Principal, speaker: str, of: Approval | Escalation
) -> Clicker:
    """Who decides, as the policies see them.

    A person is an admin by their role here, and belongs to "the channel" of a session without a
    Slack thread, which only this workspace sees; who is in a channel of Slack decides there. A key
    decides on what it asked for itself, and is nobody else.
    """
    person = principal.kind == "member"
    threadless = await calls.place(connection, of.deployed_agent_id, of.session_id) is None
    standing = Standing(
        user_id=principal.name,
        name=speaker,
        admin=person and principal.has("admin"),
        in_channel=person and threadless,
    )
    return Clicker(Actor("rest", principal.name, speaker), standing)


def objected(outcome: Outcome, what: str) -> Problem | None:
    """The problem that an outcome is, if it is none that was wished for."""
    match outcome.kind:
        case "decided" | "counted":
            return None
        case "refused":
            return forbidden(f"This {what} is not yours to decide: see its policy.")
        case "late":
            state = outcome.asked.state if outcome.asked else "gone"
            detail = f"Somebody, or the time, was faster: this {what} is {state}."
            return Problem(CONFLICT, detail, extra={"state": state})
        case "unknown":
            return not_found(what)
