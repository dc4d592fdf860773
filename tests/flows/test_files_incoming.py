"""The files of a message on their way from Slack into the runtime, through both local servers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from bot import events
from bot.fetching import Fetching
from bot.local import LocalSlack
from bot.local.workspace import SCOPES
from router.errors import RuntimeAway
from router.files import incoming
from router.files.blocks import blocks, refusals
from router.files.incoming import Carrier, prepare
from router.files.kinds import FILE_BYTES, IMAGE_BYTES, TEXT_BYTES
from router.files.uploading import RuntimeUploads
from router.ports import OpenedFile
from router.runtime.budget import Need
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime
from store import database, input_files, leases
from store.input_files import InputFile
from store.inputs import Input, open_inputs
from store.leases import Held
from tests.flows.slack_side import Side, slack_side
from tests.images import PNG_END, jpeg, png
from tests.store import factories

PNG, PDF = png(1) + b" and more" + PNG_END, b"%PDF-1.7\nand more"
LOCKED = PDF + b"\0" * (64 * 1024 - len(PDF) - 4) + b"/Encrypt 5 0 R"
ZIP = b"PK\x03\x04" + b"\0" * 100
LIVE = Need.LIVE


class Crash(Exception):
    """What a test has happen at a write."""


@dataclass
class Desk:
    """A session that is held, both servers, and everything that carries files between them."""

    slack: LocalSlack
    runtime: LocalRuntime
    client: Runtime
    side: Side
    source: Fetching
    row: database.Record
    held: Held
    session: str = ""
    fetched: int = 0
    writes: int = 0
    crash_at: int | None = None

    def open_file(
        self, install_id: UUID, file: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[OpenedFile]:
        """The real source's; counts what is read."""
        self.fetched += 1
        return self.source.open_file(install_id, file)

    @asynccontextmanager
    async def writing(self, *, progress: bool) -> AsyncIterator[database.Connection]:
        """The fenced transaction of a holder; `crash_at` is the one before which it dies."""
        self.writes += 1
        if self.writes == self.crash_at:
            raise Crash
        async with database.borrow(self.side.pool) as connection, connection.transaction():
            fence = leases.fence if progress else leases.fence_quietly
            await fence(connection, self.held.lease)
            yield connection

    async def share(self, *files: tuple[str, bytes], kind: str = "message") -> Input:
        """A message of ada's with these files, as an input of the session."""
        ids = [await self.slack.upload("ada", name, content) for name, content in files]
        said = await self.slack.say("ada", "general", "look", file_ids=ids)
        named = [asdict(events._file(one)) for one in said.files]
        body = {"text": "look", "user": "U0ADA", "files": named}
        row = await factories.message(self.side.connection, self.row, body=body, kind=kind)
        found = await open_inputs(self.side.connection, self.held.lease)
        return next(i for i in found if i.id == row["id"])

    async def prepare(self, item: Input) -> list[InputFile]:
        carrier = Carrier(
            source=self,
            uploads=RuntimeUploads(self.client.files),
            writing=self.writing,
            lease=self.held.lease,
            install_id=self.side.install_id,
        )
        return await prepare(carrier, item, self.session)

    async def rows(self, item: Input) -> list[InputFile]:
        return await input_files.of(self.side.connection, self.held.lease, [item.id])

    async def new_session(self) -> None:
        """The runtime's session is another one from now on."""
        agent = await self.client.create_agent(name="a", model="claude-sonnet-4-6", system="")
        where = await self.client.create_environment(name="e")
        self.session = await self.client.create_session(
            agent_id=agent, environment_id=where, title="t", metadata={}
        )


