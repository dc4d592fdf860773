"""What stands behind the page of a demo: our rows of a thread, the runtime's events, and orders."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from bot import showing
from bot.replicas import Replicas
from router import clock
from router.errors import RuntimeFailure
from router.runtime.budget import Need
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime
from store import behind, database
from store.database import Pool

Json = dict[str, Any]

_EVENTS = 300
_ROWS_SECONDS = 2.0
_READ_SECONDS = 3.0
_READ_AGAIN_SECONDS = 3.0
_WATCHED = 20
_UNREADABLE: tuple[type[Exception], ...] = (RuntimeFailure, *database.ERRORS)


class View(Protocol):
    """Who can tell what the runtime knows of a session."""

    async def of(self, session_id: str) -> Json | None:
        """The session with its newest events; None where it is not known."""
        ...


class LocalView:
    """Looks into the local runtime, which costs no request."""

    def __init__(self, runtime: LocalRuntime) -> None:
        self._runtime = runtime

    async def of(self, session_id: str) -> Json | None:
        """The session at this moment."""
        found = self._runtime.look(session_id, _EVENTS)
        if found is None:
            return None
        session, events = found
        return _told(session_id, session["status"], session["usage"], map(_event, events))


@lru_cache(maxsize=2_000)
def _event(raw: str) -> Json:
    return showing.event(json.loads(raw))


class RealView:
    """Asks the runtime itself, of one session every few seconds, behind everybody who has to."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: OrderedDict[str, tuple[float, Json | None]] = OrderedDict()

    async def of(self, session_id: str) -> Json | None:
        """The session as it was a few seconds ago at the most, unless the runtime does not answer."""
        asked_at, known = self._known.get(session_id, (-_READ_AGAIN_SECONDS, None))
        now = clock.monotonic()
        if now - asked_at < _READ_AGAIN_SECONDS:
            return known
        # Noted before the answer is there: a second viewer asks no second time.
        self._note(session_id, now, known)
        known = await self._read(session_id, known)
        self._note(session_id, now, known)
        return known

    def _note(self, session_id: str, asked_at: float, known: Json | None) -> None:
        self._known[session_id] = (asked_at, known)
        self._known.move_to_end(session_id)
        while len(self._known) > _WATCHED:
            self._known.popitem(last=False)

    async def _read(self, session_id: str, known: Json | None) -> Json | None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                session = await self._runtime.session(Need.VIEW, session_id)
                events = await self._runtime.newest_events(Need.VIEW, session_id, _EVENTS)
        except _UNREADABLE:
            return (known or _told(session_id, "", {}, [])) | {"status": "not known"}
        return _told(session_id, session.status, session.usage, map(showing.event, events))


def _told(session_id: str, status: str, usage: Json, events: Iterable[Json]) -> Json:
    return {"session_id": session_id, "status": status, "usage": usage, "events": list(events)}


@dataclass(frozen=True, slots=True)
class Order:
    """Something that people do to the demo to watch it recover. `carry_out` says what it did."""

    kind: str
    label: str
    help: str
    carry_out: Callable[[], Awaitable[str]]

    def told(self) -> dict[str, str]:
        """As the page lists it."""
        return {"kind": self.kind, "label": self.label, "help": self.help}


class Behind:
    """Lends the page of the local Slack what it may show of Threadline and do to it.

    It implements `bot.local.page.behind.Behind`.
    """

    def __init__(
        self,
        pool: Pool,
        api_app_id: str,
        view: View,
        *,
        replicas: Replicas | None = None,
        orders: tuple[Order, ...] = (),
    ) -> None:
        self._pool, self._api_app_id, self._view = pool, api_app_id, view
        self._replicas = replicas
        self._orders = {order.kind: order for order in orders}

    @property
    def orders(self) -> list[dict[str, str]]:
        """What can be done with one click."""
        return [order.told() for order in self._orders.values()]

    async def order(self, kind: str) -> str:
        """Carries an order out. KeyError where `orders` has none of that kind."""
        return await self._orders[kind].carry_out()

    async def of(self, channel: str, thread_ts: str) -> Json | None:
        """The rows and the runtime's events of a thread; None where no session of ours is in it.

        A database that does not answer in time raises one of its errors.
        """
        async with database.within(self._pool, _ROWS_SECONDS) as connection:
            rows = await behind.of_thread(connection, self._api_app_id, channel, thread_ts)
        if rows is None:
            return None
        session = showing.row(rows.session)
        agent, runtime_session = session.pop("agent"), rows.session["anthropic_session_id"]
        return {
            "channel": channel,
            "thread_ts": thread_ts,
            "agent": agent,
            "session": session,
            "turns": _rows(rows.turns),
            "inputs": _rows(rows.inputs),
            "outbox": _rows(rows.outbox),
            "approvals": _rows(rows.approvals),
            "escalations": _rows(rows.escalations),
            "runtime": await self._view.of(runtime_session) if runtime_session else None,
            "replicas": self._replicas.rows() if self._replicas else [],
        }


def _rows(rows: list[Json]) -> list[Json]:
    return [showing.row(row) for row in rows]
