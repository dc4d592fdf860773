"""What is in the files of the local runtime, in a folder and in memory."""

from pathlib import Path

import pytest

from router.runtime.local.content import Contents
from router.runtime.local.wire import ApiError


@pytest.fixture(params=["folder", "memory"])
def contents(request: pytest.FixtureRequest, tmp_path: Path) -> Contents:
    made = Contents(tmp_path / "files" if request.param == "folder" else None)
    made.most = 10
    return made


def kept(contents: Contents, name: str, content: bytes) -> None:
    with contents.draft(name) as draft:
        draft.write(content)


def broken(contents: Contents) -> None:
    with contents.draft("a") as draft:
        draft.write(b"123456789")
        raise ApiError(400, "The form is broken.")


def test_what_is_kept_is_read(contents):
    kept(contents, "a", b"12345")
    assert b"".join(contents.pieces("a")) == b"12345"
    kept(contents, "empty", b"")
    assert list(contents.pieces("empty")) == []


def test_no_more_than_there_is_room_for_and_dropping_makes_some(contents):
    kept(contents, "a", b"12345678")
    with pytest.raises(ApiError, match="full"):
        kept(contents, "b", b"123")
    kept(contents, "b", b"12")
    contents.drop("a")
    contents.drop("a")
    kept(contents, "c", b"12345678")
    contents.keep_only(["b"])
    kept(contents, "c", b"12345678")
    assert b"".join(contents.pieces("b")) == b"12"


def test_a_draft_that_fails_leaves_nothing(contents, tmp_path):
    with pytest.raises(ApiError):
        broken(contents)
    kept(contents, "b", b"1234567890")
    assert [path.name for path in tmp_path.glob("files/*")] in (["b"], [])
