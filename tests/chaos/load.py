"""Two replicas and a crowd over a PostgreSQL in trouble; at the end nothing is lost or doubled."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.local.model import Delivery
from tests.chaos.crowd import Crowd
from tests.chaos.processes import Fleet, Process, processes
from tests.harness import world
from tests.support import eventually

_PER_SECOND = 12.0
_RETRIES = (0.2, 0.5, *[1.0] * 30)  # Slack does not give up before the trouble is over
# Slack waits 3 s for an answer. On a machine that stands still for a while some come too late; were the
# database waited for, more would than are refused in time.
_SELDOM = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """What is talked, and where Slack's events go."""

    fleet: Fleet
    crowd: Crowd
    replicas: list[Process]

    @property
    def refused(self) -> list[Delivery]:
        """The attempts that Slack was told in time to make again, so far."""
        return [d for d in self.fleet.here.slack.deliveries if d.status == 503]

    async def accepted(self, more: int) -> None:
        """Waits until that many messages more have been accepted."""
        before = len(self.crowd.accepted())
        await eventually(lambda: len(self.crowd.accepted()) >= before + more, 30, "messages taken")

    async def is_refused(self, more: int) -> None:
        """Waits until that many attempts more have been refused."""
        before = len(self.refused)
        await eventually(lambda: len(self.refused) >= before + more, 30, "attempts refused")

    async def came_through(self) -> None:
        """Slack was told in time; every message was taken, answered once, and in order."""
        here, crowd = self.fleet.here, self.crowd
        await eventually(lambda: len(crowd.accepted()) == len(crowd.said), 60, "all taken")
        await eventually(self._is_at_rest, 60, "everything at rest")
        await here.at_rest()
        figures = await crowd.report()
        assert figures["said"] == figures["accepted"] == figures["answered"] > 0, figures
        assert figures["lost"] == figures["doubled"] == figures["out_of_order"] == 0, figures
        assert {turn["state"] for turn in await here.turns()} == {"completed"}
        told = here.slack.deliveries
        late = [d for d in told if d.status not in (200, 503)]
        assert len(late) <= max(len(self.refused), _SELDOM * len(told)), late
        assert [p.code for p in self.replicas] == [None, None]

    async def _is_at_rest(self) -> bool:
        # Whoever lost the database in the middle of an attempt has let go of it long ago.
        here = self.fleet.here
        await here.connection.execute(
            "UPDATE slack_outbox SET deadline = now() - interval '1 second'"
            " WHERE state = 'sending' AND deadline < now() + interval '15 seconds'"
        )
        return await here._is_at_rest()


@asynccontextmanager
async def load(dsn: str, folder: Path, *, through: str = "") -> AsyncIterator[Load]:
    """People talk while the block lasts; the replicas reach the database `through` that address."""
    async with world(dsn, retry_delays=_RETRIES) as here, processes(folder) as started:
        fleet = Fleet(here, started)
        replicas = [await fleet.serve(DATABASE_URL=through or dsn) for _ in range(2)]
        crowd = Crowd(here, random.Random(7))
        crowd.gather()
        made = Load(fleet, crowd, replicas)
        async with crowd.talking(_PER_SECOND):
            await made.accepted(10)
            yield made
            await made.accepted(10)
        await made.came_through()
