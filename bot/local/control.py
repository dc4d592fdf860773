"""The control routes: what people do, and faults, over HTTP on loopback."""

from dataclasses import asdict
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from bot.local.control_interactions import (
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
from bot.local.control_messages import (
    DeleteBody,
    EditBody,
    MarkBody,
    MessageBody,
    MessageControl,
    OpenDmBody,
    ReactBody,
    RenameBody,
    StopBody,
)
from bot.local.control_openapi import openapi
from bot.local.faults import Fault, FaultKind
from bot.local.model import Json
from bot.local.routes import Body, Work, answered, only_loopback, read_body
from bot.local.workspace import Workspace

_SHOWN = 1_000


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


class Control:
    """The routes under `/_control/`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        writing, pressing = MessageControl(workspace), InteractionControl(workspace)
        self._posts: dict[str, tuple[type[Body], Work]] = {
            "message": (MessageBody, writing.message),
            "edit": (EditBody, writing.edit),
            "delete": (DeleteBody, writing.delete),
            "react": (ReactBody, writing.react),
            "stop": (StopBody, writing.stop),
            "rename": (RenameBody, writing.rename),
            "mark": (MarkBody, writing.mark),
            "open_dm": (OpenDmBody, writing.open_dm),
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
        return await answered(work, await read_body(request, body))

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
        body = await read_body(request, RequestUrlBody)
        self._workspace.courier.request_url = body.url
        verified = await self._workspace.poster.verify() if body.verify else None
        return web.json_response({"ok": verified is not False, "verified": verified})

    async def _state(self, request: web.Request) -> web.Response:
        only_loopback(request)
        asked = request.query.get("limit", "")
        limit = int(asked) if asked.isdigit() else _SHOWN
        return web.json_response(shown_state(self._workspace, limit))

    async def _openapi(self, request: web.Request) -> web.Response:
        only_loopback(request)
        bodies = {name: body for name, (body, _) in self._posts.items()}
        return web.json_response(openapi(bodies | {"request_url": RequestUrlBody}))


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
