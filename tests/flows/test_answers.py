"""What must hold of every answer, whatever way it takes into its thread."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from bot import budget, streams
from bot.app import App
from bot.local.faults import ApiFault
from bot.local.model import Call, Message
from router import clock
from store.installs import NewInstall
from tests.cases import few_of
from tests.flows.streams import (
    APPEND,
    POST,
    START,
    STOP,
    UPDATE,
    answered,
    ask,
    ask_for_a_stream,
    calls,
    messages,
    quicken,
    said,
    streaming,
    words_come,
)
from tests.harness import World, shown, world
from tests.support import eventually

STATUS = "agents.sessions.setStatus"
SLOW = said("!slow")
HOUR = 3600.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@dataclass
class Hands:
    """The clock that measures, which a test may put forward."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(clock, "monotonic", made.monotonic)
    return made


async def rests(here: World, asked: Message) -> None:
    """Waits until the thread has an answer and there is nothing left to do."""
    await eventually(lambda: messages(here, asked), 30)
    await here.at_rest(30)


# ------------------------------------------------------------------ where, and for whom


async def test_with_the_waits_as_shipped_a_short_answer_is_posted_at_once(here: World):
    async with here.app():
        for text in ("!echo short", "hello", "!slow 0.1"):
            asked = await ask(here, text)
            await here.answers(asked.channel, asked.ts, 1)
    assert (calls(here)[START], calls(here)[POST]) == (0, 3)


@pytest.mark.usefixtures("quick")
async def test_a_direct_message_is_answered_in_a_stream_too(here: World):
    async with here.app():
        asked = await ask_for_a_stream(here, channel=here.slack.dm("ada"))
        done = await answered(here, asked, SLOW)
    assert done.streaming_state == "completed"


@pytest.mark.usefixtures("quick")
async def test_where_slack_takes_no_streams_the_answer_is_there_whole(here: World):
    async with here.app():
        asked = await ask(here, "!slow 0.5", "mpim")
        done = await answered(here, asked, SLOW)
        assert done.streaming_state is None
        elsewhere = await ask_for_a_stream(here)
        assert (await answered(here, elsewhere, SLOW)).streaming_state == "completed"


# ------------------------------------------------------------------ what every message has


@pytest.mark.usefixtures("quick")
async def test_no_message_unfolds_its_links_and_each_has_words_for_a_notification(here: World):
    async with here.app():
        for text in (
            "!echo see https://example.com/",
            "!tool",
            "!refuse",
            "!long 20",
        ):
            asked = await ask(here, text)
            await rests(here, asked)
        await rests(here, await ask_for_a_stream(here, "!slow 24 20"))
        here.slack.fault("invite_bot", channel="nobot")
        await eventually(lambda: here.slack.history("nobot")[-1:])
        await here.slack.say("connect", "shared", "@threadline hello")
        await eventually(lambda: here.slack.ephemerals)
        await here.at_rest()
    made = calls(here)
    assert min(made[START], made[UPDATE], made[POST], made["chat.postEphemeral"]) >= 1
    for call in here.slack.calls:
        if call.method in (POST, UPDATE, "chat.postEphemeral"):
            assert str(call.args["text"]).strip(), call
        if call.method == POST:
            folded = [call.args[name] for name in ("unfurl_links", "unfurl_media")]
            assert [str(one).lower() for one in folded] in (["false"] * 2, ["0"] * 2), call


# ------------------------------------------------------------------ trouble in the second message


def streamed(here: World) -> str:
    """All the words that went into streams."""
    return "".join(text_of(call) for call in here.slack.calls if call.method in (START, APPEND))


def text_of(call: Call) -> str:
    found: Any = call.args["chunks"]
    chunks = json.loads(found) if isinstance(found, str) else found
    return "".join(chunk.get("text", "") for chunk in chunks)


