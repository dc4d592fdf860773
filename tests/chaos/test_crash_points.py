"""Every row of the table in `router/turns/__init__.py`, with a process that is really killed there."""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from bot import render
from bot.app import ROLES
from bot.local.model import Message
from router.runtime.local.brain import Answer, script
from tests.cases import few_of
from tests.chaos import (
    test_crash_decisions,
    test_crash_files,
    test_crash_files_in,
    test_crash_tools,
)
from tests.chaos.crashes import (
    ROLES_THAT_DELIVER_NOTHING,
    ask,
    attempts_are_over,
    dead,
    row,
    rows_of_the_table,
    rows_with_tests_apart,
)
from tests.chaos.points import Point
from tests.chaos.processes import Fleet, Process
from tests.flows.streams import words_come
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

ANSWER = 'You said: "hello"'
LONG = "!long 24"
SLOW = "!slow 24"
ROLLING = "!slow 24 20"


async def durable(fleet: Fleet) -> str:
    """The states of the input, the runtime session, the turn, the preview and the deliveries."""
    found = await fleet.here.row(
        """
        SELECT (SELECT string_agg(state, ',') FROM session_inputs WHERE kind = 'message') AS input,
               (SELECT CASE WHEN anthropic_session_id IS NOT NULL THEN 'created'
                            WHEN create_started_at IS NOT NULL THEN 'creating' END
                FROM agent_sessions) AS runtime,
               (SELECT string_agg(state, ',') FROM agent_turns) AS turn,
               (SELECT string_agg(state, ',' ORDER BY part) FROM slack_previews) AS preview,
               (SELECT string_agg(state, ',' ORDER BY position) FROM slack_outbox
                WHERE kind = 'reply') AS outbox
        """
    )
    return " ".join(str(value or "-") for value in found.values())


KILLED = {
    "accept.uncommitted": row("store.arrivals:take_in", "called", "- - - - -"),
    "accept.unanswered": row("store.arrivals:take_in", "returned", "queued - - - -"),
    "accept.answered": row("store.leases:claim", "called", "queued - - - -"),
    "claim.taken": row("store.leases:claim", "returned", "queued - - - -"),
    "create.intended": row("store.sessions:create_started", "committed", "queued creating - - -"),
    "create.unstored": row(
        "router.runtime.client:Runtime.create_session", "returned", "queued creating - - -"
    ),
    "begin.committed": row(
        "router.turns.messages:begin_turn", "returned", "sending created running - -"
    ),
    "send.unstored": row(
        "router.runtime.client:Runtime.send", "returned", "sending created running - -"
    ),
    "send.stored": row("store.holding:mark_messages_sent", "returned", "sent created running - -"),
    "stream.intended": row(
        "bot.slack:Slack.start_stream", "called", "sent created running starting -", SLOW
    ),
    "stream.unstored": row(
        "bot.slack:Slack.start_stream", "returned", "sent created running starting -", SLOW
    ),
    "stream.open": row(
        "bot.slack:Slack.append_stream", "returned", "sent created running open -", SLOW, 2
    ),
    "stream.rolling": row(
        "bot.slack:Slack.stop_stream", "returned", "sent created running open -", ROLLING
    ),
    "end.uncommitted": row("store.turns:complete", "called", "sent created running - -"),
    "end.releasing": row("store.turns:complete", "commit", "sent created running open -", SLOW),
    "end.committed": row("store.turns:complete", "returned", "done created completed - pending"),
    "outbox.claimed": row("bot.slack:Slack.post", "called", "done created completed - sending"),
    "outbox.unstored": row("store.outbox:mark_sent", "called", "done created completed - sending"),
    "outbox.between_parts": row(
        "store.outbox:mark_sent", "returned", "done created completed - sent,pending,pending", LONG
    ),
    "finish.stopped": row(
        "bot.slack:Slack.update", "called", "done created completed open sending", SLOW
    ),
    "finish.unstored": row(
        "bot.slack:Slack.update", "returned", "done created completed open sending", SLOW
    ),
}

# Of each step the point at which the most is done and the least is known; `make test-long` has all.
_TYPICAL = (
    "accept.uncommitted",
    "accept.answered",
    "create.unstored",
    "send.unstored",
    "stream.unstored",
    "stream.rolling",
    "end.uncommitted",
    "end.committed",
    "outbox.unstored",
    "outbox.between_parts",
    "finish.unstored",
)


