"""What a file is, by what is in it; and how it is told of."""

import pytest
from hypothesis import given, settings, strategies as st

from router.files import kinds, reasons
from router.files.blocks import blocks, refusals
from router.files.kinds import IMAGE_BYTES, TEXT_BYTES
from store.ids import new_id
from store.input_files import InputFile
from tests.images import PNG, PNG_END, extended_webp, jpeg, lossless_webp, plain_webp, png

PDF = b"%PDF-1.7\n%plain"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0..", "image/jpeg"),
        (b"GIF89a..", "image/gif"),
        (b"GIF87a..", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "application/octet-stream"),
        (PDF, "application/pdf"),
        (b" %PDF-1.7", "application/octet-stream"),
        (b"<svg xmlns='x'/>", "application/octet-stream"),
        (b"PK\x03\x04", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_the_first_bytes_tell_the_type(head, expected):
    assert kinds.media_type(head) == expected


@pytest.mark.parametrize(
    ("head", "tail", "size", "kind"),
    [
        (PNG, PNG_END, IMAGE_BYTES, "image"),
        (PNG, PNG_END, IMAGE_BYTES + 1, "resource"),
        (PNG, b"\0" * 12, 100, "resource"),
        (png(8000), PNG_END, 100, "image"),
        (png(8001), PNG_END, 100, "resource"),
        (png(0), PNG_END, 100, "resource"),
        (PNG[:18], PNG_END, 100, "resource"),
        (b"GIF89a\x40\x1f\x40\x1f", b";", 100, "image"),
        (b"GIF89a\x40\x1f\x41\x1f", b";", 100, "resource"),
        (jpeg(8000), b"", 100, "image"),
        (jpeg(8001), b"", 100, "resource"),
        (jpeg(8000, 200_000), b"", 300_000, "image"),
        (jpeg(8001, 200_000), b"", 300_000, "resource"),
        (jpeg(1, 200_000)[:150_000], b"", 300_000, "resource"),
        (plain_webp(8000), b"", 100, "image"),
        (plain_webp(8001), b"", 100, "resource"),
        (lossless_webp(8000), b"", 100, "image"),
        (lossless_webp(8001), b"", 100, "resource"),
        (extended_webp(8000), b"", 100, "image"),
        (extended_webp(8001), b"", 100, "resource"),
        (PDF, b"%%EOF", 10, "document"),
        (PDF, b"", kinds.FILE_BYTES, "document"),
        (b"\0\1\2", b"\0\1\2", 3, "resource"),
        (b"long text", b"long text", TEXT_BYTES + 1, "resource"),
    ],
)
def test_type_and_size_tell_the_kind(head, tail, size, kind):
    read = kinds.streamed(head, tail, size)
    assert (read.kind, read.size, read.text) == (kind, size, None)


def test_a_locked_document_is_none():
    assert kinds.streamed(PDF, b"%%EOF", 100, locked=True).kind == "resource"


@pytest.mark.parametrize(
    "content", [b"", b"hi", "é🙂\r\n".encode(), b"<!doctype html>", b"a" * TEXT_BYTES]
)
def test_a_small_text_is_quoted_whole(content):
    read = kinds.whole(content)
    assert read is not None
    assert (read.kind, read.text, read.size) == ("text", content.decode(), len(content))


def test_a_mark_of_the_byte_order_is_no_text():
    read = kinds.whole(b"\xef\xbb\xbfhi")
    assert read is not None
    assert read.text == "hi"


@pytest.mark.parametrize(
    "content",
    [
        PNG,
        PDF,
        b"a\0b",
        b"\xff\xfeh\0i\0",
        b"caf\xe9",
        b"a" * (TEXT_BYTES + 1),
        b"GIF89a is a word",
    ],
)
def test_all_else_is_no_text(content):
    assert kinds.whole(content) is None


@given(st.binary(max_size=200))
def test_whatever_it_is_it_is_one_thing(content: bytes):
    read = kinds.whole(content) or kinds.streamed(content, content, len(content))
    assert (read.kind == "text") == (read.text is not None)


_IMAGES = [png(1), jpeg(1), b"GIF89a\1\0\1\0", plain_webp(1), lossless_webp(1), extended_webp(1)]


@given(st.sampled_from(_IMAGES), st.integers(12, 200), st.binary(max_size=200))
def test_an_image_may_hold_whatever_it_likes(image: bytes, kept: int, rest: bytes):
    content = image[:kept] + rest
    assert kinds.streamed(content, PNG_END, len(content)).kind in {"image", "resource"}


@given(st.text(max_size=300), st.text(max_size=300))
@settings(max_examples=200)
def test_a_path_is_one_that_every_shell_can_name(file_id: str, name: str):
    path = kinds.mount_path(file_id, name)
    empty, folder, file = path.split("/")
    assert empty == ""
    for part in (folder, file):
        assert part
        assert part.strip(".")
        assert len(part) <= 100
        assert part.isascii()
        assert not set(part) - set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
        )
    assert kinds.seen_path(path) == f"/mnt/session/uploads{path}"


