"""How people of a demo sign in, and who cannot be signed in by whom."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from bot.signin import people
from bot.signin.people import Person
from bot.signin.sessions import COOKIE, LocalSessions
from router import clock
from router.api.auth.cookies import access_tokens
from store import members
from tests.harness import World
from tests.signing import CALLED, ROLES, Desk, desk

LINUS = Person("linus", "linus", "Linus", "owner")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client that follows no redirect and keeps no cookie."""

    http: aiohttp.ClientSession
    at: Desk

    @property
    def url(self) -> str:
        return self.at.app.url

    async def post(self, path: str, person: str | None = "ada", **headers: str) -> Any:
        """A form of the page's, sent as a browser would that looks at it."""
        sent = {"Origin": self.url} | {name.replace("_", "-"): v for name, v in headers.items()}
        form = {} if person is None else {"person": person}
        options: Any = {"data": form, "headers": sent, "allow_redirects": False}
        async with self.http.post(f"{self.url}{path}", **options) as response:
            await response.read()
            return response

    async def get(self, path: str, **headers: str) -> tuple[Any, str]:
        options: Any = {"headers": headers, "allow_redirects": False}
        async with self.http.get(f"{self.url}{path}", **options) as response:
            return response, await response.text()

    async def cookie(self, person: str) -> str:
        """The header Cookie of who has signed in."""
        response = await self.post("/signin", person)
        assert (response.status, response.headers["Location"]) == (303, "/signin")
        return f"{COOKIE}={_set(response)[COOKIE].value}"


def _set(response: Any) -> SimpleCookie:
    """The one cookie that an answer sets."""
    (line,) = response.headers.getall("Set-Cookie")
    return SimpleCookie(line)


@pytest.fixture
async def visitor(here: World) -> AsyncIterator[Visitor]:
    jar = aiohttp.DummyCookieJar()
    async with desk(here) as at, aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Visitor(http, at)


# ------------------------------------------------------------------ signing in


async def test_each_member_signs_in_and_is_to_the_api_what_our_table_says(visitor: Visitor):
    _, page = await visitor.get("/signin")
    assert re.findall(r'class="name">([^<]+)<', page) == list(CALLED.values())
    for name, role in ROLES.items():
        cookie = await visitor.cookie(name)
        response, body = await visitor.get("/dashboard/me", Cookie=cookie)
        me = json.loads(body)
        assert (response.status, me["email"]) == (200, f"{name}@example.com")
        assert [(one["name"], one["role"]) for one in me["workspaces"]] == [("default", role)]
        _, page = await visitor.get("/signin", Cookie=cookie)
        assert f"Signed in as {CALLED[name]}" in page
        assert CALLED[name] not in "".join(re.findall(r'class="name">([^<]+)<', page))


async def test_the_cookie_and_the_token_are_as_supabase_makes_them(visitor: Visitor):
    response = await visitor.post("/signin")
    cookie = _set(response)[COOKIE]
    assert (cookie["path"], cookie["samesite"], cookie["max-age"]) == ("/", "Lax", "3600")
    assert cookie["httponly"] is True
    assert (cookie["domain"], cookie.value[:7]) == ("", "base64-")
    (token,) = access_tokens(f"{COOKIE}={cookie.value}")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    secret = visitor.at.sessions.secret.get_secret_value()
    claims = jwt.decode(token, secret, ["HS256"], audience="authenticated")
    assert abs(claims["exp"] - claims["iat"] - 3600) <= 1
    assert abs(claims["iat"] - clock.now().timestamp()) < 60
    assert (claims["iss"], claims["email"]) == (f"{visitor.url}/auth/v1", "ada@example.com")
    # supabase.com/docs/guides/auth/jwt-fields: what no token lacks
    needed = {"iss", "aud", "exp", "iat", "sub", "role", "aal", "session_id", "email", "phone"}
    assert needed | {"is_anonymous"} <= set(claims)


async def test_a_program_gets_a_token_by_the_same_door(visitor: Visitor):
    answer = await (await visitor.post("/signin/token")).json()
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 3600)
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    _, me = await visitor.get("/dashboard/me", **bearer)
    assert json.loads(me)["user_id"] == answer["user"]["id"]
    by_id = await visitor.post("/signin/token", answer["user"]["id"])
    assert (await by_id.json())["user"] == answer["user"]


async def test_the_cookie_writes_from_the_page_and_a_viewer_only_reads(visitor: Visitor):
    agent = f"/dashboard/agents/{visitor.at.here.agent_id}/sessions"
    for name, status in (("ada", 201), ("grace", 403)):
        cookie = await visitor.cookie(name)
        assert (await visitor.post(agent, None, Cookie=cookie)).status == status
        assert (await visitor.get(agent, Cookie=cookie))[0].status == 200


async def test_signing_out_takes_the_cookie_away(visitor: Visitor):
    response = await visitor.post("/signin/out", None)
    assert (response.status, response.headers["Location"]) == (303, "/signin")
    gone = _set(response)[COOKIE]
    assert (gone.value, gone["max-age"], gone["path"]) == ("", "0", "/")


