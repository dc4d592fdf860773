"""How an answer is written: a body, its ETag, and the headers that every answer has."""

import hashlib
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from router.api.auth.origins import Origins

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # nothing runs
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_ALLOWED = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID"
_EXPOSED = "ETag, Idempotent-Replayed, Location, Retry-After"


def written(body: BaseModel) -> bytes:
    """A model as JSON."""
    return body.model_dump_json().encode()


def answered(raw: bytes, status: int = 200) -> web.Response:
    """A body that was written; nobody keeps it without asking again."""
    return web.Response(
        status=status,
        body=raw,
        content_type="application/json",
        headers={"Cache-Control": "private, no-cache"},
    )


def tagged(request: web.Request, raw: bytes) -> web.Response:
    """The same with an ETag; 304 for who has it already (RFC 9110, 13.1.2)."""
    tag = hashlib.sha256(raw).hexdigest()[:32]
    known = request.if_none_match or ()
    same = any(each.value in ("*", tag) for each in known)
    response = answered(b"", 304) if same else answered(raw)
    if same:
        response.body = None
    response.headers["ETag"] = f'W/"{tag}"'
    return response


def dress(request: web.Request, response: web.StreamResponse, origins: Origins) -> None:
    """The headers of every answer of ours; those of CORS only for an origin that is trusted."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Vary"] = "Authorization, Cookie, Origin"
    origin = request.headers.get("Origin")
    if origin is not None and origins.trusts(origin):
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def preflight(request: web.Request, methods: list[str], origins: Origins) -> web.Response | None:
    """The answer to a browser that asks before it sends; None where no such origin is trusted."""
    asks = "Access-Control-Request-Method" in request.headers
    if not asks or not origins.trusts(request.headers.get("Origin")):
        return None
    headers: dict[str, Any] = {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": _ALLOWED,
        "Access-Control-Max-Age": "600",
    }
    return web.Response(status=204, headers=headers)
