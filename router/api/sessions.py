"""The work of the session routes. What somebody says waits in the one line of its session."""

from datetime import datetime
from uuid import UUID

from router import clock, commands, outside
from router.api import cursors
from router.api.auth.principals import Person, Principal, knows
from router.api.call import Answer, Call, Knock
from router.api.context import Context
from router.api.problems import (
    SESSION_ARCHIVED,
    SESSION_IDLE,
    Problem,
    not_found,
)
from router.api.schemas import Nothing
from router.api.schemas_sessions import (
    CreateSession,
    InputOut,
    SendMessage,
    SessionOut,
    SessionPage,
    SessionsQuery,
)
from router.outside import Speaker, Where
from store import sessions, sessions_read
from store.database import Connection
from store.leases import Ready
from store.sessions import Wanted
from store.sessions_read import SOURCES, STATUSES, Filters, Seen, Session


async def create(call: Call[Nothing, CreateSession]) -> Answer:
    """A new session, bound to who made it; with its first message, if it has one."""
    where = _where(call, call.work_id)
    principal, wanted = call.principal, call.body
    maker = principal.user_id or principal.name
    made = await outside.create(call.connection, where, maker, wanted.title, wanted.message)
    ready: tuple[Ready, ...] = ()
    if wanted.message is not None:
        await outside.say(call.connection, where, _speaker(call), call.work_id, wanted.message)
        ready = (Ready(where.deployed_agent_id, where.session_id),)
        made = await find(call.connection, where.workspace_id, call.agent_id, call.work_id)
    return _made(made, ready)


def is_silent(body: CreateSession) -> bool:
    """Whether a session is wanted without a first message."""
    return body.message is None


async def create_alone(knock: Knock[CreateSession]) -> tuple[Principal, Answer | None]:
    """A new session without a message; Problem not-found where the agent is not theirs."""
    who, title = knock.who, knock.body.title
    wanted = Wanted(knock.work_id, knock.agent_id, knock.roles, title, who.user_id or who.name)
    made = await sessions.create_for(knock.connection, wanted, _known_by(who))
    principal, session = _let_in(who, made)
    return principal, _made(session) if session else None


async def listed(call: Call[SessionsQuery, Nothing]) -> Answer:
    """A page of an agent's sessions, newest first."""
    query = call.query
    rows = await sessions_read.page(
        call.connection,
        call.workspace_id,
        call.agent_id,
        Filters(
            statuses=tuple(query.status) or STATUSES,
            sources=tuple(query.source) or SOURCES,
            title=query.title,
            created_from=query.created_from,
            created_before=query.created_before,
        ),
        after=cursors.read(query.cursor, UUID),
        limit=query.limit + 1,
    )
    page, cursor = cursors.page(rows, query.limit, _place)
    return Answer(SessionPage(data=[shown(row) for row in page], next_cursor=cursor))


async def read(_context: Context, session: Session, _query: Nothing) -> SessionOut:
    """One session."""
    return shown(session)


async def say(call: Call[Nothing, SendMessage]) -> Answer:
    """Queues a message; Problem session-archived where nobody would read it."""
    session = await _found(call)
    where = _where(call, session.id)
    if not await outside.say(call.connection, where, _speaker(call), call.work_id, call.body.text):
        raise _archived()
    accepted = InputOut(
        id=call.work_id,
        session_id=session.id,
        kind="message",
        state="queued",
        accepted_at=clock.now(),
    )
    return Answer(accepted, _ready(session), spoke=True)


async def interrupt(call: Call[Nothing, Nothing]) -> Answer:
    """Stops the turn in flight; Problem session-idle where there is none."""
    session = await _found(call)
    if session.status == "archived":
        raise _archived()
    if not await commands.stop(call.connection, call.agent_id, session.id, call.speaker):
        raise Problem(SESSION_IDLE, "No turn of this session is in flight.")
    return Answer(shown(await _found(call)), _ready(session))


async def archive(call: Call[Nothing, Nothing]) -> Answer:
    """Archives, after stopping what is under way; a second time changes nothing."""
    session = await _found(call)
    where = _where(call, session.id)
    asked = await outside.archive(call.connection, where, _speaker(call))
    after = shown(await _found(call))
    return Answer(after, _ready(session), spoke=True) if asked else Answer(after)


async def seen(
    connection: Connection, who: Person | Principal, agent_id: UUID, session_id: UUID
) -> tuple[Principal, Session | None]:
    """What who asks is at the agent, and the session; Problem not-found where the agent is not theirs."""
    knows(who, agent_id)
    found = await sessions_read.seen(connection, agent_id, session_id, _known_by(who))
    return _let_in(who, found)


async def find(
    connection: Connection, workspace_id: UUID, agent_id: UUID, session_id: UUID
) -> Session:
    """The session of that id; Problem not-found where it is another agent's, or nobody's."""
    found = await sessions_read.get(connection, workspace_id, agent_id, session_id)
    if found is None:
        raise not_found("session")
    return found


def shown(session: Session) -> SessionOut:
    """A session as it is answered."""
    return SessionOut.model_validate(session)


async def _found(call: Call[Nothing, Nothing] | Call[Nothing, SendMessage]) -> Session:
    session_id = call.path["session_id"]
    return await find(call.connection, call.workspace_id, call.agent_id, session_id)


def _where(
    call: Call[Nothing, Nothing] | Call[Nothing, SendMessage] | Call[Nothing, CreateSession],
    session_id: UUID,
) -> Where:
    return Where(call.agent_id, call.workspace_id, session_id)


def _speaker(
    call: Call[Nothing, Nothing] | Call[Nothing, SendMessage] | Call[Nothing, CreateSession],
) -> Speaker:
    return Speaker(call.principal.name, call.speaker)


def _ready(session: Session) -> tuple[Ready, ...]:
    return (Ready(session.deployed_agent_id, session.id),)


def _made(session: Session, ready: tuple[Ready, ...] = ()) -> Answer:
    location = f"/dashboard/agents/{session.deployed_agent_id}/sessions/{session.id}"
    return Answer(shown(session), ready, location=location)


def _known_by(who: Person | Principal) -> str | UUID:
    """What our rows know them by: a person, or the workspace of a key."""
    return who.workspace_id if isinstance(who, Principal) else who.user_id


def _let_in(who: Person | Principal, seen: Seen | None) -> tuple[Principal, Session | None]:
    if seen is None:
        raise not_found("agent")
    if isinstance(who, Principal):
        return who, seen.session
    return who.in_workspace(seen.workspace_id, seen.role or ""), seen.session


def _place(session: Session) -> tuple[datetime, UUID]:
    return session.created_at, session.id


def _archived() -> Problem:
    return Problem(SESSION_ARCHIVED, "Start a new session to go on.")
