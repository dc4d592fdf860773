"""Turns: what happens in a session after something was sent to it.

A running session is carried by one task. Every step of a turn is stored together with the place in
the script, so a server that was killed goes on after a restart with the first step that was not
stored: an open model request is closed as failed and made anew, as the platform does with its own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, assert_never

from router.runtime.local import brain, say
from router.runtime.local.brain import Answer, Stop, Trouble
from router.runtime.local.inbound import check_events
from router.runtime.local.log import Entry
from router.runtime.local.model import Session, Turn
from router.runtime.local.pace import TurnInterruptedError
from router.runtime.local.shelf import File
from router.runtime.local.wire import ApiError, Json, bad_request, new_id
from router.runtime.local.world import World

# How long a session stays rescheduling before it tries again, in the pace's seconds.
RETRY_SECONDS = 0.5

_ON_RECEIPT = {"user.custom_tool_result", "user.tool_result"}


class Engine:
    """Takes what users send and plays the turns."""

    def __init__(
        self, world: World, spawn: Callable[[str, Coroutine[Any, Any, None]], None]
    ) -> None:
        """`spawn` starts the task that carries the session named, in a group of the server's."""
        self._world = world
        self._spawn = spawn

    def resume(self) -> None:
        """Goes on with every session that has something to do, after a restart."""
        for session in self._world.sessions.values():
            if session.live.status in {"running", "rescheduling"}:
                self._start(session)

    def send(self, session: Session, events: object) -> list[str]:
        """Stores the events of one send; answers them as JSON, in order. All are taken or none."""
        checked = check_events(events, session, self._world.files)
        return self._take(session, checked)

    def open(self, session: Session, initial: Sequence[Json]) -> None:
        """Stores a new session; with initial events it runs at once."""
        self._world.add_session(session)
        self._take(session, initial, head=True)

    def lift_cap(self, session: Session) -> None:
        """The budget was changed: queued messages go on."""
        session.live.capped = False
        self._settle(session, head=True)

    def archive(self, session: Session) -> None:
        """Ends the session for good; a 400 while it runs."""
        self._refuse_running(session, "archive")
        say.terminated(session)
        session.head.archived = session.log.last
        self._world.commit(session, head=True)

    def delete(self, session: Session) -> None:
        """Removes the session and ends its streams; a 400 while it runs."""
        self._refuse_running(session, "delete")
        session.log.emit("session.deleted")
        session.head.deleted = True
        self._world.commit(session, head=True)
        self._world.files.drop_session(session.id)
        self._world.hub.end_session(session.id)

    def release_interrupts(self) -> None:
        """Interrupts wait no more: those that did take effect at once, on whatever runs."""
        self._world.gate.interrupts_wait = False
        for session in self._world.sessions.values():
            if self._to_stop(session):
                self._settle(session)

    def _refuse_running(self, session: Session, what: str) -> None:
        if self._world.shown_status(session, f"sessions.{what}") in {"running", "rescheduling"}:
            raise bad_request(
                f"Cannot {what} session {session.id} while it is running; "
                "send a `user.interrupt` and wait until it is idle."
            )

    # -- receiving -------------------------------------------------------------------------

    def _take(self, session: Session, events: Sequence[Json], *, head: bool = False) -> list[str]:
        replies, answered = [], False
        for event in events:
            entry = self._receive(session, event)
            replies.append(entry.raw)
            answered |= say.note_answer(session, entry)
        self._settle(session, head=head, answered=answered)
        return replies

    def _receive(self, session: Session, event: Json) -> Entry:
        kind = event["type"]
        blank = kind == "user.interrupt" and self._world.faults.take(
            "blank_interrupt_id", session_id=session.id
        )
        body = {"type": kind, "id": "" if blank else new_id("sevt"), **event}
        return session.log.receive(body, queue=kind not in _ON_RECEIPT)

    def _settle(self, session: Session, *, head: bool = False, answered: bool = False) -> None:
        """Does at once what needs no model, and starts the session if there is more to do."""
        live = session.live
        if live.status == "idle":
            if self._to_stop(session):
                say.interrupted(session, self._world.pace)
            if session.unanswered():
                if answered:
                    say.partly_answered(session, self._world.pace)
            elif live.held or self._messages(session):
                live.status = "running"
            else:
                say.process(session, "system.message")
        self._world.commit(session, head=head)
        if live.status == "running":
            self._start(session)
        wait = session.wait
        if wait is not None and not wait.done() and self._to_stop(session):
            wait.set_exception(TurnInterruptedError())

    def _to_stop(self, session: Session) -> bool:
        if self._world.gate.interrupts_wait:
            return False
        return bool(session.log.waiting("user.interrupt"))

    def _messages(self, session: Session) -> list[Entry]:
        if session.live.capped or session.live.held:
            return []
        return say.queued(session, "user.message")

    # -- running ---------------------------------------------------------------------------

    def _start(self, session: Session) -> None:
        if not session.active:
            session.active = True
            self._spawn(session.id, self._run(session))

    async def _run(self, session: Session) -> None:
        # Between the last look and `active = False` nothing is awaited: no send can fall between.
        try:
            while (turn := self._next(session)) is not None:
                try:
                    await self._play(session, turn)
                except TurnInterruptedError:
                    say.close_span(session, failed=False)
        finally:
            session.active = False

    def _next(self, session: Session) -> Turn | None:
        """The turn to play now, its beginning already said; None when the session rests."""
        live = session.live
        if live.status == "terminated":
            return None
        if live.turn is not None and live.turn.span is not None:
            say.close_span(session, failed=True)
        if self._to_stop(session):
            say.interrupted(session, self._world.pace)
            self._world.commit(session)
        if session.unanswered():
            return None
        if live.held:
            say.running(session, self._world.pace)
            say.resolved(session)
        elif live.turn is None:
            if not self._messages(session):
                return None
            self._begin(session)
        say.running(session, self._world.pace)
        self._world.commit(session)
        return live.turn

    def _begin(self, session: Session) -> None:
        """Takes every waiting message into one turn."""
        say.running(session, self._world.pace)
        messages = self._messages(session)
        contents = [entry.body["content"] for entry in messages]
        texts = [brain.heard(one, self._world.files.named(one)) for one in contents]
        for entry in say.queued(session, "user.message", "system.message"):
            session.log.process(entry)
        session.live.turn = Turn(texts)

    async def _play(self, session: Session, turn: Turn) -> None:
        steps = brain.script(turn.texts)
        if turn.decisions is not None:
            steps = (*steps, brain.closing(turn.decisions))
        while turn.cursor < len(steps):
            step = steps[turn.cursor]
            match step:
                case Answer():
                    await self._answer(session, turn, step)
                case Trouble():
                    await self._fail(session, turn, step)
                case Stop():
                    await self._stop(session, turn, step)
                case _:
                    assert_never(step)
            if session.live.turn is not turn or session.unanswered():
                return
        self._finish(session)

    def _finish(self, session: Session) -> None:
        session.live.turn = None
        if self._to_stop(session):
            return
        if self._messages(session):
            self._begin(session)
        else:
            say.process(session, "system.message")
            say.idle(session, self._world.pace, {"type": "end_turn"})
        self._world.commit(session)

    # -- steps -----------------------------------------------------------------------------

    async def _answer(self, session: Session, turn: Turn, step: Answer) -> None:
        self._open_span(session, turn)
        if step.thinking:
            thought = new_id("sevt")
            if self._world.hub.wants(session.id, "agent.thinking"):
                self._world.commit(session)
                self._world.hub.start_preview(session.id, "agent.thinking", thought)
            session.log.emit("agent.thinking", id=thought)
        self._world.commit(session)
        await self._wait(session, self._world.gate.opened(session.id))
        message = new_id("sevt")
        await self._speak(session, message, step)
        if step.text:
            content = [{"type": "text", "text": step.text}]
            session.log.emit("agent.message", id=message, content=content)
        made, failed = self._made(session, step)
        held = say.called(session, step, failed)
        turn.cursor += 1
        if held:
            session.live.held = held
            say.requires_action(session, self._world.pace)
        self._world.commit(session, made=made)

    def _made(self, session: Session, step: Answer) -> tuple[list[File], dict[int, str]]:
        """The files that the calls of a step write, and what became of those that could not be."""
        made: list[File] = []
        failed: dict[int, str] = {}
        for place, call in enumerate(step.calls):
            if call.output is None:
                continue
            text = brain.written(call.output)
            try:
                made.append(self._world.files.output(call.output.name, text, session.id))
            except ApiError as full:
                failed[place] = full.message
        return made, failed

    async def _speak(self, session: Session, message: str, step: Answer) -> None:
        """The previews of a text, spread over its seconds."""
        if not step.text:
            return
        hub, parts = self._world.hub, brain.pieces(step.text)
        hub.start_preview(session.id, "agent.message", message)
        for part in parts:
            if step.seconds:
                await self._wait(session, self._world.pace.after(step.seconds / len(parts)))
            hub.preview(session.id, message, part)

    async def _fail(self, session: Session, turn: Turn, step: Trouble) -> None:
        self._open_span(session, turn)
        self._world.commit(session)
        await self._wait(session, self._world.gate.opened(session.id))
        say.close_span(session, failed=True)
        turn.cursor += 1
        match step.kind:
            case "retrying":
                say.rescheduled(session, step.error)
                self._world.commit(session)
                await self._wait(session, self._world.pace.after(RETRY_SECONDS))
                say.running(session, self._world.pace)
            case "exhausted":
                say.exhausted(session, self._world.pace, step.error)
            case "terminal":
                say.broken(session, step.error)
        self._world.commit(session)

    async def _stop(self, session: Session, turn: Turn, step: Stop) -> None:
        self._open_span(session, turn)
        self._world.commit(session)
        await self._wait(session, self._world.gate.opened(session.id))
        say.close_span(session, failed=False)
        say.stopped(session, self._world.pace, step.reason)
        self._world.commit(session)

    def _open_span(self, session: Session, turn: Turn) -> None:
        turn.span = session.log.emit("span.model_request_start")
        fault = self._world.faults.take("unknown_event", session_id=session.id)
        if fault is not None:
            kind = fault.event_type or "agent.hologram"
            session.log.emit(kind, payload={"note": "a type newer than the client"})

    async def _wait(self, session: Session, future: asyncio.Future[None]) -> None:
        """Waits, but not beyond an interrupt."""
        if self._to_stop(session):
            future.cancel()
            raise TurnInterruptedError
        session.wait = future
        try:
            await future
        finally:
            session.wait = None
