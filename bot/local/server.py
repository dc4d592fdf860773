"""The local Slack server: an HTTP face for one workspace, and the same from Python."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from aiohttp import web

from bot.local.control import Control, shown_state
from bot.local.deliver import sign
from bot.local.faults import Fault, FaultKind, FaultOptions
from bot.local.model import Call, Delivery, Ephemeral, Json, Message, SlackError, Status
from bot.local.people import Delivering, People, Saying
from bot.local.webapi import WebApi
from bot.local.webapi_agents import shown_status
from bot.local.workspace import Options, Settings, Workspace

_HOST = "127.0.0.1"
_MAX_BODY = 4 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.2  # a call stalled by a fault is cut off


class LocalSlack:
    """Plays Slack on 127.0.0.1 for `slack_sdk` and Bolt; an async context manager.

    `data` names the SQLite file that keeps the workspace; None keeps it in memory. A taken port
    raises OSError. The gestures raise SlackError, by Slack's name, where Slack would refuse.
    Everything but `__init__` needs the server to be running.
    """

    def __init__(
        self, port: int = 0, data: Path | str | None = None, **options: Unpack[Options]
    ) -> None:
        self._port = port
        self._data = Path(data) if data is not None else None
        self._settings = Settings(**options)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.workspace = Workspace(self._settings, self._data)
            stack.callback(self.workspace.state.close)
            await stack.enter_async_context(self.workspace.courier)
            self._people = People(self.workspace)
            runner = web.AppRunner(
                self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
            )
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, _HOST, self._port).start()
            self.url = f"http://{_HOST}:{runner.addresses[0][1]}"
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
        api = WebApi(self.workspace)
        application.add_routes(
            [web.post("/api/{method}", api.handle), web.get("/api/{method}", api.handle)]
        )
        application.add_routes(Control(self.workspace).routes())
        return application

    # ---------------------------------------------------------------- who and where

    @property
    def api_url(self) -> str:
        """The Web API's base, as `slack_sdk` wants it."""
        return f"{self.url}/api/"

    @property
    def team_id(self) -> str:
        """The workspace that the app is installed in."""
        return self.workspace.who.team_id

    @property
    def api_app_id(self) -> str:
        """Our app."""
        return self.workspace.who.api_app_id

    @property
    def bot_user_id(self) -> str:
        """Our app's user, the one that people mention."""
        return self.workspace.who.bot_user_id

    @property
    def bot_id(self) -> str:
        """Our app's bot."""
        return self.workspace.who.bot_id

    @property
    def bot_token(self) -> str:
        """The token that the Web API accepts."""
        return self.workspace.bot_token

    @property
    def signing_secret(self) -> str:
        """What requests to the app are signed with."""
        return self.workspace.signing_secret

    @property
    def request_url(self) -> str | None:
        """Where events go; those of the time before it was set follow when it is."""
        return self.workspace.courier.request_url

    @request_url.setter
    def request_url(self, url: str | None) -> None:
        self.workspace.courier.request_url = url

    @property
    def users(self) -> dict[str, str]:
        """User ids by name."""
        return dict(self.workspace.state.user_ids)

    @property
    def channels(self) -> dict[str, str]:
        """Channel ids by name, without direct messages."""
        return dict(self.workspace.state.channel_ids)

    def dm(self, user: str) -> str:
        """The id of the direct message between our bot and that user."""
        return self.workspace.dm(self.workspace.user(user)).id

    def add_user(self, name: str, team_id: str | None = None) -> str:
        """One more person (a stranger when `team_id` is another team); returns the id."""
        return self.workspace.add_user(name, team_id).id

    def add_channel(self, name: str, members: Sequence[str]) -> str:
        """One more public channel with these people and our bot; returns its id."""
        return self.workspace.add_channel(name, [self.workspace.user(one) for one in members]).id

    # --------------------------------------------------------------------- gestures

    async def say(self, user: str, channel: str, text: str, **options: Unpack[Saying]) -> Message:
        """Post as that user; `@threadline` and other `@name`s become mentions."""
        return self._people.say(user, channel, text, **options)

    async def edit(
        self, channel: str, ts: str, text: str, **options: Unpack[Delivering]
    ) -> Message:
        """Edit a person's message."""
        return self._people.edit(channel, ts, text, **options)

    async def unfurl(self, channel: str, ts: str, url: str) -> Message:
        """Attach a link preview: a `message_changed` that is no edit."""
        return self._people.unfurl(channel, ts, url)

    async def delete(self, channel: str, ts: str, **options: Unpack[Delivering]) -> None:
        """Delete a message."""
        self._people.delete(channel, ts, **options)

    # ----------------------------------------------------------------------- events

    def envelopes(self, ts_or_event_id: str) -> list[Json]:
        """The events about a message, oldest first, or the one event of that id."""
        return self.workspace.envelopes(ts_or_event_id)

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

    def sign(self, body: bytes | str, timestamp: int | None = None) -> dict[str, str]:
        """The headers of a request that Slack would send with this body."""
        raw = body.encode() if isinstance(body, str) else body
        return sign(self.signing_secret, raw, timestamp)

    async def verify_request_url(self) -> bool:
        """Send the url_verification challenge; whether the app gave it back."""
        return await self.workspace.courier.verify()

    async def settle(self) -> None:
        """Return when no delivery is under way but those that wait for a later time."""
        await self.workspace.courier.settle()

    # ------------------------------------------------------------------- what is seen

    def replies(self, channel: str, thread_ts: str) -> list[Message]:
        """What a person sees in that thread, its root first; empty when there is none."""
        place = self.workspace.channel(channel)
        state = self.workspace.state
        root = state.message(place.id, thread_ts)
        if root is None:
            return []
        return [root, *state.pick(place.id, state.reply_ts(place.id, thread_ts))]

    def history(self, channel: str) -> list[Message]:
        """What a person sees in the channel itself, oldest first."""
        place = self.workspace.channel(channel)
        return self.workspace.state.pick(place.id, self.workspace.state.top_ts(place.id))

    def shown_status(self, channel: str, thread_ts: str) -> str | None:
        """What the thread shows of its agent now; None without an agent session."""
        place = self.workspace.channel(channel)
        return shown_status(self.workspace, place.id, thread_ts)

    @property
    def ephemerals(self) -> list[Ephemeral]:
        """Messages that one person saw, oldest first."""
        return list(self.workspace.state.ephemerals)

    @property
    def statuses(self) -> list[Status]:
        """Changes of agent sessions, oldest first."""
        return list(self.workspace.state.statuses)

    @property
    def calls(self) -> list[Call]:
        """Web API calls received (the newest 20,000), oldest first."""
        return list(self.workspace.calls)

    @property
    def deliveries(self) -> list[Delivery]:
        """Attempts to deliver an event (the newest 20,000), oldest first."""
        return list(self.workspace.courier.deliveries)

    @property
    def unknown_methods(self) -> dict[str, int]:
        """Web API methods that were called and do not exist here, with how often."""
        return dict(self.workspace.unknown_methods)

    def state(self, limit: int = 1_000) -> Json:
        """The same as `GET /_control/state`."""
        return shown_state(self.workspace, limit)

    # --------------------------------------------------------------- time and faults

    def fault(self, kind: FaultKind, **options: Unpack[FaultOptions]) -> None:
        """Misbehave (`bot.local.faults`): by default once, for the next call of any method."""
        self.workspace.fault(Fault(kind, **options))

    def clear_faults(self) -> None:
        """Drop all orders to misbehave; tokens and channels stay as they are."""
        self.workspace.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the clock of limits, retries, delayed events and stale listings forward."""
        self.workspace.clock.advance(seconds)

    def reset(self) -> None:
        """Back to the first start, with the same token and signing secret."""
        self.workspace.reset()
