"""A process dies, or is told to go, at each point of a message's way: one answer, none doubled."""

import signal
from collections.abc import Callable

import pytest

from bot.local.model import Message
from tests.chaos.processes import Fleet, Process
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

INGRESS = frozenset({"ingress"})


async def said(fleet: Fleet, text: str = "hello") -> Message:
    return await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), text)


async def one_answer(fleet: Fleet, asked: Message, text: str = "hello") -> None:
    """The message went to the runtime once, and the thread has the one answer to it."""
    here = fleet.here
    assert await here.answers(asked.channel, asked.ts, 1, timeout=30) == [f'You said: "{text}"']
    assert here.sent_texts() == [text]
    assert len(here.runtime.sessions()) == 1
    assert [t["state"] for t in await here.turns()] == ["completed"]


async def holders(fleet: Fleet) -> list[int]:
    """The pids of the processes that hold a lease."""
    rows = await fleet.here.rows(
        "SELECT lease_owner FROM agent_sessions WHERE lease_expires_at > now()"
    )
    return [int(row["lease_owner"].split(":")[-2]) for row in rows]


async def held_by(fleet: Fleet, process: Process) -> None:
    async def is_held() -> bool:
        return await holders(fleet) == [process.pid]

    await eventually(is_held, says=f"the session held by {process.pid}")


async def attempt_is_over(fleet: Fleet) -> None:
    """Passes the time that an attempt to deliver may take, which nobody wants to wait for."""
    await fleet.here.connection.execute(
        "UPDATE slack_outbox SET deadline = now() - interval '1 second' WHERE state = 'sending'"
    )


def posts_answered(fleet: Fleet) -> int:
    """How many posts Slack has answered; one that it stalls is not among them."""
    return len([c for c in fleet.here.slack.calls if c.method == "chat.postMessage"])


def is_stalled(fleet: Fleet) -> bool:
    """Whether the one fault that was ordered has struck."""
    return not fleet.here.slack.workspace.faults._orders


async def test_killed_after_the_200_and_before_the_turn(fleet: Fleet):
    first = await fleet.serve(roles=INGRESS)
    asked = await said(fleet)
    await eventually(lambda: [d for d in fleet.here.slack.deliveries if d.status == 200])
    await first.kill()
    assert fleet.here.runtime.sessions() == []
    await fleet.serve()
    await one_answer(fleet, asked)


