"""One row per Slack message: what an arrival adds to what is known of it, and what it changes.

A higher revision is news, an equal or lower one is a twin or comes late; a deletion is for good.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

from router.routing import Arrival, Followed
from store import inputs
from store.database import Connection
from store.ids import new_id
from store.inputs import Known, NewInput


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


def new_inputs(
    item: Followed, session_id: UUID, mine: Known | None, *, marked: bool
) -> list[NewInput]:
    """The row that this arrival adds: its message, or the correction of one that was sent."""
    arrival = item.arrival
    if mine is None and makes_none(arrival):
        return []
    if mine is not None and not _is_correction(arrival, mine):
        return []
    message = replace(
        input_of(item, session_id, "message", arrival.body),
        shown_waiting=marked and not arrival.deleted,
    )
    if mine is None:
        return [message]
    return [
        replace(
            message,
            kind="correction",
            body=arrival.body | {"files": _added(arrival, mine)},
            order_key=max(arrival.revision, arrival.ts),  # edits are timed in whole seconds
            dedupe_key=f"{arrival.dedupe_key}#{arrival.revision}",
            client_key=None,
            shown_waiting=False,
        )
    ]


def input_of(item: Followed, session_id: UUID, kind: str, body: dict[str, Any]) -> NewInput:
    """A new row of the session for this arrival, known by the message that it came with."""
    arrival = item.arrival
    return NewInput(
        id=new_id(),
        deployed_agent_id=item.thread.deployed_agent_id,
        workspace_id=item.thread.workspace_id,
        session_id=session_id,
        kind=kind,
        body=body,
        order_key=arrival.ts,
        dedupe_key=arrival.dedupe_key,
        revision=arrival.revision,
        client_key=arrival.client_key,
        slack_event_id=arrival.slack_event_id,
        deleted=arrival.deleted,
    )


def _is_correction(arrival: Arrival, mine: Known) -> bool:
    """True for other words than those that the agent has got, or for files beside them."""
    return (
        _is_news(arrival, mine)
        and not arrival.deleted
        and not arrival.empty
        and mine.state in ("sending", "sent", "done")
        and (mine.text != arrival.text or bool(_added(arrival, mine)))
    )


def _added(arrival: Arrival, mine: Known) -> list[dict[str, Any]]:
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