TROUBLE: tuple[tuple[ApiFault, str], ...] = (
    *(
        ("api_error", error)
        for error in (
            "message_not_in_streaming_state",
            "stopped_by_user",
            "streaming_state_conflict",
            "message_not_owned_by_app",
            "channel_type_not_supported",
            "user_not_found",
            "missing_recipient_user_id",
            "missing_recipient_team_id",
        )
    ),
    ("drop_after", ""),
    ("drop_before", ""),
    ("ratelimit", ""),
    ("method_unknown", ""),
)
# One of what ends a stream for good and of what does not, and each way to lose an answer.
_TYPICAL = (
    ("api_error", "message_not_in_streaming_state"),
    ("api_error", "user_not_found"),
    ("drop_after", ""),
    ("ratelimit", ""),
)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("kind", "error"), few_of(TROUBLE, _TYPICAL), ids=lambda value: str(value) or "-"
)
async def test_trouble_where_an_answer_goes_on_in_a_new_message_costs_no_word(
    here: World, monkeypatch: pytest.MonkeyPatch, kind: ApiFault, error: str
):
    """At the stop of the first message, at the start of the second, at its end, at both updates."""
    monkeypatch.setattr(streams, "_PART_BYTES", 500)
    for method in (START, STOP, UPDATE):
        monkeypatch.setitem(budget._TIERS, method, budget.Tier(60_000, 30_000))
    more: dict[str, Any] = {"error": error} if error else {}
    async with here.app() as app:
        for stage, skip in ((STOP, 0), (STOP, 1), (START, 1), (UPDATE, 0), (UPDATE, 1)):
            if kind == "method_unknown" and stage == UPDATE:
                continue
            app.slack._without.clear()
            await here.connection.execute("DELETE FROM slack_budgets")
            here.slack.fault(kind, method=stage, skip=skip, **more)
            await until_taken(here, lambda: whole_in_parts(here))


async def whole_in_parts(here: World) -> None:
    """An answer in several messages is exact and in order, and none of them streams on."""
    asked = await ask(here, "!slow 0.4")
    await rests(here, asked)
    found = messages(here, asked)
    assert " ".join(shown(message) for message in found) == SLOW
    assert {message.streaming_state for message in found} <= {None, "completed"}


async def until_taken(here: World, work: Callable[[], Awaitable[object]]) -> None:
    """Does the work until it met the fault that was ordered: a busy machine streams less."""
    before = len(here.slack.calls)
    for _ in range(5):
        await work()
        if any(call.fault for call in here.slack.calls[before:]):
            return
    pytest.fail("the fault was never met")


# ------------------------------------------------------------------ a method that is not there


async def another_install(here: World, app: App) -> UUID:
    """The same app in another tenant, by the same token."""
    new = NewInstall(
        workspace_id=here.workspace_id,
        api_app_id=here.slack.api_app_id,
        tenant_id="T0OTHER",
        team_id="T0OTHER",
        enterprise_id=None,
        bot_user_id=here.slack.bot_user_id,
        bot_id=here.slack.bot_id,
        scopes=[],
    )
    found: UUID = await app.book.put(new, here.slack.bot_token)
    return found


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("stage", [START, APPEND, STOP])
async def test_a_method_that_is_not_there_is_tried_again_after_an_hour_and_elsewhere_at_once(
    here: World, hands: Hands, stage: str
):
    here.slack.fault("method_unknown", method=stage)
    async with here.app() as app:
        await until_taken(here, lambda: streams_whole(here))
        other = await another_install(here, app)
        assert app.slack.can_stream(other)
        before = calls(here)[START]
        for minutes in (1, 58):
            hands.ahead += minutes * 60
            assert (await streams_whole(here)).streaming_state is None
        assert calls(here)[START] == before
        hands.ahead += 2 * 60
        asked = await ask_for_a_stream(here)
        assert (await answered(here, asked, SLOW)).streaming_state == "completed"
        assert calls(here)[START] == before + 1


async def streams_whole(here: World) -> Message:
    return await answered(here, await ask(here, "!slow 0.4"), SLOW)


@pytest.mark.parametrize("fault", [{}, {"error": "feature_disabled"}, {"status": 404}])
async def test_a_status_that_is_not_there_is_left_out_for_an_hour(
    here: World, hands: Hands, fault: dict[str, Any]
):
    here.slack.fault("method_unknown", method=STATUS, **fault)
    async with here.app():
        for _ in range(2):
            asked = await ask(here, "hello")
            await here.answers(asked.channel, asked.ts, 1)
        assert calls(here)[STATUS] == 1
        hands.ahead = HOUR + 60
        asked = await ask(here, "hello")
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")


# ------------------------------------------------------------------ an honest status


