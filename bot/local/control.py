"""The control routes: what people do, and faults, over HTTP on loopback."""

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import Field, ValidationError

from bot.local.control_interactions import (
    Body,
    ClickBody,
    CloseViewBody,
    HomeBody,
    InteractionControl,
    ShortcutBody,
    SubmitBody,
    UserBody,
    UsergroupBody,
    shown_views,
)
from bot.local.faults import Fault, FaultKind
from bot.local.model import Json, SlackError, Twins
from bot.local.people import People
from bot.local.workspace import Workspace

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SHOWN = 1_000


class MessageBody(Body):
    """Somebody posts; `channel` and `user` are names or ids."""

    channel: str
    user: str
    text: str = ""
    thread_ts: str | None = None
    files: list[str] = Field(default_factory=list)
    broadcast: bool = False
    twins: Twins = "message_first"
    duplicate: int = Field(default=0, ge=0, le=100)


class EditBody(Body):
    """Somebody edits the message of that ts."""

    channel: str
    ts: str
    text: str
    twins: Twins = "message_first"
    duplicate: int = Field(default=0, ge=0, le=100)


class DeleteBody(Body):
    """Somebody deletes the message of that ts."""

    channel: str
    ts: str


class StopBody(Body):
    """Somebody presses the stop button of a thread's agent session."""

    channel: str
    user: str
    thread_ts: str


class FaultBody(Body):
    """The next `times` matching calls after `skip` misbehave; `clear` ends all such orders."""

    kind: FaultKind | Literal["clear"]
    method: str | None = None
    times: int | None = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    seconds: float = Field(default=1.0, ge=0)
    retry_after: int = Field(default=1, ge=1)
    status: int = Field(default=500, ge=400, le=599)
    error: str = "internal_error"
    channel: str | None = None


class ClockBody(Body):
    """Time moves on by `advance` seconds: for limits, retries, streams, statuses, listings."""

    advance: float = Field(ge=0)


class RequestUrlBody(Body):
    """Where events go from now on; `verify` sends the url_verification challenge first."""

    url: str
    verify: bool = False


class ResetBody(Body):
    """Back to the first start; the token and the signing secret stay."""


B = TypeVar("B", bound=Body)
Work = Callable[[Any], Json | Awaitable[Json]]


