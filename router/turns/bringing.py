"""What comes along with messages: their files, what was said before, where their links lead.

It is fetched beside the loop that follows the session, so that a stop, an edit or a deletion is heard
meanwhile, and before the intent of a message is written: what is `sending` needs nothing any more.

  files     by the rows of `input_files` (router.files.incoming): never twice, whoever goes on
  context   read anew until the message is sent; nothing of it is stored
  refusals  told to the person alone, once for each message, under its key

A lease need not outlast an upload: what it leaves behind expires, and every row is written under the
fence. Whoever is woken when all is there finds the messages still `queued` and sends them.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from router import outside
from router.context import quoting
from router.files.blocks import blocks, refusals
from router.files.incoming import Carrier, prepare
from router.files.uploading import RuntimeUploads
from router.notices import Notice
from router.ports import Thread
from router.turns.beside import Beside
from router.turns.engine import Engine, Holding, appending
from store import database, unsent
from store.database import Connection
from store.inputs import Input
from store.outbox import Effect

_KINDS = ["message", "correction"]
# What may lead somewhere, or name somebody: whether it does is for the bot to say.
_LEADS = "/archives/"
_NAMES = re.compile(r"(?<!\w)[@#][A-Z][A-Z0-9]{5,}(?!\w)")

_Read = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Brought:
    """A message with what comes along: the record `before` it, its words, the blocks `behind` them."""

    words: str
    before: str | None = None
    behind: tuple[dict[str, Any], ...] = ()


class Bringing(Beside):
    """Fetches for one session, one message after the other. `wake` is called when it is done."""

    def __init__(self, engine: Engine, holding: Holding, wake: Callable[[], None]) -> None:
        super().__init__()
        self._engine = engine
        self._holding = holding
        self._held = holding.held
        self._wake = wake
        self._there: dict[UUID, tuple[_Read, bool, Brought]] = {}

    def lacks(self, batch: list[Input]) -> bool:
        """Whether something has to be fetched before these messages can leave, as they read now."""
        return bool(self._lacking(batch))

    def take(self, item: Input) -> Brought:
        """The message with what was fetched for it, which is then forgotten here."""
        read, _, found = self._there.pop(item.id, (None, False, None))
        return found if found and read == _read(item) else Brought(_text(item))

    def start(self, runtime_session: str, batch: list[Input]) -> None:
        """Fetches what these lack, unless something is being fetched already."""
        lacking = self._lacking(batch)
        if lacking and not self.under_way:
            self._begin(self._bring_all(runtime_session, lacking, self._first(batch)))

    # -------------------------------------------------------------- what a message wants

    def _lacking(self, batch: list[Input]) -> list[Input]:
        if self._held.slack_install_id is None:
            return []
        first = self._first(batch)
        return [
            i
            for i in batch
            if (i is first or _wants(i))
            and self._there.get(i.id, (None, False))[:2] != (_read(i), i is first)
        ]

    def _first(self, batch: list[Input]) -> Input | None:
        """A reply before which the agent may have read nothing of its thread, if there is one."""
        root, first = self._held.slack_thread_ts, batch[0] if batch else None
        if first is None or root is None or self._held.place_at is not None:
            return None
        return first if first.kind == "message" and first.order_key != Decimal(root) else None

    # -------------------------------------------------------------- fetching

    async def _bring_all(
        self, runtime_session: str, batch: list[Input], first: Input | None
    ) -> None:
        for item in batch:
            brought = await self._bring(runtime_session, item, is_first=item is first)
            self._there[item.id] = (_read(item), item is first, brought)
        self._wake()

    async def _bring(self, runtime_session: str, item: Input, *, is_first: bool) -> Brought:
        """The files first, since they take longest: what was said should be as it reads now."""
        install_id = self._held.slack_install_id
        if install_id is None:
            return Brought(_text(item))
        files = await self._files(install_id, item, runtime_session)
        words, source = _text(item), self._engine.threads
        links = None
        if _LEADS in words and not outside.is_from(item.body):
            user = str(item.body.get("user"))
            links = quoting.linked(await source.linked(install_id, words, user))
        before = await self._before(install_id, item) if is_first else None
        if _NAMES.search(words):
            words = await source.named(install_id, words)
        behind = [{"type": "text", "text": links}] if links else []
        return Brought(words, before, (*behind, *files))

    async def _before(self, install_id: UUID, item: Input) -> str | None:
        """What was said in the thread, where the agent has read nothing of it.

        Without what was refused: neither a guest's words nor poison get to it in this way.
        """
        held, lease = self._held, self._held.lease
        async with database.borrow(self._engine.pool) as connection:
            if await unsent.any_taken(connection, lease, _KINDS):
                return None
            refused = await unsent.refused(connection, lease, quoting.MESSAGES)
        thread = Thread(install_id, str(held.slack_channel_id), str(held.slack_thread_ts))
        record = await self._engine.threads.earlier(thread, f"{item.order_key:.6f}")
        root = record.root if record.root and Decimal(record.root.ts) not in refused else None
        kept = tuple(said for said in record.messages if Decimal(said.ts) not in refused)
        return quoting.quoted(replace(record, root=root, messages=kept))

    async def _files(
        self, install_id: UUID, item: Input, runtime_session: str
    ) -> list[dict[str, Any]]:
        if not _files(item):
            return []
        carrier = Carrier(
            source=self._engine.files,
            uploads=RuntimeUploads(self._engine.runtime.files),
            writing=self._writing,
            lease=self._held.lease,
            install_id=install_id,
        )
        files = await prepare(carrier, item, runtime_session)
        if told := refusals(files):
            body = Notice(told).body() | {"user": str(item.body.get("user"))}
            async with appending(self._engine, self._holding, progress=False) as append:
                await append.say([Effect(f"notice:{item.id}:files", "private", body)])
        return blocks(files)

    @asynccontextmanager
    async def _writing(self, *, progress: bool) -> AsyncIterator[Connection]:
        async with appending(self._engine, self._holding, progress=progress) as append:
            yield append.connection


def _wants(item: Input) -> bool:
    text = _text(item)
    return bool(_files(item)) or _LEADS in text or _NAMES.search(text) is not None


def _read(item: Input) -> _Read:
    """What was fetched is for this: an edit of a waiting message has to be looked at anew."""
    return _text(item), tuple(str(f.get("id")) for f in _files(item))


def _text(item: Input) -> str:
    return str(item.body.get("text") or "")


def _files(item: Input) -> list[dict[str, Any]]:
    return item.body.get("files") or []
