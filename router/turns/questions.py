"""The holder's side of escalations: the asking, replies that answer, and what became of an answer."""

from typing import Any
from uuid import UUID

from router import humans, outside, policy, redaction
from router.behaviour import Escalations
from router.escalations import decide
from router.humans import Actor, Clicker
from router.notices import Trouble, about
from router.ports import Standing
from router.turns.engine import Append, Engine, Holding, appending
from router.turns.project import HeldCall
from store import approvals, database, escalations, inputs, installs
from store.database import Connection
from store.escalations import Escalation, NewEscalation
from store.ids import new_id
from store.inputs import Input
from store.outbox import Effect
from store.turns import Turn

_LONGEST = 10_000
_MOST_CHOICES = 10


async def ask(
    append: Append, settings: Escalations, turn: Turn, call: HeldCall, requesters: list[str]
) -> None:
    """Asks people a question of the agent, once: in its thread, and in the escalation channel."""
    connection, held = append.connection, append.held
    known = await escalations.of_turn(connection, held.deployed_agent_id, turn.id)
    if any(q.runtime_event_id == call.event_id for q in known):
        return
    channel = await installs.escalation_channel(
        connection, held.workspace_id, held.slack_install_id
    )
    who = [*settings.who, *([settings.owner] if settings.owner else [])]
    new = NewEscalation(
        id=new_id(),
        turn_id=turn.id,
        runtime_event_id=call.event_id,
        question=_text(call.arguments.get("question")) or "(no question)",
        context=_text(call.arguments.get("context")),
        choices=_choices(call.arguments.get("choices")),
        arguments_hash=redaction.digest(call.arguments),
        policy={"who": who, "owner": settings.owner, "pings": list(settings.ping_minutes)},
        requesters=requesters,
        ping=settings.ping(0),
        channel_install_id=channel.install_id if channel else None,
        channel_id=channel.channel_id if channel else None,
    )
    await escalations.add(connection, held, new)
    row = await escalations.get(connection, held.deployed_agent_id, new.id)
    assert row is not None  # noqa: S101  # the fence lets nobody else write of this session
    await humans.record(connection, row, "asked")


def _text(value: Any) -> str:
    return str(redaction.shown({"text": value})["text"])[:_LONGEST] if value else ""


def _choices(value: Any) -> list[str]:
    given = value if isinstance(value, list) else []
    return [text for one in given[:_MOST_CHOICES] if (text := _text(one))]


async def delivered(append: Append, escalation_id: UUID, state: str) -> None:
    """Notes that the agent has the answer, or that it came too late."""
    found = await escalations.get(append.connection, append.held.deployed_agent_id, escalation_id)
    if found is not None:
        await humans.record(append.connection, found, state)


# ------------------------------------------------------------------ replies that answer


async def unread(append: Append, holding: Holding) -> bool:
    """Whether something was accepted since `take_replies` looked: it may be the answer."""
    waiting = await inputs.open_inputs(append.connection, append.held.lease)
    return any(i.state == "queued" and i.id not in holding.looked_at for i in waiting)


async def take_replies(engine: Engine, holding: Holding, turn: Turn) -> None:
    """Takes what people wrote below a card, or in the thread of the only question, as the answer.

    Where more than one thing waits it is not clear what a message answers: then it stays a message.
    """
    candidates = await _candidates(engine, holding, turn)
    people = [await _standing(engine, holding, item, asked) for item, asked in candidates]
    if not candidates:
        return
    async with appending(engine, holding) as append:
        for (item, asked), person in zip(candidates, people, strict=True):
            await _take(append, turn, item, asked, person)


async def _candidates(
    engine: Engine, holding: Holding, turn: Turn
) -> list[tuple[Input, Escalation]]:
    """What may be an answer: replies below a card, be the question the turn's or not, and a message."""
    held, agent = holding.held, holding.held.deployed_agent_id
    async with database.borrow(engine.pool) as connection:
        mine = [i for i in await inputs.open_inputs(connection, held.lease) if i.state == "queued"]
        holding.looked_at = frozenset(i.id for i in mine)
        found = await _below_cards(connection, agent, mine)
        asked = await escalations.of_turn(connection, agent, turn.id)
        waiting = [q for q in asked if q.state == "pending"]
        rows = await approvals.of_turn(connection, agent, turn.id) if waiting else []
    if len(waiting) == 1 and not any(a.state in ("pending", "expired") for a in rows):
        only = waiting[0]
        found += [(i, only) for i in mine if _answers(i, only)][:1]
    return found


async def _below_cards(
    connection: Connection, agent_id: UUID, mine: list[Input]
) -> list[tuple[Input, Escalation]]:
    found = []
    for item in mine:
        if is_reply(item):
            named = UUID(item.body["reply"]["escalation"])
            asked = await escalations.get(connection, agent_id, named)
            if asked is not None:
                found.append((item, asked))
    return found


def is_reply(item: Input) -> bool:
    """True for what was written below a question's card; it is judged before it is a decision."""
    return item.kind == "decision" and "reply" in item.body


async def too_late(append: Append, mine: list[Input]) -> None:
    """Tells those whose replies nobody will take any more; fenced."""
    waiting = [i for i in mine if i.state == "queued"]
    agent = append.held.deployed_agent_id
    for item, asked in await _below_cards(append.connection, agent, waiting):
        await inputs.refuse(append.connection, append.held.lease, [item.id])
        await _tell(append, asked, item, late=True)
        append.wrote = True


def _answers(item: Input, asked: Escalation) -> bool:
    after = item.order_key > int(asked.asked_at.timestamp())
    in_slack = item.kind == "message" and not outside.is_from(item.body)
    return in_slack and after and bool(str(item.body.get("text") or "").strip())


async def _standing(engine: Engine, holding: Holding, item: Input, asked: Escalation) -> Standing:
    said = item.body.get("reply") or item.body
    user = str(said["user"])
    install, channel = holding.held.slack_install_id, holding.held.slack_channel_id
    if item.body.get("reply"):
        install, channel = asked.channel_install_id, asked.channel_id
    if install is None or channel is None:
        return Standing(user, user, known=False)
    groups = policy.groups_of(asked.policy["who"])
    return await engine.conversation.standing(install, channel, user, groups)


async def _take(
    append: Append, turn: Turn, item: Input, asked: Escalation, person: Standing
) -> None:
    said = item.body.get("reply") or item.body
    actor = Actor("slack", person.user_id, person.name, said.get("team"))
    text = str(said.get("text") or "")
    agent = append.held.deployed_agent_id
    outcome = await decide(append.connection, agent, asked.id, Clicker(actor, person), text)
    append.wrote = True
    if outcome.kind == "decided":
        await inputs.use(append.connection, append.held.lease, [item.id], turn.id)
    elif item.body.get("reply"):
        await inputs.refuse(append.connection, append.held.lease, [item.id])
        await _tell(append, asked, item, late=outcome.kind == "late")


async def _tell(append: Append, asked: Escalation, item: Input, *, late: bool) -> None:
    """A reply below the card that could not be taken is told so where it was written."""
    trouble = Trouble.DECIDED_ALREADY if late else Trouble.NOT_YOURS_TO_DECIDE
    reply = item.body["reply"]
    body = about(trouble, item.id).body() | {"user": str(reply["user"])}
    place = humans.channel_of(asked)
    if place is not None:
        effect = Effect(f"notice:{item.id}:reply", "private", body)
        await humans.say_at(append.connection, place, reply.get("root_ts"), effect)
