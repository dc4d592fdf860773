"""The requests of the API, each through the same stations: see the package's description.

Nothing that is wrong with a request, with the database or with us is answered with anything but one
of `problems`; what nobody expected is logged under the reference that its answer shows.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import aiohttp
import structlog
from aiohttp import web

from router.api import docs, openapi, reading, sessions
from router.api.answering import dress, preflight, tagged, written
from router.api.auth.cookies import project_of
from router.api.auth.origins import Origins
from router.api.auth.principals import Authenticator, Person, Principal
from router.api.auth.tokens import VARIABLES, Verifier
from router.api.context import Context
from router.api.hub import Hub
from router.api.limits import Limits, Strangers
from router.api.problems import (
    FORBIDDEN,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHENTICATED,
    Problem,
    answer,
    invalid,
    not_configured,
    not_found,
    unavailable,
)
from router.api.route import InTransaction, Myself, OfSession, Route, Streamed
from router.api.schemas import Nothing
from router.api.schemas_agents import Me, MembershipOut
from router.api.table import ROUTES
from router.api.transact import Asking, Knocking, Said, Transactions, judge
from router.errors import RuntimeFailure
from router.loops import Stop
from router.runtime.client import Runtime
from router.settings import Settings
from store import database, members
from store.database import Pool
from store.ids import new_id, reference_of
from store.leases import Ready
from store.tenancy import TenancyMissing

_log = structlog.get_logger(__name__)

_SECONDS = 5.0
_READS = frozenset({"GET", "HEAD"})
_NOT_PROVEN = (UNAUTHENTICATED, FORBIDDEN)
_AWAY: tuple[type[Exception], ...] = (*database.ERRORS, TenancyMissing)
_OURS = ("/dashboard", "/openapi.json", "/docs")


@dataclass(frozen=True, slots=True)
class Means:
    """What the API is made of; without an authenticator it says which settings are missing."""

    pool: Pool
    runtime: Runtime
    hub: Hub
    authenticator: Authenticator | None
    origins: Origins
    limits: Limits
    on_ready: Callable[[list[Ready]], None]
    on_notice: Callable[[], None]
    strangers: Strangers


@asynccontextmanager
async def opened(
    settings: Settings,
    pool: Pool,
    runtime: Runtime,
    tell: tuple[Callable[[list[Ready]], None], Callable[[], None]],
) -> AsyncIterator["Api"]:
    """The API as the settings have it. `tell`: who hears of woken sessions, and of notices.

    ConfigurationError where a setting is wrong; where all of Supabase's are missing every request
    is told so.
    """
    origins = Origins.parse(settings.threadline_public_url, settings.threadline_cors_origins)
    async with aiohttp.ClientSession() as http:
        verifier = Verifier.from_settings(settings, http)
        door = None
        if verifier is not None:
            url = settings.supabase_url
            project = project_of(url) if url else None
            door = Authenticator(pool, verifier, origins, project=project)
        yield Api(
            Means(pool, runtime, Hub(pool, runtime), door, origins, Limits(), *tell, Strangers())
        )


class Api:
    """The routes of the table, over the means of one process."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._transactions = Transactions(means.pool, means.on_ready, means.on_notice)

    def mount(self, app: web.Application) -> None:
        """Adds the routes; everything else below /dashboard is a problem, too."""
        by_path: defaultdict[str, dict[str, Route]] = defaultdict(dict)
        for route in ROUTES:
            by_path[route.path][route.method] = route
        for path, routes in by_path.items():
            app.router.add_route("*", path, partial(self._handle, routes))
        for path in ("/dashboard", "/dashboard/{rest:.*}"):
            app.router.add_route("*", path, partial(self._handle, {}))
        app.router.add_get("/openapi.json", _document)
        app.router.add_get("/docs", _page)
        app.on_response_prepare.append(self._dress)
        app.on_shutdown.append(self._means.hub.on_shutdown)

    def wake(self, ready: list[Ready]) -> None:
        """Something of these sessions changed: who watches them hears of it now."""
        self._means.hub.wake(ready)

    async def run(self, stop: Stop) -> None:
        """What goes on beside the requests, until `stop`."""
        await self._means.hub.run(stop)

    async def _dress(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith(_OURS):
            dress(request, response, self._means.origins)

    # -------------------------------------------------------------- one request

    async def _handle(self, routes: dict[str, Route], request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(routes, request)
        except Problem as problem:
            return answer(problem)
        except _AWAY as error:
            _log.warning(
                "api.unavailable", path=request.path, error=f"{type(error).__name__}: {error}"
            )
            return answer(unavailable("The database is not available."))
        except RuntimeFailure as error:
            _log.warning("api.runtime", path=request.path, error=str(error))
            return answer(
                unavailable("The agent's service is not available.", error.retry_after or 1)
            )
        except Exception:  # noqa: BLE001  # a bug fails this request and no other
            reference = reference_of(new_id())
            _log.exception("api.failed", path=request.path, reference=reference)
            said = f"Give an admin the reference {reference}."
            return answer(Problem(INTERNAL, said, extra={"reference": reference}))

    async def _answer(self, routes: dict[str, Route], request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            asked_before = preflight(request, sorted(routes), self._means.origins)
            if asked_before is not None:
                return asked_before
        if self._means.authenticator is None:
            raise not_configured(VARIABLES)
        if not routes:
            raise Problem(NOT_FOUND, "There is nothing at this address.")
        route = _route_of(routes, request.method)
        path = reading.path_of(request.match_info)
        asking = await self._asking(self._means.authenticator, route, request, path)
        if isinstance(asking, Me):
            return tagged(request, written(asking))
        if isinstance(route.work, InTransaction):
            return await self._in_transaction(route, request, asking, path)
        assert isinstance(asking, Knocking)  # noqa: S101  # what is of a session is of an agent
        return await self._of_session(route, request, asking, path)

    async def _asking(
        self, door: Authenticator, route: Route, request: web.Request, path: dict[str, UUID]
    ) -> Asking | Knocking | Me:
        """Who asks, in which workspace; the whole answer where nothing else was asked."""
        who = await self._who(door, request)
        self._means.limits.take(who.name, request.method)
        if route.of_agent:
            return Knocking(who, path["agent_id"])
        query = reading.query_of(route.query, request.query)
        if isinstance(route.work, Myself):
            return await self._me(who)
        principal = await self._in_workspace(who, getattr(query, "workspace_id", None))
        return Asking(principal, principal.workspace_id)

    async def _who(self, door: Authenticator, request: web.Request) -> Person | Principal:
        try:
            return await door.who(request.headers, request.method)
        except Problem as problem:
            if problem.kind in _NOT_PROVEN:
                self._means.strangers.take(request.remote)
            raise

    async def _in_workspace(self, who: Person | Principal, wanted: UUID | None) -> Principal:
        """The caller in the workspace that they name, or in the only one that they have."""
        if isinstance(who, Principal):
            if wanted not in (None, who.workspace_id):
                raise not_found("workspace")
            return who
        async with database.within(self._means.pool, _SECONDS) as connection:
            theirs = await members.workspaces_of(connection, who.user_id)
        meant = [one for one in theirs if wanted in (None, one.workspace_id)]
        if not meant:
            raise not_found("workspace")
        if len(meant) > 1:
            says = "you belong to several workspaces: name one"
            raise invalid([{"loc": ["query", "workspace_id"], "msg": says}])
        return who.in_workspace(meant[0].workspace_id, meant[0].role)

    async def _me(self, who: Person | Principal) -> Me:
        if isinstance(who, Person):
            async with database.within(self._means.pool, _SECONDS) as connection:
                theirs = await members.workspaces_of(connection, who.user_id)
            return Me(
                kind="member",
                user_id=who.user_id,
                email=who.email,
                key_id=None,
                deployed_agent_id=None,
                workspaces=[MembershipOut.model_validate(one) for one in theirs],
            )
        async with self._transactions.tenant(who.workspace_id) as connection:
            name = await members.name_of(connection, who.workspace_id)
        only = MembershipOut.model_validate(
            {"workspace_id": who.workspace_id, "name": name, "role": who.role}
        )
        return Me(
            kind="key",
            user_id=None,
            email=None,
            key_id=who.key_id,
            deployed_agent_id=who.agent_id,
            workspaces=[only],
        )

    # -------------------------------------------------------------- its work

    async def _in_transaction(
        self,
        route: Route,
        request: web.Request,
        asking: Asking | Knocking,
        path: dict[str, UUID],
    ) -> web.Response:
        """What is wrong with the request is found before the transaction, and told in it."""
        said = await _said(route, request, path)
        if request.method in _READS:
            return tagged(request, await self._transactions.read(route, asking, said))
        return await self._transactions.write(route, asking, said)

    async def _of_session(
        self, route: Route, request: web.Request, asking: Knocking, path: dict[str, UUID]
    ) -> web.StreamResponse:
        async with database.within(self._means.pool, _SECONDS) as connection:
            principal, session = await sessions.seen(
                connection, asking.who, asking.agent_id, path["session_id"]
            )
        judge(route, principal)
        if session is None:
            raise not_found("session")
        query, context = reading.query_of(route.query, request.query), self._context(principal)
        match route.work:
            case OfSession(do):
                return tagged(request, written(await do(context, session, query)))
            case Streamed(do):
                return await do(context, session, request)
            case InTransaction() | Myself():
                raise AssertionError("that was answered before")

    def _context(self, principal: Principal) -> Context:
        means = self._means
        return Context(means.pool, means.runtime, means.hub, principal)


def _route_of(routes: dict[str, Route], method: str) -> Route:
    route = routes.get("GET" if method == "HEAD" else method)
    if route is None or (method == "HEAD" and isinstance(route.work, Streamed)):
        allowed = ", ".join(sorted(routes))
        raise Problem(METHOD_NOT_ALLOWED, f"Allowed: {allowed}.", headers={"Allow": allowed})
    return route


async def _said(route: Route, request: web.Request, path: dict[str, UUID]) -> Said | Problem:
    """What the request says, or what is wrong with it."""
    try:
        query = reading.query_of(route.query, request.query)
        if request.method in _READS:
            return Said(path, query, Nothing())
        body = await reading.body_of(route.request, request)
        return Said(path, query, body, reading.key_of(request) if route.idempotent else None)
    except Problem as problem:
        return problem


async def _document(request: web.Request) -> web.Response:
    return tagged(request, openapi.written(openapi.document()))


async def _page(request: web.Request) -> web.Response:
    response = tagged(request, docs.page())
    response.content_type = "text/html"
    response.charset = "utf-8"
    response.headers["Content-Security-Policy"] = docs.POLICY
    return response
