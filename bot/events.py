"""Slack payload in, meaning out: pure, and quick for what does not concern us.

Slack tells one gesture by several events and many gestures by one event type; the rules here follow
docs.slack.dev/reference/events/message, …/app_mention and docs.slack.dev/apis/events-api.
"""

from collections.abc import Callable
from typing import get_args

from bot.incoming import (
    ChannelType,
    HomeOpened,
    Ignored,
    IgnoredReason,
    InstallChange,
    InstallIdentity,
    SlackDelete,
    SlackEvent,
    SlackFile,
    SlackGesture,
    SlackJoined,
    SlackMessage,
    SlackRename,
    SlackStop,
    Stranger,
    Tenant,
    Unreadable,
)
from bot.mrkdwn import clean, decode, mentions, opens_with_mention
from bot.payload import Json, object_of, part, tenant_of, text_of, timestamp

__all__ = [
    "HANDLED_EVENTS",
    "IGNORED_REASONS",
    "HomeOpened",
    "Ignored",
    "IgnoredReason",
    "InstallChange",
    "InstallIdentity",
    "SlackDelete",
    "SlackEvent",
    "SlackFile",
    "SlackGesture",
    "SlackJoined",
    "SlackMessage",
    "SlackRename",
    "SlackStop",
    "Stranger",
    "Tenant",
    "Unreadable",
    "parse",
    "tenant_of",
]

IGNORED_REASONS: frozenset[IgnoredReason] = frozenset(get_args(IgnoredReason))

_Rule = Callable[[Json, Json, InstallIdentity], SlackEvent | Ignored]
_CHANNEL_TYPES: dict[object, ChannelType] = {
    "im": "im",
    "app_home": "im",
    "mpim": "mpim",
    "channel": "channel",
    "group": "group",
}

# One object each: top-level talk of a busy channel is ignored thousands of times a minute.
_NOT_ADDRESSED = Ignored("not_addressed")
_ADDRESSED_ELSEWHERE = Ignored("addressed_elsewhere")
_BOT_MESSAGE = Ignored("bot_message")
_EXTERNAL_USER = Ignored("external_user")
_HIDDEN = Ignored("hidden")
_OWN_MESSAGE = Ignored("own_message")


# ------------------------------------------------------------------------------------- what is said


def parse(payload: object, install: InstallIdentity) -> SlackEvent | Ignored:
    """What a payload of this install means; whatever the envelope leaves out is the install's.

    Raises Unreadable where it is no event and no other payload that Slack is known to send.
    """
    body = object_of(payload)
    event = body.get("event")
    if body.get("type", "event_callback") != "event_callback" or event is None:
        return _not_an_event(body)
    if not isinstance(event, dict):
        raise Unreadable("an event that is no object")
    name = event.get("type")
    if not isinstance(name, str):
        raise Unreadable("an event without a type")
    rule = _RULES.get(name)
    if rule is None:
        return Ignored("event_type_unused", clean(name))
    return rule(body, event, install)


def _not_an_event(body: Json) -> Ignored:
    kind = "command" if "command" in body else body.get("type")
    if kind == "url_verification":
        return Ignored("url_verification")
    if kind == "app_rate_limited":
        return Ignored("rate_limited")
    if isinstance(kind, str) and kind in _INTERACTIONS:
        return Ignored("interaction", kind)
    raise Unreadable(f"no event, and no other payload of a known type: {str(kind)[:40]!r}")


def _message(body: Json, event: Json, install: InstallIdentity) -> SlackEvent | Ignored:
    subtype = event.get("subtype")
    if subtype is None:
        return _said(body, event, install)
    rule = _SUBTYPES.get(subtype) if isinstance(subtype, str) else None
    if rule is None:
        return Ignored("noise_subtype", clean(str(subtype))[:80])
    return rule(body, event, install)


def _said(body: Json, event: Json, install: InstallIdentity) -> SlackEvent | Ignored:
    if (machine := _machine(event, install)) is not None:
        return machine
    if event.get("hidden"):
        return _HIDDEN
    return _judge(body, event, event, install)


