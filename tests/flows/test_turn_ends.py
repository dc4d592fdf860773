"""How turns end: each end is an answer or a plain sentence whose reference stands in the logs."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.local.model import Message
from router import notices
from router.clock import Backoff
from router.notices import Trouble
from router.runtime.client import Runtime
from router.runtime.local.brain import ERRORS, script
from router.runtime.local.faults import FaultKind
from router.turns import ending, finishing
from store import sessions
from tests.cases import few_of
from tests.harness import TIMING, World, shown
from tests.logs import real_logs
from tests.support import eventually

REFERENCE = re.compile(r"Reference: (\w+)")


async def ask(here: World, text: str) -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


async def follow_up(here: World, asked: Message, text: str) -> None:
    await here.slack.say("ada", asked.channel, text, thread_ts=asked.ts)


def reference_in(post: str) -> str:
    """The reference that a notice shows."""
    found = REFERENCE.search(post)
    assert found, post
    return found[1]


@pytest.mark.parametrize(
    ("word", "reason", "said"),
    [
        ("!refuse", "refusal", notices.words(Trouble.REFUSAL)),
        ("!budget", "budget_reached", notices.words(Trouble.BUDGET_REACHED)),
        (
            "!error exhausted unknown_error",
            "retries_exhausted",
            notices.words(Trouble.RETRIES_EXHAUSTED),
        ),
        ("!error terminal", "terminated", notices.words(Trouble.TERMINATED, anew=True)),
        (
            "!error terminal billing_error",
            "terminated",
            notices.words(Trouble.BILLING, anew=True),
        ),
    ],
)
async def test_an_end_in_trouble_is_said_with_a_reference_that_finds_it_in_the_logs(
    here: World, word: str, reason: str, said: str
):
    with capture_logs() as logged:
        async with here.app():
            asked = await ask(here, word)
            await here.answers(asked.channel, asked.ts, 1)
            (post,) = here.shown(asked.channel, asked.ts)
            await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    reference = reference_in(post)
    assert post == f"{said}\nReference: {reference}"
    told, ended = [entry for entry in logged if entry.get("reference") == reference]
    assert told["event"] == "trouble.told"
    assert (ended["event"], ended["reason"]) == ("turn.ended", reason)
    (turn,) = await here.turns()
    assert (turn["state"], turn["stop_reason"]) == ("failed", reason)


async def said_of(here: World, words: list[str]) -> dict[str, str]:
    """What is said about each, asked in threads of their own side by side."""
    asked = {word: await ask(here, word) for word in words}
    return {word: (await here.answers(m.channel, m.ts, 1))[0] for word, m in asked.items()}


async def test_what_the_runtime_gave_up_on_is_told_by_its_own_name(here: World):
    async with here.app():
        said = await said_of(here, [f"!error exhausted {kind}" for kind in ERRORS])
    assert len(set(said.values())) == len(ERRORS) == 15
    for kind in ERRORS.keys() - {"unknown_error"}:
        told = notices.words(Trouble(kind), server="linear" if kind.startswith("mcp_") else "")
        assert said[f"!error exhausted {kind}"] == told


# ------------------------------------------------------------------ the runtime says no

NO: list[tuple[FaultKind, Trouble]] = [
    ("unauthorized", Trouble.KEY_REFUSED),
    ("unpaid", Trouble.BILLING),
    ("forbidden", Trouble.KEY_FORBIDDEN),
    ("too_large", Trouble.TOO_LARGE),
    ("refused", Trouble.REFUSED),
]


async def test_a_refused_message_is_told_why_and_the_next_is_answered(here: World):
    async with here.app():
        asked = await ask(here, "one")
        await here.answers(asked.channel, asked.ts, 1)
        for n, (kind, trouble) in enumerate(NO, 2):
            here.runtime.fault(kind, route="events.send")
            await follow_up(here, asked, kind)
            posts = await here.answers(asked.channel, asked.ts, n)
            assert posts[-1] == notices.words(trouble)
        await follow_up(here, asked, "last")
        assert (await here.answers(asked.channel, asked.ts, n + 1))[-1] == 'You said: "last"'
    assert here.sent_texts() == ["one", "last"]


async def test_a_conversation_that_cannot_be_opened_is_told_why(here: World):
    async with here.app():
        for kind, trouble in NO:
            here.runtime.fault(kind, route="sessions.create")
            asked = await ask(here, kind)
            (post,) = await here.answers(asked.channel, asked.ts, 1)
            told = Trouble.NOT_STARTED if trouble is Trouble.REFUSED else trouble
            assert post == notices.words(told)
            await follow_up(here, asked, "again")
            assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'


async def test_a_wrong_key_is_the_admins_matter_in_the_middle_of_a_turn_too(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.runtime.feed._BACKOFF", Backoff(first=0.05, most=0.1))
    # words that were shown would stand as a message more
    monkeypatch.setattr("bot.previewing._START_AFTER_SECONDS", 60.0)
    # a listing in between would bring the answer
    async with here.app(timing=replace(TIMING, quiet=60.0)):
        here.runtime.hold()
        asked = await ask(here, "hello")
        await eventually(here.runtime.held)
        here.runtime.fault("unauthorized", route="events.stream", times=None)
        here.runtime.fault("cut_stream", event_type="agent.message")
        here.runtime.release()
        (post,) = await here.answers(asked.channel, asked.ts, 1)
    assert post == notices.words(Trouble.KEY_REFUSED)


@pytest.mark.parametrize("how", ["unknown", "archived"])
async def test_an_environment_that_is_gone_is_told_apart_from_the_agent(here: World, how: str):
    async with here.app(), console(here) as client:
        if how == "archived":
            (made,) = (await client._calls.beta.environments.list()).data
            await client._calls.beta.environments.archive(made.id)
        else:
            await here.connection.execute(
                "UPDATE deployed_agents SET anthropic_environment_id = 'env_no'"
            )
        asked = await ask(here, "hello")
        (post,) = await here.answers(asked.channel, asked.ts, 1)
    assert post == notices.words(Trouble.ENVIRONMENT_MISSING)


async def test_a_message_that_may_not_join_the_turn_is_told_why(here: World):
    await here.connection.execute("UPDATE deployed_agents SET settings = $1", {"busy": "steer"})
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "one")
        await eventually(here.runtime.held)
        here.runtime.fault("too_large", route="events.send")
        await follow_up(here, asked, "two")
        await eventually(lambda: here.bot_posts(asked.channel, asked.ts))
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts == [notices.words(Trouble.TOO_LARGE), 'You said: "one"']


_AWAY = (
    ("drop_before", Trouble.RUNTIME_AWAY),
    ("rate_limit", Trouble.RUNTIME_LIMITED),
    ("overloaded", Trouble.RUNTIME_OVERLOADED),
    ("server_error", Trouble.RUNTIME_BROKEN),
)


@pytest.mark.parametrize(
    ("route", "kind", "trouble"),
    # each trouble once, and either route
    few_of(
        [(route, *away) for route in ("sessions.create", "events.send") for away in _AWAY],
        [("sessions.create", *_AWAY[0]), *(("events.send", *away) for away in _AWAY[1:])],
    ),
)
async def test_a_message_that_waits_for_the_runtime_is_told_what_for(
    here: World, monkeypatch: pytest.MonkeyPatch, kind: FaultKind, trouble: Trouble, route: str
):
    monkeypatch.setattr(ending, "_RUNTIME_BACKOFF", Backoff(first=0.05, most=0.1))
    here.runtime.fault(kind, route=route, times=None)
    with capture_logs() as logged:
        async with here.app(timing=replace(TIMING, lease=1.6)):
            asked = await ask(here, "hello")
            await eventually(lambda: here.bot_posts(asked.channel, asked.ts))
            here.runtime.clear_faults()
            posts = await here.answers(asked.channel, asked.ts, 2)
            reference = reference_in(here.shown(asked.channel, asked.ts)[0])
    assert posts == [notices.words(trouble), 'You said: "hello"']
    events = {entry["event"] for entry in logged if entry.get("reference") == reference}
    assert events == {"trouble.told", "runtime.away"}


# ------------------------------------------------------------------ references


async def test_each_reference_that_a_person_is_shown_stands_in_the_logs(
    here: World, capfd: pytest.CaptureFixture[str]
):
    with real_logs():
        async with here.app():
            await here.connection.execute("UPDATE oauth_installs SET allow_guests = false")
            asked = await here.slack.say("ada", "general", "@threadline !custom")
            await here.answers(asked.channel, asked.ts, 2)
            await here.slack.say("ada", "general", "!error terminal", thread_ts=asked.ts)
            await here.answers(asked.channel, asked.ts, 3)
            await here.slack.say("connect", "shared", "@threadline hello")
            await here.slack.say("guest", "general", "@threadline hello")
            await eventually(lambda: len(here.slack.ephemerals) == 2)
            await archive_one(here)
            await here.slack.say("grace", "general", "@threadline two", thread_ts=asked.ts)
            await eventually(lambda: len(here.slack.ephemerals) == 3)
            await here.connection.execute("UPDATE deployed_agents SET status = 'paused'")
            paused = await ask(here, "three")
            await eventually(lambda: here.shown(paused.channel, paused.ts))
            posts = here.shown(asked.channel, asked.ts) + here.shown(paused.channel, paused.ts)
            private = [shown(e) for e in here.slack.ephemerals]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    (answer,) = [post for post in posts if "lookup_order failed" in post]
    referred = [reference_in(post) for post in [*posts, *private] if post != answer]
    assert len(referred) == 6
    for reference in referred:
        assert any((e["event"], e.get("reference")) == ("trouble.told", reference) for e in lines)


async def archive_one(here: World) -> None:
    """Archives the session of the thread that has been answered."""
    row = await here.row("SELECT session_id AS id FROM agent_turns WHERE number = 1")
    assert await sessions.request_archive(here.connection, here.agent_id, row["id"])
    query = "SELECT status FROM agent_sessions WHERE id = $1"
    await eventually(lambda: is_archived(here, query, row["id"]))


async def is_archived(here: World, query: str, session_id: Any) -> bool:
    return bool((await here.row(query, session_id))["status"] == "archived")


# ------------------------------------------------------------------ after an end


@pytest.mark.parametrize("word", ["!refuse", "!error", "!error terminal"])
async def test_after_trouble_the_thread_goes_on(here: World, word: str):
    async with here.app():
        asked = await ask(here, word)
        await here.answers(asked.channel, asked.ts, 1)
        await follow_up(here, asked, "again")
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'
    assert len(here.runtime.sessions()) == (2 if word.endswith("terminal") else 1)
    await here.session()


async def test_at_the_budgets_cap_each_message_is_told_so(here: World):
    async with here.app():
        asked = await ask(here, "!budget")
        await here.answers(asked.channel, asked.ts, 1)
        await follow_up(here, asked, "more")
        posts = await here.answers(asked.channel, asked.ts, 2)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    assert set(posts) == {notices.words(Trouble.BUDGET_REACHED)}


async def test_a_passing_error_of_the_runtime_is_waited_for(here: World):
    async with here.app():
        asked = await ask(here, "!error retrying")
        assert await here.answers(asked.channel, asked.ts, 1) == [
            "It worked at the second attempt."
        ]
    assert [t["state"] for t in await here.turns()] == ["completed"]


async def test_a_slow_answer_comes_whole(here: World):
    async with here.app():
        asked = await ask(here, "!slow 60")
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing")
        await eventually(lambda: here.runtime.streams() == 1)
        await eventually(lambda: moved_on(here, asked))
        (answer,) = await here.answers(asked.channel, asked.ts, 1)
    assert answer.count("This is sentence") == 12


async def moved_on(here: World, asked: Message) -> bool:
    """Moves the runtime's time on; True once the answer is there."""
    here.runtime.advance(10)
    return bool(here.bot_posts(asked.channel, asked.ts))


