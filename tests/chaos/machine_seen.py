"""What there is to see at the end: at the runtime, in Slack, and of what was left over."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bot.local.interactive import pressable
from bot.local.model import Json
from router.runtime.local import brain
from tests.chaos import model
from tests.chaos.model import TOKEN, Answered, Post, Received, Seen, Thread, Turn
from tests.chaos.model_decisions import CARD, Asked, Confirmation, Tried
from tests.harness import World, shown

_MARK = re.compile(r'\A<input id="([0-9a-f-]{36})')

# What is not over: a delivery that failed for good, a message, a turn, a call that people decide on.
LEFT = """
SELECT 'delivery' AS what, effect_key AS which, state, error AS why FROM slack_outbox
WHERE state <> 'sent'
UNION ALL
SELECT 'input', dedupe_key, state, NULL FROM session_inputs
WHERE state NOT IN ('done', 'withdrawn')
  AND NOT (kind IN ('interrupt', 'decision') AND state = 'refused')
UNION ALL
SELECT 'turn', id::text, state, stop_reason FROM agent_turns
WHERE state NOT IN ('completed', 'interrupted')
UNION ALL
SELECT 'approval', id::text, state, NULL FROM agent_approvals
WHERE state NOT IN ('confirmed', 'void', 'closed')
"""


async def complaints(here: World, threads: Sequence[Thread], tried: Sequence[Tried]) -> list[str]:
    """What breaks a promise, after everything has come to rest."""
    answered, seen = _answered(here), await _seen(here, threads)
    found = [
        complaint
        for thread in threads
        for complaint in model.complaints(thread, seen[thread.root_ts], answered, tried)
    ]
    return found + [f"left over: {row}" for row in await here.rows(LEFT)]


def _answered(here: World) -> Answered:
    first: Answered = {}
    for delivery in here.slack.deliveries:
        if delivery.ok:
            for key in _tells(here.slack.envelopes(delivery.event_id)[0]):
                first.setdefault(key, delivery.at + delivery.ms / 1000)
    return first


def _tells(envelope: Json) -> Iterator[str]:
    """What an event tells, by the keys of `Answered`."""
    event = envelope["event"]
    if event.get("subtype") == "message_deleted":
        yield f"{event['deleted_ts']} deleted"
    edited = event.get("subtype") == "message_changed"
    words = event["message"].get("text") if edited else event.get("text")
    # The mention that is fired again for an edit may be older than the edit it comes with.
    known = edited or not event.get("edited")
    yield from TOKEN.findall(words or "") if known else ()
    yield envelope["event_id"]


async def _seen(here: World, threads: Sequence[Thread]) -> dict[str, Seen]:
    rows = {str(row["id"]): row for row in await here.rows(_INPUTS)}
    sessions: dict[str, list[Json]] = {}
    for session in here.runtime.sessions():
        ours = session["metadata"].get("threadline_session_id")
        sessions.setdefault(str(ours), []).append(session)
    known = await here.rows("SELECT id, slack_thread_ts FROM agent_sessions")
    by_root = {row["slack_thread_ts"]: str(row["id"]) for row in known}
    asked = await here.rows(_ASKED)
    told = {row["slack_thread_ts"]: row["count"] for row in await here.rows(_TOLD_TO_WAIT)}
    seen = {}
    for thread in threads:
        root = thread.root_ts
        one = _thread(here, thread, sessions.get(by_root.get(root, ""), []), rows)
        mine = tuple(_asked(here, thread, row) for row in asked if row["slack_thread_ts"] == root)
        seen[root] = replace(one, asked=mine, told_to_wait=told.get(root, 0))
    return seen


_INPUTS = """
SELECT i.id, i.kind, i.turn_id, i.body ->> 'turn' AS names,
       extract(epoch FROM i.accepted_at)::float AS kept_at,
       extract(epoch FROM t.started_at)::float AS began
