"""What a route is: how it is asked for, what it does, what it answers and with which problems."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel

from router.api.auth.principals import Principal
from router.api.call import Answer, Call, Knock
from router.api.context import Context
from router.api.problems import (
    FORBIDDEN,
    IDEMPOTENCY_MISMATCH,
    INTERNAL,
    INVALID,
    NOT_CONFIGURED,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Kind,
)
from router.api.schemas import Nothing
from store.sessions_read import Session

Work = Callable[[Call[Any, Any]], Awaitable[Answer]]
Reading = Callable[[Context, Session, Any], Awaitable[BaseModel]]
Streaming = Callable[[Context, Session, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Alone:
    """The work of a request in one statement, which is its transaction, where its body `fits`.

    `do` tells what the caller is at the agent, and None for a role that is too little.
    """

    fits: Callable[[Any], bool]
    do: Callable[[Knock[Any]], Awaitable[tuple[Principal, Answer | None]]]


@dataclass(frozen=True, slots=True)
class InTransaction:
    """Work inside one transaction of the tenant; `alone` saves the round trips of one."""

    do: Work
    alone: Alone | None = None


@dataclass(frozen=True, slots=True)
class OfSession:
    """Work on a session that was found, outside of any transaction: it asks the runtime."""

    do: Reading


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer that goes on and on, about a session that was found."""

    do: Streaming


@dataclass(frozen=True, slots=True)
class Myself:
    """Who asks; no workspace is meant."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `role`: the least that may do it; `people`: no key may, whatever its role.

    `status` is that of success. A route without `{agent_id}` in its path is about a workspace.
    `example` and `answers` are of its request and of what is answered.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    operation_id: str
    summary: str
    work: InTransaction | OfSession | Streamed | Myself
    response: type[BaseModel] | None
    role: str = "viewer"
    query: type[BaseModel] = Nothing
    request: type[BaseModel] = Nothing
    status: int = 200
    refuses: tuple[Kind, ...] = ()
    people: bool = False
    tag: str = "sessions"
    example: dict[str, Any] | None = None
    answers: dict[str, Any] | None = None

    @property
    def idempotent(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.method == "POST"

    @property
    def of_agent(self) -> bool:
        """Whether the workspace follows from the agent in the path."""
        return "{agent_id}" in self.path

    @property
    def problems(self) -> tuple[Kind, ...]:
        """Every kind of problem that it may answer with."""
        kinds = [NOT_CONFIGURED, UNAUTHENTICATED, INVALID, TOO_MANY_REQUESTS, UNAVAILABLE, INTERNAL]
        kinds += [] if isinstance(self.work, Myself) else [NOT_FOUND]
        kinds += [FORBIDDEN] if self.role != "viewer" or self.method != "GET" else []
        kinds += [IDEMPOTENCY_MISMATCH] if self.idempotent else []
        kinds += [TOO_LARGE, UNSUPPORTED_MEDIA_TYPE] if self.method != "GET" else []
        return tuple(dict.fromkeys([*kinds, *self.refuses]))
