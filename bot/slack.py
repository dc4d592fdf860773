"""The one outbound door to Slack's Web API: clients, deadlines, and what an answer means.

SDK retries are off: its default re-sends a post whose answer was lost. Every failure is one of
three: Slack refused (asking again will not help), Slack asked us to wait, or nobody knows.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.install import InstallBook, KnownInstall
from router import clock

# Every Web API method that the bot calls; the manifest's scopes follow from it.
METHODS = frozenset(
    {
        "auth.test",
        "bots.info",
        "chat.postMessage",
        "chat.postEphemeral",
        "conversations.replies",
        "users.info",
        "agents.sessions.setStatus",
    }
)

CALL_SECONDS = 5.0
_METADATA_EVENT = "threadline_delivery"
_LOOK_BACK_SECONDS = 60
_PAGE = 200
# docs.slack.dev/reference/methods/chat.postMessage: "some aspect of the operation may have succeeded"
_UNCLEAR = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
_GONE = frozenset({"account_inactive", "invalid_auth", "not_authed", "token_revoked"})
_NO_AGENT_METHODS = frozenset(
    {"unknown_method", "feature_disabled", "not_agent_app", "method_not_supported_for_channel_type"}
)
_REMEMBERED_SECONDS = 3600.0


class SlackRefused(Exception):
    """Slack said no. `error` is its own name for the reason."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class SlackLimited(Exception):
    """Slack asked to wait; the call had no effect."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"ratelimited for {retry_after} s")
        self.retry_after = retry_after


class SlackAway(Exception):
    """Slack could not be reached; the call had no effect."""


class SlackUnclear(Exception):
    """The answer was lost, or says nothing: the call may have had its effect."""


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
        nowhere promised: a second belt, not the first.
        """
        client = await self._client(install_id)
        answer = await _call(
            client.chat_postMessage,
            channel=said.channel_id,
            thread_ts=said.thread_ts,
            text=said.text,
            blocks=said.blocks,
            metadata={
                "event_type": _METADATA_EVENT,
                "event_payload": {"delivery_id": str(delivery_id)},
            },
            client_msg_id=str(delivery_id),
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])

    async def find(
        self, install_id: UUID, said: Said, delivery_id: UUID, since: float
    ) -> str | None:
        """The ts of a delivery that is in its thread already, or None.

        docs.slack.dev/reference/methods/conversations.replies with include_all_metadata.
        """
        client = await self._client(install_id)
        cursor: str | None = None
        while True:
            answer = await _call(
                client.conversations_replies,
                channel=said.channel_id,
                ts=said.thread_ts,
                oldest=f"{since - _LOOK_BACK_SECONDS:.6f}",
                include_all_metadata=True,
                limit=_PAGE,
                cursor=cursor,
            )
            for message in answer.get("messages") or []:
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("delivery_id") == str(delivery_id):
                    return str(message["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return None

    async def tell(self, install_id: UUID, said: Said, user_id: str) -> None:
        """Says something that only one person sees.

        docs.slack.dev/reference/methods/chat.postEphemeral: never read back, so at most once.
        """
        client = await self._client(install_id)
        await _call(
            client.chat_postEphemeral,
            channel=said.channel_id,
            thread_ts=said.thread_ts,
            user=user_id,
            text=said.text,
            blocks=said.blocks,
        )

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
        client = await self._client(install_id)
        try:
            await _call(
                client.agents_sessions_setStatus,
                channel_id=channel_id,
                thread_ts=thread_ts,
                status=status,
                **({"title": title} if title else {}),
            )
        except SlackRefused as refused:
            if refused.error not in _NO_AGENT_METHODS and not refused.error.startswith("http_404"):
                raise
            self._without[install_id, method] = clock.monotonic() + _REMEMBERED_SECONDS

    async def user(self, install_id: UUID, user_id: str) -> Mapping[str, Any]:
        """Slack's record of a person (docs.slack.dev/reference/methods/users.info)."""
        client = await self._client(install_id)
        answer = await _call(client.users_info, user=user_id)
        found: Mapping[str, Any] = answer["user"]
        return found

    # -------------------------------------------------------------- who a token is

    async def identify(self, token: str) -> BotIdentity:
        """Whose a bot token is, and with which scopes. Raises as every call does."""
        client = self._client_of(token)
        who = await _call(client.auth_test)
        bot = await _call(client.bots_info, bot=who["bot_id"])
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

    async def _client(self, install_id: UUID) -> AsyncWebClient:
        known: KnownInstall | None = await self._book.get(install_id)
        if known is None:
            raise SlackRefused("install_ended")
        return self._client_of(known.token)

    def _client_of(self, token: str) -> AsyncWebClient:
        return AsyncWebClient(
            token=token, base_url=self._api_url, session=self._session, retry_handlers=[]
        )


async def _call(method: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
    try:
        return await method(**arguments)
    except SlackApiError as error:
        raise _meaning(error) from error
    except aiohttp.ClientConnectorError as error:
        raise SlackAway(type(error).__name__) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise SlackUnclear(type(error).__name__) from error


def _meaning(error: SlackApiError) -> SlackRefused | SlackLimited | SlackUnclear:
    response = error.response
    status = response.status_code
    if status == 429:  # noqa: PLR2004
        return SlackLimited(float(response.headers.get("Retry-After") or 1))
    data = response.data if isinstance(response.data, dict) else {}
    name = str(data.get("error") or f"http_{status}")
    if name == "ratelimited":
        return SlackLimited(float(response.headers.get("Retry-After") or 30))
    if status >= 500 or name in _UNCLEAR:  # noqa: PLR2004
        return SlackUnclear(name)
    return SlackRefused(name)


def says_install_is_over(error: str) -> bool:
    """True for refusals that hold for the whole install: its token is not valid any more."""
    return error in _GONE
