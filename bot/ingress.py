"""What Slack sends, from a verified request to a committed row: Bolt with one awaited step.

Bolt acknowledges before a listener runs, so nothing durable stands in a listener: a global
middleware takes every event, waits for the commit, and answers. Bolt's own signature and self-event
checks are off: `bot.http` verifies the raw bytes before anything parses them, and `bot.events` names
what it ignores.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Literal, assert_never

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

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
_INSTALL = "threadline_install"
# What Bolt reads as objects before our step has its turn; it fails on anything else.
_OBJECTS = ("event", "team", "enterprise", "user", "view", "channel", "container", "message")


class NotInstalled(Exception):
    """The team is known not to have the app: acknowledged, counted, ignored."""


async def known_install(book: InstallBook, context: AsyncBoltContext) -> KnownInstall:
    """The install that a request is for. Raises NotInstalled, or the database's errors."""
    tenant: Tenant = context[_TENANT]
    found = await book.find(tenant.api_app_id, tenant.tenant_id)
    if found is None:
        raise NotInstalled(tenant.tenant_id)
    context[_INSTALL] = found
    return found


def _authorizer(book: InstallBook) -> Callable[..., Awaitable[AuthorizeResult]]:
    """Finds the install. Raises when it cannot know, since Bolt answers 200 to a plain None."""

    async def authorize(context: AsyncBoltContext) -> AuthorizeResult:
        install = await known_install(book, context)
        row = install.row
        return AuthorizeResult(
            enterprise_id=row.enterprise_id,
            team_id=row.team_id,
            bot_user_id=row.bot_user_id,
            bot_id=row.bot_id,
            bot_token=install.token,
            bot_scopes=row.scopes,
        )

    return authorize


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
            self._bolt = AsyncApp(
                name="threadline",
                client=AsyncWebClient(base_url=api_url, retry_handlers=[]),
                signing_secret="",
                authorize=_authorizer(book),
                process_before_response=True,
                request_verification_enabled=False,
                ignoring_self_events_enabled=False,
                attaching_function_token_enabled=False,
            )
        self._bolt.middleware(self._accept)
        self._bolt.error(self._answer_error)

    async def dispatch(
        self,
        raw: str | dict[str, Any],
        headers: dict[str, str | Sequence[str]],
        payload: dict[str, Any] | None,
    ) -> BoltResponse:
        """The answer to a verified request; `payload` is its JSON, None for what Bolt reads itself.

        `raw` is the body of an HTTP request, or the payload of an envelope of Socket Mode.

        Raises Unreadable for a payload that names no tenant, or that Bolt would stumble over.
        """
        context: dict[str, Any] = {}
        if payload is not None and payload.get("type") not in ("url_verification", "ssl_check"):
            _check_shape(payload)
            context[_TENANT] = events.tenant_of(payload)
        return await self._bolt.async_dispatch(
            AsyncBoltRequest(
                body=raw,
                headers=headers,
                context=context,
                mode="http" if isinstance(raw, str) else "socket_mode",
            )
        )

    # -------------------------------------------------------------- the one awaited step

    async def _accept(
        self,
        req: AsyncBoltRequest,
        context: AsyncBoltContext,
        body: dict[str, Any],
        next_: Callable[[], Awaitable[BoltResponse]],
    ) -> BoltResponse:
        if body.get("type") in ("url_verification", "app_rate_limited"):
            self._count("ignored", str(body["type"]))
            return await next_() if body["type"] == "url_verification" else BoltResponse(status=200)
        install = context.get(_INSTALL) or await known_install(self._book, context)
        if presses.is_interaction(body):
            return self._done(await self._interactions.take(body, install))
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
                self._log(event, outcome, req)
        return BoltResponse(status=200)

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
        self._metrics.events.labels(outcome, reason).inc()

    def _log(
        self,
        event: SlackGesture,
        outcome: Outcome,
        req: AsyncBoltRequest,
    ) -> None:
        _log.info(
            "event.accepted" if outcome.kind == "accepted" else "event.settled",
            outcome=outcome.kind,
            reason=outcome.reason,
            conversation=event.conversation_key,
            slack_event_id=event.event_id,
            session_id=str(outcome.session.session_id) if outcome.session else None,
            retry=next(iter(req.headers.get("x-slack-retry-num") or ()), None),
        )


def _check_shape(payload: dict[str, Any]) -> None:
    for name in _OBJECTS:
        if not isinstance(payload.get(name), dict | None):
            raise Unreadable(f"{name} is no object")
    listed = payload.get("authorizations")
    if not isinstance(listed, list | None) or not all(isinstance(x, dict) for x in listed or []):
        raise Unreadable("authorizations is no list of objects")


def arrival_of(event: SlackGesture, install: KnownInstall) -> Arrival:
    """What the intake wants of a Slack event."""
    common: dict[str, Any] = {
        "install_id": install.row.id,
        "conversation_key": event.conversation_key,
        "api_app_id": event.api_app_id,
        "team_id": event.team_id,
        "channel_id": event.channel_id,
        "root_ts": event.root_ts,
        "ts": Decimal(event.ts),
        "dedupe_key": event.message_key,
        "user_id": event.user_id or "",
        "actor_team_id": event.actor_team_id,
        "slack_event_id": event.event_id,
    }
    match event:
        case Stranger():
            return Arrival(**common, text="", stranger=True)
        case SlackStop():
            stop = f"stop:{event.api_app_id}:{event.tenant_id}:{event.channel_id}:{event.ts}"
            return Arrival(**common | {"dedupe_key": stop}, text="", command="stop")
        case SlackRename():
            return Arrival(**common, text=event.title, command="rename")
        case SlackJoined():
            return Arrival(**common, text="", joined=True)
        case SlackDelete():
            return Arrival(**common, text="", deleted=True, addressed=event.addressed)
        case SlackMessage():
            return Arrival(
                **common,
                text=event.text,
                revision=Decimal(event.revision or 0),
                addressed=event.addressed,
                only_if_known=event.only_if_stored,
                client_key=event.client_key,
                command=command_of(event),
                files=tuple({"name": f.name, "mimetype": f.mimetype} for f in event.files),
            )
        case _:
            assert_never(event)


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
