"""The generator of the bench: its requests are Slack's, each is sent once, and each answer counted."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from tests.bench import envelopes
from tests.bench.envelopes import Kind, Numbers
from tests.bench.load import NUMBER, Order, Prepared


class Door:
    """Notes what comes, and answers what it is told to."""

    def __init__(self) -> None:
        self.came: Counter[bytes] = Counter()
        self.statuses: list[int] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        known = SignatureVerifier(envelopes.SECRET).is_valid_request(body, dict(request.headers))
        self.came[body] += 1
        status = self.statuses.pop() if self.statuses else 200
        return web.Response(status=status if known else 401, text="x" * (len(self.came) % 3))


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made, app = Door(), web.Application()
    app.add_routes([web.post("/slack/events", made.handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("phases", [(), ((0.05, 1_000.0), (0.05, 200.0))], ids=["closed", "open"])
async def test_each_request_is_signed_and_sent_once(door: Door, phases):
    prepared = Prepared(Order(door.url, "new", 60, 4, phases=phases), Numbers())
    sent = await asyncio.to_thread(prepared.send)
    assert sent.statuses == {"200": 60}
    assert set(door.came.values()) == {1}
    assert len(door.came) == 60
    assert 0 < sent.percentiles["p50"] <= sent.percentiles["p99"] <= sent.slowest["200"]


async def test_what_was_refused_is_sent_once_more(door: Door):
    door.statuses = [503, 200, 503]
    prepared = Prepared(Order(door.url, "new", 10, 2, again=True), Numbers())
    sent = await asyncio.to_thread(prepared.send)
    assert (sent.statuses, sent.again) == ({"200": 8, "503": 2}, {"200": 2})
    assert sorted(door.came.values()) == [1] * 8 + [2] * 2


async def test_given_requests_go_by_turns_each_with_a_number_of_its_own(door: Door):
    body = NUMBER.decode()
    request = f"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    given = (f"{request}{body}", f"{request}{body[:-1]}x")
    prepared = Prepared(Order(door.url, "given", 10, 2, given=given), Numbers())
    sent = await asyncio.to_thread(prepared.send)
    assert sent.statuses == {"401": 10}
    assert door.came == Counter({b"%010d" % n: 1 for n in range(0, 10, 2)} | {b"@@@@@@@@@x": 5})


@pytest.mark.parametrize("kind", ["new", "reply", "twin", "ignored", "unfollowed"])
def test_no_message_is_told_twice_but_by_its_twin(kind: Kind):
    numbers = Numbers()
    events = [
        json.loads(body)["event"]
        for _ in range(2)
        for body in envelopes.bodies(kind, numbers, 10, range(3))
    ]
    times = Counter(event["ts"] for event in events)
    assert set(times.values()) == {2 if kind == "twin" else 1}
    assert len(events) == 20
