"""Every statement on a grown database: what it reads does not grow with what has passed.

Nothing has to be entered here for a new statement: its parameters are filled by what the comment above it
calls them (`# $1 agent, $2 session`), it is run and rolled back, and the rows that it touched are counted.
"""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from store import database
from store.arrivals import Words
from store.database import Connection
from store.ids import new_id
from tests.store.grown import BIG
from tests.store.shards import reaches
from tests.store.test_plans import _generic_plan, _nodes
from tests.store.test_statements import _MODULES, _STATEMENTS

_MOST = 250
# Statements that may read more: how much, and why.
_MORE = {
    "outbox._DUE": (450, "each open reply, and whether another stands before it"),
}
# Those that may read all that is awake: each runs seldom, and for one row or by one process in a while.
_ALL_AWAKE = {
    "approvals._EXPIRE",
    "approvals._REMINDED",
    "escalations._ON_ITS_WAY",
    "inputs._WITHDRAW",
    "outputs._CLAIM",
    "retention._DROP_PREVIEWS",
    "turns._OLDEST_LOOK",
}
_ON_BIG = {
    name: text
    for name, text in _STATEMENTS.items()
    if not name.startswith("citus.") and any(r.table in BIG for r in reaches(text))
}
_CONSTANT = re.compile(r"((?:^#.*\n)+)(_[A-Z_]+) = ", re.MULTILINE)
_MEANT = re.compile(r"\$(\d+)\s+([^$]*)")


def _comments() -> dict[str, dict[int, str]]:
    """What each statement's comment calls its parameters."""
    found: dict[str, dict[int, str]] = {}
    for module in _MODULES:
        short = module.__name__.removeprefix("store.")
        source = Path(str(module.__file__)).read_text()
        for comment, name in _CONSTANT.findall(source):
            words = comment.replace("\n#", " ")
            found[f"{short}.{name}"] = {int(n): said for n, said in _MEANT.findall(words)}
    return found


_CALLED = _comments()

# One thread of the grown database, awake and with a turn that waits for people.
_SAMPLE = """
SELECT s.deployed_agent_id AS agent, s.workspace_id AS workspace, s.slack_install_id AS install,
       s.id AS session, s.slack_conversation_key AS conversation, s.slack_thread_ts AS root,
       s.anthropic_session_id AS runtime, t.id AS turn, i.id AS input, i.dedupe_key, i.client_key,
       o.delivery_id AS delivery, a.id AS approval, e.id AS escalation
FROM agent_sessions s
JOIN agent_turns t ON t.session_id = s.id AND t.state = 'awaiting_human'
JOIN session_inputs i ON i.session_id = s.id
JOIN slack_outbox o ON o.session_id = s.id
JOIN agent_approvals a ON a.turn_id = t.id
JOIN agent_escalations e ON e.turn_id = t.id
WHERE s.ready_at IS NOT NULL AND s.status = 'idle' LIMIT 1
"""
# The first word that stands in what a comment says of a parameter, and what of the sample it is.
_IDS = {
    "subject": "approval",
    "approval": "approval",
    "escalation": "escalation",
    "question": "escalation",
    "deliver": "delivery",
    "input": "input",
    "turn": "turn",
    "session": "session",
    "workspace": "workspace",
    "install": "install",
    "agent": "agent",
}
_TEXTS = {
    "dedupe": "dedupe_key",
    "client": "client_key",
    "conversation": "conversation",
    "runtime session": "runtime",
    "root": "root",
    "thread": "root",
}
_WORDS = {
    "effect": "reply 1",
    "channel": "C1",
    "app": "A1",
    "person": "U1",
    "user": "U1",
    "kind": "message",
    "source": "slack",
    "status": "idle",
    "state": "queued",
    "key": "key 400",
    "lock": "1s",
    "verdict": "allow",
    "origin": "slack",
}
# Words of which a table takes some others than the rest.
_SPECIAL = {
    ("approvals._ADD", 15): None,
    ("outbox._ADD", 10): "reply",
    ("turns._END", 3): "completed",
    ("turns._COMPLETE", 3): "completed",
    ("turns._COMPLETE", 8): "final",
    ("usage._ADD", 5): "final",
    ("audit._ADD", 5): "approval",
    ("outputs._ADD", 6): ["offered"],
    ("usage_logs._ADD", 8): "done",
    ("usage_logs._ADD", 9): None,
    ("audit._ADD", 8): "asked",
}
_PLAIN: dict[str, Any] = {
    "text": "x",
    "bool": False,
    "int2": 1,
    "int4": 50,
    "int8": 1,
    "numeric": Decimal(1),
    "float8": 1.0,
    "interval": timedelta(seconds=10),
    "timestamptz": datetime(2026, 1, 1, tzinfo=UTC),
    "jsonb": {},
    "bytea": b"x",
}


