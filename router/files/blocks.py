"""How an agent is told of the files of a message, and a person of those that it did not get. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from router.context.quoting import fenced
from router.errors import FileReason
from router.files import reasons
from router.files.kinds import seen_path
from store.input_files import InputFile

_KILO = 1024


def blocks(files: Sequence[InputFile]) -> list[dict[str, Any]]:
    """The content blocks that stand behind a message's words; every file is named, whatever it is."""
    return [block for file in files for block in _of(file)]


def refusals(files: Sequence[InputFile]) -> str | None:
    """What the person who shared them is told of files that were refused; None without any."""
    refused = [(f.name, cast("FileReason", f.reason)) for f in files if f.state == "refused"]
    return reasons.to_person(refused) if refused else None


def _of(file: InputFile) -> Iterator[dict[str, Any]]:
    name = reasons.shown(file.name)
    if file.state == "refused":
        yield _text(reasons.to_agent(file.name, cast("FileReason", file.reason)))
        return
    at = {"type": "file", "file_id": file.runtime_file_id}
    match file.kind:
        case "image":
            yield _text(f"[attached image: {name}]")
            yield {"type": "image", "source": at}
        case "document":
            yield {"type": "document", "source": at, "title": name}
        case "text":
            head = f"[attached file: {name} ({_size(file.size)}), all of it:]"
            yield _text(f"{head}\n{fenced(file.content or '')}")
        case _:
            path = seen_path(file.mount_path or "")
            yield _text(f"[attached file: {name} ({_size(file.size)}); it lies at {path}]")


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _size(size: int | None) -> str:
    if size is None or size < _KILO:
        return f"{size or 0} bytes"
    if size < _KILO**2:
        return f"{size / _KILO:.0f} kB"
    return f"{size / _KILO**2:.1f} MB"
