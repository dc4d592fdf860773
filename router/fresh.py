"""New words, which most events are: a batch of them is taken in by one statement (`store.arrivals`).

Edits, deletions, commands, strangers and whatever that statement leaves alone go the longer way of
`router.intake`, which knows every case. Both give the same outcome for the same arrival.
"""

from datetime import datetime
from decimal import Decimal

from router import clock
from router.routing import Arrival, Outcome, title_of
from store import arrivals
from store.arrivals import Taken, Words
from store.database import Connection
from store.ids import new_id
from store.leases import Ready

_TITLE = 80
_NOT_FOLLOWED = Outcome("ignored", "not_followed")
_MUTED = Outcome("ignored", "muted")


def is_fresh(arrival: Arrival) -> bool:
    """True for somebody's words as they were first said."""
    return not (
        arrival.stranger
        or arrival.joined
        or arrival.command
        or arrival.deleted
        or arrival.only_if_known
        or arrival.revision
        or arrival.empty
    )


def are_twins(one: Arrival, other: Arrival) -> bool:
    """True for two events of one message that say the same: whichever is taken, both are."""
    return (
        one.dedupe_key == other.dedupe_key
        and one.addressed == other.addressed
        and is_fresh(one)
        and is_fresh(other)
    )


async def take_in(
    connection: Connection, fresh: list[Arrival], lock_seconds: float
) -> dict[str, Outcome]:
    """Takes in what is plain; the outcomes by conversation key, keys distinct. One transaction.

    What has none was not written, and wants a closer look.
    """
    now = clock.now()
    found = await arrivals.take_in(connection, [_words(a, now) for a in fresh], lock_seconds)
    settled = {a.conversation_key: _outcome(a, found[a.conversation_key], now) for a in fresh}
    return {key: outcome for key, outcome in settled.items() if outcome is not None}


def _words(arrival: Arrival, now: datetime) -> Words:
    begins = arrival.addressed and not _may_be_below_a_card(arrival, now)
    return Words(
        key=arrival.conversation_key,
        addressed=arrival.addressed,
        begins=begins,
        ts=str(arrival.ts),
        app=arrival.api_app_id,
        install=str(arrival.install_id),
        team=arrival.team_id,
        channel=arrival.channel_id,
        root=arrival.root_ts,
        session=str(new_id()) if begins else None,
        title=title_of(arrival.text, _TITLE),
        maker=arrival.user_id,
        input=str(new_id()),
        body=arrival.body,
        dedupe_key=arrival.dedupe_key,
        client_key=arrival.client_key,
        event=arrival.slack_event_id,
    )


def _may_be_below_a_card(arrival: Arrival, now: datetime) -> bool:
    """True where a young thread is joined whose root may be a question's card (`routing.follow`)."""
    return arrival.ts > Decimal(arrival.root_ts) and arrival.root_is_young(now)


def _outcome(arrival: Arrival, taken: Taken, now: datetime) -> Outcome | None:
    if taken.busy:
        return None  # it has to show that it waits
    if taken.session_id is not None and taken.deployed_agent_id is not None:
        session = Ready(taken.deployed_agent_id, taken.session_id)
        return Outcome("accepted" if taken.added else "duplicate", session=session)
    if arrival.addressed:
        return None
    if taken.muted:
        return _MUTED
    if taken.known or arrival.root_is_young(now):
        return None  # an archived session, a card, or a reply that is kept for a while
    return _NOT_FOLLOWED
