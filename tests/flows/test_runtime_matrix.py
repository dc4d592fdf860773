"""Every fault on every route: one answer or one notice with its reference, nothing twice, and on."""

from dataclasses import replace
from typing import Any

import pytest

from bot import ground
from bot.local.model import Message
from router import notices
from router.clock import Backoff
from router.notices import Trouble
from router.runtime import budget
from router.runtime.local.faults import ActiveFault
from router.turns import ending
from store import sessions
from tests.harness import TIMING, World
from tests.support import eventually

QUICK = replace(TIMING, settle=1.0, grace=0.05, quiet=0.4)

REFUSALS = ["unauthorized", "unpaid", "forbidden", "too_large", "refused"]
AWAY = ["rate_limit", "overloaded", "server_error", "unavailable"]
# what can happen to any request
ANY: list[str] = ["drop_before", "silence", *AWAY, *REFUSALS]
# and to one that is answered all at once
CALL: list[str] = [*ANY, "drop_after", "stall"]
WRITE = [*CALL, "late_effect"]
ROUTES = {
    "sessions.create": WRITE,
    "sessions.list": [*CALL, "status_lag"],
    "sessions.retrieve": [*CALL, "gone", "status_lag"],
    "sessions.update": [*WRITE, "gone", "status_lag"],
    "sessions.archive": [*WRITE, "gone", "status_lag"],
    "events.send": [*WRITE, "gone"],
    "events.list": [*CALL, "gone", "history_lag"],
    "events.stream": [*ANY, "gone", "cut_stream", "duplicate", "reorder", "unknown_event"],
}
MATRIX = [(route, kind) for route, kinds in ROUTES.items() for kind in kinds]
# One of each sort is tried by every run; a send meets all of them there (test_runtime_routes).
SHORT = {"drop_before", "drop_after", "unavailable", "refused", "gone"}
STREAMED = ["session.status_running", "user.message", "agent.message", "session.status_idle"]

# What a request of the route is made for, where not every conversation makes one.
BROUGHT_ABOUT_BY = {
    "sessions.list": ("drop_after", "sessions.create"),
    "sessions.retrieve": ("refused", "events.send"),
}


