"""What waits is worked off: `make bench`, half a minute.

    python -m tests.bench.backlog      QUICK=1: a quarter; FULL=1: 100,000 in 10,000 threads

So many messages of so many threads have been accepted while nobody worked; then three replicas start. One by
one, behind everybody's back, the rows are those that an accept writes.

first 200    from a replica's first answer to its port until it has answered an event: new work does not wait
             until the old is done
msg/s        messages answered a second until all are
share        of the posts, each replica's; none is starved
wrong        messages lost, answered twice or out of order in their thread: none
"""

import sys
import time
from functools import partial

import asyncpg

from tests.bench import alone, common, goals, lean_slack
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome, Verdict
from tests.bench.lean_slack import Talk
from tests.bench.serving import Bench
from tests.bench.town import CPU, Town, cpu, replicas, town

_THREADS, _QUICK, _FULL, _EACH, _REPLICAS = 1_000, 250, 10_000, 10, 3
_PATIENCE_SECONDS = 1_800.0
_GOAL = 0.7

# $1 agent, $2 how many threads, $3 app, $4 team, $5 the time of the first message
_SESSIONS = """
WITH made AS (
    INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, title, created_by, source,
        slack_install_id, slack_team_id, slack_channel_id, slack_thread_ts,
        slack_conversation_key, ready_at, wake_seq)
    SELECT gen_random_uuid(), $1, a.workspace_id, 'waiting', 'U' || lpad(n::text, 8, '0'), 'slack',
        i.id, $4, c.channel, c.root, $3 || ':' || $4 || ':' || c.channel || ':' || c.root, now(), 1
    FROM generate_series(0, $2::int - 1) AS n
    CROSS JOIN LATERAL (SELECT 'D' || lpad(n::text, 8, '0') AS channel,
        ($5::int || '.' || lpad(n::text, 6, '0')) AS root) c
    JOIN deployed_agents a ON a.id = $1
    JOIN oauth_installs i ON i.tenant_id = $4
    RETURNING id, deployed_agent_id, workspace_id, slack_conversation_key, slack_channel_id,
        slack_thread_ts
)
INSERT INTO slack_threads (slack_conversation_key, deployed_agent_id, workspace_id, session_id,
    api_app_id, channel_id, root_ts, first_ts)
SELECT slack_conversation_key, deployed_agent_id, workspace_id, id, $3, slack_channel_id,
    slack_thread_ts, slack_thread_ts::numeric FROM made
"""
# $1 agent, $2 how many in each thread
_INPUTS = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, revision, state)
SELECT gen_random_uuid(), $1, s.workspace_id, s.id, 'message',
    jsonb_build_object('text', 'note-' || substr(s.slack_channel_id, 2)::int || '-' || n,
        'user', s.created_by, 'team', s.slack_team_id, 'files', '[]'::jsonb),
    s.slack_thread_ts::numeric + n, 'msg:' || s.slack_conversation_key || ':' || n, 0, 'queued'
FROM agent_sessions s CROSS JOIN generate_series(0, $2::int - 1) AS n
WHERE s.deployed_agent_id = $1
"""
_BY_REPLICA = """
SELECT count(*) AS count FROM slack_outbox WHERE lane = 'reply' GROUP BY body->>'by'
"""


async def measure(on: Bench, threads: int) -> Figures:
    """The whole of it, once."""
    async with town(on) as here:
        await _fill(here, threads)
        await here.ask(here.slack, "wait", {"threads": threads, "messages": _EACH})
        here.mark()
        begun = time.monotonic()
        async with replicas(here, _REPLICAS) as made:
            started = time.monotonic() - begun
            talk = Talk(urls=[made[0].url], threads=1, messages=1, wait_seconds=_PATIENCE_SECONDS)
            new = await here.talk(talk)
            told = await here.ask(here.slack, "waited", {"seconds": _PATIENCE_SECONDS})
            shares, turns = here.shares(), await _by_replica(here)
        return {
            "messages": told["said"],
            "started_s": started,
            "first_200_ms": new.ack[0] * 1000,
            "first_answer_s": new.took[0],
            "a_second": told["answered"] / told["seconds"],
            "turns_a_second": told["turns"] / told["seconds"],
            "seconds": told["seconds"],
            "wrong": told["lost"] + told["doubled"] + told["disorder"],
            "least_share": min(turns) / max(sum(turns), 1),
            "most_share": max(turns) / max(sum(turns), 1),
            **{f"cpu_{name}": share for name, share in shares.items()},
        }


async def _by_replica(here: Town) -> list[int]:
    """How many answers each has written down; none where one has written nothing."""
    connection = await asyncpg.connect(here.postgres.dsn)
    try:
        counts = [int(row["count"]) for row in await connection.fetch(_BY_REPLICA)]
    finally:
        await connection.close()
    return counts + [0] * (_REPLICAS - len(counts))


async def _fill(here: Town, threads: int) -> None:
    """Without our limits: it may take long."""
    connection = await asyncpg.connect(here.postgres.dsn)
    try:
        team, first = lean_slack.workspace_id(0), int(time.time()) - 3_600
        await connection.execute(_SESSIONS, here.agent_id, threads, lean_slack.APP, team, first)
        await connection.execute(_INPUTS, here.agent_id, _EACH)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def rows(seen: Figures) -> list[list[str]]:
    """The table."""
    waiting = seen["messages"]
    return [
        ["waiting", "msg/s", "turns/s", "share", "first 200 ms", "wrong", "s", CPU],
        [
            f"{waiting:,.0f} in {waiting / _EACH:,.0f}",
            f"{seen['a_second']:.0f}",
            f"{seen['turns_a_second']:.0f}",
            f"{seen['least_share']:.0%} to {seen['most_share']:.0%}",
            f"{seen['first_200_ms']:.0f}",
            f"{seen['wrong']:.0f}",
            f"{seen['seconds']:.0f}",
            cpu(seen),
        ],
    ]


def judged(seen: Figures) -> list[Verdict]:
    """What was seen beside the goals; how it compares with whole turns, `against` knows."""
    return [
        goals.none("8 backlog", "lost, doubled or out of order", seen["wrong"]),
        goals.at_least(
            "8 backlog",
            "least share of a replica, of 1/3",
            seen["least_share"] * _REPLICAS,
            0.5,
            digits=2,
        ),
    ]


def against(backlog: Results, through: Results) -> list[Verdict]:
    """How fast it is drained beside what one replica does with ten messages open."""
    drained = common.medians(backlog["backlog"])["a_second"]
    whole = common.medians(through["1 × ten"])["a_second"]
    figure = "drained, of workload 5 (ten open)"
    return [goals.at_least("8 backlog", figure, drained / max(whole, 1), _GOAL, digits=2)]


async def run(on: Bench) -> Outcome:
    """All of it."""
    threads = _FULL if common.full() else _QUICK if common.quick() else _THREADS
    sys.stderr.write(f"{threads * _EACH:,} messages in {threads:,} threads\n")
    seen = await on.undisturbed(partial(measure, on, threads))
    return Outcome("backlog", rows(seen), {"backlog": [seen]}, judged(seen))


if __name__ == "__main__":
    sys.exit(alone.main(run))
