"""What is ours in the live tail, how it begins and ends, and whom it refuses or drops."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from router.api import ring
from router.api.places import Place
from store import audit, database
from store.audit import Entry, Subject
from store.ids import new_id
from store.leases import Ready
from tests.flows.watching import PACE, Reader, Stage, everything, reading, stage
from tests.store import factories, tenants
from tests.support import eventually


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[Stage]:
    async with stage(dsn) as made:
        yield made


# ------------------------------------------------------------------ what is ours


async def add_step(here: Stage, action: str, subject: str = "approval", **says: Any) -> Any:
    """A row of the audit, as a decision writes it; the id of what it is about."""
    turn = await factories.turn(here.db, here.session, ended_at=None)
    below = {
        "deployed_agent_id": here.on.agent_id,
        "workspace_id": here.on.workspace_id,
        "session_id": here.session["id"],
    }
    make = tenants.approval if subject == "approval" else tenants.escalation
    row = await make(here.db, below | {"turn_id": turn["id"]}, **says)
    await here.db.execute(
        "UPDATE agent_turns SET state = 'completed', stop_reason = 'end_turn', ended_at = now()"
        " WHERE id = $1",
        turn["id"],
    )
    of = Subject(**below, kind=subject, id=row["id"], card_no=1, arguments_hash=b"")  # type: ignore[arg-type]  # one of the two
    await audit.add(here.db, of, Entry(action, "rest", {"user": "ada", "name": "Ada"}))
    return row


async def test_what_we_did_stands_in_the_same_stream(here):
    await factories.message(here.db, here.session, body={"text": "before", "user": "U1"})
    async with here.replica() as replica, reading(here, replica) as [reader]:
        await eventually(lambda: reader.names() == ["threadline.input_queued"])
        assert reader.told()[0].data["text"] == "before"
        asked = await add_step(here, "allowed", tool="bash")
        await eventually(lambda: "threadline.approval_decided" in reader.names())
        told = reader.told()[-1].data
        assert told["approval_id"] == str(asked["id"])
        assert told["runtime_event_id"] == asked["runtime_event_id"]
        assert (told["action"], told["tool"], told["actor"]["name"]) == ("allowed", "bash", "Ada")
        await add_step(
            here,
            "answered",
            "escalation",
            question="Which?",
            state="answered",
            answer="That one.",
            decided_at=here.session["created_at"],
        )
        await eventually(lambda: "threadline.escalation_answered" in reader.names())
        assert reader.told()[-1].data["answer"] == "That one."
        await add_step(here, "late")
        await here.say("hello")
        await everything(here, reader)
    assert "threadline.approval_asked" not in reader.names()


async def test_a_row_that_is_committed_late_is_told_though_newer_ones_were(here):
    """Its time is that of its transaction's beginning, before that of the other."""
    other = await database.connect(here.pool._connect_args[0])
    async with here.replica() as replica, reading(here, replica) as [reader]:
        late = other.transaction()
        await late.start()
        await factories.message(other, here.session, body={"text": "late"})
        await factories.message(here.db, here.session, body={"text": "early"})
        await eventually(lambda: [f.data["text"] for f in reader.told()] == ["early"])
        await late.commit()
        await eventually(lambda: [f.data["text"] for f in reader.told()] == ["early", "late"])
    reader.ended = False
    await other.close()
    async with here.replica() as replica, asyncio.TaskGroup() as tasks:
        await factories.message(here.db, here.session, body={"text": "new"})
        # to its end and not so many frames: signs of life are among them
        again = tasks.create_task(reader.read(replica.url))
        await eventually(
            lambda: [f.data["text"] for f in reader.told()] == ["early", "late", "new"]
        )
        again.cancel()


async def test_a_wake_up_makes_it_sooner(here):
    pace = replace(PACE, rows=60.0, settle=(60.0,))
    async with here.replica(pace) as replica, reading(here, replica) as [reader]:
        await here.say("hello")
        await everything(here, reader)
        await factories.message(here.db, here.session)
        replica.hub.wake([Ready(here.on.agent_id, here.session["id"])])
        await eventually(lambda: "threadline.input_queued" in reader.names())


async def test_steps_of_other_sessions_are_not_told(here):
    mine, other = here.session, await here.new_session()
    async with here.replica() as replica, reading(here, replica) as [reader]:
        here.session = other
        async with reading(here, replica) as [neighbour]:
            await eventually(lambda: replica.hub.upstreams == 2)
            for number in range(1, 4):
                await factories.message(here.db, other, body={"text": "for them"})
                await factories.message(here.db, mine, body={"text": "for you"})
                for one in (reader, neighbour):
                    await eventually(lambda one=one, number=number: len(one.told()) >= number)  # type: ignore[misc]  # mypy takes it for object
        assert [f.data["text"] for f in reader.told()] == ["for you"] * 3
        assert [f.data["text"] for f in neighbour.told()] == ["for them"] * 3


# ------------------------------------------------------------------ a session's beginning and end


