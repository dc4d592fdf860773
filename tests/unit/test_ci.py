"""What continuous integration does before the tests: a browser, where one is missing and can be had."""

import shutil
import subprocess
from pathlib import Path

import pytest

_RUN = Path(__file__).parents[2] / ".ci" / "run"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout on a machine of root's that has apt-get and no browser; `calls` is what ran."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(_RUN, tmp_path / ".ci")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "env", "mktemp", "rm", "tail"):
        found = shutil.which(name)
        assert found, name
        (tmp_path / "bin" / name).symlink_to(found)
    _program(tmp_path, "id", "echo 0")
    _program(tmp_path, "apt-get", f'echo "apt-get $1" >>{tmp_path}/calls')
    _program(tmp_path, "make", f'echo "make $1" >>{tmp_path}/calls')
    return tmp_path


def _program(machine: Path, name: str, script: str) -> None:
    path = machine / "bin" / name
    path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
    path.chmod(0o755)


def _run(machine: Path, **environment: str) -> tuple[list[str], str]:
    """What ran, and what was printed of it."""
    environment |= {"PATH": str(machine / "bin")}
    run = [machine / ".ci" / "run"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    return (machine / "calls").read_text().splitlines(), done.stdout + done.stderr


def test_a_browser_is_installed_where_there_is_none(machine):
    ran, printed = _run(machine)
    assert ran == ["apt-get update", "apt-get install", "make test"]
    assert printed == ""


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_a_browser_that_is_there_is_enough(machine, name):
    _program(machine, name, ":")
    assert _run(machine)[0] == ["make test"]


def test_the_browser_that_chromium_names_is_enough(machine):
    _program(machine, "brave", ":")
    assert _run(machine, CHROMIUM="brave")[0] == ["make test"]


def test_nothing_is_installed_for_anybody_but_root(machine):
    _program(machine, "id", "echo 1000")
    assert _run(machine)[0] == ["make test"]


def test_nothing_is_installed_without_apt_get(machine):
    (machine / "bin" / "apt-get").unlink()
    assert _run(machine)[0] == ["make test"]


def test_a_browser_that_cannot_be_installed_is_one_line_and_no_reason_to_stop(machine):
    _program(machine, "apt-get", "echo one; echo 'E: no network' >&2; exit 100")
    ran, printed = _run(machine)
    assert ran == ["make test"]
    assert printed == "No browser, so its tests will skip: apt-get said 'E: no network'.\n"
