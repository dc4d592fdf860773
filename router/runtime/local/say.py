"""What a session says at each point of a turn, in the platform's order. Callers commit."""

from collections.abc import Mapping

from router.runtime.local.brain import ERRORS, Answer, Call, Decision, heard
from router.runtime.local.log import Entry
from router.runtime.local.model import Held, Session
from router.runtime.local.pace import Pace
from router.runtime.local.wire import Json, new_id

_NO_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 0,
}


def queued(session: Session, *kinds: str) -> list[Entry]:
    """The events that wait for their turn; flushed ones wait no more."""
    dropped = session.live.dropped
    return [entry for entry in session.log.waiting(*kinds) if entry.seq not in dropped]


def process(session: Session, *kinds: str) -> None:
    """Marks the waiting events of these types as processed."""
    for entry in queued(session, *kinds):
        session.log.process(entry)


def running(session: Session, pace: Pace) -> None:
    """The session runs, unless it has said so already."""
    live = session.live
    live.status = "running"
    if session.running_since is None:
        session.running_since = pace.now()
    if not live.announced:
        live.announced = True
        session.log.emit("session.status_running")
        session.log.emit("session.thread_status_running", **_thread(session))


def idle(session: Session, pace: Pace, reason: Json, details: Json | None = None) -> None:
    """The session rests: thread idle, usage, session idle."""
    live = session.live
    if session.running_since is not None:
        live.usage.active_seconds += pace.now() - session.running_since
        session.running_since = None
    live.status, live.announced = "idle", False
    more: Json = {} if details is None else {"stop_details": details}
    session.log.emit("session.thread_status_idle", **_thread(session), stop_reason=reason, **more)
    session.log.emit("session.usage", usage=live.usage.snapshot(), budget=session.head.budget)
    session.log.emit("session.status_idle", stop_reason=reason, **more)


def requires_action(session: Session, pace: Pace) -> None:
    """The session waits for answers to the calls in its window."""
    idle(session, pace, {"type": "requires_action", "event_ids": session.window()})


def partly_answered(session: Session, pace: Pace) -> None:
    """After some answers: they are processed, and the rest is named anew."""
    process(session, "user.tool_confirmation")
    requires_action(session, pace)


def interrupted(session: Session, pace: Pace) -> None:
    """The interrupt takes effect: calls are closed, the turn is over, the session is idle."""
    live = session.live
    if live.capped and live.turn is None and not live.held:
        process(session, "user.interrupt")
        return
    process(session, "user.tool_confirmation", "user.interrupt")
    live.turn, live.held = None, []
    idle(session, pace, {"type": "end_turn"})


def note_answer(session: Session, entry: Entry) -> bool:
    """Writes a confirmation or result beside the call it answers; False for other events."""
    body = entry.body
    event_id = body.get("tool_use_id") or body.get("custom_tool_use_id")
    if event_id is None:
        return False
    for held in session.live.held:
        if held.event_id == event_id:
            held.answer = body
    return True


def called(session: Session, step: Answer, failed: Mapping[int, str]) -> list[Held]:
    """The calls of a model request, the request's end, and the results; answers what waits.

    Of those that `failed`, by their places, the result says why.
    """
    made = [(_use(session, call), call) for call in step.calls]
    close_span(session, failed=False, said=len(step.text))
    for place, (event_id, call) in enumerate(made):
        if not call.waits:
            says = failed.get(place, f"{call.name} ran.")
            _result(session, event_id, call, says, failed=place in failed)
    return [Held(event_id, call) for event_id, call in made if call.waits]


def resolved(session: Session) -> None:
    """All calls are answered: results follow, and the turn knows the decisions."""
    live = session.live
    process(session, "user.tool_confirmation")
    decisions = [_decide(session, held) for held in live.held]
    live.held = []
    if live.turn is not None:
        live.turn.decisions = decisions


def close_span(session: Session, *, failed: bool, said: int = 0) -> None:
    """Ends the open model request; also closes any preview of it."""
    turn = session.live.turn
    if turn is None or turn.span is None:
        return
    usage = _NO_TOKENS
    if not failed:
        model = str(session.head.agent["model"]["id"])
        usage = session.live.usage.request(model, sum(map(len, turn.texts)), said)
    session.log.emit(
        "span.model_request_end",
        model_request_start_id=turn.span,
        is_error=failed,
        model_usage=usage,
    )
    turn.span = None