async def test_a_session_without_a_runtime_session_is_waited_for(here):
    session = await here.new_session()
    here.session = session
    await factories.message(here.db, session, body={"text": "first"})
    async with here.replica() as replica, reading(here, replica) as [reader]:
        await eventually(lambda: reader.names() == ["threadline.input_queued"])
        here.runtime_id = await here.runtime_session()
        await here.say("hello")
        await eventually(here.rests)
        await here.db.execute(
            "UPDATE agent_sessions SET anthropic_session_id = $1 WHERE id = $2",
            here.runtime_id,
            session["id"],
        )
        await everything(here, reader)
        await here.say("again")
        await everything(here, reader)


async def archive(here: Stage) -> None:
    await here.client.archive_session(here.runtime_id)
    await here.db.execute(
        "UPDATE agent_sessions SET status = 'archived', archived_at = now(), ready_at = NULL"
        " WHERE id = $1",
        here.session["id"],
    )


async def test_an_archived_session_is_told_to_its_end_and_then_no_more(here):
    await here.say("hello")
    await eventually(here.rests)
    await archive(here)
    async with here.replica() as replica:
        reader = here.reader()
        assert await reader.read(replica.url) == 200
        await everything_of_the_archived(here, reader)
        assert await reader.read(replica.url) == 204
        assert here.runtime.requests("events.stream") == 0


async def test_who_watches_while_a_session_is_archived_hears_its_end(here):
    async with here.replica() as replica:
        reader = here.reader()
        async with asyncio.TaskGroup() as tasks:
            reads = tasks.create_task(reader.read(replica.url))
            await here.say("hello")
            await eventually(lambda: reader.processed() and here.rests())
            await archive(here)
            assert await reads == 200
        await everything_of_the_archived(here, reader)


async def everything_of_the_archived(here: Stage, reader: Reader) -> None:
    assert reader.ended
    assert reader.names()[-1] == "threadline.session_archived"
    assert reader.processed() == here.processed()
    assert "session.status_terminated" in reader.names()
    reader.once()


# ------------------------------------------------------------------ limits


async def test_who_reads_too_slowly_is_told_so_and_comes_back(here, monkeypatch):
    monkeypatch.setattr(ring, "MOST_FRAMES", 8)
    monkeypatch.setattr(ring, "MOST_BYTES", 20_000)
    pace = replace(PACE, stall=60.0)
    async with here.replica(pace) as replica, reading(here, replica) as [quick]:
        headers = {"Accept": "text/event-stream"}
        slow = here.reader()
        async with here.http.get(
            replica.url + here.path, headers=headers, read_bufsize=1024
        ) as response:
            await eventually(lambda: replica.hub.viewers == 2)
            for _ in range(40):
                await here.say("!long 1000")
                await eventually(here.rests)
                await everything(here, quick)
                if replica.hub.viewers == 1:
                    break
            await eventually(lambda: replica.hub.viewers == 1)
            rest = b""
            async for chunk in response.content.iter_any():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    slow._take(block)
        last = slow.frames.pop()
        assert last.event == "threadline.dropped"
        assert last.id is None
        assert last.data["last_event_id"] == slow.last_id
        assert slow.processed() < here.processed()
        async with asyncio.TaskGroup() as tasks:
            again = tasks.create_task(slow.read(replica.url))
            await everything(here, slow, quick)
            again.cancel()


@pytest.mark.parametrize("place", ["nonsense", "AAAA", "é", "A" * 3_999, "../../etc"])
async def test_a_place_that_is_none_is_a_problem(here, place):
    async with here.replica() as replica:
        async with here.http.get(
            replica.url + here.path, params={"last_event_id": place}
        ) as response:
            assert response.status == 422
            assert (await response.json())["type"].endswith("/invalid")
        assert replica.hub.upstreams == 0


async def test_a_place_of_another_session_or_one_that_was_changed_is_a_problem(here):
    other = Place().written(new_id())
    mine = Place().written(here.session["id"])
    changed = ("A" if mine[10] != "A" else "B").join([mine[:10], mine[11:]])
    async with here.replica() as replica:
        for place in (other, changed):
            headers = {"Last-Event-ID": place}
            async with here.http.get(replica.url + here.path, headers=headers) as response:
                assert response.status == 422


async def test_words_that_nobody_knows_are_a_problem(here):
    async with here.replica() as replica:
        for query in ({"deltas": "perhaps"}, {"since": "yesterday"}):
            async with here.http.get(replica.url + here.path, params=query) as response:
                assert response.status == 422
                assert (await response.json())["errors"]


async def test_a_server_that_stops_lets_its_readers_go(here):
    async with here.replica() as replica:
        reader = here.reader()
        reads = asyncio.ensure_future(reader.read(replica.url))
        await here.say("hello")
        await eventually(lambda: reader.processed() and here.rests())
    assert await reads == 200
    assert reader.ended


async def test_a_stream_ends_after_its_time_so_that_who_reads_is_asked_again(here):
    pace = replace(PACE, longest=0.3, heartbeat=0.05)
    async with here.replica(pace) as replica:
        reader = here.reader()
        assert await reader.read(replica.url) == 200
        assert reader.ended