async def test_killed_in_the_middle_of_a_turn_another_goes_on(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.runtime.hold()
    asked = await said(fleet)
    await eventually(fleet.here.runtime.held)
    await held_by(fleet, first)
    second = await fleet.serve()
    await first.kill()
    await held_by(fleet, second)
    fleet.here.runtime.release()
    await one_answer(fleet, asked)


async def test_killed_while_the_answer_arises_the_next_start_finds_it(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.runtime.hold()
    asked = await said(fleet)
    await eventually(fleet.here.runtime.held)
    await first.kill()
    fleet.here.runtime.release()
    (session,) = fleet.here.runtime.sessions()
    await eventually(
        lambda: fleet.here.runtime.events(session["id"])[-1]["type"] == "session.status_idle"
    )
    await fleet.serve()
    await one_answer(fleet, asked)


@pytest.mark.parametrize("route", ["sessions.create", "events.send"])
@pytest.mark.parametrize("how", ["stall", "drop_after"])
async def test_killed_before_the_answer_of_a_request_to_the_runtime(fleet: Fleet, route, how):
    first = await fleet.serve()
    lost = fleet.here.runtime.fault(how, route=route, seconds=60)
    asked = await said(fleet)
    await eventually(lambda: lost.hits)
    await first.kill()
    await fleet.serve()
    await one_answer(fleet, asked)
    assert fleet.here.runtime.requests(route) == 1


async def test_killed_before_the_answer_of_a_send_that_the_history_is_late_to_show(fleet: Fleet):
    """The successor lists once and looks once without seeing it; its second look does."""
    here = fleet.here
    here.runtime.hold()
    first = await fleet.serve()
    here.runtime.fault("stall", route="events.send", seconds=60)
    asked = await said(fleet)
    await eventually(here.runtime.held)
    await first.kill()
    late = here.runtime.fault("history_lag", events=10, times=2)
    await fleet.serve()

    await eventually(lambda: late.hits == 2)
    here.runtime.release()
    await one_answer(fleet, asked)
    assert here.runtime.requests("events.send") == 1
    assert here.sent_texts() == [asked.text]


async def test_killed_between_slack_taking_the_post_and_our_noting_it(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.slack.fault("stall_after", method="chat.postMessage", seconds=60)
    asked = await said(fleet)
    await eventually(lambda: fleet.here.bot_posts(asked.channel, asked.ts))
    await first.kill()
    await attempt_is_over(fleet)
    await fleet.serve()
    await one_answer(fleet, asked)
    assert posts_answered(fleet) == 0
    (row,) = await fleet.here.rows("SELECT state, attempts, slack_ts FROM slack_outbox")
    (reply,) = fleet.here.slack.replies(asked.channel, asked.ts)[1:]
    assert row == {"state": "sent", "attempts": 2, "slack_ts": reply.ts}


async def test_killed_before_slack_took_the_post_it_is_made_after_two_looks(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.slack.fault("stall_before", method="chat.postMessage", seconds=600)
    asked = await said(fleet)
    await eventually(lambda: is_stalled(fleet))
    await first.kill()
    await attempt_is_over(fleet)
    await fleet.serve()
    await one_answer(fleet, asked)
    looks = [c for c in fleet.here.slack.calls if c.method == "conversations.replies"]
    assert (len(looks), posts_answered(fleet)) == (2, 1)


async def test_killed_again_and_again_at_every_step(fleet: Fleet):
    """Each process lives a moment longer than the one before; the last one lives on."""
    here = fleet.here
    process = await fleet.serve()
    asked = await said(fleet)
    await here.slack.settle()
    await process.kill()
    reached: list[Callable[[], object]] = [
        lambda: here.runtime.requests("sessions.create"),
        here.sent_texts,
        lambda: here.bot_posts(asked.channel, asked.ts),
    ]
    for step in reached:
        process = await fleet.serve()
        await eventually(step)
        await process.kill()
    await attempt_is_over(fleet)
    await fleet.serve()
    await one_answer(fleet, asked)


async def test_told_to_stop_in_the_middle_of_a_turn_another_goes_on_at_once(fleet: Fleet):
    # With a lease of a minute only a lease that was handed back can be taken.
    first = await fleet.serve(THREADLINE_LEASE_SECONDS="60")
    fleet.here.runtime.hold()
    asked = await said(fleet)
    await eventually(fleet.here.runtime.held)
    await held_by(fleet, first)
    second = await fleet.serve(THREADLINE_LEASE_SECONDS="60")
    first.signal(signal.SIGTERM)
    await held_by(fleet, second)
    assert await first.ended() == 0
    fleet.here.runtime.release()
    await one_answer(fleet, asked)


async def test_told_to_stop_while_a_post_is_under_way_it_is_finished_first(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.slack.fault("stall_after", method="chat.postMessage", seconds=1.5)
    asked = await said(fleet)
    await eventually(lambda: is_stalled(fleet))
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    await one_answer(fleet, asked)
    (row,) = await fleet.here.rows("SELECT state, attempts FROM slack_outbox")
    assert row == {"state": "sent", "attempts": 1}


async def test_frozen_beyond_its_lease_it_writes_nothing_more(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.runtime.hold()
    asked = await said(fleet)
    await eventually(fleet.here.runtime.held)
    await held_by(fleet, first)
    second = await fleet.serve()
    first.freeze()
    await held_by(fleet, second)
    fleet.here.runtime.release()
    await one_answer(fleet, asked)
    before = await everything(fleet)
    first.thaw()
    await eventually(lambda: first.log("lease.lost"))
    await one_answer(fleet, asked)
    assert await everything(fleet) == before
    # It goes on serving what is new.
    fleet.send_events_to(first)
    await second.kill()
    again = await fleet.here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
    await fleet.here.answers(again.channel, asked.ts, 2)


async def test_frozen_in_the_middle_of_a_post_it_does_not_post_again(fleet: Fleet):
    first = await fleet.serve()
    fleet.here.slack.fault("stall_after", method="chat.postMessage", seconds=1)
    asked = await said(fleet)
    await eventually(lambda: fleet.here.bot_posts(asked.channel, asked.ts))
    first.freeze()
    await attempt_is_over(fleet)
    await fleet.serve()
    await one_answer(fleet, asked)
    before = await everything(fleet)
    first.thaw()
    await eventually(lambda: first.log("delivery.passed_on") or first.log("delivery.unclear"))
    await one_answer(fleet, asked)
    assert await everything(fleet) == before
    assert posts_answered(fleet) == 1


async def everything(fleet: Fleet) -> list[object]:
    """All that a turn writes."""
    tables = ["agent_sessions", "agent_turns", "session_inputs", "slack_outbox"]
    return [await fleet.here.rows(f"SELECT * FROM {t} ORDER BY 1, 2") for t in tables]
