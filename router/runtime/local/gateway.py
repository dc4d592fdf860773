"""What every request passes: identity, keys, limits, ordered faults, and the error envelope."""

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from router.runtime.local.faults import Fault, FaultKind
from router.runtime.local.wire import (
    REQUEST_ID,
    WHOLE,
    ApiError,
    bad_request,
    new_id,
    not_found,
)
from router.runtime.local.world import World

BETA = "managed-agents-2026-04-01"
MOST_BYTES = 32 * 1024 * 1024
MOST_FILE_BYTES = 500 * 1024 * 1024
# What is around a file in the form that brings it.
_MOST_FORM_BYTES = MOST_FILE_BYTES + 64 * 1024

_MINUTE = 60.0
_CREATES_A_MINUTE = 300
_READS_A_MINUTE = 1200
# Of files and resources the page with the limits says nothing: an upload and a mount make something.
_CREATES = {
    "agents.create",
    "environments.create",
    "sessions.create",
    "files.upload",
    "resources.add",
}
_READS = (".list", ".retrieve", ".stream", ".retrieve_metadata", ".download")
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}

_REFUSALS: dict[FaultKind, tuple[int, str]] = {
    "rate_limit": (429, "This request would exceed your organization's rate limit."),
    "overloaded": (529, "Overloaded"),
    "server_error": (500, "Internal server error"),
    "unavailable": (503, "Service unavailable"),
    "unauthorized": (401, "invalid x-api-key"),
    "unpaid": (402, "Your credit balance is too low."),
    "forbidden": (403, "Your API key does not have permission to use the specified resource."),
    "too_large": (413, "The request is larger than 32 MB."),
    "refused": (400, "events[0]: this was not accepted"),
}


class Limits:
    """Requests of the last minute by class, in the pace's time (300 creates, 1,200 reads)."""

    def __init__(self) -> None:
        """Nothing spent."""
        self._spent: dict[str, deque[float]] = defaultdict(deque)

    def charge(self, route: str, now: float) -> None:
        """Counts a request; a 429 with `retry-after` when its class is spent."""
        if route in _CREATES:
            spent, most = self._spent["create"], _CREATES_A_MINUTE
        elif route.endswith(_READS):
            spent, most = self._spent["read"], _READS_A_MINUTE
        else:
            return
        while spent and spent[0] <= now - _MINUTE:
            spent.popleft()
        if len(spent) >= most:
            wait = math.ceil(spent[0] + _MINUTE - now)
            raise ApiError(429, _REFUSALS["rate_limit"][1], retry_after=max(1, wait))
        spent.append(now)


class Gateway:
    """The middleware in front of all /v1 routes."""

    def __init__(
        self,
        world: World,
        spawn: Callable[[str, Coroutine[Any, Any, None]], None],
        *,
        api_key: str | None,
        limits: bool,
    ) -> None:
        """Any non-empty key will do when `api_key` is None.

        `spawn` starts a task, under a name of its own, that may outlive its request.
        """
        self._world = world
        self._spawn = spawn
        self._api_key = api_key
        self._limits = Limits() if limits else None

    def middleware(self) -> Middleware:
        """What aiohttp calls around each handler."""

        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/_control"):
                return await _control(request, handler)
            request_id = request[REQUEST_ID] = new_id("req")
            try:
                response = await self._pass(request, handler)
            except ApiError as refusal:
                response = refusal.response(request_id)
            except web.HTTPRequestEntityTooLarge:
                response = ApiError(413, "The request is larger than 32 MB.").response(request_id)
            except web.HTTPMethodNotAllowed:
                response = ApiError(405, "Method not allowed.").response(request_id)
            except web.HTTPNotFound:
                response = not_found(request.path).response(request_id)
            if not response.prepared:
                response.headers["request-id"] = request_id
            return response

        return around

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.match_info.route.name or "unknown"
        session_id = request.match_info.get("session_id")
        self._world.requests[route] += 1
        self._check_headers(request)
        if self._limits is not None:
            self._charge(self._limits, route)
        await self._fail_before(request, route, session_id)
        late = self._take("late_effect", route, session_id)
        if late is not None:
            return await self._take_late(request, handler, late.seconds)
        response = await handler(request)
        if response.prepared:
            return response
        return await self._fail_after(request, response, route, session_id)

    def _charge(self, limits: Limits, route: str) -> None:
        try:
            limits.charge(route, self._world.pace.now())
        except ApiError:
            self._world.limited[route] += 1
            raise

    def _check_headers(self, request: web.Request) -> None:
        authorization = request.headers.get("Authorization", "")
        bearer = authorization.removeprefix("Bearer ").strip()
        key = bearer or request.headers.get("x-api-key", "")
        if not key:
            raise ApiError(401, "x-api-key header is required")
        if self._api_key is not None and key != self._api_key:
            raise ApiError(401, "invalid x-api-key")
        betas = request.headers.getall("anthropic-beta", [])
        of_files = request.path.startswith("/v1/files")
        if BETA not in {beta.strip() for line in betas for beta in line.split(",")}:
            if not of_files:
                raise not_found(request.path)
            if "scope_id" in request.query:
                raise bad_request(f"scope_id: needs the beta {BETA}")
        most = _MOST_FORM_BYTES if of_files else MOST_BYTES
        if (request.content_length or 0) > most:
            raise ApiError(413, f"The request is larger than {most // 2**20} MB.")

    async def _fail_before(self, request: web.Request, route: str, session_id: str | None) -> None:
        for kind, (status, message) in _REFUSALS.items():
            fault = self._take(kind, route, session_id)
            if fault is not None:
                raise ApiError(status, message, retry_after=fault.retry_after)
        if session_id is not None and self._take("gone", route, session_id) is not None:
            raise not_found(f"Session {session_id}")
        if self._take("drop_before", route, session_id) is not None:
            _abort(request)
            raise ApiError(500, "The connection was dropped.")
        if self._take("silence", route, session_id) is not None:
            # Ends when the client goes away: handlers are cancelled on disconnect.
            await asyncio.get_running_loop().create_future()

    async def _take_late(
        self, request: web.Request, handler: Handler, seconds: float
    ) -> web.StreamResponse:
        """The answer, if the client waits for it; the request takes effect whether it does or not."""
        request[WHOLE] = await request.read()
        answer: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()

        async def take_effect() -> None:
            await self._world.pace.after(seconds)
            try:
                response = await handler(request)
            except ApiError as refusal:
                response = refusal.response(request[REQUEST_ID])
            if not answer.done():
                answer.set_result(response)

        self._spawn(f"late {request[REQUEST_ID]}", take_effect())
        return await answer

    async def _fail_after(
        self,
        request: web.Request,
        response: web.StreamResponse,
        route: str,
        session_id: str | None,
    ) -> web.StreamResponse:
        if response.status < web.HTTPBadRequest.status_code:
            stall = self._take("stall", route, session_id)
            if stall is not None:
                await self._world.pace.after(stall.seconds)
            if self._take("drop_after", route, session_id) is not None:
                _abort(request)
        return response

    def _take(self, kind: FaultKind, route: str, session_id: str | None) -> Fault | None:
        return self._world.faults.take(kind, route=route, session_id=session_id)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _control(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Control routes answer to loopback names only, so that no web page reaches them by DNS."""
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    if host not in _LOOPBACK:
        return web.json_response({"error": "control routes are on loopback only"}, status=403)
    return await handler(request)