FROM session_inputs i
LEFT JOIN agent_turns t ON t.deployed_agent_id = i.deployed_agent_id AND t.id = i.turn_id
"""

_ASKED = """
SELECT a.id, a.runtime_event_id, a.tool, a.state, a.verdict, a.decided_by, s.slack_thread_ts,
       o.delivery_id IS NOT NULL AS posted
FROM agent_approvals a
JOIN agent_sessions s ON s.deployed_agent_id = a.deployed_agent_id AND s.id = a.session_id
LEFT JOIN slack_outbox o ON o.deployed_agent_id = a.deployed_agent_id
    AND o.session_id = a.session_id AND o.effect_key = 'card:approval:' || a.id || ':1'
ORDER BY a.id
"""
_TOLD_TO_WAIT = """
SELECT s.slack_thread_ts, count(*) FROM slack_outbox o
JOIN agent_sessions s ON s.deployed_agent_id = o.deployed_agent_id AND s.id = o.session_id
WHERE o.kind = 'card' AND o.effect_key LIKE 'card:waiting:%' GROUP BY 1
"""


def _asked(here: World, thread: Thread, row: Json) -> Asked:
    """Each call has a name of its own, so its card is found by that."""
    starts = f"{CARD} {row['tool']}."
    cards = [
        message
        for message in here.slack.replies(thread.channel, thread.root_ts)
        if message.user == here.slack.bot_user_id and shown(message).startswith(starts)
    ]
    return Asked(
        id=str(row["id"]),
        call=row["runtime_event_id"],
        state=row["state"],
        verdict=row["verdict"],
        decider=(row["decided_by"] or {}).get("user"),
        posted=row["posted"],
        cards=tuple(shown(card) for card in cards),
        buttons=tuple(str(e["action_id"]) for c in cards for _, e in pressable(c.blocks)),
    )


def _thread(here: World, thread: Thread, sessions: list[Json], rows: dict[str, Json]) -> Seen:
    runtime, slack = here.runtime, here.slack
    received = [e for s in sessions for e in runtime.received(s["id"])]
    return Seen(
        sessions=sum(session["archived_at"] is None for session in sessions),
        received=tuple(_received(e, rows) for e in received if e["type"] == "user.message"),
        turns=tuple(t for s in sessions for t in _turns(runtime.events(s["id"]), rows)),
        posts=tuple(
            Post(m.text, shown(m), m.streaming_state == "in_progress")
            for m in slack.replies(thread.channel, thread.root_ts)
            if m.user == slack.bot_user_id
        ),
        named=frozenset(str(r["names"]) for r in rows.values() if r["kind"] == "interrupt"),
        confirmed=tuple(_confirmation(e) for e in received if _confirms(e)),
    )


def _received(event: Json, rows: dict[str, Json]) -> Received:
    mark, words = (block["text"] for block in event["content"])
    (token,) = TOKEN.findall(words)
    found = _MARK.match(mark)
    assert found is not None, mark
    row = rows[found[1]]
    return Received(
        token, row["kind"] == "correction", str(row["turn_id"]), row["kept_at"], row["began"]
    )


def _turns(events: list[Json], rows: dict[str, Json]) -> Iterator[Turn]:
    """What lies between the first message that was read and the idle behind it."""
    taken: list[Json] = []
    confirmed: list[Confirmation] = []
    interrupted = False
    for event in events:
        match event["type"]:
            case "user.message":
                taken.append(event)
            case "user.tool_confirmation":
                confirmed.append(_confirmation(event))
            case "user.interrupt" if taken:
                interrupted = True
            case "session.status_idle" if taken and not _waits(event):
                texts = [brain.heard(one["content"]) for one in taken]
                received = tuple(_received(one, rows) for one in taken)
                yield Turn(received, model.answer_to(texts, confirmed), interrupted)
                taken, confirmed, interrupted = [], [], False


def _confirms(event: Json) -> bool:
    return bool(event["type"] == "user.tool_confirmation")


def _confirmation(event: Json) -> Confirmation:
    message = event.get("deny_message") or ""
    return Confirmation(event["tool_use_id"], event["result"], message)


def _waits(idle: Json) -> bool:
    return bool(idle["stop_reason"]["type"] == "requires_action")