def _bot_message(_body: Json, event: Json, install: InstallIdentity) -> Ignored:
    return _machine(event, install) or _BOT_MESSAGE


def _message_replied(_body: Json, _event: Json, _install: InstallIdentity) -> Ignored:
    return Ignored("message_replied")


def _changed(body: Json, event: Json, install: InstallIdentity) -> SlackEvent | Ignored:
    """Only a person's change of words is an edit; an unfurl comes in the same clothes."""
    message, previous = event.get("message"), part(event, "previous_message")
    if not isinstance(message, dict):
        raise Unreadable("a message_changed without a message")
    if message.get("subtype") == "tombstone":  # a root was deleted while its replies stay
        return _gone(body, event, previous | {"ts": _nested_ts(event)}, install)
    post = {name: previous[name] for name in _LEFT_OUT if name in previous} | message
    if (machine := _machine(post, install)) is not None:
        return Ignored("own_update") if machine is _OWN_MESSAGE else machine
    if not isinstance(message.get("edited"), dict) or not message["edited"]:
        return Ignored("not_an_edit")
    if previous and _says(message) == _says(previous):
        return Ignored("same_text")
    return _judge(body, event, post, install)


def _says(post: Json) -> tuple[object, set[str]]:
    """The words of a message, and which files come with them."""
    return post.get("text"), {file.id for file in _files(post)}


def _deleted(body: Json, event: Json, install: InstallIdentity) -> SlackEvent | Ignored:
    previous = part(event, "previous_message")
    return _gone(body, event, previous | {"ts": _nested_ts(event)}, install)


def _gone(body: Json, event: Json, post: Json, install: InstallIdentity) -> SlackDelete | Ignored:
    machine = _machine(post, install)
    if machine is not None and machine.reason != "no_author":
        return Ignored("own_delete") if machine is _OWN_MESSAGE else machine
    if not _welcome(body, post, install):
        return _EXTERNAL_USER
    where = _place(body, event, post, install)
    text = post.get("text")
    mentioned = isinstance(text, str) and mentions(text, install.bot_user_id)
    return SlackDelete(
        **where, user_id=text_of(post, "user"), addressed=mentioned or where["channel_type"] == "im"
    )


def _nested_ts(event: Json) -> object:
    """The timestamp of the message that an event is about; real payloads leave it out at some places."""
    return (
        event.get("deleted_ts")
        or part(event, "message").get("ts")
        or part(event, "previous_message").get("ts")
    )


# ------------------------------------------------------------------------------ who says it to whom


def _machine(post: Json, install: InstallIdentity) -> Ignored | None:
    """Why nobody is to be answered: ourselves, another bot, or no author at all; None for a person."""
    user, bot_id, app_id = post.get("user"), post.get("bot_id"), post.get("app_id")
    if (
        user == install.bot_user_id
        or (bot_id is not None and bot_id == install.bot_id)
        or (app_id is not None and app_id == install.api_app_id)
    ):
        return _OWN_MESSAGE
    if bot_id or app_id or post.get("bot_profile") or user == "USLACKBOT":
        return _BOT_MESSAGE
    if post.get("subtype") == "bot_message":
        return _BOT_MESSAGE
    return None if user and isinstance(user, str) else Ignored("no_author")


def _judge(
    body: Json, event: Json, post: Json, install: InstallIdentity
) -> SlackMessage | Stranger | Ignored:
    """A person's words: are they for us, and may that person speak to us?"""
    raw = post.get("text")
    text = raw if isinstance(raw, str) else ""
    mentioned = event.get("type") == "app_mention" or mentions(text, install.bot_user_id)
    addressed = mentioned or _channel_type(event) == "im"
    edited = bool(post.get("edited"))
    why_not = None if addressed else _not_for_us(event, post, text)
    if why_not is not None and not edited:
        return why_not
    if not _welcome(body, post, install):
        where = _place(body, event, post, install)
        return Stranger(**where, user_id=clean(post["user"])) if addressed else _EXTERNAL_USER
    return SlackMessage(
        **_place(body, event, post, install),
        user_id=clean(post["user"]),
        text=decode(text, install.bot_user_id),
        revision=_revision(event, post),
        addressed=addressed,
        mentions_us=mentioned,
        is_edit=edited,
        only_if_stored=why_not is not None,
        client_msg_id=text_of(post, "client_msg_id"),
        files=_files(post),
    )


