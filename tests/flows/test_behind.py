"""What the page of a demo looks at behind the bot, and what people order there to watch it recover."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot import behind as behind_module, orders, understudy
from bot.behind import Behind, LocalView, RealView, View
from bot.local import Message, seed
from bot.local.page import behind as page
from bot.replicas import Replicas
from router.errors import ConfigurationError, RuntimeUnclear
from router.runtime.budget import Budget
from router.runtime.client import Runtime
from store import database
from tests.chaos.processes import API_KEY
from tests.flows.people import awaits_people
from tests.flows.streams import words_come
from tests.harness import World
from tests.support import eventually

_INGRESS = frozenset({"ingress"})
# The keys of the harness, as a process is told of them.
_KEYS = f"test:{base64.b64encode(b'k' * 32).decode()}"
_LEASE = 2.0


@asynccontextmanager
async def looking(
    here: World, *, view: View | None = None, replicas: Replicas | None = None
) -> AsyncIterator[Behind]:
    """What a demo lends to its page, over this world."""
    pool = await database.open_pool(here.dsn, size=2)
    found = orders.of_runtime(here.runtime)
    if replicas is not None:
        found += orders.of_replicas(replicas, _LEASE)
    made = Behind(
        pool, seed.APP_ID, view or LocalView(here.runtime), replicas=replicas, orders=found
    )
    lent: page.Behind = made
    try:
        yield made
    finally:
        del lent
        await pool.close()


async def seen(looked: Behind, asked: Message) -> dict[str, Any]:
    """What is behind a thread, as the page gets it; fails while that is nothing."""
    found = await looked.of(asked.channel, asked.ts)
    assert found is not None
    again: dict[str, Any] = json.loads(json.dumps(found))
    return again


# ------------------------------------------------------------------ rows and events


async def test_a_thread_that_waits_for_an_approval_is_shown_with_its_rows_and_events(here: World):
    async with here.app(), looking(here) as looked:
        assert await looked.of("C0GENERAL", "1.0") is None
        asked = await here.slack.say("ada", "general", "@threadline !ask bash")
        await eventually(lambda: seen(looked, asked))
        await awaits_people(here)
        shown = await seen(looked, asked)
        assert (shown["channel"], shown["thread_ts"]) == (asked.channel, asked.ts)
        assert (shown["agent"], shown["session"]["status"]) == ("demo", "running")
        (turn,) = shown["turns"]
        assert (turn["number"], turn["state"]) == (1, "awaiting_human")
        (message,) = shown["inputs"]
        assert (message["kind"], message["state"], message["turn_id"]) == (
            *("message", "sent"),
            turn["id"],
        )
        assert "!ask bash" in message["body"]["text"]
        (approval,) = shown["approvals"]
        assert (approval["tool"], approval["state"]) == ("bash", "pending")
        assert approval["arguments"] == {"command": "ls -l /workspace"}
        assert [(d["kind"], d["state"]) for d in shown["outbox"]][-1] == ("card", "sent")

        runtime = shown["runtime"]
        assert runtime["session_id"] == shown["session"]["anthropic_session_id"]
        assert runtime["status"] == "idle"
        events = {event["id"]: event for event in runtime["events"]}
        assert events[approval["runtime_event_id"]]["type"] == "agent.tool_use"
        assert events[message["runtime_event_id"]]["type"] == "user.message"
        times = [event["processed_at"] for event in runtime["events"]]
        assert times == sorted(times)
        assert turn["started_at"] < approval["asked_at"]


async def test_what_people_decided_is_shown(here: World):
    async with here.app(), looking(here) as looked:
        asked = await here.slack.say("ada", "general", "@threadline !ask bash")
        await eventually(lambda: seen(looked, asked))
        await awaits_people(here)
        ((card, label), *_) = here.buttons(asked.channel, asked.ts)
        assert label == "Approve"
        await here.click("ada", card, label)
        await here.at_rest()
        shown = await seen(looked, asked)
        assert [t["state"] for t in shown["turns"]] == ["completed"]
        assert [(i["kind"], i["state"]) for i in shown["inputs"]] == [
            ("message", "done"),
            ("decision", "done"),
        ]
        (approval,) = shown["approvals"]
        assert (approval["state"], approval["decided_by"]["user"]) == ("confirmed", "U0ADA")


async def test_a_question_of_the_agent_is_shown(here: World):
    async with here.app(), looking(here) as looked:
        asked = await here.slack.say("ada", "general", "@threadline !escalate Which day? | Mo | Tu")
        await eventually(lambda: seen(looked, asked))
        await awaits_people(here)
        (question,) = (await seen(looked, asked))["escalations"]
    assert (question["question"], question["choices"]) == ("Which day?", ["Mo", "Tu"])


async def test_what_was_withdrawn_before_its_turn_is_shown_for_a_while(here: World):
    async with here.app(), looking(here) as looked:
        here.runtime.hold()
        asked = await here.slack.say("grace", "random", "@threadline one")
        await eventually(here.runtime.held)
        more = await here.slack.say("grace", "random", "two", thread_ts=asked.ts)

        async def states() -> list[str]:
            return [i["state"] for i in (await seen(looked, asked))["inputs"]]

        async def are(*expected: str) -> bool:
            return await states() == list(expected)

        await eventually(lambda: are("sent", "queued"))
        await here.slack.delete(more.channel, more.ts)
        await eventually(lambda: are("sent", "withdrawn"))
        here.runtime.release()


async def test_nothing_secret_is_shown(here: World):
    async with here.app(), looking(here) as looked:
        here.runtime.hold()
        asked = await here.slack.say(
            "ada", "general", "@threadline my key is sk-ant-api03-not-to-be-shown !ask secret"
        )
        await eventually(here.runtime.held)
        during = await seen(looked, asked)
        here.runtime.release()
        await awaits_people(here)
        after = await seen(looked, asked)
    texts = [json.dumps(during), json.dumps(after)]
    for secret in (
        *("sk-ant-api03-not-to-be-shown", "EXAMPLE", "lease_epoch", "claim_epoch"),
        *(here.slack.bot_token, here.slack.signing_secret),
    ):
        assert not [text for text in texts if secret in text], secret
    # The machine and the process, without what tells namesakes apart.
    owner, _, pid = during["session"]["lease_owner"].partition(":")
    assert (owner, pid.isdigit()) == (socket.gethostname(), True)


async def test_long_bodies_are_cut(here: World):
    long, longer = "word " * 1_000, "word " * 5_000
    async with here.app(), looking(here) as looked:
        asked = await here.slack.say("ada", "general", f"@threadline !long 30 {long}")
        await here.at_rest()
        await here.slack.say("ada", "general", f"!echo {longer}", thread_ts=asked.ts)
        await eventually(lambda: here.rows("SELECT 1 FROM session_inputs OFFSET 1"))
        await here.at_rest()
        shown = await seen(looked, asked)
    first, second = (message["body"] for message in shown["inputs"])
    assert len(first) == 2_000
    assert first.endswith("…")
    assert second.startswith("(25,")
    assert len(shown["outbox"]) > 2
    bodies = [delivery["body"] for delivery in shown["outbox"]]
    assert max(len(b if isinstance(b, str) else json.dumps(b)) for b in bodies) == 2_000
    said = [e["content"][0]["text"] for e in shown["runtime"]["events"] if "content" in e]
    assert max(map(len, said)) == 2_000


async def test_of_a_real_runtime_the_same_is_shown_at_a_measured_pace(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(behind_module, "_READ_AGAIN_SECONDS", 3600.0)
    pool = await database.open_pool(here.dsn, size=2)
    budget = Budget(pool, api_key="local", base_url=here.runtime.url)
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1, budget=budget)
    try:
        async with here.app(), looking(here, view=RealView(client)) as looked:
            asked = await here.slack.say("ada", "general", "@threadline hello")
            await here.at_rest()
            await here.slack.settle()
            before = here.runtime.requests("events.list")
            two = await asyncio.gather(seen(looked, asked), seen(looked, asked))
            assert here.runtime.requests("events.list") == before + 1
            shown = next(one["runtime"] for one in two if one["runtime"])
            async with looking(here) as local:
                same = (await seen(local, asked))["runtime"]
            assert (shown["status"], shown["usage"]["output_tokens"]) == (
                *("idle",),
                same["usage"]["output_tokens"],
            )
            assert [e["id"] for e in shown["events"]] == [e["id"] for e in same["events"]]
            reads = here.runtime.requests("events.list")
            assert (await seen(looked, asked))["runtime"] == shown
            assert here.runtime.requests("events.list") == reads
            monkeypatch.setattr(behind_module, "_READ_AGAIN_SECONDS", 0.0)
            here.runtime.fault("unavailable", route="sessions.retrieve")
            away = (await seen(looked, asked))["runtime"]
            assert away == shown | {"status": "not known"}
            assert (await seen(looked, asked))["runtime"] == shown
    finally:
        await client.close()
        await pool.close()


# ------------------------------------------------------------------ orders


@pytest.mark.parametrize(
    "kind",
    [
        *("cut_runtime", "lag_runtime", "overload_runtime"),
        *("lose_answer", "muddle_runtime", "hold_runtime"),
    ],
)
async def test_whatever_is_ordered_of_the_runtime_strikes_and_no_answer_is_lost_or_doubled(
    here: World, kind: str
):
    async with here.app(), looking(here) as looked:
        asked = await here.slack.say("ada", "general", "@threadline !slow 1.5")
        await eventually(
            lambda: here.bot_posts(asked.channel, asked.ts), says="an answer that grows"
        )
        ordered = [one for one in looked.orders if one["kind"] == kind]
        assert [sorted(one) for one in ordered] == [["help", "kind", "label"]]
        struck = has_struck(here, kind)
        assert await looked.order(kind)
        await here.slack.say("ada", "general", "and more", thread_ts=asked.ts)
        await eventually(struck, 40, f"{kind} to strike")
        assert await looked.order("restore_runtime")
        assert here.runtime.state()["faults"] == []
        answers = await here.answers(asked.channel, asked.ts, 2, timeout=30)
    assert "sentence 12" in answers[0]
    assert answers[1] == 'You said: "and more"'
    assert here.sent_texts() == ["!slow 1.5", "and more"]


def has_struck(here: World, kind: str) -> Callable[[], bool]:
    """Tells whether what is ordered now has happened to somebody."""
    sends, streams = (here.runtime.requests(f"events.{what}") for what in ("send", "stream"))

    def hit() -> bool:
        match kind:
            case "hold_runtime":
                return bool(here.runtime.held())
            case "lose_answer":
                return here.runtime.requests("events.send") > sends
            case "cut_runtime":  # without a stream is a moment that may pass between two looks
                opened = here.runtime.requests("events.stream") > streams
                return (opened or here.runtime.streams() == 0) and all_hit()
            case _:
                return all_hit()

    def all_hit() -> bool:
        faults = here.runtime.state()["faults"]
        return bool(faults) and all(fault["hits"] for fault in faults)

    return hit


async def test_a_fault_that_lasts_is_over_by_itself(here: World):
    fault = here.runtime.fault("unavailable", times=None, lasts=10)
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1)
    try:
        with pytest.raises(RuntimeUnclear):
            await client.check_key()
        here.runtime.advance(10)
        await client.check_key()
    finally:
        await client.close()
    assert fault.hits == 1
    assert here.runtime.state()["faults"] == []


# ------------------------------------------------------------------ the process that works


@asynccontextmanager
async def apart(here: World, folder: Path) -> AsyncIterator[Replicas]:
    """This process takes events in, another one works: what a demo is made of."""
    settings = here.settings(
        anthropic_api_key=API_KEY,
        threadline_encryption_keys=_KEYS,
        threadline_lease_seconds=_LEASE,
        threadline_sweep_seconds=0.2,
        log_level="WARNING",
    )
    replicas = Replicas()
    order = understudy.order_of(settings, here.dsn, folder)
    async with replicas.working(order), here.app(roles=_INGRESS):
        yield replicas
    assert replicas.pid is None


async def holder(looked: Behind, asked: Message) -> int:
    """The process that holds the thread's session; 0 while nobody does."""
    owner = (await seen(looked, asked))["session"]["lease_owner"]
    return int(owner.rpartition(":")[2]) if owner else 0


