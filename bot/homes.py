"""Who looks at our app, and what they are shown: home tabs and suggested prompts, after the 200.

opened ▸ wanted (in memory) ▸ a permit of the tier ▸ read ▸ views.publish | setSuggestedPrompts

Nothing here is durable: whoever opens their home again is shown it anew, and a process that dies
leaves the page that stood there. Opening it many times is answered once, and once more after a few
seconds; what a person pressed there is answered at once.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar
from uuid import UUID

import structlog

from bot.budget import Budgets
from bot.home_reading import HomeReader
from bot.incoming import HomeOpened
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.surfaces import Surfaces
from router import clock
from router.behaviour import Prompt, behaviour_of
from router.clock import Backoff
from router.loops import Stop, every
from store import agents, database
from store.database import Pool

_log = structlog.get_logger(__name__)

_PUBLISH, _SUGGEST = "views.publish", "assistant.threads.setSuggestedPrompts"
# An app or workspace without the feature, or a token without the scope: not asked for an hour.
_WITHOUT = frozenset(
    {"feature_disabled", "missing_scope", "not_agent_app", "not_enabled", "unknown_method"}
)
_WITHOUT_SECONDS = 3600.0
_OPENED_AGAIN_SECONDS = 3.0
_PRESSED_AGAIN_SECONDS = 1.0
_TICK_SECONDS = 0.5
_NO_PERMIT_SECONDS = 0.7
_DEADLINE_SECONDS = 8.0
_AT_ONCE, _OF_AN_INSTALL = 16, 4
_PATIENCE = 3  # attempts: after that the next opening has to do
_BACKOFF = Backoff(first=1.0, most=8.0)
_MOST = 10_000
_AGAIN: tuple[type[Exception], ...] = (SlackAway, SlackUnclear, TimeoutError, *database.ERRORS)

_What = Literal["home", "prompts"]
_Tier: TypeAlias = tuple[UUID, str]  # an install and a method: what Slack's limits count
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Key:
    """One page: a person's home tab, or the suggestions of a direct message."""

    what: _What
    install_id: UUID
    of: str

    @property
    def method(self) -> str:
        """What shows it."""
        return _PUBLISH if self.what == "home" else _SUGGEST


@dataclass(frozen=True, slots=True)
class _Wanted:
    """When it may be shown, and how often that was tried in vain."""

    due: float
    tries: int = 0


