"""The control routes for what people write, react to, read and stop."""

from pydantic import Field

from bot.local.model import Json, Twins
from bot.local.people import People
from bot.local.routes import Body
from bot.local.workspace import Workspace


class MessageBody(Body):
    """Somebody posts; `channel` and `user` are names or ids.

    `files` are names of files without content, `file_ids` those of uploads.
    """

    channel: str
    user: str
    text: str = ""
    thread_ts: str | None = None
    files: list[str] = Field(default_factory=list)
    file_ids: list[str] = Field(default_factory=list)
    broadcast: bool = False
    twins: Twins = "message_first"
    duplicate: int = Field(default=0, ge=0, le=100)


class EditBody(Body):
    """Somebody edits the message of that ts."""

    channel: str
    ts: str
    text: str
    twins: Twins = "message_first"
    duplicate: int = Field(default=0, ge=0, le=100)


class DeleteBody(Body):
    """Somebody deletes the message of that ts."""

    channel: str
    ts: str


class ReactBody(Body):
    """Somebody reacts to a message, or takes the reaction `away`."""

    user: str
    channel: str
    ts: str
    name: str
    away: bool = False


class StopBody(Body):
    """Somebody presses the stop button of a thread's agent session."""

    channel: str
    user: str
    thread_ts: str


class RenameBody(Body):
    """Somebody gives a thread's agent session another title."""

    user: str
    channel: str
    thread_ts: str
    title: str


class MarkBody(Body):
    """Somebody has read a conversation up to that ts."""

    user: str
    channel: str
    ts: str


class OpenDmBody(Body):
    """Somebody opens the direct message with our app."""

    user: str


class MessageControl:
    """The work behind these routes."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._people = People(workspace)

    def message(self, body: MessageBody) -> Json:
        """`/_control/message`."""
        message = self._people.say(
            body.user,
            body.channel,
            body.text,
            thread_ts=body.thread_ts,
            files=body.files,
            file_ids=body.file_ids,
            broadcast=body.broadcast,
            twins=body.twins,
            duplicate=body.duplicate,
        )
        return {"channel": message.channel, "ts": message.ts, "thread_ts": message.thread_ts}

    def edit(self, body: EditBody) -> Json:
        """`/_control/edit`."""
        message = self._people.edit(
            body.channel, body.ts, body.text, twins=body.twins, duplicate=body.duplicate
        )
        return {"channel": message.channel, "ts": message.ts, "thread_ts": message.thread_ts}

    def delete(self, body: DeleteBody) -> Json:
        """`/_control/delete`."""
        self._people.delete(body.channel, body.ts)
        return {"channel": body.channel, "ts": body.ts}

    def react(self, body: ReactBody) -> Json:
        """`/_control/react`."""
        message = self._people.react(body.user, body.channel, body.ts, body.name, away=body.away)
        return {"channel": message.channel, "ts": message.ts, "reactions": message.reactions}

    def stop(self, body: StopBody) -> Json:
        """`/_control/stop`."""
        return {"streaming_message_ts": self._people.stop(body.user, body.channel, body.thread_ts)}

    def rename(self, body: RenameBody) -> Json:
        """`/_control/rename`."""
        now = self._people.rename(body.user, body.channel, body.thread_ts, body.title)
        return {"channel": now.channel, "thread_ts": now.thread_ts, "title": now.title}

    def mark(self, body: MarkBody) -> Json:
        """`/_control/mark`."""
        return {"channel": self._people.mark(body.user, body.channel, body.ts), "ts": body.ts}

    def open_dm(self, body: OpenDmBody) -> Json:
        """`/_control/open_dm`."""
        return {"channel": self._workspace.dm(self._workspace.user(body.user)).id}
