"""Whether the indexes of what is open stay small while a million inputs pass.

    python -m tests.bench.growth          QUICK=1 for a twentieth of it

Inputs go through their whole life, from the accept to the delivered reply, in waves: with the states
and columns of the product's own statements, but many rows in each. The tables grow; the indexes that
a claim, the sweeps for ready sessions and due deliveries, and a look at a session's open inputs read
must not. Fails where one of them is more than half as large again at the end as it was when a fifth
had passed: largest sizes, both times. An index of a few pages counts as one of 128 kB.

Months pass within minutes here, so autovacuum's own clock is put aside: after every four waves each
table is judged as it judges them, by the settings that the migrations give it, and vacuumed where it
would be. A real server looks once a minute, and what passed in that minute comes on top.
"""

import asyncio
import random
import sys
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from store import database
from store.database import Connection, Pool
from store.ids import new_id
from tests.bench import common
from tests.bench.common import Results
from tests.store import factories
from tests.store.factories import Ground

_MOST = 1.5
_SMALL = 128 * 1024
_EACH = 10  # messages that one turn answers
_SIDE_BY_SIDE = 4
_WARM = 0.2
_FROM_LONG_AGO = 0.05  # of the threads that are taken up again
_HOT = (
    "agent_sessions_ready",
    "agent_sessions_live",
    "agent_turns_one_live",
    "session_inputs_open",
    "slack_outbox_open",
    "slack_outbox_line",
)


@dataclass(frozen=True, slots=True)
class Size:
    """So many inputs, in waves of so many sessions, four of them side by side."""

    inputs: int
    sessions: int

    @property
    def steps(self) -> int:
        """How often four waves that makes."""
        return self.inputs // (_EACH * self.sessions * _SIDE_BY_SIDE)


_WHOLE = Size(1_000_000, 250)
_QUICK = Size(50_000, 25)

# $1 agent, $2 workspace, $3 install, $4 sessions
_ACCEPT = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, source, slack_install_id,
    slack_channel_id, slack_thread_ts, slack_conversation_key, title, ready_at, wake_seq)
SELECT s, $1, $2, 'slack', $3, 'C1', '1.0', 'A1:T1:C1:' || s, 'Hello', now(), 1
FROM unnest($4::uuid[]) AS s
ON CONFLICT (deployed_agent_id, id) DO UPDATE
SET wake_seq = agent_sessions.wake_seq + 1, ready_at = LEAST(agent_sessions.ready_at, excluded.ready_at)
"""
# $1 agent, $2 workspace, side by side: $3 inputs, $4 their sessions
_SAY = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, client_key)
SELECT i, $1, $2, s, 'message', jsonb_build_object('text', repeat('word ', 20), 'user', 'U1'),
       extract(epoch FROM clock_timestamp()), 'msg:A1:T1:C1:' || i, 'C1:' || i
FROM unnest($3::uuid[], $4::uuid[]) AS n (i, s)
"""
# $1 agent, $2 sessions
_CLAIM = """
UPDATE agent_sessions SET lease_owner = 'bench', lease_expires_at = now() + interval '15 seconds',
    lease_epoch = lease_epoch + 1, barren_claims = barren_claims + 1
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, $2 workspace, side by side: $3 turns, $4 their sessions
_BEGIN = """
INSERT INTO agent_turns (id, deployed_agent_id, workspace_id, session_id, number)
SELECT t, $1, $2, s, COALESCE((SELECT max(number) FROM agent_turns o
                               WHERE o.deployed_agent_id = $1 AND o.session_id = s), 0) + 1
