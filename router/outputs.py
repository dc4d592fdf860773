"""What an agent wrote to its outputs, offered in the thread: once, behind the text of its turn.

The runtime has no event for a file, and lists one only a second to three after the idle (facts of
platform.claude.com/docs/en/managed-agents/files: /mnt/session/outputs, GET /v1/files?scope_id=…). So a
session is looked at only where its turn called a tool that may have left a file (`Ended.wrote`), or
failed before that was read: soon after the end, some seconds later, and once more behind the next turn,
whatever that did. A session that calls no such tool costs nothing. A file that shows later than two
looks is offered behind the next turn at the latest, or not before the next call of such a tool.

The order of writes; a process may die between any two:

  turn's end    the look is due, in the transaction of the end                    ending.finish
  claim         the look is put off: nobody else makes it for a while             store.outputs.claim
  list          a request to the runtime, outside of any transaction
  offer         session locked ▸ the look moves on ▸ files noted ▸ deliveries      one transaction
  deliver       by the outbox, kind `file`, in the lane of the replies            bot.uploading

Who dies before `offer` leaves a look that is due again; after it, nothing to do. A file is noted under
its id at the runtime, and delivered under the effect `file:{id}`: seen again, it is known. While a turn
is under way nothing is offered: its end asks anew, so its files do not stand above its words.

Too large, empty, or too many behind one turn: a notice in their stead, with names and sizes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal
from uuid import UUID

import structlog

from router.clock import Backoff
from router.errors import RuntimeAway, RuntimeFailure, RuntimeGone, RuntimeUnclear
from router.files.kinds import FILE_BYTES, FILES
from router.loops import Stop, every
from router.notices import Trouble, about
from router.runtime.budget import Need
from router.runtime.client import Runtime
from router.runtime.files import RuntimeFile
from store import database, outbox, outputs, sessions
from store.database import Connection, Pool
from store.leases import Lease
from store.outbox import Effect
from store.outputs import LOOKS, Fate, Look

_log = structlog.get_logger(__name__)

_AT_ONCE = 10
_CLAIMED = timedelta(seconds=60)
_BACKOFF = Backoff(first=2.0, most=300.0)
_MOST_FAILURES = 12  # about half an hour; the next turn asks again
_LEFT_OUT: dict[Literal["too_large", "too_many", "empty"], Trouble] = {
    "too_large": Trouble.OUTPUT_TOO_LARGE,
    "too_many": Trouble.OUTPUT_TOO_MANY,
    "empty": Trouble.OUTPUT_EMPTY,
}


async def expect(
    connection: Connection, lease: Lease, turn_id: UUID, soon: float, *, wrote: bool
) -> None:
    """A turn ends that may have written files, or before which some may have been missed; fenced."""
    looks = LOOKS if wrote else 1
    await outputs.plan(connection, lease, turn_id, timedelta(seconds=soon), looks=looks)


class Outputs:
    """Makes the looks that are due, any number of replicas side by side.

    `second`: seconds from the first look behind a turn to the next. `on_delivery` hears of deliveries.
    """

    def __init__(
        self, pool: Pool, runtime: Runtime, on_delivery: Callable[[], None], *, second: float
    ) -> None:
        self._pool = pool
        self._runtime = runtime
        self._on_delivery = on_delivery
        self._second = timedelta(seconds=second)

    async def run(self, stop: Stop, seconds: float) -> None:
        """Looks about every so many seconds, until `stop`."""
        await every(seconds, self.round, stop)

    async def round(self) -> None:
        """All looks that are due now."""
        async with database.borrow(self._pool) as connection:
            looks = await outputs.claim(connection, _AT_ONCE, _CLAIMED)
        async with asyncio.TaskGroup() as tasks:
            for look in looks:
                tasks.create_task(self._guard(look))

    async def _guard(self, look: Look) -> None:
        """One look; whatever happens to it, it comes again, and the others go on."""
        try:
            await self._look(look)
        except database.ERRORS as error:
            _log.warning(
                "outputs.interrupted", session_id=str(look.session_id), error=type(error).__name__
            )
        except Exception:  # noqa: BLE001  # logged; what was claimed comes again
            _log.exception("outputs.failed", session_id=str(look.session_id))

    async def _look(self, look: Look) -> None:
        try:
            found = await self._runtime.files.outputs(Need.LIVE, look.runtime_session)
        except RuntimeFailure as failure:
            return await self._not_seen(look, failure)
        async with database.borrow(self._pool) as connection, connection.transaction():
            offered = await self._offer(connection, look, found)
        if offered:
            self._on_delivery()
        return None

    async def _not_seen(self, look: Look, failure: RuntimeFailure) -> None:
        passes = isinstance(failure, (RuntimeAway, RuntimeUnclear))
        again = passes and look.failures < _MOST_FAILURES
        wait = _BACKOFF.after(look.failures + 1)
        _log.info("outputs.unread", session_id=str(look.session_id), error=str(failure))
        async with database.borrow(self._pool) as connection:
            if isinstance(failure, RuntimeGone):
                await outputs.end(connection, look)
            else:
                await outputs.put_off(connection, look, timedelta(seconds=wait) if again else None)

    async def _offer(self, connection: Connection, look: Look, found: list[RuntimeFile]) -> bool:
        """Writes down what is new; True if there is something to deliver."""
        place = await outputs.lock(connection, look)
        if place is None or not await outputs.move_on(connection, look, self._second):
            return False
        known = await outputs.known(connection, look, [file.id for file in found])
        fresh = [file for file in found if file.id not in known.ids]
        if not fresh:
            return False
        fates = judged(fresh, room=FILES - known.offered)
        await outputs.add(connection, look, fates)
        effects = _effects(look.turn_id, fresh, fates)
        first = await sessions.take_positions(connection, look.of, len(effects))
        in_line = [replace(one, position=first + n) for n, one in enumerate(effects)]
        await outbox.add(connection, place, in_line)
        _log.info("outputs.offered", session_id=str(look.session_id), count=len(fresh))
        return True


def judged(files: Sequence[RuntimeFile], *, room: int) -> dict[str, Fate]:
    """What becomes of files, where `room` more are shared behind the turn; by their ids, in order."""
    fates: dict[str, Fate] = {}
    for file in files:
        if file.size > FILE_BYTES:
            fates[file.id] = "too_large"
        elif file.size == 0:
            fates[file.id] = "empty"  # files.getUploadURLExternal: a length of 0 is a missing one
        elif room > 0:
            fates[file.id] = "offered"
            room -= 1
        else:
            fates[file.id] = "too_many"
    return fates


def _effects(turn_id: UUID, files: Sequence[RuntimeFile], fates: dict[str, Fate]) -> list[Effect]:
    """The deliveries of what is offered, in order, then a notice for each reason to leave some out."""
    effects = [
        Effect(
            f"file:{file.id}",
            "file",
            {"file": file.id, "name": file.name, "size": file.size},
            lane="reply",
            turn_id=turn_id,
        )
        for file in files
        if fates[file.id] == "offered"
    ]
    for fate, trouble in _LEFT_OUT.items():
        left = [file for file in files if fates[file.id] == fate]
        if left:
            told = about(trouble, turn_id, files=[(file.name, file.size) for file in left])
            key = f"notice:{left[0].id}:{fate}"
            effects.append(Effect(key, "notice", told.body(), lane="reply", turn_id=turn_id))
    return effects