class Control:
    """The routes under `/_control/`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._people = People(workspace)
        pressing = InteractionControl(workspace)
        self._posts: dict[str, tuple[type[Body], Work]] = {
            "message": (MessageBody, self._message),
            "edit": (EditBody, self._edit),
            "delete": (DeleteBody, self._delete),
            "stop": (StopBody, self._stop),
            "click": (ClickBody, pressing.click),
            "submit": (SubmitBody, pressing.submit),
            "close_view": (CloseViewBody, pressing.close_view),
            "home": (HomeBody, pressing.home),
            "shortcut": (ShortcutBody, pressing.shortcut),
            "usergroup": (UsergroupBody, pressing.usergroup),
            "user": (UserBody, pressing.user),
            "fault": (FaultBody, self._fault),
            "clock": (ClockBody, self._clock),
            "reset": (ResetBody, self._reset),
        }

    def routes(self) -> list[web.RouteDef]:
        """All of them, to be added to an application."""
        return [
            web.post("/_control/request_url", self._request_url),
            web.post("/_control/{action}", self._post),
            web.get("/_control/state", self._state),
            web.get("/_control/openapi.json", self._openapi),
        ]

    async def _post(self, request: web.Request) -> web.Response:
        action = self._posts.get(request.match_info["action"])
        if action is None:
            raise web.HTTPNotFound
        body, work = action
        return await _answered(work, await _read(request, body))

    def _message(self, body: MessageBody) -> Json:
        message = self._people.say(
            body.user,
            body.channel,
            body.text,
            thread_ts=body.thread_ts,
            files=body.files,
            broadcast=body.broadcast,
            twins=body.twins,
            duplicate=body.duplicate,
        )
        return {"channel": message.channel, "ts": message.ts, "thread_ts": message.thread_ts}

    def _edit(self, body: EditBody) -> Json:
        message = self._people.edit(
            body.channel, body.ts, body.text, twins=body.twins, duplicate=body.duplicate
        )
        return {"channel": message.channel, "ts": message.ts, "thread_ts": message.thread_ts}

    def _delete(self, body: DeleteBody) -> Json:
        self._people.delete(body.channel, body.ts)
        return {"channel": body.channel, "ts": body.ts}

    def _stop(self, body: StopBody) -> Json:
        return {"streaming_message_ts": self._people.stop(body.user, body.channel, body.thread_ts)}

    def _fault(self, body: FaultBody) -> Json:
        if body.kind == "clear":
            self._workspace.faults.clear()
        else:
            self._workspace.fault(Fault(**body.model_dump()))
        return {}

    def _clock(self, body: ClockBody) -> Json:
        self._workspace.advance(body.advance)
        return {"now": self._workspace.clock.now()}

    def _reset(self, _body: ResetBody) -> Json:
        self._workspace.reset()
        return {}

    async def _request_url(self, request: web.Request) -> web.Response:
        body = await _read(request, RequestUrlBody)
        self._workspace.courier.request_url = body.url
        verified = await self._workspace.poster.verify() if body.verify else None
        return web.json_response({"ok": verified is not False, "verified": verified})

    async def _state(self, request: web.Request) -> web.Response:
        _only_loopback(request)
        asked = request.query.get("limit", "")
        limit = int(asked) if asked.isdigit() else _SHOWN
        return web.json_response(shown_state(self._workspace, limit))

    async def _openapi(self, request: web.Request) -> web.Response:
        _only_loopback(request)
        bodies = {name: body for name, (body, _) in self._posts.items()}
        return web.json_response(openapi(bodies | {"request_url": RequestUrlBody}))


def _only_loopback(request: web.Request) -> None:
    # A page in a browser must not reach these routes under a name of its own.
    if request.url.host not in _LOOPBACK:
        raise web.HTTPForbidden(text="control routes answer on loopback names only")


async def _read(request: web.Request, body: type[B]) -> B:
    _only_loopback(request)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON")
    try:
        return body.model_validate_json(await request.read() or b"{}")
    except ValidationError as wrong:
        details = json.dumps({"ok": False, "error": "invalid_body", "detail": str(wrong)})
        raise web.HTTPUnprocessableEntity(text=details, content_type="application/json") from wrong


async def _answered(work: Work, body: Body) -> web.Response:
    try:
        done = work(body)
        answer = await done if inspect.isawaitable(done) else done
    except SlackError as refused:
        status = 404 if refused.name.endswith("_not_found") else 400
        answer = {"ok": False, "error": refused.name, **refused.extra}
        return web.json_response(answer, status=status)
    return web.json_response({"ok": True, **answer})


def shown_state(workspace: Workspace, limit: int) -> Json:
    """The whole workspace; of messages, calls and deliveries the newest `limit`."""
    workspace.streams.expire()
    state, who = workspace.state, workspace.who
    views, homes = shown_views(workspace)
    return {
        "workspace": {
            "team_id": who.team_id,
            "api_app_id": who.api_app_id,
            "bot_user_id": who.bot_user_id,
            "bot_id": who.bot_id,
            "bot_token": workspace.bot_token,
            "app_token": workspace.app_token,
            "signing_secret": workspace.signing_secret,
            "socket_mode": workspace.courier.socket_mode,
            "connections": workspace.sockets.count,
            "request_url": workspace.courier.request_url,
            "now": workspace.clock.now(),
        },
        "users": [asdict(user) for user in state.users.values()],
        "channels": [asdict(channel) for channel in state.channels.values()],
        "messages": _newest(state.messages(), limit),
        "ephemerals": _newest(state.ephemerals, limit),
        "statuses": _newest(state.statuses, limit),
        "views": views,
        "home_views": homes,
        "warnings": _newest(workspace.surfaces.warnings, limit),
        "usergroups": [asdict(group) for group in workspace.surfaces.groups],
        "calls": _newest(workspace.calls, limit),
        "deliveries": _newest(workspace.courier.deliveries, limit),
        "unknown_methods": dict(workspace.unknown_methods),
    }


def _newest(records: Any, limit: int) -> list[Json]:
    return [asdict(record) for record in list(records)[-limit:]] if limit else []


def openapi(bodies: dict[str, type[Body]]) -> Json:
    """The description of the control routes, in OpenAPI 3.1."""
    schemas: Json = {}
    paths: Json = {"/_control/state": {"get": _operation("The whole workspace", None)}}
    for name, body in bodies.items():
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
        summary = (body.__doc__ or "").strip()
        paths[f"/_control/{name}"] = {"post": _operation(summary, body.__name__)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Local Slack: control routes", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(summary: str, body: str | None) -> Json:
    answer = {"description": "Done", "content": {"application/json": {"schema": {}}}}
    operation: Json = {"summary": summary, "responses": {"200": answer}}
    if body is not None:
        schema = {"schema": {"$ref": f"#/components/schemas/{body}"}}
        operation["requestBody"] = {"required": True, "content": {"application/json": schema}}
    return operation
