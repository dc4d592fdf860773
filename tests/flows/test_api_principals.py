"""Who asks: sessions and keys against real rows, and what a foreign agent looks like."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import aiohttp
import pytest
from multidict import CIMultiDict
from pydantic import SecretStr

from router.api.auth import principals
from router.api.auth.origins import Origins
from router.api.auth.principals import ROLES, Authenticator, Person, Principal, enter
from router.api.auth.tokens import Verifier
from router.api.problems import Problem
from router.settings import Settings
from store import database, keys, members
from store.database import Pool
from store.keys import NewKey
from tests.logs import real_logs
from tests.store.factories import agent, workspace
from tests.supabase import ISSUER, SECRET, SUBJECT, b64, shared

# The house arranges two workspaces over the pool that it asks over.
pytestmark = pytest.mark.as_login("who somebody is, is asked before any workspace is known")

OWN = {"Host": "api.example", "Origin": "https://api.example"}


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass(frozen=True, slots=True)
class House:
    """Two workspaces with an agent each; the person is a member of the first."""

    pool: Pool
    door: Authenticator
    clock: Clock
    ours: UUID
    our_agent: UUID
    theirs: UUID
    their_agent: UUID

    async def of(
        self, headers: dict[str, str], method: str = "GET", agent_id: UUID | None = None
    ) -> Principal:
        who = await self.door.who(CIMultiDict(headers), method)
        async with database.borrow(self.pool) as db, db.transaction():
            return await enter(db, who, agent_id or self.our_agent)

    async def refused(
        self, headers: dict[str, str], method: str = "GET", agent_id: UUID | None = None
    ) -> int:
        """The status of the problem, in which nothing of what was sent is shown."""
        with pytest.raises(Problem) as problem:
            await self.of(headers, method, agent_id)
        said = f"{problem.value!r} {problem.value.body()} {problem.value.headers}"
        long = re.compile(r"[\w-]{20,}")
        assert not [
            part for sent in headers.values() for part in long.findall(sent) if part in said
        ]
        return problem.value.status

    async def key(self, role: str = "member", agent_id: UUID | None = None) -> tuple[UUID, str]:
        """A new key of ours and its text."""
        async with database.borrow(self.pool) as db:
            made, text = await keys.make(
                db, NewKey(self.ours, agent_id or self.our_agent, "test", role)
            )
        return made.id, text

    async def last_used(self, key_id: UUID) -> datetime | None:
        async with database.borrow(self.pool) as db:
            used: datetime | None = await db.fetchval(
                "SELECT last_used_at FROM api_keys WHERE id = $1", key_id
            )
        return used


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    pool = await database.open_pool(dsn, size=4)
    clock = Clock()
    verifier = Verifier(secret=SECRET, jwks=None, issuer=ISSUER)
    origins = Origins.parse(None, "https://trusted.example")
    async with database.borrow(pool) as db:
        ours, theirs = await workspace(db), await workspace(db)
        our_agent, their_agent = await agent(db, ours), await agent(db, theirs)
        await members.put_member(db, ours, SUBJECT, "member")
        await members.put_member(db, theirs, "somebody else", "owner")
    door = Authenticator(pool, verifier, origins, project="ours", now=clock)
    yield House(pool, door, clock, ours, our_agent, theirs, their_agent)
    await database.close_pool(pool)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str, project: str = "p") -> dict[str, str]:
    return {"Cookie": f"sb-{project}-auth-token=base64-{b64({'access_token': token})}"}


# ------------------------------------------------------------------ people


async def test_a_member_has_the_role_that_our_table_says(house: House):
    for role in ROLES:
        async with database.borrow(house.pool) as db:
            await members.put_member(db, house.ours, SUBJECT, role)
        boasting = shared(role="service_role", app_metadata={"role": "owner", "workspace": "x"})
        assert await house.of(bearer(boasting)) == Principal(
            house.ours, role, "member", "bearer", user_id=SUBJECT
        )


async def test_a_foreign_agent_and_none_at_all_look_the_same(house: House):
    said = []
    for agent_id in (house.their_agent, uuid4()):
        with pytest.raises(Problem) as problem:
            await house.of(bearer(shared()), agent_id=agent_id)
        said.append(problem.value.body())
    assert said[0] == said[1]
    assert said[0]["status"] == 404


async def test_a_person_without_any_workspace_finds_nothing(house: House):
    assert await house.refused(bearer(shared(sub="nobody"))) == 404
    assert await house.refused(bearer(shared(sub=SUBJECT.upper()))) == 404


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNzd29yZA==",
        "Bearer a b",
        "Bearer a, Bearer b",
        "Bearer null",
        "Bearer undefined",
        "Token x",
        "Bearer tl_",
        "Bearer tl_aaaaaaaa_" + "A" * 43,
        "Bearer TL_aaaaaaaa_" + "A" * 43,
        "Bearer tl_' OR 1=1 --",
    ],
)
async def test_what_is_no_proof(house: House, given: str):
    assert await house.refused({"Authorization": given}) == 401
    # A wrong header is not made good by a cookie beside it.
    assert await house.refused({"Authorization": given} | cookie(shared())) == 401


async def test_without_anything_nobody_is_known(house: House):
    assert await house.refused({}) == 401
    assert await house.refused({"Cookie": ""}) == 401
    assert await house.refused({"X-API-Key": "x", "apikey": shared()}) == 401


async def test_another_scheme_is_no_proof_of_anything(house: House):
    assert await house.refused({"Authorization": f"Token {shared()}"}) == 401


async def test_two_authorizations_are_none(house: House):
    twice = CIMultiDict([("Authorization", f"Bearer {shared()}")] * 2)
    with pytest.raises(Problem) as problem:
        await house.door.who(twice, "GET")
    assert problem.value.status == 401


async def test_the_scheme_is_written_in_any_case(house: House):
    for scheme in ("bearer", "BEARER"):
        assert (
            await house.of({"authorization": f"{scheme}  {shared()}"})
        ).workspace_id == house.ours


# ------------------------------------------------------------------ cookies


async def test_a_cookie_reads(house: House):
    assert (await house.of(cookie(shared()))).via == "cookie"


async def test_one_good_session_among_those_of_other_projects_is_enough(house: House):
    old, foreign = shared(exp=1), shared("the secret of another project " * 2)
    both = {
        "Cookie": "; ".join(cookie(t, p)["Cookie"] for t, p in ((foreign, "a"), (shared(), "b")))
    }
    assert (await house.of(both)).user_id == SUBJECT
    ours_first = {
        "Cookie": "; ".join(cookie(t, p)["Cookie"] for t, p in ((foreign, "a"), (old, "ours")))
    }
    with pytest.raises(Problem, match="has expired"):
        await house.of(ours_first)


async def test_an_api_key_is_no_cookie(house: House):
    _, text = await house.key()
    assert await house.refused(cookie(text)) == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_cookie_writes_only_from_our_pages(house: House, method: str):
    session = cookie(shared())
    for fine in (
        OWN,
        OWN | {"Sec-Fetch-Site": "same-origin"},
        {"Host": "api.example", "Referer": "https://api.example/page"},
        {
            "Host": "api.example",
            "Origin": "https://trusted.example",
            "Sec-Fetch-Site": "cross-site",
        },
    ):
        assert (await house.of(session | fine, method)).workspace_id == house.ours
    for forged in (
        {},
        {"Host": "api.example"},
        {"Host": "api.example", "Origin": "https://evil.example"},
        {"Host": "api.example", "Origin": "null"},
        OWN | {"Sec-Fetch-Site": "cross-site"},
        OWN | {"Sec-Fetch-Site": "same-site"},
    ):
        assert await house.refused(session | forged, method) == 403


async def test_two_origins_are_as_good_as_a_wrong_one(house: House):
    pairs = [*(cookie(shared()) | OWN).items(), ("Origin", "https://evil.example")]
    with pytest.raises(Problem, match="forbidden"):
        await house.door.who(CIMultiDict(pairs), "POST")


async def test_a_forged_page_learns_nothing_of_foreign_agents(house: House):
    evil = cookie(shared()) | {"Host": "api.example", "Origin": "https://evil.example"}
    assert await house.refused(evil, "POST", house.their_agent) == 403
    assert await house.refused(evil, "POST", house.our_agent) == 403
    assert await house.refused(cookie(shared(exp=1)) | OWN, "POST") == 401


async def test_bearers_and_keys_write_from_anywhere(house: House):
    _, text = await house.key()
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for token in (shared(), text):
        assert (
            await house.of(bearer(token) | evil | cookie(shared()), "POST")
        ).workspace_id == house.ours


# ------------------------------------------------------------------ keys


async def test_a_key_opens_its_own_agent_with_its_role(house: House):
    for role in ("viewer", "member", "admin"):
        key_id, text = await house.key(role)
        assert await house.of(bearer(text), "POST") == Principal(
            house.ours, role, "key", "key", key_id=key_id, agent_id=house.our_agent
        )


async def test_a_key_opens_no_other_agent_not_even_of_its_workspace(house: House):
    _, text = await house.key()
    async with database.borrow(house.pool) as db:
        beside = await agent(db, house.ours)
    for agent_id in (beside, house.their_agent, uuid4()):
        assert await house.refused(bearer(text), agent_id=agent_id) == 404


async def test_a_revoked_key_is_no_proof(house: House):
    _, text = await house.key()
    assert (await house.of(bearer(text))).workspace_id == house.ours
    async with database.borrow(house.pool) as db:
        assert await keys.revoke(db, house.ours, text[:11])
    assert await house.refused(bearer(text)) == 401
    assert await house.refused(bearer(text), agent_id=house.their_agent) == 401


async def test_a_right_prefix_with_a_wrong_secret_is_no_proof(house: House):
    _, text = await house.key()
    other = "A" if text[-1] != "A" else "B"
    for wrong in (text[:-1] + other, text[:-1], text + "A", text.upper(), text[:11]):
        assert await house.refused(bearer(wrong)) == 401


async def test_the_use_of_a_key_is_noted_once_a_minute(house: House):
    key_id, text = await house.key()
    assert await house.last_used(key_id) is None
    await house.of(bearer(text))
    first = await house.last_used(key_id)
    assert first is not None
    async with database.borrow(house.pool) as db:
        await db.execute("UPDATE api_keys SET last_used_at = now() - interval '1 hour'")
    aged = await house.last_used(key_id)
    house.clock.at += 59
    await house.of(bearer(text))
    assert await house.last_used(key_id) == aged
    house.clock.at += 1
    await house.of(bearer(text))
    again = await house.last_used(key_id)
    assert again is not None
    assert again > first


async def test_what_was_noted_is_forgotten_when_it_grows(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(principals, "_MOST_NOTED", 2)
    for _ in range(4):
        _, text = await house.key()
        await house.of(bearer(text))
    assert len(house.door._noted) == 2


# ------------------------------------------------------------------ without an agent


async def test_a_person_is_known_without_an_agent(house: House):
    found = await house.door.who(CIMultiDict(bearer(shared())), "GET")
    assert found == Person(SUBJECT, "ada@example.com", "bearer")
    with pytest.raises(Problem, match="forbidden"):
        await house.door.who(CIMultiDict(cookie(shared())), "POST")


async def test_a_key_says_which_agent_it_is_for(house: House):
    key_id, text = await house.key()
    found = await house.door.who(CIMultiDict(bearer(text)), "GET")
    assert isinstance(found, Principal)
    assert (found.agent_id, found.key_id) == (house.our_agent, key_id)


async def test_without_settings_nobody_is_known_and_the_variables_are_named(house: House):
    shut = Authenticator(house.pool, None, Origins.parse(None, None))
    _, text = await house.key()
    for headers in ({}, bearer(shared()), bearer(text), cookie(shared())):
        with pytest.raises(Problem) as problem:
            await shut.who(CIMultiDict(headers), "GET")
        assert problem.value.status == 503
        assert problem.value.body()["variables"] == ["SUPABASE_URL", "SUPABASE_JWT_SECRET"]


async def test_the_settings_say_who_is_known(house: House):
    settings = Settings(
        supabase_jwt_secret=SecretStr(SECRET),
        supabase_url=ISSUER.removesuffix("/auth/v1"),
        threadline_public_url="https://public.example",
        threadline_cors_origins="https://trusted.example",
    )
    async with aiohttp.ClientSession() as http:
        door = Authenticator.from_settings(settings, house.pool, http)
        old = cookie(shared(exp=1), "project")["Cookie"]
        foreign = cookie(shared("the secret of another project " * 2), "a")["Cookie"]
        with pytest.raises(Problem, match="has expired"):
            await door.who(CIMultiDict({"Cookie": f"{foreign}; {old}"}), "GET")
        for origin in ("https://public.example", "https://trusted.example"):
            page = CIMultiDict(cookie(shared()) | {"Origin": origin})
            assert isinstance(await door.who(page, "POST"), Person)
        shut = Authenticator.from_settings(Settings(), house.pool, http)
        with pytest.raises(Problem, match="not-configured"):
            await shut.who(CIMultiDict(bearer(shared())), "GET")


# ------------------------------------------------------------------ principals


def test_each_role_may_do_what_those_before_it_may():
    for rank, role in enumerate(ROLES):
        principal = Principal(uuid4(), role, "member", "bearer", user_id="u")
        assert [principal.has(needed) for needed in ROLES] == [rank >= other for other in range(4)]


def test_principals_have_names_of_their_own():
    key_id = uuid4()
    person = Principal(uuid4(), "member", "member", "bearer", user_id=str(key_id))
    key = Principal(uuid4(), "member", "key", "key", key_id=key_id)
    assert person.name == f"member:{key_id}"
    assert key.name == f"key:{key_id}"


async def test_nothing_secret_is_logged(house: House, capsys: pytest.CaptureFixture[str]):
    _, text = await house.key()
    token = shared()
    with real_logs(level="DEBUG"):
        found = [await house.of(bearer(text)), await house.of(cookie(token))]
        await house.refused(bearer(text[:-1] + "_"))
        await house.refused(bearer(token + "x"))
    shown = f"{capsys.readouterr().err} {found!r} {house.door!r}"
    assert text not in shown
    assert text[12:] not in shown
    assert token.split(".")[2] not in shown
    assert SECRET not in shown
