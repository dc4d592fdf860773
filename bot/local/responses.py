"""Answers to a response_url (docs.slack.dev/interactivity/handling-user-interaction).

Five uses in half an hour, without a token. The status of a refusal is our reading.
"""

import time
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from bot.local import checks
from bot.local.arguments import Arguments
from bot.local.door import Door, Outcome
from bot.local.model import Ephemeral, Json, Message, SlackError
from bot.local.surfaces import RESPONSE_SECONDS, RESPONSE_USES, ResponseUrl
from bot.local.webapi_chat import message_content
from bot.local.workspace import Workspace

METHOD = "response_url"  # the name that faults and recorded calls go by
_GONE, _REFUSED = 404, 400
_TYPES = frozenset({"", "ephemeral", "in_channel"})


class Responses:
    """Answers `POST /actions/{team}/{number}/{token}`; recorded as calls of `response_url`."""

    def __init__(self, workspace: Workspace, door: Door) -> None:
        self._workspace = workspace
        self._door = door

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one answer, or fail it as a fault switch has it."""
        body = await _body(request)
        work = partial(self._taken, request.match_info["token"], body)
        return await self._door.through(request, METHOD, body or {}, work)

    def _taken(self, token: str, body: Json | None) -> Outcome:
        url = self._workspace.surfaces.urls.get(token)
        if url is None:
            return _refused("invalid_url", _GONE)
        if self._workspace.clock.now() - url.at > RESPONSE_SECONDS:
            return _refused("expired_url", _GONE)
        if url.uses >= RESPONSE_USES:
            return _refused("used_url", _GONE)
        # Also what is refused below has been a use.
        self._workspace.surfaces.urls.put(replace(url, uses=url.uses + 1))
        if body is None:
            return _refused("invalid_payload", _REFUSED)
        try:
            self._respond(url, Arguments(body))
        except SlackError as refused:
            return _refused(refused.name, _REFUSED, **refused.extra)
        return Outcome({"ok": True})

    def _respond(self, url: ResponseUrl, args: Arguments) -> None:
        if args.text("response_type") not in _TYPES:
            raise SlackError("invalid_response_type")
        if args.flag("delete_original"):
            self._delete(url)
        elif args.flag("replace_original"):
            self._replace(url, message_content(args, checks.MAX_TEXT))
        else:
            self._add(url, args, message_content(args, checks.MAX_TEXT))

    def _delete(self, url: ResponseUrl) -> None:
        original = self._original(url)
        if isinstance(original, Message):
            self._workspace.publish(self._workspace.remove(original))
        else:
            self._workspace.state.change_ephemeral(original, None)

    def _replace(self, url: ResponseUrl, content: Json) -> None:
        original = self._original(url)
        if isinstance(original, Message):
            edited = {"user": self._workspace.who.bot_user_id, "ts": f"{int(time.time())}.000000"}
            after = replace(original, **content, edited=edited)
            self._workspace.publish(self._workspace.change(original, after))
        else:
            shown = {"text": content["text"], "blocks": content["blocks"]}
            self._workspace.state.change_ephemeral(original, replace(original, **shown))

    def _original(self, url: ResponseUrl) -> Message | Ephemeral:
        state = self._workspace.state
        message = state.message(url.channel, url.original or "")
        if message is not None and message.bot_id == self._workspace.who.bot_id:
            return message
        for ephemeral in state.ephemerals:
            if ephemeral.ts == url.original:
                return ephemeral
        # A shortcut's message is somebody else's.
        raise SlackError("cant_update_message" if message is not None else "message_not_found")

    def _add(self, url: ResponseUrl, args: Arguments, content: Json) -> None:
        workspace, who = self._workspace, self._workspace.who
        thread_ts = args.text("thread_ts") or None
        if thread_ts is not None:
            workspace.thread_root(workspace.state.channels[url.channel], thread_ts)
        ts = workspace.state.next_ts()
        if args.text("response_type") == "in_channel":
            message = Message(
                channel=url.channel,
                ts=ts,
                team=who.team_id,
                at=workspace.clock.now(),
                bot_id=who.bot_id,
                subtype="bot_message",
                thread_ts=thread_ts,
                **content,
            )
            workspace.publish(workspace.post(message))
            return
        ephemeral = Ephemeral(
            url.channel, url.user, content["text"], content["blocks"], thread_ts, ts
        )
        workspace.state.add_ephemeral(ephemeral)


async def _body(request: web.Request) -> Json | None:
    if request.content_type != "application/json":
        return None
    try:
        body: Any = await request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _refused(error: str, status: int, **extra: Any) -> Outcome:
    return Outcome({"ok": False, "error": error, **extra}, status)
