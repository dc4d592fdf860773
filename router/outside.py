"""What people do to a session from outside of Slack: begin one, say something, archive it.

Each in the transaction of the caller, who has to offer the session to a worker afterwards. What is
said joins the same line as Slack's messages: inputs of one session go out in the order of their
times, whichever door they came through. Where the session has a Slack thread, the thread is shown
what was said, and by whom.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from router import clock, notices
from router.notices import Notice
from router.routing import title_of
from store import calls, inputs, outbox, sessions
from store.database import Connection
from store.inputs import NewInput
from store.outbox import Effect
from store.sessions_read import Session

_TITLE = 80
_SHOWN = 2_500  # a Slack section takes 3,000 characters
_LANE = "outside"

ARCHIVED = "{by} archived this conversation. It takes no new messages; start a new thread to go on."
SAID = "{by} wrote from outside of Slack:\n{text}"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks: `id` tells them from everybody, in Slack or outside; `name` is for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Where:
    """The session that is meant."""

    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID


def is_from(body: dict[str, Any]) -> str:
    """The name of who said it from outside of Slack; empty for what was said in Slack."""
    return str(body.get("speaker") or "")


async def create(
    connection: Connection, where: Where, maker: str, title: str | None, text: str | None
) -> Session:
    """A session of the dashboard's; its title, if none is given, is what is said first."""
    wanted = title or (title_of(text, _TITLE) if text else None)
    of = (where.deployed_agent_id, where.workspace_id)
    return await sessions.create(connection, where.session_id, of, wanted, maker)


async def say(
    connection: Connection, where: Where, speaker: Speaker, input_id: UUID, text: str
) -> bool:
    """Queues a message and shows it in the thread; False if the session is, or is being, archived."""
    agent_id, session_id = where.deployed_agent_id, where.session_id
    if not await sessions.wake_open(connection, agent_id, session_id):
        return False
    message = NewInput(
        id=input_id,
        deployed_agent_id=agent_id,
        workspace_id=where.workspace_id,
        session_id=session_id,
        kind="message",
        body={
            "text": text,
            "user": speaker.id,
            "speaker": speaker.name,
            "team": None,
            "files": [],
        },
        order_key=clock.timestamp(),  # under the session's lock: as in the order of the accepts
        dedupe_key=f"rest:{input_id}",
    )
    await inputs.add(connection, [message])
    await sessions.title_once(connection, agent_id, session_id, title_of(text, _TITLE))
    await _tell(connection, where, f"outside:{input_id}", said(speaker.name, text))
    return True


async def archive(connection: Connection, where: Where, speaker: Speaker) -> bool:
    """Asks for the end of a session and tells its thread; False if it was asked for already.

    What is under way is stopped first, by whoever holds the session.
    """
    agent_id, session_id = where.deployed_agent_id, where.session_id
    if not await sessions.request_archive(connection, agent_id, session_id):
        return False
    told = Notice(ARCHIVED.format(by=speaker.name))
    await _tell(connection, where, f"outside:{session_id}:archived", told)
    return True


def said(name: str, text: str) -> Notice:
    """How a thread shows what was said from outside of it."""
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return Notice(SAID.format(by=name, text=shown))


async def _tell(connection: Connection, where: Where, key: str, told: notices.Notice) -> None:
    """Says it in the session's thread, if it has one, behind what was told so before."""
    place = await calls.place(connection, where.deployed_agent_id, where.session_id)
    if place is None:
        return
    at = await sessions.next_position(connection, where.deployed_agent_id, where.session_id)
    effect = Effect(key, "notice", told.body(), lane=_LANE, position=at)
    await outbox.add(connection, place, [effect])
