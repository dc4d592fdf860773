"""What schemathesis is run against: a house full of real things, and how it is told of them.

It runs as a process of its own, by its command line, which is its one stable interface; what it sent
and got is read from its report. Its ids come from here, so that its requests find something.
"""

import asyncio
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from router.api import serve
from router.api.hub import Hub
from router.api.limits import Limits, Strangers
from router.api.table import ROUTES
from router.api.upstream import Pace
from store import keys, members
from store.database import Connection
from store.ids import new_id
from store.keys import NewKey
from tests.flows.api import House, house, token_of
from tests.harness import World, environment
from tests.store.factories import agent, insert, workspace
from tests.store.tenants import approval, escalation
from tests.support import eventually

OURS, THEIRS = "ours", "theirs"
_ROOT = Path(__file__).parents[2]
_MOST = 10**9
_OPERATIONS = {f"{route.method} {route.path}": route.operation_id for route in ROUTES}


@dataclass(frozen=True, slots=True)
class Stock:
    """Things that paths may name, for each operation that uses them up of its own."""

    ids: dict[str, list[UUID]]
    places: dict[str, dict[str, Any]]


# ------------------------------------------------------------------ what there is


@asynccontextmanager
async def furnished(
    here: World, monkeypatch: pytest.MonkeyPatch, each: int
) -> AsyncIterator[tuple[House, Stock]]:
    """A house with histories, where only the API runs, and somebody of another workspace.

    Nobody asks too often there, and a stream ends by itself after a moment, as it does elsewhere
    after some minutes.
    """
    theirs = await workspace(here.connection)
    await members.put_member(here.connection, theirs, THEIRS, "owner")
    lived = await _lived(here)
    monkeypatch.setattr(serve, "Limits", lambda: Limits(reads=_MOST, writes=_MOST))
    monkeypatch.setattr(serve, "Strangers", lambda: Strangers(_MOST))
    monkeypatch.setattr(serve, "Hub", partial(Hub, pace=Pace(heartbeat=0.05, longest=0.1)))
    async with house(here, roles=frozenset({"api"})) as on:
        yield on, await _stocked(on, lived, each)


async def _lived(here: World) -> list[UUID]:
    """Sessions that talked, used tools, wait for people, and one whose turn is in flight."""
    async with house(here) as on:
        owner = on.callers["owner"]
        for text in ("hello", "!tool bash", "!ask bash", "!escalate which? | red | blue"):
            await owner.session(message=text)
        await here.slack.say("ada", "general", "@threadline hello")
        await eventually(partial(_quiet, here, 5), 30, "five sessions that had their say")
        running = (await owner.session(message="!slow 3000"))["id"]
        await eventually(partial(_runs, here, running), 30, "a turn in flight")
        rows = await here.rows("SELECT id FROM agent_sessions WHERE id <> $1", UUID(running))
        return [UUID(running), *(row["id"] for row in rows)]


async def _quiet(here: World, count: int) -> bool:
    rows = await here.rows(
        "SELECT s.id FROM agent_sessions s JOIN agent_turns t ON t.session_id = s.id"
        " WHERE s.lease_owner IS NULL AND s.ready_at IS NULL"
        " AND (t.ended_at IS NOT NULL OR t.state = 'awaiting_human')"
    )
    return len(rows) == count


async def _runs(here: World, session: str) -> bool:
    rows = await here.rows(
        "SELECT 1 FROM agent_turns WHERE session_id = $1 AND state = 'running'", UUID(session)
    )
    return bool(rows)


