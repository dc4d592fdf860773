"""What people do in a local workspace, from Python."""

from collections.abc import Sequence
from typing import Literal, Unpack

from bot.local.interactions import Interactions, Pressed, Pressing
from bot.local.model import Json, Message, UserKind
from bot.local.people import Delivering, People, Saying
from bot.local.view import View


class Gestures(View):
    """The half of `LocalSlack` that acts for people; SlackError where Slack would refuse them."""

    _people: People
    _interactions: Interactions

    def add_user(self, name: str, team_id: str | None = None, kind: UserKind = "member") -> str:
        """One more person (a stranger when `team_id` is another team); returns the id."""
        return self.workspace.add_user(name, team_id, kind).id

    def set_user(
        self, user: str, *, deleted: bool | None = None, kind: UserKind | None = None
    ) -> None:
        """Deactivate an account or bring it back (to no channel), or give it another rank."""
        self._people.set_user(user, deleted=deleted, kind=kind)

    def set_user_group(self, handle: str, users: Sequence[str], *, disabled: bool = False) -> str:
        """Make a user group or change the one of that handle; returns its id."""
        return self._people.set_user_group(handle, users, disabled=disabled).id

    def add_channel(self, name: str, members: Sequence[str]) -> str:
        """One more public channel with these people and our bot; returns its id."""
        return self.workspace.add_channel(name, [self.workspace.user(one) for one in members]).id

    # --------------------------------------------------------------------- gestures

    async def say(self, user: str, channel: str, text: str, **options: Unpack[Saying]) -> Message:
        """Post as that user; `@threadline` and other `@name`s become mentions."""
        return self._people.say(user, channel, text, **options)

    async def edit(
        self, channel: str, ts: str, text: str, **options: Unpack[Delivering]
    ) -> Message:
        """Edit a person's message."""
        return self._people.edit(channel, ts, text, **options)

    async def unfurl(self, channel: str, ts: str, url: str) -> Message:
        """Attach a link preview: a `message_changed` that is no edit."""
        return self._people.unfurl(channel, ts, url)

    async def delete(self, channel: str, ts: str, **options: Unpack[Delivering]) -> None:
        """Delete a message."""
        self._people.delete(channel, ts, **options)

    async def upload(self, user: str, name: str, content: bytes) -> str:
        """Bring a file as that user; the id by which `say` takes it, with `file_ids`."""
        owner = self.workspace.user(user)
        return self.workspace.files.keep(name, owner.id, content).id

    async def delete_file(self, file_id: str) -> None:
        """Delete a file; messages that carry it show that it is gone, and the app is not told."""
        self._people.delete_file(file_id)

    async def react(self, user: str, channel: str, ts: str, name: str) -> Message:
        """React to a message as that user."""
        return self._people.react(user, channel, ts, name)

    async def unreact(self, user: str, channel: str, ts: str, name: str) -> Message:
        """Take that user's reaction away."""
        return self._people.react(user, channel, ts, name, away=True)

    async def stop(self, user: str, channel: str, thread_ts: str) -> list[str]:
        """Press a thread's stop button; returns the ts of the streams that Slack ended.

        It works after the end too, as a late click does. The status is left to the app.
        """
        return self._people.stop(user, channel, thread_ts)

    async def rename(self, user: str, channel: str, thread_ts: str, title: str) -> None:
        """Give the agent session of a thread another title as that user."""
        self._people.rename(user, channel, thread_ts, title)

    async def mark(self, user: str, channel: str, ts: str) -> None:
        """Have read a conversation up to that ts."""
        self._people.mark(user, channel, ts)

    # -------------------------------------------------------------- interactions

    async def click(self, user: str, on: str, **how: Unpack[Pressing]) -> list[Pressed]:
        """Press a button of a message (`on` is its ts) or of a view (its id), as `Pressing` says.

        What came of each press, `times` of them, once the app has answered or 3 s have passed.
        """
        return await self._interactions.click(user, on, **how)

    async def submit(self, user: str, view_id: str, values: Json | None = None) -> Pressed:
        """Fill in the modal on top and submit it; `values` by block_id or action_id."""
        return await self._interactions.submit(user, view_id, values or {})

    async def close_view(
        self, user: str, view_id: str, *, everything: bool = False
    ) -> Pressed | None:
        """Close the modal on top, or all that are stacked; None when the app is not told."""
        return await self._interactions.close(user, view_id, everything=everything)

    async def shortcut(self, user: str, ts: str, callback_id: str, channel: str = "") -> Pressed:
        """Choose a message shortcut of our app."""
        return await self._interactions.shortcut(user, ts, callback_id, channel)

    async def open_home(self, user: str, tab: Literal["home", "messages"] = "home") -> None:
        """Open our app's home."""
        self._interactions.home(user, tab)
