"""What the tests of crash points share: a process that dies at a point, and those who come after."""

import re
import signal
from dataclasses import dataclass

from bot.app import ROLES
from bot.local.model import Message
from router import turns
from tests.chaos.points import Moment, Point
from tests.chaos.processes import Fleet, Process

# For who dies when something waits to be delivered: a sweep of its own could claim that before.
ROLES_THAT_DELIVER_NOTHING = ROLES - {"delivery"}


@dataclass(frozen=True, slots=True)
class Row:
    """Where the first process dies, what it was working at, and what is durable there."""

    point: Point
    durable: str
    text: str = "hello"


def row(function: str, moment: Moment, durable: str, text: str = "hello", count: int = 1) -> Row:
    """A row of the table that a point of ours stands for."""
    return Row(Point(function, moment, count), durable, text)


def rows_of_the_table() -> set[str]:
    """The names of the rows of the table in `router/turns/__init__.py`."""
    return set(re.findall(r"^\| ([a-z]+\.[a-z_]+) \|", turns.__doc__ or "", re.MULTILINE))


def rows_with_tests_apart(names: list[str]) -> set[str]:
    """The rows that have a test of their own among these names of a module."""
    return {
        name.removeprefix("test_").replace("__", ".")
        for name in names
        if name.startswith("test_") and "__" in name
    }


async def ask(fleet: Fleet, text: str = "hello") -> Message:
    """A message of somebody's."""
    return await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), text)


async def dead(process: Process) -> None:
    """Returns once it was killed."""
    assert await process.ended() == -signal.SIGKILL


async def attempts_are_over(fleet: Fleet) -> None:
    """Passes the time that an attempt to deliver may take, which nobody wants to wait for."""
    await fleet.here.connection.execute(
        "UPDATE slack_outbox SET deadline = now() - interval '1 second' WHERE state = 'sending'"
    )


async def leases_are_over(fleet: Fleet) -> None:
    """Passes the time that the dead one's lease has left."""
    await fleet.here.connection.execute(
        "UPDATE agent_sessions SET lease_expires_at = now(), ready_at = now()"
        " WHERE lease_owner IS NOT NULL"
    )


async def requests_are_over(fleet: Fleet) -> None:
    """Passes the time in which a request of the dead one could still be under way."""
    await fleet.here.connection.execute(
        "UPDATE session_inputs SET sending_deadline = now() - interval '1 minute'"
        " WHERE state = 'sending'"
    )
