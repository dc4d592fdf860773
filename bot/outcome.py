"""What an answer of Slack's Web API means.

Every failure is one of four: Slack refused (asking again will not help), Slack asked us to wait,
Slack was not reached, or nobody knows.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError

# docs.slack.dev/reference/methods/chat.postMessage: "some aspect of the operation may have succeeded",
# or the workspace, or the channel, is away while it moves into an organisation.
_UNCLEAR = frozenset(
    {
        "external_channel_migrating",
        "fatal_error",
        "internal_error",
        "org_login_required",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
        "update_failed",
    }
)
# The second is of the app, the third of the whole workspace (…/methods/chat.postMessage).
_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
TOKEN_REVOKED = "token_revoked"  # noqa: S105  # Slack's word, no secret
_GONE = frozenset(
    {"account_inactive", "invalid_auth", "not_authed", "token_expired", TOKEN_REVOKED}
)
_LIMITED_SECONDS = 30.0
_TOO_MANY = 429
_THEIR_FAULT = 500


class SlackRefused(Exception):
    """Slack said no. `error` is its own name for the reason."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class SlackLimited(Exception):
    """Slack asked to wait, or would; the call had no effect. `method`: what it counts for."""

    def __init__(self, retry_after: float, method: str = "") -> None:
        super().__init__(f"ratelimited for {retry_after} s")
        self.retry_after = retry_after
        self.method = method


class SlackAway(Exception):
    """Slack could not be reached; the call had no effect."""


class SlackUnclear(Exception):
    """The answer was lost, or says nothing: the call may have had its effect."""


TROUBLE: tuple[type[Exception], ...] = (SlackRefused, SlackLimited, SlackAway, SlackUnclear)
"""All that a call raises."""


async def call(method: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
    """Makes one call; raises one of TROUBLE for everything that is not an answer."""
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
    method = response.api_url.rpartition("/")[2]
    if status == _TOO_MANY:
        return SlackLimited(float(response.headers.get("Retry-After") or 1), method)
    data = response.data if isinstance(response.data, dict) else {}
    name = str(data.get("error") or f"http_{status}")
    if name in _LIMITED:
        return SlackLimited(float(response.headers.get("Retry-After") or _LIMITED_SECONDS), method)
    if status >= _THEIR_FAULT or name in _UNCLEAR:
        return SlackUnclear(name)
    return SlackRefused(name)


def says_install_is_over(error: str) -> bool:
    """True for refusals that hold for the whole install: its token is not valid any more."""
    return error in _GONE
