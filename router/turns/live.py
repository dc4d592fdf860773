"""Pure: the answer while it is being written, from deltas and tool steps.

Deltas are best effort, a prefix at most, and are not repeated after a reconnect; the whole message
that follows replaces what was guessed of it. Messages join as in the final answer, so that an offset
into this text means the same there.
"""

from dataclasses import dataclass, field
from typing import Literal

from router.ports import Step
from router.turns.project import SEPARATOR, Event


@dataclass(slots=True)
class LiveAnswer:
    """What can be shown of a turn so far."""

    _texts: dict[str, str] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)
    _steps: dict[str, Step] = field(default_factory=dict)

    def see(self, event: Event) -> bool:
        """Takes an event in; True if there is something new to show."""
        match event["type"]:
            case "event_start":
                return False
            case "event_delta":
                return self._delta(event)
            case "agent.message":
                return self._message(event)
            case "agent.tool_use" | "agent.mcp_tool_use" | "agent.custom_tool_use":
                return self._step(str(event["id"]), str(event.get("name")), "in_progress")
            case "agent.tool_result" | "agent.mcp_tool_result" | "user.custom_tool_result":
                failed = bool(event.get("is_error"))
                return self._step(_used(event), None, "error" if failed else "complete")
            case "span.model_request_end":
                return self._request_over(failed=bool(event.get("is_error")))
            case _:
                return False

    @property
    def text(self) -> str:
        """All messages of the turn, the one being written last.

        One that was cut short by a message that steers stays, marked as cut.
        """
        begun = [(key, t) for key, t in self._texts.items() if t.strip()]
        cut = [t if key in self._whole else f"{t} …" for key, t in begun[:-1]]
        return SEPARATOR.join(cut + [t for _, t in begun[-1:]])

    @property
    def steps(self) -> tuple[Step, ...]:
        """All tool calls of the turn, in order."""
        return tuple(self._steps.values())

    def settle(self, *, interrupted: bool) -> None:
        """At the end of the turn no step is in progress: cut short, or its result was not seen."""
        for step in list(self._steps.values()):
            if step.status == "in_progress":
                self._step(step.id, None, "error" if interrupted else "complete")

    def _request_over(self, *, failed: bool) -> bool:
        """What a failed request began to say is said anew by the next one, or never."""
        begun = self._texts.keys() - self._whole if failed else set()
        for key in begun:
            del self._texts[key]
        return bool(begun)

    def _delta(self, event: Event) -> bool:
        key = str(event["event_id"])
        content = (event.get("delta") or {}).get("content") or {}
        fragment = content.get("text")
        if key in self._whole or not fragment:
            return False
        self._texts[key] = self._texts.get(key, "") + str(fragment)
        return True

    def _message(self, event: Event) -> bool:
        key = str(event["id"])
        text = "".join(b["text"] for b in event.get("content") or [] if b.get("type") == "text")
        changed = self._texts.get(key) != text
        self._texts[key] = text
        self._whole.add(key)
        return changed

    def _step(
        self, key: str, name: str | None, status: Literal["in_progress", "complete", "error"]
    ) -> bool:
        known = self._steps.get(key)
        if known is None and name is None:
            return False
        title = name if name is not None else known.title if known else ""
        self._steps[key] = Step(key, title, status)
        return True


def _used(event: Event) -> str:
    """The call that a result answers."""
    fields = ("tool_use_id", "mcp_tool_use_id", "custom_tool_use_id")
    return str(next((event[name] for name in fields if event.get(name)), None))
