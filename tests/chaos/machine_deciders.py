"""What people decide at the doors, rightly or not, once or together, and the notes on it."""

import asyncio
from collections.abc import Awaitable
from typing import Literal
from uuid import UUID

from router.approvals import Approvals
from router.humans import Outcome
from store import approvals, database
from store.approvals import Approval, Verdict
from store.database import Pool
from tests.chaos.model_decisions import Tried
from tests.flows.people import clicker, ref
from tests.harness import World

How = Literal["once", "twice", "against", "stranger"]

_STRANGER = "U0STRANGER"
_OTHER: dict[Verdict, Verdict] = {"allow": "deny", "deny": "allow"}

# The calls that wait first, then those that do not any more, the newest of each first.
_ASKED = """
SELECT id FROM agent_approvals ORDER BY state <> 'pending', id DESC
"""


class Deciders:
    """The doors, and who tried what at them."""

    def __init__(self, here: World, pool: Pool) -> None:
        self.tried: list[Tried] = []
        self._here = here
        # Nobody is woken: the sweeps have to find what was decided.
        self._door = Approvals(pool, lambda _: None, lambda: None)

    async def decide(self, which: int, verdict: Verdict, how: How) -> None:
        """Somebody decides on a call; mostly one that waits, else one that does not any more."""
        row = await self._chosen(which)
        if row is None:
            return
        user = row.requesters[which % len(row.requesters)]
        match how:
            case "once":
                await self._try(row, user, verdict)
            case "twice":
                await asyncio.gather(*(self._try(row, user, verdict) for _ in range(2)))
            case "against":
                tries = [self._try(row, user, one) for one in (verdict, _OTHER[verdict])]
                await asyncio.gather(*tries)
            case "stranger":
                await self._try(row, _STRANGER, verdict, stranger=True)

    async def change_course(self, which: int) -> None:
        """Somebody denies what a turn waits for, to have their message read."""
        row = await self._chosen(which)
        if row is not None and row.state == "pending":
            user = row.requesters[0]
            door = self._door.change_course(row.deployed_agent_id, row.turn_id, clicker(user))
            await self._noted(row, user, "deny", door)

    async def decide_all(self) -> None:
        """Whatever still waits is decided."""
        for found in await self._here.rows(
            "SELECT id FROM agent_approvals WHERE state = 'pending'"
        ):
            row = await self._read(found["id"])
            await self._try(row, row.requesters[0], "allow" if row.id.int % 2 else "deny")

    async def _chosen(self, which: int) -> Approval | None:
        rows = await self._here.rows(_ASKED)
        waiting = [await self._read(row["id"]) for row in rows]
        waiting = [row for row in waiting if row.state == "pending"] or waiting
        return waiting[which % len(waiting)] if waiting else None

    async def _read(self, approval_id: UUID) -> Approval:
        row = await approvals.get(self._here.connection, self._here.agent_id, approval_id)
        assert row is not None
        return row

    async def _try(
        self, row: Approval, user: str, verdict: Verdict, *, stranger: bool = False
    ) -> None:
        door = self._door.decide(ref(row), verdict, clicker(user))
        await self._noted(row, user, verdict, door, stranger=stranger)

    async def _noted(
        self,
        row: Approval,
        user: str,
        verdict: Verdict,
        door: Awaitable[Outcome],
        *,
        stranger: bool = False,
    ) -> None:
        try:
            told: str | None = (await door).kind
        except database.ERRORS:
            told = None
        self.tried.append(Tried(str(row.id), user, verdict, told, stranger))
