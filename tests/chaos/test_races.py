"""Two processes take the same thread's events at once, in every order: one session, no doubles."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from itertools import count, cycle, permutations
from typing import Any

import aiohttp
import pytest

from bot.local.model import Message
from store import agents
from tests.chaos.processes import Fleet, Process
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

Envelope = dict[str, Any]

INGRESS = frozenset({"ingress"})
REST = frozenset({"worker", "delivery"})
_QUOTED = re.compile(r'"([^"]*)"')


class Doors:
    """Delivers events to several processes in turn, signed, as Slack does."""

    def __init__(self, fleet: Fleet, http: aiohttp.ClientSession, to: Sequence[Process]) -> None:
        self._fleet = fleet
        self._http = http
        self._doors = cycle(f"{process.url}/slack/events" for process in to)

    async def deliver(self, envelope: Envelope, retry: int | None = None) -> None:
        """One event, until it is taken: a busy machine may refuse it several times."""
        url, attempts = next(self._doors), count()

        async def is_taken() -> bool:
            return await self._attempt(url, envelope, next(attempts) or retry) == 200

        await eventually(is_taken, says=f"{envelope['event_id']} taken by {url}")

    async def _attempt(self, url: str, envelope: Envelope, retry: int | None) -> int:
        body = json.dumps(envelope).encode()
        headers = self._fleet.here.slack.sign(body)
        if retry:
            headers |= {"x-slack-retry-num": str(retry), "x-slack-retry-reason": "http_timeout"}
        async with self._http.post(url, data=body, headers=headers) as response:
            assert response.status in (200, 503)
            return response.status


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def unsent(fleet: Fleet, text: str, thread: Message | None = None) -> Message:
    """A message in a thread, or a channel of its own, whose events the test delivers itself.

    In one channel the answers would keep the pace of one a second.
    """
    slack = fleet.here.slack
    if thread:
        return await slack.say("ada", thread.channel, text, thread_ts=thread.ts, deliver=False)
    channel = slack.add_channel(f"room-{len(slack.channels)}", ["ada", "grace"])
    return await slack.say("ada", channel, text, deliver=False)


async def edited(fleet: Fleet, message: Message, text: str) -> list[Envelope]:
    """Edits it; all of its events so far."""
    await fleet.here.slack.edit(message.channel, message.ts, text, deliver=False)
    return fleet.here.slack.envelopes(message.ts)


# ------------------------------------------------------------------ first messages


@pytest.mark.parametrize("changing", [False, True], ids=["one agent", "the default agent changes"])
async def test_fifty_first_messages_of_one_thread_make_one_session(
    fleet: Fleet, http: aiohttp.ClientSession, changing
):
    doors = Doors(fleet, http, [await fleet.serve(), await fleet.serve()])
    root = await unsent(fleet, "good morning")
    said = [await unsent(fleet, f"@threadline number {n:02}", root) for n in range(50)]
    # The twins of each mention, all in one heap.
    heap = [envelope for message in said for envelope in fleet.here.slack.envelopes(message.ts)]
    assert len(heap) == 100
    other = await second_agent(fleet) if changing else None
    async with asyncio.TaskGroup() as posting:
        posts = [posting.create_task(doors.deliver(envelope)) for envelope in heap]
        while other is not None and not all(post.done() for post in posts):
            for agent in (other, fleet.here.agent_id):
                await agents.make_default(fleet.here.connection, fleet.here.workspace_id, agent)
    await fleet.here.at_rest(60)
    await one_session_with_all_in_order(fleet, root, said)


async def second_agent(fleet: Fleet) -> Any:
    here = fleet.here
    first = await agents.find(here.connection, here.workspace_id, here.agent_id)
    assert first is not None
    deployed = await agents.put(
        fleet.here.connection,
        first.workspace_id,
        "other",
        first.anthropic_agent_id,
        first.anthropic_environment_id,
    )
    return deployed.id


async def one_session_with_all_in_order(fleet: Fleet, root: Message, said: list[Message]) -> None:
    here = fleet.here
    texts = [message.text.partition("> ")[2] for message in said]
    assert len(here.runtime.sessions()) == 1
    assert len(await here.rows("SELECT FROM agent_sessions")) == 1
    assert len(await here.rows("SELECT FROM slack_threads")) == 1
    # the first turn is also given what was said above it
    received = [text for text in here.sent_texts() if not text.startswith("[Earlier messages")]
    assert sorted(received) == texts
    # Each turn is one send and one reply, which quotes its messages as they were sent.
    quoted = [_QUOTED.findall(text) for text in here.shown(root.channel, root.ts)]
    replies = [[text.rpartition("\n")[2] for text in reply] for reply in quoted]
    assert len(replies) == len(await here.turns())
    assert [text for reply in replies for text in reply] == received
    assert all(reply == sorted(reply) for reply in replies)


# ------------------------------------------------------------------ events of one message


async def test_events_of_a_waiting_message_make_one_turn_in_every_order(
    fleet: Fleet, http: aiohttp.ClientSession
):
    """Message, mention, edit, mention of the edit, over two processes, before any is worked on."""
    doors = Doors(fleet, http, [await fleet.serve(roles=INGRESS), await fleet.serve(roles=INGRESS)])
    said = []
    for number, order in enumerate(permutations(range(4))):
        message = await unsent(fleet, f"@threadline meet at 14:{number:02}")
        events = await edited(fleet, message, f"@threadline meet at 15:{number:02}")
        for which in order:
            await doors.deliver(events[which])
        await doors.deliver(events[order[0]], retry=1)
        said.append(message)
    assert await fleet.here.turns() == []
    await fleet.serve(roles=REST)
    for number, message in enumerate(said):
        assert await fleet.here.answers(message.channel, message.ts, 1, timeout=30) == [
            f'You said: "meet at 15:{number:02}"'
        ]
    assert len(fleet.here.sent_texts()) == len(said) == 24
    assert len(await fleet.here.turns()) == 24


async def test_events_of_a_message_at_the_same_moment_make_one_turn(
    fleet: Fleet, http: aiohttp.ClientSession
):
    """All four and their retries at once: the edit is in the turn, or a correction after it."""
    doors = Doors(fleet, http, [await fleet.serve(), await fleet.serve()])
    said = []
    for number in range(12):
        message = await unsent(fleet, f"@threadline meet at 14:{number:02}")
        events = await edited(fleet, message, f"@threadline meet at 15:{number:02}")
        async with asyncio.TaskGroup() as posting:
            for event in events[number % 4 :] + events[: number % 4]:
                posting.create_task(doors.deliver(event))
                posting.create_task(doors.deliver(event, retry=1))
        said.append(message)
    await fleet.here.at_rest(60)
    for number, message in enumerate(said):
        *earlier, last = fleet.here.bot_posts(message.channel, message.ts)
        assert f"15:{number:02}" in last
        assert earlier in ([], [f'You said: "meet at 14:{number:02}"'])
    assert len(fleet.here.runtime.sessions()) == len(said)


async def test_an_edit_of_an_answered_message_makes_one_correction_in_every_order(
    fleet: Fleet, http: aiohttp.ClientSession
):
    """The edit's two events and late twins of the message, over two processes."""
    first, second = await fleet.serve(), await fleet.serve()
    doors = Doors(fleet, http, [first, second])
    orders = list(permutations(range(4)))
    said = [await unsent(fleet, f"@threadline meet at 14:{n:02}") for n in range(len(orders))]
    for message in said:
        await doors.deliver(fleet.here.slack.envelopes(message.ts)[0])
    await fleet.here.at_rest(60)
    for number, (message, order) in enumerate(zip(said, orders, strict=True)):
        events = await edited(fleet, message, f"@threadline meet at 15:{number:02}")
        for which in order:
            await doors.deliver(events[which], retry=1 if which == 0 else None)
    await fleet.here.at_rest(60)
    for number, message in enumerate(said):
        before, after = fleet.here.bot_posts(message.channel, message.ts)
        assert before == f'You said: "meet at 14:{number:02}"'
        assert after.endswith(f'meet at 15:{number:02}"')
    assert len(fleet.here.sent_texts()) == 48
    assert len(fleet.here.runtime.sessions()) == 24


