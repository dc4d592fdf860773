"""What Slack sends, from a verified request to a committed row: Bolt with one awaited step.

Bolt acknowledges before a listener runs, so nothing durable stands in a listener: a global
middleware takes everything, waits for the commit, and answers. It stands before Bolt's authorization,
so Bolt neither looks for a listener nor gathers the arguments of one, which is most of what it does
with an event. Bolt's own signature and self-event checks are off: `bot.http` verifies the raw bytes
before anything parses them, and `bot.events` names what it ignores.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Literal, assert_never

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.middleware.async_middleware import AsyncMiddleware
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient
from typing_extensions import override

from bot import events, presses
from bot.events import (
    HomeOpened,
    Ignored,
    InstallChange,
    SlackDelete,
    SlackGesture,
    SlackJoined,
    SlackMessage,
    SlackRename,
    SlackStop,
    Stranger,
    Unreadable,
)
from bot.homes import Homes
from bot.incoming import Tenant
from bot.install import InstallBook, KnownInstall
from bot.interactions import Done, Interactions
from bot.metrics import Metrics
from router.errors import AcceptUnavailable, ConfigurationError
from router.intake import Intake
from router.routing import Arrival, Outcome
from store import database

_log = structlog.get_logger(__name__)

_TENANT = "threadline_tenant"
_RETRY = "x-slack-retry-num"
_FIRST = Decimal(0)
# What Bolt reads as objects before our step has its turn; it fails on anything else.
_OBJECTS = ("event", "team", "enterprise", "user", "view", "channel", "container", "message")


class NotInstalled(Exception):
    """The team is known not to have the app: acknowledged, counted, ignored."""


_Next = Callable[[], Awaitable[BoltResponse]]


class _Step(AsyncMiddleware):
    """Our step as Bolt calls it: a class, since for a function Bolt gathers arguments by name."""

    def __init__(self, take: Callable[[AsyncBoltRequest, _Next], Awaitable[BoltResponse]]) -> None:
        self._take = take

    @override
    async def async_process(
        self,
        *,
        req: AsyncBoltRequest,
        resp: BoltResponse,
        next: _Next,  # Bolt's name
    ) -> BoltResponse:
        return await self._take(req, next)


class _Bolt(AsyncApp):
    """Bolt with one web client for all requests: nobody asks for it, and one for each takes 6 % of an ack."""

    @override
    def _init_context(self, req: AsyncBoltRequest) -> None:
        req.context["logger"] = self.logger
        req.context["client"] = self.client
        req.context["listener_runner"] = self.listener_runner


async def _authorize() -> AuthorizeResult:
    """Bolt wants one to be there, and never asks it: our step has answered before."""
    raise RuntimeError("a request went past our step")


class Ingress:
    """Dispatches verified requests. `dispatch` answers; it never raises for what Slack sent."""

    def __init__(
        self,
        book: InstallBook,
        intake: Intake,
        interactions: Interactions,
        homes: Homes,
        metrics: Metrics,
        *,
        api_url: str,
    ) -> None:
        self._book = book
        self._intake = intake
        self._interactions = interactions
        self._homes = homes
        self._metrics = metrics
        with _without_slack_variables():
            self._bolt = _Bolt(
                name="threadline",
                client=AsyncWebClient(base_url=api_url, retry_handlers=[]),
                signing_secret="",
                before_authorize=_Step(self._accept),
                authorize=_authorize,
                process_before_response=True,
                request_verification_enabled=False,
                ignoring_self_events_enabled=False,
                attaching_function_token_enabled=False,
            )
        self._bolt.error(self._answer_error)

    async def dispatch(
        self, raw: str, payload: dict[str, Any] | None, *, retry: str | None = None
    ) -> BoltResponse:
        """The answer to a verified request; `payload` is its JSON, None for what Bolt reads itself.

        `raw` is the body as text, `retry` the number that Slack gave the attempt.

        Raises Unreadable for a payload that names no tenant, or that Bolt would stumble over.
        """
        context: dict[str, Any] = {}
        if payload is not None and payload.get("type") not in ("url_verification", "ssl_check"):
            _check_shape(payload)
            context[_TENANT] = events.tenant_of(payload)
        headers: dict[str, str | Sequence[str]] = {_RETRY: retry} if retry else {}
        # As it does for Socket Mode, Bolt then takes the payload as it is: parsed once.
        mode, body = ("http", raw) if payload is None else ("socket_mode", payload)
        return await self._bolt.async_dispatch(
            AsyncBoltRequest(body=body, headers=headers, context=context, mode=mode)
        )

    # -------------------------------------------------------------- the one awaited step

    async def _accept(self, req: AsyncBoltRequest, next_: _Next) -> BoltResponse:
        body = req.body
        if body.get("type") in ("url_verification", "app_rate_limited"):
            self._count("ignored", str(body["type"]))
            return await next_() if body["type"] == "url_verification" else BoltResponse(status=200)
        install = await self._install(req.context[_TENANT])
        if presses.is_interaction(body):
            return self._done(await self._interactions.take(body, install))
        return await self._take(body, install, next(iter(req.headers.get(_RETRY) or ()), None))

    async def _take(
        self, body: dict[str, Any], install: KnownInstall, retry: str | None
    ) -> BoltResponse:
        event = events.parse(body, install.identity)
        match event:
            case Ignored():
                self._count("ignored", event.reason)
            case InstallChange():
                await self._end_install(event)
            case HomeOpened():
                self._homes.opened(install.row.id, event)
                self._count("home", event.tab)
            case _:
                outcome = await self._intake.accept(arrival_of(event, install))
                self._count(outcome.kind, outcome.reason or "")
                self._log(event, outcome, retry)
        return BoltResponse(status=200)

    async def _install(self, tenant: Tenant) -> KnownInstall:
        """The install that a request is for. Raises NotInstalled, or the database's errors."""
        found = await self._book.find(tenant.api_app_id, tenant.tenant_id)
        if found is None:
            raise NotInstalled(tenant.tenant_id)
        return found

    async def _end_install(self, event: InstallChange) -> None:
        status = "uninstalled" if event.kind == "uninstalled" else "revoked"
        ended = await self._book.end(event.api_app_id, event.tenant_id, status)
        self._count("install_ended" if ended else "duplicate", event.kind)
        _log.warning("install.ended", tenant=event.tenant_id, status=status)

    def _done(self, done: Done) -> BoltResponse:
        self._count(done.kind, done.reason)
        return BoltResponse(status=200, body=done.answer or "")

    async def _answer_error(self, error: Exception, body: dict[str, Any]) -> BoltResponse:
        """503 where Slack shall send again; 200 where it is known that nobody is here; 400 for junk."""
        if isinstance(error, NotInstalled):
            self._count("ignored", "not_installed")
            return BoltResponse(status=200)
        if isinstance(error, Unreadable):
            self._count("unreadable", "")
            _log.warning("event.unreadable", error=str(error))
            return BoltResponse(status=400, body="unreadable event")
        known = isinstance(error, (AcceptUnavailable, ConfigurationError, *database.ERRORS))
        if known:
            _log.warning("event.not_accepted", error=f"{type(error).__name__}: {error}")
        else:
            _log.error("event.failed", exc_info=error)
        # An interaction never comes again: then whoever pressed has to be told.
        if presses.is_interaction(body) and (done := await self._interactions.excuse(body)):
            return self._done(done)
        self._count("unavailable", type(error).__name__)
        return BoltResponse(status=503)

    def _count(self, outcome: str, reason: str) -> None:
        self._metrics.event(outcome, reason)

    def _log(self, event: SlackGesture, outcome: Outcome, retry: str | None) -> None:
        if not _log.is_enabled_for(logging.INFO):
            return
        _log.info(
            "event.accepted" if outcome.kind == "accepted" else "event.settled",
            outcome=outcome.kind,
            reason=outcome.reason,
            conversation=event.conversation_key,
            slack_event_id=event.event_id,
            session_id=str(outcome.session.session_id) if outcome.session else None,
            retry=retry,
        )


