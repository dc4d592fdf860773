"""Installs as this process knows them: from Postgres, tokens opened, remembered for a moment.

Only what was found is remembered, never its absence: a team that installs the app must not be told
"unknown" by an old answer. Whoever changes an install tells all processes, and they forget what they
knew; should the word be lost, for ten seconds at the most they know the install as it was. What routes
(the channel's agent, the default agent) is read inside each accept instead.

Those who ask for one install at a time ask the database once: it may stand still while hundreds ask.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from bot.incoming import ExternalPolicy, InstallIdentity
from bot.sealing import Keyring
from router import clock
from store import database, installs
from store.database import Pool
from store.installs import Install, NewInstall

_REMEMBERED_SECONDS = 10.0
_LOOKUP_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class KnownInstall:
    """An active install with its token in the clear, for this process's memory only."""

    row: Install
    token: str = field(repr=False)
    identity: InstallIdentity = field(init=False, repr=False)
    """What parsing needs to know of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", self._identity())

    def _identity(self) -> InstallIdentity:
        policy: ExternalPolicy = "reject"
        if self.row.external_policy == "allow_list":
            policy = "allow_list"
        elif self.row.external_policy == "allow_all":
            policy = "allow_all"
        return InstallIdentity(
            api_app_id=self.row.api_app_id,
            tenant_id=self.row.tenant_id,
            team_id=self.row.team_id,
            enterprise_id=self.row.enterprise_id,
            bot_user_id=self.row.bot_user_id,
            bot_id=self.row.bot_id,
            external_policy=policy,
            allowed_external=frozenset(self.row.allowed_external),
        )


class InstallBook:
    """Finds installs. Its errors are the database's: who asks cannot know, and must not guess."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring
        self._by_tenant: dict[tuple[str | None, str], tuple[float, KnownInstall]] = {}
        self._by_id: dict[UUID, tuple[float, KnownInstall]] = {}
        self._asked: dict[tuple[str | None, str], asyncio.Future[KnownInstall | None]] = {}
        self._changes = 0

    async def find(self, api_app_id: str | None, tenant_id: str) -> KnownInstall | None:
        """The active install of an app (of any, where a payload does not say) in a tenant."""
        key = (api_app_id, tenant_id)
        remembered = self._by_tenant.get(key)
        if remembered and remembered[0] > clock.monotonic():
            return remembered[1]
        asked = self._asked.get(key)
        if asked is not None:
            return await asyncio.shield(asked)
        return await self._ask_for_all(key, lambda: self._look_up(key))

    async def _ask_for_all(
        self,
        key: tuple[str | None, str],
        look: Callable[[], Awaitable[KnownInstall | None]],
    ) -> KnownInstall | None:
        """Looks, and gives what came of it to everybody who asks meanwhile."""
        answer = self._asked[key] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_seen)
        try:
            known = await look()
        except asyncio.CancelledError:
            answer.set_exception(TimeoutError("who asked was cancelled"))
            raise
        except Exception as error:
            answer.set_exception(error)
            raise
        else:
            answer.set_result(known)
            return known
        finally:
            del self._asked[key]

    async def _look_up(self, key: tuple[str | None, str]) -> KnownInstall | None:
        changes = self._changes
        async with database.within(self._pool, _LOOKUP_SECONDS) as connection:
            row = await installs.find(connection, *key)
        known = self._open(row) if row else None
        # What was read while a change was told may be from before it.
        if known and changes == self._changes:
            self._by_tenant[key] = (clock.monotonic() + _REMEMBERED_SECONDS, known)
        return known

    async def get(self, install_id: UUID, *, afresh: bool = False) -> KnownInstall | None:
        """The install of that id while it is active; `afresh`: as it is stored now."""
        remembered = self._by_id.get(install_id)
        if remembered and not afresh and remembered[0] > clock.monotonic():
            return remembered[1]
        changes = self._changes
        async with database.within(self._pool, _LOOKUP_SECONDS) as connection:
            row = await installs.get(connection, install_id)
        known = self._open(row)
        if known and changes == self._changes:
            self._by_id[install_id] = (clock.monotonic() + _REMEMBERED_SECONDS, known)
        return known

    def _open(self, row: Install) -> KnownInstall | None:
        if row.status != "active" or row.bot_token is None:
            return None
        name = _row_name(row.api_app_id, row.tenant_id)
        return KnownInstall(row, self._keyring.open(row.bot_token, belongs_to=name))

    async def put(self, new: NewInstall, token: str) -> UUID:
        """Stores an install; the token is sealed for its row."""
        sealed = self._keyring.seal(token, belongs_to=_row_name(new.api_app_id, new.tenant_id))
        async with database.borrow(self._pool) as connection:
            install_id = await installs.put(connection, new, sealed)
            await installs.adopt_default_agent(connection, install_id)
            self.forget()
            await database.notify(connection, [database.INSTALLS])
        return install_id

    async def end(self, api_app_id: str, tenant_id: str, status: str) -> bool:
        """Forgets an install that was revoked or uninstalled."""
        async with database.within(self._pool, _LOOKUP_SECONDS) as connection:
            ended = await installs.end(connection, api_app_id, tenant_id, status)
            self.forget()
            await database.notify(connection, [database.INSTALLS])
        return ended

    def forget(self) -> None:
        """Reads every install anew: one has changed, or may have."""
        self._changes += 1
        self._by_tenant.clear()
        self._by_id.clear()


def _seen(answer: "asyncio.Future[KnownInstall | None]") -> None:
    """Marks an error as heard: perhaps nobody else has asked."""
    if not answer.cancelled():
        answer.exception()


def _row_name(api_app_id: str, tenant_id: str) -> str:
    return f"oauth_installs:{api_app_id}:{tenant_id}"