async def test_a_mention_that_an_edit_adds_makes_one_turn_in_every_order(
    fleet: Fleet, http: aiohttp.ClientSession
):
    doors = Doors(fleet, http, [await fleet.serve(roles=INGRESS), await fleet.serve(roles=INGRESS)])
    said = []
    for order in permutations(range(3)):
        message = await unsent(fleet, "summarise this")
        events = await edited(fleet, message, "@threadline summarise this, please")
        for which in order:
            await doors.deliver(events[which])
        said.append(message)
    await fleet.serve(roles=REST)
    for message in said:
        assert await fleet.here.answers(message.channel, message.ts, 1, timeout=30) == [
            'You said: "summarise this, please"'
        ]
    assert len(fleet.here.sent_texts()) == len(said) == 6


async def test_a_reply_and_the_mention_that_it_may_overtake_share_a_turn_in_every_order(
    fleet: Fleet, http: aiohttp.ClientSession
):
    doors = Doors(fleet, http, [await fleet.serve(roles=INGRESS), await fleet.serve(roles=INGRESS)])
    said = []
    for order in permutations(range(3)):
        mention = await unsent(fleet, "@threadline look at this")
        reply = await unsent(fleet, "now, please", mention)
        events = fleet.here.slack.envelopes(mention.ts) + fleet.here.slack.envelopes(reply.ts)
        for which in order:
            await doors.deliver(events[which])
        said.append(mention)
    await fleet.serve(roles=REST)
    for mention in said:
        assert await fleet.here.answers(mention.channel, mention.ts, 1, timeout=30) == [
            'You said: "look at this" and "now, please"'
        ]
    assert fleet.here.sent_texts() == ["look at this", "now, please"] * 6


