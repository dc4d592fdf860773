"""Sweeps over all agents: found first without a lock, then taken from one agent after the other.

A statement that locks rows of many agents at once could lie on many workers at once (`store.citus`).
What changed in between is told by the condition, which the taking asks again.

The index that a sweep reads is for sweeps alone: they say `> '-infinity'` of a time that each row has.
Without that a look-up by key might take it, and read all that is awake (migrations/0014_sweeps_alone.sql).
"""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from store.database import Record


def by_agent(found: Iterable[Record]) -> list[tuple[UUID, list[Record]]]:
    """The rows of each agent, in the order in which the first of each was found."""
    agents: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in found:
        agents[row["deployed_agent_id"]].append(row)
    return list(agents.items())
