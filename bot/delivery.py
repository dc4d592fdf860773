"""Durable Slack writes: takes what is due from the outbox and brings it out, once.

pending ──claim (epoch + 1, deadline)──▶ sending ──posted──▶ sent
   ▲                                        ├── refused for good ──▶ dead
   └── known not to have arrived ◀── look ◀─┴── answer lost, or the deadline passed

Before a post whose earlier attempt is unclear is made again, the thread is read for the delivery's
id, twice, and some time after it once more (bot.doubles). Where Slack lets us read once a minute the
post waits for that. A private message cannot be read back: it is sent at most once. A reaction is
repeated. A file has steps of its own (bot.uploading); few are under way at once, so that those who
only have something to say need not wait for them. While Slack does not answer for an install, few ask
(bot.circuit).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeAlias
from uuid import UUID, uuid4

import structlog

from bot import carding, doubles
from bot.budget import Budgets
from bot.carding import Carding
from bot.circuit import SlackResting
from bot.finishing import UPDATE, UPDATE_WITHIN_SECONDS, Finishing
from bot.outcome import (
    SlackAway,
    SlackLimited,
    SlackRefused,
    SlackUnclear,
)
from bot.saying import plainly, said_of
from bot.slack import CALL_SECONDS, Said, Slack
from bot.uploading import Ends, NotShared, Uploading
from router import clock
from router.clock import Backoff
from router.loops import Stop, every
from router.notices import Trouble, about
from router.ports import Status
from store import database, outbox, outputs_sent, turns, usage_logs
from store.database import Connection, Pool
from store.outbox import Delivery, Due, Effect

_log = structlog.get_logger(__name__)

_ATTEMPT = timedelta(seconds=25)
_LOOKS_APART_SECONDS = 2.0
_AT_ONCE = 40
_FILES_AT_ONCE = 4
_GAP_SECONDS = 0.01  # from one look at the outbox to the next, while much is going on
_BACKOFF = Backoff(first=1.0, most=60.0)
_WRITE_AGAIN = Backoff(first=0.1, most=2.0)
_WRITE_SECONDS = 5.0
_STATUS_SECONDS = 3.0
_POST = "chat.postMessage"
_REPLIES, _HISTORY = "conversations.replies", "conversations.history"
_SET_STATUS = "agents.sessions.setStatus"
_FILE = "file"
_NO_PERMIT_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0
_FIRST_LOOK = 2  # the attempt after the only post
_BAD_BLOCKS = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "markdown_text_conflict", "msg_blocks_too_long"}
)
_TROUBLE: tuple[type[Exception], ...] = (
    SlackRefused,
    SlackLimited,
    SlackAway,
    SlackUnclear,
    *database.ERRORS,
)
_Write: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Made:
    """What a delivery became; `twice`: it may stand there twice."""

    ts: str | None
    twice: bool = False


def _by_agent(found: list[Due]) -> dict[UUID, list[UUID]]:
    agents: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for one in found:
        agents[one.deployed_agent_id].append(one.delivery_id)
    return agents


def _with_room(found: list[Due], files: int) -> list[Due]:
    """All of them, but no more than so many files."""
    over = {one.delivery_id for one in [d for d in found if d.kind == _FILE][files:]}
    return [one for one in found if one.delivery_id not in over]


def _is_tools(delivery: Delivery) -> bool:
    """Whether an agent posts it by a tool, and waits a moment to hear of it."""
    return delivery.effect_key.startswith("tool:")


async def _tell_of_promise(connection: Connection, delivery: Delivery, error: str) -> None:
    """Where the agent waits no more, its thread hears that what it was told did not come true."""
    place = await usage_logs.promised(connection, delivery)
    if place is not None:
        what = str(delivery.body.get("markdown"))
        told = about(Trouble.POST_REFUSED, delivery.delivery_id, what=what, reason=error)
        effect = Effect(f"notice:{delivery.effect_key}:refused", "notice", told.body())
        await outbox.add(connection, place, [effect])


class Deliverer:
    """Drains the outbox; any number of replicas may. `wake` when something was added."""

    _tasks: asyncio.TaskGroup
    _ending: Stop

    def __init__(
        self,
        pool: Pool,
        slack: Slack,
        budgets: Budgets,
        ends: Ends,
        *,
        owner: str,
        sweep_seconds: float,
    ) -> None:
        self._pool = pool
        self._slack = slack
        self._budgets = budgets
        self._owner = owner
        self._sweep_seconds = sweep_seconds
        self._attempt = _ATTEMPT
        self._alarm = asyncio.Event()
        self._busy: set[Due] = set()
        self._files: set[Due] = set()  # those of them that are files
        self._swept_at = 0.0
        self._carding = Carding(pool, slack)
        self._finishing = Finishing(pool, slack, self._permit)
        self._uploading = Uploading(pool, slack, self._permit, ends)

    def wake(self) -> None:
        """Looks at the outbox now."""
        self._alarm.set()

    async def run(self, stop: Stop) -> None:
        """Delivers until `stop`; attempts that are under way are finished."""
        self._ending = stop
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await every(self._sweep_seconds, self._sweep, stop, wake=self._alarm)

    async def _sweep(self) -> None:
        """Claims what is due, several at once where there are several: each look costs the same."""
        await clock.sleep(max(0.0, self._swept_at + _GAP_SECONDS - clock.monotonic()))
        free = _AT_ONCE - len(self._busy)
        if free <= 0:
            return
        self._swept_at = clock.monotonic()
        until = self._swept_at + self._attempt.total_seconds()
        files = _FILES_AT_ONCE - len(self._files)
        async with database.borrow(self._pool) as connection:
            due = await outbox.due(connection, uuid4(), free, files=files > 0)
            found = _with_room([one for one in due if one not in self._busy], files)
            for agent_id, wanted in _by_agent(found).items():
                for one in await self._claimed(connection, agent_id, wanted):
                    self._busy.add(one.due)
                    if one.kind == _FILE:
                        self._files.add(one.due)
                    self._tasks.create_task(self._guard(one, until))

    async def _claimed(
        self, connection: Connection, agent_id: UUID, wanted: list[UUID]
    ) -> list[Delivery]:
        """One by one where there is one: that waits for its row, while several wait for none."""
        owner, limit = self._owner, self._attempt
        if len(wanted) > 1:
            return await outbox.claim_some(connection, agent_id, wanted, owner, limit)
        one = await outbox.claim(connection, Due(agent_id, wanted[0]), owner, limit)
        return [one] if one is not None else []

    async def _guard(self, delivery: Delivery, until: float) -> None:
        """One delivery; whatever happens to it, the others go on."""
        wanted = delivery.due
        try:
            await self._write_down(await self._try(delivery), until)
        except database.ERRORS as error:
            _log.warning("delivery.interrupted", error=type(error).__name__)
        except Exception:  # noqa: BLE001  # logged; after its deadline the row is looked into
            _log.exception("delivery.failed", delivery_id=str(wanted.delivery_id))
        finally:
            self._busy.discard(wanted)
            self._files.discard(wanted)
            self._alarm.set()

    async def _try(self, delivery: Delivery) -> _Write:
        """One attempt; what is to be written down of it."""
        log = _log.bind(delivery_id=str(delivery.delivery_id), kind=delivery.kind)
        wait = _BACKOFF.after(delivery.attempts)
        try:
            with self._slack.circuits.attempt(delivery.install_id, delivery.delivery_id):
                made = await self._attempt_once(delivery)
        except SlackLimited as limited:
            return partial(self._limited, delivery, limited)
        except SlackResting as resting:
            return partial(self._again, delivery, resting.wait, str(resting))
        except NotShared as error:
            log.warning("delivery.not_shared", error=str(error), over=error.notice is not None)
            return partial(self._not_shared, delivery, error, wait)
        except (SlackAway, SlackUnclear) as error:
            unclear = isinstance(error, SlackUnclear)
            event = "delivery.unclear" if unclear else "delivery.away"
            log.warning(event, error=str(error), retry_in=round(wait, 1))
            return partial(self._again, delivery, wait, str(error), unclear=unclear)
        except SlackRefused as refused:
            log.error("delivery.dead", error=refused.error, channel=delivery.channel_id)
            return partial(self._bury, delivery, refused.error)
        except database.ERRORS as error:
            # PostgreSQL is asked before a call to Slack or after its answer: none is left unclear.
            log.warning("delivery.broken_off", error=type(error).__name__)
            return partial(self._again, delivery, wait, type(error).__name__)
        await self._conclude(delivery)
        return partial(self._sent, delivery, made)

    async def _write_down(self, write: _Write, until: float) -> None:
        """Writes how an attempt ended, also once the database is back: nobody else knows.

        Gives up when the attempt's time is over, or the process stops: then the row is looked into.
        """
        failures = 0
        while True:
            try:
                return await write()
            except database.ERRORS as error:
                failures += 1
                wait = _WRITE_AGAIN.after(failures)
                if self._ending.said or clock.monotonic() + wait > until:
                    raise
                _log.info("delivery.unwritten", error=type(error).__name__, retry_in=round(wait, 1))
            await self._ending.within(wait)

    def _writing(self) -> AbstractAsyncContextManager[Connection]:
        return database.within(self._pool, _WRITE_SECONDS)

    async def _sent(self, delivery: Delivery, made: _Made) -> None:
        async with self._writing() as connection:
            if delivery.kind == "card" or made.twice:
                ours = await self._sent_with_more(connection, delivery, made)
            else:
                ours = await outbox.mark_sent(connection, delivery, made.ts)
        _log.info(
            "delivery.sent" if ours else "delivery.passed_on",
            delivery_id=str(delivery.delivery_id),
            kind=delivery.kind,
            slack_ts=made.ts,
            effect=delivery.effect_key,
        )

    async def _sent_with_more(
        self, connection: Connection, delivery: Delivery, made: _Made
    ) -> bool:
        async with connection.transaction():
            ours = await outbox.mark_sent(connection, delivery, made.ts)
            if ours:
                await carding.pin(connection, delivery, made.ts)
            if ours and made.twice:
                await outbox.look_again(connection, delivery, doubles.AFTER)
        return ours

    async def _limited(self, delivery: Delivery, limited: SlackLimited) -> None:
        await self._all_wait(delivery, limited)
        await self._again(delivery, limited.retry_after, str(limited))

    async def _again(
        self, delivery: Delivery, wait: float, error: str, *, unclear: bool = False
    ) -> None:
        """Back to the others, after `wait`; what was unclear before stays so."""
        async with self._writing() as connection:
            await outbox.retry(
                connection,
                delivery,
                timedelta(seconds=wait),
                error,
                unclear=unclear or delivery.unclear,
            )

    async def _not_shared(self, delivery: Delivery, error: NotShared, wait: float) -> None:
        """Another attempt after `wait`, or the notice in the file's stead."""
        if error.notice is None:
            return await self._again(delivery, wait, str(error))
        async with self._writing() as connection:
            await outputs_sent.instead(connection, delivery, error.notice.body(), str(error))
        return None

    async def _bury(self, delivery: Delivery, error: str) -> None:
        async with self._writing() as connection, connection.transaction():
            if await outbox.bury(connection, delivery, error) and _is_tools(delivery):
                await _tell_of_promise(connection, delivery, error)

    async def _all_wait(self, delivery: Delivery, limited: SlackLimited) -> None:
        """What Slack refused to one delivery it would refuse to the others too."""
        if not limited.method:
            return  # it was our own budget
        wait, method = limited.retry_after, limited.method
        _log.info("delivery.limited", method=method, retry_after=wait)
        channel = delivery.channel_id if method == _POST else ""
        await self._budgets.empty(delivery.install_id, method, wait, channel)

    # -------------------------------------------------------------- one attempt

    async def _attempt_once(self, delivery: Delivery) -> _Made:
        started = clock.monotonic()
        if delivery.kind == "reaction":
            await self._react(delivery)
            return _Made(None)
        if delivery.kind in ("update", _FILE):
            return _Made(await self._bring(delivery))
        is_card = delivery.kind == "card"
        said = await self._carding.said(delivery) if is_card else said_of(delivery)
        if said is None:
            return _Made(None)
        shown = delivery.body.get("ts")
        if shown and await self._finishing.finish(delivery, said, str(shown)):
            return _Made(str(shown))
        if delivery.kind == "private":
            await self._tell(delivery, said)
            return _Made(None)
        if delivery.unclear:
            there = await self._look_twice(delivery, said)
            if there is not None:
                _log.info("delivery.found", delivery_id=str(delivery.delivery_id), slack_ts=there)
                return _Made(there, twice=delivery.attempts > _FIRST_LOOK)
        patience = _PATIENCE_SECONDS if delivery.unclear else 0.0
        await self._permit(delivery, _POST, delivery.channel_id, within=patience)
        left = self._attempt.total_seconds() - (clock.monotonic() - started)
        if delivery.unclear and left < CALL_SECONDS:
            raise SlackUnclear("reading back took too long")
        return _Made(await self._post(delivery, said), twice=delivery.unclear)

    async def _bring(self, delivery: Delivery) -> str | None:
        """What is no post: a card as it is now, or a file; the ts of its message."""
        if delivery.kind == _FILE:
            return await self._uploading.share(delivery)
        permit = partial(self._permit, delivery, UPDATE, within=UPDATE_WITHIN_SECONDS)
        return await self._carding.update(delivery, permit)

    async def _permit(
        self, delivery: Delivery, method: str, channel: str = "", *, within: float = 0.0
    ) -> None:
        """A permit; SlackLimited, of no method, where there is none in time."""
        until = clock.monotonic() + within
        place = (delivery.install_id, method, channel)
        while not await self._budgets.take(*place, delivery=delivery.delivery_id):
            if clock.monotonic() >= until:
                raise SlackLimited(clock.jittered(_NO_PERMIT_SECONDS))
            await clock.sleep(clock.jittered(_NO_PERMIT_SECONDS))

    async def _react(self, delivery: Delivery) -> None:
        """Made again where an earlier attempt is unclear: a reaction is there or it is not."""
        body = delivery.body
        message, add = (delivery.channel_id, str(body["ts"])), bool(body["add"])
        await self._permit(delivery, "reactions.add" if add else "reactions.remove")
        await self._slack.react(delivery.install_id, message, str(body["name"]), add=add)

    async def _tell(self, delivery: Delivery, said: Said) -> None:
        if delivery.unclear:
            _log.info("delivery.assumed", delivery_id=str(delivery.delivery_id))
            return
        await self._slack.tell(delivery.install_id, said, str(delivery.body["user"]))

    async def _look_twice(self, delivery: Delivery, said: Said) -> str | None:
        """The message that an earlier attempt has become, if a look shows it.

        Where there is no second look in time, one has to do: `client_msg_id` is the second belt.
        """
        for look in range(2):
            if look:
                await clock.sleep(_LOOKS_APART_SECONDS)
            try:
                there = await self._look(delivery, said)
            except SlackLimited as limited:
                if look:
                    await self._all_wait(delivery, limited)
                    return None
                await self._show(delivery, "processing")
                raise
            if there is not None:
                return there
        return None

    async def _look(self, delivery: Delivery, said: Said) -> str | None:
        method = _REPLIES if said.thread_ts else _HISTORY
        await self._permit(delivery, method, within=_PATIENCE_SECONDS)
        since = delivery.created_at.timestamp()
        return await self._slack.find(delivery.install_id, said, delivery.delivery_id, since)

    async def _conclude(self, delivery: Delivery) -> None:
        """Ends the status in the stead of the process that ended the turn: it may have died first.

        Before the delivery is marked, so that whoever takes over from us does so again. The end of
        a stream has ended it by itself.
        """
        theirs = delivery.body.get("by", self._owner) != self._owner
        if delivery.unclear or (theirs and not delivery.body.get("streaming")):
            await self._show(delivery, "active")

    async def _show(self, delivery: Delivery, status: Status) -> None:
        """Says that an answer is still to come, or came, unless a turn says more; best effort."""
        try:
            async with asyncio.timeout(_STATUS_SECONDS):
                await self._set_status(delivery, status)
        except _TROUBLE as error:
            _log.info("status.not_shown", status=status, error=f"{type(error).__name__}: {error}")

    async def _set_status(self, delivery: Delivery, status: Status) -> None:
        if delivery.session_id is None or delivery.thread_ts is None:
            return
        install_id, thread = delivery.install_id, (delivery.channel_id, delivery.thread_ts)
        async with database.borrow(self._pool) as connection:
            if await turns.live(connection, delivery.deployed_agent_id, delivery.session_id):
                return
            if not delivery.unclear and await outbox.any_reply_after(connection, delivery):
                return
        if await self._budgets.take_spare(install_id, _SET_STATUS):
            await self._slack.set_status(install_id, *thread, status, None)

    async def _post(self, delivery: Delivery, said: Said) -> str:
        """Posts; where Slack cannot show the blocks, all the words without them."""
        try:
            return await self._slack.post(delivery.install_id, said, delivery.delivery_id)
        except SlackRefused as refused:
            if refused.error not in _BAD_BLOCKS:
                raise
            _log.warning("delivery.plain", delivery_id=str(delivery.delivery_id))
            return await self._slack.post(
                delivery.install_id, plainly(delivery, said), delivery.delivery_id
            )
