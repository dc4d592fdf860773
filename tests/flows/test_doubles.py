"""A post that no look showed in time: two stand there for a while, then one, and it is counted."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from bot import doubles
from bot.app import App
from bot.local.model import Message
from tests.flows.streams import LIST, POST, calls, messages, quicken
from tests.harness import World, shown, world
from tests.support import eventually

ANSWER = 'You said: "hello"'
STATUS = "agents.sessions.setStatus"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


async def ask(here: World, text: str = "hello") -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


def counted(app: App) -> float:
    value = app.metrics.registry.get_sample_value("threadline_doubles_total", {"where": "slack"})
    return value or 0.0


async def doubled(here: World) -> Message:
    """A question whose answer's first post nobody has seen when it is made again."""
    here.slack.fault("drop_after", method=POST)
    here.slack.fault("stale", method=LIST, seconds=600, times=2)
    asked = await ask(here)
    await eventually(lambda: len(messages(here, asked)) == 2, says="two posts")
    await here.at_rest()
    assert [shown(m) for m in messages(here, asked)] == [ANSWER] * 2
    return asked


async def time_for_a_look(here: World) -> None:
    """Half a minute passes for those deliveries that are to be looked at again."""
    query = "UPDATE slack_outbox SET look_again_at = now() WHERE look_again_at IS NOT NULL"
    await here.connection.execute(query)


async def to_be_looked_at(here: World) -> int:
    return len(await here.rows("SELECT FROM slack_outbox WHERE look_again_at IS NOT NULL"))


async def test_a_doubled_post_is_deleted_when_it_is_found_and_counted(here: World):
    with capture_logs() as logged:
        async with here.app() as app:
            asked = await doubled(here)
            first, second = messages(here, asked)
            (row,) = await here.rows(
                "SELECT slack_ts, look_again_at - ended_at AS wait FROM slack_outbox"
            )
            assert (row["slack_ts"], row["wait"]) == (second.ts, doubles.AFTER)
            await time_for_a_look(here)
            await eventually(lambda: counted(app) == 1)
            await eventually(lambda: nothing_left(here))
            assert [m.ts for m in messages(here, asked)] == [first.ts]
            # what the answer became is known: what follows it hangs on that
            assert (await here.row("SELECT slack_ts FROM slack_outbox"))["slack_ts"] == first.ts
    (line,) = [one for one in logged if one["event"] == "delivery.doubled"]
    assert (line["log_level"], line["slack_ts"]) == ("warning", second.ts)


async def nothing_left(here: World) -> bool:
    return await to_be_looked_at(here) == 0


async def test_a_double_is_found_by_the_next_process_after_a_restart(here: World):
    async with here.app():
        asked = await doubled(here)
    await time_for_a_look(here)
    async with here.app() as app:
        await eventually(lambda: counted(app) == 1)
        assert len(messages(here, asked)) == 1


async def test_a_listing_that_is_still_late_is_asked_again(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doubles, "AFTER", timedelta(milliseconds=50))
    here.slack.fault("drop_after", method=POST)
    here.slack.fault("stale", method=LIST, seconds=600, times=4)
    async with here.app() as app:
        asked = await ask(here)
        await eventually(lambda: counted(app) == 1)
        await eventually(lambda: nothing_left(here))
    assert [shown(m) for m in messages(here, asked)] == [ANSWER]
    assert calls(here)[LIST] == 5


async def test_a_post_that_was_found_is_not_looked_at_again(here: World):
    here.slack.fault("drop_after", method=POST)
    async with here.app():
        asked = await ask(here)
        assert await here.answers(asked.channel, asked.ts, 1) == [ANSWER]
        assert await nothing_left(here)


async def test_where_nothing_was_doubled_the_later_look_changes_nothing(here: World):
    here.slack.fault("drop_before", method=POST)
    async with here.app() as app:
        asked = await ask(here)
        (post,) = await eventually(lambda: messages(here, asked))
        await here.at_rest()
        assert await to_be_looked_at(here) == 1
        await time_for_a_look(here)
        await eventually(lambda: nothing_left(here))
        assert counted(app) == 0
    assert [m.ts for m in messages(here, asked)] == [post.ts]
    assert (await here.row("SELECT slack_ts FROM slack_outbox"))["slack_ts"] == post.ts