def _not_for_us(event: Json, post: Json, text: str) -> Ignored | None:
    thread = post.get("thread_ts")
    ts = post.get("ts") or _nested_ts(event)
    if not thread or thread == ts:
        return _NOT_ADDRESSED
    return _ADDRESSED_ELSEWHERE if opens_with_mention(text) else None


def _welcome(body: Json, post: Json, install: InstallIdentity) -> bool:
    """False for an outsider whom the policy keeps out; judged by the actor's team, unknown means ours."""
    team = _actor_team(post)
    if team is None or team in (install.tenant_id, install.team_id, install.enterprise_id):
        return True
    # the outer organisation is the actor's only where the outer team is
    organisation = body.get("enterprise_id") if body.get("team_id") == team else None
    if install.enterprise_id is not None:
        if organisation == install.enterprise_id:
            return True
        # Grid: a sister workspace is no stranger, and Slack does not list an organisation's workspaces
        if not team.startswith("E") and body.get("is_ext_shared_channel") is False:
            return True
    if install.external_policy == "allow_list":
        return not install.allowed_external.isdisjoint({text_of(post, "user"), team, organisation})
    return install.external_policy == "allow_all"


def _actor_team(post: Json) -> str | None:
    return (
        text_of(post, "user_team")
        or text_of(post, "source_team")
        or text_of(part(post, "user_profile"), "team")
        or text_of(post, "team")
    )


def _place(body: Json, event: Json, post: Json, install: InstallIdentity) -> Json:
    """Where the message stands: the fields that every outcome shares."""
    ts = timestamp(post.get("ts") or _nested_ts(event))
    channel = text_of(event, "channel")
    if channel is None:
        raise Unreadable("a message event without a channel")
    thread = post.get("thread_ts")
    workspace = install.team_id or text_of(body, "context_team_id") or text_of(body, "team_id")
    return {
        "api_app_id": install.api_app_id,
        "tenant_id": install.tenant_id,
        "team_id": workspace,
        "channel_id": channel,
        "channel_type": _channel_type(event),
        "root_ts": timestamp(thread) if thread else ts,
        "ts": ts,
        "actor_team_id": _actor_team(post),
        "event_id": text_of(body, "event_id"),
    }


def _channel_type(event: Json) -> ChannelType:
    """As Slack says; app_mention does not say, and only a DM can be told by its id."""
    said = event.get("channel_type")
    if isinstance(said, str) and said in _CHANNEL_TYPES:
        return _CHANNEL_TYPES[said]
    channel = event.get("channel")
    return "im" if isinstance(channel, str) and channel.startswith("D") else "unknown"


def _revision(event: Json, post: Json) -> str | None:
    """When the words were edited: Slack tells whole seconds, within which its event's time decides.

    Only message_changed has a time of its own; app_mention repeats that of the message.
    """
    edited = post.get("edited")
    if not edited:
        return None
    stamp = edited.get("ts") if isinstance(edited, dict) else None
    told = event.get("event_ts") or event.get("ts")
    if not stamp or not told or post is event:
        return timestamp(stamp or told)
    second = timestamp(stamp)
    return min(max(second, timestamp(told)), f"{second.partition('.')[0]}.999999")


def _files(post: Json) -> tuple[SlackFile, ...]:
    listed = post.get("files")
    if not isinstance(listed, list):
        return ()
    return tuple(_file(one) for one in listed if isinstance(one, dict) and text_of(one, "id"))


def _file(one: Json) -> SlackFile:
    size = one.get("size")
    held_back = one.get("file_access") == "check_file_info"
    return SlackFile(
        id=text_of(one, "id") or "",
        name=text_of(one, "name") or text_of(one, "title"),
        mimetype=text_of(one, "mimetype"),
        size=size if isinstance(size, int) else None,
        url=text_of(one, "url_private_download") or text_of(one, "url_private"),
        access="check_file_info" if held_back else "visible",
        mode=text_of(one, "mode"),
    )