def test_a_path_keeps_what_says_what_it_is():
    assert kinds.mount_path("F1", "Grüße & more.tar.gz") == "/F1/Gr_e_more.tar.gz"
    assert kinds.mount_path("F1", "../../etc/passwd") == "/F1/_.._etc_passwd"
    assert kinds.mount_path("F1", "x" * 300 + ".csv") == "/F1/" + "x" * 96 + ".csv"


# ------------------------------------------------------------------ what is said


def file(**changes: object) -> InputFile:
    values: dict[str, object] = {
        "input_id": new_id(),
        "slack_file_id": "F1",
        "state": "ready",
        "attempts": 1,
        "name": "a.png",
        "kind": "image",
        "media_type": "image/png",
        "size": 2_500,
        "content": None,
        "runtime_file_id": "file_1",
        "mount_path": None,
        "mounted_in": None,
        "reason": None,
    }
    return InputFile(**(values | changes))  # type: ignore[arg-type]  # a test's row


def test_every_file_is_named_to_the_agent():
    told = blocks(
        [
            file(),
            file(kind="document", name="b [1].pdf", runtime_file_id="file_2"),
            file(kind="text", name="c.log", content="```\nend", size=7, runtime_file_id=None),
            file(kind="resource", name="d.zip", mount_path="/F4/d.zip", size=3 * 1024**2),
            file(state="refused", kind=None, name="e\n.mp4", reason="too_large"),
        ]
    )
    at = "/mnt/session/uploads/F4/d.zip"
    assert told == [
        {"type": "text", "text": "[attached image: a.png]"},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {
            "type": "document",
            "source": {"type": "file", "file_id": "file_2"},
            "title": "b _1_.pdf",
        },
        {
            "type": "text",
            "text": "[attached file: c.log (7 bytes), all of it:]\n````\n```\nend\n````",
        },
        {"type": "text", "text": f"[attached file: d.zip (3.0 MB); it lies at {at}]"},
        {
            "type": "text",
            "text": "[attached file: e_.mp4; it could not be brought along:"
            " it is larger than 20 MB]",
        },
    ]


def test_the_person_is_told_once_of_all_that_was_refused():
    gone = file(state="refused", name="b.pdf", reason="deleted")
    many = file(state="refused", name="c.pdf", reason="too_many")
    assert refusals([file()]) is None
    assert refusals([file(), gone]) == (
        "I could not read “b.pdf” (it is no longer in Slack); the rest of your message was taken in."
    )
    assert refusals([gone, many]) == (
        "I could not read “b.pdf” (it is no longer in Slack) and “c.pdf” (only 10 files of a message"
        " are read); the rest of your message was taken in."
    )
    assert " and 5 more;" in str(refusals([many] * 15))


@given(st.text(max_size=300))
def test_a_name_stays_in_its_place(name: str):
    shown = reasons.shown(name)
    assert shown
    assert len(shown) <= 80
    assert shown.isprintable()
    assert not set(shown) & set("[]“”")
