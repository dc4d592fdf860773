"""What people do in the workspace: write, edit, delete, react, stop and rename."""

import re
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from bot.local import text as texts
from bot.local.files import StoredFile, file_json, named
from bot.local.model import (
    Channel,
    Json,
    Message,
    SlackError,
    Status,
    Twins,
    User,
    UserKind,
    invalid_arguments,
)
from bot.local.reactions import with_reaction, without_reaction
from bot.local.sessions import checked_title
from bot.local.surfaces import UserGroup
from bot.local.workspace import Workspace

_TS = re.compile(r"\d+\.\d{6}\Z")


class Delivering(TypedDict, total=False):
    """How the events of a gesture go out.

    `twins`: which of the two events of a mention is tried first. `duplicate`: how many more times
    each event is delivered. `deliver` False: not at all; the envelopes are kept for the caller.
    """

    twins: Twins
    duplicate: int
    deliver: bool


class Saying(Delivering, total=False):
    """What may go with a message: its thread, files by name or id, "also send to channel"."""

    thread_ts: str | None
    files: Sequence[str]
    file_ids: Sequence[str]
    broadcast: bool


class People:
    """The gestures of everybody but our own app; SlackError when Slack would not allow one."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def say(self, user: str, channel: str, text: str, **options: Unpack[Saying]) -> Message:
        """Post as that user; `@name` becomes a mention."""
        author, place = self._inside(user, channel)
        message = self._message(author, place, text, options)
        self._send(self._workspace.post(message), options)
        return message

    def edit(self, channel: str, ts: str, text: str, **options: Unpack[Delivering]) -> Message:
        """Edit a person's message; one that mentions the bot fires `app_mention` again."""
        place = self._workspace.channel(channel)
        before = self._workspace.message(place, ts)
        if before.bot_id is not None:
            raise SlackError("cant_update_message")
        typed = texts.typed(text, self._workspace.state.user_ids)
        after = replace(
            before,
            text=typed,
            blocks=texts.rich_text(typed, secrets.token_hex(2)),
            edited={"user": before.user, "ts": f"{int(time.time())}.000000"},
        )
        self._send(self._workspace.change(before, after, mention=True), options)
        return after

    def unfurl(self, channel: str, ts: str, url: str) -> Message:
        """Attach a link preview: `message_changed` without an edit of the text."""
        before = self._workspace.message(self._workspace.channel(channel), ts)
        if before.streaming_state is not None:
            raise SlackError("cannot_unfurl_message")
        preview: Json = {"id": 1, "from_url": url, "fallback": url, "title": url}
        after = replace(before, attachments=[*before.attachments, preview])
        self._workspace.publish(self._workspace.change(before, after))
        return after

    def delete(self, channel: str, ts: str, **options: Unpack[Delivering]) -> None:
        """Delete a message."""
        message = self._workspace.message(self._workspace.channel(channel), ts)
        self._send(self._workspace.remove(message), options)

    def delete_file(self, file_id: str) -> None:
        """Delete a file; of it the messages that carry it keep the id."""
        self._workspace.files.delete(self._upload(file_id).id)
        for message in self._workspace.state.messages():
            if any(one["id"] == file_id for one in message.files):
                left = [_tombstone(one) if one["id"] == file_id else one for one in message.files]
                self._workspace.state.put(replace(message, files=left))

    def react(self, user: str, channel: str, ts: str, name: str, *, away: bool = False) -> Message:
        """Put a reaction to a message as that user, or take it away."""
        person, place = self._inside(user, channel)
        message = self._workspace.message(place, ts)
        change = without_reaction if away else with_reaction
        reactions = change(message.reactions, person.id, name)
        kind = "reaction_removed" if away else "reaction_added"
        self._workspace.react(message, reactions, (kind, person.id, name))
        return self._workspace.message(place, ts)

    def stop(self, user: str, channel: str, thread_ts: str) -> list[str]:
        """Press the stop button of a thread's session; returns the ts of the streams it ended."""
        person, place = self._inside(user, channel)
        self._session(place, thread_ts)
        return self._workspace.stop(place, thread_ts, person)

    def rename(self, user: str, channel: str, thread_ts: str, title: str) -> Status:
        """Give a thread's session another title."""
        person, place = self._inside(user, channel)
        if not checked_title(title):
            raise invalid_arguments("missing required field: title")
        self._session(place, thread_ts)
        return self._workspace.rename(place, thread_ts, title, person)

    def mark(self, user: str, channel: str, ts: str) -> str:
        """Have read a conversation up to there; returns its id."""
        person, place = self._workspace.user(user), self._workspace.channel(channel)
        if person.id not in place.members:
            raise SlackError("not_in_channel")
        if not _TS.match(ts):
            raise SlackError("bad_timestamp")
        self._workspace.state.put_read(place.id, person.id, ts)
        return place.id

    def set_user(
        self, user: str, *, deleted: bool | None = None, kind: UserKind | None = None
    ) -> User:
        """Deactivate an account or bring it back, or give it another rank."""
        person = self._workspace.user(user)
        if kind is not None:
            person = replace(person, kind=kind)
            self._workspace.state.put_user(person)
        if deleted is not None:
            self._workspace.deactivate(person, deleted=deleted)
        return self._workspace.user(person.id)

    def set_user_group(
        self, handle: str, users: Sequence[str], *, disabled: bool = False
    ) -> UserGroup:
        """Make a user group, or change the one of that handle."""
        ids = [self._workspace.user(one).id for one in users]
        groups = self._workspace.surfaces.groups
        known = next((group for group in groups if handle in (group.handle, group.id)), None)
        if known is None:
            known = UserGroup(f"S0X{secrets.token_hex(4).upper()}", handle, handle, [])
        return groups.put(replace(known, users=ids, disabled=disabled))

    def _inside(self, user: str, channel: str) -> tuple[User, Channel]:
        person, place = self._workspace.user(user), self._place(channel)
        if person.deleted:
            raise SlackError("user_deactivated")
        if person.id not in place.members:
            raise SlackError("not_in_channel")
        return person, place

    def _session(self, place: Channel, thread_ts: str) -> None:
        self._workspace.thread_root(place, thread_ts)
        known = self._workspace.sessions.known(place.id, thread_ts)
        if known is None and place.kind != "im":
            raise SlackError("session_not_found")

    def _place(self, channel: str) -> Channel:
        place = self._workspace.channel(channel)
        if place.archived:
            raise SlackError("is_archived")
        return place

    def _message(self, author: User, place: Channel, text: str, options: Saying) -> Message:
        typed = texts.typed(text, self._workspace.state.user_ids)
        files = self._files(author, place, options)
        if not typed and not files:
            raise SlackError("no_text")
        thread_ts = options.get("thread_ts")
        if thread_ts is not None:
            self._workspace.thread_root(place, thread_ts)
        message = Message(
            channel=place.id,
            ts=self._workspace.state.next_ts(),
            text=typed,
            team=author.team_id,
            at=self._workspace.clock.now(),
            thread_ts=thread_ts,
            blocks=texts.rich_text(typed, secrets.token_hex(2)),
            files=files,
            subtype="file_share" if files else None,
        )
        if thread_ts is not None and options.get("broadcast"):
            message = replace(message, subtype="thread_broadcast")
        return _signed(message, author)

    def _files(self, author: User, place: Channel, options: Saying) -> list[Json]:
        external, base = bool(place.shared_with), self._workspace.url
        files = [named(name, author) for name in options.get("files", ())]
        files += [self._upload(file_id) for file_id in options.get("file_ids", ())]
        return [file_json(file, author, base, external=external) for file in files]

    def _upload(self, file_id: str) -> StoredFile:
        kept = self._workspace.files.get(file_id)
        if kept is None:
            raise SlackError("file_not_found")
        return kept

    def _send(self, envelopes: list[Json], options: Delivering) -> None:
        if options.get("deliver", True):
            twins = options.get("twins", "message_first")
            self._workspace.publish(envelopes, twins, options.get("duplicate", 0))


def _tombstone(file: Json) -> Json:
    return {"id": file["id"], "mode": "tombstone"}


def _signed(message: Message, author: User) -> Message:
    if author.bot_id is None:
        return replace(message, user=author.id, client_msg_id=str(uuid.uuid4()))
    return replace(
        message, bot_id=author.bot_id, username=author.name, subtype="bot_message", blocks=[]
    )
