"""The rows of files: each file once, and nothing that was done is done again."""

from typing import Any

import asyncpg
import pytest

from store import input_files
from store.database import Connection, Record
from store.input_files import FoundFile, InputFile, NewFile
from store.leases import Lease
from tests.store import factories
from tests.store.factories import Ground

IMAGE = FoundFile("a.png", "image", "image/png", 9, runtime_file_id="file_1")
TEXT = FoundFile("a.txt", "text", "text/plain", 2, content="hi")
RESOURCE = FoundFile("a.zip", "resource", "application/octet-stream", 9, runtime_file_id="file_2")


@pytest.fixture
async def message(db: Connection, on: Ground) -> Record:
    return await factories.message(db, await factories.session(db, on))


@pytest.fixture
def lease(message: Record) -> Lease:
    return Lease(message["deployed_agent_id"], message["session_id"], 1)


async def files(db: Connection, lease: Lease, message: Record) -> list[InputFile]:
    return await input_files.of(db, lease, [message["id"]])


async def begun(db: Connection, lease: Lease, message: Record) -> InputFile:
    await input_files.begin(db, lease, message["id"], [NewFile("F1", "a")])
    return (await files(db, lease, message))[0]


async def test_files_are_noted_once_in_their_order(db, lease, message):
    new = [
        NewFile("F2", "b"),
        NewFile("F1", "a"),
        NewFile("F2", "b again"),
        NewFile("F3", "c", "too_many"),
    ]
    for _ in range(2):
        await input_files.begin(db, lease, message["id"], new)
    found = await files(db, lease, message)
    assert [(f.slack_file_id, f.name, f.state, f.reason) for f in found] == [
        ("F2", "b", "pending", None),
        ("F1", "a", "pending", None),
        ("F3", "c", "refused", "too_many"),
    ]
    assert found[0].input_id == message["id"]


@pytest.mark.parametrize(
    ("found", "state"), [(IMAGE, "ready"), (TEXT, "ready"), (RESOURCE, "uploaded")]
)
async def test_what_was_read_is_kept_and_read_only_once(db, lease, message, found, state):
    file = await begun(db, lease, message)
    await input_files.read(db, lease, file, found)
    (row,) = await files(db, lease, message)
    assert (row.state, row.kind, row.name, row.size) == (state, found.kind, found.name, found.size)
    assert (row.content, row.runtime_file_id) == (found.content, found.runtime_file_id)
    await input_files.read(db, lease, file, TEXT if found is IMAGE else IMAGE)
    assert await files(db, lease, message) == [row]
    assert await input_files.attempt(db, lease, file) is None


async def test_a_resource_is_ready_where_it_is_mounted(db, lease, message):
    file = await begun(db, lease, message)
    await input_files.mounted(db, lease, file, "/F1/a", "sesn_1")
    assert (await files(db, lease, message))[0].state == "pending"
    await input_files.read(db, lease, file, RESOURCE)
    for session in ("sesn_1", "sesn_2"):
        await input_files.mounted(db, lease, file, "/F1/a", session)
        (row,) = await files(db, lease, message)
        assert (row.state, row.mount_path, row.mounted_in) == ("ready", "/F1/a", session)


@pytest.mark.parametrize("found", [None, TEXT, RESOURCE])
async def test_a_refused_file_stays_so_and_keeps_no_text(db, lease, message, found):
    file = await begun(db, lease, message)
    if found:
        await input_files.read(db, lease, file, found)
    await input_files.refuse(db, lease, file, "not_taken")
    await input_files.refuse(db, lease, file, "deleted")
    await input_files.read(db, lease, file, IMAGE)
    await input_files.mounted(db, lease, file, "/F1/a", "sesn_1")
    (row,) = await files(db, lease, message)
    assert (row.state, row.reason, row.content) == ("refused", "not_taken", None)


async def test_tries_are_counted_and_taken_back(db, lease, message):
    file = await begun(db, lease, message)
    assert [await input_files.attempt(db, lease, file) for _ in range(3)] == [1, 2, 3]
    await input_files.uncount(db, lease, file)
    assert (await files(db, lease, message))[0].attempts == 2


READY: dict[str, Any] = {"state": "ready", "media_type": "x/y", "size": 1}


@pytest.mark.parametrize(
    ("columns", "broken"),
    [
        ({"state": "refused"}, "refused_has_a_reason"),
        ({"reason": "deleted"}, "refused_has_a_reason"),
        ({"state": "uploaded"}, "read_has_kind_and_size"),
        (READY | {"kind": "text"}, "ready_is_to_be_had"),
        (READY | {"kind": "image"}, "ready_is_to_be_had"),
        (READY | {"kind": "resource", "runtime_file_id": "f"}, "ready_is_to_be_had"),
        ({"mount_path": "/a"}, "only_resources_are_mounted"),
        ({"mount_path": "/a", "mounted_in": "s", "kind": "image"}, "only_resources_are_mounted"),
        ({"kind": "film"}, "input_files_kind_check"),
        ({"state": "lost"}, "input_files_state_check"),
    ],
)
async def test_a_row_that_cannot_be_is_refused(db, message, columns, broken):
    with pytest.raises(asyncpg.CheckViolationError, match=broken):
        await factories.file(db, message, **columns)