# ------------------------------------------------------------------------------ the agent session


def _stopped(body: Json, event: Json, install: InstallIdentity) -> SlackStop:
    """The stop button (docs.slack.dev/reference/events/agent_session_stopped)."""
    user = text_of(event, "user")
    if user is None:
        raise Unreadable("a stop without a user")
    post = {"ts": event.get("event_ts"), "thread_ts": event.get("thread_ts"), "user": user}
    return SlackStop(**_place(body, event, post, install), user_id=user)


def _renamed(body: Json, event: Json, install: InstallIdentity) -> SlackRename:
    """docs.slack.dev/reference/events/agent_session_title_changed."""
    user, title = text_of(event, "user"), text_of(event, "title")
    if user is None or title is None:
        raise Unreadable("a new title without its text or its author")
    post = {"ts": event.get("event_ts"), "thread_ts": event.get("thread_ts"), "user": user}
    return SlackRename(**_place(body, event, post, install), user_id=user, title=title)


def _joined(body: Json, event: Json, install: InstallIdentity) -> SlackJoined | Ignored:
    """docs.slack.dev/reference/events/member_joined_channel: only our own coming is told."""
    if event.get("user") != install.bot_user_id:
        return Ignored("joined_by_others")
    stamp = event.get("event_ts") or f"{body.get('event_time') or 0}.000000"
    post = {"ts": stamp, "user": text_of(event, "inviter")}
    return SlackJoined(**_place(body, event, post, install), user_id=text_of(event, "inviter"))


def _home_opened(_body: Json, event: Json, install: InstallIdentity) -> HomeOpened | Ignored:
    """docs.slack.dev/reference/events/app_home_opened; who looks is found out when it is answered."""
    user = text_of(event, "user")
    if user is None:
        raise Unreadable("a home that nobody opened")
    if user == install.bot_user_id:
        return _OWN_MESSAGE
    messages = event.get("tab") == "messages"
    return HomeOpened("messages" if messages else "home", user, text_of(event, "channel"))


# ------------------------------------------------------------------------------ the install's own end


def _uninstalled(body: Json, _event: Json, install: InstallIdentity) -> InstallChange:
    event_id = text_of(body, "event_id")
    return InstallChange("uninstalled", install.api_app_id, install.tenant_id, event_id)


def _tokens_revoked(body: Json, event: Json, install: InstallIdentity) -> InstallChange | Ignored:
    if not part(event, "tokens").get("bot"):
        return Ignored("user_token_revoked")
    event_id = text_of(body, "event_id")
    return InstallChange("tokens_revoked", install.api_app_id, install.tenant_id, event_id)


_INTERACTIONS = frozenset(
    {
        "block_actions",
        "block_suggestion",
        "command",
        "interactive_message",
        "message_action",
        "shortcut",
        "view_closed",
        "view_submission",
    }
)
# what the nested message of an edit was seen without, though its previous_message has it
_LEFT_OUT = ("ts", "thread_ts", "user", "team")
_SUBTYPES: dict[str, _Rule] = {
    "bot_message": _bot_message,
    "file_share": _said,
    "me_message": _said,
    "message_changed": _changed,
    "message_deleted": _deleted,
    "message_replied": _message_replied,
    "thread_broadcast": _said,
}
_RULES: dict[str, _Rule] = {
    "message": _message,
    "app_mention": _said,
    "app_home_opened": _home_opened,
    "agent_session_stopped": _stopped,
    "agent_session_title_changed": _renamed,
    "member_joined_channel": _joined,
    "app_uninstalled": _uninstalled,
    "tokens_revoked": _tokens_revoked,
}
# Slack subscribes to messages by the kind of conversation, and then names every one of them "message".
_MESSAGE_SUBSCRIPTIONS = frozenset(
    {"message.im", "message.channels", "message.groups", "message.mpim"}
)
HANDLED_EVENTS: frozenset[str] = (frozenset(_RULES) - {"message"}) | _MESSAGE_SUBSCRIPTIONS
