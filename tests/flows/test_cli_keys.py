"""Keys of programs and the people of a workspace at the command line; what doctor says of tenants."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from store import database, keys
from tests.chaos.processes import Result, processes
from tests.store import tenants

pytestmark = pytest.mark.timeout(120)

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(tmp_path: Path, dsn: str) -> AsyncIterator[Run]:
    """Runs a command on a database with the workspace acme and its agent helper."""
    async with processes(tmp_path) as made:

        async def command(*argv: str, url: str = dsn) -> Result:
            return await made.run(*argv, DATABASE_URL=url)

        agent = ("agents", "add", "--workspace", "acme", "--name", "helper")
        for argv in (
            ("workspaces", "add", "acme"),
            (*agent, "--agent-id", "agent_1", "--environment-id", "env_1"),
        ):
            assert (await command(*argv)).code == 0
        yield command


async def _found(dsn: str, token: str) -> keys.ApiKey | None:
    connection = await database.connect(dsn)
    try:
        return await keys.find(connection, token)
    finally:
        await connection.close()


async def _json(run: Run, *argv: str) -> Any:
    result = await run(*argv, "--json")
    assert (result.code, result.stderr) == (0, ""), result.stdout
    return result.json()


async def test_a_key_is_printed_once_listed_by_its_prefix_and_revoked(run, dsn):
    new = ("keys", "add", "--workspace", "acme", "--agent", "helper", "--name", "nightly")
    made = await _json(run, *new)
    found = await _found(dsn, made["key"])
    assert found is not None
    assert (found.name, found.role, found.prefix) == ("nightly", "member", made["prefix"])
    plain = await run(*new, "--role", "viewer")
    (second,) = re.findall(r"tl_[a-z2-7]{8}_\S{43}", plain.stdout)
    assert (await _found(dsn, second)) is not None

    listing = ("keys", "list", "--workspace", "acme")
    listed = await _json(run, *listing)
    assert [(k["prefix"], k["role"]) for k in listed] == [
        (second[:11], "viewer"),
        (made["prefix"], "member"),
    ]
    assert made["key"] not in (await run(*listing)).stdout
    assert await _json(run, *listing, "--agent", "helper") == listed

    assert (await _json(run, "keys", "revoke", made["prefix"]))["revoked"]
    assert await _found(dsn, made["key"]) is None
    again = await run("keys", "revoke", made["prefix"])
    assert (again.code, "no working key" in again.stderr) == (2, True)
    assert [k["revoked_at"] is None for k in await _json(run, *listing)] == [True, False]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--role": "owner"}, "--role must be one of viewer, member, admin"),
        ({"--workspace": "none"}, "there is no workspace 'none'"),
        ({"--agent": "nobody"}, "there is no agent 'nobody' in 'acme'"),
        ({"--name": " "}, "--name says what the key is for"),
    ],
)
async def test_what_no_key_can_be_made_of_is_refused(run, change, says):
    options = {"--workspace": "acme", "--agent": "helper", "--name": "n"} | change
    result = await run("keys", "add", *(part for pair in options.items() for part in pair))
    assert (result.code, says in result.stderr, result.stdout) == (2, True, "")


async def test_the_people_of_a_workspace_are_listed(run):
    for person, role in (("ada", "admin"), ("bob", "viewer")):
        added = ("members", "add", "--workspace", "acme", "--user-id", person, "--role", role)
        assert (await run(*added)).code == 0
    listed = await _json(run, "members", "list", "--workspace", "acme")
    assert [(m["user_id"], m["role"]) for m in listed] == [("bob", "viewer"), ("ada", "admin")]
    assert "ada" in (await run("members", "list", "--workspace", "acme")).stdout


async def _tenants_role(run: Run, url: str) -> Any:
    rows = (await run("doctor", "--json", url=url)).json()
    (found,) = [row for row in rows if row["check"] == "tenants' role"]
    return found


async def test_doctor_prints_the_sql_that_opens_the_api_and_it_does(run, dsn):
    assert (await _tenants_role(run, dsn))["state"] == "ok"
    superuser = await asyncpg.connect(dsn)
    async with tenants.ordinary_owner(superuser) as role:
        url = re.sub(r"user=\w+", f"user={role}", dsn)
        found = await _tenants_role(run, url)
        assert (found["state"], "stay shut" in found["says"]) == ("warning", True)
        assert f"GRANT threadline_tenant TO {role};" in found["mend"]
        plain = await run("doctor", url=url)
        assert f"GRANT threadline_tenant TO {role};" in plain.stdout
        await superuser.execute(found["mend"].partition("\n")[2])
        assert (await _tenants_role(run, url))["state"] == "ok"
    await superuser.close()