FROM unnest($3::uuid[], $4::uuid[]) AS n (t, s)
"""
# $1 agent, $2 sessions
_RUN = """
UPDATE agent_sessions SET status = 'running', updated_at = now(), barren_claims = 0
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, side by side: $2 inputs, $3 their turns
_SENDING = """
UPDATE session_inputs i SET state = 'sending', turn_id = n.t, sending_deadline = now()
FROM unnest($2::uuid[], $3::uuid[]) AS n (i, t) WHERE i.deployed_agent_id = $1 AND i.id = n.i
"""
# $1 agent, $2 inputs
_SENT = """
UPDATE session_inputs SET state = 'sent', sending_deadline = NULL, sent_at = now(),
    runtime_event_id = 'sevt_' || id
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, $2 sessions
_RENEW = """
UPDATE agent_sessions SET lease_expires_at = now() + interval '15 seconds', updated_at = now()
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, $2 turns
_END_TURNS = """
UPDATE agent_turns SET state = 'completed', stop_reason = 'end_turn', ended_at = now(),
    digest = to_tsvector('simple', 'what was said')
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, $2 inputs
_DONE = """
UPDATE session_inputs SET state = 'done', ended_at = now()
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, $2 workspace, $3 install, side by side: $4 deliveries, $5 turns, $6 sessions
_REPLY = """
INSERT INTO slack_outbox (delivery_id, deployed_agent_id, workspace_id, session_id, turn_id,
    install_id, slack_conversation_key, channel_id, thread_ts, effect_key, lane, kind, body)
SELECT d, $1, $2, s, t, $3, 'A1:T1:C1:' || s, 'C1', '1.0', 'reply:' || t || ':0', 'reply', 'reply',
       jsonb_build_object('markdown', repeat('word ', 40))
FROM unnest($4::uuid[], $5::uuid[], $6::uuid[]) AS n (d, t, s)
"""
# $1 agent, $2 sessions
_RELEASE = """
UPDATE agent_sessions SET status = 'idle', lease_owner = NULL, lease_expires_at = NULL,
    ready_at = NULL, place_at = now(), next_position = next_position + 1
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""
# $1 agent, $2 deliveries
_DELIVER = """
UPDATE slack_outbox SET state = 'sending', claimed_by = 'bench', claim_epoch = claim_epoch + 1,
    deadline = now(), attempts = attempts + 1
WHERE deployed_agent_id = $1 AND delivery_id = ANY($2::uuid[])
"""
# $1 agent, $2 deliveries
_DELIVERED = """
UPDATE slack_outbox SET state = 'sent', slack_ts = '1.0', deadline = NULL, claimed_by = NULL,
    ended_at = now()
WHERE deployed_agent_id = $1 AND delivery_id = ANY($2::uuid[])
"""
# $1 indexes
_SIZES = """
SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class WHERE relname = ANY($1::text[])
"""
_QUIET = "ALTER SYSTEM SET autovacuum = off"
_RELOAD = "SELECT pg_reload_conf()"
# What a connection counted is shown at the end of its next transaction, not within a second.
_COUNT_NOW = "SELECT pg_stat_force_next_flush()"
# Autovacuum's own rule: postgresql.org/docs/current/routine-vacuuming.html, "The Autovacuum Daemon"
_DUE = """
SELECT s.relname FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
LEFT JOIN LATERAL (
    SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold') AS threshold,
           max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor') AS share
    FROM pg_options_to_table(c.reloptions)
) o ON true
WHERE s.n_dead_tup > COALESCE(o.threshold, current_setting('autovacuum_vacuum_threshold'))::float
    + COALESCE(o.share, current_setting('autovacuum_vacuum_scale_factor'))::float
    * GREATEST(c.reltuples, 0)
