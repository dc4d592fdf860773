"""The composition root: builds everything once, starts it in one TaskGroup, stops it in order."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from aiohttp import web

from bot import process
from bot.conversation import SlackConversation
from bot.delivery import Deliverer
from bot.doubles import Doubles
from bot.ground import Ground, open_pool, opened
from bot.home_reading import HomeReader
from bot.homes import Homes
from bot.http import Operations, SlackRoute, application
from bot.ingress import Ingress
from bot.install import InstallBook
from bot.interactions import Heard, Interactions
from bot.metrics import Metrics
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.previewing import SlackPreviews
from bot.sealing import Keyring
from bot.slack import BotIdentity, Slack
from bot.slack_tools import ChannelReading
from bot.socket import Socket
from bot.surfaces import Surfaces
from bot.thread_reading import ThreadReading
from bot.uploading import Ends
from router import clock
from router.api import serve
from router.api.serve import Api
from router.approvals import Approvals
from router.errors import ConfigurationError
from router.escalations import Escalations
from router.intake import Intake
from router.loops import Stop, every
from router.outputs import Outputs
from router.retention import Retention
from router.settings import Settings
from router.turns.awaiting import Pace, Waits
from router.turns.engine import Engine, Timing
from router.turns.worker import Wakes, Worker
from store import database, members, outbox
from store.database import Pool
from store.installs import NewInstall
from store.leases import Ready

_log = structlog.get_logger(__name__)

ROLES = process.ROLES
_API_CONNECTIONS = 10
_STOP_SECONDS = 10.0
_LET_GO_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 2.0
_HEADER_BYTES = 32 * 1024  # browsers send all pieces of a Supabase session as one Cookie header


@dataclass(frozen=True, slots=True)
class Config:
    """What one process is made of; `roles` are what it does of the whole.

    `pages` adds what a demo serves beside it.
    """

    settings: Settings
    dsn: str
    keyring: Keyring
    roles: frozenset[str] = ROLES
    workspace: str = "default"
    timing: Timing | None = None
    pages: Callable[[web.Application], None] | None = None

    def timings(self) -> Timing:
        """The waits that follow from the settings."""
        lease = self.settings.threadline_lease_seconds
        sweep = self.settings.threadline_sweep_seconds
        return self.timing or Timing(lease=lease, sweep=sweep)


@dataclass(frozen=True, slots=True)
class App:
    """A running process."""

    url: str
    book: InstallBook
    slack: Slack
    intake: Intake
    worker: Worker
    metrics: Metrics


def owner_name() -> str:
    """Who holds a lease: this process, told apart from its namesakes on other machines."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[App]:
    """Everything started and listening; at the end everything handed back and stopped."""
    settings = config.settings
    if lacking := missing(settings, config.roles):
        raise ConfigurationError.to_set(lacking)
    stop = Stop()
    async with AsyncExitStack() as stack:
        ground = await opened(stack, settings, config.dsn, config.keyring, config.timings())
        book, slack = ground.book, ground.slack
        built = _Built(config, stop, ground)
        api = await built.api(stack)
        if built.socket is not None:
            await built.socket.check()
        installing = partial(install_from_settings, config, ground.pool, book, slack)
        installed = await installing() is not None or settings.slack_bot_token is None
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(loop) for loop in built.loops()]
            loops += [] if installed else [tasks.create_task(_install_later(installing, stop))]
            loops += [tasks.create_task(api.run(stop))] if api is not None else []
            tasks.create_task(_hurry(stop, loops, built.pools))
            try:
                async with _listening(built.http(api), settings) as url:
                    _log.info("app.started", url=url, roles=sorted(config.roles))
                    yield App(url, book, slack, built.intake, built.worker, built.metrics)
            finally:
                stop.say()
        _log.info("app.stopped")