class Homes:
    """Shows what is wanted until it is stopped. `opened` and `pressed` never wait and never raise."""

    def __init__(
        self, pool: Pool, surfaces: Surfaces, budgets: Budgets, reader: HomeReader
    ) -> None:
        self._pool = pool
        self._surfaces = surfaces
        self._budgets = budgets
        self._reader = reader
        self._alarm = asyncio.Event()
        self._wanted: dict[_Key, _Wanted] = {}
        self._shown: dict[_Key, float] = {}
        self._told: dict[_Key, tuple[str | None, tuple[Prompt, ...]]] = {}
        self._not_before: dict[_Tier, float] = {}
        self._without: dict[_Tier, float] = {}
        self._under_way: dict[_Key, asyncio.Task[None]] = {}

    def opened(self, install_id: UUID, event: HomeOpened) -> None:
        """Somebody looks at our app."""
        if event.tab == "home":
            self._want(_Key("home", install_id, event.user_id), _OPENED_AGAIN_SECONDS)
        elif event.channel_id is not None:
            self._want(_Key("prompts", install_id, event.channel_id), _OPENED_AGAIN_SECONDS)

    def pressed(self, install_id: UUID, user_id: str) -> None:
        """Somebody pressed something on their home tab, or sent a form that was opened there."""
        self._want(_Key("home", install_id, user_id), _PRESSED_AGAIN_SECONDS)

    def _want(self, key: _Key, apart: float) -> None:
        if self._without.get(_tier(key), 0.0) > clock.monotonic():
            return
        due = max(clock.monotonic(), self._shown.get(key, 0.0) + apart)
        known = self._wanted.get(key)
        if known is None and len(self._wanted) >= _MOST:
            _log.warning("home.too_many", what=key.what)
            return
        self._wanted[key] = replace(known, due=min(due, known.due)) if known else _Wanted(due)
        self._alarm.set()

    # -------------------------------------------------------------- showing

    async def run(self, stop: Stop) -> None:
        """Shows what is wanted, as far as there are permits, until `stop`; then nobody is waited for."""
        async with asyncio.TaskGroup() as tasks:

            async def show_due() -> None:
                self._start(tasks)

            await every(_TICK_SECONDS, show_due, stop, wake=self._alarm)
            for task in self._under_way.values():
                task.cancel()

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Begins what is due, who waits longest first: so many at once, and some of each install.

        One page is not shown twice at once, or an older one could be the last.
        """
        now = clock.monotonic()
        busy = Counter(key.install_id for key in self._under_way)
        for key, wanted in list(self._wanted.items()):
            if len(self._under_way) >= _AT_ONCE:
                return
            early = max(wanted.due, self._not_before.get(_tier(key), 0.0)) > now
            if early or key in self._under_way or busy[key.install_id] >= _OF_AN_INSTALL:
                continue
            del self._wanted[key]
            busy[key.install_id] += 1
            _remember(self._shown, key, now)
            self._under_way[key] = tasks.create_task(self._in_turn(key, wanted))

    async def _in_turn(self, key: _Key, wanted: _Wanted) -> None:
        try:
            await self._attempt(key, wanted)
        finally:
            del self._under_way[key]
            if self._wanted:
                self._alarm.set()

    async def _attempt(self, key: _Key, wanted: _Wanted) -> None:
        """Shows it; what Slack may take later stays wanted. Never raises, for the others' sake."""
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await (self._publish if key.what == "home" else self._suggest)(key)
        except SlackLimited as limited:
            await self._wait(key, wanted, limited)
        except SlackRefused as refused:
            self._refused(key, refused)
        except _AGAIN as error:
            self._again(key, wanted, f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001  # one person's page; logged, and it takes no other along
            _log.exception("home.failed", what=key.what, of=key.of)

    async def _publish(self, key: _Key) -> None:
        await self._permit(key)
        view = await self._reader.view(key.install_id, key.of)
        if view is not None:
            await self._surfaces.publish(key.install_id, key.of, view)

    async def _suggest(self, key: _Key) -> None:
        """Sets the suggestions of the agent that answers there, unless this process has set them.

        A new process sets them once more: they are not worth a row.
        """
        title, prompts = await self._prompts(key.install_id, key.of)
        if not prompts or self._told.get(key) == (title, prompts):
            return
        await self._permit(key)
        said = [{"title": prompt.title, "message": prompt.message} for prompt in prompts]
        await self._surfaces.suggest(key.install_id, key.of, title, said)
        _remember(self._told, key, (title, prompts))

    async def _prompts(
        self, install_id: UUID, channel_id: str
    ) -> tuple[str | None, tuple[Prompt, ...]]:
        async with database.borrow(self._pool) as connection:
            routes = await agents.routes(connection, [(install_id, channel_id)])
            route = routes.get((install_id, channel_id))
            if route is None or route.agent_id is None:
                return None, ()
            settings = await agents.settings_of(connection, [route.agent_id])
        here = behaviour_of(settings.get(route.agent_id, {}), channel_id)
        return here.greeting or None, here.prompts

    # -------------------------------------------------------------- not now

    async def _permit(self, key: _Key) -> None:
        if not await self._budgets.take(key.install_id, key.method):
            raise SlackLimited(_NO_PERMIT_SECONDS)

    async def _wait(self, key: _Key, wanted: _Wanted, limited: SlackLimited) -> None:
        """Nobody asks before then: where Slack said it, no process does."""
        self._not_before[_tier(key)] = clock.monotonic() + limited.retry_after
        self._wanted.setdefault(key, wanted)
        if limited.method != key.method:
            return
        try:
            await self._budgets.empty(key.install_id, key.method, limited.retry_after)
        except database.ERRORS as error:
            _log.warning("home.budget_not_emptied", error=f"{type(error).__name__}: {error}")

    def _refused(self, key: _Key, refused: SlackRefused) -> None:
        if refused.error in _WITHOUT or refused.error.startswith("http_404"):
            self._without[_tier(key)] = clock.monotonic() + _WITHOUT_SECONDS
            for other in [one for one in self._wanted if _tier(one) == _tier(key)]:
                del self._wanted[other]
        _log.warning("home.not_shown", what=key.what, of=key.of, error=refused.error)

    def _again(self, key: _Key, wanted: _Wanted, error: str) -> None:
        tries = wanted.tries + 1
        if tries < _PATIENCE:
            later = _Wanted(clock.monotonic() + _BACKOFF.after(tries), tries)
            self._wanted.setdefault(key, later)
        _log.info(
            "home.later" if tries < _PATIENCE else "home.given_up", what=key.what, error=error
        )


def _tier(key: _Key) -> _Tier:
    return key.install_id, key.method


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Keeps the newest ten thousand."""
    known.pop(key, None)
    if len(known) >= _MOST:
        known.pop(next(iter(known)))
    known[key] = value
