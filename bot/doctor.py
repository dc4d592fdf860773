"""`threadline doctor`: what is wrong with an installation, and how to mend it."""

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from bot import admin, places
from bot.install import InstallBook
from bot.manifest import missing_scopes
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.slack import Slack, check_app_token
from router.errors import ConfigurationError, RuntimeFailure
from router.settings import Settings
from store import agents, database, installs, outbox, tenancy
from store.database import Connection, Pool
from store.embedded import EmbeddedPostgresError
from store.migrate import MigrationError

_OLDEST_POSTGRES = 15
_TO_THE_CHANNEL = (
    "type /invite with the bot's name in that channel, or choose another one: "
    "threadline workspaces escalation-channel … (--clear for none)"
)
_SLACK_TROUBLE = (SlackRefused, SlackLimited, SlackAway, SlackUnclear)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `mend` says what to do where it is not ok."""

    check: str
    state: Literal["ok", "warning", "failed"]
    says: str
    mend: str = ""

    def row(self) -> dict[str, Any]:
        """As it is printed."""
        return asdict(self)


async def examine(settings: Settings, data_dir: Path | None) -> list[Finding]:
    """Every finding, in the order in which to mend them."""
    return [f async for f in _examine(settings, data_dir)]


async def _examine(settings: Settings, data_dir: Path | None) -> AsyncIterator[Finding]:
    yield await _events(settings)
    yield await _runtime(settings)
    try:
        async with places.visited(settings, data_dir) as place:
            pool = await database.open_pool(place.dsn, size=2)
            try:
                async for finding in _with_database(settings, data_dir, pool):
                    yield finding
            finally:
                await database.close_pool(pool)
    except (ConfigurationError, MigrationError, EmbeddedPostgresError) as error:
        yield Finding("database", "failed", str(error), "mend this first, then look again")
    yield Finding(
        "delayed events",
        "warning",
        "Slack does not say whether Delayed Events are on",
        "turn them on under Event Subscriptions: without them, events are lost for good when "
        "this service is away for longer than six minutes",
    )


async def _events(settings: Settings) -> Finding:
    """What proves that events are Slack's: the app token in Socket Mode, else the secret."""
    if settings.slack_app_token is None:
        return _signing_secret(settings)
    try:
        await check_app_token(settings.slack_api_url, settings.slack_app_token.get_secret_value())
    except _SLACK_TROUBLE as error:
        return Finding(
            "app token",
            "failed",
            f"apps.connections.open: {error}",
            "make an app-level token with the scope connections:write under Basic Information of "
            "your Slack app, and turn Socket Mode on",
        )
    return Finding("app token", "ok", "Socket Mode: Slack gives it a connection")


def _signing_secret(settings: Settings) -> Finding:
    if settings.slack_signing_secret is None:
        return Finding(
            "signing secret",
            "failed",
            "SLACK_SIGNING_SECRET is not set",
            "copy it from Basic Information of your Slack app",
        )
    return Finding("signing secret", "ok", "set")


async def _runtime(settings: Settings) -> Finding:
    try:
        runtime = admin.runtime_of(settings)
    except ConfigurationError as error:
        return Finding("runtime", "failed", str(error), "make a key in the runtime's console")
    try:
        await runtime.check_key()
    except RuntimeFailure as failure:
        return Finding(
            "runtime",
            "failed",
            f"{settings.anthropic_base_url}: {failure}",
            "check ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL",
        )
    finally:
        await runtime.close()
    return Finding("runtime", "ok", f"{settings.anthropic_base_url} accepts the key")


async def _with_database(
    settings: Settings, data_dir: Path | None, pool: Pool
) -> AsyncIterator[Finding]:
    async with database.borrow(pool) as connection:
        yield _server(await database.server_settings(connection))
        found = await installs.every(connection)
        deployed = await agents.every(connection)
        dead = await outbox.dead_by_error(connection, timedelta(days=1))
        yield await _tenants(connection)
    yield _deployed(deployed, found)
    async for finding in _installs(settings, data_dir, pool, found):
        yield finding
    if dead:
        says = ", ".join(f"{count} × {error}" for error, count in dead.items())
        yield Finding(
            "deliveries",
            "warning",
            f"buried in the last day: {says}",
            "what was to be said there is in slack_outbox with state 'dead'",
        )