def is_short(route: str, kind: str) -> bool:
    return kind in SHORT and route != "events.send"


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is given up soon where that matters, and the runtime is tried again at once.

    Where it does not, a busy machine may take its time over every other request.
    """
    case = request.node.callspec.params
    soon = not is_short(case.get("route", "events.send"), case["kind"])
    monkeypatch.setattr(ground, "_MOST_SEND_SECONDS", 0.3 if soon else 8.0)
    monkeypatch.setattr(ending, "_RUNTIME_BACKOFF", Backoff(first=0.02, most=0.1))
    monkeypatch.setattr(budget, "_WITHOUT_RETRY_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(budget, "_SHARES", dict.fromkeys(budget.Need, 1.0))


def order(here: World, route: str, kind: Any, **more: Any) -> ActiveFault:
    """One strike. An effect that is late comes between the looks for it."""
    seconds = {"late_effect": 0.45, "stall": 600.0}.get(kind, 0.0)
    if kind == "history_lag":
        more = {"events": 99}
    where = "*" if kind == "unknown_event" else route
    return here.runtime.fault(kind, route=where, seconds=seconds, **more)


async def ask(here: World, text: str = "hello", thread_ts: str | None = None) -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text, thread_ts=thread_ts)


def answer(text: str) -> str:
    return f'You said: "{text}"'


def holds(here: World, asked: Message, text: str) -> bool:
    """Whether the message has its answer, or else a notice that says why not; fails on doubles."""
    posts = here.shown(asked.channel, asked.ts)
    notices = [post for post in posts if not post.startswith("You said: ")]
    assert posts.count(answer(text)) <= 1, posts
    assert all("\nReference: " in notice for notice in notices), posts
    assert len({notice.partition("\n")[0] for notice in notices}) == len(notices), posts
    return answer(text) in posts or bool(notices)


async def goes_on(here: World, asked: Message) -> None:
    """The next message in the thread is answered, and only that."""
    before = here.shown(asked.channel, asked.ts)
    await ask(here, "again", asked.ts)
    posts = await here.answers(asked.channel, asked.ts, len(before) + 1)
    assert posts[-1] == answer("again")


def nothing_twice(here: World, *, lost: bool = False) -> None:
    """No message doubled, no session beside the one; a session that was lost has a successor."""
    texts = here.sent_texts()
    assert sorted(texts) == sorted(set(texts)), texts
    open_ones = [s for s in here.runtime.sessions() if s["archived_at"] is None]
    assert len(open_ones) == (2 if lost else 1)


async def conversation(
    here: World, fault: ActiveFault, kind: str, thread: Message | None = None
) -> Message:
    """A message whose turn meets the fault, and one more; the thread that they are in."""
    asked = await ask(here, "hello", thread.ts if thread else None)
    thread = thread or asked
    await eventually(lambda: fault.hits)
    await eventually(lambda: holds(here, thread, "hello"))
    await here.at_rest()
    assert holds(here, thread, "hello")
    await goes_on(here, thread)
    # whoever lost its lease before it could write that down has left it to one who found it there
    told = "".join(here.shown(thread.channel, thread.ts))
    nothing_twice(here, lost=kind == "gone" and notices.words(Trouble.CONTEXT_LOST) in told)
    return thread


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        pytest.param(*one, marks=[] if is_short(*one) else [pytest.mark.long])
        for one in MATRIX
        if one[0] not in ("sessions.update", "sessions.archive")
    ],
)
async def test_a_message_that_meets(here: World, route: str, kind: str):
    if route in BROUGHT_ABOUT_BY:
        before, where = BROUGHT_ABOUT_BY[route]
        order(here, where, before)
    async with here.app(timing=QUICK):
        # the history of what has just been made is not asked for
        earlier = await talked(here, "hi") if route == "events.list" else None
        fault = order(here, route, kind)
        await conversation(here, fault, kind, earlier)
    assert fault.hits == 1


@pytest.mark.long
@pytest.mark.parametrize("event", STREAMED)
@pytest.mark.parametrize("kind", ["cut_stream", "duplicate", "reorder"])
async def test_a_stream_that_meets(here: World, kind: str, event: str):
    fault = order(here, "events.stream", kind, event_type=event)
    async with here.app(timing=QUICK):
        asked = await conversation(here, fault, kind)
    assert here.bot_posts(asked.channel, asked.ts) == [answer("hello"), answer("again")]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["duplicate", "reorder"])
async def test_a_stream_on_which_all_events_meet(here: World, kind: str):
    fault = order(here, "events.stream", kind, times=None)
    async with here.app(timing=QUICK):
        asked = await conversation(here, fault, kind)
    assert here.bot_posts(asked.channel, asked.ts) == [answer("hello"), answer("again")]
    assert fault.hits > 9


async def talked(here: World, text: str = "hello") -> Message:
    asked = await ask(here, text)
    assert await here.answers(asked.channel, asked.ts, 1) == [answer(text)]
    return asked


@pytest.mark.long
@pytest.mark.parametrize("kind", ROUTES["sessions.update"])
async def test_a_rename_that_meets(here: World, kind: str):
    async with here.app(timing=QUICK):
        asked = await talked(here)
        fault = order(here, "sessions.update", kind)
        await here.slack.rename("ada", asked.channel, asked.ts, "Release")
        await eventually(lambda: fault.hits)
        await here.at_rest()
        await goes_on(here, asked)
    nothing_twice(here)
    assert (await here.session())["title"] == "Release"


@pytest.mark.long
@pytest.mark.parametrize("kind", ROUTES["sessions.archive"])
async def test_an_archive_that_meets(here: World, kind: str):
    async with here.app(timing=QUICK):
        asked = await talked(here)
        fault = order(here, "sessions.archive", kind)
        row = await here.session()
        await sessions.request_archive(here.connection, here.agent_id, row["id"])
        await eventually(lambda: fault.hits)
        await here.at_rest()
        assert (await here.session())["status"] == "archived"
        (made,) = here.runtime.sessions()
        assert (made["archived_at"] is None) == (kind == "gone")
        assert here.bot_posts(asked.channel, asked.ts) == [answer("hello")]
        another = await ask(here, "elsewhere")
        assert await here.answers(another.channel, another.ts, 1) == [answer("elsewhere")]