async def _stocked(on: House, lived: list[UUID], each: int) -> Stock:
    db = on.here.connection
    ids: dict[str, list[UUID]] = {
        "agent": [on.here.agent_id],
        "lived": lived,
        "running": lived[:1],
    }
    for use in ("talk", "archive"):
        ids[use] = [await _session(on, db) for _ in range(each)]
    of = {"deployed_agent_id": on.here.agent_id, "workspace_id": on.here.workspace_id}
    turn = await insert(
        db,
        "agent_turns",
        **of,
        id=new_id(),
        session_id=ids["talk"][0],
        number=1,
        state="completed",
        stop_reason="end_turn",
        ended_at=await db.fetchval("SELECT now()"),
    )
    below = of | {"session_id": ids["talk"][0], "turn_id": turn["id"]}
    owner = {"requesters": ["member:owner"]}
    policy = {"who": ["requester"], "quorum": 1, "remember": "tool"}
    for use, state in (("decide", "pending"), ("again", "expired"), ("approval", "pending")):
        rows = [await approval(db, below, state=state, policy=policy, **owner) for _ in range(each)]
        ids[use] = [row["id"] for row in rows]
    for use in ("answer", "cancel", "escalation"):
        rows = [
            await escalation(db, below, policy={"who": ["requester"]}, **owner) for _ in range(each)
        ]
        ids[use] = [row["id"] for row in rows]
    made = [
        await keys.make(db, NewKey(on.here.workspace_id, on.here.agent_id, "program", "member"))
        for _ in range(each)
    ]
    ids["key"] = [key.id for key, _ in made]
    await agent(db, on.here.workspace_id)
    return Stock(ids, await _places(on, lived[1]))


async def _session(on: House, db: Connection) -> UUID:
    of = {"deployed_agent_id": on.here.agent_id, "workspace_id": on.here.workspace_id}
    made = await insert(db, "agent_sessions", **of, id=new_id(), source="dashboard", title="stock")
    id_: UUID = made["id"]
    return id_


async def _places(on: House, talked: UUID) -> dict[str, dict[str, Any]]:
    """A real place in each list; those in a session's events go with it, and with their filter."""
    owner = on.callers["owner"]
    session = owner.below(f"/sessions/{talked}")
    lists = {
        "listSessions": owner.below("/sessions"),
        "listApprovals": owner.below("/approvals"),
        "listEscalations": owner.below("/escalations"),
        "listEvents": f"{session}/events",
        "listMembers": "/dashboard/members",
        "listAgents": "/dashboard/agents",
    }
    found = {}
    for name, path in lists.items():
        page = (await owner.call("GET", f"{path}?limit=1")).ok()
        found[name] = _place(page["next_cursor"], "cursor")
    found["listEvents"] |= {"path": {"session_id": str(talked)}, "without": ["order", "type"]}
    stream = await owner.call("GET", f"{session}/stream")
    (first, *_) = re.findall(r"^id: (\S+)$", stream.raw.decode(), re.MULTILINE)
    found["streamEvents"] = _place(first, "last_event_id", "Last-Event-ID")
    found["streamEvents"]["path"] = {"session_id": str(talked)}
    return found


def _place(place: str, *parameters: str) -> dict[str, Any]:
    assert place
    return {"place": place, "parameters": parameters, "path": {}, "without": []}


# ------------------------------------------------------------------ how schemathesis is told


_CONFIGURATION = """
hooks = "tests.contract.fuzzing_hooks"
continue-on-failure = true
suppress-health-check = ["all"]
cache.enabled = false
generation.deterministic = true
generation.no-shrink = true
generation.max-examples = {examples}
phases.stateful.generation.max-examples = 30
reports.ndjson.path = "{folder}/report.ndjson"
dictionaries.agents.values = ["{agent}"]
parameters."path.agent_id".dictionary = "agents"
auth.wfc = {{ path = "{folder}/people.json", user = "ours", peers = ["ours", "theirs"] }}
"""
# Every way to be wrong of an agent's settings is a thousand cases: some must do.
_SOME_SETTINGS = """
[[operations]]
include-operation-id = ["createAgent", "updateAgent"]
phases.coverage.enabled = false
generation.max-examples = 40
"""
# What each operation's path names; what is used up is its own.
_OF_AGENT = {"agent_id": "agent"}
_USES = {
    "listEvents": {"session_id": "lived"},
    "streamEvents": {"session_id": "lived"},
    "readSession": {"session_id": "lived"},
    "sendMessage": {"session_id": "talk"},
    "interruptSession": {"session_id": "running"},
    "archiveSession": {"session_id": "archive"},
    "decideApproval": {"approval_id": "decide"},
    "askAgain": {"approval_id": "again"},
    "readApproval": {"approval_id": "approval"},
    "answerEscalation": {"escalation_id": "answer"},
    "cancelEscalation": {"escalation_id": "cancel"},
    "readEscalation": {"escalation_id": "escalation"},
    "revokeKey": {"key_id": "key"},
}


