"""reactions.*: what our app puts to messages (docs.slack.dev/reference/methods/reactions.add)."""

import re

from bot.local.arguments import Arguments
from bot.local.model import Json, Message, SlackError
from bot.local.reactions import with_reaction, without_reaction
from bot.local.shapes import message_json
from bot.local.workspace import Workspace

_TS = re.compile(r"\d+(\.\d+)?\Z")


class Reactions:
    """The methods under `reactions.`; of a message only, files have none here."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(self, args: Arguments) -> Json:
        """reactions.add."""
        message, name = self._item(args), args.text("name")
        ours = self._workspace.who.bot_user_id
        reactions = with_reaction(message.reactions, ours, name)
        self._workspace.react(message, reactions, ("reaction_added", ours, name))
        return {}

    def remove(self, args: Arguments) -> Json:
        """reactions.remove; only our own."""
        message, name = self._item(args), args.text("name")
        ours = self._workspace.who.bot_user_id
        reactions = without_reaction(message.reactions, ours, name)
        self._workspace.react(message, reactions, ("reaction_removed", ours, name))
        return {}

    def get(self, args: Arguments) -> Json:
        """reactions.get: the message with all its reactions."""
        message = self._item(args, change=False)
        shown = message_json(self._workspace.state, message)
        shown["permalink"] = _permalink(message)
        return {"type": "message", "channel": message.channel, "message": shown}

    def _item(self, args: Arguments, *, change: bool = True) -> Message:
        if "channel" not in args or "timestamp" not in args:
            raise SlackError("no_item_specified")
        channel = self._workspace.joined(args.text("channel"))
        if change and channel.archived:
            raise SlackError("is_archived")
        if not _TS.match(args.text("timestamp")):
            raise SlackError("bad_timestamp")
        return self._workspace.message(channel, args.text("timestamp"))


def _permalink(message: Message) -> str:
    place = f"https://local-workspace.slack.com/archives/{message.channel}"
    return f"{place}/p{message.ts.replace('.', '')}"
