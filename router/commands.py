"""What people say to Threadline itself: stop, mute, unmute, a new title. An accept obeys at once."""

from uuid import UUID

from router import clock, notices
from router.routing import Followed, title_of
from store import calls, inputs, outbox, threads, turns
from store.database import Connection
from store.ids import new_id
from store.inputs import NewInput
from store.outbox import Effect

_TITLE = 200  # what Slack allows


async def obey(connection: Connection, item: Followed, session_id: UUID) -> bool:
    """Carries out an arrival's command; False if there was nothing to do.

    The accept has locked the session, so a turn cannot end between the look and the interrupt.
    """
    match item.arrival.command:
        case "stop":
            return await _stop(connection, item, session_id)
        case "mute" | "unmute":
            return await _set_muted(connection, item, session_id)
        case "rename":
            return await _rename(connection, item, session_id)
        case None:
            return False


async def _stop(connection: Connection, item: Followed, session_id: UUID) -> bool:
    """An interrupt for the turn in flight; one that comes after the end says nothing.

    Slack may deliver it late: a turn that answers only what was said after it is not meant.
    """
    agent_id, arrival = item.thread.deployed_agent_id, item.arrival
    turn = await turns.live(connection, agent_id, session_id)
    if turn is None or not await inputs.any_before(connection, agent_id, turn.id, arrival.ts):
        return False
    interrupt = NewInput(
        id=new_id(),
        deployed_agent_id=agent_id,
        workspace_id=item.thread.workspace_id,
        session_id=session_id,
        kind="interrupt",
        body={"turn": str(turn.id), "user": arrival.user_id, "team": arrival.actor_team_id},
        order_key=arrival.ts,
        dedupe_key=arrival.dedupe_key,
        slack_event_id=arrival.slack_event_id,
    )
    return bool(await inputs.add(connection, [interrupt]))


async def stop(connection: Connection, agent_id: UUID, session_id: UUID, by: str) -> bool:
    """Stops the turn in flight as somebody outside of Slack asks; `by` is shown in the thread.

    False where no turn is in flight; asking twice is asking once. One transaction, the caller's,
    which has to offer the session to a worker afterwards.
    """
    workspace_id = await calls.wake(connection, agent_id, session_id)
    turn = await turns.live(connection, agent_id, session_id) if workspace_id else None
    if workspace_id is None or turn is None:
        return False
    interrupt = NewInput(
        id=new_id(),
        deployed_agent_id=agent_id,
        workspace_id=workspace_id,
        session_id=session_id,
        kind="interrupt",
        body={"turn": str(turn.id), "by": by},
        order_key=clock.timestamp(),
        dedupe_key=f"stop:{turn.id}",
    )
    await inputs.add(connection, [interrupt])
    return True


async def _rename(connection: Connection, item: Followed, session_id: UUID) -> bool:
    """The newest title counts; the runtime hears of it from whoever holds the session next."""
    arrival = item.arrival
    title = title_of(arrival.text, _TITLE)
    return await calls.rename(
        connection, item.thread.deployed_agent_id, session_id, title, arrival.ts
    )


async def _set_muted(connection: Connection, item: Followed, session_id: UUID) -> bool:
    arrival, muted = item.arrival, item.arrival.command == "mute"
    says = notices.MUTED if muted else notices.UNMUTED
    if arrival.channel_id.startswith("D"):  # where every message is to us
        says = notices.NEVER_MUTED
    elif not await threads.set_muted(connection, arrival.conversation_key, muted=muted):
        return False
    effect = Effect(f"notice:mute:{arrival.ts}", "notice", notices.Notice(says).body())
    await outbox.add(connection, item.place(session_id), [effect])
    return True
