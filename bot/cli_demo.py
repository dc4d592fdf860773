"""`threadline demo`: what it makes of its options, and what it prints."""

import json
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import typer
from rich.console import Console

from bot import browser, demo as stage, process
from bot.script import Report, Script
from router import logs
from router.errors import ConfigurationError
from router.settings import Settings
from store.embedded import default_data_dir, temporary_data_dir

_console = Console()


class _Output(Enum):
    """What becomes of the addresses."""

    TEXT = 1
    AND_PAGE = 2
    JSON = 3


def demo(*, once: bool, use: str, data_dir: Path | None, opens: bool, as_json: bool) -> None:
    """Does what the command's options say; ends with SystemExit after one conversation."""
    used = frozenset(filter(None, use.split(",")))
    if not used <= set(stage.USABLE):
        raise ConfigurationError(f"--use takes {', '.join(stage.USABLE)}")
    if once and "slack" in used:
        raise ConfigurationError("--once plays the people too, which a real Slack does not allow")
    real, port = stage.environment_for(used)
    logs.configure(level="WARNING", style="console")
    if once:
        report = process.run(_once(real, data_dir, used))
        _show_report(report, as_json=as_json)
        raise SystemExit(1 if report.wrong else 0)
    output = _Output.JSON if as_json else _Output.AND_PAGE if opens else _Output.TEXT
    process.run(_until_stopped(real, data_dir or default_data_dir(), used, port, output))


async def _once(real: Settings, data_dir: Path | None, used: frozenset[str]) -> Report:
    with temporary_data_dir() as folder:
        place = data_dir or folder
        async with stage.demonstrating(real, place, used, 0, apart=False) as running:
            assert running.slack is not None  # noqa: S101  # refused above
            return await Script(
                running.slack,
                running.runtime.url if running.runtime else None,
                running.app.url if running.signs_in else None,
            ).play()


async def _until_stopped(
    real: Settings, data_dir: Path, used: frozenset[str], port: int | None, output: _Output
) -> None:
    stop = process.stop_on_signals()
    async with stage.demonstrating(real, data_dir, used, port, apart=True) as running:
        if output is _Output.JSON:
            process.ready(**running.addresses())
        else:
            opened = output is _Output.AND_PAGE and _opened(running.page)
            _console.print(stage.welcome(running, data_dir, used, opened=opened), soft_wrap=True)
        await process.until(stop, _telling(running))
    if output is not _Output.JSON:
        _console.print("Stopped. The next start finds everything as it is.")


def _opened(page: str | None) -> bool:
    """Opens the page where somebody can see it; whether that was done."""
    before_a_screen = browser.can_open(os.environ, sys.platform, terminal=sys.stdout.isatty())
    return page is not None and before_a_screen and browser.open_page(page)


def _telling(running: stage.Demo) -> Callable[[], None] | None:
    """Prints what is said in the local Slack, if there is one."""
    if running.slack is None:
        return None
    narrator = stage.Narrator(running.slack)

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
