"""The `threadline` command. Exit codes: 0 done, 1 a check failed, 2 usage or configuration.

A command imports what it alone needs when it runs: with the runtime's SDK and Slack's all of it takes
seconds to load, and `migrate` needs neither.
"""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from bot import admin, cli_keys, places, process
from bot.process import ROLES, run
from router import logs
from router.errors import ConfigurationError
from router.settings import Settings

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


def main() -> None:
    """The entry point."""
    with process.errors_told():
        command()


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


# ------------------------------------------------------------------ serving


@command.command()
def serve(
    *,
    port: Port = None,
    roles: Annotated[str, typer.Option(help="Which of api,ingress,worker,delivery.")] = ",".join(
        sorted(ROLES)
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
    if not wanted or not wanted <= ROLES:
        raise ConfigurationError(f"--roles takes {', '.join(sorted(ROLES))}")
    run(_serve(settings, wanted, data_dir, workspace))


async def _serve(
    settings: Settings, roles: frozenset[str], data_dir: Path | None, workspace: str
) -> None:
    from bot import app as composition

    if lacking := places.missing(settings, data_dir) + composition.missing(settings, roles):
        raise ConfigurationError.to_set(lacking)
    stop = process.stop_on_signals()
    async with places.owned(settings, data_dir) as place:
        keys = places.keyring(settings, data_dir)
        config = composition.Config(settings, place.dsn, keys, roles=roles, workspace=workspace)
        async with composition.running(config) as app:
            if place.server is not None:
                place.server.note(app.url)
            process.ready(url=app.url)
            await process.until(stop)


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
    from bot import standins

    run(standins.serve(what, port or 0, data_dir, request_url))


@command.command()
def demo(
    *,
    once: Annotated[bool, typer.Option(help="Play one scripted conversation and exit.")] = False,
    use: Annotated[str, typer.Option(help="What is real: slack,runtime,database.")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Where to keep the demo's data.")] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser, if there is one.")
    ] = True,
    json_: Json = False,
) -> None:
    """Run everything on this machine, with no account anywhere."""
    from bot import cli_demo

    cli_demo.demo(once=once, use=use, data_dir=data_dir, opens=open_, as_json=json_)


# ------------------------------------------------------------------ administration


@command.command("migrate")
def migrate_(
    *,
    data_dir: DataDir = None,
    citus: Annotated[
        bool, typer.Option("--citus", help="Then distribute the tables over Citus's workers.")
    ] = False,
    json_: Json = False,
) -> None:
    """Bring the database's schema up to date."""
    settings = _settings()
    if citus and data_dir is not None:
        raise ConfigurationError("--citus: a database of our own has no workers; omit --data-dir")
    done = {"applied": run(places.migrated(settings, data_dir))}
    if citus:
        done["distributed"] = run(places.distributed(settings))
    _show(done, as_json=json_)


@workspaces.command("add")
def workspaces_add(name: str, *, data_dir: DataDir = None, json_: Json = False) -> None:
    """Make a workspace."""
    _show(run(admin.add_workspace(_settings(), data_dir, name)), as_json=json_)


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
    _show(run(changed), as_json=json_)


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
    _show(run(added), as_json=json_)


def _tell(work: Callable[[Settings], Coroutine[Any, Any, Any]], as_json: bool) -> None:
    _show(run(work(_settings())), as_json=as_json)


cli_keys.add_to(command, members, _tell)


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
    _show(run(added), as_json=json_)


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
    _show(run(changed), as_json=json_)


@agents.command("list")
def agents_list(*, data_dir: DataDir = None, json_: Json = False) -> None:
    """List the deployed agents."""
    _show(run(admin.list_agents(_settings(), data_dir)), as_json=json_)


@command.command("doctor")
def doctor_(*, data_dir: DataDir = None, json_: Json = False) -> None:
    """Check configuration, database, Slack and the runtime; say how to mend what is wrong."""
    from bot import doctor

    findings = run(doctor.examine(_settings(), data_dir))
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
