"""Where Slack does not answer for an install few ask; a revoked token is not used again."""

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from bot import circuit
from bot.app import App
from bot.circuit import Circuits, SlackResting
from bot.local.model import Message
from bot.outcome import SlackAway, SlackRefused, SlackUnclear
from router import clock
from router.clock import Backoff
from tests.flows.streams import POST, calls, quicken
from tests.harness import World
from tests.support import eventually

MANY = 7


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed posts are tried again at once; a circuit that has opened stays so for the test."""
    quicken(monkeypatch)
    monkeypatch.setattr(circuit, "_REST", Backoff(first=50.0, most=60.0))


async def ask(here: World, text: str = "hello", thread_ts: str | None = None) -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text, thread_ts=thread_ts)


def gauge(app: App, why: str) -> float | None:
    name = "threadline_slack_circuits_open"
    return app.metrics.registry.get_sample_value(name, {"why": why})


def all_wait(here: World, count: int) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def waiting() -> bool:
        rows = await here.rows(
            "SELECT FROM slack_outbox WHERE state = 'pending' AND not_before > now() + interval '9 s'"
        )
        return len(rows) == count

    return waiting


async def a_minute(here: World, app: App) -> None:
    """A minute passes, for the circuits of a process and for what waits."""
    for one in app.slack.circuits._circuits.values():
        one.until = 0.0
    await here.connection.execute("UPDATE slack_outbox SET not_before = now()")


async def test_where_slack_does_not_answer_one_delivery_asks_and_the_others_wait(here: World):
    here.slack.fault("error_before", method=POST, times=None, status=503)
    async with here.app() as app:
        asked = [await ask(here, f"number {number}") for number in range(MANY)]
        await eventually(all_wait(here, MANY), says="the circuit to open")
        assert gauge(app, "unanswered") == 1
        before = calls(here)[POST]
        await a_minute(here, app)
        await eventually(lambda: calls(here)[POST] > before, says="the one that asks")
        await eventually(all_wait(here, MANY), says="the circuit to open again")
        assert calls(here)[POST] == before + 1
        here.slack.clear_faults()
        await a_minute(here, app)
        for number, one in enumerate(asked):
            assert await here.answers(one.channel, one.ts, 1) == [f'You said: "number {number}"']
        assert gauge(app, "unanswered") == 0


async def test_one_delivery_that_slack_can_not_digest_keeps_nobody_waiting(here: World):
    async with here.app() as app:
        here.slack.fault("api_error", method=POST, error="internal_error", times=7)
        asked = await ask(here)
        assert await here.answers(asked.channel, asked.ts, 1, 60) == ['You said: "hello"']
        assert gauge(app, "unanswered") == 0
    assert calls(here)[POST] == 8


async def test_a_revoked_token_is_not_used_again_and_a_new_one_is(here: World):
    async with here.app() as app:
        here.slack.fault("api_error", method=POST, error="token_revoked")
        asked = await ask(here)
        await eventually(lambda: buried(here, 1))
        await here.at_rest()
        assert gauge(app, "revoked") == 1
        before = calls(here)
        await ask(here, "again", thread_ts=asked.ts)
        await eventually(lambda: buried(here, 2))
        await here.at_rest()
        assert calls(here) == before
        here.slack.workspace.bot_token = "xoxb-renewed"  # the local workspace's
        async with here.app(roles=frozenset()):  # another process stores the new token
            await eventually(lambda: knows(here, app, "xoxb-renewed"))
            await ask(here, "at last", thread_ts=asked.ts)
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "at last"']
        assert gauge(app, "revoked") == 0


async def knows(here: World, app: App, token: str) -> bool:
    """Whether a process has heard of the install's new token."""
    known = await app.book.get((await here.row("SELECT id FROM oauth_installs"))["id"])
    return known is not None and known.token == token


async def buried(here: World, count: int) -> bool:
    rows = await here.rows("SELECT error FROM slack_outbox WHERE state = 'dead'")
    assert {row["error"] for row in rows} <= {"token_revoked"}
    return len(rows) == count


# ------------------------------------------------------------------ the circuits themselves


def fail(circuits: Circuits, install_id: Any, error: Exception) -> None:
    with pytest.raises(type(error)), circuits.attempt(install_id, uuid4()):
        raise error


def test_an_install_that_is_not_answered_leaves_the_others_alone():
    circuits, broken, whole = Circuits(), uuid4(), uuid4()
    for _ in range(circuit._IN_A_ROW):
        circuits.check(broken)
        fail(circuits, broken, SlackUnclear("TimeoutError"))
    with pytest.raises(SlackResting):
        circuits.check(broken)
    circuits.check(whole)
    with circuits.attempt(whole, uuid4()):
        pass
    assert circuits.unanswered() == 1


def test_an_answer_between_failures_keeps_the_circuit_closed_even_if_it_says_no():
    circuits, install_id = Circuits(), uuid4()
    for _ in range(circuit._IN_A_ROW):
        for _ in range(circuit._IN_A_ROW - 1):
            fail(circuits, install_id, SlackAway("ClientConnectorError"))
        fail(circuits, install_id, SlackRefused("is_archived"))
    assert circuits.unanswered() == 0


def test_each_probe_that_fails_makes_the_wait_longer_up_to_a_minute(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(circuit, "_REST", Backoff(first=1.0, most=60.0))
    monkeypatch.setattr(clock, "monotonic", lambda: 1_000.0)
    circuits, install_id = Circuits(), uuid4()
    for _ in range(circuit._IN_A_ROW):
        fail(circuits, install_id, SlackAway("ClientConnectorError"))
    waits = []
    for _ in range(9):
        with pytest.raises(SlackResting) as resting:
            circuits.check(install_id)
        waits.append(resting.value.wait)
        circuits._circuits[install_id].until = 0.0
        fail(circuits, install_id, SlackAway("ClientConnectorError"))
    assert waits[0] < 1.3
    assert all(one < 0.95 * other for one, other in pairwise(waits[:6]))
    assert 40 < waits[-1] < 75