@pytest.mark.parametrize(
    "kind", ["ratelimit", "drop_before", "drop_after", "error_before", "error_after"]
)
async def test_the_end_of_the_work_is_shown_though_slack_did_not_take_it_at_once(
    here: World, kind: ApiFault
):
    """Otherwise the thread would say "Working…" for an hour."""
    here.runtime.hold()
    async with here.app():
        asked = await ask(here, "hello")
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing")
        here.slack.fault(kind, method=STATUS, retry_after=1, status=503)
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 1)
        await eventually(lambda: [c for c in here.slack.calls if c.method == STATUS and c.fault])
        await eventually(lambda: last_status(here) == ("active", 200))
    assert here.slack.shown_status(asked.channel, asked.ts) == "active"
    at = [call.at for call in here.slack.calls if call.method == STATUS]
    assert at[2] - at[1] > (0.9 if kind == "ratelimit" else 0.0)


def last_status(here: World) -> tuple[Any, int]:
    last = [call for call in here.slack.calls if call.method == STATUS][-1]
    return last.args["status"], last.status


# ------------------------------------------------------------------ pace


@pytest.mark.usefixtures("quick")
async def test_what_is_said_while_there_is_no_permit_goes_out_in_one_append(here: World):
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 2)
        await streaming(here, asked)
        await here.connection.execute(
            "INSERT INTO slack_budgets AS b SELECT id, $1, now() + $2 FROM oauth_installs"
            " ON CONFLICT (install_id, method) DO UPDATE SET spent_until = excluded.spent_until",
            APPEND,
            timedelta(hours=1),
        )
        await words_come(here, 2)  # what is left of a block of permits
        before = calls(here)[APPEND]
        await words_come(here, 16)
        await here.connection.execute(
            "UPDATE slack_budgets SET spent_until = now() + $2 WHERE method = $1",
            APPEND,
            timedelta(seconds=33),  # of the burst of 34: one permit, and each second another
        )
        await eventually(lambda: len(streamed(here)) > 0.7 * len(SLOW))
        assert calls(here)[APPEND] - before <= 4
        here.runtime.world.pace.set_rate(1000)
        await answered(here, asked, SLOW)


# ------------------------------------------------------------------ tool steps


@pytest.mark.usefixtures("quick")
async def test_a_step_that_fails_is_shown_as_failed_and_the_answer_goes_on(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!slow 0.5")
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        used = session.log.emit("agent.tool_use", name="bash", input={})
        here.runtime.world.commit(session)
        await eventually(lambda: cards(here, asked) == [("bash", "in_progress")])
        session.log.emit("agent.tool_result", tool_use_id=used, content=[], is_error=True)
        here.runtime.world.commit(session)
        await eventually(lambda: cards(here, asked) == [("bash", "error")])
        here.runtime.release()
        await answered(here, asked, f"{SLOW}")
    (done,) = messages(here, asked)
    kept = [(b["title"], b["status"]) for b in done.blocks if b["type"] == "task_card"]
    assert kept == [("bash", "error")]


def cards(here: World, asked: Message) -> list[tuple[str, str]]:
    return [(t["title"], t["status"]) for m in messages(here, asked) for t in m.tasks]


@pytest.mark.usefixtures("quick")
async def test_a_call_that_nobody_serves_is_not_shown_as_done(here: World):
    async with here.app():
        asked = await ask(here, "!custom")
        await rests(here, asked)
    settled = [
        block["status"]
        for message in messages(here, asked)
        for block in message.blocks
        if block["type"] == "task_card"
    ]
    assert settled == ["error"]


# ------------------------------------------------------------------ Socket Mode


_LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def test_nothing_is_acknowledged_before_its_commit(dsn: str):
    """A table that the accept writes to is locked: no acknowledgement until it is free again."""
    async with world(dsn, socket_mode=True) as here:
        socket: dict[str, Any] = {
            "slack_app_token": here.slack.app_token,
            "slack_signing_secret": None,
        }
        async with here.app(**socket):
            await eventually(lambda: here.slack.connections)
            async with here.connection.transaction():
                await here.connection.execute("LOCK TABLE session_inputs IN SHARE MODE")
                asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
                await eventually(lambda: waits(here))
                tried = [d for d in here.slack.deliveries if d.ts == asked.ts and d.ok]
                assert not tried
            await here.answers(asked.channel, asked.ts, 1)
            assert [d.ok for d in here.slack.deliveries if d.ts == asked.ts][-1]


async def waits(here: World) -> bool:
    found: int = await here.connection.fetchval(_LOCKED)
    return found > 0
