"""How a local workspace may be set up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from bot.local import seed
from bot.local.chunks import MAX_STREAM_BYTES
from bot.local.deliver import RETRY_SECONDS
from bot.local.events import SUBSCRIPTIONS

SCOPES = frozenset(
    [
        "app_mentions:read",
        "channels:history",
        "channels:read",
        "chat:write",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "im:write",
        "mpim:history",
        "mpim:read",
        "mpim:write",
        "users:read",
    ]
)


class Options(TypedDict, total=False):
    """How a workspace may be set up; see `Settings` for what each means."""

    request_url: str | None
    signing_secret: str | None
    limits: bool
    clock: Literal["real", "virtual"]
    retry_delays: Sequence[float]
    delayed_events: bool
    team_id: str
    scopes: frozenset[str]
    subscriptions: frozenset[str]
    honour_client_msg_id: bool
    unlisted: bool
    socket_mode: bool
    foreign_recipients: bool
    stream_bytes: int
    home_tab: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """`unlisted`: read limits of a distributed app outside the Marketplace.

    `honour_client_msg_id`: a repeated post is swallowed; Slack promises neither that nor the
    opposite. `delayed_events`: hourly retries for a day after the three quick ones.
    `socket_mode`: events go to web sockets instead of the request URL. `foreign_recipients`: a
    Slack Connect stranger may receive a stream; otherwise that is `user_not_found`, as apps have
    met it. `stream_bytes`: what one streamed message holds in all (`bot.local.chunks`).
    `home_tab`: whether the app has one to publish to.
    """

    request_url: str | None = None
    signing_secret: str | None = None
    limits: bool = True
    clock: Literal["real", "virtual"] = "real"
    retry_delays: Sequence[float] = RETRY_SECONDS
    delayed_events: bool = False
    team_id: str = seed.TEAM_ID
    scopes: frozenset[str] = SCOPES
    subscriptions: frozenset[str] = SUBSCRIPTIONS
    honour_client_msg_id: bool = False
    unlisted: bool = False
    socket_mode: bool = False
    foreign_recipients: bool = False
    stream_bytes: int = MAX_STREAM_BYTES
    home_tab: bool = True