async def test_who_was_added_by_hand_signs_in_too(visitor: Visitor):
    here = visitor.at.here
    await members.put_member(here.connection, here.workspace_id, "<b>eve</b>", "owner")
    _, page = await visitor.get("/signin")
    assert "&lt;b&gt;eve&lt;/b&gt;" in page
    assert "<b>eve" not in page
    cookie = await visitor.cookie("<b>eve</b>")
    _, page = await visitor.get("/signin", Cookie=cookie)
    assert "<b>eve" not in page
    _, me = await visitor.get("/dashboard/me", Cookie=cookie)
    assert json.loads(me)["email"] is None


async def test_a_role_that_was_changed_stays_changed_at_the_next_start(here: World):
    await people.add(here.connection, here.workspace_id)
    (ada,) = [p for p in await people.every(here.connection, "default") if p.name == "ada"]
    await members.put_member(here.connection, here.workspace_id, ada.user_id, "owner")
    await people.add(here.connection, here.workspace_id)
    roles = {p.name: p.role for p in await people.every(here.connection, "default")}
    assert roles == ROLES | {"ada": "owner"}


# ------------------------------------------------------------------ who may not


@pytest.mark.parametrize("path", ["/signin", "/signin/token", "/signin/out"])
async def test_no_other_page_signs_anybody_in_or_out(visitor: Visitor, path: str):
    port = visitor.url.rpartition(":")[2]
    for headers in (
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        # A name that somebody else's DNS turns to this machine (DNS rebinding).
        {"Origin": f"http://rebound.example:{port}", "Host": f"rebound.example:{port}"},
    ):
        response = await visitor.post(path, **headers)
        assert response.status == 403, headers
        assert "Set-Cookie" not in response.headers
    silent = await visitor.http.post(f"{visitor.url}{path}", data={"person": "ada"})
    assert silent.status == 403


async def test_the_page_answers_under_names_of_this_machine_alone(visitor: Visitor):
    for path in ("/signin", "/signin/static/signin.js", "/signin/shared/styles/tokens.css"):
        assert (await visitor.get(path))[0].status == 200
        assert (await visitor.get(path, Host="rebound.example"))[0].status == 403


@pytest.mark.parametrize("person", ["nobody", "", None, "' OR 1=1 --"])
async def test_nobody_else_is_signed_in(visitor: Visitor, person: str | None):
    for path in ("/signin", "/signin/token"):
        response = await visitor.post(path, person)
        assert response.status == 422
        assert response.content_type == "application/problem+json"
        assert "Set-Cookie" not in response.headers


async def test_a_session_of_another_run_is_worth_nothing(visitor: Visitor):
    other = LocalSessions()
    assert other.secret != visitor.at.sessions.secret
    session = other.issue(LINUS, visitor.url)
    assert session.token not in repr(session)
    cookie = f"{COOKIE}={session.as_cookie()}"
    assert (await visitor.get("/dashboard/me", Cookie=cookie))[0].status == 401
    _, page = await visitor.get("/signin", Cookie=cookie)
    assert "Sign in to the demo" in page


async def test_who_is_no_member_any_more_is_not_signed_in(visitor: Visitor):
    session = visitor.at.sessions.issue(LINUS, visitor.url)
    _, page = await visitor.get("/signin", Cookie=f"{COOKIE}={session.as_cookie()}")
    assert "Sign in to the demo" in page


async def test_nothing_of_a_token_is_logged_or_stands_in_the_page(
    visitor: Visitor, capsys: pytest.CaptureFixture[str]
):
    cookie = await visitor.cookie("ada")
    _, page = await visitor.get("/signin", Cookie=cookie)
    token = (await (await visitor.post("/signin/token")).json())["access_token"]
    await visitor.get("/dashboard/me", Authorization=f"Bearer {token}x")
    out, err = capsys.readouterr()
    (kept,) = access_tokens(cookie)
    for secret in (token, kept, visitor.at.sessions.secret.get_secret_value()):
        for part in secret.split(".")[-2:]:
            assert part not in page + out + err


async def test_the_page_runs_its_own_script_alone_and_is_in_nobodys_frame(visitor: Visitor):
    response, page = await visitor.get("/signin")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://(?!127)", page)
    assert (await visitor.get("/signin/static/nothing.js"))[0].status == 404
    assert (await visitor.get("/signin/static/..%2fpage.py"))[0].status == 404
    assert (await visitor.get("/signin/shared/app.js"))[0].status == 404


async def test_the_root_leads_to_the_page(visitor: Visitor):
    response, _ = await visitor.get("/")
    assert (response.status, response.headers["Location"]) == (303, "/signin")


async def test_a_server_has_no_such_page(here: World):
    async with here.app() as app, aiohttp.ClientSession() as http:
        for path in ("/signin", "/signin/token", "/signin/static/signin.js"):
            for method in ("GET", "POST"):
                async with http.request(method, app.url + path) as response:
                    assert response.status == web.HTTPNotFound.status_code