def rescheduled(session: Session, error: str = "") -> None:
    """A passing error: the session will try again by itself."""
    _error(session, error or "model_overloaded_error", "retrying")
    session.live.status, session.live.announced = "rescheduling", False
    session.log.emit("session.thread_status_rescheduled", **_thread(session))
    session.log.emit("session.status_rescheduled")


def exhausted(session: Session, pace: Pace, error: str = "") -> None:
    """Retries are used up: queued inputs are flushed, which leaves them unprocessed for ever."""
    _error(session, error or "model_request_failed_error", "exhausted")
    session.live.turn = None
    _flush(session)
    idle(session, pace, {"type": "retries_exhausted"})


def broken(session: Session, error: str = "") -> None:
    """An error beyond repair ends the session."""
    _error(session, error or "unknown_error", "terminal")
    terminated(session)


def terminated(session: Session) -> None:
    """The session has ended for good."""
    live = session.live
    if live.status == "terminated":
        return
    live.status, live.announced, live.turn, live.held = "terminated", False, None, []
    session.running_since = None
    _flush(session)
    session.log.emit("session.thread_status_terminated", **_thread(session))
    session.log.emit("session.status_terminated")


def stopped(session: Session, pace: Pace, reason: str) -> None:
    """The turn ends in a refusal, or at the budget's cap."""
    session.live.turn = None
    if reason == "budget_reached":
        session.live.capped = True
        idle(session, pace, {"type": reason})
        return
    explanation = "The request was declined."
    details = {"type": "refusal", "category": "general_harms", "explanation": explanation}
    idle(session, pace, {"type": reason}, details)


def _thread(session: Session) -> Json:
    return {
        "session_thread_id": session.head.thread_id,
        "agent_name": session.head.agent["name"],
    }


def _flush(session: Session) -> None:
    session.live.dropped.extend(entry.seq for entry in queued(session, "user.message"))


def _error(session: Session, kind: str, retry: str) -> None:
    error: Json = {"type": kind, "message": ERRORS[kind], "retry_status": {"type": retry}}
    if kind.startswith("mcp_"):
        error["mcp_server_name"] = "linear"
    session.log.emit("session.error", error=error)


def _use(session: Session, call: Call) -> str:
    if call.kind == "custom":
        return session.log.emit("agent.custom_tool_use", name=call.name, input=call.input)
    permission = "ask" if call.ask else "allow"
    thread: Json = {"session_thread_id": _subthread(session)} if call.sub else {}
    server: Json = {"mcp_server_name": call.server} if call.kind == "mcp" else {}
    return session.log.emit(
        "agent.tool_use" if call.kind == "tool" else "agent.mcp_tool_use",
        **server,
        **thread,
        name=call.name,
        input=call.input,
        evaluated_permission=permission,
        evaluation={"type": f"always_{permission}"},
    )


def _subthread(session: Session) -> str:
    """The thread of a new subagent, whose blocking calls are told to the session's stream too."""
    thread_id = new_id("sthr")
    session.log.emit("session.thread_created", session_thread_id=thread_id, agent_name="Researcher")
    return thread_id


def _result(session: Session, event_id: str, call: Call, text: str, *, failed: bool) -> None:
    content = [{"type": "text", "text": text}]
    kind, field = (
        ("agent.mcp_tool_result", "mcp_tool_use_id")
        if call.kind == "mcp"
        else ("agent.tool_result", "tool_use_id")
    )
    session.log.emit(kind, **{field: event_id}, content=content, is_error=failed)


def _decide(session: Session, held: Held) -> Decision:
    """What one answer means; confirmed calls yield their result event here."""
    answer = held.answer or {}
    if held.call.kind == "custom":
        text = heard(answer.get("content") or [])
        return Decision("failed" if answer.get("is_error") else "answered", held.call.name, text)
    if answer.get("result") == "allow":
        _result(session, held.event_id, held.call, f"{held.call.name} ran.", failed=False)
        return Decision("allowed", held.call.name)
    reason = answer.get("deny_message") or ""
    told = reason or "The call was denied."
    _result(session, held.event_id, held.call, told, failed=True)
    return Decision("denied", held.call.name, reason)
