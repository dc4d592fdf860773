"""The door that every call of the app comes through: its faults and its record."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from bot.local.faults import API_FAULTS, Fault
from bot.local.model import Call, Json, SlackError
from bot.local.workspace import Workspace

_NOTHING: Json = {}
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call is answered with."""

    answer: Json
    status: int = 200
    retry_after: int | None = None


class Door:
    """Lets calls in as the fault switches have it, and records each of them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def through(
        self, request: web.Request, method: str, args: Json, work: Callable[[], Outcome]
    ) -> web.Response:
        """Answer one call with what `work` returns or raises, or as a fault has it."""
        started = time.perf_counter()
        fault = self._workspace.faults.take(API_FAULTS, method)
        if fault is not None and fault.kind == "stall_before":
            # True seconds whatever the clock: the caller's deadline runs in them.
            await asyncio.sleep(fault.seconds)
        outcome = _failed(fault) or _outcome(work)
        if fault is not None and fault.kind == "stall_after":
            await asyncio.sleep(fault.seconds)
        response = self.answer(method, args, outcome, fault, started)
        if fault is not None and fault.kind.startswith("drop") and request.transport is not None:
            request.transport.abort()
        return response

    def answer(
        self,
        method: str,
        args: Json,
        outcome: Outcome,
        fault: Fault | None,
        started: float,
    ) -> web.Response:
        """The recorded answer to a call that came when `time.perf_counter()` said `started`."""
        kind = fault.kind if fault is not None else None
        status = fault.status if fault is not None and kind == "error_after" else outcome.status
        recorded = 0 if kind is not None and kind.startswith("drop") else status
        shown = {name: value for name, value in args.items() if name != "token"}
        ms = (time.perf_counter() - started) * 1_000
        call = Call(method, shown, outcome.answer, recorded, time.time(), kind, ms)
        self._workspace.called(call)
        answer = outcome.answer if status < 500 else _NOTHING  # noqa: PLR2004  # 5xx
        if status == _NOT_FOUND and (status != outcome.status or not outcome.answer):
            return web.Response(status=status, text="Not found")
        response = web.json_response(answer, status=status)
        if outcome.retry_after is not None:
            response.headers["Retry-After"] = str(outcome.retry_after)
        return response


def refusal(refused: SlackError) -> Outcome:
    """The answer to a call that Slack refuses."""
    return Outcome({"ok": False, "error": refused.name, **refused.extra})


def limited(seconds: int) -> Outcome:
    """The answer to a call that comes too often."""
    return Outcome({"ok": False, "error": "ratelimited"}, 429, retry_after=seconds)


def _outcome(work: Callable[[], Outcome]) -> Outcome:
    try:
        return work()
    except SlackError as refused:
        return refusal(refused)


def _failed(fault: Fault | None) -> Outcome | None:
    """The answer of a fault that keeps the call from happening; None when it goes on."""
    if fault is None:
        return None
    match fault.kind:
        case "drop_before":
            return Outcome(_NOTHING)
        case "error_before":
            return Outcome(_NOTHING, fault.status)
        case "ratelimit":
            return limited(fault.retry_after)
        case "api_error":
            return Outcome({"ok": False, "error": fault.error})
        case "method_unknown":
            return _missing(fault)
        case _:
            return None


def _missing(fault: Fault) -> Outcome:
    if fault.status == _NOT_FOUND:
        return Outcome(_NOTHING, _NOT_FOUND)
    chosen = fault.error != Fault(fault.kind).error
    return Outcome({"ok": False, "error": fault.error if chosen else "unknown_method"})