@pytest.mark.timeout(180)  # two processes start, one after the other
async def test_the_answer_of_a_killed_worker_comes_once_from_the_next(here: World, tmp_path: Path):
    async with apart(here, tmp_path) as replicas, looking(here, replicas=replicas) as looked:
        first, pace = replicas.pid, here.runtime.world.pace
        pace.set_rate(0)  # until the next process has it, however long that takes to start
        asked = await here.slack.say("ada", "general", "@threadline !slow 24")
        await words_come(here, 1)
        await eventually(lambda: here.bot_posts(asked.channel, asked.ts), 40, "the answer to grow")
        assert await holder(looked, asked) == first
        says = await looked.order("kill_worker")
        second = replicas.pid
        assert f"Killed process {first}. Process {second} takes over" in says

        async def taken_over() -> bool:
            return await holder(looked, asked) == second

        await eventually(taken_over, 60, "the next process to hold the session")
        pace.set_rate(100)
        (answer,) = await here.answers(asked.channel, asked.ts, 1, timeout=30)
        assert "sentence 12" in answer
        shown = (await seen(looked, asked))["replicas"]
        assert [(r["pid"] == second, r["state"]) for r in shown[1:]] == [
            (False, "killed"),
            (True, "working"),
        ]
        assert here.sent_texts() == ["!slow 24"]


