"""Turns and the processes that run them: one turn's failure is its own, a clean stop hands over."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.app import App
from bot.conversation import SlackConversation
from bot.local.model import Message
from router import notices
from router.notices import Trouble
from store import database
from tests.harness import TIMING, World
from tests.support import eventually

INGRESS = frozenset({"ingress"})


async def ask(here: World, text: str) -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


async def accepted(here: World, text: str) -> Message:
    """A message that is waiting for a worker; none is there."""
    async with here.app(roles=INGRESS):
        asked = await ask(here, text)
        await here.slack.settle()
    return asked


# ------------------------------------------------------------------ one turn's failure


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dividing one certain answer into parts fails, as a bug of ours would."""
    whole = SlackConversation.parts

    def parts(self: SlackConversation, markdown: str, **options: Any) -> list[str]:
        if "poison" in markdown:
            raise ZeroDivisionError("a bug, for one text")
        return whole(self, markdown, **options)

    monkeypatch.setattr(SlackConversation, "parts", parts)


@pytest.mark.usefixtures("poison")
async def test_a_bug_in_one_turn_fails_that_turn_visibly_and_no_other(here: World):
    with capture_logs() as logged:
        async with here.app():
            here.runtime.hold()
            bad, good = await ask(here, "poison"), await ask(here, "good")
            await eventually(lambda: len(here.runtime.held()) == 2)
            here.runtime.release()
            assert await here.answers(good.channel, good.ts, 1) == ['You said: "good"']
            await here.answers(bad.channel, bad.ts, 1)
            (post,) = here.shown(bad.channel, bad.ts)
            await eventually(lambda: here.slack.shown_status(bad.channel, bad.ts) == "active")
            await here.slack.say("ada", bad.channel, "again", thread_ts=bad.ts)
            assert (await here.answers(bad.channel, bad.ts, 2))[1] == 'You said: "again"'
    sentence, _, reference = post.partition("\nReference: ")
    assert sentence == notices.words(Trouble.FAILED)
    assert any(e["event"] == "turn.ended" and e["reference"] == reference for e in logged)
    (failed,) = [e for e in logged if e["event"] == "turn.failed"]
    assert isinstance(failed["exc_info"], ZeroDivisionError)
    assert sorted(t["state"] for t in await here.turns()) == ["completed", "completed", "failed"]


async def test_after_five_claims_without_progress_the_message_is_set_aside(here: World):
    asked = await accepted(here, "crash")
    await here.connection.execute("UPDATE agent_sessions SET barren_claims = 5")
    with capture_logs() as logged:
        async with here.app():
            await here.answers(asked.channel, asked.ts, 1)
            (post,) = here.shown(asked.channel, asked.ts)
            await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
            assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'
    sentence, _, reference = post.partition("\nReference: ")
    assert sentence == notices.words(Trouble.CRASHED)
    assert any(e["event"] == "turn.ended" and e["reference"] == reference for e in logged)
    assert here.sent_texts() == ["again"]


async def test_a_fifth_claim_is_still_tried(here: World):
    asked = await accepted(here, "hello")
    await here.connection.execute("UPDATE agent_sessions SET barren_claims = 4")
    async with here.app():
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert (await here.session())["barren_claims"] == 0


# ------------------------------------------------------------------ stopping and going on


async def test_a_clean_stop_hands_a_turn_to_the_next_process(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "hello")
        await eventually(here.runtime.held)
    handed = await here.session()
    assert (handed["lease_owner"], handed["status"]) == (None, "running")
    assert handed["ready_at"] is not None
    async with here.app():
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert here.sent_texts() == ["hello"]
    assert [t["state"] for t in await here.turns()] == ["completed"]


async def test_a_turn_goes_on_in_a_process_that_was_there_all_along(here: World):
    async with AsyncExitStack() as first:
        await first.enter_async_context(here.app())
        here.runtime.hold()
        asked = await ask(here, "hello")
        await eventually(here.runtime.held)
        async with here.app():
            epoch = (await here.session())["lease_epoch"]
            await first.aclose()
            await eventually(lambda: claimed_since(here, epoch))
            here.runtime.release()
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert here.sent_texts() == ["hello"]


async def claimed_since(here: World, epoch: int) -> bool:
    session = await here.session()
    return bool(session["lease_epoch"] > epoch and session["lease_owner"])


async def test_a_claim_that_succeeds_during_the_stop_is_handed_back(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """The session's row is locked while the process stops, so that its claim comes late."""
    monkeypatch.setitem(database._SERVER_SETTINGS, "lock_timeout", "20000")
    here.runtime.hold()
    await accepted(here, "hello")
    leave = asyncio.Event()
    started: asyncio.Future[App] = asyncio.get_running_loop().create_future()

    async def live() -> None:
        # a claim waits for a third of a lease
        async with here.app(timing=replace(TIMING, lease=60.0)) as app:
            started.set_result(app)
            await leave.wait()

    locker = await database.connect(here.dsn)
    await locker.execute("SET idle_in_transaction_session_timeout = 0")  # an app starts meanwhile
    async with asyncio.TaskGroup() as tasks, locker.transaction():
        await locker.execute("SELECT FROM agent_sessions FOR UPDATE")
        tasks.create_task(live())
        app = await started
        await eventually(lambda: waiting_for_the_lock(here))
        leave.set()
        await eventually(lambda: stopping(app))
    await locker.close()
    session = await here.session()
    assert (session["lease_owner"], session["lease_epoch"]) == (None, 1)
    assert session["ready_at"] is not None


async def waiting_for_the_lock(here: World) -> bool:
    waiting: int = await here.connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return waiting > 0


async def stopping(app: App) -> bool:
    """True once nobody listens there any more, which is when the stop is said."""
    host, port = app.url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return True
    writer.close()
    return False


async def test_a_message_accepted_in_one_process_is_answered_by_another(here: World):
    async with here.app(roles=frozenset({"worker", "delivery"})), here.app(roles=INGRESS):
        asked = await ask(here, "hello")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']


async def test_processes_side_by_side_answer_each_message_once(here: World):
    async with here.app(), here.app(), here.app():
        asked = [await ask(here, f"message {n}") for n in range(12)]
        for n, one in enumerate(asked):
            assert await here.answers(one.channel, one.ts, 1) == [f'You said: "message {n}"']
    assert len(here.runtime.sessions()) == len(here.sent_texts()) == 12
