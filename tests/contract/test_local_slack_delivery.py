"""Retries, signatures, redelivery and what survives a restart of the local Slack."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from bot.local import LocalSlack, SlackError
from bot.local.deliver import DELIVERY_SECONDS
from tests.contract.slack_receiver import Receiver, receiving
from tests.support import eventually


@pytest.fixture
async def receiver(slack: LocalSlack) -> AsyncIterator[Receiver]:
    async with receiving(slack) as app:
        yield app


def _failing(times: int) -> list[web.Response]:
    return [web.Response(status=503) for _ in range(times)]


async def _one_more(receiver: Receiver, before: int) -> None:
    await eventually(lambda: len(receiver.requests) == before + 1)


async def test_three_retries_at_once_after_a_minute_and_after_five(
    slack: LocalSlack, receiver: Receiver
):
    receiver.refuse = _failing(9)
    await slack.say("ada", slack.dm("ada"), "hi")
    await slack.settle()
    assert [request.retry for request in receiver.requests] == [(None, None), ("1", "http_error")]
    slack.advance(59)
    await slack.settle()
    assert len(receiver.requests) == 2
    slack.advance(2)
    await eventually(lambda: len(receiver.requests) == 3)
    await slack.settle()
    slack.advance(301)
    await eventually(lambda: len(receiver.requests) == 4)
    await slack.settle()
    slack.advance(100_000)
    await slack.settle()
    assert [request.retry[0] for request in receiver.requests] == [None, "1", "2", "3"]
    assert len({request.body["event_id"] for request in receiver.requests}) == 1
    assert [delivery.status for delivery in slack.deliveries] == [503] * 4
    assert all(delivery.ms > 0 for delivery in slack.deliveries)


async def test_a_retry_that_is_taken_is_the_last(slack: LocalSlack, receiver: Receiver):
    receiver.refuse = _failing(1)
    await slack.say("ada", slack.dm("ada"), "hi")
    await slack.settle()
    slack.advance(1_000)
    await slack.settle()
    assert [request.status for request in receiver.requests] == [503, 200]
    await eventually(lambda: len(receiver.heard) == 1)


async def test_no_retry_header_ends_it(slack: LocalSlack, receiver: Receiver):
    receiver.refuse = [web.Response(status=500, headers={"x-slack-no-retry": "1"})]
    await slack.say("ada", slack.dm("ada"), "hi")
    await slack.settle()
    assert len(receiver.requests) == 1


async def test_delayed_events_come_hourly(slack: LocalSlack, receiver: Receiver):
    slack.workspace.courier.delayed_events = True
    receiver.refuse = _failing(5)
    await slack.say("ada", slack.dm("ada"), "hi")
    for seconds in (60, 300, 3_600, 3_600):
        await slack.settle()
        before = len(receiver.requests)
        slack.advance(seconds)
        await _one_more(receiver, before)
    await slack.settle()
    assert [request.status for request in receiver.requests] == [503] * 5 + [200]


async def test_timeouts_and_a_missing_listener_have_their_reasons(
    slack: LocalSlack, receiver: Receiver
):
    receiver.stalled = asyncio.Event()
    await slack.say("ada", slack.dm("ada"), "hi")
    await eventually(lambda: slack.deliveries)
    receiver.stalled.set()
    await slack.settle()
    slack.request_url = "http://127.0.0.1:9/"
    await slack.say("ada", slack.dm("ada"), "hi")
    await slack.settle()
    failures = [delivery.failure for delivery in slack.deliveries]
    assert failures == ["http_timeout", None, "connection_failed", "connection_failed"]
    assert slack.deliveries[1].retry_reason == "http_timeout"
    assert slack.deliveries[0].ms > DELIVERY_SECONDS * 990


async def test_events_wait_for_the_request_url(slack: LocalSlack):
    await slack.say("ada", slack.dm("ada"), "early")
    await slack.settle()
    assert slack.deliveries == []
    async with receiving(slack) as receiver:
        await slack.settle()
        assert [request.event["text"] for request in receiver.requests] == ["early"]


async def test_signature_is_checked_by_bolt(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", slack.dm("ada"), "hi", deliver=False)
    [envelope] = slack.envelopes(said.ts)
    body = json.dumps(envelope)
    cases = [
        (slack.sign(body), 200),
        (slack.sign(body + " "), 401),
        (slack.sign(body, timestamp=1_600_000_000), 401),
    ]
    async with ClientSession() as session:
        for headers, status in cases:
            async with session.post(receiver.url, data=body, headers=headers) as response:
                assert response.status == status


async def test_url_verification(slack: LocalSlack, receiver: Receiver):
    assert await slack.verify_request_url()
    receiver.refuse = [web.Response(text="no challenge here")]
    assert not await slack.verify_request_url()


async def test_envelopes_can_be_sent_by_hand_in_any_order(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", "general", "@threadline hi", deliver=False)
    await slack.settle()
    assert receiver.requests == []
    message, mention = slack.envelopes(said.ts)
    assert await slack.deliver(mention) == 200
    assert await slack.deliver(message, retry_num=1) == 200
    assert receiver.kinds == ["app_mention", "message"]
    assert receiver.requests[1].retry == ("1", "http_timeout")


async def test_redelivery_keeps_the_event_id(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", slack.dm("ada"), "hi")
    await slack.settle()
    await slack.redeliver(said.ts, times=2)
    await slack.settle()
    assert len({request.body["event_id"] for request in receiver.requests}) == 1
    assert sorted(request.retry[0] or "0" for request in receiver.requests) == ["0", "1", "2"]
    with pytest.raises(SlackError, match="event_not_found"):
        await slack.redeliver("Ev0", times=1)


async def test_duplicate_and_reorder_faults(slack: LocalSlack, receiver: Receiver):
    slack.fault("duplicate")
    await slack.say("ada", slack.dm("ada"), "twice")
    await slack.settle()
    assert len(receiver.requests) == 2
    slack.fault("reorder", seconds=5)
    await slack.say("ada", slack.dm("ada"), "late")
    await slack.say("ada", slack.dm("ada"), "early")
    await slack.settle()
    slack.advance(5)
    await eventually(lambda: len(receiver.requests) == 4)
    assert [request.event["text"] for request in receiver.requests[2:]] == ["early", "late"]


async def test_a_restart_finds_everything_and_delivers_what_was_owed(tmp_path: Path):
    data = tmp_path / "slack state" / "slack.sqlite"
    async with LocalSlack(data=data, clock="virtual") as slack:
        secrets = (slack.bot_token, slack.signing_secret)
        zoe = slack.add_user("zoe")
        lab = slack.add_channel("lab", ["zoe", "ada"])
        root = await slack.say("zoe", "lab", "root")
        reply = await slack.say("ada", "lab", "reply", thread_ts=root.ts)
        slack.fault("deactivate_account")
    async with LocalSlack(data=data) as slack:
        assert (slack.bot_token, slack.signing_secret) == secrets
        assert (slack.users["zoe"], slack.channels["lab"]) == (zoe, lab)
        assert slack.replies("lab", root.ts) == [root, reply]
        assert slack.workspace.token_error == "account_inactive"
        slack.fault("restore_token")
        async with receiving(slack) as receiver:
            await slack.settle()
            assert sorted(request.event["ts"] for request in receiver.requests) == [
                root.ts,
                reply.ts,
            ]
            later = await slack.say("zoe", "lab", "later")
            assert later.ts > reply.ts
            await slack.settle()
    async with LocalSlack(data=data) as slack, receiving(slack) as receiver:
        await slack.settle()
        assert receiver.requests == []


_DOOMED = """
import asyncio, os, signal, sys
from bot.local import LocalSlack

async def main():
    async with LocalSlack(data=sys.argv[1]) as slack:
        said = await slack.say("ada", "general", "last words")
        print(slack.bot_token, said.ts, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_killed_server_has_lost_nothing(tmp_path: Path):
    data = tmp_path / "slack.sqlite"
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _DOOMED, str(data), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await doomed.communicate()
    token, ts = output.decode().split()
    assert doomed.returncode == -signal.SIGKILL
    async with LocalSlack(data=data) as slack, receiving(slack) as receiver:
        assert slack.bot_token == token
        assert [message.text for message in slack.replies("general", ts)] == ["last words"]
        await slack.settle()
        assert [request.event["ts"] for request in receiver.requests] == [ts]


async def test_a_given_secret_replaces_the_stored_one(tmp_path: Path):
    data = tmp_path / "slack.sqlite"
    async with LocalSlack(data=data) as slack:
        assert slack.signing_secret
    async with LocalSlack(data=data, signing_secret="chosen") as slack:
        assert slack.signing_secret == "chosen"
    async with LocalSlack(data=data) as slack:
        assert slack.signing_secret == "chosen"


async def test_a_taken_port_is_an_os_error(slack: LocalSlack):
    port = int(slack.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        async with LocalSlack(port=port):
            pass
