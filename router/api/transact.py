"""The work of a request in one transaction of its tenant, and once for each Idempotency-Key.

What a key stands for, the work and its answer are committed together or not at all: a process that
dies half-way leaves nothing behind, and the same request does all of it. The same request at the same
time waits for the end of the first, and is told to come again where that takes too long.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel

from router.api.answering import answered, written
from router.api.auth.principals import AT_LEAST, Person, Principal, enter, knows
from router.api.call import Answer, Call, Knock
from router.api.problems import (
    IDEMPOTENCY_MISMATCH,
    Problem,
    forbidden,
    unavailable,
)
from router.api.route import Alone, InTransaction, Route
from store import database, idempotency, tenancy
from store.database import Connection, Pool
from store.idempotency import Answered, Asked, Begun, Busy, Mismatch
from store.ids import new_id
from store.leases import Ready

_SECONDS = 5.0
_CLAIM = timedelta(seconds=10)  # longer than the transaction may take


@dataclass(frozen=True, slots=True)
class Said:
    """A request: the ids in its path, its query, its body, and its Idempotency-Key."""

    path: dict[str, UUID]
    query: BaseModel
    body: BaseModel
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and under what their Idempotency-Keys are kept: the agent's id, or the workspace's."""

    principal: Principal
    under: UUID


@dataclass(frozen=True, slots=True)
class Knocking:
    """Somebody at an agent's door; what they may do there is read in the transaction of the work."""

    who: Person | Principal
    agent_id: UUID