async def test_texts_around_a_tool_call_are_one_answer(here: World):
    async with here.app():
        asked = await ask(here, "!tool")
        (answer,) = await here.answers(asked.channel, asked.ts, 1)
    assert answer == "Let me use bash.\n\nbash is done, and this is what it gave."


async def test_a_long_answer_comes_in_parts_in_order_and_nothing_is_lost(here: World):
    async with here.app():
        asked = await ask(here, "!long 40")
        await eventually(lambda: "That is all." in "".join(here.shown(asked.channel, asked.ts)))
        await here.at_rest()
    (whole,) = [step.text for step in script(["!long 40"])]  # type: ignore[union-attr]  # an Answer
    parts = here.shown(asked.channel, asked.ts)
    assert len(parts) >= 4
    assert all(len(part) <= 12_000 for part in parts)
    joined = "\n".join(parts)
    for pattern in (
        r"^## Section \d+",
        r"^def section_\d+",
        r"^Paragraph \d+ has .*\]\(https://example\.com/\d+\)",
        r"^\| apples .*",
    ):
        found = re.findall(pattern, joined, re.MULTILINE)
        assert found == re.findall(pattern, whole, re.MULTILINE)
    (turn,) = await here.turns()
    sent = await here.rows("SELECT state, effect_key FROM slack_outbox ORDER BY position")
    expected = [f"reply:{turn['id']}:{n}" for n in range(len(parts))]
    assert [(s["state"], s["effect_key"]) for s in sent] == [("sent", e) for e in expected]