class _Built:
    """The collaborators of one process, wired."""

    def __init__(self, config: Config, stop: Stop, ground: Ground) -> None:
        self._config, self._stop, self._ground = config, stop, ground
        settings, timing = config.settings, config.timings()
        self._api: Api | None = None
        self.pools = [ground.ack_pool, ground.pool, ground.leases, ground.permits]
        self.metrics = Metrics()
        owner = owner_name()
        budgets = ground.budgets
        ends = Ends(ground.runtime.files, settings.slack_api_url)
        self.delivery = Deliverer(
            ground.pool, ground.slack, budgets, ends, owner=owner, sweep_seconds=timing.sweep
        )
        self.doubles = Doubles(
            ground.pool, ground.slack, budgets, self.metrics.doubles.labels("slack").inc
        )
        circuits = ground.slack.circuits
        self.metrics.circuits.labels("unanswered").set_function(circuits.unanswered)
        self.metrics.circuits.labels("revoked").set_function(circuits.revoked)
        self.conversation = SlackConversation(
            ground.slack, ground.book, budgets, self.delivery.wake
        )
        self.engine = Engine(
            ground.pool,
            ground.runtime,
            self.conversation,
            SlackPreviews(ground.pool, ground.slack, budgets),
            timing,
            self._ready,
            self.metrics.doubles.labels("runtime").inc,
            ground.files,
            ThreadReading(ground.slack, ground.book, budgets, self.conversation.standings),
            ChannelReading(ground.slack, budgets, self.conversation.standings),
        )
        capacity = settings.threadline_live_turns
        self.worker = Worker(self.engine, ground.leases, owner=owner, capacity=capacity)
        self.wakes = Wakes(config.dsn, self._heard, ground.book.forget)
        self.intake = Intake(ground.ack_pool, self._ready, self.delivery.wake)
        self.homes = self._homes()
        self.interactions = Interactions(
            ground.ack_pool,
            self._doors(),
            Surfaces(ground.slack),
            self.conversation.standings,
            Heard(self.delivery.wake, self.homes.pressed),
        )
        self.ingress = Ingress(
            ground.book,
            self.intake,
            self.interactions,
            self.homes,
            self.metrics,
            api_url=config.settings.slack_api_url,
        )
        self.socket = self._socket()

    def _homes(self) -> Homes:
        """What people see who look at the app: read from the pool that no 200 waits for."""
        pool, surfaces = self._ground.pool, Surfaces(self._ground.slack)
        reader = HomeReader(pool, self._ground.book, surfaces, self.conversation)
        return Homes(pool, surfaces, self._ground.budgets, reader)

    def _doors(self) -> tuple[Approvals, Escalations]:
        """The doors by which people decide, the same for everybody who asks."""
        pool, wake = self._ground.ack_pool, self.delivery.wake
        return Approvals(pool, self._ready, wake), Escalations(pool, self._ready, wake)

    def _socket(self) -> Socket | None:
        """Where Slack's events come from, if not over HTTP."""
        settings = self._config.settings
        token = settings.slack_app_token
        if "ingress" not in self._config.roles or token is None:
            return None
        return Socket(
            self.ingress, app_token=token.get_secret_value(), api_url=settings.slack_api_url
        )

    def _ready(self, ready: list[Ready]) -> None:
        """A session of this process wants a worker: here at once, and a hint to the others."""
        self._heard(ready)
        self.wakes.tell(ready)

    def _heard(self, ready: list[Ready]) -> None:
        if "worker" in self._config.roles:
            self.worker.offer(ready)
        if self._api is not None:
            self._api.wake(ready)

    def loops(self) -> Iterable["asyncio._CoroutineLike[None]"]:
        """What runs until the stop, by role."""
        roles, stop, sweep = self._config.roles, self._stop, self._config.timings().sweep
        yield self.wakes.run(stop)
        if "ingress" in roles:
            yield self.intake.run(stop)
            yield self.homes.run(stop)
            yield every(sweep, self.intake.move_unclaimed, stop)
        if self.socket is not None:
            yield self.socket.run(stop)
        if "worker" in roles:
            yield self._work()
            yield self.conversation.run(stop)
            yield self._retention().run(stop)
            yield self._waits().run(stop, self._config.timings().waits)
            yield self._outputs().run(stop, sweep)
        if "delivery" in roles:
            yield self.delivery.run(stop)
            yield self.doubles.run(stop, sweep)
        yield every(10.0, self._measure, stop)

    async def _work(self) -> None:
        await self.worker.run(self._stop)
        await self.conversation.show_wanted()

    def _waits(self) -> Waits:
        pace = Pace(
            self._config.settings.threadline_awaiting_reads, self._config.timings().awaiting
        )
        return Waits(self.engine, self.delivery.wake, self.metrics.awaiting.set, pace)

    def _outputs(self) -> Outputs:
        second = self._config.timings().outputs[1]
        return Outputs(self._ground.pool, self._ground.runtime, self.delivery.wake, second=second)

    def _retention(self) -> Retention:
        keep = timedelta(days=self._config.settings.threadline_retention_days)
        return Retention(self._ground.pool, keep, seconds=self._config.timings().retention)

    async def _measure(self) -> None:
        self.metrics.live_turns.set(self.worker.live_turns)
        async with database.borrow(self._ground.pool) as connection:
            dead = await outbox.dead_by_error(connection, timedelta(days=1))
        self.metrics.dead_deliveries.clear()
        for error, count in dead.items():
            self.metrics.dead_deliveries.labels(error).set(count)

    async def api(self, stack: AsyncExitStack) -> Api | None:
        """The sessions API, where this process serves it; over connections of its own."""
        if "api" not in self._config.roles:
            return None
        pool = await open_pool(stack, self._config.dsn, _API_CONNECTIONS, planned_once=False)
        self.pools.append(pool)
        tell = (self._ready, self.delivery.wake)
        means = serve.opened(self._config.settings, pool, self._ground.runtime, tell)
        self._api = await stack.enter_async_context(means)
        return self._api

    def http(self, api: Api | None) -> web.Application:
        """The routes, those of Slack only where this process takes its events over HTTP."""
        operations = Operations(self._ground.ack_pool, self.metrics)
        secret = self._config.settings.slack_signing_secret
        if "ingress" not in self._config.roles or self.socket is not None or secret is None:
            route = None
        else:
            route = SlackRoute(self.ingress, self.metrics, signing_secret=secret.get_secret_value())
        served = application(operations, route, api)
        if self._config.pages is not None:
            self._config.pages(served)
        return served


