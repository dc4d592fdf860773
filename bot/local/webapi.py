"""The Web API: one door for every call, with its token, limits, scopes, faults and record.

docs.slack.dev/apis/web-api. Unknown methods are counted, so that a test can fail on them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from bot.local.arguments import Arguments, read_arguments
from bot.local.door import Door, Outcome, limited, refusal
from bot.local.model import Json, SlackError
from bot.local.repeats import Repeats
from bot.local.tickets import Tickets
from bot.local.webapi_agents import Agents
from bot.local.webapi_assistant import AssistantThreads
from bot.local.webapi_chat import Chat
from bot.local.webapi_files import FileMethods
from bot.local.webapi_reactions import Reactions
from bot.local.webapi_read import Reading
from bot.local.webapi_streams import StreamMethods
from bot.local.webapi_usergroups import UserGroups
from bot.local.webapi_views import ViewMethods
from bot.local.workspace import Workspace

_PREFIX = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Method:
    """A method's work and the scope it needs; `{kind}` stands for the conversation's kind.

    `app_level` methods take the app's token, all others the bot's.
    """

    work: Callable[[Arguments], Json]
    scope: str = ""
    app_level: bool = False


class WebApi:
    """Answers `POST` and `GET` `/api/{method}`."""

    def __init__(self, workspace: Workspace, door: Door, tickets: Tickets) -> None:
        self._workspace = workspace
        self._door = door
        self._methods = self._writing() | self._reading() | self._showing() | self._filing(tickets)

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
            "chat.getPermalink": Method(reading.permalink),
            "conversations.members": Method(reading.members, "{kind}:read"),
            "conversations.open": Method(reading.open, "{open}:write"),
            "users.conversations": Method(reading.ours, "channels:read"),
            "users.info": Method(reading.user_info, "users:read"),
            "bots.info": Method(reading.bot_info, "users:read"),
            "usergroups.users.list": Method(UserGroups(self._workspace).users, "usergroups:read"),
        }

    def _showing(self) -> dict[str, Method]:
        views = ViewMethods(self._workspace)
        suggest = AssistantThreads(self._workspace).set_suggested_prompts
        return {
            "views.open": Method(views.open),
            "views.update": Method(views.update),
            "views.push": Method(views.push),
            "views.publish": Method(views.publish),
            "assistant.threads.setSuggestedPrompts": Method(suggest, "assistant:write"),
        }

    def _filing(self, tickets: Tickets) -> dict[str, Method]:
        files = FileMethods(self._workspace, tickets)
        return {
            "files.info": Method(files.info, "files:read"),
            "files.getUploadURLExternal": Method(files.upload_url, "files:write"),
            "files.completeUploadExternal": Method(files.complete, "files:write"),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, or fail it as a fault switch has it; recorded in either case."""
        method = request.match_info["method"]
        try:
            args = await read_arguments(request)
        except SlackError as refused:
            response = self._door.answer(method, {}, refusal(refused), None, time.perf_counter())
        else:
            work = partial(self._work, method, args, request)
            response = await self._door.through(request, method, args.values, work)
        if response.status != _NOT_FOUND:
            scopes = ",".join(sorted(self._workspace.settings.scopes))
            response.headers["x-oauth-scopes"] = scopes
        return response

    def _work(self, method: str, args: Arguments, request: web.Request) -> Outcome:
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
                return limited(wait)
        self._check_scope(known, args)
        self._workspace.streams.expire()
        return Outcome({"ok": True, **known.work(args)})

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
