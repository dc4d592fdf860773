"""Who asks, and what they are in the workspace of the agent that they ask for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self
from uuid import UUID

import aiohttp

from router import clock
from router.api.auth.cookies import access_tokens, project_of
from router.api.auth.origins import Origins
from router.api.auth.tokens import VARIABLES, Claims, Verifier
from router.api.limits import SAFE_METHODS
from router.api.problems import Problem, forbidden, not_configured, not_found, unauthenticated
from router.settings import Settings
from store import database, keys, tenancy
from store.database import Connection, Pool

ROLES = ("viewer", "member", "admin", "owner")
"""Each may do what those before it may."""

AT_LEAST = {role: ROLES[at:] for at, role in enumerate(ROLES)}
"""The roles that may do what a role may."""

_KEY_MARK = "tl_"
_LOOK_UP_SECONDS = 5.0
_NOTE_SECONDS = 60.0
_MOST_NOTED = 10_000


class Headers(Protocol):
    """The headers of a request, of which any may stand more than once."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        """Every value of that header."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a Supabase session; what they may do depends on the workspace."""

    user_id: str
    email: str | None
    via: Literal["bearer", "cookie"]

    @property
    def name(self) -> str:
        """One name for one person, whatever the workspace."""
        return f"member:{self.user_id}"

    def in_workspace(self, workspace_id: UUID, role: str) -> "Principal":
        """What they are in a workspace that they belong to."""
        return Principal(
            workspace_id,
            role,
            "member",
            self.via,
            user_id=self.user_id,
            called=self.email or self.user_id,
        )


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks for an agent, with the role that they have there. Keys are bound to that agent.

    `called` is what people read where something is done by them.
    """

    workspace_id: UUID
    role: str
    kind: Literal["member", "key"]
    via: Literal["bearer", "cookie", "key"]
    user_id: str | None = None
    key_id: UUID | None = None
    agent_id: UUID | None = None
    called: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """One name for one principal, for limits and Idempotency-Keys."""
        return f"{self.kind}:{self.user_id if self.kind == 'member' else self.key_id}"

    def has(self, role: str) -> bool:
        """Whether they may do what that role may."""
        return self.role in AT_LEAST[role]


def knows(who: Person | Principal, agent_id: UUID) -> None:
    """Problem not-found for a key that is bound to another agent; of a person only our rows tell."""
    if isinstance(who, Principal) and who.agent_id != agent_id:
        raise not_found("agent")


async def enter(connection: Connection, who: Person | Principal, agent_id: UUID) -> Principal:
    """What they may do at an agent, of whose workspace alone the transaction sees rows from then on.

    Problem not-found, and never forbidden, where the agent is another workspace's or nobody's.
    """
    knows(who, agent_id)
    if isinstance(who, Principal):
        await tenancy.as_tenant(connection, who.workspace_id)
        return who
    standing = await tenancy.as_member(connection, agent_id, who.user_id)
    if standing is None:
        raise not_found("agent")
    return who.in_workspace(*standing)


class Authenticator:
    """Tells who asks. Errors of the database pass through: nothing is known then."""

    def __init__(
        self,
        pool: Pool,
        verifier: Verifier | None,
        origins: Origins,
        *,
        project: str | None = None,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._pool, self._verifier, self._origins = pool, verifier, origins
        self._project = project
        self._now = now
        self._noted: dict[UUID, float] = {}

    @classmethod
    def from_settings(cls, settings: Settings, pool: Pool, http: aiohttp.ClientSession) -> Self:
        """As the settings say; ConfigurationError names those that are wrong.

        Without those for sessions every question ends in a Problem not-configured.
        """
        url = settings.supabase_url
        return cls(
            pool,
            Verifier.from_settings(settings, http),
            Origins.parse(settings.threadline_public_url, settings.threadline_cors_origins),
            project=None if url is None else project_of(url),
        )

    async def who(self, headers: Headers, method: str) -> Person | Principal:
        """Who asks where no agent is named: a person, or a key with the agent that it is bound to."""
        verifier = self._configured()
        bearer = _bearer(headers)
        if bearer is None:
            return await self._by_cookie(verifier, headers, method)
        if bearer.startswith(_KEY_MARK):
            return await self._by_key(bearer)
        claims = await verifier.verify(bearer)
        return Person(claims.sub, claims.email, "bearer")

    def _configured(self) -> Verifier:
        if self._verifier is None:
            raise not_configured(VARIABLES)
        return self._verifier

    async def _by_cookie(self, verifier: Verifier, headers: Headers, method: str) -> Person:
        claims = await self._session(verifier, "; ".join(headers.getall("Cookie", ())))
        if method not in SAFE_METHODS and not self._is_own_page(headers):
            raise forbidden("The request does not come from a page of this service.")
        return Person(claims.sub, claims.email, "cookie")

    async def _session(self, verifier: Verifier, cookies: str) -> Claims:
        """The first session that is good; the refusal of the first where none is."""
        refusal: Problem | None = None
        for token in access_tokens(cookies, self._project):
            try:
                return await verifier.verify(token)
            except Problem as refused:
                refusal = refusal or refused
        raise refusal or unauthenticated("Send an access token or an API key as a Bearer token.")

    def _is_own_page(self, headers: Headers) -> bool:
        return self._origins.may_write(
            host=_one(headers, "Host"),
            origin=_one(headers, "Origin"),
            referer=_one(headers, "Referer"),
            site=_one(headers, "Sec-Fetch-Site"),
        )

    async def _by_key(self, text: str) -> Principal:
        async with database.within(self._pool, _LOOK_UP_SECONDS) as connection:
            key = await keys.find(connection, text)
            if key is None:
                raise unauthenticated("The API key is wrong or was revoked.")
            if self._is_to_be_noted(key.id):
                await keys.touched(connection, key.workspace_id, key.id)
        return Principal(
            key.workspace_id,
            key.role,
            "key",
            "key",
            key_id=key.id,
            agent_id=key.deployed_agent_id,
            called=f"{key.name} (API key)",
        )

    def _is_to_be_noted(self, key_id: UUID) -> bool:
        """Whether the use of a key is written down: at most once a minute for each."""
        now = self._now()
        noted = self._noted.get(key_id)
        if noted is not None and now - noted < _NOTE_SECONDS:
            return False
        self._noted.pop(key_id, None)
        self._noted[key_id] = now  # at the end: what was noted longest ago stands first
        if len(self._noted) > _MOST_NOTED:
            del self._noted[next(iter(self._noted))]
        return True


def _bearer(headers: Headers) -> str | None:
    """The token in Authorization; None without that header, a Problem for anything else in it."""
    given = headers.getall("Authorization", ())
    if not given:
        return None
    words = given[0].split()
    if len(given) > 1 or len(words) != 2 or words[0].lower() != "bearer":  # noqa: PLR2004  # "Bearer x"
        raise unauthenticated("Authorization is not one Bearer token.")
    return words[1]


def _one(headers: Headers, name: str) -> str | None:
    """The header's value; two of them are as good as a wrong one."""
    values = headers.getall(name, ())
    return ", ".join(values) if values else None
