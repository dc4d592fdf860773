"""The `threadline` command. Exit codes: 0 done, 1 a check failed, 2 usage or configuration."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from bot import admin, app as composition, demo, doctor, places
from bot.local import LocalSlack
from bot.local.settings import Options
from bot.script import Report, Script
from router import logs
from router.errors import ConfigurationError
from router.loops import Stop
from router.runtime.local import LocalRuntime
from router.settings import Settings
from store.embedded import (
    EmbeddedPostgresError,
    default_data_dir,
    temporary_data_dir,
)
from store.migrate import MigrationError

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Use a PostgreSQL of our own in this folder instead of DATABASE_URL."),
]
Port = Annotated[int | None, typer.Option(help="Where to listen; 0 picks a free port.")]

command = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deployed AI agents in Slack: every thread is one session.",
)
workspaces = typer.Typer(no_args_is_help=True, help="The tenants.")
members = typer.Typer(no_args_is_help=True, help="The people of a workspace.")
agents = typer.Typer(no_args_is_help=True, help="The agents that answer.")
for name, group in (("workspaces", workspaces), ("members", members), ("agents", agents)):
    command.add_typer(group, name=name)

_console = Console()
_TELL_SECONDS = 0.3
_FOR_EVER = 86_400.0


def main() -> None:
    """The entry point: everything raised on purpose becomes one line and an exit code."""
    try:
        command()
    except (ConfigurationError, EmbeddedPostgresError, MigrationError) as error:
        typer.echo(f"threadline: {logs.redact(str(error))}", err=True)
        raise SystemExit(2) from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs to the end, under uvloop where the platform has it."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_unwrapped(work))


async def _unwrapped(work: Coroutine[Any, Any, T]) -> T:
    """Takes an error of ours out of the groups that task groups wrap it in."""
    try:
        return await work
    except ExceptionGroup as group:
        ours, _ = group.split((ConfigurationError, EmbeddedPostgresError, MigrationError))
        while ours is not None:
            first = ours.exceptions[0]
            if not isinstance(first, ExceptionGroup):
                raise first from group
            ours = first
        raise


def _settings() -> Settings:
    settings = Settings.from_environment()
    logs.configure(level=settings.log_level, style=settings.log_format)
    return settings


def _show(result: Any, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    for row in result if isinstance(result, list) else [result]:
        cells = (f"[dim]{k}[/dim] {escape(str(v))}" for k, v in row.items())
        _console.print("  ".join(cells), soft_wrap=True)


def _ready(**more: Any) -> None:
    typer.echo(json.dumps({"ready": True, **more}))
    sys.stdout.flush()


def _stop_on_signals() -> Stop:
    """Said by SIGINT or SIGTERM from now on; asked for before anything is started."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.say)
    return stop


async def _until(stop: Stop, meanwhile: Callable[[], None] | None = None) -> None:
    """Waits for the stop, doing `meanwhile` a few times a second."""
    while not await stop.within(_TELL_SECONDS if meanwhile else _FOR_EVER):
        if meanwhile:
            meanwhile()


# ------------------------------------------------------------------ serving


@command.command()
def serve(
    *,
    port: Port = None,
    roles: Annotated[str, typer.Option(help="Which of ingress,worker,delivery.")] = ",".join(
        sorted(composition.ROLES)
    ),
    data_dir: DataDir = None,
    workspace: Annotated[str, typer.Option(help="Where SLACK_BOT_TOKEN is installed.")] = "default",
    json_: Json = False,
) -> None:
    """Serve Slack, run turns and deliver answers, until SIGTERM."""
    del json_  # the ready line is JSON in any case
    settings = _settings()
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    wanted = frozenset(filter(None, roles.split(",")))
    if not wanted or not wanted <= composition.ROLES:
        raise ConfigurationError(f"--roles takes {', '.join(sorted(composition.ROLES))}")
    _run(_serve(settings, wanted, data_dir, workspace))


async def _serve(
    settings: Settings, roles: frozenset[str], data_dir: Path | None, workspace: str
) -> None:
    if lacking := places.missing(settings, data_dir) + composition.missing(settings, roles):
        raise ConfigurationError.to_set(lacking)
    stop = _stop_on_signals()
    async with places.owned(settings, data_dir) as place:
        keys = places.keyring(settings, data_dir)
        config = composition.Config(settings, place.dsn, keys, roles=roles, workspace=workspace)
        async with composition.running(config) as app:
            if place.server is not None:
                place.server.note(app.url)
            _ready(url=app.url)
            await _until(stop)


