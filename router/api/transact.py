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
from router.api.auth.principals import Principal
from router.api.call import Answer, Call
from router.api.problems import IDEMPOTENCY_MISMATCH, Problem, unavailable
from router.api.route import InTransaction, Route, Work
from router.api.schemas import Nothing
from store import database, idempotency, tenancy
from store.database import Connection, Pool
from store.idempotency import Answered, Asked, Begun, Busy, Mismatch
from store.ids import new_id
from store.leases import Ready

_SECONDS = 5.0
_CLAIM = timedelta(seconds=10)  # longer than the transaction may take

Said = tuple[dict[str, UUID], BaseModel, BaseModel]
"""The ids in the path, the query and the body of a request."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and under what their Idempotency-Keys are kept: the agent's id, or the workspace's."""

    principal: Principal
    under: UUID


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

    async def read(
        self, work: Work, asking: Asking, path: dict[str, UUID], query: BaseModel
    ) -> bytes:
        """The body of an answer to a request that changes nothing."""
        async with self.tenant(asking.principal.workspace_id) as connection:
            said = (path, query, Nothing())
            return written((await work(_call(connection, asking, said, new_id()))).body)

    async def write(
        self, route: Route, asking: Asking, said: Said, key: str | None
    ) -> web.Response:
        """The answer to a request that changes something; its first one, if the key was used before."""
        assert isinstance(route.work, InTransaction)  # noqa: S101  # nothing else writes
        async with self.tenant(asking.principal.workspace_id) as connection:
            begun = await _begin(connection, route, asking, said, key) if key else None
            if isinstance(begun, web.Response):
                return begun
            work_id = begun.work_id if begun else new_id()
            done = await route.work.do(_call(connection, asking, said, work_id))
            if begun is not None:
                await _keep(connection, begun, route.status, done)
        self._tell(done)
        if done.problem is not None:
            raise done.problem
        return _response(route.status, written(done.body).decode(), done.location)

    def _tell(self, done: Answer) -> None:
        if done.ready:
            self._on_ready(list(done.ready))
        if done.spoke:
            self._on_notice()


def _call(connection: Connection, asking: Asking, said: Said, work_id: UUID) -> Call[Any, Any]:
    path, query, body = said
    return Call(
        connection, asking.principal, path, query, body, work_id, speaker=asking.principal.called
    )


async def _begin(
    connection: Connection, route: Route, asking: Asking, said: Said, key: str
) -> Begun | web.Response:
    """The work is ours; or what was answered before. Problems for what it cannot be."""
    asked = Asked(
        deployed_agent_id=asking.under,
        workspace_id=asking.principal.workspace_id,
        principal=asking.principal.name,
        route=route.operation_id,
        key=key,
        body_hash=_hash(said),
    )
    match await idempotency.begin(connection, asked, _CLAIM):
        case Begun() as begun:
            return begun
        case Answered(status, kept):
            response = _response(status, kept["body"], kept["location"])
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
    path, query, body = said
    whole = [
        {name: str(id_) for name, id_ in sorted(path.items())},
        query.model_dump(mode="json"),
        body.model_dump(mode="json", exclude_unset=True),
    ]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


def _response(status: int, body: str, location: str | None) -> web.Response:
    response = answered(body.encode(), status)
    if location is not None:
        response.headers["Location"] = location
    return response
