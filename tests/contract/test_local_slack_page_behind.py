"""What the page can look at behind the app: told while it is watched, when it changes."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession

from bot.local import LocalSlack
from tests.contract.slack_page import Feed, Json, feeding
from tests.support import eventually


@dataclass
class Notes:
    """What a test knows of threads."""

    known: dict[tuple[str, str], Json] = field(default_factory=dict)
    asked: int = 0
    broken: bool = False
    orders: list[dict[str, str]] = field(
        default_factory=lambda: [{"kind": "forget", "label": "Forget", "help": "Knows nothing."}]
    )

    async def of(self, channel: str, thread_ts: str) -> Json | None:
        self.asked += 1
        if self.broken:
            raise ConnectionRefusedError
        return self.known.get((channel, thread_ts))

    async def order(self, kind: str) -> str:
        self.known.clear()
        return f"done: {kind}"


async def watch(http: ClientSession, **body: Any) -> int:
    async with http.post("/_page/watch", json={"viewer": "one"} | body) as response:
        return response.status


async def behind(feed: Feed) -> Json:
    while True:
        event, data = await feed.next()
        if event == "behind":
            return data


async def test_what_is_behind_a_thread_is_told_when_it_changes():
    notes = Notes({("C0GENERAL", "1.0"): {"session": {"number": 1}}})
    async with LocalSlack(behind=notes) as slack, ClientSession(slack.url) as http:
        async with feeding(slack) as feed:
            hello = await feed.hello()
            assert (hello["behind"], hello["orders"]) == (True, notes.orders)
            assert notes.asked == 0
            assert await watch(http, channel="general", thread_ts="1.0") == 200
            place: Json = {"channel": "C0GENERAL", "thread_ts": "1.0"}
            assert await behind(feed) == place | {"session": {"number": 1}}
            asked = notes.asked
            await eventually(lambda: notes.asked > asked + 1)
            notes.known["C0GENERAL", "1.0"] = {"session": {"number": 2}}
            # Looked at several times since, it was told once.
            assert await behind(feed) == place | {"session": {"number": 2}}
            notes.broken = True
            failed = place | {"session": None, "failure": "ConnectionRefusedError"}
            assert await behind(feed) == failed
            notes.broken = False
            async with http.post("/_page/order", json={"kind": "forget"}) as response:
                assert await response.json() == {"ok": True, "says": "done: forget"}
            while (seen := await behind(feed)) != place | {"session": None}:
                assert seen == place | {"session": {"number": 2}}
        async with feeding(slack) as feed:
            # It is remembered where the page looked.
            assert await behind(feed) == place | {"session": None}
            await watch(http, thread_ts=None)
            viewers = slack._page._viewers
            assert viewers._open["one"].place is None
            assert viewers._places == {}


async def test_orders_and_places_that_there_are_not():
    async with LocalSlack() as slack, ClientSession(slack.url) as http:
        async with http.post("/_page/order", json={"kind": "forget"}) as response:
            assert response.status == 404
            assert await response.json() == {"ok": False, "error": "order_not_found"}
        assert await watch(http, channel="nowhere", thread_ts="1.0") == 404
        async with feeding(slack) as feed:
            assert not (await feed.hello())["behind"]
            slack.behind = Notes()
            assert (await feed.hello())["behind"]