@command.command()
def local(
    what: Annotated[Literal["slack", "runtime"], typer.Argument(help="Which stand-in to run.")],
    *,
    port: Port = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep its state in this folder.")] = None,
    request_url: Annotated[str | None, typer.Option(help="Where Slack sends its events.")] = None,
    json_: Json = False,
) -> None:
    """Run a stand-in for Slack or for the agent runtime, on loopback."""
    del json_  # the ready line is JSON in any case
    _settings()
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
    _run(_local(what, port or 0, data_dir, request_url))


async def _local(what: str, port: int, data_dir: Path | None, request_url: str | None) -> None:
    stop = _stop_on_signals()
    data = data_dir / f"{what}.sqlite3" if data_dir else None
    async with AsyncExitStack() as stack:
        try:
            if what == "runtime":
                runtime = await stack.enter_async_context(LocalRuntime(port=port, data=data))
                told = {"url": runtime.url}
            else:
                options = demo.as_the_manifest_says() | Options(request_url=request_url)
                slack = await stack.enter_async_context(LocalSlack(port=port, data=data, **options))
                told = {
                    "url": slack.url,
                    "api_url": slack.api_url,
                    "bot_token": slack.bot_token,
                    "app_token": slack.app_token,
                    "signing_secret": slack.signing_secret,
                }
        except OSError as error:
            raise ConfigurationError(f"cannot listen on port {port} ({error.strerror})") from error
        _ready(**told)
        await _until(stop)


# ------------------------------------------------------------------ demo


@command.command("demo")
def demo_(
    *,
    once: Annotated[bool, typer.Option(help="Play one scripted conversation and exit.")] = False,
    use: Annotated[str, typer.Option(help="What is real: slack,runtime,database.")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Where to keep the demo's data.")] = None,
    json_: Json = False,
) -> None:
    """Run everything on this machine, with no account anywhere."""
    used = frozenset(filter(None, use.split(",")))
    if not used <= set(demo.USABLE):
        raise ConfigurationError(f"--use takes {', '.join(demo.USABLE)}")
    if once and "slack" in used:
        raise ConfigurationError("--once plays the people too, which a real Slack does not allow")
    real, port = demo.environment_for(used)
    logs.configure(level="WARNING", style="console")
    if once:
        report = _run(_once(real, data_dir, used))
        _show_report(report, as_json=json_)
        raise SystemExit(1 if report.wrong else 0)
    _run(_demo(real, data_dir or default_data_dir(), used, port, as_json=json_))


async def _once(real: Settings, data_dir: Path | None, used: frozenset[str]) -> Report:
    with temporary_data_dir() as folder:
        async with demo.demonstrating(real, data_dir or folder, used, 0) as running:
            assert running.slack is not None  # noqa: S101  # refused above
            return await Script(
                running.slack, running.runtime.url if running.runtime else None
            ).play()


async def _demo(
    real: Settings, data_dir: Path, used: frozenset[str], port: int | None, *, as_json: bool
) -> None:
    stop = _stop_on_signals()
    async with demo.demonstrating(real, data_dir, used, port) as running:
        if as_json:
            _ready(**running.addresses())
        else:
            _console.print(demo.welcome(running, data_dir, used), soft_wrap=True)
        await _until(stop, _telling(running))
    if not as_json:
        _console.print("Stopped. The next start finds everything as it is.")


def _telling(running: demo.Demo) -> Callable[[], None] | None:
    """Prints what is said in the local Slack, if there is one."""
    if running.slack is None:
        return None
    narrator = demo.Narrator(running.slack)

    def tell() -> None:
        for line in narrator.news():
            _console.print(line, markup=False, soft_wrap=True)

    return tell


def _show_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json()))
        return
    for thread in report.threads:
        _console.print(f"\n[bold]{thread['title']}[/bold]")
        for said in thread["said"]:
            _console.print(f"  [cyan]{said['who']:>10}[/cyan]  ", end="")
            _console.print(said["text"].replace("\n", "\n" + " " * 14), markup=False)
    _console.print("\n[bold]sessions[/bold]")
    for session in report.sessions:
        _console.print(f"  {session['id']}  {session['runtime']}  ", end="", soft_wrap=True)
        _console.print(session["title"], markup=False, soft_wrap=True)
    for wrong in report.wrong:
        _console.print(f"[red]wrong:[/red] {wrong}")
    if not report.wrong:
        _console.print(
            "[green]One session per thread, one answer per turn; nothing lost, nothing twice.[/green]"
        )