# ------------------------------------------------------------------ calls that nobody can make


async def test_a_custom_tool_that_nobody_serves_fails_and_the_thread_names_it(here: World):
    async with here.app():
        asked = await ask(here, "!custom")
        posts = await here.answers(asked.channel, asked.ts, 2)
        assert posts[0] == notices.words(Trouble.UNSERVED_TOOL, tool="lookup_order")
        assert "lookup_order failed: " in posts[1]
        await follow_up(here, asked, "and now?")
        assert (await here.answers(asked.channel, asked.ts, 3))[2] == 'You said: "and now?"'
    assert [t["state"] for t in await here.turns()] == ["completed", "completed"]


# ------------------------------------------------------------------ what the runtime threw away


@asynccontextmanager
async def console(here: World) -> AsyncIterator[Runtime]:
    """Somebody else who speaks to the runtime's sessions."""
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1)
    try:
        yield client
    finally:
        await client.close()


def foreign(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


async def flush_one(here: World, client: Runtime, asked: Message, session_id: str) -> None:
    """Our next message is queued behind a turn from elsewhere, which breaks off."""
    here.runtime.hold(session_id)
    await client.send(session_id, [foreign("!error")])
    await eventually(here.runtime.held)
    sent = len(here.runtime.received(session_id))
    await follow_up(here, asked, "keep me")
    # not when the request comes in: it is read first, and the turn could break off meanwhile
    await eventually(lambda: len(here.runtime.received(session_id)) > sent)
    here.runtime.release(session_id)


async def test_a_message_that_the_runtime_threw_away_is_sent_again(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(finishing, "_AFTER_FLUSH_SECONDS", 0.05)
    async with here.app(), console(here) as client:
        asked = await ask(here, "one")
        await here.answers(asked.channel, asked.ts, 1)
        (session,) = here.runtime.sessions()
        await flush_one(here, client, asked, session["id"])
        posts = await here.answers(asked.channel, asked.ts, 3)
    assert posts[1:] == [
        notices.words(Trouble.RETRYING),
        'You said: "keep me"',
    ]
    assert here.sent_texts() == ["one", "!error", "keep me", "keep me"]
    flushes = await here.rows("SELECT flushes, state FROM session_inputs ORDER BY order_key")
    assert [(f["flushes"], f["state"]) for f in flushes] == [(0, "done"), (1, "done")]
