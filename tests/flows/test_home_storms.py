"""Homes opened again and again, by many at once, and while Slack does not take what it is given."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bot import budget, homes
from router import clock
from router.clock import Backoff
from tests.flows.asked import Asking, asking
from tests.flows.gate import gate
from tests.flows.homes import becomes, crafted, opened, publishes, shows, value
from tests.flows.people import set_behaviour
from tests.harness import World
from tests.support import eventually


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens their home again need not wait a few seconds."""
    monkeypatch.setattr(homes, "_OPENED_AGAIN_SECONDS", 0.0)


@dataclass
class Still:
    """A clock that goes when it is told to."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        return self.now


async def test_a_storm_of_one_person_is_two_pages(at: Asking, monkeypatch: pytest.MonkeyPatch):
    """One at once, and one a few seconds later, with what has changed meanwhile."""
    still = Still()
    monkeypatch.setattr(homes, "clock", still)
    for _ in range(25):
        await at.here.slack.open_home("ada")
    await eventually(lambda: publishes(at.here, "ada"))
    row = await at.approval()
    for _ in range(25):
        await at.here.slack.open_home("ada")
    await at.here.slack.settle()
    still.now += 2.9
    await opened(at.here, "grace")  # by whom all that was due is shown
    assert len(publishes(at.here, "ada")) == 1
    still.now += 0.1
    await becomes(at.here, "ada", says=value(row))
    deliveries = [d for d in at.here.slack.deliveries if d.type == "app_home_opened"]
    assert [d.status for d in deliveries] == [200] * 51
    assert len(publishes(at.here, "ada")) == 2


async def test_a_storm_of_many_people_keeps_the_tier(at: Asking, monkeypatch: Any):
    """A page each, as fast as there are permits; nobody is told to come again."""
    people = [at.here.slack.add_user(f"person{n}") for n in range(12)]
    monkeypatch.setitem(budget._TIERS, "views.publish", budget.Tier(304, 4))
    before = time.time()
    for user in people:
        await at.here.slack.open_home(user)
    await eventually(lambda: {p["user_id"] for p in publishes(at.here)} == set(people))
    assert len(publishes(at.here)) == len(people)
    times = [c.at for c in at.here.slack.calls if c.method == "views.publish"]
    assert times[-1] - before > 1.5  # eight permits, five of which come in a second


async def test_told_to_wait_nobody_publishes_before_then(at: Asking):
    at.here.slack.fault("ratelimit", method="views.publish", times=1, retry_after=1)
    before = at.here.slack.workspace.clock.now()
    await at.here.slack.open_home("ada")
    await eventually(lambda: at.here.slack.home_view("ada"))
    assert len(publishes(at.here, "ada")) == 2
    assert at.here.slack.workspace.clock.now() - before >= 1
    [row] = await at.here.rows("SELECT * FROM slack_budgets WHERE method = 'views.publish'")
    assert row["spent_until"] - clock.now() > timedelta(seconds=20)  # every process waits


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "error_before", "error_after"])
async def test_a_page_whose_answer_was_lost_is_shown_again(at: Asking, fault: Any):
    at.here.slack.fault(fault, method="views.publish", times=1)
    await at.here.slack.open_home("ada")
    await eventually(lambda: len(publishes(at.here, "ada")) == 2)
    assert await eventually(lambda: at.here.slack.home_view("ada")) is not None


async def test_a_page_that_never_gets_through_is_given_up_until_it_is_opened_again(
    at: Asking,
    monkeypatch: pytest.MonkeyPatch,
    at_once: None,  # noqa: ARG001
):
    monkeypatch.setattr(homes, "_BACKOFF", Backoff(first=0.01, most=0.01))
    await set_behaviour(at.here, prompts=[{"title": "x", "message": "y"}])
    at.here.slack.fault("error_before", method="views.publish", times=None)
    await at.here.slack.open_home("ada")
    await eventually(lambda: len(publishes(at.here, "ada")) == 3)
    for number, user in enumerate(["ada", "grace", "linus"], 1):  # what comes later is answered
        await at.here.slack.open_home(user, "messages")
        await eventually(lambda: len(list(at.here.slack.workspace.surfaces.prompts)) == number)  # noqa: B023
    assert len(publishes(at.here, "ada")) == 3
    at.here.slack.clear_faults()
    await opened(at.here, "ada")


@pytest.mark.parametrize("error", ["not_enabled", "missing_scope"])
async def test_an_app_without_a_home_tab_is_not_asked_again(
    at: Asking,
    error: str,
    at_once: None,  # noqa: ARG001
):
    at.here.slack.fault("api_error", method="views.publish", error=error)
    with capture_logs() as logged:
        await at.here.slack.open_home("ada")
        await eventually(lambda: "home.not_shown" in [one["event"] for one in logged])
    for user in ("ada", "grace"):
        await at.here.slack.open_home(user)
    await at.here.slack.settle()
    row = await at.approval()
    payload = crafted(at.here, "ada", "approval.allow", value(row))
    assert await at.here.slack.interact(payload) == 200
    await set_behaviour(at.here, prompts=[{"title": "x", "message": "y"}])
    await at.here.slack.open_home("linus", "messages")  # what comes later is answered
    await eventually(lambda: list(at.here.slack.workspace.surfaces.prompts))
    assert len(publishes(at.here)) == 1


async def test_another_refusal_is_of_that_page_alone(at: Asking):
    at.here.slack.fault("api_error", method="views.publish", error="user_not_found")
    await at.here.slack.open_home("ada")
    await eventually(lambda: len(publishes(at.here)) == 1)
    await opened(at.here, "grace")
    assert at.here.slack.home_view("ada") is None


async def test_without_links_the_page_is_shown_all_the_same(here: World):
    async with asking(here) as at:
        here.slack.fault("error_before", method="auth.test", times=None)
        text = shows(await opened(here, "ada"))
        assert at.root.ts.replace(".", "") not in text
        assert "do it" in text


@dataclass
class Slowly:
    """Pages that Slack takes once `go` is set; `begun` is set by the first that comes."""

    api_url: str
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def slow_pages(here: World) -> AsyncIterator[Slowly]:
    async with gate(here) as door:
        slowly, path = Slowly(door.api_url), "/api/views.publish"

        async def publish(request: web.Request) -> web.StreamResponse:
            slowly.begun.set()
            await slowly.go.wait()
            door.answers.pop(path, None)
            return await door.handle(request)

        door.at(path, publish)
        yield slowly
        slowly.go.set()


async def test_the_200_waits_for_no_page(here: World):
    """While Slack takes its time over one page, events and clicks are answered."""
    async with slow_pages(here) as slowly, asking(here, slack_api_url=slowly.api_url) as at:
        card = await at.card(await at.approval())
        await here.slack.open_home("ada")
        await slowly.begun.wait()
        assert (await at.press("ada", card, "approval.allow")).failure is None
        assert here.slack.home_view("ada") is None
        await here.slack.settle()
        assert {d.status for d in here.slack.deliveries} == {200}
        slowly.go.set()
        await becomes(here, "ada", says="Recent sessions")


async def test_an_opening_of_an_unknown_team_is_answered_and_nothing_is_asked(at: Asking):
    await at.here.connection.execute(
        "UPDATE oauth_installs SET status = 'revoked', bot_token = NULL"
    )
    at.app.book.forget()
    at.app.book._by_id.clear()
    await at.here.slack.open_home("ada")
    await at.here.slack.settle()
    assert at.here.slack.deliveries[-1].status == 200
    assert publishes(at.here) == []


async def test_at_the_end_nobody_waits_for_a_page(here: World, monkeypatch: pytest.MonkeyPatch):
    for patience in ("homes._DEADLINE_SECONDS", "surfaces._SHOW_SECONDS", "slack.CALL_SECONDS"):
        monkeypatch.setattr(f"bot.{patience}", 600.0)  # whoever waited would end no sooner
    async with (
        slow_pages(here) as slowly,
        asyncio.timeout(60),
        asking(here, slack_api_url=slowly.api_url),
    ):
        await here.slack.open_home("ada")
        await slowly.begun.wait()
