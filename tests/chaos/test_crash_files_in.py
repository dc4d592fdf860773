"""The rows of the table in `router/turns/__init__.py` at which files are carried, with a real kill each."""

import pytest

from tests.chaos.crashes import dead, leases_are_over, requests_are_over, row
from tests.chaos.processes import Fleet
from tests.flows.test_files_in import MOUNT, PNG, UPLOAD, ZIP, message, texts, told

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

_FILES = "router.runtime.files:Files"
_ROWS = "store.input_files"
_ALL_PENDING = "queued running pending,pending,pending"
_ALL_DONE = "queued running ready,ready,refused"

# What is durable: the states of the message, of its turn, and of its files in their order.
KILLED = {
    "files.opened": row("store.unsent:belong", "committed", "queued running -"),
    "files.named": row(f"{_ROWS}:begin", "committed", _ALL_PENDING),
    "files.fetching": row(f"{_ROWS}:attempt", "committed", _ALL_PENDING),
    "files.unstored": row(f"{_FILES}.upload", "returned", _ALL_PENDING),
    "files.stored": row(f"{_ROWS}:read", "committed", "queued running uploaded,pending,pending"),
    "files.unmounted": row(
        f"{_FILES}.add_resource", "returned", "queued running uploaded,ready,refused"
    ),
    "files.mounted": row(f"{_ROWS}:mounted", "committed", _ALL_DONE),
    "files.told": row("store.outbox:add", "committed", _ALL_DONE),
    "files.context": row("bot.thread_reading:ThreadReading.earlier", "returned", _ALL_DONE),
}
# Rows of every message: what was brought along for one is not fetched again there.
ALSO = {
    "begin.committed": row(
        "store.inputs:start_sending", "committed", "sending running ready,ready,refused"
    ),
    "send.unstored": row(
        "router.runtime.client:Runtime.send", "returned", "sending running ready,ready,refused"
    ),
}
# In every run the points behind which something outside of us has changed, or is told.
_ALWAYS = {"files.fetching", "files.unstored", "files.unmounted", "files.told", "begin.committed"}


async def durable(fleet: Fleet) -> str:
    found = await fleet.here.row(
        """
        SELECT (SELECT string_agg(state, ',') FROM session_inputs) AS input,
               (SELECT string_agg(state, ',') FROM agent_turns) AS turn,
               (SELECT string_agg(state, ',' ORDER BY position) FROM input_files) AS files
        """
    )
    return " ".join(str(value or "-") for value in found.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in _ALWAYS else pytest.mark.long)
        for name in [*KILLED, *ALSO]
    ],
)
async def test_killed_at(fleet: Fleet, name: str):
    here, doomed = fleet.here, (KILLED | ALSO)[name]
    root = await here.slack.say("grace", "general", "the build is red", deliver=False)
    files = [("a.zip", ZIP), ("b.png", PNG), ("c.png", PNG)]
    ids = [await here.slack.upload("ada", *file) for file in files]
    first = await fleet.serve(point=doomed.point)
    await here.slack.delete_file(ids[2])
    asked = await here.slack.say(
        "ada", "general", "@threadline look", thread_ts=root.ts, file_ids=ids
    )
    await dead(first)
    assert await durable(fleet) == doomed.durable
    await leases_are_over(fleet)
    await requests_are_over(fleet)
    await fleet.serve()
    await here.answers(asked.channel, root.ts, 1, 30)
    await arrived_once(fleet, uploads=3 if name == "files.unstored" else 2)


async def arrived_once(fleet: Fleet, *, uploads: int) -> None:
    here = fleet.here
    record, words, zipped, image, missing = texts(message(here, 0))
    assert "> the build is red" in record
    assert words == "look"
    assert zipped.startswith("[attached file: a.zip (")
    assert image == "[attached image: b.png]"
    assert missing.startswith("[attached file: c.png; it could not be brought along")
    assert len(message(here, 0)) == 6
    assert len(here.runtime.received(here.runtime.sessions()[0]["id"])) == 1
    assert len(told(here)) == 1
    assert here.runtime.requests(UPLOAD) == uploads
    assert here.runtime.requests(MOUNT) <= 2
    assert len([f for f in here.runtime.files() if f["scope"]]) == 1
    assert [t["state"] for t in await here.turns()] == ["completed"]
