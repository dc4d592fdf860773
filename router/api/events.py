"""A session's history, read through from the runtime and joined with who decided.

No copy of it is kept: a page is the runtime's own page, and the cursor is the runtime's, sealed with
what it belongs to. Then our rows are asked, once, what people were asked about the page's calls.
"""

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import Iterable

from router.api import frames
from router.api.context import Context
from router.api.problems import Problem, invalid, unavailable
from router.api.schemas_events import Decision, EventItem, EventsPage, EventsQuery
from router.errors import RuntimeFailure, RuntimeGone, RuntimeRefused
from router.runtime.budget import Need
from router.runtime.client import Event, PageWanted
from store import session_steps, tenancy
from store.session_steps import Asked
from store.sessions_read import Session

_SECONDS = 10.0
_CHECK = 8


async def page(context: Context, session: Session, query: EventsQuery) -> EventsPage:
    """One page of a session's events; empty before it has a runtime session, and once that is gone.

    Problem invalid for a cursor of another list, unavailable when the runtime, or its permit, takes
    too long. The database's errors pass through.
    """
    wanted = _wanted(session, query)
    if session.anthropic_session_id is None:
        return EventsPage(data=[])
    try:
        async with asyncio.timeout(_SECONDS):
            events, following = await context.runtime.events_page(
                Need.VIEW, session.anthropic_session_id, wanted
            )
    except RuntimeGone:
        return EventsPage(data=[])
    except TimeoutError:
        raise unavailable("The agent runtime did not answer in time.") from None
    except RuntimeFailure as failure:
        raise _problem(failure, wanted) from failure
    asked = await _asked(context, session, events)
    return EventsPage(
        data=[EventItem(event=frames.shown(e), decision=_decision(e, asked)) for e in events],
        next_cursor=_sealed(following, _about(session, query)) if following else None,
    )


def _problem(failure: RuntimeFailure, wanted: PageWanted) -> Problem:
    if isinstance(failure, RuntimeRefused) and (wanted.page or wanted.types):
        return invalid([{"loc": ["query"], "msg": "the runtime knows no such page, or type"}])
    return unavailable("The agent runtime cannot be read now.", failure.retry_after or 1)


# ------------------------------------------------------------------ who decided


async def _asked(context: Context, session: Session, events: list[Event]) -> dict[str, Asked]:
    """What was asked about the calls on a page, and about those whose answers are on it."""
    calls = {call for event in events for call in _calls(event)}
    if not calls:
        return {}
    of = (session.workspace_id, session.deployed_agent_id, session.id)
    async with tenancy.tenant(context.pool, session.workspace_id) as connection:
        return await session_steps.asked(connection, *of, sorted(calls))


def _calls(event: Event) -> Iterable[str]:
    match event["type"]:
        case "agent.tool_use" | "agent.mcp_tool_use" | "agent.custom_tool_use":
            named = event.get("id")
        case "user.tool_confirmation":
            named = event.get("tool_use_id")
        case "user.custom_tool_result":
            named = event.get("custom_tool_use_id")
        case _:
            named = None
    return [named] if isinstance(named, str) and named else []


def _decision(event: Event, asked: dict[str, Asked]) -> Decision | None:
    found = next((asked[call] for call in _calls(event) if call in asked), None)
    if found is None:
        return None
    return Decision(
        kind=found.kind,
        id=found.id,
        state=found.state,
        verdict=found.verdict,
        answer=found.answer,
        reason=found.reason,
        decided_by=found.decided_by,
        decided_at=found.decided_at,
        asked_at=found.asked_at,
    )


# ------------------------------------------------------------------ cursors


def _wanted(session: Session, query: EventsQuery) -> PageWanted:
    at = _opened(query.cursor, _about(session, query)) if query.cursor else None
    return PageWanted(tuple(query.type), query.order, query.limit, at)


def _about(session: Session, query: EventsQuery) -> str:
    """What a cursor belongs to: it means nothing in another list."""
    types = sorted(set(query.type))
    return json.dumps([str(session.id), session.anthropic_session_id, query.order, types])


def _checksum(about: str, raw: bytes) -> bytes:
    return hashlib.blake2b(
        about.encode() + raw, digest_size=_CHECK, person=b"threadline page"
    ).digest()


def _sealed(following: str, about: str) -> str:
    raw = following.encode()
    return base64.urlsafe_b64encode(_checksum(about, raw) + raw).decode().rstrip("=")


def _opened(cursor: str, about: str) -> str:
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        raw = sealed[_CHECK:]
        following = raw.decode() if sealed[:_CHECK] == _checksum(about, raw) else None
    except (ValueError, binascii.Error):
        following = None
    if following is None:
        raise invalid([{"loc": ["query", "cursor"], "msg": "no cursor of this list"}])
    return following
