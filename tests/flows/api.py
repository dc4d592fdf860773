"""A program that talks to the sessions API of a world's app over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
from pydantic import SecretStr

from bot.app import ROLES, App
from store import keys, members
from store.keys import NewKey
from tests.harness import World
from tests.supabase import SECRET, shared

PROBLEMS = "https://threadline.dev/problems/"
OTHERS = ("viewer", "member", "admin", "owner")


@dataclass(frozen=True, slots=True)
class Said:
    """What was answered."""

    status: int
    headers: Any
    body: Any
    raw: bytes

    @property
    def slug(self) -> str:
        """Which problem it is."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.raw
        assert self.body["status"] == self.status
        slug: str = self.body["type"].removeprefix(PROBLEMS)
        return slug

    def ok(self, status: int = 200) -> Any:
        """The body of a success."""
        assert self.status == status, (self.status, self.raw)
        return self.body


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls; `token` may be none at all."""

    http: aiohttp.ClientSession
    url: str
    token: str | None
    agent_id: UUID

    def below(self, path: str) -> str:
        """An address below the agent."""
        return f"/dashboard/agents/{self.agent_id}{path}"

    async def call(self, method: str, path: str, json: Any = None, **more: Any) -> Said:
        """One request; `path` from the root, `headers` beside the token's."""
        headers = dict(more.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if json is not None:
            more["json"] = json
        async with self.http.request(method, self.url + path, headers=headers, **more) as response:
            raw = await response.read()
            is_json = response.content_type in ("application/json", "application/problem+json")
            body = await response.json(content_type=None) if raw and is_json else None
            return Said(response.status, response.headers, body, raw)

    async def get(self, path: str, **more: Any) -> Said:
        """GET below the agent."""
        return await self.call("GET", self.below(path), **more)

    async def post(self, path: str, json: Any = None, *, key: str | None = None) -> Said:
        """POST below the agent, under an Idempotency-Key if one is given."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self.call("POST", self.below(path), json, headers=headers)

    async def session(self, **wanted: Any) -> Any:
        """A new session."""
        return (await self.post("/sessions", wanted)).ok(201)


@dataclass(frozen=True, slots=True)
class House:
    """An app with its API, and one caller of each role in the world's workspace."""

    here: World
    app: App
    http: aiohttp.ClientSession
    callers: dict[str, Caller]

    @property
    def member(self) -> Caller:
        return self.callers["member"]

    @property
    def admin(self) -> Caller:
        return self.callers["admin"]

    @property
    def viewer(self) -> Caller:
        return self.callers["viewer"]

    def caller(self, token: str | None, agent_id: UUID | None = None) -> Caller:
        """Somebody with that token."""
        return Caller(self.http, self.app.url, token, agent_id or self.here.agent_id)

    def person(self, name: str, agent_id: UUID | None = None) -> Caller:
        """The person of that name, signed in."""
        return self.caller(token_of(name), agent_id)

    async def key(self, role: str = "member") -> Caller:
        """A program with a new key."""
        new = NewKey(self.here.workspace_id, self.here.agent_id, "report", role)
        _, text = await keys.make(self.here.connection, new)
        return self.caller(text)


def token_of(name: str) -> str:
    """A Supabase session of the person of that name."""
    return shared(sub=name, email=f"{name}@example.com")


@asynccontextmanager
async def house(
    here: World, *, roles: frozenset[str] = ROLES, **settings: Any
) -> AsyncIterator[House]:
    """An app of the world with a member of every role, called as the role is."""
    for role in OTHERS:
        await members.put_member(here.connection, here.workspace_id, role, role)
    secret = settings.pop("supabase_jwt_secret", SecretStr(SECRET))
    async with (
        here.app(roles=roles, supabase_jwt_secret=secret, **settings) as app,
        aiohttp.ClientSession() as http,
    ):
        callers = {role: Caller(http, app.url, token_of(role), here.agent_id) for role in OTHERS}
        yield House(here, app, http, callers)