# ------------------------------------------------------------------ wake-ups across processes


async def test_accepted_in_one_process_and_answered_by_another(fleet: Fleet):
    """The sweep comes too late to help: the wake-up has crossed by NOTIFY."""
    await fleet.serve(roles=INGRESS, THREADLINE_SWEEP_SECONDS="600")
    await fleet.serve(roles=REST, THREADLINE_SWEEP_SECONDS="600")
    await two_listeners(fleet)
    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), "hello")
    await fleet.here.answers(asked.channel, asked.ts, 1)


async def test_with_every_notify_lost_the_sweep_finds_it(fleet: Fleet):
    # Stands before PostgreSQL's own in the search path, and tells nobody.
    await fleet.here.connection.execute(
        """
        CREATE TABLE lost_notifications (payload text);
        CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql
            AS 'INSERT INTO lost_notifications VALUES ($2)';
        DO $$ BEGIN EXECUTE format(
            'ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
        END $$;
        """
    )
    await fleet.serve(roles=INGRESS)
    await fleet.serve(roles=REST)
    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), "hello")
    await fleet.here.answers(asked.channel, asked.ts, 1)
    assert await fleet.here.rows("SELECT FROM lost_notifications")


async def test_a_process_that_lost_its_listening_connection_listens_again(fleet: Fleet):
    await fleet.serve(roles=INGRESS, THREADLINE_SWEEP_SECONDS="600")
    worker = await fleet.serve(roles=REST, THREADLINE_SWEEP_SECONDS="600")
    before = await two_listeners(fleet)
    await fleet.here.rows("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", before)
    await two_listeners(fleet, but=before)
    asked = await fleet.here.slack.say("ada", fleet.here.slack.dm("ada"), "hello")
    await fleet.here.answers(asked.channel, asked.ts, 1)
    assert worker.code is None


async def two_listeners(fleet: Fleet, but: Sequence[int] = ()) -> list[int]:
    """The backends that both processes listen on, once they do; a ready one may not yet."""

    async def found() -> list[int]:
        rows = await fleet.here.rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'threadline listener' AND state = 'idle'"
            " AND (query LIKE 'LISTEN %' OR query LIKE 'SELECT pg_notify(%')"
        )
        pids = [row["pid"] for row in rows if row["pid"] not in but]
        return pids if len(pids) == 2 else []

    return await eventually(found)
