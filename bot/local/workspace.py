"""The workspace itself: its state, and every change to it with the events that follow."""

import secrets
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from bot.local import seed
from bot.local.clock import Clock
from bot.local.deliver import Courier
from bot.local.events import Events, identity
from bot.local.faults import Fault, Faults
from bot.local.files import Files
from bot.local.interactive import pressable
from bot.local.ledger import Ledger
from bot.local.limits import Limits
from bot.local.model import Call, Channel, Json, Message, SlackError, Status, Twins, User, UserKind
from bot.local.posting import Poster
from bot.local.sessions import Sessions
from bot.local.settings import SCOPES, Options, Settings
from bot.local.sockets import Sockets
from bot.local.state import State
from bot.local.streams import Streams
from bot.local.surfaces import Screen, Surfaces

__all__ = ["SCOPES", "Options", "Settings", "Workspace"]

_KEPT = 20_000


class Workspace:
    """One workspace with our app installed. Its methods return once the state is stored.

    `url` is where the server that plays it can be reached.
    """

    def __init__(self, settings: Settings, data: Path | None) -> None:
        self.settings = settings
        self.state = State(data)
        self.clock = Clock(virtual=settings.clock == "virtual")
        self.faults = Faults()
        self.faults.changed = partial(self.state.changes.mark, "faults")
        self.limits = Limits(self.clock.now, unlisted=settings.unlisted)
        self.calls: deque[Call] = deque(maxlen=_KEPT)
        self._numbers = count(1)
        self.unknown_methods: Counter[str] = Counter()
        self.bot_token = self.state.fact("bot_token", f"xoxb-local-{secrets.token_hex(16)}")
        app_token = f"xapp-1-{seed.APP_ID}-{secrets.randbelow(10**13)}-{secrets.token_hex(32)}"
        self.app_token = self.state.fact("app_token", app_token)
        self.token_error: str | None = self.state.fact("token_error", "") or None
        self.agent_features = True
        self.who = identity(settings.team_id, self.state.fact("token", secrets.token_hex(12)))
        self.signing_secret = self._secret(settings.signing_secret)
        self.events = Events(self.state, self.who, settings.subscriptions)
        self.ledger = Ledger()
        self.poster = Poster(self.signing_secret)
        self.sockets = Sockets(self.who.api_app_id, enabled=settings.socket_mode)
        self.courier = Courier(
            self.state,
            self.clock,
            self.poster,
            self.sockets,
            settings.retry_delays,
            delayed_events=settings.delayed_events,
        )
        self.sessions = Sessions(self.state, self.clock)
        self.surfaces = Surfaces(self.state, self.clock)
        self.files = Files(self.state)
        self.url = ""
        self.streams = Streams(self.state, self.clock, self._changed)
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
        for group in seed.user_groups():
            self.surfaces.groups.put(group)

    def reset(self) -> None:
        """Back to the first start, with the same token and secret."""
        self.courier.forget()
        self.faults.clear()
        self.calls.clear()
        self.unknown_methods.clear()
        self.ledger.clear()
        self.limits = Limits(self.clock.now, unlisted=self.settings.unlisted)
        self.fail_tokens(None)
        self.agent_features = True
        self.state.clear()
        self.surfaces.clear()
        self.files.tickets.clear()
        self.streams.restore()
        self._seed()
        self.state.changes.restart()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, with what comes due."""
        self.clock.advance(seconds)
        self.streams.expire()

    def called(self, call: Call) -> None:
        """Record a Web API call, with its number and what its tier has left."""
        left = self.limits.left(call.method) if self.settings.limits else None
        self.calls.append(replace(call, left=left, seq=next(self._numbers)))
        self.state.changes.mark("calls")

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

    def joined(self, name: str) -> Channel:
        """A channel that our bot is in; SlackError as Slack tells an app that is not."""
        channel = self.channel(name)
        if self.who.bot_user_id not in channel.members:
            # A private conversation that one is not in does not exist for one.
            hidden = channel.kind != "channel"
            raise SlackError("channel_not_found" if hidden else "not_in_channel")
        return channel

    def need_scope(self, scope: str) -> None:
        """Refuse (`missing_scope`) when our token does not carry that scope."""
        granted = self.settings.scopes
        if scope not in granted:
            raise SlackError("missing_scope", needed=scope, provided=",".join(sorted(granted)))

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

    def add_user(self, name: str, team_id: str | None = None, kind: UserKind = "member") -> User:
        """One more account, a Slack Connect stranger when `team_id` is another team."""
        home = self.who.team_id
        kind = kind if team_id in (None, home) else "connect"
        user = User(f"U0X{secrets.token_hex(4).upper()}", name, name, team_id or home, kind)
        self.state.put_user(user)
        return user

    def deactivate(self, user: User, *, deleted: bool = True) -> None:
        """Deactivate an account, which leaves its channels and groups; or bring it back, to none."""
        self.state.put_user(replace(user, deleted=deleted))
        if not deleted:
            return
        for channel in list(self.state.channels.values()):
            if user.id in channel.members and channel.kind != "im":
                left = tuple(member for member in channel.members if member != user.id)
                self.state.put_channel(replace(channel, members=left))
        for group in self.surfaces.groups:
            left_users = [member for member in group.users if member != user.id]
            self.surfaces.groups.put(replace(group, users=left_users))

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
        if member and self.who.bot_user_id not in channel.members:
            people = [one for one in others if self.state.users[one].bot_id is None]
            inviter = next(iter(people), "")
            self.emit(self.events.joined(self.channel(name), inviter))

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
            case "expire_streams":
                self.streams.expire(everything=True)
            case "drop_sockets":
                self.sockets.drop()
            case _:
                self.faults.add(fault)

    def fail_tokens(self, error: str | None) -> None:
        """From now on every call with our token is refused with `error`; None: none is."""
        self.token_error = error
        self.state.set_fact("token_error", error or "")

    def _end(self, error: str, *events: str) -> None:
        self.fail_tokens(error)
        self.publish(self.ledger.keep(self.events.ended(*events)), "together")

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
        return self.ledger.keep(self.events.posted(message))

    def change(self, before: Message, after: Message, *, mention: bool = False) -> list[Json]:
        """Store an edit; returns its events, not yet sent."""
        previous = self.events.snapshot(before)
        self.state.put(after)
        if before.blocks != after.blocks and pressable(before.blocks):
            self.surfaces.screens.put(Screen(f"{before.channel}/{before.ts}", before.blocks))
        return self.ledger.keep(self.events.changed(previous, after, mention=mention))

    def remove(self, message: Message) -> list[Json]:
        """Delete a message; returns its events, not yet sent."""
        previous = self.events.snapshot(message)
        self.state.remove(message)
        return self.ledger.keep(self.events.deleted(previous, message))

    def react(self, message: Message, reactions: list[Json], event: tuple[str, str, str]) -> None:
        """Store a message's reactions, and send the event of that kind, user and name."""
        after = replace(message, reactions=reactions)
        self.state.put(after)
        kind, user, name = event
        self.emit(self.events.reacted(kind, after, user, name))

    def stop(self, channel: Channel, thread_ts: str, user: User) -> list[str]:
        """The stop button of a thread: its streams end, and the app is told; returns their ts."""
        self.streams.expire()
        stopped = self.streams.stop(channel.id, thread_ts, user.id)
        self.emit(self.events.stopped(channel.id, thread_ts, user.id, stopped))
        return stopped

    def rename(self, channel: Channel, thread_ts: str, title: str, user: User) -> Status:
        """A person gives the session of a thread another title, and the app is told."""
        before = self.sessions.known(channel.id, thread_ts)
        after = self.sessions.rename(channel.id, thread_ts, title)
        self.emit(self.events.renamed(before, after, user.id))
        return after

    def _changed(self, before: Message, after: Message) -> None:
        self.publish(self.change(before, after))

    # ------------------------------------------------------------------- events

    def emit(self, envelopes: list[Json]) -> None:
        """Remember events and start delivering them."""
        self.publish(self.ledger.keep(envelopes))

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