@pytest.fixture
async def desk(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(incoming, "_PATIENCE_SECONDS", 0.01)
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(LocalSlack(scopes=SCOPES | {"files:read"}))
        runtime = await stack.enter_async_context(LocalRuntime())
        who = (slack.team_id, slack.bot_user_id, "B0")
        side = await stack.enter_async_context(
            slack_side(dsn, slack.api_url, token=slack.bot_token, who=who)
        )
        source = await stack.enter_async_context(Fetching(side.slack, side.budgets, slack.api_url))
        client = Runtime(api_key="key", base_url=runtime.url, max_streams=1)
        stack.push_async_callback(client.close)
        row = await factories.session(side.connection, side.on)
        held = await factories.held(side.connection, row)
        made = Desk(slack, runtime, client, side, source, row, held)
        await made.new_session()
        yield made


# ------------------------------------------------------------------ each kind


async def test_an_image_is_looked_into_for_its_size_and_goes_whole(desk: Desk):
    photos = [jpeg(height, 200_000) + b"\0" * 100_000 for height in (8000, 8001)]
    item = await desk.share(("photo.jpg", photos[0]), ("wide.jpg", photos[1]))
    files = await desk.prepare(item)
    assert [(f.name, f.kind) for f in files] == [("photo.jpg", "image"), ("wide.jpg", "resource")]
    assert [desk.runtime.file_content(str(f.runtime_file_id)) for f in files] == photos


async def test_each_kind_goes_its_way(desk: Desk):
    item = await desk.share(
        ("shot.png", PNG),
        ("plan.pdf", PDF),
        ("log.txt", b"all is well\n"),
        ("data.zip", ZIP),
        ("big.png", PNG + b"\0" * IMAGE_BYTES + PNG_END),
        ("cut.png", PNG.removesuffix(PNG_END) + b"\0" * TEXT_BYTES),
        ("locked.pdf", LOCKED),
        ("big.log", b"x" * (TEXT_BYTES + 1)),
        ("lies.png", b"only words"),
        ("lies.txt", PNG),
    )
    files = await desk.prepare(item)
    assert [(f.name, f.kind, f.state) for f in files] == [
        ("shot.png", "image", "ready"),
        ("plan.pdf", "document", "ready"),
        ("log.txt", "text", "ready"),
        ("data.zip", "resource", "ready"),
        ("big.png", "resource", "ready"),
        ("cut.png", "resource", "ready"),
        ("locked.pdf", "resource", "ready"),
        ("big.log", "resource", "ready"),
        ("lies.png", "text", "ready"),
        ("lies.txt", "image", "ready"),
    ]
    assert refusals(files) is None
    for one in files:
        if one.runtime_file_id:
            content = desk.runtime.file_content(one.runtime_file_id)
            assert len(content) == one.size, one.name
    shot, plan, log, data, *_ = files
    assert desk.runtime.file_content(str(shot.runtime_file_id)) == PNG
    assert (plan.media_type, log.content) == ("application/pdf", "all is well\n")
    mounted = await desk.client.files.mounted(LIVE, desk.session)
    assert len(mounted) == 5
    assert f"/mnt/session/uploads/{data.slack_file_id}/data.zip" in {m.path for m in mounted}
    assert f"it lies at /mnt/session/uploads{data.mount_path}" in str(blocks(files))
    await desk.client.send(desk.session, [{"type": "user.message", "content": blocks(files)}])


async def test_nothing_is_done_again(desk: Desk):
    item = await desk.share(("shot.png", PNG), ("data.zip", ZIP), ("gone.txt", b"gone"))
    await desk.slack.delete_file(item.body["files"][2]["id"])
    first = await desk.prepare(item)
    assert [f.state for f in first] == ["ready", "ready", "refused"]
    done = desk.fetched, len(desk.runtime.files()), desk.runtime.requests("files.upload")
    assert await desk.prepare(item) == first
    assert (
        desk.fetched,
        len(desk.runtime.files()),
        desk.runtime.requests("files.upload"),
    ) == done


async def test_what_a_message_names_no_more_is_left_out(desk: Desk):
    item = await desk.share(("shot.png", PNG), ("empty.csv", b""))
    await desk.prepare(item)
    left = replace(item, body=item.body | {"files": item.body["files"][1:]})
    assert [(f.name, f.kind, f.state) for f in await desk.prepare(left)] == [
        ("empty.csv", "text", "ready")
    ]
    assert desk.fetched == 2


async def test_another_session_is_given_the_resources_and_nothing_is_fetched(desk: Desk):
    item = await desk.share(("shot.png", PNG), ("data.zip", ZIP))
    await desk.prepare(item)
    was = desk.session
    await desk.new_session()
    files = await desk.prepare(item)
    assert [f.mounted_in for f in files] == [None, desk.session]
    assert desk.fetched == 2
    for session in (was, desk.session):
        assert len(await desk.client.files.mounted(LIVE, session)) == 1


# ------------------------------------------------------------------ refused


async def test_the_eleventh_file_and_one_that_is_too_large(desk: Desk):
    many = [(f"{n}.txt", b"hi") for n in range(10)]
    item = await desk.share(("large.bin", b"\0" * FILE_BYTES), *many)
    item.body["files"][1]["url"] = "https://docs.example/a.txt"
    item.body["files"][2]["mode"] = "tombstone"
    item.body["files"][3].pop("id")
    files = await desk.prepare(item)
    assert [(f.state, f.reason) for f in files] == [
        ("ready", None),
        ("refused", "foreign_host"),
        ("refused", "deleted"),
        ("refused", "unreadable"),
        *[("ready", None)] * 6,
        ("refused", "too_many"),
    ]
    assert files[0].size == FILE_BYTES
    told = refusals(files)
    assert told is not None
    assert told.count("“") == 4
    assert len([b for b in blocks(files) if "could not be brought along" in str(b)]) == 4


async def test_a_file_that_grows_too_large_on_its_way_is_not_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bot.fetching.FILE_BYTES", TEXT_BYTES * 3)
    item = await desk.share(("large.bin", b"\0" * TEXT_BYTES * 4))
    (file,) = await desk.prepare(item)
    assert (file.state, file.reason) == ("refused", "too_large")
    assert desk.fetched == 1
    assert desk.runtime.files() == []


async def test_what_the_runtime_does_not_take_is_refused(desk: Desk):
    desk.runtime.fault("refused", route="files.upload")
    desk.runtime.fault("refused", route="resources.add")
    item = await desk.share(("a.png", PNG), ("b.zip", ZIP), ("c.png", PNG))
    files = await desk.prepare(item)
    assert [(f.state, f.reason) for f in files] == [
        ("refused", "not_taken"),
        ("refused", "not_taken"),
        ("ready", None),
    ]


# ------------------------------------------------------------------ in trouble


async def test_after_three_tries_a_file_is_refused_and_the_others_go_on(desk: Desk):
    item = await desk.share(("a.png", PNG), ("b.png", PNG))
    item.body["files"][0]["url"] = None
    desk.slack.fault("error_before", method="files.info", times=3, status=503)
    files = await desk.prepare(item)
    assert [(f.state, f.reason, f.attempts) for f in files] == [
        ("refused", "failed", 3),
        ("ready", None, 1),
    ]


async def test_a_second_try_may_succeed(desk: Desk):
    item = await desk.share(("a.png", PNG))
    item.body["files"][0]["url"] = None
    desk.slack.fault("error_before", method="files.info", times=2, status=503)
    (file,) = await desk.prepare(item)
    assert (file.state, file.attempts) == ("ready", 3)


async def test_the_runtimes_trouble_is_not_the_files(desk: Desk):
    item = await desk.share(("a.png", PNG))
    for kind in ("unavailable", "rate_limit", "drop_after", "drop_before", "overloaded"):
        desk.runtime.fault(kind, route="files.upload")
        with pytest.raises(RuntimeAway):
            await desk.prepare(item)
    assert [(f.state, f.attempts) for f in await desk.rows(item)] == [("pending", 0)]
    assert [f.state for f in await desk.prepare(item)] == ["ready"]


async def test_a_mount_whose_answer_was_lost_is_there_once(desk: Desk):
    item = await desk.share(("a.zip", ZIP))
    desk.runtime.fault("drop_after", route="resources.add")
    with pytest.raises(RuntimeAway):
        await desk.prepare(item)
    (file,) = await desk.prepare(item)
    assert (file.state, desk.fetched) == ("ready", 1)
    assert len(await desk.client.files.mounted(LIVE, desk.session)) == 1


async def test_a_crash_before_any_write_leads_to_the_same_end(desk: Desk):
    """Dies before its first write, its second, …: whoever goes on repeats no more than one file."""
    steps = 0
    while True:
        item = await desk.share(("a.png", PNG), ("b.txt", b"hi"), ("c.zip", ZIP))
        before, steps = desk.fetched, steps + 1
        desk.writes, desk.crash_at = 0, steps
        try:
            files = await desk.prepare(item)
        except Crash:
            desk.crash_at = None
            files = await desk.prepare(item)
        else:
            break
        assert [(f.kind, f.state) for f in files] == [
            ("image", "ready"),
            ("text", "ready"),
            ("resource", "ready"),
        ]
        assert desk.fetched - before <= 4
        mounts = [m.path for m in await desk.client.files.mounted(LIVE, desk.session)]
        assert len(mounts) == len(set(mounts))
    assert steps > 10


async def test_a_file_that_kills_whoever_reads_it_is_refused_in_the_end(desk: Desk):
    item = await desk.share(("a.png", PNG))
    for _ in range(3):
        desk.writes, desk.crash_at = 0, 4  # when it was read, and is to be written down
        with pytest.raises(Crash):
            await desk.prepare(item)
    desk.crash_at = None
    (file,) = await desk.prepare(item)
    assert (file.state, file.reason) == ("refused", "failed")
    assert desk.fetched == 3


async def test_nobody_writes_once_the_lease_has_passed_on(desk: Desk):
    item = await desk.share(("a.png", PNG))
    await desk.side.connection.execute("UPDATE agent_sessions SET lease_epoch = lease_epoch + 1")
    with pytest.raises(leases.LeaseLost):
        await desk.prepare(item)
    assert await desk.rows(item) == []
