"""What the routes for people at this machine have in common: loopback names, JSON, refusals."""

import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.local.model import Json, SlackError

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_STATUSES = {"file_too_large": 413}


class Body(BaseModel):
    """What every request body of these routes has in common: no unknown fields."""

    model_config = ConfigDict(extra="forbid")


B = TypeVar("B", bound=Body)
Work = Callable[[Any], Json | Awaitable[Json]]


def only_loopback(request: web.Request) -> None:
    """Refuse a request that names this machine otherwise, or comes from another site's page."""
    # A page in a browser must not reach these routes under a name of its own.
    if request.url.host not in _LOOPBACK:
        raise web.HTTPForbidden(text="this answers on loopback names only")
    if request.headers.get("Origin", str(request.url.origin())) != str(request.url.origin()):
        raise web.HTTPForbidden(text="this answers its own page only")


async def read_body(request: web.Request, body: type[B]) -> B:
    """The JSON body of a request; 415 for anything else, 422 for what is not as it should be."""
    only_loopback(request)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON")
    try:
        return body.model_validate_json(await request.read() or b"{}")
    except ValidationError as wrong:
        details = json.dumps({"ok": False, "error": "invalid_body", "detail": str(wrong)})
        raise web.HTTPUnprocessableEntity(text=details, content_type="application/json") from wrong


async def answered(work: Work, asked: Any) -> web.Response:
    """What the work makes of what was asked, or the refusal that it raises."""
    try:
        done = work(asked)
        answer = await done if inspect.isawaitable(done) else done
    except SlackError as refused:
        return refusal(refused)
    return web.json_response({"ok": True, **answer})


def refusal(refused: SlackError) -> web.Response:
    """The answer that tells of a refusal by its name."""
    otherwise = 404 if refused.name.endswith("_not_found") else 400
    status = _STATUSES.get(refused.name, otherwise)
    answer = {"ok": False, "error": refused.name, **refused.extra}
    return web.json_response(answer, status=status)