async def test_the_worker_is_told_its_secrets_where_nobody_else_can_read_them(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    secrets = {
        "ANTHROPIC_API_KEY": API_KEY,
        "SLACK_BOT_TOKEN": here.slack.bot_token,
        "SLACK_SIGNING_SECRET": here.slack.signing_secret,
        "THREADLINE_ENCRYPTION_KEYS": _KEYS,
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    async with apart(here, tmp_path) as replicas:
        files = [Path(f"/proc/{replicas.pid}/{name}") for name in ("cmdline", "environ")]
        if not files[0].exists():
            pytest.skip("this system does not show other processes' arguments in /proc")
        await eventually(lambda: replicas.rows()[-1]["state"] == "working", 60, "a worker")
        open_to_others = b"\0".join(file.read_bytes() for file in files)
    assert b"bot.understudy" in open_to_others
    for name, value in secrets.items():
        assert value.encode() not in open_to_others, name


async def test_a_worker_that_cannot_begin_says_so(
    here: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    settings = here.settings(slack_bot_token="xoxb-not-ours", threadline_encryption_keys=_KEYS)
    replicas = Replicas()
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigurationError, match="ended with code 2")):
        async with replicas.working(understudy.order_of(settings, here.dsn, tmp_path)):
            await asyncio.Event().wait()
    told = capfd.readouterr().err
    assert "Slack does not accept SLACK_BOT_TOKEN" in told
    assert "Traceback" not in told
