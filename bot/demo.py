"""`threadline demo`: everything on this machine, or the real thing where `--use` names it.

Until Ctrl-C turns run and answers are delivered in a process of their own (`bot.understudy`), so
that people can kill it and watch the next one take over. One scripted conversation (`--once`) is
played in a single process: nobody is there to kill anything, and it starts sooner.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot import orders, places, seeding, understudy
from bot.app import ROLES, App, CannotListen, Config, missing, running
from bot.behind import Behind, LocalView, RealView, View
from bot.local import LocalSlack, seed
from bot.local.settings import Options
from bot.replicas import Replicas
from bot.signin.routes import PATH, SignIn
from bot.signin.sessions import LocalSessions
from bot.standins import as_the_manifest_says
from router import clock
from router.errors import ConfigurationError
from router.runtime.budget import Budget
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime
from router.settings import Settings
from store import database
from store.database import Pool

_VARIABLES = {
    "slack": {"slack_bot_token", "slack_signing_secret", "slack_api_url"},
    "runtime": {"anthropic_api_key", "anthropic_base_url"},
    "database": {
        "database_url",
        "threadline_encryption_keys",
        "supabase_url",
        "supabase_jwt_secret",
    },
}
USABLE = tuple(_VARIABLES)
_PORTS = {"slack": 3001, "runtime": 3002}
# Slack's own waits are minutes; a demo shows the retries while somebody watches.
_SHOWN = 50
_WHOLE_AFTER_SECONDS = 1.0
_RETRY_SECONDS = (0.3, 0.6, 1.0)
# So that people see within seconds how a turn goes on whose worker was killed.
_LEASE_SECONDS = 5.0
_LOOKING_CONNECTIONS = 2

_CURL = "  curl -s {slack}/_control/message -H 'content-type: application/json' -d '{message}'\n"


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo. What is real has no local server."""

    app: App
    slack: LocalSlack | None
    runtime: LocalRuntime | None
    agent: str
    signs_in: bool = True

    @property
    def page(self) -> str | None:
        """The address of the local Slack's page."""
        return f"{self.slack.url}/" if self.slack else None

    @property
    def sign_in(self) -> str | None:
        """The address of the page by which people sign in to the API."""
        return f"{self.app.url}{PATH}" if self.signs_in else None

    def addresses(self) -> dict[str, Any]:
        """Where everything is."""
        pages = {"page": self.page, "sign_in": self.sign_in}
        return {name: where for name, where in pages.items() if where} | {
            "threadline": self.app.url,
            "slack": self.slack.url if self.slack else "real",
            "runtime": self.runtime.url if self.runtime else "real",
        }


@asynccontextmanager
async def demonstrating(
    real: Settings, data_dir: Path, use: frozenset[str], port: int | None, *, apart: bool
) -> AsyncIterator[Demo]:
    """Everything started over `data_dir`; `real` is read only for what `use` names.

    `apart`: turns are run and answers delivered by a process of their own, and people can look
    behind the page of the local Slack.
    """
    async with AsyncExitStack() as stack:
        replicas = await _prepared(stack) if apart else None
        place = await stack.enter_async_context(
            places.owned(real, None if "database" in use else data_dir)
        )
        await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
        pool = await _looking(stack, place.dsn)
        slack = None if "slack" in use else await _local_slack(stack, data_dir)
        runtime = None if "runtime" in use else await _local_runtime(stack, data_dir)
        settings = _settings(real, slack, runtime, quick=apart)
        agent = await seeding.seed(
            place.dsn, settings, scripted=runtime is not None, shared=place.server is None
        )
        keys = places.keyring(settings, data_dir)
        if replicas is not None:
            order = understudy.order_of(settings, place.dsn, data_dir)
            await stack.enter_async_context(replicas.working(order))
        roles = ROLES - understudy.ROLES if apart else ROLES
        config = Config(settings, place.dsn, keys, roles)
        if place.server is not None:
            config = _with_sign_in(config, pool, slack)
        app = await _on_a_free_port(stack, config, port)
        demo = Demo(app, slack, runtime, agent, signs_in=place.server is not None)
        if slack is not None:
            slack.request_url = f"{app.url}/slack/events"
            if replicas is not None:
                view = await _view(stack, pool, settings, runtime)
                slack.behind = _behind(pool, view, replicas, runtime)
        if place.server is not None:
            place.server.note(demo.page or app.url)
        yield demo


