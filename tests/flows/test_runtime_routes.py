"""Every fault of a write in the middle of a conversation: all in one process, a thread for each.

What the first message of a thread makes of those of every route is the matrix (test_runtime_matrix).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bot import ground
from bot.local.model import Message
from router import notices
from router.clock import Backoff
from router.notices import Trouble
from router.runtime import budget
from router.runtime.budget import Limit
from router.runtime.local.faults import ActiveFault
from router.turns import ending
from store import sessions
from tests.flows.test_runtime_matrix import ROUTES, answer
from tests.harness import TIMING, World
from tests.support import eventually

SEND_SECONDS = 3.0  # what is given up sooner on a busy machine meets no fault before anybody's eyes
# what takes effect late does so long before the second look, on a busy machine too
UNHURRIED = replace(TIMING, settle=2.0, grace=0.05, quiet=0.6)
REASONS = {
    "unauthorized": Trouble.KEY_REFUSED,
    "unpaid": Trouble.BILLING,
    "forbidden": Trouble.KEY_FORBIDDEN,
    "too_large": Trouble.TOO_LARGE,
    "refused": Trouble.REFUSED,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is tried again at once, and the threads are not short of permits."""
    monkeypatch.setattr(ground, "_MOST_SEND_SECONDS", SEND_SECONDS)
    monkeypatch.setattr(ending, "_RUNTIME_BACKOFF", Backoff(first=0.02, most=0.1))
    monkeypatch.setattr(budget, "_WITHOUT_RETRY_AFTER_SECONDS", 0.05)
    for kind in budget._LIMITS:
        monkeypatch.setitem(budget._LIMITS, kind, Limit(60_000, 30_000))


@dataclass
class Talk:
    """A thread that has had its first answer, and the fault that its next request meets."""

    here: World
    asked: Message
    session: str
    fault: ActiveFault | None = None

    def order(self, route: str, kind: Any) -> None:
        """One strike. An effect that is late comes between the looks for it."""
        seconds = {"late_effect": SEND_SECONDS + 0.3, "stall": 600.0}.get(kind, 0.0)
        self.fault = self.here.runtime.fault(
            kind,
            route="*" if kind == "unknown_event" else route,
            session_id=self.session,
            seconds=seconds,
            events=99 if kind == "history_lag" else 1,
        )

    @property
    def struck(self) -> bool:
        return self.fault is not None and self.fault.hits == 1

    async def say(self, text: str) -> None:
        await self.here.slack.say("ada", self.asked.channel, text, thread_ts=self.asked.ts)

    @property
    def posts(self) -> list[str]:
        """What a person reads; of a notice what happened and what to do."""
        posts = self.here.shown(self.asked.channel, self.asked.ts)
        assert all(p.startswith("You said: ") or "\nReference: " in p for p in posts), posts
        return [post.partition("\nReference: ")[0] for post in posts]


async def talking(here: World, kinds: Iterable[str]) -> dict[str, Talk]:
    """A thread for each kind of fault, once each has had its first answer."""
    asked = {kind: await here.slack.say("ada", here.slack.dm("ada"), "one") for kind in kinds}
    await here.at_rest(30)
    rows = await here.rows("SELECT slack_thread_ts, anthropic_session_id FROM agent_sessions")
    ids = {row["slack_thread_ts"]: row["anthropic_session_id"] for row in rows}
    return {kind: Talk(here, first, ids[first.ts]) for kind, first in asked.items()}


async def all_struck(here: World, talks: dict[str, Talk]) -> None:
    await eventually(
        lambda: all(talk.struck for talk in talks.values()),
        40,
        f"a strike of each, now {[k for k, t in talks.items() if not t.struck]}",
    )
    await here.at_rest(30)


async def all_go_on(here: World, talks: dict[str, Talk]) -> None:
    """The next message of every thread is answered, and only that; no message went twice."""
    before = {kind: talk.posts for kind, talk in talks.items()}
    for talk in talks.values():
        await talk.say("three")
    await here.at_rest(30)
    assert {kind: talk.posts for kind, talk in talks.items()} == {
        kind: [*posts, answer("three")] for kind, posts in before.items()
    }


def received(here: World, talk: Talk) -> Counter[str]:
    """The texts that a runtime session has of us."""
    return Counter(
        block["text"]
        for event in here.runtime.received(talk.session)
        if event["type"] == "user.message"
        for block in event["content"]
        if not block["text"].startswith("<input ")
    )


def expected(kind: str) -> list[str]:
    """What a thread shows of its second message when that meets the fault."""
    if kind == "gone":
        return [notices.words(Trouble.CONTEXT_LOST), answer("two")]
    if kind in REASONS:
        return [notices.words(REASONS[kind])]
    return [answer("two")]


async def test_a_message_in_a_thread_that_meets_any_fault(here: World):
    async with here.app(timing=UNHURRIED):
        talks = await talking(here, ROUTES["events.send"])
        for kind, talk in talks.items():
            talk.order("events.send", kind)
            await talk.say("two")
        await all_struck(here, talks)
        assert {kind: talk.posts for kind, talk in talks.items()} == {
            kind: [answer("one"), *expected(kind)] for kind in talks
        }
        await all_go_on(here, talks)
    for kind, talk in talks.items():
        assert set(received(here, talk).values()) == {1}, kind


async def test_a_rename_that_meets_any_fault(here: World):
    async with here.app(timing=UNHURRIED):
        talks = await talking(here, ROUTES["sessions.update"])
        for kind, talk in talks.items():
            talk.order("sessions.update", kind)
            await here.slack.rename("ada", talk.asked.channel, talk.asked.ts, f"About {kind}")
        await all_struck(here, talks)
        await all_go_on(here, talks)
        took = {"drop_after", "stall", "late_effect", "status_lag"}
        await eventually(lambda: _retitled(here, talks) == took)
    rows = await here.rows("SELECT slack_thread_ts, title FROM agent_sessions")
    ours = {row["slack_thread_ts"]: row["title"] for row in rows}
    assert {kind: ours[talk.asked.ts] for kind, talk in talks.items()} == {
        kind: f"About {kind}" for kind in talks
    }


def _retitled(here: World, talks: dict[str, Talk]) -> set[str]:
    titles = {s["id"]: s["title"] for s in here.runtime.sessions()}
    return {kind for kind, talk in talks.items() if titles[talk.session] == f"About {kind}"}


async def test_an_archive_that_meets_any_fault(here: World):
    async with here.app(timing=UNHURRIED):
        talks = await talking(here, ROUTES["sessions.archive"])
        for kind, talk in talks.items():
            talk.order("sessions.archive", kind)
            row = await here.row(
                "SELECT id FROM agent_sessions WHERE anthropic_session_id = $1", talk.session
            )
            await sessions.request_archive(here.connection, here.agent_id, row["id"])
        await all_struck(here, talks)
        rows = await here.rows("SELECT status FROM agent_sessions")
        assert [row["status"] for row in rows] == ["archived"] * len(talks)
        left = {s["id"] for s in here.runtime.sessions() if s["archived_at"] is None}
        assert left == {talks["gone"].session}
        assert [talk.posts for talk in talks.values()] == [[answer("one")]] * len(talks)
