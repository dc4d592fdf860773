"""PostgreSQL stalls or goes away: Slack is told to come again in time, nothing is lost or doubled."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bot.app import App
from bot.local.model import Message
from router import intake
from store import database
from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate
from tests.chaos.servers import stalled
from tests.harness import World, world
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("in_time")

RETRY_AFTER = 60.0  # of the local Slack's own clock, which stands still until it is moved


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_data_dir() as made:
        yield made


@asynccontextmanager
async def served(dsn: str) -> AsyncIterator[tuple[World, App]]:
    """A world with one app, whose Slack tries an event again when its clock is moved."""
    await migrate(dsn)
    async with (
        world(dsn, retry_delays=(RETRY_AFTER,), clock="virtual") as here,
        here.app() as app,
    ):
        yield here, app


async def status(app: App, path: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}{path}") as response:
        return response.status


async def refused_in_time(here: World, app: App) -> Message:
    """A new message while there is no database: 503 before Slack gives up, and the process lives."""
    seen = len(here.slack.deliveries)
    with pytest.MonkeyPatch.context() as sooner:
        sooner.setattr(intake, "ACCEPT_SECONDS", 0.4)  # the rest of Slack's time is the machine's
        asked = await here.slack.say("ada", here.slack.dm("ada"), "during")
        await eventually(lambda: len(here.slack.deliveries) > seen)
    (attempt,) = here.slack.deliveries[seen:]
    assert attempt.status == 503
    assert await status(app, "/readyz") == 503
    assert await status(app, "/healthz") == 200
    return asked


async def all_answered(here: World, app: App, before: Message, during: Message) -> None:
    """The process works as it is: what was in flight and what was refused is answered, once."""
    await eventually(lambda: is_ready(app))
    here.slack.advance(RETRY_AFTER)
    assert await here.answers(before.channel, before.ts, 1, timeout=30) == ['You said: "before"']
    assert await here.answers(during.channel, during.ts, 1, timeout=30) == ['You said: "during"']
    retried = [d for d in here.slack.deliveries if d.ts == during.ts]
    assert [(d.status, d.retry_num) for d in retried] == [(503, None), (200, 1)]
    after = await here.slack.say("ada", before.channel, "after")
    assert await here.answers(after.channel, after.ts, 1) == ['You said: "after"']
    assert sorted(here.sent_texts()) == ["after", "before", "during"]
    assert {t["state"] for t in await here.turns()} == {"completed"}


async def is_ready(app: App) -> bool:
    return await status(app, "/readyz") == 200


async def in_flight(here: World) -> Message:
    """A message whose turn stands still at the runtime."""
    here.runtime.hold()
    asked = await here.slack.say("ada", here.slack.dm("ada"), "before")
    await eventually(here.runtime.held)
    return asked


async def test_a_stalled_database_loses_and_doubles_nothing(folder: Path):
    async with (
        embedded_postgres(folder, durable=False) as server,
        served(server.dsn) as (here, app),
    ):
        before = await in_flight(here)
        with stalled(server.pid):
            during = await refused_in_time(here, app)
            here.runtime.release()
            # An install that this process does not remember must not be taken for none.
            app.book.forget()
            async with aiohttp.ClientSession() as http:
                body = '{"type":"event_callback","team_id":"T0NOBODY","event":{"type":"message"}}'
                url = f"{app.url}/slack/events"
                async with http.post(url, data=body, headers=here.slack.sign(body)) as response:
                    assert response.status == 503
        await all_answered(here, app, before, during)


async def test_a_database_that_was_down_loses_and_doubles_nothing(folder: Path):
    async with AsyncExitStack() as first, AsyncExitStack() as outer:
        server = await first.enter_async_context(embedded_postgres(folder, durable=False))
        here, app = await outer.enter_async_context(served(server.dsn))
        before = await in_flight(here)
        await first.aclose()
        during = await refused_in_time(here, app)
        here.runtime.release()
        async with embedded_postgres(folder, durable=False) as again:
            assert again.dsn == server.dsn
            here.connection = await database.connect(again.dsn)
            await all_answered(here, app, before, during)
            await outer.aclose()