class Transactions:
    """Does work. `on_ready` and `on_notice` hear of what was committed."""

    def __init__(
        self, pool: Pool, on_ready: Callable[[list[Ready]], None], on_notice: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._on_ready = on_ready
        self._on_notice = on_notice

    @asynccontextmanager
    async def tenant(self, workspace_id: UUID) -> AsyncIterator[Connection]:
        """A transaction that sees one workspace alone; over after five seconds, however it goes."""
        async with database.within(self._pool, _SECONDS) as connection, connection.transaction():
            await tenancy.as_tenant(connection, workspace_id)
            yield connection

    @asynccontextmanager
    async def _let_in(
        self, route: Route, asking: Asking | Knocking
    ) -> AsyncIterator[tuple[Connection, Asking]]:
        """A transaction that sees the workspace of who asks alone, once they may do this there.

        Problem not-found for an agent of others, forbidden for a role that is too little.
        """
        async with database.within(self._pool, _SECONDS) as connection, connection.transaction():
            if isinstance(asking, Knocking):
                principal = await enter(connection, asking.who, asking.agent_id)
                asking = Asking(principal, asking.agent_id)
            else:
                await tenancy.as_tenant(connection, asking.principal.workspace_id)
            judge(route, asking.principal)
            yield connection, asking

    async def read(self, route: Route, asking: Asking | Knocking, said: Said | Problem) -> bytes:
        """The body of an answer to a request that changes nothing.

        A Problem with what was said is told to nobody who may not ask.
        """
        assert isinstance(route.work, InTransaction)  # noqa: S101  # nothing else is read so
        async with self._let_in(route, asking) as (connection, asked):
            if isinstance(said, Problem):
                raise said
            return written((await route.work.do(_call(connection, asked, said, new_id()))).body)

    async def write(
        self, route: Route, wanted: Asking | Knocking, said: Said | Problem
    ) -> web.Response:
        """The answer to a request that changes something; its first one, if the key was used before."""
        assert isinstance(route.work, InTransaction)  # noqa: S101  # nothing else writes
        alone = _alone(route.work, said)
        if alone and isinstance(wanted, Knocking) and isinstance(said, Said):
            done = await self._alone(route, alone, wanted, said)
        else:
            answer = await self._whole(route, route.work, wanted, said)
            if isinstance(answer, web.Response):
                return answer
            done = answer
        self._tell(done)
        if done.problem is not None:
            raise done.problem
        return _response(route.status, written(done.body), done.location)

    async def _whole(
        self, route: Route, work: InTransaction, wanted: Asking | Knocking, said: Said | Problem
    ) -> Answer | web.Response:
        """What was done in a transaction, or what was answered before."""
        async with self._let_in(route, wanted) as (connection, asking):
            if isinstance(said, Problem):
                raise said
            begun = await _begin(connection, route, asking, said) if said.key else None
            if isinstance(begun, web.Response):
                return begun
            work_id = begun.work_id if begun else new_id()
            done = await work.do(_call(connection, asking, said, work_id))
            if begun is not None:
                await _keep(connection, begun, route.status, done)
        return done

    async def _alone(self, route: Route, alone: Alone, knocking: Knocking, said: Said) -> Answer:
        """What was done in one statement, judged as in a transaction."""
        who, agent_id = knocking.who, knocking.agent_id
        knows(who, agent_id)
        if isinstance(who, Principal):
            judge(route, who)
        async with database.within(self._pool, _SECONDS) as connection:
            roles = AT_LEAST[route.role]
            knock = Knock(connection, who, agent_id, roles, said.body, new_id())
            principal, done = await alone.do(knock)
        judge(route, principal)
        assert done is not None  # noqa: S101  # the role is enough
        return done

    def _tell(self, done: Answer) -> None:
        if done.ready:
            self._on_ready(list(done.ready))
        if done.spoke:
            self._on_notice()


def _alone(work: InTransaction, said: Said | Problem) -> Alone | None:
    """How a request is done in one statement; an Idempotency-Key is kept in the work's transaction."""
    if work.alone is None or isinstance(said, Problem) or said.key is not None:
        return None
    return work.alone if work.alone.fits(said.body) else None


def judge(route: Route, principal: Principal) -> None:
    """Problem forbidden for who may not do this here."""
    if route.people and principal.kind == "key":
        raise forbidden("Only people may do this.")
    if not principal.has(route.role):
        raise forbidden(f"This takes the role {route.role}; yours is {principal.role}.")


def _call(connection: Connection, asking: Asking, said: Said, work_id: UUID) -> Call[Any, Any]:
    principal = asking.principal
    return Call(
        connection, principal, said.path, said.query, said.body, work_id, speaker=principal.called
    )


async def _begin(
    connection: Connection, route: Route, asking: Asking, said: Said
) -> Begun | web.Response:
    """The work is ours; or what was answered before. Problems for what it cannot be."""
    asked = Asked(
        deployed_agent_id=asking.under,
        workspace_id=asking.principal.workspace_id,
        principal=asking.principal.name,
        route=route.operation_id,
        key=said.key or "",
        body_hash=_hash(said),
    )
    match await idempotency.begin(connection, asked, _CLAIM):
        case Begun() as begun:
            return begun
        case Answered(status, kept):
            response = _response(status, kept["body"].encode(), kept["location"])
            response.headers["Idempotent-Replayed"] = "true"
            return response
        case Busy(left):
            raise unavailable("The same request is being worked on.", left.total_seconds())
        case Mismatch():
            raise Problem(IDEMPOTENCY_MISMATCH, "Use another key for another request.")


async def _keep(connection: Connection, begun: Begun, status: int, done: Answer) -> None:
    """Keeps the answer, or for a problem of the moment nothing: the same request may try again.

    As the text that it was: PostgreSQL's jsonb would put its members in another order.
    """
    if done.problem is not None:
        await idempotency.let_go(connection, begun)
        return
    body = written(done.kept or done.body).decode()
    kept = {"body": body, "location": done.location}
    await idempotency.finish(connection, begun, status, kept)


def _hash(said: Said) -> bytes:
    """What makes a request another one: its address and its body, as they were understood."""
    whole = [
        {name: str(id_) for name, id_ in sorted(said.path.items())},
        said.query.model_dump(mode="json"),
        said.body.model_dump(mode="json", exclude_unset=True),
    ]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


def _response(status: int, body: bytes, location: str | None) -> web.Response:
    response = answered(body, status)
    if location is not None:
        response.headers["Location"] = location
    return response
