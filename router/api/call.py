"""What the work of a route is given, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from router.api.auth.principals import Person, Principal
from router.api.problems import Problem
from store.database import Connection
from store.leases import Ready

Query = TypeVar("Query", bound=BaseModel)
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """A request that was let in, inside the transaction of its tenant.

    `path` holds the ids of the path. `work_id` names the rows that it makes. `speaker` is what the
    caller is called where people read it.
    """

    connection: Connection
    principal: Principal
    path: dict[str, UUID]
    query: Query
    body: Body
    work_id: UUID
    speaker: str

    @property
    def workspace_id(self) -> UUID:
        """The only workspace whose rows there are."""
        return self.principal.workspace_id

    @property
    def agent_id(self) -> UUID:
        """The agent of the path."""
        return self.path["agent_id"]


@dataclass(frozen=True, slots=True)
class Knock(Generic[Body]):
    """A request to be let in by the very statement that does its work.

    `roles`: those that may. A key was judged before; `work_id` names the row that is made.
    """

    connection: Connection
    who: Person | Principal
    agent_id: UUID
    roles: Sequence[str]
    body: Body
    work_id: UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and who is to hear of it once it is committed.

    `ready`: sessions that want a worker; `spoke`: the outbox has something new. `kept`: the answer to
    the same request when it comes again, where that may not be the same. A `problem` is answered in
    place of the body, with what was written kept.
    """

    body: BaseModel
    ready: tuple[Ready, ...] = ()
    spoke: bool = False
    location: str | None = None
    kept: BaseModel | None = None
    problem: Problem | None = field(default=None, kw_only=True)
