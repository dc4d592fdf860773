"""The local Slack server: an HTTP face for one workspace, and the same from Python."""

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from aiohttp import web

from bot.local.control import Control
from bot.local.door import Door
from bot.local.faults import Fault, FaultKind, FaultOptions
from bot.local.gestures import Gestures
from bot.local.interactions import Interactions
from bot.local.model import Json, SlackError
from bot.local.page import Behind, Page
from bot.local.people import People
from bot.local.posting import sign
from bot.local.private_files import PrivateFiles
from bot.local.responses import Responses
from bot.local.settings import Options, Settings
from bot.local.tickets import Tickets
from bot.local.webapi import WebApi
from bot.local.workspace import Workspace

_HOST = "127.0.0.1"
_MAX_BODY = 4 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.2  # a call stalled by a fault is cut off


class LocalSlack(Gestures):
    """Plays Slack on 127.0.0.1 for `slack_sdk` and Bolt; an async context manager.

    `data` names the SQLite file that keeps the workspace; None keeps it in memory. A taken port
    raises OSError. `options` are explained at `bot.local.settings.Settings`. The gestures raise
    SlackError, by Slack's name, where Slack would refuse. Events beyond messages and mentions
    (reactions, agent sessions, joins) come only when `subscriptions` names them, reactions need
    their `scopes`. Everything but `__init__` needs the server to be running.

    A browser finds the workspace at `url`; `behind` is what its inspector can look at besides.
    """

    def __init__(
        self,
        port: int = 0,
        data: Path | str | None = None,
        *,
        behind: Behind | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._port = port
        self._behind = behind
        self._data = Path(data) if data is not None else None
        self._settings = Settings(**options)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.workspace = Workspace(self._settings, self._data)
            stack.callback(self.workspace.state.close)
            await stack.enter_async_context(self.workspace.poster)
            await stack.enter_async_context(self.workspace.courier)
            self._page = Page(self.workspace, self._behind)
            self._people = People(self.workspace)
            self._interactions = Interactions(self.workspace)
            runner = web.AppRunner(
                self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
            )
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, _HOST, self._port).start()
            self.url = f"http://{_HOST}:{runner.addresses[0][1]}"
            self.workspace.url = self.url
            self.workspace.sockets.url = f"ws://{self.url.removeprefix('http://')}/link/"
            self.request_url = self._settings.request_url
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_MAX_BODY)
        door = Door(self.workspace)
        tickets = Tickets(self.workspace, door)
        api, responses = WebApi(self.workspace, door, tickets), Responses(self.workspace, door)
        application.add_routes(
            [web.post("/api/{method}", api.handle), web.get("/api/{method}", api.handle)]
        )
        application.add_routes([web.post("/actions/{team}/{number}/{token}", responses.handle)])
        application.add_routes([web.post("/upload/v1/{ticket}", tickets.handle)])
        application.add_routes([web.get("/link/", self.workspace.sockets.handle)])
        application.add_routes(Control(self.workspace).routes())
        application.add_routes(PrivateFiles(self.workspace).routes())
        self._page.serve(application)
        application.on_shutdown.append(self.workspace.sockets.close)
        return application

    @property
    def behind(self) -> Behind | None:
        """What the page's inspector can look at besides this workspace."""
        return self._page.behind

    @behind.setter
    def behind(self, behind: Behind | None) -> None:
        self._page.behind = behind

    @property
    def request_url(self) -> str | None:
        """Where events go without Socket Mode; earlier ones follow when it is set."""
        return self.workspace.courier.request_url

    @request_url.setter
    def request_url(self, url: str | None) -> None:
        self.workspace.courier.request_url = url

    @property
    def socket_mode(self) -> bool:
        """Whether events go to web sockets; off, all of them are closed with `link_disabled`.

        Events of the time before the first connection follow when it is made.
        """
        return self.workspace.courier.socket_mode

    @socket_mode.setter
    def socket_mode(self, wanted: bool) -> None:
        self.workspace.courier.socket_mode = wanted

    async def refresh_connections(self) -> None:
        """Warn every web socket; those still there in ten seconds of the clock are closed."""
        await self.workspace.courier.refresh_connections()

    # ----------------------------------------------------------------------- events

    def envelopes(self, ts_or_event_id: str) -> list[Json]:
        """The events about a message, oldest first, or the one event of that id."""
        return self.workspace.ledger.about(ts_or_event_id)

    async def redeliver(self, ts_or_event_id: str, times: int = 1) -> None:
        """Deliver the events of a message, or one event, again, marked as retries."""
        found = self.envelopes(ts_or_event_id)
        if not found:
            raise SlackError("event_not_found")
        for envelope in found:
            self.workspace.courier.again(envelope, times)

    async def deliver(self, envelope: Json, retry_num: int | None = None) -> int:
        """One attempt, now; the status of the answer, 0 when none came within 3 s."""
        return (await self.workspace.courier.attempt(envelope, retry_num)).status

    async def interact(self, payload: Json) -> int:
        """Give the app an interaction payload, once; the status, 0 without an answer in 3 s."""
        return (await self.workspace.courier.interact(payload)).status

    def sign(self, body: bytes | str, timestamp: int | None = None) -> dict[str, str]:
        """The headers of a request that Slack would send with this body."""
        raw = body.encode() if isinstance(body, str) else body
        return sign(self.signing_secret, raw, timestamp)

    async def verify_request_url(self) -> bool:
        """Send the url_verification challenge; whether the app gave it back."""
        return await self.workspace.poster.verify()

    async def settle(self) -> None:
        """Return when no delivery is under way but those that wait for a later time."""
        await self.workspace.courier.settle()

    # --------------------------------------------------------------- time and faults

    def fault(self, kind: FaultKind, **options: Unpack[FaultOptions]) -> None:
        """Misbehave (`bot.local.faults`): by default once, for the next call of any method."""
        self.workspace.fault(Fault(kind, **options))

    def clear_faults(self) -> None:
        """Drop all orders to misbehave; tokens and channels stay as they are."""
        self.workspace.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the clock of limits, retries, streams, statuses and stale listings forward."""
        self.workspace.advance(seconds)

    def reset(self) -> None:
        """Back to the first start, with the same tokens and signing secret."""
        self.workspace.reset()