async def test_a_post_that_takes_effect_after_all_is_taken_away(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """The other window: Slack takes its time, longer than anybody waits."""
    monkeypatch.setattr("bot.slack.CALL_SECONDS", 0.3)
    here.slack.fault("stall_before", method=POST, seconds=1.5)
    # a look that a busy machine makes late does not see it, either
    here.slack.fault("stale", method=LIST, seconds=600, times=2)
    async with here.app() as app:
        asked = await ask(here)
        await eventually(lambda: len(messages(here, asked)) == 2, says="both")
        await here.at_rest()
        await time_for_a_look(here)
        await eventually(lambda: counted(app) == 1)
        first, *more = messages(here, asked)
        assert (shown(first), more) == (ANSWER, [])


@pytest.mark.parametrize("error", ["missing_scope", "token_revoked"])
async def test_a_double_that_nobody_may_look_for_is_left_and_looked_for_no_more(
    here: World, error: str
):
    async with here.app() as app:
        asked = await doubled(here)
        here.slack.fault("api_error", method=LIST, error=error)
        await time_for_a_look(here)
        await eventually(lambda: nothing_left(here))
        assert counted(app) == 0
    assert len(messages(here, asked)) == 2


# ------------------------------------------------------------------ read-back once a minute


async def waiting(here: World) -> bool:
    rows = await here.rows(
        "SELECT FROM slack_outbox WHERE state = 'pending' AND not_before > now() + interval '55 s'"
    )
    return bool(rows)


async def a_minute(here: World) -> None:
    """A minute passes for what waits, and for the permits."""
    await here.connection.execute("UPDATE slack_outbox SET not_before = now() WHERE unclear")
    await here.connection.execute("DELETE FROM slack_budgets WHERE method = $1", LIST)


def status(here: World) -> str:
    last = [call for call in here.slack.calls if call.method == STATUS][-1]
    return str(last.args["status"])


@pytest.mark.parametrize("first", ["drop_before", "drop_after"])
async def test_where_read_back_is_limited_the_post_waits_for_it_and_the_status_says_so(
    here: World, first: str
):
    here.slack.fault("drop_after" if first == "drop_after" else "drop_before", method=POST)
    here.slack.fault("ratelimit", method=LIST, retry_after=60)
    async with here.app():
        asked = await ask(here)
        await eventually(lambda: waiting(here), says="the minute's wait")
        await eventually(lambda: status(here) == "processing", says="the status")
        seen = len(messages(here, asked))
        assert calls(here)[POST] == 1
        # the other threads go on
        other = await ask(here, "other")
        await eventually(lambda: len(messages(here, other)) == 1)
        assert (len(messages(here, asked)), calls(here)[LIST]) == (seen, 1)
        await a_minute(here)
        await eventually(lambda: len(messages(here, asked)) == 1)
        await here.at_rest()
        await eventually(lambda: status(here) == "active", says="the end of the wait")
    assert [shown(m) for m in messages(here, asked)] == [ANSWER]


async def test_with_one_look_a_minute_the_second_look_is_the_client_msg_id(dsn: str):
    """The first look shows nothing and no second one is to be had: Slack swallows what it knows."""
    async with world(dsn, honour_client_msg_id=True) as here:
        here.slack.fault("drop_after", method=POST)
        here.slack.fault("stale", method=LIST, seconds=600, times=1)
        here.slack.fault("ratelimit", method=LIST, retry_after=60, skip=1)
        async with here.app():
            asked = await ask(here)
            assert await here.answers(asked.channel, asked.ts, 1) == [ANSWER]
        assert (calls(here)[POST], calls(here)[LIST]) == (2, 2)
        assert await to_be_looked_at(here) == 1