def _value(sample: dict[str, Any], kind: str, said: str) -> Any:
    if kind.endswith("[]"):
        return [_value(sample, kind.removesuffix("[]"), said)]
    if kind == "json":
        return json.dumps([_words_in(sample)])
    if kind == "uuid":
        return next((sample[which] for word, which in _IDS.items() if word in said), new_id())
    if kind == "text":
        of_sample = (sample[which] for word, which in _TEXTS.items() if word in said)
        fixed = (value for word, value in _WORDS.items() if word in said)
        return next(of_sample, next(fixed, "x"))
    return _PLAIN[kind]


def _words_in(sample: dict[str, Any]) -> Words:
    return Words(
        key=sample["conversation"],
        addressed=True,
        begins=True,
        ts="9000000000",
        app="A1",
        install=str(sample["install"]),
        team=None,
        channel="C1",
        root=sample["root"],
        session=str(new_id()),
        title="x",
        maker="U1",
        input=str(new_id()),
        body={},
        dedupe_key=sample["dedupe_key"],
        client_key=sample["client_key"],
        event=None,
    )


@pytest.fixture
async def reader(grown: str) -> AsyncIterator[Connection]:
    connection = await database.connect(grown)
    yield connection
    await connection.close()


@pytest.fixture
async def surprised_reader(surprised: str) -> AsyncIterator[Connection]:
    connection = await database.connect(surprised)
    yield connection
    await connection.close()


async def _parameters(reader: Connection, name: str) -> list[Any]:
    row = await reader.fetchrow(_SAMPLE)
    assert row is not None
    types = (await reader.prepare(_STATEMENTS[name])).get_parameters()
    said, sample = _CALLED[name] if types else {}, dict(row)
    return [
        _SPECIAL[name, n] if (name, n) in _SPECIAL else _value(sample, kind.name, said.get(n, ""))
        for n, kind in enumerate(types, start=1)
    ]


def _touched(plan: str) -> int:
    """How many rows of big tables were read."""
    nodes = _nodes(json.loads(plan)[0]["Plan"])
    scans = [
        node for node in nodes if node.get("Relation Name") in BIG and "Scan" in node["Node Type"]
    ]
    return sum(round(_of_a_scan(node) * node["Actual Loops"]) for node in scans)


def _of_a_scan(node: dict[str, Any]) -> float:
    gone = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return float(node["Actual Rows"] + sum(node.get(each, 0) for each in gone))


async def _run(reader: Connection, name: str) -> str:
    """The plan of a statement with what it read; what it wrote is undone."""
    parameters = await _parameters(reader, name)
    trial = reader.transaction()
    await trial.start()
    try:
        await reader.execute("SET LOCAL session_replication_role = replica")
        if "INSERT INTO agent_turns" in _STATEMENTS[name]:  # a session has one live turn
            await reader.execute("DELETE FROM agent_turns WHERE state = 'awaiting_human'")
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {_STATEMENTS[name]}"
        plan: str = await reader.fetchval(explain, *parameters)
        return plan
    finally:
        await trial.rollback()


@pytest.mark.parametrize("name", sorted(_ON_BIG))
async def test_a_statement_reads_a_bounded_number_of_rows(reader: Connection, name: str):
    most, _ = _MORE.get(name, (_MOST, ""))
    assert _touched(await _run(reader, name)) <= most
    generic = json.loads(await _generic_plan(reader, _STATEMENTS[name]))[0]["Plan"]
    whole = [n for n in _nodes(generic) if n["Node Type"] == "Seq Scan"]
    assert not BIG & {node["Relation Name"] for node in whole}, generic


@pytest.mark.parametrize("name", sorted(_ON_BIG.keys() - _ALL_AWAKE))
async def test_nor_does_it_where_more_is_awake_than_was_counted(
    reader: Connection, surprised_reader: Connection, name: str
):
    """An index of what is awake then seems empty, and cheaper than that of a key."""
    usual = _touched(await _run(reader, name))
    assert _touched(await _run(surprised_reader, name)) <= usual + 20


def test_the_statements_are_found():
    assert len(_ON_BIG) > 100
    assert {"threads._FIND", "leases._READY", "outbox._CLAIM"} <= set(_ON_BIG)
    assert set(_MORE) | _ALL_AWAKE <= set(_ON_BIG)


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ("SELECT FROM agent_sessions WHERE title = $1", "Seq Scan"),
        ("SELECT FROM session_inputs WHERE deployed_agent_id = $1::text::uuid", ""),
        ("SELECT count(*) FROM agent_turns WHERE state = $1", "Seq Scan"),
    ],
)
async def test_a_statement_that_reads_too_much_is_seen(reader: Connection, statement, kinds):
    agent = await reader.fetchval("SELECT id FROM deployed_agents")
    explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
    plan = await reader.fetchval(explain, str(agent))
    assert _touched(plan) >= 20_000
    assert kinds in plan


def test_every_parameter_of_theirs_has_a_name():
    unnamed = {
        name: missing
        for name, text in _ON_BIG.items()
        if (missing := {int(n) for n in re.findall(r"\$(\d+)", text)} - set(_CALLED.get(name, {})))
    }
    assert unnamed == {}