"""


@dataclass(slots=True)
class Wave:
    """Sessions that each take some messages, answer them in one turn and reply."""

    on: Ground
    sessions: list[UUID]
    turns: list[UUID] = field(init=False)
    inputs: list[UUID] = field(init=False)
    deliveries: list[UUID] = field(init=False)

    def __post_init__(self) -> None:
        self.turns = [new_id() for _ in self.sessions]
        self.deliveries = [new_id() for _ in self.sessions]
        self.inputs = [new_id() for _ in range(_EACH * len(self.sessions))]

    async def accept(self, connection: Connection) -> None:
        """Sessions are made or woken, and their messages wait."""
        on = self.on
        async with connection.transaction():
            await connection.execute(
                _ACCEPT, on.agent_id, on.workspace_id, on.install_id, self.sessions
            )
            of = [s for s in self.sessions for _ in range(_EACH)]
            await connection.execute(_SAY, on.agent_id, on.workspace_id, self.inputs, of)

    async def send(self, connection: Connection) -> None:
        """The sessions are claimed, their turns begin, the messages go to the runtime."""
        agent = self.on.agent_id
        await connection.execute(_CLAIM, agent, self.sessions)
        async with connection.transaction():
            await connection.execute(_RUN, agent, self.sessions)
            await connection.execute(_BEGIN, agent, self.on.workspace_id, self.turns, self.sessions)
            of = [t for t in self.turns for _ in range(_EACH)]
            await connection.execute(_SENDING, agent, self.inputs, of)
        async with connection.transaction():
            await connection.execute(_RENEW, agent, self.sessions)
            await connection.execute(_SENT, agent, self.inputs)

    async def end(self, connection: Connection) -> None:
        """The turns end with their replies in the outbox, and the sessions are released."""
        on = self.on
        async with connection.transaction():
            await connection.execute(_RENEW, on.agent_id, self.sessions)
            await connection.execute(_END_TURNS, on.agent_id, self.turns)
            await connection.execute(_DONE, on.agent_id, self.inputs)
            await connection.execute(
                _REPLY,
                on.agent_id,
                on.workspace_id,
                on.install_id,
                self.deliveries,
                self.turns,
                self.sessions,
            )
            await connection.execute(_RELEASE, on.agent_id, self.sessions)

    async def deliver(self, connection: Connection) -> None:
        """The replies reach Slack."""
        await connection.execute(_DELIVER, self.on.agent_id, self.deliveries)
        async with connection.transaction():
            await connection.execute(_DELIVERED, self.on.agent_id, self.deliveries)
            await connection.execute(_COUNT_NOW)


class Load:
    """Waves over an ever larger number of threads."""

    def __init__(self, pool: Pool, on: Ground, size: Size) -> None:
        self._pool, self._on, self._size = pool, on, size
        self._rest: list[UUID] = []

    async def step(self) -> None:
        """Four waves, side by side."""
        waves = [Wave(self._on, self._sessions()) for _ in range(_SIDE_BY_SIDE)]
        async with asyncio.TaskGroup() as tasks:
            for wave in waves:
                tasks.create_task(self._pass(wave))
        self._rest += [s for wave in waves for s in wave.sessions]

    async def _pass(self, wave: Wave) -> None:
        async with database.borrow(self._pool) as connection:
            for step in (wave.accept, wave.send, wave.end, wave.deliver):
                await step(connection)

    def _sessions(self) -> list[UUID]:
        """New threads, as many again that were busy lately, and a few from long ago."""
        size = self._size.sessions
        old: list[UUID] = []
        for _ in range(min(size // 2, len(self._rest))):
            lately = max(0, len(self._rest) - 5 * size)
            first = 0 if random.random() < _FROM_LONG_AGO else lately
            old.append(self._rest.pop(random.randrange(first, len(self._rest))))
        return sorted(old) + [new_id() for _ in range(size - len(old))]


async def _vacuum(connection: Connection) -> None:
    for (table,) in await connection.fetch(_DUE):
        await connection.execute(f"VACUUM {table}")


async def _run(connection: Connection, load: Load, size: Size) -> dict[str, list[int]]:
    """The largest size of each index in the first share of the load and in the last, in bytes."""
    seen = {name: [0, 0] for name in _HOT}
    for step in range(1, size.steps + 1):
        await load.step()
        share = step / size.steps
        for name, now in await connection.fetch(_SIZES, list(_HOT)):
            for n, counts in enumerate((share <= _WARM, share > 1 - _WARM)):
                seen[name][n] = max(seen[name][n], now * counts)
        await _vacuum(connection)
        if not step % (size.steps // 10):
            sys.stderr.write(f"{share:.0%}\n")
    return seen


async def _measure(size: Size) -> dict[str, list[int]]:
    async with common.database() as dsn:
        pool = await database.open_pool(dsn, size=_SIDE_BY_SIDE)
        connection = await asyncpg.connect(dsn)  # without our limits: a vacuum may take long
        try:
            await connection.execute(_QUIET)
            await connection.execute(_RELOAD)
            load = Load(pool, await factories.ground(connection), size)
            return await _run(connection, load, size)
        finally:
            await connection.close()
            await database.close_pool(pool)


def main() -> None:
    """Prints the sizes; leaves with 1 where an index has grown."""
    size = _QUICK if common.quick() else _WHOLE
    found = asyncio.run(_measure(size))
    rows = [("index", f"kB after {_WARM:.0%}", f"kB after {size.inputs:,} inputs", "ratio")]
    results: Results = {}
    for name, (before, after) in found.items():
        ratio = max(after, _SMALL) / max(before, _SMALL)
        rows.append((name, str(before // 1024), str(after // 1024), f"{ratio:.2f}"))
        results[name] = [{"before": before, "after": after, "ratio": ratio}]
    common.report("growth", rows, results)
    if any(figures[0]["ratio"] > _MOST for figures in results.values()):
        sys.exit(f"an index is more than {_MOST} times as large as it was")


if __name__ == "__main__":
    main()
