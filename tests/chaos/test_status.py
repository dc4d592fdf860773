"""A process dies before it could say that its work is over: who delivers the answer says so."""

import signal

import pytest

from tests.chaos.points import Moment, Point
from tests.chaos.processes import Fleet
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

ROLES = frozenset({"ingress", "worker"})
STATUS = "agents.sessions.setStatus"


@pytest.mark.parametrize(
    ("function", "moment", "count"),
    [
        ("bot.conversation:SlackConversation.show_status", "called", 2),
        ("store.outbox:mark_sent", "called", 1),
    ],
    ids=["before the answer", "after the answer"],
)
async def test_a_thread_whose_process_died_at_the_end_does_not_go_on_working(
    fleet: Fleet, function: str, moment: Moment, count: int
):
    """No end was shown by the first process: all of those that it tried to show are refused."""
    here = fleet.here
    first = await fleet.serve(point=Point(function, moment, count))
    here.runtime.hold()
    asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
    await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing")
    here.slack.fault("error_before", method=STATUS, times=None)
    here.runtime.release()
    assert await first.ended() == -signal.SIGKILL
    here.slack.clear_faults()
    await here.connection.execute(
        "UPDATE slack_outbox SET deadline = now() - interval '1 second' WHERE state = 'sending'"
    )
    assert here.slack.shown_status(asked.channel, asked.ts) == "processing"
    await fleet.serve()
    assert await here.answers(asked.channel, asked.ts, 1, timeout=30) == ['You said: "hello"']
    assert here.slack.shown_status(asked.channel, asked.ts) == "active"


async def test_the_last_part_says_so_and_only_where_no_turn_goes_on(fleet: Fleet):
    here = fleet.here
    await fleet.serve(roles=ROLES)
    asked = await here.slack.say("ada", here.slack.dm("ada"), "!long 24")
    await eventually(lambda: here.rows("SELECT FROM slack_outbox WHERE lane = 'reply'"))
    await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    before = len([c for c in here.slack.calls if c.method == STATUS])
    await fleet.serve(roles=frozenset({"delivery"}))
    await here.answers(asked.channel, asked.ts, 3, timeout=30)
    assert len([c for c in here.slack.calls if c.method == STATUS]) == before + 1