# ------------------------------------------------------------------ administration


@command.command("migrate")
def migrate_(*, data_dir: DataDir = None, json_: Json = False) -> None:
    """Bring the database's schema up to date."""
    settings = _settings()
    applied = _run(places.migrated(settings, data_dir))
    _show({"applied": applied}, as_json=json_)


@workspaces.command("add")
def workspaces_add(name: str, *, data_dir: DataDir = None, json_: Json = False) -> None:
    """Make a workspace."""
    _show(_run(admin.add_workspace(_settings(), data_dir, name)), as_json=json_)


@workspaces.command("escalation-channel")
def workspaces_escalation_channel(
    name: str,
    channel_id: Annotated[str | None, typer.Argument(help="Its id, like C0123ABCD.")] = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Ask in no other channel.")] = False,
    team: Annotated[
        str | None, typer.Option(help="Which Slack team, where there are more.")
    ] = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Choose the channel in which agents' questions are asked beside their threads."""
    if clear == (channel_id is not None):
        raise ConfigurationError("give the id of a channel, or --clear")
    changed = admin.set_escalation_channel(_settings(), data_dir, name, channel_id, team)
    _show(_run(changed), as_json=json_)


@members.command("add")
def members_add(
    *,
    workspace: Annotated[str, typer.Option()],
    user_id: Annotated[str, typer.Option(help="The person's `sub`.")],
    role: Annotated[str, typer.Option(help=", ".join(admin.ROLES))],
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Give a person a role in a workspace."""
    added = admin.add_member(_settings(), data_dir, workspace, user_id, role)
    _show(_run(added), as_json=json_)


@agents.command("add")
def agents_add(  # noqa: PLR0913  # its options
    *,
    workspace: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    agent_id: Annotated[str | None, typer.Option(help="An agent of the runtime.")] = None,
    environment_id: Annotated[str | None, typer.Option(help="Its environment.")] = None,
    model: Annotated[str | None, typer.Option(help="Make the agent, of this model.")] = None,
    system: Annotated[str | None, typer.Option(help="Its system prompt.")] = None,
    default: Annotated[bool, typer.Option(help="It answers on every install.")] = False,
    install_tools: Annotated[
        bool, typer.Option("--install-tools", help="Give the runtime's agent our tools.")
    ] = False,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Deploy an agent."""
    added = admin.add_agent(
        _settings(),
        data_dir,
        workspace=workspace,
        name=name,
        runtime_agent=agent_id,
        environment=environment_id,
        model=model,
        system=system,
        default=default,
        install_tools=install_tools,
    )
    _show(_run(added), as_json=json_)


@agents.command("set")
def agents_set(
    *,
    workspace: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    settings: Annotated[str, typer.Option(help="Its settings in Slack, as JSON; {} resets them.")],
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Set how an agent behaves in Slack."""
    changed = admin.set_agent(_settings(), data_dir, workspace, name, settings)
    _show(_run(changed), as_json=json_)


@agents.command("list")
def agents_list(*, data_dir: DataDir = None, json_: Json = False) -> None:
    """List the deployed agents."""
    _show(_run(admin.list_agents(_settings(), data_dir)), as_json=json_)


@command.command("doctor")
def doctor_(*, data_dir: DataDir = None, json_: Json = False) -> None:
    """Check configuration, database, Slack and the runtime; say how to mend what is wrong."""
    findings = _run(doctor.examine(_settings(), data_dir))
    if json_:
        typer.echo(json.dumps([f.row() for f in findings]))
    else:
        colours = {"ok": "green", "warning": "yellow", "failed": "red"}
        for found in findings:
            _console.print(f"[{colours[found.state]}]{found.state:>8}[/]  ", end="")
            _console.print(f"{found.check}: {found.says}", markup=False, soft_wrap=True)
            if found.mend:
                _console.print(
                    f"          → {found.mend}", style="dim", markup=False, soft_wrap=True
                )
    raise SystemExit(1 if any(f.state == "failed" for f in findings) else 0)
