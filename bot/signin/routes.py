"""The routes of the sign-in page. Everything that changes something comes from the page itself."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from aiohttp import web

from bot.local.page import static_files
from bot.local.routes import only_loopback
from bot.signin import page, people
from bot.signin.people import Person
from bot.signin.sessions import COOKIE, SECONDS, LocalSession, LocalSessions
from router.api.auth.cookies import access_tokens
from router.api.auth.origins import Origins
from router.api.auth.tokens import Claims, Verifier
from router.api.problems import Problem, answer, forbidden, invalid, unavailable
from store import database
from store.database import Pool

PATH = "/signin"

_SECONDS = 5.0
_STATIC = Path(__file__).resolve().parent / "static"
_SHARED = r"icon\.svg|styles/(?:tokens|base|controls)\.css"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With "no-referrer" a browser says nothing of where a form comes from.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


class SignIn:
    """Lets the members of one workspace sign in by a press; `slack_page` is linked if there is one."""

    def __init__(
        self, pool: Pool, workspace: str, sessions: LocalSessions, slack_page: str | None = None
    ) -> None:
        self._pool, self._workspace, self._sessions = pool, workspace, sessions
        self._slack_page = slack_page
        secret = sessions.secret.get_secret_value()
        self._verifier = Verifier(secret=secret, jwks=None, issuer=None)
        self._origins = Origins.parse(None, None)

    def mount(self, app: web.Application) -> None:
        """Adds the routes, and a way to them from the root."""
        app.add_routes(
            [
                web.get("/", _to_the_page),
                web.get(PATH, self._guarded(self._show)),
                web.post(PATH, self._guarded(self._sign_in)),
                web.post(f"{PATH}/out", self._guarded(self._sign_out)),
                web.post(f"{PATH}/token", self._guarded(self._token)),
                web.get(PATH + r"/static/{path:[a-z]+\.(?:css|js)}", _own_file),
                web.get(f"{PATH}/shared/{{path:{_SHARED}}}", static_files.static),
            ]
        )
        app.on_response_prepare.append(_guard)

    def _guarded(self, work: Handler) -> Handler:
        """Only under loopback's names; what changes something only for this page's own requests."""

        async def handle(request: web.Request) -> web.Response:
            only_loopback(request)
            try:
                if request.method == "POST":
                    self._refuse_other_pages(request)
                return await work(request)
            except Problem as problem:
                return answer(problem)
            except database.ERRORS:
                return answer(unavailable("The database is not available."))

        return handle

    def _refuse_other_pages(self, request: web.Request) -> None:
        headers = request.headers
        if not self._origins.may_write(
            host=headers.get("Host"),
            origin=headers.get("Origin"),
            referer=headers.get("Referer"),
            site=headers.get("Sec-Fetch-Site"),
        ):
            raise forbidden("Send this page's own origin in the header Origin.")

    # -------------------------------------------------------------- the routes

    async def _show(self, request: web.Request) -> web.Response:
        everybody = await self._people()
        claims = await self._claims(request)
        person = next((one for one in everybody if claims and one.user_id == claims.sub), None)
        signed_in = None
        if person is not None and claims is not None:
            signed_in = page.SignedIn(person, claims.exp, str(request.url.origin()))
        shown = page.page(self._workspace, everybody, signed_in, self._slack_page)
        return web.Response(text=shown, content_type="text/html", charset="utf-8")

    async def _sign_in(self, request: web.Request) -> web.Response:
        session = await self._new_session(request)
        response = web.Response(status=303, headers={"Location": PATH})
        response.set_cookie(
            COOKIE, session.as_cookie(), max_age=SECONDS, path="/", httponly=True, samesite="Lax"
        )
        return response

    async def _sign_out(self, _request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": PATH})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Lax")
        return response

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response((await self._new_session(request)).as_json())

    # -------------------------------------------------------------- what they need

    async def _new_session(self, request: web.Request) -> LocalSession:
        """Of the `person` in the form, by id or by the name that the local Slack has for them."""
        wanted = (await request.post()).get("person")
        for person in await self._people():
            if wanted in (person.user_id, person.name):
                return self._sessions.issue(person, str(request.url.origin()))
        says = "the id of a member, or the name that the local Slack has for them"
        raise invalid([{"loc": ["body", "person"], "msg": says}])

    async def _people(self) -> list[Person]:
        async with database.within(self._pool, _SECONDS) as connection:
            return await people.every(connection, self._workspace)

    async def _claims(self, request: web.Request) -> Claims | None:
        """Whose session the cookie holds, if it is a session of this run and not over."""
        for token in access_tokens(request.headers.get("Cookie", "")):
            try:
                return await self._verifier.verify(token)
            except Problem:
                continue
        return None


async def _to_the_page(_request: web.Request) -> web.Response:
    return web.Response(status=303, headers={"Location": PATH})


async def _own_file(request: web.Request) -> web.Response:
    return static_files.answer(request, request.match_info["path"], _STATIC)


async def _guard(request: web.Request, response: web.StreamResponse) -> None:
    if request.path == PATH or request.path.startswith(f"{PATH}/"):
        for name, value in _GUARDS.items():
            response.headers.setdefault(name, value)
