"""chat.startStream, appendStream, stopStream (docs.slack.dev/reference/methods/chat.startStream).

Errors have the names of the method pages. What those leave open takes the reading that is harder
on the app: group messages take no streams, and metadata given at the start is not kept.
"""

from dataclasses import replace

from bot.local import checks
from bot.local.arguments import Arguments
from bot.local.chunks import apply_chunks, read_chunks, stream_blocks, stream_text
from bot.local.interactive import identified
from bot.local.model import Channel, Json, Message, SlackError, Stream, invalid_arguments
from bot.local.repeats import Repeats
from bot.local.sessions import STATUSES
from bot.local.shapes import message_json
from bot.local.webapi_agents import CUSTOM
from bot.local.workspace import Workspace

_DISPLAYS = frozenset({"timeline", "plan"})


class StreamMethods:
    """The stream methods; each takes the call's arguments and returns its answer."""

    def __init__(self, workspace: Workspace, repeats: Repeats) -> None:
        self._workspace = workspace
        self._repeats = repeats

    def start(self, args: Arguments) -> Json:
        """chat.startStream; it makes the thread's session and sets it to processing."""
        channel = self._open_channel(args)
        root = self._workspace.thread_root(channel, args.need("thread_ts"))
        self._check_recipient(channel, args)
        if any(name in args for name in CUSTOM):
            self._workspace.need_scope("chat:write.customize")
        if swallowed := self._repeats.first(args):
            return {"channel": swallowed.channel, "ts": swallowed.ts}
        display = args.text("task_display_mode") or "timeline"
        if display not in _DISPLAYS:
            raise invalid_arguments("invalid value: task_display_mode")
        stream, _ = self._with_content(Stream(self._workspace.clock.now(), display), args)
        message = self._written(channel, root.ts, args, stream)
        self._workspace.publish(self._workspace.post(message))
        self._workspace.streams.opened(message, stream)
        self._repeats.keep(message)
        self._set_status(message, "processing")
        return {"channel": channel.id, "ts": message.ts}

    def append(self, args: Arguments) -> Json:
        """chat.appendStream; sends no event."""
        message, stream = self._streaming(args)
        stream, brought = self._with_content(stream, args)
        if not brought:
            raise SlackError("markdown_text_or_chunks_required")
        self._workspace.state.put(_shown(message, stream))
        return {"channel": message.channel, "ts": message.ts}

    def stop(self, args: Arguments) -> Json:
        """chat.stopStream; its blocks stand below what was streamed."""
        message, stream = self._streaming(args, stopping=True)
        status = args.text("session_status") or "active"
        if status not in STATUSES:
            raise invalid_arguments("invalid value: session_status")
        after = _shown(message, self._with_content(stream, args)[0])
        if "blocks" in args:
            after = replace(after, blocks=[*after.blocks, *_last_blocks(args)])
        if "metadata" in args:
            after = replace(after, metadata=checks.check_metadata(args.raw("metadata")))
        done = self._workspace.streams.finish(message, after)
        self._set_status(done, status)
        shown = message_json(self._workspace.state, done, metadata=True)
        return {"channel": done.channel, "ts": done.ts, "message": shown}

    # ------------------------------------------------------------------- checks

    def _open_channel(self, args: Arguments) -> Channel:
        channel = self._workspace.joined(args.text("channel"))
        if channel.archived:
            raise SlackError("is_archived")
        if channel.kind == "mpim":
            raise SlackError("channel_type_not_supported")
        return channel

    def _check_recipient(self, channel: Channel, args: Arguments) -> None:
        for name in ("recipient_user_id", "recipient_team_id"):
            if name not in args and channel.kind != "im":
                raise SlackError(f"missing_{name}")
        if "recipient_user_id" not in args:
            return
        user = self._workspace.state.users.get(args.text("recipient_user_id"))
        if user is None or user.team_id != (args.text("recipient_team_id") or user.team_id):
            raise SlackError("user_not_found")
        at_home = user.team_id == self._workspace.who.team_id
        if not (at_home or self._workspace.settings.foreign_recipients):
            raise SlackError("user_not_found")

    def _streaming(self, args: Arguments, *, stopping: bool = False) -> tuple[Message, Stream]:
        channel = self._open_channel(args)
        message = self._workspace.message(channel, args.need("ts"))
        if message.bot_id != self._workspace.who.bot_id:
            raise SlackError("message_not_owned_by_app")
        if message.stream is not None and message.stream.stopped_by and not stopping:
            raise SlackError("stopped_by_user")
        if message.stream is None or message.streaming_state != "in_progress":
            raise SlackError("message_not_in_streaming_state")
        return message, message.stream

    # ------------------------------------------------------------------ content

    def _with_content(self, stream: Stream, args: Arguments) -> tuple[Stream, bool]:
        mode, chunks = read_chunks(args.text("markdown_text"), args.raw("chunks"))
        most = self._workspace.settings.stream_bytes
        return apply_chunks(stream, mode, chunks, most), bool(chunks)

    def _written(
        self, channel: Channel, thread_ts: str, args: Arguments, stream: Stream
    ) -> Message:
        who = self._workspace.who
        message = Message(
            channel=channel.id,
            ts=self._workspace.state.next_ts(),
            text="",
            team=who.team_id,
            at=self._workspace.clock.now(),
            user=who.bot_user_id,
            bot_id=who.bot_id,
            thread_ts=thread_ts,
            client_msg_id=args.text("client_msg_id") or None,
            streaming_state="in_progress",
        )
        return _shown(message, stream)

    def _set_status(self, message: Message, status: str) -> None:
        if self._workspace.agent_features:
            self._workspace.sessions.set_status(message.channel, message.root, status)


def _shown(message: Message, stream: Stream) -> Message:
    return replace(message, stream=stream, text=stream_text(stream), blocks=stream_blocks(stream))


def _last_blocks(args: Arguments) -> list[Json]:
    blocks = checks.parsed(args.raw("blocks"), "invalid_blocks_format")
    if isinstance(blocks, list) and len(blocks) > checks.MAX_BLOCKS:
        raise SlackError("msg_blocks_too_many")
    return identified(checks.check_blocks(blocks))
