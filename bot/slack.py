"""The one outbound door to Slack's Web API: clients, deadlines, and the methods that are called.

SDK retries are off: its default re-sends a post whose answer was lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot.circuit import Circuits
from bot.install import InstallBook
from bot.outcome import TOKEN_REVOKED, SlackRefused, call
from router import clock
from router.ports import Status, Step

CALL_SECONDS = 5.0
_METADATA_EVENT = "threadline_delivery"
_LOOK_BACK_SECONDS = 60
_PAGE = 200
_STREAM_IS_OVER = frozenset({"message_not_in_streaming_state", "stopped_by_user"})
_REACTION_IS_SO = frozenset({"already_reacted", "no_reaction", "message_not_found"})
_CLOCK_SKEW_SECONDS = 5
_TASK_CHARACTERS = 256
_NO_AGENT_METHODS = frozenset({"unknown_method", "feature_disabled", "not_agent_app"})
_DUPLICATE_OF_NOTHING = frozenset({"duplicate_channel_not_found", "duplicate_message_not_found"})
_STREAMS = "chat.startStream"
_REMEMBERED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Said:
    """A message to be posted."""

    channel_id: str
    thread_ts: str | None
    text: str
    blocks: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """Who a token belongs to."""

    api_app_id: str
    team_id: str
    team: str
    enterprise_id: str | None
    org_wide: bool
    bot_user_id: str
    bot_id: str
    scopes: list[str]

    @property
    def tenant_id(self) -> str:
        """The enterprise of an org-wide install, else the team."""
        return self.enterprise_id if self.org_wide and self.enterprise_id else self.team_id


class Slack:
    """Calls to Slack in the name of an install. Use as an async context manager."""

    def __init__(self, api_url: str, book: InstallBook) -> None:
        self._api_url = api_url
        self._book = book
        self._session: aiohttp.ClientSession | None = None
        self._without: dict[tuple[UUID, str], float] = {}
        self.circuits = Circuits()

    async def __aenter__(self) -> Self:
        # The SDK's own timeout is ignored once it is given a session, so the session has it.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS, connect=3.0),
            connector=aiohttp.TCPConnector(limit=100),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    # -------------------------------------------------------------- posting

    async def post(self, install_id: UUID, said: Said, delivery_id: UUID) -> str:
        """Posts, marked with the delivery's id so that it can be found again; the message's ts.

        docs.slack.dev/reference/methods/chat.postMessage. `client_msg_id` is honoured by Slack but
        nowhere promised: a second belt, not the first. Where Slack knows it from a message that is
        nowhere to be found, it is left out.
        """
        try:
            return await self._post(install_id, said, delivery_id, client_msg_id=str(delivery_id))
        except SlackRefused as refused:
            if refused.error not in _DUPLICATE_OF_NOTHING:
                raise
            return await self._post(install_id, said, delivery_id)

    async def _post(self, install_id: UUID, said: Said, delivery_id: UUID, **belt: str) -> str:
        answer = await self._call(
            install_id,
            "chat_postMessage",
            channel=said.channel_id,
            thread_ts=said.thread_ts,
            text=said.text,
            blocks=said.blocks,
            metadata={
                "event_type": _METADATA_EVENT,
                "event_payload": {"delivery_id": str(delivery_id)},
            },
            **belt,
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])

    async def find(
        self, install_id: UUID, said: Said, delivery_id: UUID, since: float
    ) -> str | None:
        """The ts of a delivery that is in its thread, or its channel, already, or None."""
        place = (said.channel_id, said.thread_ts)
        found = await self.copies(install_id, place, delivery_id, since)
        return found[0] if found else None

    async def copies(
        self, install_id: UUID, place: tuple[str, str | None], delivery_id: UUID, since: float
    ) -> list[str]:
        """The ts of every message that a delivery has become in a place (channel, root), in order.

        docs.slack.dev/reference/methods/conversations.replies with include_all_metadata, and
        …/conversations.history where there is no thread.
        """
        channel_id, root = place
        thread = {"ts": root} if root else {}
        found: list[str] = []
        cursor: str | None = None
        while True:
            answer = await self._call(
                install_id,
                "conversations_replies" if thread else "conversations_history",
                **thread,
                channel=channel_id,
                oldest=f"{since - _LOOK_BACK_SECONDS:.6f}",
                include_all_metadata=True,
                limit=_PAGE,
                cursor=cursor,
            )
            for message in answer.get("messages") or []:
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("delivery_id") == str(delivery_id):
                    found.append(str(message["ts"]))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return sorted(found)

    async def read(self, install_id: UUID, channel_id: str, thread_ts: str, ts: str) -> Said | None:
        """A message of a thread as Slack shows it now, or None (…/conversations.replies)."""
        answer = await self._call(
            install_id,
            "conversations_replies",
            channel=channel_id,
            ts=thread_ts,
            oldest=ts,
            latest=ts,
            inclusive=True,
            limit=_PAGE,
        )
        for message in answer.get("messages") or []:
            if message.get("ts") == ts:
                text = str(message.get("text") or "")
                return Said(channel_id, thread_ts, text, message.get("blocks"))
        return None

    async def tell(self, install_id: UUID, said: Said, user_id: str) -> None:
        """Says something that only one person sees.

        docs.slack.dev/reference/methods/chat.postEphemeral: never read back, so at most once.
        """
        await self._call(
            install_id,
            "chat_postEphemeral",
            channel=said.channel_id,
            thread_ts=said.thread_ts,
            user=user_id,
            text=said.text,
            blocks=said.blocks,
        )

    # -------------------------------------------------------------- streams, changes

    def can_stream(self, install_id: UUID) -> bool:
        """False for an hour after an install was found to have no streams."""
        return self._without.get((install_id, _STREAMS), 0.0) <= clock.monotonic()

    async def start_stream(
        self,
        install_id: UUID,
        thread: tuple[str, str],
        text: str,
        steps: tuple[Step, ...],
        recipient: tuple[str, str | None] | None,
    ) -> str:
        """Starts a stream in a thread (channel, root) for a person (user, team); its ts.

        docs.slack.dev/reference/methods/chat.startStream
        """
        self.circuits.check(install_id)
        channel, root = thread
        user, team = recipient or (None, None)
        answer = await self._stream(
            install_id,
            "chat_startStream",
            channel=channel,
            thread_ts=root,
            chunks=_chunks(text, steps),
            recipient_user_id=user,
            recipient_team_id=team,
        )
        return str(answer["ts"])

    async def append_stream(
        self, install_id: UUID, channel_id: str, ts: str, text: str, steps: tuple[Step, ...]
    ) -> None:
        """Adds to a stream (docs.slack.dev/reference/methods/chat.appendStream)."""
        chunks = _chunks(text, steps)
        await self._stream(
            install_id, "chat_appendStream", channel=channel_id, ts=ts, chunks=chunks
        )

    async def stop_stream(
        self,
        install_id: UUID,
        stream: tuple[str, str],
        steps: tuple[Step, ...] = (),
        rests: Status = "active",
    ) -> None:
        """Ends a stream, steps and status standing as told; one that has ended is as good.

        docs.slack.dev/reference/methods/chat.stopStream
        """
        ends = {"chunks": _chunks("", steps) or None, "session_status": rests}
        try:
            await self._stream(
                install_id, "chat_stopStream", channel=stream[0], ts=stream[1], **ends
            )
        except SlackRefused as refused:
            if refused.error not in _STREAM_IS_OVER:
                raise

    async def _stream(self, install_id: UUID, method: str, **arguments: Any) -> Any:
        try:
            return await self._call(install_id, method, **arguments)
        except SlackRefused as refused:
            self._remember(install_id, _STREAMS, refused)
            raise

    async def update(self, install_id: UUID, said: Said, ts: str) -> None:
        """Replaces a message of ours (docs.slack.dev/reference/methods/chat.update)."""
        await self._call(
            install_id,
            "chat_update",
            channel=said.channel_id,
            ts=ts,
            text=said.text,
            blocks=said.blocks,
        )

    async def delete(self, install_id: UUID, channel_id: str, ts: str) -> None:
        """Takes a message of ours away; one that is gone is as good.

        docs.slack.dev/reference/methods/chat.delete
        """
        try:
            await self._call(install_id, "chat_delete", channel=channel_id, ts=ts)
        except SlackRefused as refused:
            if refused.error != "message_not_found":
                raise

    async def streaming_since(
        self, install_id: UUID, thread: tuple[str, str], since: float
    ) -> list[str]:
        """Our messages in a thread, not older than that, that still stream or never ended well."""
        channel_id, thread_ts = thread
        known = await self._book.get(install_id)
        answer = await self._call(
            install_id,
            "conversations_replies",
            channel=channel_id,
            ts=thread_ts,
            oldest=f"{since - _CLOCK_SKEW_SECONDS:.6f}",
            limit=_PAGE,
        )
        return [
            str(m["ts"])
            for m in answer.get("messages") or []
            if known is not None
            and m.get("user") == known.row.bot_user_id
            and m.get("streaming_state") in ("in_progress", "errored")
        ]

    def _remember(self, install_id: UUID, method: str, refused: SlackRefused) -> None:
        """A method that an app or workspace does not have is not asked again for an hour."""
        if refused.error in _NO_AGENT_METHODS or refused.error.startswith("http_404"):
            self._without[install_id, method] = clock.monotonic() + _REMEMBERED_SECONDS

    # -------------------------------------------------------------- status and people

    async def set_status(
        self, install_id: UUID, channel_id: str, thread_ts: str, status: str, title: str | None
    ) -> None:
        """Shows what the agent does; nothing for an hour where the app or workspace has no agents.

        docs.slack.dev/reference/methods/agents.sessions.setStatus; `title` counts on creation only.
        """
        method = "agents.sessions.setStatus"
        if self._without.get((install_id, method), 0.0) > clock.monotonic():
            return
        self.circuits.check(install_id)
        try:
            await self._call(
                install_id,
                "agents_sessions_setStatus",
                channel_id=channel_id,
                thread_ts=thread_ts,
                status=status,
                **({"title": title} if title else {}),
            )
        except SlackRefused as refused:
            self._remember(install_id, method, refused)
            if (install_id, method) not in self._without:
                raise

    async def react(
        self, install_id: UUID, message: tuple[str, str], name: str, *, add: bool
    ) -> None:
        """Puts a reaction of ours to a message (channel, ts), or takes it away.

        docs.slack.dev/reference/methods/reactions.add and …/reactions.remove. What is so already,
        or whose message is gone, is as good.
        """
        channel, ts = message
        method = "reactions_add" if add else "reactions_remove"
        try:
            await self._call(install_id, method, channel=channel, timestamp=ts, name=name)
        except SlackRefused as refused:
            if refused.error not in _REACTION_IS_SO:
                raise

    async def user(self, install_id: UUID, user_id: str) -> Mapping[str, Any]:
        """Slack's record of a person (docs.slack.dev/reference/methods/users.info)."""
        self.circuits.check(install_id)
        answer = await self._call(install_id, "users_info", user=user_id)
        found: Mapping[str, Any] = answer["user"]
        return found

    # -------------------------------------------------------------- who a token is

    async def identify(self, token: str) -> BotIdentity:
        """Whose a bot token is, and with which scopes. Raises as every call does."""
        client = self._client_of(token)
        who = await call(client.auth_test)
        bot = await call(client.bots_info, bot=who["bot_id"])
        scopes = who.headers.get("x-oauth-scopes") or ""
        return BotIdentity(
            api_app_id=str(bot["bot"]["app_id"]),
            team_id=str(who["team_id"]),
            team=str(who.get("team") or who["team_id"]),
            enterprise_id=who.get("enterprise_id"),
            org_wide=bool(who.get("is_enterprise_install")),
            bot_user_id=str(who["user_id"]),
            bot_id=str(who["bot_id"]),
            scopes=[s.strip() for s in scopes.split(",") if s.strip()],
        )

    async def ask(self, install_id: UUID, method: str, **arguments: Any) -> Any:
        """One call of a method by the SDK's name, for the doors beside this one (bot.surfaces)."""
        return await self._call(install_id, method, **arguments)

    async def token(self, install_id: UUID) -> str:
        """The install's token, unless that was revoked before. Raises SlackRefused."""
        known = await self._book.get(install_id)
        if known is not None and self.circuits.is_revoked(install_id, known.token):
            known = await self._book.get(install_id, afresh=True)
        if known is None:
            raise SlackRefused("install_ended")
        if self.circuits.is_revoked(install_id, known.token):
            raise SlackRefused(TOKEN_REVOKED)
        return known.token

    async def _call(self, install_id: UUID, method: str, **arguments: Any) -> Any:
        token = await self.token(install_id)
        try:
            return await call(getattr(self._client_of(token), method), **arguments)
        except SlackRefused as refused:
            if refused.error == TOKEN_REVOKED:
                self.circuits.revoke(install_id, token)
            raise

    def _client_of(self, token: str) -> AsyncWebClient:
        return AsyncWebClient(
            token=token, base_url=self._api_url, session=self._session, retry_handlers=[]
        )


async def check_app_token(api_url: str, token: str) -> None:
    """Asks for a web socket and leaves it. Raises as every call does.

    docs.slack.dev/reference/methods/apps.connections.open
    """
    client = AsyncWebClient(base_url=api_url, timeout=int(CALL_SECONDS), retry_handlers=[])
    await call(client.apps_connections_open, app_token=token)


def _chunks(text: str, steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """docs.slack.dev/reference/methods/chat.appendStream: text and task cards of one call."""
    chunks: list[dict[str, Any]] = [
        {
            "type": "task_update",
            "id": step.id,
            "title": step.title[:_TASK_CHARACTERS] or "tool",
            "status": step.status,
        }
        for step in steps
    ]
    return [*chunks, {"type": "markdown_text", "text": text}] if text else chunks