def environment_for(use: frozenset[str]) -> tuple[Settings, int | None]:
    """The settings that `--use` asks for, and PORT if it is set; every other variable is ignored."""
    wanted = {"port"}.union(*(_VARIABLES[name] for name in use))
    found = Settings.from_environment(only=wanted)
    if lacking := _missing(found, use):
        raise ConfigurationError.to_set(lacking)
    return found, found.port if "port" in found.model_fields_set else None


def _missing(settings: Settings, use: frozenset[str]) -> list[str]:
    """What a real part needs and is not set."""
    lacking = places.missing(settings, None) if "database" in use else []
    roles = {"slack": "ingress", "runtime": "worker"}
    lacking += missing(settings, frozenset(roles[name] for name in use if name in roles))
    if "slack" in use and settings.slack_bot_token is None:
        lacking.append("SLACK_BOT_TOKEN (OAuth & Permissions of your Slack app)")
    return lacking


def welcome(running: Demo, data_dir: Path, use: frozenset[str], *, opened: bool) -> str:
    """What a newcomer reads; `opened` tells that the page is before them already."""
    lines = []
    if running.page is not None:
        done = "Opened" if opened else "Open"
        lines += [f"{done} [bold]{running.page}[/bold] in your browser.\n"]
    lines += ["Threadline is running; Ctrl-C stops it.\n"]
    addresses = {name: where for name, where in running.addresses().items() if name != "page"}
    lines += [f"  {name.replace('_', ' '):<11} {where}" for name, where in addresses.items()]
    lines += [f"  {'agent':<11} {running.agent}", f"  {'data':<11} {data_dir}"]
    if use:
        lines += [f"  {'real':<11} {', '.join(sorted(use))}"]
    if running.slack is not None:
        message = '{"user": "ada", "channel": "general", "text": "@threadline hello"}'
        lines += [
            "\nWhat is said there appears below. Without a browser, speak as Ada in #general with:\n",
            _CURL.format(slack=running.slack.url, message=message),
        ]
    return "\n".join(lines)


class Narrator:
    """Tells what is said in the local Slack, each message once it is whole, from now on."""

    def __init__(self, slack: LocalSlack) -> None:
        self._slack = slack
        self._seen = {self._key(m) for m in slack.state(_SHOWN)["messages"]}
        self._growing: dict[tuple[str, str], tuple[str, float]] = {}

    def news(self) -> list[str]:
        """One line for each message since the last call."""
        lines: list[str] = []
        state = self._slack.state(_SHOWN)
        people = {u["id"]: u["name"] for u in state["users"]}
        places = {c["id"]: c["name"] for c in state["channels"]}
        for message in state["messages"]:
            if self._key(message) not in self._seen and self._is_whole(message):
                self._seen.add(self._key(message))
                who = people.get(message["user"], message["user"])
                where = places.get(message["channel"], message["channel"])
                lines.append(f"{where} · {who}: {message['text']}")
        return lines

    def _is_whole(self, message: dict[str, Any]) -> bool:
        """Whether an answer grows no more: its stream ends a moment before its last words come."""
        if message["streaming_state"] is None:
            return True
        place, now = (message["channel"], message["ts"]), clock.monotonic()
        text, since = self._growing.get(place, ("", now))
        if text != message["text"] or message["streaming_state"] == "in_progress":
            self._growing[place] = (message["text"], now)
            return False
        return now - since >= _WHOLE_AFTER_SECONDS

    def _key(self, message: dict[str, Any]) -> tuple[str, str, str]:
        return (message["channel"], message["ts"], message["text"])


