"""Events over Socket Mode: the same promises as over HTTP, without an address of our own."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import structlog

from bot import socket
from bot.doctor import Finding, examine
from router.errors import ConfigurationError
from tests.harness import World, world
from tests.support import eventually


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[World]:
    async with world(dsn, socket_mode=True) as made:
        yield made


def over_a_socket(here: World):
    return here.app(slack_app_token=here.slack.app_token, slack_signing_secret=None)


def tries(here: World, ts: str) -> list[tuple[int, int | None]]:
    return [(d.status, d.retry_num) for d in here.slack.deliveries if d.ts == ts]


async def test_messages_are_answered_and_http_takes_no_events(here: World):
    async with over_a_socket(here) as app:
        asked = await here.slack.say("ada", "general", "@threadline hello")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
        await here.slack.say("grace", "general", "!echo again", thread_ts=asked.ts)
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == "again"
        async with aiohttp.ClientSession() as http:
            signed = here.slack.sign("{}")
            async with http.post(f"{app.url}/slack/events", data="{}", headers=signed) as refused:
                assert refused.status == 404
    await eventually(lambda: here.slack.connections == 0)


async def test_a_first_delivery_is_no_retry_and_a_second_is(here: World):
    with structlog.testing.capture_logs() as logs:
        async with over_a_socket(here):
            asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
            await here.answers(asked.channel, asked.ts, 1)
            await here.slack.redeliver(asked.ts)
            await here.answers(asked.channel, asked.ts, 1)
    seen = [(x["outcome"], x["retry"]) for x in logs if x["event"].startswith("event.")]
    assert seen == [("accepted", None), ("duplicate", "1")]


async def test_what_is_not_committed_is_not_acknowledged_and_comes_again(here: World):
    async with over_a_socket(here):
        await eventually(lambda: here.slack.connections)
        await here.connection.execute("ALTER TABLE slack_threads RENAME TO away")
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await eventually(lambda: tries(here, asked.ts))
        await here.connection.execute("ALTER TABLE away RENAME TO slack_threads")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert tries(here, asked.ts)[0] == (0, None)
    assert tries(here, asked.ts)[-1][0] == 200
    assert here.sent_texts() == ["hello"]


async def test_no_message_is_lost_while_slack_asks_for_new_connections(here: World):
    async with over_a_socket(here):
        await eventually(lambda: here.slack.connections)
        asked = []
        for n in range(12):
            if n % 4 == 1:
                await here.slack.refresh_connections()
            asked.append(await here.slack.say("ada", here.slack.dm("ada"), f"!echo {n}"))
        for n, one in enumerate(asked):
            assert await here.answers(one.channel, one.ts, 1) == [str(n)]
    assert sorted(here.sent_texts()) == sorted(f"!echo {n}" for n in range(12))


async def test_a_connection_that_is_cut_is_made_anew_and_nothing_is_lost(dsn: str):
    async with world(dsn, socket_mode=True, clock="virtual", retry_delays=(60.0,)) as here:
        async with over_a_socket(here):
            await eventually(lambda: here.slack.connections)
            connections = here.slack.workspace.sockets._connections
            (cut,) = connections
            here.slack.fault("drop_sockets")
            await eventually(lambda: cut not in connections)  # there may be a new one already
            asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
            # what is still under way would be tried again a minute after the one that is played
            await eventually(lambda: tries(here, asked.ts))
            await eventually(lambda: here.slack.connections)
            here.slack.advance(60)
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
        assert here.sent_texts() == ["hello"]


async def test_a_client_that_cannot_connect_any_more_is_replaced(
    dsn: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(socket, "_DEAD_SECONDS", 0.1)
    monkeypatch.setattr(socket, "_WATCH_SECONDS", 0.05)
    # Slack goes on until there is a client again, and one that has just connected may be replaced.
    delays = (0.1,) * 300
    with structlog.testing.capture_logs() as logs:
        async with world(dsn, socket_mode=True, retry_delays=delays) as here, over_a_socket(here):
            await eventually(lambda: here.slack.connections)
            here.slack.socket_mode = False
            await eventually(lambda: [x for x in logs if x["event"] == "socket.replaced"])
            here.slack.socket_mode = True
            asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']


async def test_two_processes_share_the_events(here: World):
    async with over_a_socket(here), over_a_socket(here):
        await eventually(lambda: here.slack.connections == 2)
        asked = [await here.slack.say("ada", here.slack.dm("ada"), f"!echo {n}") for n in range(8)]
        for n, one in enumerate(asked):
            assert await here.answers(one.channel, one.ts, 1) == [str(n)]


async def test_a_process_that_stops_leaves_what_it_did_not_accept_to_the_next(dsn: str):
    async with world(dsn, socket_mode=True, clock="virtual", retry_delays=(60.0,)) as here:
        async with over_a_socket(here):
            await eventually(lambda: here.slack.connections)
            asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await eventually(lambda: tries(here, asked.ts))
        async with over_a_socket(here):
            await eventually(lambda: here.slack.connections)
            here.slack.advance(60)
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
        assert here.sent_texts() == ["hello"]


async def test_a_wrong_token_is_said_clearly_at_the_start(here: World):
    with pytest.raises(ConfigurationError, match=r"SLACK_APP_TOKEN \(invalid_auth\).*connections:"):
        async with here.app(slack_app_token="xapp-1-wrong"):
            pytest.fail("it must not start")


async def test_neither_token_nor_secret_is_said_too(here: World):
    with pytest.raises(ConfigurationError, match=r"SLACK_SIGNING_SECRET.*SLACK_APP_TOKEN"):
        async with here.app(slack_signing_secret=None):
            pytest.fail("it must not start")


async def finding(here: World, token: str) -> Finding:
    settings = here.settings(slack_app_token=token, slack_signing_secret=None)
    return (await examine(settings, None))[0]


async def test_the_doctor_looks_at_the_app_token(here: World):
    good = await finding(here, here.slack.app_token)
    assert (good.check, good.state) == ("app token", "ok")
    bad = await finding(here, here.slack.bot_token)
    assert (bad.state, bad.says) == ("failed", "apps.connections.open: not_allowed_token_type")
    assert "connections:write" in bad.mend
