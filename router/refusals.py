"""What goes no further than the door, and the sentence that is said about it, where there is one."""

from typing import Literal

from router import notices
from router.routing import Arrival, Outcome, Turned
from store import agents, outbox
from store.database import Connection
from store.outbox import Effect, Place

# reason: kind of write, what it says; {user} {ts} make it once per person or per message
_SENTENCES = {
    "stranger": ("private", "notice:stranger:{user}", notices.STRANGER),
    "archived": ("private", "notice:archived:{ts}", notices.ARCHIVED),
    "no_agent": ("notice", "notice:no_agent:{ts}", notices.NO_AGENT),
    "bare_mention": ("notice", "notice:help:{ts}", notices.HELP),
    "joined": ("notice", "notice:hello", notices.HELLO),
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
    kind, key, text = _SENTENCES[item.reason]
    arrival = item.arrival
    return Effect(
        effect_key=key.format(user=arrival.user_id, ts=arrival.ts),
        kind=kind,
        body=notices.Notice(text).body() | {"user": arrival.user_id},
    )
