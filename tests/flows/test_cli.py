"""The command as a person or a service manager runs it: processes, exit codes, what they print."""

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from router.runtime.local import LocalRuntime
from store import database
from tests.chaos.processes import ENCRYPTION_KEYS, Fleet, Processes, processes, serving
from tests.harness import World, environment, world
from tests.support import eventually

pytestmark = pytest.mark.timeout(120)

DOUBLE = Path(__file__).parents[1] / "store" / "citus_double.sql"
OTHER_KEYS = ENCRYPTION_KEYS.replace("k1:", "k2:")


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Processes]:
    async with processes(tmp_path) as made:
        yield made


@pytest.fixture
def fleet(here: World, commands: Processes) -> Fleet:
    return Fleet(here, commands)


def without(env: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


# ------------------------------------------------------------------ administration


async def test_migrate_tells_what_it_applied_and_a_second_time_nothing(commands, empty_dsn):
    first = await commands.run("migrate", "--json", DATABASE_URL=empty_dsn)
    assert first.code == 0
    assert first.json()["applied"][0] == "0001_ground"
    again = await commands.run("migrate", "--json", DATABASE_URL=empty_dsn)
    assert (again.code, again.json()) == (0, {"applied": []})
    plain = await commands.run("migrate", DATABASE_URL=empty_dsn)
    assert (plain.code, plain.stdout) == (0, "applied []\n")


async def test_migrate_to_a_server_without_citus_says_so_and_has_migrated(commands, empty_dsn):
    refused = await commands.run("migrate", "--citus", DATABASE_URL=empty_dsn)
    assert (refused.code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("threadline: This PostgreSQL has no Citus: install it")
    again = await commands.run("migrate", "--json", DATABASE_URL=empty_dsn)
    assert again.json() == {"applied": []}


async def test_a_database_of_our_own_is_not_distributed(commands, tmp_path):
    refused = await commands.run("migrate", "--citus", "--data-dir", str(tmp_path / "data"))
    assert (refused.code, "has no workers" in refused.stderr) == (2, True)
    assert not (tmp_path / "data").exists()


async def test_migrate_distributes_the_tables_once(commands, dsn):
    """Against the test double: tests/store/test_citus.py says what that is worth."""
    connection = await database.connect(dsn)
    await connection.execute(DOUBLE.read_text())
    first = await commands.run("migrate", "--citus", "--json", DATABASE_URL=dsn)
    assert first.code == 0, first.stderr
    assert "agent_sessions" in first.json()["distributed"]
    again = await commands.run("migrate", "--citus", "--json", DATABASE_URL=dsn)
    assert again.json() == {"applied": [], "distributed": []}
    await connection.close()


async def test_a_workspace_its_people_and_its_agents(commands: Processes, dsn):
    async def run(*argv: str) -> str:
        result = await commands.run(*argv, DATABASE_URL=dsn)
        assert (result.code, result.stderr) == (0, "")
        return result.stdout

    made = await commands.run("workspaces", "add", "acme", "--json", DATABASE_URL=dsn)
    again = await commands.run("workspaces", "add", "acme", "--json", DATABASE_URL=dsn)
    assert made.json() == again.json() == {"id": made.json()["id"], "name": "acme"}
    assert "acme [eu]" in await run("workspaces", "add", "acme [eu]")

    person = ("members", "add", "--workspace", "acme", "--user-id", "sub-1", "--role")
    assert '"role": "admin"' in await run(*person, "admin", "--json")
    assert "sub-1" in await run(*person, "viewer")

    agent = ("agents", "add", "--workspace", "acme", "--name", "helper")
    ids = ("--agent-id", "agent_1", "--environment-id", "env_1")
    deployed = await commands.run(*agent, *ids, "--default", "--json", DATABASE_URL=dsn)
    expected = {"name": "helper", "status": "active", "agent_id": "agent_1"}
    assert expected.items() <= deployed.json().items()
    assert deployed.json()["default_of_installs"] == 0
    listed = await commands.run("agents", "list", "--json", DATABASE_URL=dsn)
    assert [row["id"] for row in listed.json()] == [deployed.json()["id"]]
    assert re.search(r"name helper .*agent_id agent_1", await run("agents", "list"))


async def test_an_agent_is_made_at_the_runtime_where_a_model_is_named(commands, here):
    deployed = await commands.run(
        *("agents", "add", "--workspace", "default", "--name", "poet", "--json"),
        *("--model", "claude-sonnet-5-5", "--system", "Rhyme."),
        **serving(here),
    )
    made = here.runtime.state()["agents"][-1]
    assert (deployed.json()["agent_id"], made["system"]) == (made["id"], "Rhyme.")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["workspaces", "add"], "Missing argument"),
        (["nonsense"], "No such command"),
        (["agents", "list", "--colour"], "No such option"),
        (["local", "moon"], "is not one of"),
        (["serve", "--roles", "ingress,cook"], "--roles takes api, delivery, ingress, worker"),
        (["demo", "--use", "moon"], "--use takes slack, runtime, database"),
        (["demo", "--once", "--use", "slack"], "--once plays the people too"),
        (
            ["members", "add", "--workspace", "acme", "--user-id", "x", "--role", "king"],
            "--role must be one of viewer, member, admin, owner",
        ),
        (
            ["members", "add", "--workspace", "acme", "--user-id", "x", "--role", "owner"],
            "threadline workspaces add acme",
        ),
        (["agents", "add", "--workspace", "acme", "--name", "x"], "give --agent-id and"),
        (
            ["agents", "add", "--workspace", "a", "--name", "x", "--agent-id", "agent_1"],
            "give --agent-id and",
        ),
        (
            ["agents", "add", "--workspace", "a", "--name", "x", "--model", "m"],
            "set ANTHROPIC_API_KEY",
        ),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
async def test_wrong_usage_is_told_in_a_line_and_exits_2(commands, dsn, argv, says):
    result = await commands.run(*argv, DATABASE_URL=dsn)
    assert result.code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


# ------------------------------------------------------------------ configuration


async def test_everything_that_is_not_set_is_named_at_once(commands):
    result = await commands.run("serve")
    assert result.code == 2
    for name in (
        "DATABASE_URL",
        "THREADLINE_ENCRYPTION_KEYS",
        "SLACK_SIGNING_SECRET",
        "ANTHROPIC_API_KEY",
    ):
        assert name in result.stderr
    delivery = await commands.run("serve", "--roles", "delivery")
    assert "SLACK_SIGNING_SECRET" not in delivery.stderr
    ingress = await commands.run("serve", "--roles", "ingress")
    assert "ANTHROPIC_API_KEY" not in ingress.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"PORT": "http", "LOG_LEVEL": "loud"}, "PORT: .*; LOG_LEVEL: "),
        ({"THREADLINE_LEASE_SECONDS": "0"}, "THREADLINE_LEASE_SECONDS: "),
        ({"THREADLINE_ENCRYPTION_KEYS": "k1:c2hvcnQ="}, "malformed.*openssl rand"),
        ({"THREADLINE_ENCRYPTION_KEYS": "k1:!"}, "not base64"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "DATABASE_URL cannot be reached"),
        ({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL cannot be reached"),
        ({"SLACK_BOT_TOKEN": "xoxb-somebody-elses"}, "SLACK_BOT_TOKEN .invalid_auth"),
        ({"HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1:"),
    ],
)
async def test_a_wrong_setting_is_named_with_what_to_do_and_exits_2(commands, here, changes, says):
    result = await commands.run("serve", "--port", "0", **(serving(here) | changes))
    assert result.code == 2
    assert re.search(says, result.stderr), result.stderr
    assert "Traceback" not in result.stderr


async def test_a_taken_port_is_told_and_exits_2(commands, here, taken):
    for result in (
        await commands.run("serve", **serving(here), PORT=taken),
        await commands.run("local", "runtime", "--port", taken),
        await commands.run("local", "slack", "--port", taken),
    ):
        assert result.code == 2
        assert "cannot listen on" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("argv", [["migrate"], ["agents", "list"], ["workspaces", "add", "x"]])
async def test_a_database_that_cannot_be_reached_is_told_by_every_command(commands, argv):
    result = await commands.run(*argv, DATABASE_URL="postgresql://ada:pw@127.0.0.1:1/none")
    assert result.code == 2
    assert result.stderr.startswith("threadline: the database of DATABASE_URL cannot be reached")
    nowhere = await commands.run(*argv)
    assert nowhere.code == 2
    assert "set DATABASE_URL" in nowhere.stderr


async def test_a_database_that_was_not_migrated_or_by_a_newer_threadline(commands, here, empty_dsn):
    behind = await commands.run("serve", **(serving(here) | {"DATABASE_URL": empty_dsn}))
    assert (behind.code, "run `threadline migrate` first" in behind.stderr) == (2, True)
    await here.connection.execute(
        "INSERT INTO schema_migrations SELECT 9999, '9999_later', 'x', now()"
    )
    for argv in (["serve"], ["migrate"], ["agents", "list"]):
        ahead = await commands.run(*argv, **serving(here))
        assert ahead.code == 2
        assert "9999" in ahead.stderr
        assert "Traceback" not in ahead.stderr


# ------------------------------------------------------------------ serve


async def test_serve_says_where_it_is_ready_and_stops_when_told(here: World):
    """The one test of `python -m bot` as it is, without what makes the others quick."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "serve", "--port", "0"),
        env=environment(**serving(here)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert re.fullmatch(
        rb'\{"ready": true, "url": "http://127\.0\.0\.1:\d+"\}\n', await process.stdout.readline()
    )
    process.send_signal(signal.SIGTERM)
    rest, log = await process.communicate()
    assert (process.returncode, rest) == (0, b"")
    assert b'"event": "app.stopped"' in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serve_answers_its_operators_until_it_is_told_to_stop(fleet, number):
    process = await fleet.serve(PORT="1")  # --port wins
    async with aiohttp.ClientSession(process.url) as http:
        for path in ("/healthz", "/readyz", "/metrics"):
            async with http.get(path) as response:
                assert response.status == 200
    process.signal(number)
    assert await process.ended() == 0
    assert "Traceback" not in process.stderr


async def test_a_process_without_ingress_takes_no_events(fleet):
    process = await fleet.serve(roles=frozenset({"worker", "delivery"}))
    async with aiohttp.ClientSession(process.url) as http:
        async with http.post("/slack/events", data=b"{}") as response:
            assert response.status == 404
        async with http.get("/readyz") as response:
            assert response.status == 200


@pytest.mark.parametrize("style", ["json", "console"])
async def test_no_secret_is_ever_logged(fleet, style):
    """What is asserted of every process, after a conversation and at the most talkative level."""
    process = await fleet.serve(LOG_LEVEL="DEBUG", LOG_FORMAT=style)
    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), "hello")
    await fleet.here.answers(asked.channel, asked.ts, 1)
    async with aiohttp.ClientSession(process.url) as http:
        body = {"token": fleet.here.slack.bot_token, "type": "event_callback"}
        async with http.post("/slack/events", json=body) as response:
            assert response.status == 401
        raw = f'{{"token": "{fleet.here.slack.bot_token}"}}'
        headers = fleet.here.slack.sign(raw)
        async with http.post("/slack/events", data=raw, headers=headers) as response:
            assert response.status == 400
    await fleet.here.connection.execute("UPDATE oauth_installs SET bot_token = '\\x00'")
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert len(process.stderr.splitlines()) > 5
    process.assert_keeps_secrets()


async def test_serve_on_a_database_of_its_own_is_administered_while_it_serves(
    data_dir, fleet, commands
):
    env = without(serving(fleet.here), "DATABASE_URL", "THREADLINE_ENCRYPTION_KEYS")
    place = ("--data-dir", str(data_dir))
    process = commands.start("serve", "--port", "0", *place, **env)
    process.url = (await process.ready())["url"]
    fleet.send_events_to(process)
    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), "anybody?")
    # Nobody is deployed yet: the person is told so.
    await eventually(lambda: fleet.here.slack.ephemerals or seen(fleet, asked))

    agent = ("--workspace", "default", "--name", "helper", "--model", "m", "--default", "--json")
    added = await commands.run("agents", "add", *agent, *place, **env)
    assert (added.code, added.json()["default_of_installs"]) == (0, 1)
    listed = await commands.run("agents", "list", "--json", *place, **env)
    assert [row["name"] for row in listed.json()] == ["helper"]
    examined = await commands.run("doctor", *place, **env)
    assert examined.code == 0, examined.stdout

    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), "and now?")
    await eventually(lambda: seen(fleet, asked) == ['You said: "and now?"'])
    second = await commands.run("serve", "--port", "0", *place, **env)
    assert second.code == 2
    assert f"already runs on {data_dir} at {process.url}" in second.stderr

    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    process = commands.start("serve", "--port", "0", *place, **env)
    process.url = (await process.ready())["url"]
    fleet.send_events_to(process)
    await fleet.here.slack.say("ada", asked.channel, "still there?", thread_ts=asked.ts)
    await eventually(lambda: seen(fleet, asked)[1:] == ['You said: "still there?"'])
    assert len(fleet.here.runtime.sessions()) == 1


def seen(fleet: Fleet, asked) -> list[str]:
    return fleet.here.bot_posts(asked.channel, asked.ts)


# ------------------------------------------------------------------ doctor


async def test_doctor_finds_nothing_wrong(fleet, commands):
    first = await commands.run("doctor", "--json", **serving(fleet.here))
    assert first.code == 0, first.stdout  # before the first start the token alone is there
    await fleet.serve()
    result = await commands.run("doctor", "--json", **serving(fleet.here))
    states = {row["check"]: row["state"] for row in result.json()}
    assert result.code == 0, result.stdout
    assert [check for check, state in states.items() if state == "failed"] == []
    assert states["runtime"] == states["agents"] == states["signing secret"] == "ok"
    assert states["slack: SLACK_BOT_TOKEN"] == "ok"
    assert states["delayed events"] == "warning"
    plain = await commands.run("doctor", **serving(fleet.here))
    assert (plain.code, "Delayed Events" in plain.stdout) == (0, True)


async def failed(commands: Processes, env: dict[str, str]) -> dict[str, str]:
    """What doctor finds failed, with how to mend it."""
    result = await commands.run("doctor", "--json", **env)
    found = {
        f"{r['check']}: {r['says']}": r["mend"] for r in result.json() if r["state"] == "failed"
    }
    assert (result.code, bool(found)) == (1, True), result.stdout
    assert "Traceback" not in result.stderr
    assert all(found.values()), found
    return found


async def one(commands: Processes, env: dict[str, str], says: str) -> str:
    """How to mend the one thing that is wrong."""
    ((found, mend),) = (await failed(commands, env)).items()
    assert says in found
    return mend


async def test_doctor_says_how_to_mend_what_is_not_set_or_not_there(commands, here, empty_dsn):
    env = serving(here)
    absent = without(env, "SLACK_SIGNING_SECRET")
    assert "Basic Information" in await one(commands, absent, "SLACK_SIGNING_SECRET is not set")
    await one(commands, without(env, "ANTHROPIC_API_KEY"), "set ANTHROPIC_API_KEY")
    away = env | {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    assert "ANTHROPIC_BASE_URL" in await one(commands, away, "http://127.0.0.1:1")
    gone = env | {"DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    await one(commands, gone, "cannot be reached")
    assert "migrate" in " ".join(await failed(commands, env | {"DATABASE_URL": empty_dsn}))
    away = env | {"SLACK_API_URL": "http://127.0.0.1:1/api/"}
    await one(commands, away, "auth.test")
    everything = await failed(commands, {})
    assert len(everything) == 3
    assert all(v in str(everything) for v in ("DATABASE_URL", "ANTHROPIC_API_KEY"))


async def test_doctor_tells_a_key_that_the_runtime_refuses(commands, here):
    async with LocalRuntime(api_key="another") as strict:
        env = serving(here) | {"ANTHROPIC_BASE_URL": strict.url}
        assert "ANTHROPIC_API_KEY" in await one(commands, env, strict.url)


async def test_doctor_tells_what_is_wrong_with_agents_and_installs(fleet, commands):
    here = fleet.here
    env = serving(here)
    await (await fleet.installed()).kill()
    other = without(env, "SLACK_BOT_TOKEN") | {"THREADLINE_ENCRYPTION_KEYS": OTHER_KEYS}
    assert "THREADLINE_ENCRYPTION_KEYS" in await one(commands, other, "sealed under key 'k1'")
    here.slack.fault("revoke_token")
    both = await failed(commands, env)
    assert len(both) == 2  # the one that is set, and the one that is stored
    assert all("token_revoked" in name for name in both)
    here.slack.fault("restore_token")
    await here.connection.execute("UPDATE oauth_installs SET default_agent_id = NULL")
    assert "--default" in await one(commands, env, "no default agent for")
    await here.connection.execute("DELETE FROM deployed_agents")
    assert "agents add" in await one(commands, env, "none is deployed")


async def test_doctor_names_the_scopes_that_a_token_lacks(commands, dsn):
    async with world(dsn, scopes=["chat:write", "users:read"]) as here:
        mend = await one(commands, serving(here), "app_mentions:read")
        assert "manifest.yml" in mend
