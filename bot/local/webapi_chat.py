"""chat.*: what our app writes (docs.slack.dev/reference/methods/chat.postMessage and its kin)."""

import secrets
import time
from dataclasses import replace

from bot.local import checks, text as texts
from bot.local.arguments import Arguments
from bot.local.interactive import identified
from bot.local.model import Channel, Ephemeral, Json, Message, SlackError, Stream
from bot.local.repeats import Repeats
from bot.local.shapes import message_json
from bot.local.workspace import Workspace


class Chat:
    """The methods under `chat.`; each takes the call's arguments and returns its answer."""

    def __init__(self, workspace: Workspace, repeats: Repeats) -> None:
        self._workspace = workspace
        self._repeats = repeats

    def post_message(self, args: Arguments) -> Json:
        """chat.postMessage; a user id posts to that user's direct message."""
        channel = self._target(args.text("channel"))
        if swallowed := self._repeats.first(args):
            return self._posted(swallowed)
        content = message_content(args, checks.MAX_TEXT)
        message = self._written(channel, args, content)
        if "thread_ts" in args:
            root = self._workspace.thread_root(channel, args.text("thread_ts"))
            subtype = "thread_broadcast" if args.flag("reply_broadcast") else None
            message = replace(message, thread_ts=root.ts, subtype=subtype)
        if "metadata" in args:
            message = replace(message, metadata=checks.check_metadata(args.raw("metadata")))
        self._workspace.publish(self._workspace.post(message))
        self._repeats.keep(message)
        truncated = len(args.text("text")) > checks.MAX_TEXT
        return self._posted(message) | (warning("message_truncated") if truncated else {})

    def update(self, args: Arguments) -> Json:
        """chat.update; only our own messages, metadata is kept unless given anew.

        Of a finished stream nothing stays, task cards included.
        """
        channel = self._workspace.joined(args.text("channel"))
        before = self._workspace.message(channel, args.need("ts"))
        if before.bot_id != self._workspace.who.bot_id:
            raise SlackError("cant_update_message")
        if channel.archived:
            raise SlackError("is_inactive")
        if before.streaming_state == "in_progress":
            raise SlackError("streaming_state_conflict")
        if len(args.text("text")) > checks.MAX_UPDATE_TEXT:
            raise SlackError("msg_too_long")
        after = replace(before, **message_content(args, checks.MAX_TEXT), edited=self._edited())
        if before.stream is not None:
            bare = Stream(before.stream.started, stopped_by=before.stream.stopped_by)
            after = replace(after, stream=bare, streaming_state="completed")
        if "metadata" in args:
            after = replace(after, metadata=checks.check_metadata(args.raw("metadata")))
        self._workspace.publish(self._workspace.change(before, after))
        return self._posted(after) | {"text": after.text}

    def delete(self, args: Arguments) -> Json:
        """chat.delete; only our own messages."""
        channel = self._workspace.joined(args.text("channel"))
        message = self._workspace.message(channel, args.need("ts"))
        if message.bot_id != self._workspace.who.bot_id:
            raise SlackError("cant_delete_message")
        if message.streaming_state == "in_progress":
            # On no page of Slack's; apps have met it, so a stream has to be stopped first.
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
        content = message_content(args, checks.MAX_TEXT)
        thread_ts = args.text("thread_ts") or None
        ts = self._workspace.state.next_ts()
        ephemeral = Ephemeral(channel.id, user, content["text"], content["blocks"], thread_ts, ts)
        self._workspace.state.add_ephemeral(ephemeral)
        return {"message_ts": ts}

    def _target(self, name: str) -> Channel:
        state = self._workspace.state
        if name in state.users:
            return self._workspace.dm(state.users[name])
        channel = self._workspace.joined(name)
        if channel.archived:
            raise SlackError("is_archived")
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

    def _edited(self) -> Json:
        return {"user": self._workspace.who.bot_user_id, "ts": f"{int(time.time())}.000000"}

    def _posted(self, message: Message) -> Json:
        shown = message_json(self._workspace.state, message, metadata=True)
        return {"channel": message.channel, "ts": message.ts, "message": shown}


def warning(name: str) -> Json:
    """What an answer carries besides when Slack accepts with a remark."""
    return {"warning": name, "response_metadata": {"warnings": [name]}}


def message_content(args: Arguments, most: int) -> Json:
    """The text, blocks and attachments of a message; SlackError when Slack would refuse them."""
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
        "blocks": identified(blocks) or texts.rich_text(shown, secrets.token_hex(2)),
        "attachments": attachments,
    }
