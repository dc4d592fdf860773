"""The scopes that the code needs, and why; manifest.yml asks for exactly these (a test compares)."""

from collections.abc import Iterable

_HISTORY = frozenset({"channels:history", "groups:history", "im:history", "mpim:history"})

EVENT_SCOPES: dict[str, frozenset[str]] = {
    # docs.slack.dev/reference/events/app_mention
    "app_mention": frozenset({"app_mentions:read"}),
    # docs.slack.dev/reference/events/app_home_opened
    "app_home_opened": frozenset(),
    # docs.slack.dev/reference/events/message.im
    "message.im": frozenset({"im:history"}),
    # docs.slack.dev/reference/events/message.channels
    "message.channels": frozenset({"channels:history"}),
    # docs.slack.dev/reference/events/message.groups
    "message.groups": frozenset({"groups:history"}),
    # docs.slack.dev/reference/events/message.mpim
    "message.mpim": frozenset({"mpim:history"}),
    # docs.slack.dev/reference/events/agent_session_stopped
    "agent_session_stopped": frozenset({"chat:write"}),
    # docs.slack.dev/reference/events/agent_session_title_changed
    "agent_session_title_changed": frozenset({"chat:write"}),
    # docs.slack.dev/reference/events/member_joined_channel
    "member_joined_channel": frozenset({"channels:read", "groups:read", "mpim:read"}),
    # docs.slack.dev/reference/events/app_uninstalled
    "app_uninstalled": frozenset(),
    # docs.slack.dev/reference/events/tokens_revoked
    "tokens_revoked": frozenset(),
}
METHOD_SCOPES: dict[str, frozenset[str]] = {
    # docs.slack.dev/reference/methods/auth.test
    "auth.test": frozenset(),
    # docs.slack.dev/reference/methods/bots.info
    "bots.info": frozenset({"users:read"}),
    # docs.slack.dev/reference/methods/chat.postMessage
    "chat.postMessage": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/chat.postEphemeral
    "chat.postEphemeral": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/chat.update
    "chat.update": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/chat.delete
    "chat.delete": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/chat.getPermalink
    "chat.getPermalink": frozenset(),
    # docs.slack.dev/reference/methods/chat.startStream
    "chat.startStream": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/chat.appendStream
    "chat.appendStream": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/chat.stopStream
    "chat.stopStream": frozenset({"chat:write"}),
    # docs.slack.dev/reference/methods/conversations.history
    "conversations.history": _HISTORY,
    # docs.slack.dev/reference/methods/conversations.info; asked of channels only
    "conversations.info": frozenset({"channels:read", "groups:read"}),
    # docs.slack.dev/reference/methods/conversations.members; never asked of a direct message
    "conversations.members": frozenset({"channels:read", "groups:read", "mpim:read"}),
    # docs.slack.dev/reference/methods/conversations.replies
    "conversations.replies": _HISTORY,
    # docs.slack.dev/reference/methods/files.completeUploadExternal
    "files.completeUploadExternal": frozenset({"files:write"}),
    # docs.slack.dev/reference/methods/files.getUploadURLExternal
    "files.getUploadURLExternal": frozenset({"files:write"}),
    # docs.slack.dev/reference/methods/files.info
    "files.info": frozenset({"files:read"}),
    # docs.slack.dev/reference/methods/reactions.add
    "reactions.add": frozenset({"reactions:write"}),
    # docs.slack.dev/reference/methods/reactions.remove
    "reactions.remove": frozenset({"reactions:write"}),
    # docs.slack.dev/reference/methods/usergroups.users.list
    "usergroups.users.list": frozenset({"usergroups:read"}),
    # docs.slack.dev/reference/methods/users.conversations; asked for channels only
    "users.conversations": frozenset({"channels:read", "groups:read"}),
    # docs.slack.dev/reference/methods/users.info
    "users.info": frozenset({"users:read"}),
    # docs.slack.dev/reference/methods/views.open
    "views.open": frozenset(),
    # docs.slack.dev/reference/methods/views.update
    "views.update": frozenset(),
    # docs.slack.dev/reference/methods/views.publish
    "views.publish": frozenset(),
    # docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts
    "assistant.threads.setSuggestedPrompts": frozenset({"assistant:write"}),
    # docs.slack.dev/reference/methods/agents.sessions.setStatus
    "agents.sessions.setStatus": frozenset({"chat:write"}),
}
REQUIRED_SCOPES: frozenset[str] = frozenset().union(*EVENT_SCOPES.values(), *METHOD_SCOPES.values())


def missing_scopes(granted: Iterable[str]) -> list[str]:
    """The required scopes that a token lacks, in order; spaces around the granted ones do not count."""
    return sorted(REQUIRED_SCOPES - {scope.strip() for scope in granted})
