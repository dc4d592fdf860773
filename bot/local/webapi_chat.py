"""chat.*: what our app writes (docs.slack.dev/reference/methods/chat.postMessage and its kin)."""

import secrets
import time
from dataclasses import replace

from bot.local import checks, text as texts
from bot.local.arguments import Arguments
from bot.local.model import Channel, Ephemeral, Json, Message, SlackError
from bot.local.shapes import message_json
from bot.local.workspace import Workspace

CLIENT_MSG_ID_SECONDS = 3_600.0  # our reading; Slack states no window


class Chat:
    """The methods under `chat.`; each takes the call's arguments and returns its answer."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._by_client_msg_id: dict[str, Message] = {}

    def post_message(self, args: Arguments) -> Json:
        """chat.postMessage; a user id posts to that user's direct message."""
        channel = self._target(args.text("channel"))
        if swallowed := self._repeated(args):
            return self._posted(swallowed)
        content = _content(args, checks.MAX_TEXT)
        message = self._written(channel, args, content)
        if "thread_ts" in args:
            root = self._workspace.thread_root(channel, args.text("thread_ts"))
            subtype = "thread_broadcast" if args.flag("reply_broadcast") else None
            message = replace(message, thread_ts=root.ts, subtype=subtype)
        if "metadata" in args:
            message = replace(message, metadata=checks.check_metadata(args.raw("metadata")))
        self._workspace.publish(self._workspace.post(message))
        if message.client_msg_id is not None:
            self._by_client_msg_id[message.client_msg_id] = message
        truncated = len(args.text("text")) > checks.MAX_TEXT
        return self._posted(message) | (warning("message_truncated") if truncated else {})

    def update(self, args: Arguments) -> Json:
        """chat.update; only our own messages, metadata is kept unless given anew."""
        channel = self._known(args.text("channel"))
        before = self._workspace.message(channel, args.need("ts"))
        if before.bot_id != self._workspace.who.bot_id:
            raise SlackError("cant_update_message")
        if channel.archived:
            raise SlackError("is_inactive")
        if len(args.text("text")) > checks.MAX_UPDATE_TEXT:
            raise SlackError("msg_too_long")
        after = replace(before, **_content(args, checks.MAX_TEXT), edited=self._edited())
        if "metadata" in args:
            after = replace(after, metadata=checks.check_metadata(args.raw("metadata")))
        self._workspace.publish(self._workspace.change(before, after))
        return self._posted(after) | {"text": after.text}

    def delete(self, args: Arguments) -> Json:
        """chat.delete; only our own messages."""
        channel = self._known(args.text("channel"))
        message = self._workspace.message(channel, args.need("ts"))
        if message.bot_id != self._workspace.who.bot_id:
            raise SlackError("cant_delete_message")
        self._workspace.publish(self._workspace.remove(message))
        return {"channel": channel.id, "ts": message.ts}

    def post_ephemeral(self, args: Arguments) -> Json:
        """chat.postEphemeral; its recipient must be in the channel."""
        channel = self._target(args.text("channel"))
        user = args.need("user")
        if user not in self._workspace.state.users or user not in channel.members:
            raise SlackError("user_not_in_channel")
        if len(args.text("text")) > checks.MAX_TEXT:
            raise SlackError("msg_too_long")
        content = _content(args, checks.MAX_TEXT)
        thread_ts = args.text("thread_ts") or None
        ts = self._workspace.state.next_ts()
        ephemeral = Ephemeral(channel.id, user, content["text"], content["blocks"], thread_ts, ts)
        self._workspace.state.add_ephemeral(ephemeral)
        return {"message_ts": ts}

    def _target(self, name: str) -> Channel:
        state = self._workspace.state
        if name in state.users:
            return self._workspace.dm(state.users[name])
        channel = self._known(name)
        if channel.archived:
            raise SlackError("is_archived")
        return channel

    def _known(self, name: str) -> Channel:
        channel = self._workspace.channel(name)
        if self._workspace.who.bot_user_id not in channel.members:
            # A private conversation that one is not in does not exist for one.
            hidden = channel.kind != "channel"
            raise SlackError("channel_not_found" if hidden else "not_in_channel")
        return channel

    def _written(self, channel: Channel, args: Arguments, content: Json) -> Message:
        who = self._workspace.who
        return Message(
            channel=channel.id,
            ts=self._workspace.state.next_ts(),
            team=who.team_id,
            at=self._workspace.clock.now(),
            user=who.bot_user_id,
            bot_id=who.bot_id,
            client_msg_id=args.text("client_msg_id") or None,
            **content,
        )

    def _repeated(self, args: Arguments) -> Message | None:
        if not self._workspace.settings.honour_client_msg_id:
            return None
        first = self._by_client_msg_id.get(args.text("client_msg_id"))
        too_old = self._workspace.clock.now() - CLIENT_MSG_ID_SECONDS
        if first is None or first.at < too_old:
            return None
        standing = self._workspace.state.message(first.channel, first.ts)
        if standing is None:
            raise SlackError("duplicate_message_not_found")
        return standing

    def _edited(self) -> Json:
        return {"user": self._workspace.who.bot_user_id, "ts": f"{int(time.time())}.000000"}

    def _posted(self, message: Message) -> Json:
        shown = message_json(self._workspace.state, message, metadata=True)
        return {"channel": message.channel, "ts": message.ts, "message": shown}


def warning(name: str) -> Json:
    """What an answer carries besides when Slack accepts with a remark."""
    return {"warning": name, "response_metadata": {"warnings": [name]}}


def _content(args: Arguments, most: int) -> Json:
    markdown, text = args.text("markdown_text"), args.text("text")
    if markdown and (text or "blocks" in args):
        raise SlackError("markdown_text_conflict")
    if len(markdown) > checks.MAX_MARKDOWN:
        raise SlackError("msg_too_long")
    blocks = checks.check_blocks(args.raw("blocks")) if "blocks" in args else []
    attachments = checks.check_attachments(args.raw("attachments")) if "attachments" in args else []
    if not (markdown or text.strip() or blocks or attachments):
        raise SlackError("no_text")
    shown = (markdown or text)[:most]
    return {
        "text": shown or checks.fallback_text(blocks),
        "blocks": _identified(blocks) or texts.rich_text(shown, secrets.token_hex(2)),
        "attachments": attachments,
    }


def _identified(blocks: list[Json]) -> list[Json]:
    return [{"block_id": secrets.token_hex(2)} | block for block in blocks]
