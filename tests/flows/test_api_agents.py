"""Agents, their keys, the people of a workspace, and who asks."""

from uuid import uuid4

import pytest

from store import members
from tests.flows.api import house
from tests.harness import World

QUIET = frozenset({"ingress", "delivery", "api"})
NEW = {"name": "notes", "anthropic_agent_id": "agent_1", "anthropic_environment_id": "env_1"}


async def test_an_agent_is_deployed_read_and_listed(here: World):
    async with house(here, roles=QUIET) as on:
        settings = {
            "approvals": {"default": {"who": ["admins"]}},
            "slack_tools": {"channels": ["C0RANDOM", "#general"], "post": "deny"},
        }
        said = await on.admin.call("POST", "/dashboard/agents", NEW | {"settings": settings})
        made = said.ok(201)
        assert said.headers["Location"] == f"/dashboard/agents/{made['id']}"
        assert (made["name"], made["status"], made["settings"]) == ("notes", "active", settings)
        read = (await on.viewer.call("GET", said.headers["Location"])).ok()
        assert read == made
        listed = (await on.viewer.call("GET", "/dashboard/agents?limit=1")).ok()
        assert listed["data"] == [made]
        rest = f"/dashboard/agents?limit=1&cursor={listed['next_cursor']}"
        second = (await on.viewer.call("GET", rest)).ok()
        assert [row["id"] for row in second["data"]] == [str(here.agent_id)]
        assert second["next_cursor"] is None
        taken = await on.admin.call("POST", "/dashboard/agents", NEW)
        assert (taken.status, taken.slug) == (409, "conflict")


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"name": ""}, ["name"]),
        ({"name": " notes"}, ["name"]),
        ({"name": None}, ["name"]),
        ({"anthropic_agent_id": "a b"}, ["anthropic_agent_id"]),
        ({"settings": {"busy": "never"}}, ["settings", "busy"]),
        ({"settings": {"channels": {"C\x00": {}}}}, ["settings", "channels", "C\x00", "[key]"]),
        ({"settings": {"slack_tools": {"post": "yes"}}}, ["settings", "slack_tools", "post"]),
        ({"status": "paused"}, ["status"]),
    ],
)
async def test_an_agent_that_could_not_be_is_not_made(
    here: World, changes: dict[str, object], loc: list[str]
):
    async with house(here, roles=QUIET) as on:
        said = await on.admin.call("POST", "/dashboard/agents", NEW | changes)
    assert (said.status, said.slug) == (422, "invalid")
    assert said.body["errors"][0]["loc"] == ["body", *loc]


async def test_an_agent_that_is_paused_lets_what_is_said_wait(here: World):
    async with house(here) as on:
        path = on.admin.below("")
        paused = (await on.admin.call("PATCH", path, {"status": "paused"})).ok()
        assert (paused["status"], paused["name"]) == ("paused", "demo")
        await on.member.session(message="hello")
        (await on.admin.call("PATCH", path, {"status": "active"})).ok()
        await here.at_rest()
        assert here.sent_texts() == ["hello"]


async def test_an_agent_is_changed_in_what_is_given_alone(here: World):
    async with house(here, roles=QUIET) as on:
        path = on.admin.below("")
        (await on.admin.call("PATCH", path, {"settings": {"busy": "steer"}})).ok()
        renamed = (await on.admin.call("PATCH", path, {"name": "better"})).ok()
        assert (renamed["name"], renamed["settings"]) == ("better", {"busy": "steer"})
        assert (await on.admin.call("PATCH", path, {})).ok() == renamed
        (await on.admin.call("POST", "/dashboard/agents", NEW)).ok(201)
        taken = await on.admin.call("PATCH", path, {"name": "notes"})
        assert (taken.status, taken.slug) == (409, "conflict")
        assert (await on.admin.call("GET", path)).ok()["name"] == "better"


async def test_a_key_is_shown_once_and_works_until_it_is_revoked(here: World):
    async with house(here, roles=QUIET) as on:
        wanted = {"name": "report", "role": "viewer"}
        said = await on.admin.post("/keys", wanted, key="k")
        made = said.ok(201)
        assert made["token"].startswith(made["prefix"] + "_")
        again = (await on.admin.post("/keys", wanted, key="k")).ok(201)
        assert again == made | {"token": None}
        kept = await here.rows("SELECT answer::text AS answer FROM idempotency_keys")
        assert made["token"] not in str(kept)
        program = on.caller(made["token"])
        (await program.get("/sessions")).ok()
        assert (await program.post("/sessions", {})).slug == "forbidden"
        listed = (await on.admin.get("/keys")).ok()["data"]
        assert [(row["prefix"], row["created_by"]) for row in listed] == [(made["prefix"], "admin")]
        assert "token" not in listed[0]
        path = on.admin.below(f"/keys/{made['id']}")
        for _ in range(2):
            assert (await on.admin.call("DELETE", path)).ok()["revoked_at"] is not None
        assert (await program.get("/sessions")).slug == "unauthenticated"
        nobody = await on.admin.call("DELETE", on.admin.below(f"/keys/{uuid4()}"))
        assert (nobody.status, nobody.slug) == (404, "not-found")


async def test_everybody_learns_who_they_are(here: World):
    async with house(here, roles=QUIET) as on:
        mine = [{"workspace_id": str(here.workspace_id), "name": "default"}]
        person = (await on.member.call("GET", "/dashboard/me")).ok()
        assert person == {
            "kind": "member",
            "user_id": "member",
            "email": "member@example.com",
            "key_id": None,
            "deployed_agent_id": None,
            "workspaces": [mine[0] | {"role": "member"}],
        }
        stranger = (await on.person("stranger").call("GET", "/dashboard/me")).ok()
        assert stranger["workspaces"] == []
        program = (await (await on.key("viewer")).call("GET", "/dashboard/me")).ok()
        assert (program["kind"], program["user_id"]) == ("key", None)
        assert program["deployed_agent_id"] == str(here.agent_id)
        assert program["workspaces"] == [mine[0] | {"role": "viewer"}]


async def test_a_key_sees_its_own_agent_alone(here: World):
    async with house(here, roles=QUIET) as on:
        (await on.admin.call("POST", "/dashboard/agents", NEW)).ok(201)
        listed = (await (await on.key()).call("GET", "/dashboard/agents")).ok()
        assert [row["id"] for row in listed["data"]] == [str(here.agent_id)]


async def test_people_are_listed_in_pages(here: World):
    async with house(here, roles=QUIET) as on:
        await members.put_member(here.connection, here.workspace_id, "zoë", "viewer")
        seen: list[str] = []
        cursor = ""
        while True:
            page = (await on.viewer.call("GET", f"/dashboard/members?limit=2{cursor}")).ok()
            seen += [row["user_id"] for row in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["zoë", "owner", "admin", "member", "viewer"]


async def test_a_person_of_no_workspace_has_no_agents(here: World):
    async with house(here, roles=QUIET) as on:
        for path in ("/dashboard/agents", "/dashboard/members"):
            said = await on.person("stranger").call("GET", path)
            assert (said.status, said.slug) == (404, "not-found")
