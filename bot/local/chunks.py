"""What chunks make of a streamed message (docs.slack.dev/reference/methods/chat.appendStream)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bot.local import checks, text as texts
from bot.local.model import Json, SlackError, Stream

MAX_FIELD = 256
# Slack documents no total. Apps have measured msg_too_long between 10,600 and 12,000 bytes of
# UTF-8 (titles and text once, details and outputs twice); this is the upper end.
MAX_STREAM_BYTES = 12_000

_STATUSES = frozenset({"pending", "in_progress", "complete", "error"})
_TWICE = ("details", "output")
_URL = re.compile(r"https?://\S+\Z")


def read_chunks(markdown: str, chunks: Any) -> tuple[str, list[Json]]:
    """The mode of a call ("" when it brings nothing) and its content as checked chunks."""
    if markdown and chunks:
        raise SlackError("cannot_provide_both_markdown_text_and_chunks")
    if markdown:
        found = [{"type": "markdown_text", "text": markdown}]
    else:
        found = _checked(checks.parsed(chunks, "invalid_chunks") or [])
    if sum(len(chunk["text"]) for chunk in found if "text" in chunk) > checks.MAX_MARKDOWN:
        raise SlackError("msg_too_long")
    return "markdown_text" if markdown else "chunks" if found else "", found


def apply_chunks(stream: Stream, mode: str, chunks: list[Json], most: int) -> Stream:
    """The stream with these chunks; SlackError for another mode than before, or for too much."""
    if mode and stream.mode and mode != stream.mode:
        raise SlackError("streaming_mode_mismatch")
    for chunk in chunks:
        stream = _APPLY[chunk["type"]](stream, chunk)
    listed = sum(len(part["blocks"]) for part in stream.parts if "blocks" in part)
    if listed + len(stream.tasks) > checks.MAX_BLOCKS:
        raise SlackError("msg_blocks_too_many")
    if _weight(stream) > most:
        raise SlackError("msg_too_long")
    return replace(stream, mode=stream.mode or mode)


def stream_text(stream: Stream) -> str:
    """All text of a stream, without its cards."""
    return "".join(part.get("text", "") for part in stream.parts)


def stream_blocks(stream: Stream) -> list[Json]:
    """A stream as Slack lays it out: cards among the text, or one plan where the first card was."""
    named = enumerate(_blocks(stream))
    return [block | {"block_id": block.get("block_id") or f"s{place}"} for place, block in named]


# --------------------------------------------------------------------------- checks


def _checked(chunks: Any) -> list[Json]:
    if not isinstance(chunks, list):
        raise SlackError("invalid_chunks")
    for chunk in chunks:
        kind = chunk.get("type") if isinstance(chunk, dict) else None
        if kind not in _CHECKS or not _CHECKS[kind](chunk):
            raise SlackError("invalid_chunks")
    return chunks


def _is_text(chunk: Json) -> bool:
    return isinstance(chunk.get("text"), str) and bool(chunk["text"])


def _is_task(chunk: Json) -> bool:
    named = all(isinstance(chunk.get(name), str) and chunk[name] for name in ("id", "title"))
    brief = all(_brief(chunk.get(name)) for name in ("title", "details", "output"))
    sources = chunk.get("sources") or []
    listed = isinstance(sources, list) and all(map(_is_source, sources))
    return named and brief and listed and chunk.get("status") in _STATUSES


def _is_plan(chunk: Json) -> bool:
    return isinstance(chunk.get("title"), str) and bool(chunk["title"]) and _brief(chunk["title"])


def _is_blocks(chunk: Json) -> bool:
    blocks = chunk.get("blocks")
    if isinstance(blocks, list) and len(blocks) > checks.MAX_BLOCKS:
        raise SlackError("msg_blocks_too_many")
    return bool(checks.check_blocks(blocks))


def _is_source(source: Any) -> bool:
    if not isinstance(source, dict) or source.get("type") != "url":
        return False
    return isinstance(source.get("text"), str) and bool(_URL.match(str(source.get("url"))))


def _brief(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= MAX_FIELD)


_CHECKS: dict[str, Callable[[Json], bool]] = {
    "markdown_text": _is_text,
    "task_update": _is_task,
    "plan_update": _is_plan,
    "blocks": _is_blocks,
}

# ------------------------------------------------------------------------- applying


def _add_text(stream: Stream, chunk: Json) -> Stream:
    parts = list(stream.parts)
    before = parts.pop()["text"] if parts and "text" in parts[-1] else ""
    return replace(stream, parts=[*parts, {"text": before + chunk["text"]}])


def _add_task(stream: Stream, chunk: Json) -> Stream:
    """Title and status replace what was there, details, output and sources are added to it."""
    known = stream.tasks.get(chunk["id"])
    parts = stream.parts if known else [*stream.parts, {"task": chunk["id"]}]
    task: Json = {"task_id": chunk["id"], "title": chunk["title"], "status": chunk["status"]}
    for name in _TWICE:
        task[name] = (known or {}).get(name, "") + (chunk.get(name) or "")
    task["sources"] = [*(known or {}).get("sources", []), *(chunk.get("sources") or [])]
    return replace(stream, parts=parts, tasks=stream.tasks | {chunk["id"]: task})


def _add_plan(stream: Stream, chunk: Json) -> Stream:
    return replace(stream, plan=chunk["title"])


def _add_blocks(stream: Stream, chunk: Json) -> Stream:
    return replace(stream, parts=[*stream.parts, {"blocks": chunk["blocks"]}])


_APPLY: dict[str, Callable[[Stream, Json], Stream]] = {
    "markdown_text": _add_text,
    "task_update": _add_task,
    "plan_update": _add_plan,
    "blocks": _add_blocks,
}


def _weight(stream: Stream) -> int:
    """The bytes that count; cards alone are free, as apps have measured."""
    text = stream_text(stream)
    if not text:
        return 0
    once = [text, stream.plan, *(task["title"] for task in stream.tasks.values())]
    twice = [task[name] for task in stream.tasks.values() for name in _TWICE]
    return sum(len(one.encode()) for one in [*once, *twice, *twice])


# --------------------------------------------------------------------------- layout


def _blocks(stream: Stream) -> Iterator[Json]:
    cards = {name: _card(task) for name, task in stream.tasks.items()}
    plan = _plan(stream, cards) if stream.display == "plan" else None
    if plan is not None and not cards and stream.plan:
        yield plan
    for part in stream.parts:
        if "text" in part:
            yield from texts.rich_text(part["text"], "")
        elif "blocks" in part:
            yield from part["blocks"]
        elif plan is None:
            yield cards[part["task"]]
        elif part["task"] == next(iter(cards)):
            yield plan


def _plan(stream: Stream, cards: dict[str, Json]) -> Json:
    tasks = [{k: v for k, v in card.items() if k != "type"} for card in cards.values()]
    return {"type": "plan", "title": stream.plan, "tasks": tasks}


def _card(task: Json) -> Json:
    card = {"type": "task_card", **{name: task[name] for name in ("task_id", "title", "status")}}
    for name in _TWICE:
        for block in texts.rich_text(task[name], ""):
            card[name] = {"type": block["type"], "elements": block["elements"]}
    return card | ({"sources": task["sources"]} if task["sources"] else {})