def test_the_table_and_the_tests_have_the_same_rows():
    apart = rows_with_tests_apart([*globals(), *vars(test_crash_decisions)])
    killed = [*KILLED, *test_crash_decisions.KILLED, *test_crash_tools.KILLED]
    killed += [*test_crash_files_in.KILLED, *test_crash_files.KILLED]
    assert apart | set(killed) == rows_of_the_table()
    assert len(killed) == len(set(killed))
    assert not apart & set(killed)


# ------------------------------------------------------------------ what must hold afterwards


def _words(text: str) -> str:
    """What the agent answers to that."""
    answers = [step.text for step in script([text]) if isinstance(step, Answer)]
    return render.defuse("\n\n".join(answers))


def _said_in(fleet: Fleet, asked: Message) -> list[str]:
    """The bot's messages in the thread, as a person reads them."""
    return fleet.here.shown(asked.channel, asked.ts)


async def answered_once(fleet: Fleet, asked: Message) -> None:
    """One turn, one visible message per part, nothing sent twice, no stream left open."""
    here = fleet.here
    await eventually(lambda: _whole(fleet, asked), 45, f"the answer to {asked.text}")
    await here.at_rest(30)
    assert _whole(fleet, asked), _said_in(fleet, asked)
    assert here.sent_texts() == [asked.text]
    assert [t["state"] for t in await here.turns()] == ["completed"]
    assert len(here.runtime.sessions()) == 1
    streams = [m.streaming_state for m in here.slack.replies(asked.channel, asked.ts)]
    assert "in_progress" not in streams
    assert await here.rows("SELECT * FROM slack_outbox WHERE state <> 'sent'") == []


def _received(fleet: Fleet) -> list[dict[str, object]]:
    here = fleet.here
    return [e for s in here.runtime.sessions() for e in here.runtime.received(s["id"])]


def _whole(fleet: Fleet, asked: Message) -> bool:
    """Whether the thread shows the answer: whole, once, and nothing beside it."""
    seen = _said_in(fleet, asked)
    if asked.text == "hello":
        return seen == [ANSWER]
    return re.sub(r"\s+", "", "".join(seen)) == re.sub(r"\s+", "", _words(asked.text))


async def spoken(fleet: Fleet, process: Process, asked: Message) -> None:
    """Plays an answer, each second of it once the thread shows the one before, then the rest."""
    pace = fleet.here.runtime.world.pace
    for _ in range(14):
        before = _length(fleet, asked)
        await words_come(fleet.here, 1)
        await eventually(partial(_grown_or_dead, fleet, process, asked, before))
        if process.code is not None:
            break
    pace.set_rate(10_000)


def _grown_or_dead(fleet: Fleet, process: Process, asked: Message, before: int) -> bool:
    return process.code is not None or _length(fleet, asked) > before


def _length(fleet: Fleet, asked: Message) -> int:
    return sum(len(text) for text in fleet.here.bot_posts(asked.channel, asked.ts))


async def taken_over(fleet: Fleet, killed: Process, asked: Message) -> None:
    await dead(killed)
    await attempts_are_over(fleet)
    await fleet.serve()
    await answered_once(fleet, asked)


# ------------------------------------------------------------------ killed at a point of ours


@pytest.mark.parametrize("name", few_of(list(KILLED), _TYPICAL))
async def test_killed_at(fleet: Fleet, name: str):
    doomed = KILLED[name]
    if doomed.text.startswith("!slow"):
        fleet.here.runtime.world.pace.set_rate(0)
    roles = ROLES_THAT_DELIVER_NOTHING if name == "end.committed" else ROLES
    first = await fleet.serve(point=doomed.point, roles=roles)
    asked = await ask(fleet, doomed.text)
    if doomed.text.startswith("!slow"):
        await spoken(fleet, first, asked)
    await dead(first)
    assert await durable(fleet) == doomed.durable
    await taken_over(fleet, first, asked)


async def test_accept__unknown(fleet: Fleet):
    first = await fleet.serve(point=Point("store.arrivals:take_in", "lost"))
    asked = await ask(fleet)
    await answered_once(fleet, asked)
    assert first.code is None
    statuses = [d.status for d in fleet.here.slack.deliveries]
    assert statuses[0] == 503
    assert 200 in statuses


# ------------------------------------------------------------------ killed while the other side works


