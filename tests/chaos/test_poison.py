"""An input that kills whoever takes it up: set aside after a few, with a notice, and the thread goes on."""

import pytest

from bot.local.model import Message
from router import notices
from router.notices import Trouble
from router.turns import run
from tests.chaos.crashes import dead, requests_are_over
from tests.chaos.points import Point
from tests.chaos.processes import Fleet, Process
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

INGRESS = frozenset({"ingress"})
WORKER = frozenset({"worker", "delivery"})


async def accepted(fleet: Fleet, text: str) -> Message:
    """A message that waits for a worker; none is there."""
    door = await fleet.serve(roles=INGRESS)
    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), text)
    await eventually(lambda: [d for d in fleet.here.slack.deliveries if d.status == 200])
    await door.kill()
    return asked


async def lease_is_over(fleet: Fleet) -> None:
    """Passes the time for which the dead one holds the session, and the pause before another claim."""
    await fleet.here.connection.execute(
        "UPDATE agent_sessions SET lease_expires_at = now() - interval '1 second', ready_at = now()"
        " WHERE lease_owner IS NOT NULL"
    )


async def dies(fleet: Fleet, point: Point) -> Process:
    """What kills it waits already: it may not live to say that it is ready."""
    process = fleet.start(roles=WORKER, point=point)
    await dead(process)
    await lease_is_over(fleet)
    return process


async def test_a_message_at_which_every_process_dies_is_set_aside_and_the_thread_goes_on(
    fleet: Fleet,
):
    here = fleet.here
    asked = await accepted(fleet, "poison")
    for claims in range(1, run._BARREN_CLAIMS + 1):
        await dies(fleet, Point("store.leases:claim", "returned"))
        assert (await here.session())["barren_claims"] == claims
        assert here.bot_posts(asked.channel, asked.ts) == []
    last = await fleet.serve()
    await here.answers(asked.channel, asked.ts, 1, timeout=30)
    (post,) = here.shown(asked.channel, asked.ts)
    sentence, _, reference = post.partition("\nReference: ")
    assert sentence == notices.words(Trouble.CRASHED)
    (ended,) = await eventually(lambda: last.log("turn.ended"))
    assert ended["reference"] == reference
    await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
    assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'
    assert here.sent_texts() == ["again"]
    assert (await here.session())["barren_claims"] == 0


@pytest.mark.long
async def test_one_death_less_costs_the_message_nothing(fleet: Fleet):
    here = fleet.here
    asked = await accepted(fleet, "hello")
    for _ in range(run._BARREN_CLAIMS - 1):
        await dies(fleet, Point("store.leases:claim", "returned"))
    await fleet.serve()
    assert await here.answers(asked.channel, asked.ts, 1, timeout=30) == ['You said: "hello"']
    assert here.sent_texts() == ["hello"]


@pytest.mark.parametrize(
    "where",
    ["router.runtime.client:Runtime.create_session", "router.runtime.client:Runtime.send"],
)
async def test_what_is_done_anew_by_each_process_that_dies_is_no_progress(fleet: Fleet, where: str):
    here = fleet.here
    asked = await accepted(fleet, "poison")
    barren = []
    for _ in range(3):
        await dies(fleet, Point(where, "called"))
        await requests_are_over(fleet)
        barren.append((await here.session())["barren_claims"])
    assert barren == [barren[0], barren[0] + 1, barren[0] + 2]
    await here.connection.execute(
        "UPDATE agent_sessions SET barren_claims = $1", run._BARREN_CLAIMS
    )
    await fleet.serve()
    await here.answers(asked.channel, asked.ts, 1, timeout=30)
    (post,) = here.shown(asked.channel, asked.ts)
    assert post.startswith(notices.words(Trouble.CRASHED))
    assert here.sent_texts() == []
