"""Busy threads: a message that comes while a turn is in flight shows that it waits, until it does not.

A reaction is put to it by the accept; whoever takes it out of the queue, or takes it back, takes the
reaction away. Both stand in the outbox, in a lane of their own: the second never overtakes the first.
"""

from uuid import UUID

from router import notices
from router.behaviour import behaviour_of
from router.routing import Followed
from store import agents, inputs, outbox
from store.database import Connection
from store.inputs import NewInput
from store.outbox import Effect
from store.sessions import Woken

_REACTION = "hourglass_flowing_sand"


async def marked(
    connection: Connection, items: list[Followed], woken: dict[str, Woken]
) -> set[str]:
    """The conversations in which a new message waits for the turn in flight, and shows it.

    Where a message joins the turn at once there is nothing to wait for.
    """
    behind = [f for f in items if woken[f.arrival.conversation_key].busy]
    if not behind:
        return set()
    settings = await agents.settings_of(connection, [f.thread.deployed_agent_id for f in behind])
    return {
        f.arrival.conversation_key
        for f in behind
        if behaviour_of(settings[f.thread.deployed_agent_id], f.arrival.channel_id).busy != "steer"
    }


async def show(connection: Connection, waiting: list[tuple[Followed, NewInput]]) -> set[str]:
    """Marks messages that were added behind a turn, and tells the authors of all but the first.

    Returns the conversations that have something new to be delivered.
    """
    if not waiting:
        return set()
    places = await inputs.places(connection, [(n.deployed_agent_id, n.id) for _, n in waiting])
    for item, new in waiting:
        effects = [_reaction(new.id, str(new.order_key), add=True)]
        if places[new.id] > 1:
            says = notices.Notice(notices.WAITING.format(place=places[new.id]))
            user = {"user": item.arrival.user_id}
            effects.append(Effect(f"waiting:{new.id}:place", "private", says.body() | user))
        await outbox.add(connection, item.place(new.session_id), effects)
    return {item.arrival.conversation_key for item, _ in waiting}


async def take_back(connection: Connection, withdrawn: list[Followed]) -> set[str]:
    """Takes the marks away from messages that their authors took back; conversations as above."""
    spoke = set()
    for item in withdrawn:
        session_id = item.thread.session_id
        if effects := await gone(connection, item.thread.deployed_agent_id, session_id):
            await outbox.add(connection, item.place(session_id), effects)
            spoke.add(item.arrival.conversation_key)
    return spoke


async def gone(connection: Connection, agent_id: UUID, session_id: UUID) -> list[Effect]:
    """What takes the marks away from messages that wait no more; each is given once.

    A mark that was not made yet is not made any more.
    """
    over = await inputs.hide_waiting(connection, agent_id, session_id)
    if not over:
        return []
    keys = [_key(input_id, add=True) for input_id, _ in over]
    unmade = await outbox.withdraw(connection, agent_id, session_id, keys)
    return [
        _reaction(input_id, str(ts), add=False)
        for input_id, ts in over
        if _key(input_id, add=True) not in unmade
    ]


def _key(input_id: UUID, *, add: bool) -> str:
    return f"waiting:{input_id}:{'shown' if add else 'gone'}"


def _reaction(input_id: UUID, ts: str, *, add: bool) -> Effect:
    return Effect(
        effect_key=_key(input_id, add=add),
        kind="reaction",
        body={"name": _REACTION, "ts": ts, "add": add},
        lane=f"waiting:{input_id}",
        position=0 if add else 1,
    )
