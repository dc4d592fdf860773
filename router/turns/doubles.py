"""What the runtime did twice: no order of writes rules that out, so it is found and counted.

A message is there twice where its first sending took effect after its sender had looked for it, or
where no look showed it yet (engine.md 7). Both copies carry the mark of one input, which knows the
event that it was sent as. Whichever turn first sees the other copy finds it at its end: the turn
itself, or the next one of the session.
"""

from uuid import UUID

import structlog

from router.turns.engine import Append, Engine, Holding
from router.turns.project import Ended
from store import inputs
from store.ids import reference_of
from store.turns import Turn

_log = structlog.get_logger(__name__)

Copies = list[tuple[UUID, str]]


def sendings(ended: Ended) -> Copies:
    """All of ours that were seen to be read, as inputs and events."""
    return [(UUID(key.partition(".")[0]), event_id) for key, event_id in ended.messages]


async def found(append: Append, ended: Ended) -> Copies:
    """The copies among what was seen, as inputs and events; each is found once. Fenced."""
    return await inputs.note_copies(append.connection, append.held.lease, sendings(ended))


def report(engine: Engine, holding: Holding, turn: Turn, copies: Copies) -> None:
    """Counts them, and says in the log which they are."""
    for input_id, event_id in copies:
        engine.count_double()
        _log.warning(
            "send.doubled",
            session_id=str(holding.held.id),
            turn_id=str(turn.id),
            reference=reference_of(turn.id),
            input_id=str(input_id),
            event_id=event_id,
        )
