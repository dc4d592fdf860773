"""What may be sent to a session, and the 400s for what may not."""

from collections.abc import Callable, Sequence

from router.runtime.local.model import Session
from router.runtime.local.shelf import Shelf, source_of
from router.runtime.local.wire import Json, bad_request

MOST_INITIAL_EVENTS = 50
_MOST_DOCUMENTS = 100

_FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "user.message": ({"content"}, set()),
    "user.interrupt": (set(), {"session_thread_id"}),
    "user.tool_confirmation": (
        {"tool_use_id", "result"},
        {"deny_message", "session_thread_id"},
    ),
    "user.custom_tool_result": (
        {"custom_tool_use_id"},
        {"content", "is_error", "session_thread_id"},
    ),
    "user.tool_result": ({"tool_use_id"}, {"content", "is_error", "session_thread_id"}),
    "system.message": ({"content"}, set()),
}
_MESSAGE_BLOCKS = {"text", "image", "document"}
# SDK/types/beta/sessions/beta_managed_agents_{image,document}_block_param.py
_SOURCES: dict[str, dict[str, set[str]]] = {
    "image": {"base64": {"media_type", "data"}, "url": {"url"}, "file": {"file_id"}},
    "document": {
        "base64": {"media_type", "data"},
        "text": {"media_type", "data"},
        "url": {"url"},
        "file": {"file_id"},
    },
}
_BLOCKS = {
    "user.message": _MESSAGE_BLOCKS,
    "user.custom_tool_result": _MESSAGE_BLOCKS | {"search_result"},
    "user.tool_result": _MESSAGE_BLOCKS | {"search_result"},
    "system.message": {"text"},
}
_PROMPTS = {"user.message", "user.tool_result", "user.custom_tool_result"}


def check_events(events: object, session: Session, files: Shelf) -> list[Json]:
    """The events of one send if the session takes all of them as it stands; a 400 otherwise.

    They are judged in order, so that a message may follow the answers it would have to wait for.
    """
    items = _items(events)
    if session.live.status == "terminated":
        raise bad_request(f"Session {session.id} is terminated and accepts no events.")
    waiting: dict[str, str] = {held.event_id: held.call.kind for held in session.unanswered()}
    window = session.window()
    for index, event in enumerate(items):
        kind = _check_shape(event, index, files)
        if kind == "user.interrupt":
            waiting.clear()
        elif kind in {"user.message", "system.message"}:
            _check_message(items, index, session, [one for one in window if one in waiting])
        else:
            _check_answer(event, index, waiting)
    return items


def check_initial_events(events: object, files: Shelf) -> list[Json]:
    """The events of a create: messages only, at most fifty, with at most a hundred documents."""
    items = _items(events)
    if len(items) > MOST_INITIAL_EVENTS:
        raise bad_request(f"initial_events: at most {MOST_INITIAL_EVENTS} events")
    for index, event in enumerate(items):
        if _check_shape(event, index, files) != "user.message":
            raise bad_request(f"initial_events[{index}]: only `user.message` may be sent")
    blocks = [block for event in items for block in event["content"]]
    if sum(b["type"] == "document" and source_of(b) is not None for b in blocks) > _MOST_DOCUMENTS:
        raise bad_request(f"initial_events: at most {_MOST_DOCUMENTS} documents from files")
    return items


def _items(events: object) -> list[Json]:
    if not isinstance(events, list) or not events:
        raise bad_request("events: at least one event is required")
    for index, event in enumerate(events):
        if not isinstance(event, dict):
            raise bad_request(f"events[{index}]: must be an object")
    return events


