"""The workspace itself: its state, and every change to it with the events that follow."""

import secrets
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict

from bot.local import seed
from bot.local.clock import Clock
from bot.local.deliver import RETRY_SECONDS, Courier, message_ts
from bot.local.events import SUBSCRIPTIONS, Events, identity
from bot.local.faults import Fault, Faults
from bot.local.limits import Limits
from bot.local.model import Call, Channel, Json, Message, SlackError, Twins, User
from bot.local.state import State

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
_KEPT = 20_000


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


@dataclass(frozen=True, slots=True)
class Settings:
    """`unlisted`: read limits of a distributed app outside the Marketplace.

    `honour_client_msg_id`: a repeated post is swallowed; Slack promises neither that nor the
    opposite. `delayed_events`: hourly retries for a day after the three quick ones.
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


class Workspace:
    """One workspace with our app installed. Its methods return once the state is stored."""

    def __init__(self, settings: Settings, data: Path | None) -> None:
        self.settings = settings
        self.state = State(data)
        self.clock = Clock(virtual=settings.clock == "virtual")
        self.faults = Faults()
        self.limits = Limits(self.clock.now, unlisted=settings.unlisted)
        self.calls: deque[Call] = deque(maxlen=_KEPT)
        self.unknown_methods: Counter[str] = Counter()
        self.bot_token = self.state.fact("bot_token", f"xoxb-local-{secrets.token_hex(16)}")
        self.token_error: str | None = self.state.fact("token_error", "") or None
        self.agent_features = True
        self.who = identity(settings.team_id, self.state.fact("token", secrets.token_hex(12)))
        self.signing_secret = self._secret(settings.signing_secret)
        self.events = Events(self.state, self.who, settings.subscriptions)
        self.courier = Courier(
            self.state,
            self.clock,
            self.signing_secret,
            settings.retry_delays,
            delayed_events=settings.delayed_events,
        )
        self._envelopes: dict[str, Json] = {}
        self._events_of: dict[str, list[str]] = {}
        if not self.state.users:
            self._seed()

    def _secret(self, wanted: str | None) -> str:
        if wanted is not None:
            self.state.set_fact("signing_secret", wanted)
        return self.state.fact("signing_secret", secrets.token_hex(16))

    def _seed(self) -> None:
        for user in seed.users(self.settings.team_id):
            self.state.put_user(user)
        for channel in seed.channels():
            self.state.put_channel(channel)

    def reset(self) -> None:
        """Back to the first start, with the same token and secret."""
        self.courier.forget()
        self.faults.clear()
        self.calls.clear()
        self.unknown_methods.clear()
        self._envelopes.clear()
        self._events_of.clear()
        self.limits = Limits(self.clock.now, unlisted=self.settings.unlisted)
        self.fail_tokens(None)
        self.agent_features = True
        self.state.clear()
        self._seed()

    # ------------------------------------------------------- users and channels

    def user(self, name: str) -> User:
        """The user of that name or id; raises SlackError `user_not_found`."""
        user = self.state.users.get(self.state.user_ids.get(name, name))
        if user is None:
            raise SlackError("user_not_found")
        return user

    def channel(self, name: str) -> Channel:
        """The channel of that name (with or without `#`) or id; raises `channel_not_found`."""
        name = name.removeprefix("#")
        channel = self.state.channels.get(self.state.channel_ids.get(name, name))
        if channel is None:
            raise SlackError("channel_not_found")
        return channel

    def dm(self, user: User) -> Channel:
        """The direct message between our bot and that user, opened if need be."""
        known = self.state.channels.get(seed.dm_id(user.id))
        if known is not None:
            return known
        shared = () if user.team_id == self.who.team_id else (user.team_id,)
        members = (self.who.bot_user_id, user.id)
        channel = Channel(seed.dm_id(user.id), "", "im", members, shared)
        self.state.put_channel(channel)
        return channel

    def add_user(self, name: str, team_id: str | None = None) -> User:
        """One more member, or a Slack Connect stranger when `team_id` is another team."""
        home = self.who.team_id
        kind: Literal["member", "connect"] = "member" if team_id in (None, home) else "connect"
        user = User(f"U0X{secrets.token_hex(4).upper()}", name, name, team_id or home, kind)
        self.state.put_user(user)
        return user

    def add_channel(self, name: str, members: Sequence[User]) -> Channel:
        """One more public channel with our bot in it."""
        ids = (self.who.bot_user_id, *(user.id for user in members))
        shared = {user.team_id for user in members} - {self.who.team_id}
        channel = Channel(
            f"C0X{secrets.token_hex(4).upper()}", name, "channel", ids, tuple(sorted(shared))
        )
        self.state.put_channel(channel)
        return channel

    def add_mpim(self, members: Sequence[User]) -> Channel:
        """The group message of our bot and these users, opened if need be."""
        ids = (self.who.bot_user_id, *sorted(user.id for user in members))
        for channel in self.state.channels.values():
            if channel.kind == "mpim" and set(channel.members) == set(ids):
                return channel
        names = "--".join(user.name for user in members)
        channel = Channel(f"G0X{secrets.token_hex(4).upper()}", f"mpdm-{names}-1", "mpim", ids)
        self.state.put_channel(channel)
        return channel

    def set_archived(self, name: str, *, archived: bool) -> None:
        """Archive a channel, or bring it back."""
        self.state.put_channel(replace(self.channel(name), archived=archived))

    def set_bot_member(self, name: str, *, member: bool) -> None:
        """Invite our bot to a channel, or remove it."""
        channel = self.channel(name)
        others = tuple(one for one in channel.members if one != self.who.bot_user_id)
        ours = (self.who.bot_user_id,) if member else ()
        self.state.put_channel(replace(channel, members=(*ours, *others)))

    def fault(self, fault: Fault) -> None:
        """Misbehave as ordered; a fault of the workspace itself takes effect at once."""
        match fault.kind:
            case "revoke_token":
                self._end("token_revoked", "tokens_revoked")
            case "uninstall_app":
                self._end("account_inactive", "app_uninstalled", "tokens_revoked")
            case "deactivate_account":
                self.fail_tokens("account_inactive")
            case "restore_token":
                self.fail_tokens(None)
            case "archive_channel" | "unarchive_channel":
                self.set_archived(fault.channel or "", archived=fault.kind == "archive_channel")
            case "kick_bot" | "invite_bot":
                self.set_bot_member(fault.channel or "", member=fault.kind == "invite_bot")
            case "disable_agent_features" | "enable_agent_features":
                self.agent_features = fault.kind == "enable_agent_features"
            case _:
                self.faults.add(fault)

    def fail_tokens(self, error: str | None) -> None:
        """From now on every call with our token is refused with `error`; None: none is."""
        self.token_error = error
        self.state.set_fact("token_error", error or "")

    def _end(self, error: str, *events: str) -> None:
        self.fail_tokens(error)
        self.publish(self._keep(self.events.ended(*events)), "together")

    # ----------------------------------------------------------------- messages

    def message(self, channel: Channel, ts: str) -> Message:
        """The message of that ts; raises SlackError `message_not_found`."""
        message = self.state.message(channel.id, ts)
        if message is None or message.subtype == "tombstone":
            raise SlackError("message_not_found")
        return message

    def thread_root(self, channel: Channel, ts: str) -> Message:
        """The message that a reply to `ts` goes under; raises SlackError when there is none."""
        root = self.state.message(channel.id, ts)
        if root is None:
            raise SlackError("thread_not_found")
        if root.thread_ts is not None:
            raise SlackError("cannot_reply_to_message")
        return root

    def post(self, message: Message) -> list[Json]:
        """Store a new message; returns its events, not yet sent."""
        self.state.put(message)
        return self._keep(self.events.posted(message))

    def change(self, before: Message, after: Message, *, mention: bool = False) -> list[Json]:
        """Store an edit; returns its events, not yet sent."""
        previous = self.events.snapshot(before)
        self.state.put(after)
        return self._keep(self.events.changed(previous, after, mention=mention))

    def remove(self, message: Message) -> list[Json]:
        """Delete a message; returns its events, not yet sent."""
        previous = self.events.snapshot(message)
        self.state.remove(message)
        return self._keep(self.events.deleted(previous, message))

    # ------------------------------------------------------------------- events

    def publish(
        self, envelopes: list[Json], twins: Twins = "message_first", duplicate: int = 0
    ) -> None:
        """Start delivering events, as the fault switches have it."""
        if not envelopes:
            return
        order = -1 if twins == "mention_first" else 1
        late = self.faults.take(frozenset(["reorder"]))
        twice = self.faults.take(frozenset(["duplicate"]))
        hold = late.seconds if late else 0.0
        self.courier.send(envelopes[::order], together=twins == "together", hold=hold)
        for envelope in envelopes:
            self.courier.again(envelope, duplicate + (twice is not None))

    def _keep(self, envelopes: list[Json]) -> list[Json]:
        for envelope in envelopes:
            self._envelopes[envelope["event_id"]] = envelope
            self._events_of.setdefault(message_ts(envelope) or "", []).append(envelope["event_id"])
        while len(self._envelopes) > _KEPT:
            self._forget(next(iter(self._envelopes)))
        return envelopes

    def _forget(self, event_id: str) -> None:
        ts = message_ts(self._envelopes.pop(event_id)) or ""
        self._events_of[ts].remove(event_id)
        if not self._events_of[ts]:
            del self._events_of[ts]

    def envelopes(self, ts_or_event_id: str) -> list[Json]:
        """The events about a message, in the order they arose, or the one event of that id."""
        if ts_or_event_id in self._envelopes:
            return [self._envelopes[ts_or_event_id]]
        return [self._envelopes[one] for one in self._events_of.get(ts_or_event_id, ())]
