"""The events that a change in the workspace causes, each in its full envelope.

docs.slack.dev/apis/events-api for the envelope; the rules for shared channels, where the outer
team is not the tenant, are those of recorded payloads.
"""

import base64
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from bot.local import seed, text
from bot.local.model import Channel, Json, Message, Status
from bot.local.shapes import message_json
from bot.local.state import State

SUBSCRIPTIONS = frozenset(
    [
        "app_mention",
        "app_uninstalled",
        "message.channels",
        "message.groups",
        "message.im",
        "message.mpim",
        "tokens_revoked",
    ]
)
_SUBSCRIPTION = {
    "channel": "message.channels",
    "group": "message.groups",
    "im": "message.im",
    "mpim": "message.mpim",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The app's installation in this workspace."""

    team_id: str
    api_app_id: str
    bot_user_id: str
    bot_id: str
    verification_token: str


class Events:
    """Builds envelopes; sends nothing. A channel without our bot yields none."""

    def __init__(self, state: State, who: Identity, subscriptions: frozenset[str]) -> None:
        self._state = state
        self._who = who
        self._subscriptions = subscriptions

    def posted(self, message: Message) -> list[Json]:
        """A new message: its `message` event and, if it mentions us, its `app_mention` twin."""
        shown = message_json(self._state, message) | self._strangers(message)
        if message.subtype == "thread_broadcast":
            root = self._state.message(message.channel, message.root)
            shown["root"] = message_json(self._state, root) if root else {}
        return self._both(message, shown, message.ts)

    def changed(self, before: Json, message: Message, *, mention: bool) -> list[Json]:
        """An edit: `message_changed` and, with `mention`, `app_mention` once more."""
        ts = self._state.next_ts()
        shown = message_json(self._state, message)
        nested = {"message": shown | self._strangers(message), "previous_message": before}
        envelopes = self._hidden(message, ts, "message_changed", nested)
        if mention:
            envelopes += self._mention(message, shown, ts)
        return envelopes

    def deleted(self, before: Json, message: Message) -> list[Json]:
        """A deletion: `message_deleted` with what stood there."""
        ts = self._state.next_ts()
        nested = {"deleted_ts": message.ts, "previous_message": before}
        return self._hidden(message, ts, "message_deleted", nested)

    def ended(self, *kinds: str) -> list[Json]:
        """The end of the installation: `tokens_revoked`, `app_uninstalled`.

        Nothing is authorised any more, so that only the outer ids say whose it was.
        """
        tokens = {"tokens_revoked": {"tokens": {"oauth": [], "bot": [self._who.bot_user_id]}}}
        envelopes = []
        for kind in filter(self._subscriptions.__contains__, kinds):
            event = {"type": kind, **tokens.get(kind, {}), "event_ts": self._state.next_ts()}
            envelope = self.envelope(event, self._who.team_id, shared=False)
            del envelope["authorizations"]
            envelopes.append(envelope)
        return envelopes

    def reacted(self, kind: str, message: Message, user: str, name: str) -> list[Json]:
        """A reaction that came or went: `reaction_added`, `reaction_removed`."""
        item = {"type": "message", "channel": message.channel, "ts": message.ts}
        author = {"item_user": message.user} if message.user else {}
        event: Json = {"type": kind, "user": user, "reaction": name, "item": item, **author}
        return self._about(message.channel, event)

    def joined(self, channel: Channel, inviter: str) -> list[Json]:
        """Our bot was invited: `member_joined_channel`."""
        letter = "C" if channel.kind == "channel" else "G"
        event: Json = {"type": "member_joined_channel", "user": self._who.bot_user_id}
        event |= {"channel": channel.id, "channel_type": letter, "team": self._who.team_id}
        return self._about(channel.id, event | {"inviter": inviter})

    def stopped(self, channel: str, thread_ts: str, user: str, streams: list[str]) -> list[Json]:
        """The stop button: `agent_session_stopped`; the team is on the envelope only."""
        event: Json = {"type": "agent_session_stopped", "channel": channel, "user": user}
        event |= {"thread_ts": thread_ts, "streaming_message_ts": streams}
        return self._about(channel, event)

    def renamed(self, before: Status | None, after: Status, user: str) -> list[Json]:
        """A person's new title: `agent_session_title_changed`; without an old one it names none."""
        old = {"previous_title": before.title} if before is not None and before.title else {}
        event: Json = {"type": "agent_session_title_changed", "channel": after.channel}
        event |= {"thread_ts": after.thread_ts, "title": after.title, "user": user, **old}
        return self._about(after.channel, event | {"team_id": self._who.team_id})

    def home_opened(self, channel: str, user: str, tab: str, view: Json | None) -> list[Json]:
        """A person looks at our app: `app_home_opened`, with the home tab's view if there is one."""
        event: Json = {"type": "app_home_opened", "user": user, "channel": channel, "tab": tab}
        return self._about(channel, event | ({"view": view} if view is not None else {}))

    def snapshot(self, message: Message) -> Json:
        """What `changed` and `deleted` want to be given as it was before."""
        return message_json(self._state, message)

    def _both(self, message: Message, shown: Json, ts: str) -> list[Json]:
        channel = self._state.channels[message.channel]
        event = shown | {"channel": channel.id, "event_ts": ts, "channel_type": channel.kind}
        return [
            *self._wrapped(channel, event, self._outer_team(message, channel)),
            *self._mention(message, shown, ts),
        ]

    def _mention(self, message: Message, shown: Json, ts: str) -> list[Json]:
        channel = self._state.channels[message.channel]
        ours = message.bot_id == self._who.bot_id
        if channel.kind == "im" or ours or not text.mentions(message.text, self._who.bot_user_id):
            return []
        event = shown | self._strangers(message)
        for name in ("reply_count", "reply_users_count", "latest_reply", "reply_users", "root"):
            event.pop(name, None)
        # In a shared channel the mention names the installed team, the message the author's.
        event |= {"type": "app_mention", "team": self._who.team_id}
        event |= {"channel": channel.id, "event_ts": ts}
        return self._wrapped(channel, event, self._who.team_id)

    def _hidden(self, message: Message, ts: str, subtype: str, nested: Json) -> list[Json]:
        channel = self._state.channels[message.channel]
        event = {"type": "message", "subtype": subtype, **nested, "channel": channel.id}
        event |= {"hidden": True, "ts": ts, "event_ts": ts, "channel_type": channel.kind}
        return self._wrapped(channel, event, self._outer_team(message, channel))

    def _strangers(self, message: Message) -> Json:
        if message.team == self._who.team_id:
            return {}
        team = message.team
        return {"user_team": team, "source_team": team, "user_profile": {"team": team}}

    def _outer_team(self, message: Message, channel: Channel) -> str:
        ours = message.bot_id == self._who.bot_id
        if ours and channel.shared_with:
            return channel.shared_with[0]
        return message.team

    def _about(self, channel_id: str, event: Json) -> list[Json]:
        event["event_ts"] = self._state.next_ts()
        return self._wrapped(self._state.channels[channel_id], event, self._who.team_id)

    def _wrapped(self, channel: Channel, event: Json, outer_team: str) -> list[Json]:
        kind = event["type"]
        wanted = _SUBSCRIPTION[channel.kind] if kind == "message" else kind
        if self._who.bot_user_id not in channel.members or wanted not in self._subscriptions:
            return []
        return [self.envelope(event, outer_team, shared=bool(channel.shared_with))]

    def envelope(self, event: Json, outer_team: str, *, shared: bool) -> Json:
        """The event with everything that Slack puts around it, under a new event_id."""
        who = self._who
        context = {"et": event["type"], "tid": who.team_id, "aid": who.api_app_id}
        return {
            "token": who.verification_token,
            "team_id": outer_team,
            "context_team_id": who.team_id,
            "context_enterprise_id": None,
            "api_app_id": who.api_app_id,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{secrets.token_hex(6).upper()}",
            "event_time": int(time.time()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": who.team_id,
                    "user_id": who.bot_user_id,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": shared,
            "event_context": _opaque(context | {"cid": _channel_id(event)}),
        }


def _channel_id(event: Json) -> str:
    channel: str = event.get("channel") or event.get("item", {}).get("channel", "")
    return channel


def _opaque(value: Any) -> str:
    return "4-" + base64.b64encode(json.dumps(value).encode()).decode()


def identity(team_id: str, verification_token: str) -> Identity:
    """The installation of the seeded app in that workspace."""
    return Identity(
        team_id, seed.APP_ID, seed.BOT_USER_ID, seed.BOT_ID, verification_token=verification_token
    )
