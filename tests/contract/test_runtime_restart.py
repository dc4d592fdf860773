"""The SQLite file: a restart finds everything and goes on."""

import asyncio
import socket
import sqlite3
import sys

import pytest

from router.runtime.local import LocalRuntime
from tests.contract.runtime_bench import Bench, confirm, make_client, message, open_bench
from tests.support import eventually


async def test_a_restart_finds_everything_as_it_was(tmp_path):
    data = tmp_path / "deep" / "runtime.sqlite"
    async with open_bench(data=data) as bench:
        await bench.client.beta.agents.update(bench.agent_id, name="Renamed")
        idle = await bench.session("hello", title="T", metadata={"a": "b"})
        asking = await bench.session("!ask7")
        gone = await bench.session()
        await bench.idle(idle)
        await bench.idle(asking, "requires_action")
        await bench.api.delete(gone)
        before = bench.runtime.state()
    async with LocalRuntime(data=data) as runtime, make_client(runtime.url) as client:
        after = runtime.state()
        for part in ("agents", "environments"):
            assert after[part] == before[part]
        for old, new in zip(before["sessions"], after["sessions"], strict=True):
            old.pop("stats")
            new.pop("stats")
            assert new == old
        again = Bench(runtime, client, bench.agent_id, bench.environment_id)
        assert [v.version async for v in client.beta.agents.versions.list(bench.agent_id)] == [2, 1]
        await again.say(idle, "more")
        await again.idle(idle, times=2)
        assert (await again.texts(idle))[-1] == 'You said: "more"'
        waiting = next(s for s in after["sessions"] if s["id"] == asking)["waiting_on"]
        await again.send(asking, *(confirm(one) for one in waiting))
        await again.idle(asking)
        assert (await again.session()) not in {idle, asking, gone}


async def test_a_turn_in_flight_is_finished_after_a_restart(tmp_path):
    data = tmp_path / "runtime.sqlite"
    async with open_bench(data=data) as bench:
        bench.runtime.hold()
        session_id = await bench.session("first")
        await eventually(lambda: bench.runtime.held() == [session_id])
        await bench.say(session_id, "queued")
    async with LocalRuntime(data=data) as runtime, make_client(runtime.url) as client:
        again = Bench(runtime, client, "", "")
        await again.idle(session_id)
        assert await again.texts(session_id) == ['You said: "first"', 'You said: "queued"']
        types = await again.types(session_id)
        assert types.count("session.status_running") == 1
        starts, ends = types.count("span.model_request_start"), "span.model_request_end"
        assert starts == types.count(ends) == 3
        spans = await again.history(session_id, types=[ends])
        assert [span.is_error for span in spans] == [True, False, False]


async def test_a_turn_between_two_steps_does_none_twice(tmp_path):
    data = tmp_path / "runtime.sqlite"
    async with open_bench(data=data, pace=0) as bench:
        session_id = await bench.session("!error retrying")

        async def between_the_steps():
            return "session.status_rescheduled" in await bench.types(session_id)

        await eventually(between_the_steps)
        bench.runtime.hold()
        bench.runtime.advance(1)
        await eventually(lambda: bench.runtime.held() == [session_id])
    async with LocalRuntime(data=data) as runtime, make_client(runtime.url) as client:
        again = Bench(runtime, client, "", "")
        await again.idle(session_id)
        assert (await again.types(session_id)).count("session.error") == 1
        assert await again.texts(session_id) == ["It worked at the second attempt."]


async def test_flushed_and_capped_stay_so(tmp_path):
    data = tmp_path / "runtime.sqlite"
    async with open_bench(data=data) as bench:
        bench.runtime.hold()
        flushed = await bench.session("!error")
        await eventually(lambda: bench.runtime.held() == [flushed])
        await bench.say(flushed, "lost")
        bench.runtime.release()
        await bench.idle(flushed, "retries_exhausted")
        capped = await bench.session("!budget")
        await bench.idle(capped, "budget_reached")
    async with LocalRuntime(data=data) as runtime, make_client(runtime.url) as client:
        again = Bench(runtime, client, "", "")
        status, _, _ = await again.raw(
            "POST", f"/v1/sessions/{capped}/events", json={"events": [message("x")]}
        )
        assert status == 400
        await again.say(flushed, "next")
        await again.idle(flushed)
        assert await again.texts(flushed) == ['You said: "next"']


async def test_a_file_belongs_to_one_server(tmp_path):
    data = tmp_path / "runtime.sqlite"
    async with LocalRuntime(data=data):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            async with LocalRuntime(data=data):
                pass


async def test_a_taken_port_is_an_os_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with LocalRuntime(port=taken.getsockname()[1]):
            pass


_SERVE = """
import asyncio, sys
from router.runtime.local import LocalRuntime

async def main():
    async with LocalRuntime(data=sys.argv[1], pace=0) as runtime:
        print(runtime.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_server_loses_nothing_it_answered(tmp_path):
    data = tmp_path / "runtime.sqlite"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, str(data), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    url = (await server.stdout.readline()).decode().strip()
    async with make_client(url) as client:
        agent = await client.beta.agents.create(model="claude-sonnet-5-5", name="A")
        place = await client.beta.environments.create(name="E")
        session = await client.beta.sessions.create(agent=agent.id, environment_id=place.id)
        await client.beta.sessions.events.send(session.id, events=[message("!slow")])
        await client.beta.sessions.events.send(session.id, events=[message("queued")])
        server.kill()
    await server.wait()
    async with LocalRuntime(data=data, pace=1000) as runtime, make_client(runtime.url) as client:
        again = Bench(runtime, client, agent.id, place.id)
        await again.idle(session.id)
        assert len(runtime.received(session.id)) == 2
        assert (await again.history(session.id, types=["user.message"]))[-1].processed_at