async def stalled_at_the_runtime(fleet: Fleet, route: str, text: str = "hello") -> Message:
    first = await fleet.serve()
    stalled = fleet.here.runtime.fault("stall", route=route, seconds=60)
    asked = await ask(fleet, text)
    await eventually(lambda: stalled.hits)
    await first.kill()
    return asked


async def test_create__unanswered(fleet: Fleet):
    asked = await stalled_at_the_runtime(fleet, "sessions.create")
    await fleet.serve()
    await answered_once(fleet, asked)


async def test_send__unanswered(fleet: Fleet):
    asked = await stalled_at_the_runtime(fleet, "events.send")
    await fleet.serve()
    await answered_once(fleet, asked)


async def test_turn__between_events(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.runtime.hold()
    asked = await ask(fleet)
    await eventually(fleet.here.runtime.held)
    await first.kill()
    fleet.here.runtime.release()
    await fleet.serve()
    await answered_once(fleet, asked)


async def test_interrupt__unanswered(fleet: Fleet):
    """The turn ends stopped, once, and a message that came after the Stop is answered whole."""
    here = fleet.here
    first = await fleet.serve()
    here.runtime.hold()
    asked = await ask(fleet, "hello")
    await eventually(here.runtime.held)
    stalled = here.runtime.fault("stall", route="events.send", seconds=60)
    await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
    await eventually(lambda: stalled.hits)
    await first.kill()
    await fleet.serve()
    await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
    here.runtime.release()
    await eventually(lambda: 'You said: "again"' in _said_in(fleet, asked), 45)
    await here.at_rest(30)
    assert here.sent_texts() == ["hello", "again"]
    assert [e["type"] for e in _received(fleet)].count("user.interrupt") == 1
    assert [t["state"] for t in await here.turns()] == ["interrupted", "completed"]
    assert [s for s in _said_in(fleet, asked) if "Stopped" in s] == _said_in(fleet, asked)[:1]


async def stalled_at_slack(fleet: Fleet, method: str, text: str) -> tuple[Process, Message]:
    """A process that waits for the answer to a call that Slack has carried out."""
    first = await fleet.serve()
    fleet.here.slack.fault("stall_after", method=method, seconds=60)
    asked = await ask(fleet, text)
    await eventually(lambda: fleet.here.bot_posts(asked.channel, asked.ts))
    return first, asked


async def test_outbox__unanswered(fleet: Fleet):
    first, asked = await stalled_at_slack(fleet, "chat.postMessage", "hello")
    await first.kill()
    await taken_over(fleet, first, asked)


async def test_stream__unanswered(fleet: Fleet):
    fleet.here.runtime.world.pace.set_rate(0)
    talking = stalled_at_slack(fleet, "chat.startStream", SLOW)
    first, asked = (await asyncio.gather(talking, words_come(fleet.here, 3)))[0]
    await first.kill()
    fleet.here.runtime.world.pace.set_rate(10_000)
    await taken_over(fleet, first, asked)


# ------------------------------------------------------------------ killed during a clean stop


async def killed_while_stopping(
    fleet: Fleet,
    point: Point,
    until: Callable[[], object],
    asking: Callable[[], Awaitable[Message]],
) -> None:
    first = await fleet.serve(point=point)
    asked = await asking()
    await eventually(until)
    first.signal(signal.SIGTERM)
    await dead(first)
    fleet.here.runtime.release()
    await attempts_are_over(fleet)
    await fleet.serve()
    await answered_once(fleet, asked)


async def test_stop__handing_back(fleet: Fleet):
    fleet.here.runtime.hold()
    point = Point("store.leases:release", "commit")
    await killed_while_stopping(fleet, point, fleet.here.runtime.held, lambda: ask(fleet))


async def test_stop__delivering(fleet: Fleet):
    here = fleet.here
    here.slack.fault("stall_after", method="chat.postMessage", seconds=1)
    point = Point("store.outbox:mark_sent", "called")
    await killed_while_stopping(fleet, point, lambda: _has_answered(fleet), lambda: ask(fleet))


def _has_answered(fleet: Fleet) -> bool:
    """Whether the bot has posted into the thread of the first message."""
    dm = fleet.here.slack.dm("ada")
    return any(fleet.here.bot_posts(dm, root.ts) for root in fleet.here.slack.history(dm)[:1])
