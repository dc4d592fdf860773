"""What goes no further than the door, and the sentence that is said about it, where there is one."""

from typing import Literal
from uuid import NAMESPACE_OID, uuid5

import structlog

from router import notices
from router.notices import Notice, Trouble
from router.routing import Arrival, Outcome, Turned
from store import agents, outbox
from store.database import Connection
from store.outbox import Effect, Place

_log = structlog.get_logger(__name__)

# reason: key, what it says; {user} {ts} make it once per person or per message
_SENTENCES: dict[str, tuple[str, Trouble | str]] = {
    "stranger": ("notice:stranger:{user}", Trouble.STRANGER),
    "archived": ("notice:archived:{ts}", Trouble.ARCHIVED),
    "no_agent": ("notice:no_agent:{ts}", Trouble.NO_AGENT),
    "bare_mention": ("notice:help:{ts}", notices.HELP),
    "joined": ("notice:hello", notices.HELLO),
}


async def turn_away(connection: Connection, turned: list[Turned]) -> dict[str, Outcome]:
    """Says what is to be said to those who go no further; the outcomes by conversation key."""
    spoken = [t for t in turned if t.reason in _SENTENCES]
    places = await agents.routes(connection, [t.arrival.place for t in spoken]) if spoken else {}
    outcomes: dict[str, Outcome] = {}
    for item in turned:
        key = item.arrival.conversation_key
        route = places.get(item.arrival.place) if item.reason in _SENTENCES else None
        if route is None:
            outcomes[key] = Outcome("kept" if item.kept else "ignored", item.reason)
            continue
        await outbox.add(connection, _place(item.arrival, route), [_sentence(item)])
        kind: Literal["accepted", "refused"] = "accepted" if item.arrival.joined else "refused"
        outcomes[key] = Outcome(kind, item.reason, spoke=True)
    return outcomes


def _place(arrival: Arrival, route: agents.Route) -> Place:
    """Where it is said; a channel hears its greeting once, whichever agent answers there later."""
    agent_id = None if arrival.joined else route.agent_id
    return Place(
        deployed_agent_id=agent_id or route.install_id,
        workspace_id=route.workspace_id,
        session_id=None,
        install_id=route.install_id,
        slack_conversation_key=arrival.channel_key if arrival.joined else arrival.conversation_key,
        channel_id=arrival.channel_id,
        thread_ts=None if arrival.joined else arrival.root_ts,
    )


def _sentence(item: Turned) -> Effect:
    pattern, says = _SENTENCES[item.reason]
    arrival = item.arrival
    key = pattern.format(user=arrival.user_id, ts=arrival.ts)
    notice = _told(says, f"{arrival.conversation_key} {key}")
    _log.info(
        "arrival.turned_away",
        conversation=arrival.conversation_key,
        reason=item.reason,
        reference=notice.reference,
    )
    return Effect(
        effect_key=key,
        kind="private" if notice.private else "notice",
        body=notice.body() | {"user": arrival.user_id},
    )


def _told(says: Trouble | str, once: str) -> Notice:
    """`once` names the write: an arrival that comes again is told with the same reference."""
    if isinstance(says, Trouble):
        return notices.about(says, uuid5(NAMESPACE_OID, once))
    return Notice(says)