def _check_shape(event: Json, index: int, files: Shelf) -> str:
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise bad_request(f"events[{index}].type: {kind!r} may not be sent")
    required, optional = _FIELDS[kind]
    names = event.keys() - {"type"}
    if missing := sorted(required - names):
        raise bad_request(f"events[{index}].{missing[0]}: field required")
    if unknown := sorted(names - required - optional):
        raise bad_request(f"events[{index}].{unknown[0]}: extra inputs are not permitted")
    if kind in _BLOCKS and ("content" in required or event.get("content") is not None):
        _check_content(event["content"], _BLOCKS[kind], f"events[{index}].content")
        files.check_sources(event["content"], f"events[{index}].content")
    return kind


def _check_content(content: object, allowed: set[str], where: str) -> None:
    if not isinstance(content, list) or not content:
        raise bad_request(f"{where}: at least one block is required")
    for number, block in enumerate(content):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in allowed:
            raise bad_request(f"{where}[{number}].type: {kind!r} may not be sent")
        if kind == "text":
            text = block.get("text")
            if not isinstance(text, str) or not text:
                raise bad_request(f"{where}[{number}].text: text blocks must be non-empty")
        elif kind in _SOURCES:
            _check_source(block.get("source"), _SOURCES[kind], f"{where}[{number}].source")


def _check_source(source: object, known: dict[str, set[str]], where: str) -> None:
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or kind not in known:
        raise bad_request(f"{where}.type: must be one of {', '.join(sorted(known))}")
    for name in sorted(known[kind]):
        if not isinstance(source.get(name), str) or not source[name]:
            raise bad_request(f"{where}.{name}: field required")
    if unknown := sorted(source.keys() - known[kind] - {"type"}):
        raise bad_request(f"{where}.{unknown[0]}: extra inputs are not permitted")


def _check_message(items: Sequence[Json], index: int, session: Session, waiting: list[str]) -> None:
    kind = items[index]["type"]
    if kind == "system.message":
        _check_system(items, index, strict=bool(waiting))
        return
    if waiting:
        raise bad_request(
            f"Invalid {kind} event at events[{index}]: waiting on responses to events "
            f"[{', '.join(waiting)}]; only `user.tool_confirmation`, `user.custom_tool_result`, "
            "`user.tool_result`, or `user.interrupt` may be sent"
        )
    if session.live.capped:
        raise bad_request(
            f"Invalid {kind} event at events[{index}]: the session has reached its budget"
        )


def _check_system(items: Sequence[Json], index: int, *, strict: bool) -> None:
    before = items[index - 1]["type"] if index else None
    alone = len(items) == 1 and not strict
    if index != len(items) - 1 or not (alone or before in _PROMPTS):
        raise bad_request(
            f"Invalid system.message event at events[{index}]: it must be the last event and "
            "follow a message or a tool result"
        )


def _check_answer(event: Json, index: int, waiting: dict[str, str]) -> None:
    kind = event["type"]
    field = "custom_tool_use_id" if kind == "user.custom_tool_result" else "tool_use_id"
    fits = _FITS[kind]
    event_id = event[field]
    if not isinstance(event_id, str) or not fits(waiting.get(event_id)):
        raise bad_request(
            f"Invalid {kind} event at events[{index}]: no call {event_id} waits for it"
        )
    if kind == "user.tool_confirmation":
        _check_decision(event, index)
    del waiting[event_id]


def _check_decision(event: Json, index: int) -> None:
    if event["result"] not in {"allow", "deny"}:
        raise bad_request(f"events[{index}].result: must be allow or deny")
    reason = event.get("deny_message")
    if reason is not None and not isinstance(reason, str):
        raise bad_request(f"events[{index}].deny_message: must be text")
    if reason is not None and event["result"] != "deny":
        raise bad_request(f"events[{index}].deny_message: only a denial may carry one")


# `user.tool_result` belongs to self-hosted environments, whose calls this runtime never makes.
_FITS: dict[str, Callable[[str | None], bool]] = {
    "user.tool_confirmation": lambda call: call in {"tool", "mcp"},
    "user.custom_tool_result": lambda call: call == "custom",
    "user.tool_result": lambda _call: False,
}