def _server(server: dict[str, str]) -> Finding:
    if int(server["version"]) < _OLDEST_POSTGRES:
        return Finding(
            "database", "failed", f"PostgreSQL {server['version']}", "use PostgreSQL 15 or newer"
        )
    if server["synchronous_commit"] == "off":
        return Finding(
            "database",
            "warning",
            "synchronous_commit is off: a crash loses events that Slack was told we have",
            "ALTER DATABASE … SET synchronous_commit = on",
        )
    return Finding("database", "ok", f"PostgreSQL {server['version']}, migrated")


async def _tenants(connection: Connection) -> Finding:
    """Whether the API may open: it reads as a role that the login must be able to become."""
    check = "tenants' role"
    if (trouble := await tenancy.trouble(connection)) is None:
        return Finding(check, "ok", "threadline_tenant sees one workspace at a time")
    return Finding(
        check,
        "warning",
        f"the API and the dashboard stay shut: {trouble}",
        f"run this in the database, as said in its lines:\n{await tenancy.mending(connection)}",
    )


def _deployed(deployed: list[agents.Agent], found: list[installs.Install]) -> Finding:
    if not deployed:
        return Finding("agents", "failed", "none is deployed", "threadline agents add … --default")
    without = [i.tenant_id for i in found if i.status == "active" and i.default_agent_id is None]
    if without:
        return Finding(
            "agents",
            "failed",
            f"no default agent for {', '.join(without)}",
            "threadline agents add … --default",
        )
    return Finding("agents", "ok", ", ".join(f"{a.name} ({a.status})" for a in deployed))


async def _installs(
    settings: Settings, data_dir: Path | None, pool: Pool, found: list[installs.Install]
) -> AsyncIterator[Finding]:
    token = settings.slack_bot_token
    if not found and token is None:
        yield Finding(
            "slack",
            "failed",
            "no workspace has installed the app",
            "set SLACK_BOT_TOKEN (OAuth & Permissions of your Slack app)",
        )
        return
    try:
        book = InstallBook(pool, places.keyring(settings, data_dir))
        async with Slack(settings.slack_api_url, book) as slack:
            if token is not None:
                yield await _token(slack, token.get_secret_value(), "SLACK_BOT_TOKEN")
            for install in found:
                yield await _install(slack, book, install)
                async for finding in _escalation_channel(slack, pool, install):
                    yield finding
    except ConfigurationError as error:
        yield Finding("encryption keys", "failed", str(error), "set THREADLINE_ENCRYPTION_KEYS")


async def _install(slack: Slack, book: InstallBook, install: installs.Install) -> Finding:
    name = f"install {install.tenant_id}"
    known = await book.get(install.id)
    if known is None:
        return Finding(name, "warning", f"it is {install.status}", "install the app there again")
    return await _token(slack, known.token, name)


async def _escalation_channel(
    slack: Slack, pool: Pool, install: installs.Install
) -> AsyncIterator[Finding]:
    """Whether questions can be asked where the install wants them, if it names a channel.

    docs.slack.dev/reference/methods/conversations.info: a private channel is there for members only.
    """
    async with database.borrow(pool) as connection:
        wanted = await installs.escalation_channel(connection, install.workspace_id, install.id)
    if wanted is None:
        return
    check, channel = f"escalation channel: install {install.tenant_id}", wanted.channel_id
    try:
        answer = await slack.ask(install.id, "conversations_info", channel=channel)
    except _SLACK_TROUBLE as error:
        yield Finding(check, "failed", f"conversations.info of {channel}: {error}", _TO_THE_CHANNEL)
        return
    shown = answer["channel"]
    if shown.get("is_archived"):
        yield Finding(check, "failed", f"{channel} is archived", _TO_THE_CHANNEL)
    elif not shown.get("is_member"):
        yield Finding(check, "failed", f"the bot is not in {channel}", _TO_THE_CHANNEL)
    else:
        yield Finding(check, "ok", f"the bot is in {channel}")


async def _token(slack: Slack, token: str, name: str) -> Finding:
    check = f"slack: {name}"
    try:
        who = await slack.identify(token)
    except _SLACK_TROUBLE as error:
        return Finding(check, "failed", f"auth.test: {error}", "install the app again for a token")
    missing = missing_scopes(who.scopes)
    if missing:
        return Finding(
            check,
            "failed",
            f"the token lacks {', '.join(missing)}",
            "update the app from manifest.yml and install it again",
        )
    return Finding(check, "ok", f"{who.team}, every scope of manifest.yml")
