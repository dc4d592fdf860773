"""A process that dies on the way of a file from the agent's outputs into the thread, at each step.

The steps are those that router/outputs.py and bot/uploading.py name.
"""

from dataclasses import dataclass

import pytest

from bot.app import ROLES
from bot.local.model import Message
from tests.chaos.crashes import ROLES_THAT_DELIVER_NOTHING, ask, attempts_are_over, dead
from tests.chaos.points import Moment, Point
from tests.chaos.processes import Fleet
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

WRITE = "!write a.txt 10, b.txt 20"
_DONE = ["reply", "file", "file"]


@dataclass(frozen=True, slots=True)
class Row:
    """Where the process dies, and what is durable there: deliveries, and steps of the first file."""

    point: Point
    deliveries: list[str]
    kept: frozenset[str] = frozenset()


def row(function: str, moment: Moment, files: str = "", kept: str = "", count: int = 1) -> Row:
    deliveries = ["reply", *(f"file {state}" for state in files.split())]
    return Row(Point(function, moment, count), deliveries, frozenset(kept.split()))


_NOTE = "store.outputs_sent:note"
_SHARING = "slack_file tries completing"
# What happens of itself in any order with the others: the reply, which is not looked at here.
KILLED = {
    "look.planned": row("store.outputs:plan", "committed"),
    "look.claimed": row("router.runtime.files:Files.outputs", "called"),
    "look.listed": row("router.runtime.files:Files.outputs", "returned"),
    "look.uncommitted": row("store.outputs:add", "commit"),
    "look.committed": row("store.outputs:add", "committed", "pending pending"),
    "file.claimed": row("bot.uploading:Uploading._bring", "called", "sending pending"),
    "file.ticket": row(_NOTE, "returned", "sending pending", "slack_file tries"),
    "file.brought": row(
        "bot.uploading:Uploading._bring", "returned", "sending pending", "slack_file tries"
    ),
    "file.completing": row(_NOTE, "returned", "sending pending", _SHARING, 2),
    "file.completed": row(
        "bot.uploading:Uploading._ask_to_share", "returned", "sending pending", _SHARING
    ),
    "file.shown": row("bot.uploading:Uploading._shown", "returned", "sending pending", _SHARING),
    "file.between": row("bot.uploading:Uploading._bring", "called", "sent sending", "", 2),
}
_SHORT = {"look.uncommitted", "file.ticket", "file.completing", "file.completed"}


async def files_in(fleet: Fleet, asked: Message) -> list[str]:
    replies = fleet.here.slack.replies(asked.channel, asked.ts)
    return [one["name"] for message in replies for one in message.files]


async def look_now(fleet: Fleet) -> None:
    """The time until a look, or that a dead one was given for it, has passed."""
    await fleet.here.connection.execute(
        "UPDATE output_looks SET due_at = now() WHERE due_at IS NOT NULL"
    )


async def looked_for(fleet: Fleet) -> bool:
    return bool(await fleet.here.rows("SELECT FROM output_looks"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in _SHORT else pytest.mark.long) for n in KILLED]
)
async def test_killed_at(fleet: Fleet, name: str):
    doomed = KILLED[name]
    roles = ROLES_THAT_DELIVER_NOTHING if name.startswith("look.") else ROLES
    first = await fleet.serve(point=doomed.point, roles=roles)
    asked = await ask(fleet, WRITE)
    await eventually(lambda: looked_for(fleet), 30, "a look that is planned")
    await look_now(fleet)
    await dead(first)
    assert await _deliveries(fleet) == doomed.deliveries
    assert await _kept(fleet) >= doomed.kept
    await attempts_are_over(fleet)
    await look_now(fleet)
    await fleet.serve()
    await eventually(lambda: _are_sent(fleet), 45, "both files")
    await look_now(fleet)
    await eventually(lambda: _was_looked_at(fleet), 30, "the second look, which finds nothing")
    await fleet.here.at_rest(30)
    assert await files_in(fleet, asked) == ["a.txt", "b.txt"]
    rows = await fleet.here.rows("SELECT kind, state FROM slack_outbox ORDER BY position")
    assert [(r["kind"], r["state"]) for r in rows] == [(kind, "sent") for kind in _DONE]


async def _deliveries(fleet: Fleet) -> list[str]:
    rows = await fleet.here.rows("SELECT kind, state FROM slack_outbox ORDER BY position")
    return [r["kind"] + (f" {r['state']}" if r["kind"] == "file" else "") for r in rows]


async def _kept(fleet: Fleet) -> set[str]:
    rows = await fleet.here.rows(
        "SELECT body FROM slack_outbox WHERE kind = 'file' ORDER BY position LIMIT 1"
    )
    return set(rows[0]["body"]) if rows else set()


async def _are_sent(fleet: Fleet) -> bool:
    sent = await fleet.here.rows("SELECT FROM slack_outbox WHERE kind = 'file' AND state = 'sent'")
    return len(sent) == len(_DONE) - 1


async def _was_looked_at(fleet: Fleet) -> bool:
    return bool(await fleet.here.rows("SELECT FROM output_looks WHERE due_at IS NULL"))
