"""files.*: what our app reads of files, and how it shares its own.

docs.slack.dev/reference/methods/files.info, files.getUploadURLExternal, files.completeUploadExternal.
"""

import secrets
from dataclasses import replace

from bot.local import checks, text as texts
from bot.local.arguments import Arguments
from bot.local.files import StoredFile, Ticket, file_json
from bot.local.model import Channel, Json, Message, SlackError, invalid_arguments
from bot.local.tickets import Tickets
from bot.local.workspace import Workspace

_MAX_BYTES = 100 * 1024 * 1024  # Slack takes a gigabyte; this is what is played here
_MAX_ALT_TEXT = 1_000
_MAX_CHANNELS = 100
# Which of a file's lists names the conversations of a kind.
_LISTS = {"channel": "channels", "group": "groups", "mpim": "groups", "im": "ims"}


class FileMethods:
    """The methods under `files.`; each takes the call's arguments and returns its answer."""

    def __init__(self, workspace: Workspace, tickets: Tickets) -> None:
        self._workspace = workspace
        self._tickets = tickets

    def info(self, args: Arguments) -> Json:
        """files.info: a file of our own, or one that stands in a conversation that we are in."""
        file = self._workspace.files.get(args.need("file"))
        if file is None:
            raise SlackError("file_not_found")
        places = self._places(file)
        ours = file.user == self._workspace.who.bot_user_id
        if not ours and not any(self._inside(channel) for channel, _ in places):
            raise SlackError("file_not_found")
        if file.deleted:
            raise SlackError("file_deleted")
        shown = self._shown(file) | self._shared(places)
        return {"file": shown, "comments": [], "response_metadata": {"next_cursor": ""}}

    def upload_url(self, args: Arguments) -> Json:
        """files.getUploadURLExternal."""
        name = args.need("filename")
        args.need("length")
        if len(args.text("alt_txt")) > _MAX_ALT_TEXT:
            raise SlackError("alt_txt_too_large")
        size = args.number("length", 0, 2**53)
        if size > _MAX_BYTES:
            raise SlackError("file_upload_size_restricted")
        ticket = self._tickets.issue(name, size)
        return {"upload_url": self._tickets.url(ticket), "file_id": ticket.file}

    def complete(self, args: Arguments) -> Json:
        """files.completeUploadExternal: one message with all of the files, in each channel named.

        It works once, and its answer names no message: Slack shares files in its own time.
        """
        wanted = _wanted(args)
        tickets = {entry["id"]: self._ticket(entry["id"]) for entry in wanted}
        channels = [self._target(name) for name in _channels(args)]
        if len(channels) > 1 and "thread_ts" in args:
            raise invalid_arguments("thread_ts goes with one channel only")
        threads = [self._thread(channel, args) for channel in channels]
        files = [self._finished(entry, tickets[entry["id"]]) for entry in wanted]
        for channel, thread_ts in zip(channels, threads, strict=True):
            self._share(channel, thread_ts, files, args)
        return {"files": [self._shown(file) | {"shares": {}} for file in files]}

    # ---------------------------------------------------------------- reading

    def _shown(self, file: StoredFile) -> Json:
        owner = self._workspace.user(file.user)
        return file_json(file, owner, self._workspace.url, external=False)

    def _places(self, file: StoredFile) -> list[tuple[Channel, Message]]:
        """Where it was posted; a moment ago may not show yet (a fault)."""
        stale = self._workspace.faults.take(frozenset(["stale"]), "files.info")
        until = self._workspace.clock.now() - (stale.seconds if stale is not None else 0.0)
        state = self._workspace.state
        return [
            (state.channels[message.channel], message)
            for message in state.messages()
            if message.at <= until and any(one["id"] == file.id for one in message.files)
        ]

    def _shared(self, places: list[tuple[Channel, Message]]) -> Json:
        told: Json = {"shares": {}, "channels": [], "groups": [], "ims": []}
        for channel, message in places:
            if channel.id not in told[_LISTS[channel.kind]]:
                told[_LISTS[channel.kind]].append(channel.id)
            public = "public" if channel.kind == "channel" else "private"
            by_channel = told["shares"].setdefault(public, {})
            by_channel.setdefault(channel.id, []).append(self._share_json(channel, message))
        return told | {"is_public": "public" in told["shares"]}

    def _share_json(self, channel: Channel, message: Message) -> Json:
        thread = {"thread_ts": message.thread_ts} if message.thread_ts is not None else {}
        return {
            "reply_users": [],
            "reply_users_count": 0,
            "reply_count": 0,
            "ts": message.ts,
            **thread,
            "channel_name": channel.name,
            "team_id": message.team,
            "share_user_id": message.user,
        }

    def _inside(self, channel: Channel) -> bool:
        return self._workspace.who.bot_user_id in channel.members

    # ---------------------------------------------------------------- sharing

    def _ticket(self, file_id: str) -> Ticket:
        """The upload of that file, if it has arrived and was not shared before."""
        for ticket in self._workspace.files.tickets:
            if ticket.file == file_id and ticket.arrived and not ticket.used:
                return ticket
        raise SlackError("file_not_found")

    def _target(self, name: str) -> Channel:
        channel = self._workspace.joined(name)
        if channel.archived:
            raise SlackError("is_archived")
        return channel

    def _thread(self, channel: Channel, args: Arguments) -> str | None:
        if "thread_ts" not in args:
            return None
        return self._workspace.thread_root(channel, args.text("thread_ts")).ts

    def _finished(self, entry: Json, ticket: Ticket) -> StoredFile:
        files = self._workspace.files
        files.tickets.put(replace(ticket, used=True))
        return files.retitle(ticket.file, str(entry.get("title") or ""))

    def _share(
        self, channel: Channel, thread_ts: str | None, files: list[StoredFile], args: Arguments
    ) -> None:
        workspace, who = self._workspace, self._workspace.who
        owner, external = workspace.user(who.bot_user_id), bool(channel.shared_with)
        comment = args.text("initial_comment")
        blocks = [] if comment or "blocks" not in args else checks.check_blocks(args.raw("blocks"))
        message = Message(
            channel=channel.id,
            ts=workspace.state.next_ts(),
            text=comment or checks.fallback_text(blocks),
            team=who.team_id,
            at=workspace.clock.now(),
            user=who.bot_user_id,
            bot_id=who.bot_id,
            thread_ts=thread_ts,
            subtype="file_share",
            blocks=blocks or texts.rich_text(comment, secrets.token_hex(2)),
            files=[file_json(file, owner, workspace.url, external=external) for file in files],
        )
        workspace.publish(workspace.post(message))


def _wanted(args: Arguments) -> list[Json]:
    args.need("files")
    wanted = checks.parsed(args.raw("files"), "invalid_arguments")
    if not isinstance(wanted, list) or not wanted:
        raise invalid_arguments("must be a list of files: files")
    if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in wanted):
        raise invalid_arguments("must name a file: files")
    if len({entry["id"] for entry in wanted}) < len(wanted):
        raise invalid_arguments("must be different files: files")
    return wanted


def _channels(args: Arguments) -> list[str]:
    names = [args.text("channel_id")] if "channel_id" in args else args.text("channels").split(",")
    given = [name.strip() for name in names if name.strip()]
    if len(given) > _MAX_CHANNELS:
        raise invalid_arguments(f"at most {_MAX_CHANNELS} channels")
    return given
