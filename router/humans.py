"""What approvals and escalations share: who acts, opaque ids, cards, and decisions as inputs.

The life of what is asked of a person, each arrow one transaction that begins with the session's lock:

  ask       row pending, card, audit; the turn awaits a human and its lease ends   turns.asking
  decide    vote, row allowed | denied | answered, input, card, audit, wake        approvals, escalations
  send      input sending ▸ request ▸ input sent, row confirmed, card, audit       turns.sending
  void      the runtime took no answer any more: row void, card, audit             turns.asking
  close     decided elsewhere, stopped, archived, over: row closed, card, audit    turns.asking

A decision is a row and an input in one transaction: from then on it is the holder's, however often
holders die; its input's key admits one per card. A card is written anew from its row by every change,
in the order of the row's revisions, so the last writing tells the truth whatever came before.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self
from uuid import UUID

from router import clock
from router.ports import Standing
from router.tools import is_slack
from store import audit, calls, escalations, inputs, outbox
from store.approvals import Approval
from store.audit import Entry, Origin, Subject
from store.database import Connection
from store.escalations import Escalation
from store.ids import new_id
from store.inputs import NewInput
from store.leases import Ready
from store.outbox import Effect, Place

Kind = Literal["approval", "escalation"]
Asked = Approval | Escalation

_VERSION = 1
_LENGTH = 1 + 1 + 16 + 16 + 2
_KINDS: tuple[Kind, ...] = ("approval", "escalation")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and through which door. `team` is Slack's, where they came from there."""

    origin: Origin
    user: str
    name: str
    team: str | None = None

    def stored(self) -> dict[str, Any]:
        """As it is kept with what they did."""
        return {"origin": self.origin, "user": self.user, "name": self.name, "team": self.team}


def by_itself(name: str, origin: Origin = "threadline") -> dict[str, Any]:
    """What is kept as the decider where no person of ours was one."""
    return {"origin": origin, "user": None, "name": name, "team": None}


@dataclass(frozen=True, slots=True)
class Ref:
    """What a button or a link names: one card of an approval, or an escalation."""

    kind: Kind
    deployed_agent_id: UUID
    id: UUID
    card_no: int = 1

    def opaque(self) -> str:
        """As one string that says nothing to anybody else."""
        raw = bytes([_VERSION, _KINDS.index(self.kind)])
        raw += self.deployed_agent_id.bytes + self.id.bytes + self.card_no.to_bytes(2)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def parse(cls, opaque: str) -> Self:
        """The reverse. ValueError for anything that is none of ours."""
        try:
            raw = base64.urlsafe_b64decode(opaque + "=" * (-len(opaque) % 4))
        except (binascii.Error, ValueError):
            raise ValueError("no reference of ours") from None
        if len(raw) != _LENGTH or raw[0] != _VERSION or raw[1] >= len(_KINDS):
            raise ValueError("no reference of ours")
        agent, row = UUID(bytes=raw[2:18]), UUID(bytes=raw[18:34])
        return cls(_KINDS[raw[1]], agent, row, int.from_bytes(raw[34:]))


def kind_of(asked: Asked) -> Kind:
    """Which of the two it is."""
    return "approval" if isinstance(asked, Approval) else "escalation"


def card_of(asked: Asked) -> int:
    """The number of its newest card."""
    return asked.card_no if isinstance(asked, Approval) else 1


# ------------------------------------------------------------------ doors


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of somebody's wish.

    decided: it is theirs. counted: it is one vote of several. refused: they may not, `why` says it.
    late: somebody, or time, was faster. unknown: there is no such thing for them.
    """

    kind: Literal["decided", "counted", "refused", "late", "unknown"]
    asked: Asked | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Clicker:
    """Who acts and what they are: policy is judged by the second, the record tells the first."""

    actor: Actor
    standing: Standing


OnReady = Callable[[list[Ready]], None]
OnNotice = Callable[[], None]


# ------------------------------------------------------------------ cards

CHANNEL = ":channel"


def post_key(kind: Kind, asked_id: UUID, card_no: int, where: str = "") -> str:
    """The effect key of a card's first writing; `where` tells the one in another channel."""
    return f"card:{kind}:{asked_id}:{card_no}{where}"


def card(asked: Asked, where: str = "") -> Effect:
    """Posts the card of what is asked. What it shows is read from the row when it is written."""
    key = post_key(kind_of(asked), asked.id, card_of(asked), where)
    return _card(asked, key, "card", card_of(asked), where)


def update(asked: Asked, where: str = "", card_no: int | None = None) -> Effect:
    """Writes a card anew after its row has changed; an older card too, if its number is given."""
    number = card_no if card_no is not None else card_of(asked)
    key = f"{post_key(kind_of(asked), asked.id, number, where)}:r{asked.revision}"
    return _card(asked, key, "update", number, where)


def reminder(asked: Asked, number: int, where: str = "") -> Effect:
    """Says once more that people are waited for, below the card; `number` tells it from others."""
    body = {"card": "reminder", "of": kind_of(asked), "id": str(asked.id), "where": where}
    key = f"card:reminder:{asked.id}:{number}{where}"
    return Effect(key, "card", body, turn_id=asked.turn_id)


