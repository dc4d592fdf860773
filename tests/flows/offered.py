"""What is shown in a thread of the files that an agent wrote there."""

from bot.local.model import Message
from tests.harness import World, shown
from tests.support import eventually

MB = 1024**2
LOOKS = "files.list"
COMPLETE = "files.completeUploadExternal"
GET_URL = "files.getUploadURLExternal"
Shown = list[tuple[str, str] | str]


async def ask(here: World, text: str, root: Message | None = None) -> Message:
    channel, thread_ts = here.slack.dm("ada"), root.ts if root else None
    return await here.slack.say("ada", channel, text, thread_ts=thread_ts)


def seen(here: World, asked: Message) -> Shown:
    """What the bot's messages in a thread show, in order: texts, and files with what is in them."""
    return [
        (message.files[0]["name"], content(here, message).decode(errors="replace")[:12])
        if message.files
        else shown(message).partition("\nReference")[0]
        for message in here.slack.replies(asked.channel, asked.ts)
        if message.user == here.slack.bot_user_id
    ]


def content(here: World, message: Message) -> bytes:
    files = here.slack.workspace.files
    kept = files.get(message.files[0]["id"])
    assert kept is not None
    return b"".join(files.content(kept))


def files_in(here: World, asked: Message) -> list[str]:
    return [one[0] for one in seen(here, asked) if isinstance(one, tuple)]


def bearing(here: World, asked: Message) -> list[Message]:
    """The messages of a thread that bear a file."""
    return [m for m in here.slack.replies(asked.channel, asked.ts) if m.files]


async def quiet(here: World) -> None:
    """All is delivered, and no look is due."""
    due = "SELECT count(*) FROM output_looks WHERE due_at IS NOT NULL"

    async def nothing_due() -> bool:
        count: int = await here.connection.fetchval(due)
        return count == 0

    await here.at_rest()  # the end of a turn is what asks for looks
    await eventually(nothing_due, says="no look due")
    await here.at_rest()


async def shows(here: World, asked: Message, count: int) -> Shown:
    """The bot's messages, once there are so many and nothing more is to come."""
    await eventually(lambda: len(seen(here, asked)) >= count, 40, f"{count} messages")
    await quiet(here)
    return seen(here, asked)
