"""The README's walk through the API: every line is run by a shell, against a real `threadline demo`."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.api.auth.tokens import VARIABLES
from store.embedded import temporary_data_dir
from tests.chaos.processes import processes
from tests.harness import environment
from tests.support import eventually

pytestmark = pytest.mark.timeout(120)

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text()
_MARK = "-- done --"
_PATIENCE_SECONDS = 40.0
_ASSIGNED = re.compile(r"([A-Z]+)=\S*\$\(")
_CLAIMED = re.compile(r"# (\d{3})\b")
_OURS = f'exec "{sys.executable}" "{_ROOT}/tests/curl.py" "$@"'
_COMMAND = f'PYTHONPATH="{_ROOT}" exec "{sys.executable}" -m bot "$@"'
# The machine's, if it has one, and at length ours as well.
_CURLS = (
    ["machine's", pytest.param("ours", marks=pytest.mark.long)]
    if shutil.which("curl")
    else ["ours"]
)
# What curl says of every request beside its answer; ours says so anyway.
_CURLRC = 'write-out = "%{stderr}%{http_code}\\n"\n'


def walk() -> dict[str, str | None]:
    """The lines of the fenced block that calls the API, each with the status it is to come to.

    That stands above it: who pastes a comment behind a command into zsh has no comment.
    """
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", _README, re.DOTALL) if "$AGENT" in b]
    claims: dict[str, str | None] = {}
    above, behind = "", None
    for line in filter(None, block.splitlines()):
        claim = _CLAIMED.match(above)
        status = claim[1] if claim else None
        if line.endswith("&"):  # it says its status when it ends
            behind, status = status, None
        if not line.startswith("#"):
            claims[line] = behind if line.startswith("wait") else status
        above = line
    return claims


@dataclass
class Shell:
    """A shell that is typed into; both of its outputs are read up to a mark."""

    process: asyncio.subprocess.Process

    async def types(self, line: str) -> tuple[str, list[str]]:
        """What the line prints, and the statuses of the requests that it made."""
        stdin = self.process.stdin
        assert stdin
        # On a line of its own, for a comment or a `&` may end the one that is typed.
        stdin.write(f"{line}\necho; echo '{_MARK}'; echo '{_MARK}' >&2\n".encode())
        printed = await self._until_mark(self.process.stdout)
        said = await self._until_mark(self.process.stderr)
        assert all(status.isdigit() for status in said.split()), said
        return printed.strip(), said.split()

    @staticmethod
    async def _until_mark(stream: asyncio.StreamReader | None) -> str:
        assert stream
        return (await stream.readuntil(f"{_MARK}\n".encode())).decode().removesuffix(f"{_MARK}\n")


@asynccontextmanager
async def shell(home: Path, path: Path) -> AsyncIterator[Shell]:
    """A shell at home, where what is in `path` comes before all other programs."""
    env = environment(HOME=str(home), PATH=f"{path}:{environment()['PATH']}")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "sh",
        cwd=home,
        env=env,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        limit=2**20,
        start_new_session=True,
    )
    try:
        yield Shell(process)
    finally:
        with suppress(ProcessLookupError):  # nothing is left of it
            os.killpg(process.pid, signal.SIGKILL)  # and what it runs in the background
        await process.wait()


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def home() -> Iterator[Path]:
    """Somebody's home, in which `make demo` has put the command into `.venv/bin`."""
    with temporary_data_dir() as folder:
        (folder / ".curlrc").write_text(_CURLRC)
        _program(folder / ".venv" / "bin" / "threadline", _COMMAND)
        yield folder


@pytest.mark.parametrize("curl", _CURLS)
async def test_every_line_of_the_walk_does_what_it_claims(home: Path, tmp_path: Path, curl: str):
    programs = tmp_path / "programs"
    programs.mkdir()
    if curl == "ours":
        _program(programs / "curl", _OURS)
    async with processes(tmp_path) as commands:
        demo = commands.start("demo", "--json", "--data-dir", str(home / ".threadline"))
        url = (await demo.ready())["threadline"]
        async with shell(home, programs) as sh:
            typed = walk().items()
            printed = {line: await _as_claimed(sh, line, claim, url) for line, claim in typed}
            for again, status in (("/interrupt", "409"), ("/archive", "200")):
                (line,) = [line for line in walk() if again in line]
                assert (await sh.types(line))[1] == [status], line
    _check(printed, (home / "stream.txt").read_text())


async def _as_claimed(sh: Shell, line: str, claim: str | None, url: str) -> str:
    """Types a line until it does what it claims: people type slower than approvals come."""
    typed = line.replace("http://127.0.0.1:3000", url)
    name = _ASSIGNED.match(line)
    seen: list[object] = []
    printed = ""

    async def tried() -> bool:
        nonlocal printed
        printed, statuses = await sh.types(typed)
        value = (await sh.types(f'echo "${name[1]}"'))[0] if name else ""
        seen[:] = [statuses, printed, value]
        if name is not None and (not value or value.endswith("/")):
            return False
        return claim is None or statuses == [claim]

    try:
        await eventually(tried, _PATIENCE_SECONDS, line)
    except AssertionError as never:
        raise AssertionError(f"{line}\ncame to {seen}") from never
    return printed


def _check(printed: dict[str, str], streamed: str) -> None:
    """What the answers of the lines hold, each found by a word of its line."""

    def answer(word: str) -> str:
        (text,) = [text for line, text in printed.items() if word in line]
        return text

    (listed,) = json.loads(answer("source=dashboard"))["data"][:1]
    assert (listed["source"], listed["title"]) == ("dashboard", "List them !ask bash")
    decided = json.loads(answer("/decide"))
    assert (decided["verdict"], decided["decided_by"]["name"]) == ("allow", "ada@example.com")
    assert all(item["event"]["type"] for item in json.loads(answer("/events"))["data"])
    assert json.loads(answer("/messages"))["state"] == "queued"
    assert json.loads(answer("/interrupt"))["id"] == listed["id"]
    assert json.loads(answer("/archive"))["archive_requested_at"]
    assert json.loads(answer("Bearer $KEY"))["data"][0]["id"] == listed["id"]
    names = re.findall(r"^event: (\S+)", streamed, re.MULTILINE)
    assert answer("grep ^event") == "\n".join(f"event: {name}" for name in names)
    for name in ("user.message", "agent.message", "threadline.session_archived"):
        assert name in names, names


def test_the_readme_names_what_opens_the_api():
    for variable in (*VARIABLES, "THREADLINE_CORS_ORIGINS"):
        assert f"`{variable}`" in _README
