"""What people see and press beyond messages: views, triggers, response URLs, user groups."""

import secrets
import time
from dataclasses import dataclass, field
from operator import attrgetter

from bot.local.clock import Clock
from bot.local.model import Json, SlackError
from bot.local.shelf import Shelf
from bot.local.state import State

TRIGGER_SECONDS = 3.0
RESPONSE_SECONDS = 1_800.0
RESPONSE_USES = 5


@dataclass(frozen=True, slots=True)
class OpenView:
    """A modal or home tab that `user` of `team` has before them.

    `body` is the view as the app gave it, completed; `values` what was typed, by block and action;
    `errors` what the app objected to; `org` whether it was opened under an org-wide install.
    """

    id: str
    user: str
    team: str
    body: Json
    hash: str
    root: str
    previous: str | None = None
    org: bool = False
    values: Json = field(default_factory=dict)
    errors: Json = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`modal` or `home`."""
        kind: str = self.body["type"]
        return kind


@dataclass(frozen=True, slots=True)
class Trigger:
    """The right to open one view; `view` is the modal that it came from, `at` server time."""

    id: str
    user: str
    team: str
    at: float
    view: str | None = None
    org: bool = False
    used: bool = False


@dataclass(frozen=True, slots=True)
class ResponseUrl:
    """Where the app may answer an interaction; `original` is the ts of what was pressed."""

    id: str
    user: str
    channel: str
    at: float
    original: str | None = None
    uses: int = 0


@dataclass(frozen=True, slots=True)
class UserGroup:
    """A user group of the workspace."""

    id: str
    handle: str
    name: str
    users: list[str]
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Warned:
    """A person saw that the app did not answer as it must; `on` is the message or the view."""

    id: str
    user: str
    kind: str
    on: str
    failure: str
    at: float


@dataclass(frozen=True, slots=True)
class Screen:
    """The blocks that a message had before its latest change, as a slow screen still shows."""

    id: str
    blocks: list[Json]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a direct message suggests to say; the id is the channel's, with `/` and the thread's ts."""

    id: str
    channel: str
    title: str | None
    prompts: list[Json]
    thread_ts: str | None = None


class Surfaces:
    """The shelves of all of these."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._clock = clock
        self.views = Shelf(state, "views", OpenView, attrgetter("user"))
        self.triggers = Shelf(state, "triggers", Trigger)
        self.urls = Shelf(state, "response_urls", ResponseUrl)
        self.groups = Shelf(state, "user_groups", UserGroup)
        self.warnings = Shelf(state, "warnings", Warned)
        self.screens = Shelf(state, "screens", Screen)
        self.prompts = Shelf(state, "prompts", Prompts)

    def clear(self) -> None:
        """Forget everything."""
        self.views.clear()
        self.triggers.clear()
        self.urls.clear()
        self.groups.clear()
        self.warnings.clear()
        self.screens.clear()
        self.prompts.clear()

    # ----------------------------------------------------------------- triggers

    def trigger(self, user: str, team: str, *, view: str | None = None, org: bool = False) -> str:
        """A new trigger_id, good for one view within three seconds."""
        one, other = secrets.randbelow(10**12), secrets.randbelow(10**12)
        trigger_id = f"{one}.{other}.{secrets.token_hex(16)}"
        self.triggers.put(Trigger(trigger_id, user, team, self._clock.now(), view, org))
        return trigger_id

    def valid(self, trigger_id: str) -> Trigger:
        """The trigger, still unused; SlackError as views.open has it."""
        trigger = self.triggers.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self._clock.now() - trigger.at > TRIGGER_SECONDS:
            raise SlackError("expired_trigger_id")
        return trigger

    # ------------------------------------------------------------------ warnings

    def warn(self, user: str, kind: str, on: str, failure: str) -> None:
        """Show a person that their press or their form did not reach the app."""
        warned = Warned(secrets.token_hex(8), user, kind, on, failure, time.time())
        self.warnings.put(warned)

    # --------------------------------------------------------------------- views

    def stack(self, user: str) -> list[OpenView]:
        """A person's open modals, the one on top last."""
        modals = [view for view in self.views if view.user == user and view.kind == "modal"]
        return sorted(modals, key=lambda view: self._depth(view.id))

    def home(self, user: str) -> OpenView | None:
        """A person's home tab; None when nothing was published to it."""
        homes = (view for view in self.views if view.user == user and view.kind == "home")
        return next(homes, None)

    def _depth(self, view_id: str | None) -> int:
        view = self.views.get(view_id or "")
        return 0 if view is None else 1 + self._depth(view.previous)
