"""One row per Slack message: what an arrival adds to what is known of it, and what it changes.

A higher revision is news, an equal or lower one is a twin or comes late; a deletion is for good.
"""

from typing import Any

from router.routing import Arrival, Followed
from store import inputs
from store.database import Connection
from store.inputs import Known


async def known(connection: Connection, items: list[Followed]) -> dict[str, Known]:
    """What is known of each message, by the arrival's key: under its own ts or its client's id."""
    wanted = [
        (f.thread.deployed_agent_id, f.arrival.dedupe_key, f.arrival.client_key) for f in items
    ]
    rows = await inputs.known(connection, wanted)
    by_client = {row.client_key: row for row in rows if row.client_key}
    by_key = {row.dedupe_key: row for row in rows}
    found: dict[str, Known] = {}
    for _, dedupe_key, client_key in wanted:
        row = by_key.get(dedupe_key) or (by_client.get(client_key) if client_key else None)
        if row:
            found[dedupe_key] = row
    return found


def makes_none(arrival: Arrival) -> bool:
    """True for an arrival that by itself is no message: it may only change one that we have."""
    return arrival.only_if_known or (arrival.empty and not arrival.deleted)


def is_correction(arrival: Arrival, mine: Known) -> bool:
    """True for other words than those that the agent has got, or for files beside them."""
    return (
        _is_news(arrival, mine)
        and not arrival.deleted
        and not arrival.empty
        and mine.state in ("sending", "sent", "done")
        and (mine.text != arrival.text or bool(added(arrival, mine)))
    )


def added(arrival: Arrival, mine: Known) -> list[dict[str, Any]]:
    """The files that the message did not have before: an edit shows all the others again."""
    known = mine.files
    return [] if known is None else [f for f in arrival.files if str(f.get("id")) not in known]


async def revise(
    connection: Connection, arrival: Arrival, mine: Known, body: dict[str, Any]
) -> bool:
    """Applies an edit or a deletion to a known message; True if that changed what will be said.

    `body` is what the message says now, for one that still waits.
    """
    if arrival.deleted or (arrival.empty and _is_news(arrival, mine)):
        await inputs.withdraw(connection, mine)
        return mine.state == "queued"
    if not _is_news(arrival, mine):
        return False
    files = [str(f.get("id")) for f in arrival.files]
    if mine.state == "queued" and (mine.text, mine.files) != (arrival.text, files):
        await inputs.replace(connection, mine, body, arrival.revision)
        return True
    await inputs.note_revision(connection, mine, arrival.revision, arrival.text, files)
    return False


def _is_news(arrival: Arrival, mine: Known) -> bool:
    same_message = mine.dedupe_key == arrival.dedupe_key
    return same_message and not mine.deleted and arrival.revision > mine.revision