def configuration(on: House, stock: Stock, folder: Path, examples: int, *, whole: bool) -> Path:
    """Everything that schemathesis has to know, as the files that it and its hooks read."""
    people = {OURS: token_of("owner"), THEIRS: token_of(THEIRS)}
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}
        for name, token in people.items()
    ]
    (folder / "people.json").write_text(json.dumps({"auth": entries}))
    given = {
        "paths": {
            route.operation_id: {
                parameter: [str(id_) for id_ in stock.ids[use]]
                for parameter, use in (_OF_AGENT | _USES.get(route.operation_id, {})).items()
                if f"{{{parameter}}}" in route.path
            }
            for route in ROUTES
        },
        "places": stock.places,
        "workspace_id": str(on.here.workspace_id),
        "stranger": people[THEIRS],
        "strangers": str(folder / "strangers"),
    }
    (folder / "given.json").write_text(json.dumps(given))
    for name in ("strangers", "report.ndjson"):
        (folder / name).touch()
    path = folder / "schemathesis.toml"
    said = _CONFIGURATION.format(folder=folder, examples=examples, agent=on.here.agent_id)
    path.write_text(said if whole else said + _SOME_SETTINGS)
    return path


# ------------------------------------------------------------------ a run


@dataclass(slots=True)
class Ran:
    """What a run did, by operation.

    `fair`: statuses of requests that the documentation allows; `foul`: of those that it does not. What
    comes in chains is left out: there the same is done again and again.
    `anonymous` and `peers`: where schemathesis came again without credentials, and as somebody of the
    other workspace; `strangers`: where our own check did the latter.
    """

    code: int
    said: str
    cases: int = 0
    checks: set[str] = field(default_factory=set)
    fair: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    foul: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    anonymous: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    peers: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    strangers: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """A line for each operation, for people."""
        lines = [f"{self.cases} cases"]
        for name in sorted(self.fair):
            columns = (self.fair, self.foul, self.anonymous, self.peers)
            told = [" ".join(f"{s}:{n}" for s, n in sorted(c[name].items())) for c in columns]
            lines.append(f"{name:17} {' | '.join(told)} | {self.strangers[name]}")
        return "\n".join(lines)


async def run(on: House, config: Path) -> Ran:
    """Schemathesis against the house, to its end."""
    folder = config.parent
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"{on.app.url}/openapi.json"),
        cwd=_ROOT,
        env=environment(PYTHONPATH=str(_ROOT), NO_COLOR="1", FUZZING=str(folder / "given.json")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    ran = Ran(process.returncode or 0, said.decode())
    ran.strangers.update((folder / "strangers").read_text().split())
    for line in (folder / "report.ndjson").read_text().splitlines():
        (event,) = json.loads(line).items()
        if event[0] == "ScenarioFinished":
            _note(ran, event[1]["phase"], event[1]["recorder"])
    return ran


def _note(ran: Ran, phase: str, recorder: dict[str, Any]) -> None:
    for results in recorder.get("checks", {}).values():
        ran.checks |= {result["name"] for result in results}
    for id_, case in recorder.get("cases", {}).items():
        value = case["value"]
        name = _OPERATIONS.get(f"{value['method']} {value['path']}")
        response = (recorder["interactions"].get(id_) or {}).get("response")
        who = value.get("auth_identity")
        ran.cases += who == OURS or "parent_id" not in case
        if name is None or response is None or (who == OURS and phase == "stateful"):
            continue
        counters = {OURS: ran.foul, THEIRS: ran.peers, None: ran.anonymous}[who]
        if who == OURS and value["meta"]["generation"]["mode"] == "positive":
            counters = ran.fair
        counters[name][response["status_code"]] += 1