async def _local_slack(stack: AsyncExitStack, data_dir: Path) -> LocalSlack:
    options = as_the_manifest_says() | Options(retry_delays=_RETRY_SECONDS)
    data = data_dir / "slack.sqlite3"
    try:
        return await stack.enter_async_context(
            LocalSlack(port=_PORTS["slack"], data=data, **options)
        )
    except OSError:
        return await stack.enter_async_context(LocalSlack(port=0, data=data, **options))


async def _local_runtime(stack: AsyncExitStack, data_dir: Path) -> LocalRuntime:
    data = data_dir / "runtime.sqlite3"
    try:
        return await stack.enter_async_context(LocalRuntime(port=_PORTS["runtime"], data=data))
    except OSError:
        return await stack.enter_async_context(LocalRuntime(port=0, data=data))


async def _prepared(stack: AsyncExitStack) -> Replicas:
    """The process that is to work reads its program while everything else starts."""
    replicas = Replicas()
    stack.push_async_callback(replicas.close)
    await replicas.prepare()
    return replicas


async def _looking(stack: AsyncExitStack, dsn: str) -> Pool:
    """For what the pages look at; closed after the pages, which may be looking to the end."""
    pool = await database.open_pool(dsn, size=_LOOKING_CONNECTIONS)
    stack.push_async_callback(database.close_pool, pool)
    return pool


def _with_sign_in(config: Config, pool: Pool, slack: LocalSlack | None) -> Config:
    """People sign in by a press. Over a database that is not the demo's own nobody may do so."""
    sessions = LocalSessions()
    page = f"{slack.url}/" if slack is not None else None
    signed = {"supabase_url": None, "supabase_jwt_secret": sessions.secret}
    return replace(
        config,
        settings=config.settings.model_copy(update=signed),
        pages=SignIn(pool, seeding.WORKSPACE, sessions, page).mount,
    )


async def _view(
    stack: AsyncExitStack, pool: Pool, settings: Settings, runtime: LocalRuntime | None
) -> View:
    """Who tells what the runtime knows."""
    if runtime is not None:
        return LocalView(runtime)
    key = settings.anthropic_api_key
    api_key, base_url = key.get_secret_value() if key else "", settings.anthropic_base_url
    budget = Budget(pool, api_key=api_key, base_url=base_url)
    client = Runtime(api_key=api_key, base_url=base_url, max_streams=1, budget=budget)
    stack.push_async_callback(client.close)
    return RealView(client)


def _behind(pool: Pool, view: View, replicas: Replicas, runtime: LocalRuntime | None) -> Behind:
    found = orders.of_replicas(replicas, _LEASE_SECONDS)
    if runtime is not None:
        found += orders.of_runtime(runtime)
    return Behind(pool, seed.APP_ID, view, replicas=replicas, orders=found)


def _settings(
    real: Settings, slack: LocalSlack | None, runtime: LocalRuntime | None, *, quick: bool
) -> Settings:
    """The real settings, with those of the local servers laid over them; `quick` to recover."""
    local: dict[str, Any] = {"port": 0, "log_level": "WARNING", "log_format": "console"}
    if quick:
        local["threadline_lease_seconds"] = _LEASE_SECONDS
    if slack is not None:
        local |= {
            "slack_bot_token": slack.bot_token,
            "slack_signing_secret": slack.signing_secret,
            "slack_api_url": slack.api_url,
        }
    if runtime is not None:
        local |= {"anthropic_api_key": "local", "anthropic_base_url": runtime.url}
    return Settings.model_validate(
        {name: getattr(real, name) for name in Settings.model_fields} | local
    )


async def _on_a_free_port(stack: AsyncExitStack, config: Config, port: int | None) -> App:
    """Listens on the port that was asked for, else on the usual one, else on a free one."""
    wanted = Settings.model_fields["port"].default if port is None else port
    try:
        return await stack.enter_async_context(running(_at(config, wanted)))
    except* CannotListen:
        if port is not None:
            raise
    return await stack.enter_async_context(running(_at(config, 0)))


def _at(config: Config, port: int) -> Config:
    settings = config.settings.model_copy(update={"port": port})
    return replace(config, settings=settings)