def _card(asked: Asked, key: str, kind: str, card_no: int, where: str) -> Effect:
    body = {"card": kind_of(asked), "id": str(asked.id), "card_no": card_no, "where": where}
    lane = f"card:{asked.id}:{card_no}{where}"
    return Effect(key, kind, body, lane=lane, position=asked.revision, turn_id=asked.turn_id)


async def write_cards(connection: Connection, asked: Asked, *effects: Effect) -> bool:
    """Adds writings of cards in the session's own thread; False where it has none."""
    place = await calls.place(connection, asked.deployed_agent_id, asked.session_id)
    if place is not None:
        await outbox.add(connection, place, list(effects))
    return place is not None


# ------------------------------------------------------------------ decisions and their record


def subject(asked: Asked) -> Subject:
    """What the record of a step is about."""
    return Subject(
        deployed_agent_id=asked.deployed_agent_id,
        workspace_id=asked.workspace_id,
        session_id=asked.session_id,
        kind=kind_of(asked),
        id=asked.id,
        card_no=card_of(asked),
        arguments_hash=asked.arguments_hash,
    )


async def record(
    connection: Connection, asked: Asked, action: str, actor: Actor | None = None, detail: str = ""
) -> None:
    """Writes down what was done with what was asked; nobody's doing is Threadline's own."""
    origin: Origin = actor.origin if actor else "threadline"
    stored = actor.stored() if actor else None
    await audit.add(connection, subject(asked), Entry(action, origin, stored, detail))


def decision(asked: Asked, answer: dict[str, Any]) -> NewInput:
    """A decision on its way to the runtime: one per card, whoever sends it, however often."""
    custom = isinstance(asked, Escalation) or is_slack(asked.tool, asked.server)
    return NewInput(
        id=new_id(),
        deployed_agent_id=asked.deployed_agent_id,
        workspace_id=asked.workspace_id,
        session_id=asked.session_id,
        kind="decision",
        body={
            "turn": str(asked.turn_id),
            "asked": {"kind": kind_of(asked), "id": str(asked.id)},
            "event": {"id": asked.runtime_event_id, "custom": custom},
            "hash": asked.arguments_hash.hex(),
            **answer,
        },
        order_key=clock.timestamp(),
        dedupe_key=f"act:{asked.id}:{card_of(asked)}",
    )


CANCELLED = {
    "status": "cancelled",
    "message": "Nobody will answer this question. Do not ask it again; "
    "go on without an answer, or say what cannot be done without it.",
}


def result(answer: dict[str, Any], *, is_error: bool = False) -> dict[str, Any]:
    """What the runtime is told as the result of a custom tool's call."""
    return {"is_error": is_error, "says": json.dumps(answer, ensure_ascii=False)}


async def cancel(connection: Connection, asked: Escalation, actor: Actor) -> bool:
    """Cancels a question that waits: the agent is told to stop asking. The session is locked."""
    if await escalations.cancel(connection, asked, actor.stored()) is None:
        return False
    newest = await reread(connection, asked)
    await record(connection, newest, "cancelled", actor)
    await inputs.add(connection, [decision(newest, result(CANCELLED, is_error=True))])
    await write_everywhere(connection, newest)
    return True


async def reread(connection: Connection, asked: Escalation) -> Escalation:
    """The question as it is now."""
    newest = await escalations.get(connection, asked.deployed_agent_id, asked.id)
    assert newest is not None  # noqa: S101  # escalations are never deleted
    return newest


async def write_everywhere(connection: Connection, asked: Escalation) -> None:
    """Writes the cards of a question anew: in its thread, and where else it was asked."""
    await write_cards(connection, asked, update(asked))
    if (there := channel_of(asked)) is not None:
        await outbox.add(connection, there, [update(asked, CHANNEL)])


async def post_in_channel(connection: Connection, asked: Escalation) -> None:
    """Posts the card of a question in the escalation channel, where there is one."""
    if (there := channel_of(asked)) is not None:
        await outbox.add(connection, there, [card(asked, CHANNEL)])


async def say_at(
    connection: Connection, place: Place, thread_ts: str | None, effect: Effect
) -> None:
    """Says something in a thread of a question's channel."""
    await outbox.add(connection, replace(place, thread_ts=thread_ts), [effect])


def channel_of(asked: Escalation) -> Place | None:
    """The channel beside its thread where a question is asked, if there is one.

    Nothing stands in a thread there: the card is the root of its own.
    """
    if asked.channel_install_id is None or asked.channel_id is None:
        return None
    return Place(
        deployed_agent_id=asked.deployed_agent_id,
        workspace_id=asked.workspace_id,
        session_id=asked.session_id,
        install_id=asked.channel_install_id,
        slack_conversation_key=f"escalation:{asked.id}",
        channel_id=asked.channel_id,
        thread_ts=None,
    )
