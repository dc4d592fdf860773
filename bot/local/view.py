"""What can be seen of a local workspace from Python."""

from bot.local.control import shown_state
from bot.local.model import Call, Delivery, Ephemeral, Json, Message, Status
from bot.local.surfaces import OpenView, Warned
from bot.local.workspace import Workspace


class View:
    """The reading half of `LocalSlack`; changes nothing but to let due streams expire."""

    workspace: Workspace
    url: str

    # ---------------------------------------------------------------- who and where

    @property
    def api_url(self) -> str:
        """The Web API's base, as `slack_sdk` wants it."""
        return f"{self.url}/api/"

    @property
    def team_id(self) -> str:
        """The workspace that the app is installed in."""
        return self.workspace.who.team_id

    @property
    def api_app_id(self) -> str:
        """Our app."""
        return self.workspace.who.api_app_id

    @property
    def bot_user_id(self) -> str:
        """Our app's user, the one that people mention."""
        return self.workspace.who.bot_user_id

    @property
    def bot_id(self) -> str:
        """Our app's bot."""
        return self.workspace.who.bot_id

    @property
    def bot_token(self) -> str:
        """The token that the Web API accepts."""
        return self.workspace.bot_token

    @property
    def app_token(self) -> str:
        """The token that apps.connections.open accepts."""
        return self.workspace.app_token

    @property
    def signing_secret(self) -> str:
        """What requests to the app are signed with."""
        return self.workspace.signing_secret

    @property
    def users(self) -> dict[str, str]:
        """User ids by name."""
        return dict(self.workspace.state.user_ids)

    @property
    def channels(self) -> dict[str, str]:
        """Channel ids by name, without direct messages."""
        return dict(self.workspace.state.channel_ids)

    def dm(self, user: str) -> str:
        """The id of the direct message between our bot and that user."""
        return self.workspace.dm(self.workspace.user(user)).id

    @property
    def connections(self) -> int:
        """How many web sockets are open."""
        return self.workspace.sockets.count

    # ------------------------------------------------------------------- what is seen

    def replies(self, channel: str, thread_ts: str) -> list[Message]:
        """What a person sees in that thread, its root first; empty when there is none."""
        place = self.workspace.channel(channel)
        self.workspace.streams.expire()
        state = self.workspace.state
        root = state.message(place.id, thread_ts)
        if root is None:
            return []
        return [root, *state.pick(place.id, state.reply_ts(place.id, thread_ts))]

    def history(self, channel: str) -> list[Message]:
        """What a person sees in the channel itself, oldest first."""
        place = self.workspace.channel(channel)
        self.workspace.streams.expire()
        return self.workspace.state.pick(place.id, self.workspace.state.top_ts(place.id))

    def shown_status(self, channel: str, thread_ts: str) -> str | None:
        """What the thread shows of its agent now; None without an agent session."""
        place = self.workspace.channel(channel)
        return self.workspace.sessions.shown(place.id, thread_ts)

    @property
    def ephemerals(self) -> list[Ephemeral]:
        """Messages that one person saw, oldest first."""
        return list(self.workspace.state.ephemerals)

    def open_views(self, user: str) -> list[OpenView]:
        """A person's open modals, the one on top last."""
        return self.workspace.surfaces.stack(self.workspace.user(user).id)

    def home_view(self, user: str) -> OpenView | None:
        """What was published to a person's home tab."""
        return self.workspace.surfaces.home(self.workspace.user(user).id)

    def warnings(self, user: str | None = None) -> list[Warned]:
        """What went wrong before people's eyes, of one person or of all, oldest first."""
        only = self.workspace.user(user).id if user is not None else None
        return [one for one in self.workspace.surfaces.warnings if only in (None, one.user)]

    @property
    def user_groups(self) -> dict[str, str]:
        """User group ids by handle."""
        return {group.handle: group.id for group in self.workspace.surfaces.groups}

    @property
    def statuses(self) -> list[Status]:
        """Changes of agent sessions, oldest first."""
        return list(self.workspace.state.statuses)

    @property
    def calls(self) -> list[Call]:
        """Web API calls received (the newest 20,000), oldest first."""
        return list(self.workspace.calls)

    @property
    def deliveries(self) -> list[Delivery]:
        """Attempts to deliver an event (the newest 20,000), oldest first."""
        return list(self.workspace.courier.deliveries)

    @property
    def unknown_methods(self) -> dict[str, int]:
        """Web API methods that were called and do not exist here, with how often."""
        return dict(self.workspace.unknown_methods)

    def state(self, limit: int = 1_000) -> Json:
        """The same as `GET /_control/state`."""
        return shown_state(self.workspace, limit)
