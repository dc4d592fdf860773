"""What the API answers when it cannot do what was asked: problem details (RFC 9457)."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from router.errors import ThreadlineError

CONTENT_TYPE = "application/problem+json"

_TYPES = "https://threadline.dev/problems/"
_RESERVED = frozenset({"type", "title", "status", "detail"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem; `slug` ends its type, which stays the same for ever."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The URI that programs may tell problems by."""
        return f"{_TYPES}{self.slug}"


UNAUTHENTICATED = Kind("unauthenticated", 401, "Not signed in")
FORBIDDEN = Kind("forbidden", 403, "Not allowed")
NOT_FOUND = Kind("not-found", 404, "Not found")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "Method not allowed")
CONFLICT = Kind("conflict", 409, "Conflict")
SESSION_ARCHIVED = Kind("session-archived", 409, "The session is archived")
SESSION_IDLE = Kind("session-idle", 409, "The session is idle")
IDEMPOTENCY_MISMATCH = Kind(
    "idempotency-mismatch", 409, "The Idempotency-Key was used for another request"
)
TOO_LARGE = Kind("too-large", 413, "Too large")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported-media-type", 415, "Unsupported media type")
INVALID = Kind("invalid", 422, "Invalid request")
TOO_MANY_REQUESTS = Kind("too-many-requests", 429, "Too many requests")
UNAVAILABLE = Kind("unavailable", 503, "Unavailable for the moment")
INTERNAL = Kind("internal", 500, "Something went wrong on our side")
NOT_CONFIGURED = Kind("not-configured", 503, "Not configured")

KINDS = (
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    CONFLICT,
    SESSION_ARCHIVED,
    SESSION_IDLE,
    IDEMPOTENCY_MISMATCH,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID,
    TOO_MANY_REQUESTS,
    INTERNAL,
    UNAVAILABLE,
    NOT_CONFIGURED,
)


class Problem(ThreadlineError):
    """Ends a request with a problem. `detail` is for people; it shows nothing of a secret.

    `extra` becomes further members of the answer, `headers` go with it.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{kind.slug}: {detail}")
        self.kind = kind
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        if taken := _RESERVED & self.extra.keys():
            raise ValueError(f"members of every problem: {sorted(taken)}")

    @property
    def type(self) -> str:
        """The URI that programs may tell problems by."""
        return self.kind.type

    @property
    def title(self) -> str:
        """What every problem of this kind is called."""
        return self.kind.title

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.kind.status

    def body(self) -> dict[str, Any]:
        """The members of the answer."""
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }


def answer(problem: Problem) -> web.Response:
    """The problem as a response that nobody caches."""
    return web.Response(
        status=problem.status,
        body=json.dumps(problem.body()).encode(),
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def unauthenticated(detail: str) -> Problem:
    """401, with the challenge that RFC 9110 (11.6.1) asks for."""
    return Problem(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str) -> Problem:
    """403: we know who asks, and they may not."""
    return Problem(FORBIDDEN, detail)


def not_found(what: str = "agent") -> Problem:
    """404 for what does not exist and for what belongs to somebody else, told in the same words."""
    return Problem(NOT_FOUND, f"There is no such {what}, or it is not yours.")


def invalid(errors: Iterable[Mapping[str, Any]], detail: str = "See errors.") -> Problem:
    """422; each error names its place (`loc`) and what is wrong with it (`msg`)."""
    return Problem(INVALID, detail, extra={"errors": [dict(error) for error in errors]})


def too_many_requests(retry_after: float) -> Problem:
    """429; the seconds are rounded up, so that who waits them is let in."""
    seconds = max(1, math.ceil(retry_after))
    return Problem(
        TOO_MANY_REQUESTS,
        f"Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )


def unavailable(detail: str, retry_after: float = 1) -> Problem:
    """503: nothing is wrong with the request, and the same one may be sent again."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after)))}
    return Problem(UNAVAILABLE, detail, headers=headers)


def not_configured(variables: Iterable[str]) -> Problem:
    """503 that names the environment variables that are not set."""
    named = list(variables)
    return Problem(
        NOT_CONFIGURED,
        f"This server lacks settings: {', '.join(named)}.",
        extra={"variables": named},
    )
