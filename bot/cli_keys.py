"""`threadline keys …` and `threadline members list`: who may call the API."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import admin
from router.settings import Settings
from store.keys import ROLES

# Does the work with the process's settings, and prints what it returns: as JSON, or for people.
Tell = Callable[[Callable[[Settings], Coroutine[Any, Any, Any]], bool], None]

_Workspace = Annotated[str, typer.Option()]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DataDir = Annotated[
    Path | None,
    typer.Option(help="Use a PostgreSQL of our own in this folder instead of DATABASE_URL."),
]


def add_to(command: typer.Typer, members: typer.Typer, tell: Tell) -> None:
    """Adds the commands to the command and to its group `members`."""
    commands = _Commands(tell)
    keys = typer.Typer(no_args_is_help=True, help="The keys of programs that call the API.")
    keys.command("add")(commands.add)
    keys.command("list")(commands.list_)
    keys.command("revoke")(commands.revoke)
    command.add_typer(keys, name="keys")
    members.command("list")(commands.list_members)


class _Commands:
    """Each method is a command; its docstring is what `--help` says."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def add(
        self,
        *,
        workspace: _Workspace,
        agent: Annotated[str, typer.Option(help="The name of the agent that it is for.")],
        name: Annotated[str, typer.Option(help="What it is for.")],
        role: Annotated[str, typer.Option(help=", ".join(ROLES))] = "member",
        data_dir: _DataDir = None,
        json_: _Json = False,
    ) -> None:
        """Make a key for one agent, and print it: it is never shown again."""
        new = (name, role)
        self._tell(lambda settings: admin.add_key(settings, data_dir, workspace, agent, new), json_)

    def list_(
        self,
        *,
        workspace: _Workspace,
        agent: Annotated[str | None, typer.Option(help="Those of one agent.")] = None,
        data_dir: _DataDir = None,
        json_: _Json = False,
    ) -> None:
        """List the keys of a workspace by their prefixes, revoked ones too."""
        self._tell(lambda settings: admin.list_keys(settings, data_dir, workspace, agent), json_)

    def revoke(
        self,
        prefix: Annotated[str, typer.Argument(help="Its beginning, like tl_abcdefgh.")],
        *,
        data_dir: _DataDir = None,
        json_: _Json = False,
    ) -> None:
        """End a key at once and for ever."""
        self._tell(lambda settings: admin.revoke_key(settings, data_dir, prefix), json_)

    def list_members(
        self, *, workspace: _Workspace, data_dir: _DataDir = None, json_: _Json = False
    ) -> None:
        """List the people of a workspace and their roles."""
        self._tell(lambda settings: admin.list_members(settings, data_dir, workspace), json_)
