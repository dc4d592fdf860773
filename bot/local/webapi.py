"""The Web API: one door for every call, with its token, limits, scopes, faults and record.

docs.slack.dev/apis/web-api. Unknown methods are counted, so that a test can fail on them.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from bot.local.arguments import Arguments, read_arguments
from bot.local.faults import API_FAULTS, Fault
from bot.local.model import Call, Json, SlackError
from bot.local.repeats import Repeats
from bot.local.webapi_agents import Agents
from bot.local.webapi_chat import Chat
from bot.local.webapi_reactions import Reactions
from bot.local.webapi_read import Reading
from bot.local.webapi_streams import StreamMethods
from bot.local.workspace import Workspace

_PREFIX = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
_NOTHING: Json = {}
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Method:
    """A method's work and the scope it needs; `{kind}` stands for the conversation's kind.

    `app_level` methods take the app's token, all others the bot's.
    """

    work: Callable[[Arguments], Json]
    scope: str = ""
    app_level: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    answer: Json
    status: int = 200
    retry_after: int | None = None


class WebApi:
    """Answers `POST` and `GET` `/api/{method}`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._methods = self._writing() | self._reading()

    def _writing(self) -> dict[str, Method]:
        repeats = Repeats(self._workspace)
        chat, streams = Chat(self._workspace, repeats), StreamMethods(self._workspace, repeats)
        agents, reactions = Agents(self._workspace), Reactions(self._workspace)
        return {
            "chat.postMessage": Method(chat.post_message, "chat:write"),
            "chat.update": Method(chat.update, "chat:write"),
            "chat.delete": Method(chat.delete, "chat:write"),
            "chat.postEphemeral": Method(chat.post_ephemeral, "chat:write"),
            "chat.startStream": Method(streams.start, "chat:write"),
            "chat.appendStream": Method(streams.append, "chat:write"),
            "chat.stopStream": Method(streams.stop, "chat:write"),
            "agents.sessions.setStatus": Method(agents.set_status, "chat:write"),
            "agents.sessions.rename": Method(agents.rename, "chat:write"),
            "reactions.add": Method(reactions.add, "reactions:write"),
            "reactions.remove": Method(reactions.remove, "reactions:write"),
            "reactions.get": Method(reactions.get, "reactions:read"),
        }

    def _reading(self) -> dict[str, Method]:
        reading = Reading(self._workspace)
        return {
            "auth.test": Method(reading.auth_test),
            "apps.connections.open": Method(self._open_connection, app_level=True),
            "conversations.replies": Method(reading.replies, "{kind}:history"),
            "conversations.history": Method(reading.history, "{kind}:history"),
            "conversations.info": Method(reading.info, "{kind}:read"),
            "conversations.members": Method(reading.members, "{kind}:read"),
            "conversations.open": Method(reading.open, "{open}:write"),
            "users.info": Method(reading.user_info, "users:read"),
            "bots.info": Method(reading.bot_info, "users:read"),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, or fail it as a fault switch has it; recorded in either case."""
        method = request.match_info["method"]
        try:
            args = await read_arguments(request)
        except SlackError as refused:
            return self._respond(method, Arguments({}), _refusal(refused), None)
        fault = self._workspace.faults.take(API_FAULTS, method)
        if fault is not None and fault.kind == "stall_before":
            # True seconds whatever the clock: the caller's deadline runs in them.
            await asyncio.sleep(fault.seconds)
        outcome = _failed(fault) or self._outcome(method, args, request)
        if fault is not None and fault.kind == "stall_after":
            await asyncio.sleep(fault.seconds)
        response = self._respond(method, args, outcome, fault)
        if fault is not None and fault.kind.startswith("drop") and request.transport is not None:
            request.transport.abort()
        return response

    def _outcome(self, method: str, args: Arguments, request: web.Request) -> _Outcome:
        try:
            return self._work(method, args, request)
        except SlackError as refused:
            return _refusal(refused)

    def _work(self, method: str, args: Arguments, request: web.Request) -> _Outcome:
        known = self._methods.get(method)
        if known is None:
            self._workspace.unknown_methods[method] += 1
            raise SlackError("unknown_method", req_method=method)
        self._check_token(known, args, request)
        if known.app_level and request.method != "POST":
            raise SlackError("insecure_request")
        if self._workspace.settings.limits:
            channel = args.text("channel")
            if wait := self._workspace.limits.take(method, channel):
                return _limited(wait)
        self._check_scope(known, args)
        self._workspace.streams.expire()
        return _Outcome({"ok": True, **known.work(args)})

    def _open_connection(self, _args: Arguments) -> Json:
        return {"url": self._workspace.sockets.open()}

    def _check_token(self, method: Method, args: Arguments, request: web.Request) -> None:
        scheme, _, header = request.headers.get("Authorization", "").partition(" ")
        token = header if scheme.lower() == "bearer" else args.text("token")
        if not token:
            raise SlackError("not_authed")
        known = {self._workspace.bot_token: False, self._workspace.app_token: True}
        if token not in known:
            raise SlackError("invalid_auth")
        if known[token] != method.app_level:
            raise SlackError("not_allowed_token_type")
        if self._workspace.token_error is not None:
            raise SlackError(self._workspace.token_error)

    def _check_scope(self, method: Method, args: Arguments) -> None:
        several = "," in args.text("users")
        channel = self._workspace.state.channels.get(args.text("channel"))
        kind = _PREFIX[channel.kind] if channel is not None else "channels"
        needed = method.scope.format(kind=kind, open="mpim" if several else "im")
        if needed:
            self._workspace.need_scope(needed)

    def _respond(
        self, method: str, args: Arguments, outcome: _Outcome, fault: Fault | None
    ) -> web.Response:
        kind = fault.kind if fault is not None else None
        status = fault.status if fault is not None and kind == "error_after" else outcome.status
        recorded = 0 if kind is not None and kind.startswith("drop") else status
        shown = {name: value for name, value in args.values.items() if name != "token"}
        call = Call(method, shown, outcome.answer, recorded, time.time(), kind)
        self._workspace.calls.append(call)
        answer = outcome.answer if status < 500 else _NOTHING  # noqa: PLR2004  # 5xx
        if status == _NOT_FOUND:
            return web.Response(status=status, text="Not found")
        response = web.json_response(answer, status=status)
        response.headers["x-oauth-scopes"] = ",".join(sorted(self._workspace.settings.scopes))
        if outcome.retry_after is not None:
            response.headers["Retry-After"] = str(outcome.retry_after)
        return response


def _refusal(refused: SlackError) -> _Outcome:
    return _Outcome({"ok": False, "error": refused.name, **refused.extra})


def _limited(seconds: int) -> _Outcome:
    return _Outcome({"ok": False, "error": "ratelimited"}, 429, retry_after=seconds)


def _failed(fault: Fault | None) -> _Outcome | None:
    """The answer of a fault that keeps the call from happening; None when it goes on."""
    if fault is None:
        return None
    match fault.kind:
        case "drop_before":
            return _Outcome(_NOTHING)
        case "error_before":
            return _Outcome(_NOTHING, fault.status)
        case "ratelimit":
            return _limited(fault.retry_after)
        case "api_error":
            return _Outcome({"ok": False, "error": fault.error})
        case "method_unknown":
            return _missing(fault)
        case _:
            return None


def _missing(fault: Fault) -> _Outcome:
    if fault.status == _NOT_FOUND:
        return _Outcome(_NOTHING, _NOT_FOUND)
    chosen = fault.error != Fault(fault.kind).error
    return _Outcome({"ok": False, "error": fault.error if chosen else "unknown_method"})