def _check_shape(payload: dict[str, Any]) -> None:
    for name in _OBJECTS:
        value = payload.get(name)
        if value is not None and not isinstance(value, dict):
            raise Unreadable(f"{name} is no object")
    listed = payload.get("authorizations")
    if listed is None:
        return
    if not isinstance(listed, list) or not all(isinstance(x, dict) for x in listed):
        raise Unreadable("authorizations is no list of objects")


def arrival_of(event: SlackGesture, install: KnownInstall) -> Arrival:
    """What the intake wants of a Slack event."""
    if isinstance(event, SlackMessage):
        return _arrival(
            event,
            install,
            text=event.text,
            revision=Decimal(event.revision) if event.revision else _FIRST,
            addressed=event.addressed,
            only_if_known=event.only_if_stored,
            client_key=event.client_key,
            command=command_of(event),
            files=tuple(asdict(file) for file in event.files),
        )
    match event:
        case Stranger():
            return _arrival(event, install, stranger=True)
        case SlackStop():
            stop = f"stop:{event.api_app_id}:{event.tenant_id}:{event.channel_id}:{event.ts}"
            return _arrival(event, install, command="stop", dedupe_key=stop)
        case SlackRename():
            return _arrival(event, install, text=event.title, command="rename")
        case SlackJoined():
            return _arrival(event, install, joined=True)
        case SlackDelete():
            return _arrival(event, install, deleted=True, addressed=event.addressed)
        case _:
            assert_never(event)


def _arrival(
    event: SlackGesture,
    install: KnownInstall,
    *,
    text: str = "",
    dedupe_key: str | None = None,
    **more: Any,
) -> Arrival:
    return Arrival(
        install_id=install.row.id,
        conversation_key=event.conversation_key,
        api_app_id=event.api_app_id,
        team_id=event.team_id,
        channel_id=event.channel_id,
        root_ts=event.root_ts,
        ts=Decimal(event.ts),
        dedupe_key=dedupe_key or event.message_key,
        user_id=event.user_id or "",
        text=text,
        actor_team_id=event.actor_team_id,
        slack_event_id=event.event_id,
        **more,
    )


def command_of(message: SlackMessage) -> Literal["stop", "mute", "unmute"] | None:
    """What is said to us and not to the agent: one such word alone, in a thread."""
    if message.root_ts == message.ts or message.is_edit:
        return None
    match message.text.strip().rstrip(".!").casefold():
        case "stop":
            return "stop"
        case "mute":
            return "mute"
        case "unmute":
            return "unmute"
        case _:
            return None


@contextmanager
def _without_slack_variables() -> Iterator[None]:
    """Hides SLACK_* while Bolt is built: it would make file-based OAuth stores of its own."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SLACK_")}
    try:
        yield
    finally:
        os.environ.update(hidden)
