"""Control routes for tests and demos: faults, the clock, the whole state."""

import json
from collections.abc import Callable
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from router.runtime.local.engine import Engine
from router.runtime.local.faults import Fault
from router.runtime.local.model import Session
from router.runtime.local.wire import Json
from router.runtime.local.world import World


class GateMove(BaseModel):
    """`hold` keeps turns from being answered, one session's or all; `release` lets them go.

    With `_interrupts` the same for the effect of interrupts, those of all sessions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["hold", "release", "hold_interrupts", "release_interrupts"]
    session_id: str | None = None


class CutStreams(BaseModel):
    """Resets every stream that is open at this moment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["cut_streams"]


class ClearFaults(BaseModel):
    """Ends every fault in force."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["clear"]


class ClockMove(BaseModel):
    """Moves virtual time on: `!slow`, stalls, retry pauses and the limits' minute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    advance: float = Field(ge=0, description="seconds")


class Empty(BaseModel):
    """No fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


FaultOrder = Fault | GateMove | CutStreams | ClearFaults
_FAULT: TypeAdapter[FaultOrder] = TypeAdapter(FaultOrder)
_CLOCK: TypeAdapter[ClockMove] = TypeAdapter(ClockMove)
_EMPTY: TypeAdapter[Empty] = TypeAdapter(Empty)


class Control:
    """The routes under /_control."""

    def __init__(self, world: World, engine: Engine, reset: Callable[[], None]) -> None:
        """`reset` brings the whole server back to an empty world."""
        self._world = world
        self._engine = engine
        self._reset = reset

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.post("/_control/fault", self.fault),
            web.post("/_control/clock", self.clock),
            web.post("/_control/reset", self.reset),
            web.get("/_control/state", self.state),
            web.get("/_control/openapi.json", self.openapi),
        ]

    async def fault(self, request: web.Request) -> web.Response:
        """Orders a fault, moves the gate, cuts all streams, or clears all faults."""
        order: FaultOrder = await _read(request, _FAULT)
        match order:
            case Fault():
                self._world.faults.order(order)
            case GateMove(kind="hold"):
                self._world.gate.hold(order.session_id)
            case GateMove(kind="hold_interrupts"):
                self._world.gate.interrupts_wait = True
            case GateMove(kind="release_interrupts"):
                self._engine.release_interrupts()
            case GateMove():
                self._world.gate.release(order.session_id)
            case CutStreams():
                self._world.hub.cut_all()
            case ClearFaults():
                self._world.faults.clear()
        return web.json_response({"ok": True})

    async def clock(self, request: web.Request) -> web.Response:
        """Moves virtual time on."""
        move = await _read(request, _CLOCK)
        self._world.pace.advance(move.advance)
        return web.json_response({"ok": True, "now": self._world.pace.now()})

    async def reset(self, request: web.Request) -> web.Response:
        """Forgets everything."""
        await _read(request, _EMPTY)
        self._reset()
        return web.json_response({"ok": True})

    async def state(self, _request: web.Request) -> web.Response:
        """Everything that a test's oracle needs."""
        return web.json_response(state_of(self._world))

    async def openapi(self, _request: web.Request) -> web.Response:
        """OpenAPI 3.1 of these routes."""
        return web.json_response(_OPENAPI)


def state_of(world: World) -> Json:
    """The whole state, deleted sessions included."""
    return {
        "agents": [agent.latest for agent in world.agents.values()],
        "environments": list(world.environments.values()),
        "sessions": [_session_state(world, session) for session in world.sessions.values()],
        "files": [file.view() for file in world.files],
        "requests": dict(world.requests),
        "streams": world.hub.counts(),
        "faults": [
            active.fault.model_dump() | {"hits": active.hits} for active in world.faults.in_force()
        ],
        "held": world.gate.held(),
    }


def _session_state(world: World, session: Session) -> Json:
    return session.view(world.pace.now()) | {
        "deleted": session.head.deleted,
        "budget_reached": session.live.capped,
        "waiting_on": [held.event_id for held in session.unanswered()],
        "received": [json.loads(entry.raw) for entry in session.log.received()],
        "events": [json.loads(entry.raw) for entry in session.log.history()],
    }


async def _read(request: web.Request, shape: TypeAdapter[Any]) -> Any:
    raw = await request.read()
    try:
        return shape.validate_json(raw or b"{}")
    except ValidationError as wrong:
        text = wrong.json(include_url=False, include_context=False)
        raise web.HTTPUnprocessableEntity(text=text, content_type="application/json") from None


def _operation(summary: str, body: TypeAdapter[Any] | None) -> Json:
    operation: Json = {"summary": summary, "responses": {"200": {"description": "done"}}}
    if body is not None:
        schema = body.json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        operation["responses"]["422"] = {"description": "the body does not fit"}
    return operation


_OPENAPI: Json = {
    "openapi": "3.1.0",
    "info": {"title": "Control routes of the local runtime", "version": "1"},
    "paths": {
        "/_control/fault": {"post": _operation("Order a fault or move the gate", _FAULT)},
        "/_control/clock": {"post": _operation("Move virtual time on", _CLOCK)},
        "/_control/reset": {"post": _operation("Forget everything", _EMPTY)},
        "/_control/state": {"get": _operation("The whole state", None)},
        "/_control/openapi.json": {"get": _operation("This document", None)},
    },
    "components": {
        "schemas": {
            model.__name__: model.model_json_schema()
            for model in (Fault, GateMove, CutStreams, ClearFaults)
        }
    },
}