def missing(settings: Settings, roles: frozenset[str]) -> list[str]:
    """What must be set for these roles and is not."""
    lacking = []
    if "ingress" in roles and not (settings.slack_signing_secret or settings.slack_app_token):
        lacking.append(
            "SLACK_SIGNING_SECRET (Basic Information of your Slack app), or SLACK_APP_TOKEN "
            "for Socket Mode"
        )
    if roles & {"worker", "delivery"} and not settings.anthropic_api_key:
        lacking.append("ANTHROPIC_API_KEY (the key of the agent runtime)")
    return lacking


async def _hurry(stop: Stop, loops: Sequence["asyncio.Task[None]"], pools: Sequence[Pool]) -> None:
    """A database that does not answer may not keep us: after the stop all that wait are let go.

    What they could not hand back others take when the leases have run out.
    """
    await stop.wait()
    over = clock.monotonic() + _STOP_SECONDS * 0.8
    _, busy = await asyncio.wait(loops, timeout=_STOP_SECONDS / 2)
    while busy:
        if clock.monotonic() > over or not await _answers(pools[0]):
            for pool in pools:
                pool.terminate()
        # Some had waited in line for a connection, and ask only now.
        _, busy = await asyncio.wait(busy, timeout=_LET_GO_SECONDS)


async def _answers(pool: Pool) -> bool:
    try:
        async with database.within(pool, _LET_GO_SECONDS) as connection:
            await connection.execute("SELECT 1")
    except database.ERRORS:
        return False
    return True


async def install_from_settings(
    config: Config, pool: Pool, book: InstallBook, slack: Slack
) -> UUID | None:
    """Stores the install that SLACK_BOT_TOKEN stands for; None where no token is set."""
    token = config.settings.slack_bot_token
    if token is None:
        return None
    who = await _identify(slack, token.get_secret_value())
    if who is None:
        return None
    async with database.borrow(pool) as connection:
        workspace = await members.ensure_workspace(connection, config.workspace)
    new = NewInstall(
        workspace_id=workspace.id,
        api_app_id=who.api_app_id,
        tenant_id=who.tenant_id,
        team_id=None if who.org_wide else who.team_id,
        enterprise_id=who.enterprise_id,
        bot_user_id=who.bot_user_id,
        bot_id=who.bot_id,
        scopes=who.scopes,
    )
    return await book.put(new, token.get_secret_value())


async def _install_later(installing: Callable[[], Awaitable[UUID | None]], stop: Stop) -> None:
    """Asks again until Slack says whose the token is: till then a new install hears of nothing."""
    while not await stop.within(clock.jittered(_ASK_AGAIN_SECONDS)):
        try:
            if await installing() is not None:
                return
        except ConfigurationError as error:  # at the start it would have ended us
            _log.error("install.refused", error=str(error))
            return
        except database.ERRORS as error:
            _log.warning("install.not_stored", error=f"{type(error).__name__}: {error}")


async def _identify(slack: Slack, token: str) -> BotIdentity | None:
    """Whose the token is; None where Slack cannot say now: installs may be stored already."""
    try:
        return await slack.identify(token)
    except SlackRefused as refused:
        raise ConfigurationError(
            f"Slack does not accept SLACK_BOT_TOKEN ({refused.error}): install the app again and "
            "copy the new token from OAuth & Permissions"
        ) from refused
    except (SlackAway, SlackLimited, SlackUnclear) as error:
        _log.warning("install.not_checked", error=f"{type(error).__name__}: {error}")
        return None


class CannotListen(ConfigurationError):
    """The address to listen on is taken, or is not ours."""


@asynccontextmanager
async def _listening(app: web.Application, settings: Settings) -> AsyncIterator[str]:
    """Serves until the block ends, then lets requests in flight finish. Raises CannotListen."""
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_STOP_SECONDS / 2,
        max_field_size=_HEADER_BYTES,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): "
                "choose another PORT"
            ) from error
        port = runner.addresses[0][1]
        yield f"http://{settings.host}:{port}"
    finally:
        await runner.cleanup()
