"""What every turn of a replica shares, and the lease that a turn runs under."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from router import busy, clock
from router.behaviour import Behaviour, Mentions
from router.errors import RuntimeAway, RuntimeFailure, RuntimeRefused
from router.ports import ChannelSource, Conversation, FileSource, Previews, Step, ThreadSource
from router.runtime.client import Runtime
from store import database, leases, outbox, sessions
from store.database import Connection, Pool
from store.holding import Found
from store.leases import Held, Ready
from store.outbox import Effect
from store.previews import Part


class Released(Exception):
    """The session was handed back on the way: there is nothing left to do for its runner."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Waits in seconds. `settle` lies between two looks for a lost send, `grace` after its end.

    `awaiting`: no turn that waits for people is compared with the runtime sooner again. `outputs`: when
    the agent's are looked at, from the turn's end and from the first look.
    """

    lease: float = 15.0
    settle: float = 2.0
    grace: float = 3.0
    quiet: float = 30.0
    paused: float = 30.0
    sweep: float = 1.0
    disagree: float = 45.0
    retention: float = 600.0
    waits: float = 2.0
    awaiting: timedelta = timedelta(seconds=30)
    outputs: tuple[float, float] = (1.5, 4.0)


@dataclass(frozen=True, slots=True)
class Engine:
    """The collaborators of every turn. `on_released` hears of sessions that want a worker again.

    `count_double` hears of what the runtime did twice, once for each that is found. `files` and
    `threads` are where what comes along with a message is read.
    """

    pool: Pool
    runtime: Runtime
    conversation: Conversation
    previews: Previews
    timing: Timing
    on_released: Callable[[list[Ready]], None]
    count_double: Callable[[], None]
    files: FileSource
    threads: ThreadSource
    channels: ChannelSource


@dataclass(slots=True)
class Holding:
    """A lease in this process: `expires` on our monotonic clock is never later than PostgreSQL's."""

    held: Held
    expires: float
    found: Found | None = None  # what the claim found, until the runner has taken it
    behaviour: Behaviour = field(default_factory=Behaviour)
    missed: int = 0
    renewed: asyncio.Event = field(default_factory=asyncio.Event)
    looked_at: frozenset[UUID] = frozenset()  # the queued inputs that were judged as answers

    def renew(self, expires: float) -> None:
        """Notes a renewal."""
        self.expires = expires
        self.missed = 0
        self.renewed.set()
        self.renewed = asyncio.Event()

    async def enough_for(self, seconds: float) -> None:
        """Returns once the lease outlasts a request of that length; sends start only then."""
        while (left := self.expires - clock.monotonic()) < seconds:
            try:
                async with asyncio.timeout(max(left, 0.01)):
                    await self.renewed.wait()
            except TimeoutError:
                raise leases.LeaseLost from None


@asynccontextmanager
async def appending(
    engine: Engine, holding: Holding, *, progress: bool = True
) -> "AsyncIterator[Append]":
    """A transaction of the holder, fenced before anything else is written.

    `progress`: the next holder will not have to do the same again, should this one die now.
    """
    fence = leases.fence if progress else leases.fence_quietly
    async with database.borrow(engine.pool) as connection, connection.transaction():
        wake_seq = await fence(connection, holding.held.lease)
        append = Append(connection, holding.held, wake_seq)
        yield append
    if append.wrote:
        engine.conversation.deliveries_wait()


@dataclass(slots=True)
class Append:
    """The open transaction of a holder. `wake_seq`: what had come from others, and is all until its end."""

    connection: Connection
    held: Held
    wake_seq: int
    wrote: bool = False

    async def say(self, effects: list[Effect]) -> None:
        """Adds writes to the outbox, replies in the order given; nothing for threadless sessions."""
        place = place_of(self.held)
        if place is None or not effects:
            return
        await outbox.add(self.connection, place, await self._in_line(effects))
        self.wrote = True

    async def _in_line(self, effects: list[Effect]) -> list[Effect]:
        replies = sum(e.lane == "reply" for e in effects)
        if not replies:
            return effects
        first = await sessions.take_positions(self.connection, self.held.lease, replies)
        return outbox.in_line(effects, first)

    async def unmark(self) -> None:
        """Takes the marks away from messages that wait no more."""
        held = self.held
        await self.say(await busy.gone(self.connection, held.deployed_agent_id, held.id))

    async def release(
        self,
        *,
        wait: float = 0.0,
        failed: bool = False,
        woken: bool = False,
        marked: bool = True,
    ) -> bool:
        """Hands the session back; True if it wants a worker again after `wait` seconds.

        `woken`: something arrived that this holder has not looked at. `marked`: messages may show
        that they wait, as nobody has seen yet that none does.
        """
        if marked:
            await self.unmark()
        return await leases.release(
            self.connection,
            self.held.lease,
            wait=timedelta(seconds=wait),
            failed=failed,
            woken=woken,
        )


def place_of(held: Held) -> outbox.Place | None:
    """Where a session speaks in Slack, if it does."""
    if held.slack_install_id is None or held.slack_conversation_key is None:
        return None
    return outbox.Place(
        deployed_agent_id=held.deployed_agent_id,
        workspace_id=held.workspace_id,
        session_id=held.id,
        install_id=held.slack_install_id,
        slack_conversation_key=held.slack_conversation_key,
        channel_id=str(held.slack_channel_id),
        thread_ts=held.slack_thread_ts,
    )


def reply_key(turn_id: UUID, part: int, pause: str | None) -> str:
    """What a part of an answer is known by; `pause`: the idle before which it was said."""
    return f"reply:{turn_id}/{pause}:{part}" if pause else f"reply:{turn_id}:{part}"


def reply(  # what a part is made of
    turn_id: UUID,
    part: int,
    text: str,
    steps: tuple[Step, ...] = (),
    mentions: Mentions = "none",
    *,
    pause: str | None = None,
) -> Effect:
    """One part of a turn's answer: at most one per segment and part, whoever writes it."""
    body = {"markdown": text, "steps": [[s.id, s.title, s.status] for s in steps]}
    body |= {"mentions": mentions} if mentions != "none" else {}
    return Effect(reply_key(turn_id, part, pause), "reply", body, lane="reply", turn_id=turn_id)


def ending_of(shown: Part, said: Effect, fate: Literal["say", "stand", "go"]) -> Effect:
    """The same part of an answer where a message of the preview shows it.

    That message is made to say it, or stands as it is, or goes since nothing of it was kept. It is
    `in_doubt` where an edit of the preview may still arrive and undo what it is made to say.
    """
    is_open = shown.state == "open"
    where = {
        "ts": shown.slack_ts,
        "streaming": is_open and not shown.edited,
        "edited": shown.edited,
        "in_doubt": shown.edited and not is_open,
        "fate": fate,
    }
    return replace(said, body=said.body | where)


def notice(
    effect_key: str, body: dict[str, Any], *, turn_id: UUID | None = None, ends: bool = False
) -> Effect:
    """A sentence of ours; one that `ends` a turn stands in line with the replies."""
    return Effect(effect_key, "notice", body, lane="reply" if ends else "side", turn_id=turn_id)


def away(error: RuntimeFailure) -> RuntimeAway:
    """A failure that is over, as a reason to try again later."""
    trouble = None if isinstance(error, RuntimeRefused) else error.trouble
    return RuntimeAway(str(error), retry_after=error.retry_after, trouble=trouble)
