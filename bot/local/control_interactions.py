"""The control routes for what people press, fill in and are."""

from typing import Any, Literal

from pydantic import Field

from bot.local.interactions import Interactions, Pressed
from bot.local.model import Json, UserKind
from bot.local.people import People
from bot.local.routes import Body
from bot.local.surfaces import OpenView
from bot.local.workspace import Workspace


class ClickBody(Body):
    """Somebody presses an element of a message (`on` is its ts) or a view (its id).

    `action_id`, `block_id`, `value` and `text` (the label) must together name one element.
    `anyway` presses what this person's screen should not show; `times` presses at once.
    """

    user: str
    on: str
    channel: str | None = None
    action_id: str | None = None
    block_id: str | None = None
    value: Any = None
    text: str | None = None
    values: Json = Field(default_factory=dict)
    anyway: bool = False
    org_install: bool = False
    times: int = Field(default=1, ge=1, le=100)


class SubmitBody(Body):
    """Somebody fills in the modal on top and submits it; `values` by block_id or action_id."""

    user: str
    view: str
    values: Json = Field(default_factory=dict)


class CloseViewBody(Body):
    """Somebody closes the modal on top, or `everything` that is stacked."""

    user: str
    view: str
    everything: bool = False


class HomeBody(Body):
    """Somebody opens our app's home."""

    user: str
    tab: Literal["home", "messages"] = "home"


class ShortcutBody(Body):
    """Somebody chooses a message shortcut of our app."""

    user: str
    ts: str
    callback_id: str
    channel: str = ""


class UsergroupBody(Body):
    """A user group is made or changed; `users` are names or ids."""

    handle: str
    users: list[str]
    disabled: bool = False


class UserBody(Body):
    """An account is deactivated or brought back, or changes its rank."""

    user: str
    deleted: bool | None = None
    kind: UserKind | None = None


class InteractionControl:
    """The work behind these routes."""

    def __init__(self, workspace: Workspace) -> None:
        self._people = People(workspace)
        self._interactions = Interactions(workspace)

    async def click(self, body: ClickBody) -> Json:
        """`/_control/click`."""
        how: Any = body.model_dump(exclude={"user", "on"}, exclude_none=True)
        pressed = await self._interactions.click(body.user, body.on, **how)
        return {"clicks": [told(one) for one in pressed]}

    async def submit(self, body: SubmitBody) -> Json:
        """`/_control/submit`."""
        return told(await self._interactions.submit(body.user, body.view, body.values))

    async def close_view(self, body: CloseViewBody) -> Json:
        """`/_control/close_view`."""
        closing = self._interactions.close(body.user, body.view, everything=body.everything)
        pressed = await closing
        return {"sent": pressed is not None}

    async def shortcut(self, body: ShortcutBody) -> Json:
        """`/_control/shortcut`."""
        chosen = self._interactions.shortcut(body.user, body.ts, body.callback_id, body.channel)
        return told(await chosen)

    def home(self, body: HomeBody) -> Json:
        """`/_control/home`."""
        self._interactions.home(body.user, body.tab)
        return {}

    def usergroup(self, body: UsergroupBody) -> Json:
        """`/_control/usergroup`."""
        group = self._people.set_user_group(body.handle, body.users, disabled=body.disabled)
        return {"id": group.id, "users": group.users}

    def user(self, body: UserBody) -> Json:
        """`/_control/user`."""
        user = self._people.set_user(body.user, deleted=body.deleted, kind=body.kind)
        return {"id": user.id, "deleted": user.deleted, "kind": user.kind}


def told(pressed: Pressed) -> Json:
    """What the one who drives the workspace learns of an interaction."""
    return {
        "status": pressed.status,
        "failure": pressed.failure,
        "trigger_id": pressed.trigger_id,
        "response_url": pressed.response_url,
    }


def shown_views(workspace: Workspace) -> tuple[Json, Json]:
    """The open modals of each person, the one on top last, and each person's home tab."""
    surfaces = workspace.surfaces
    people = {view.user: None for view in surfaces.views}
    stacks = {user: [shown_view(view) for view in surfaces.stack(user)] for user in people}
    homes = {user: home for user in people if (home := surfaces.home(user)) is not None}
    return (
        {user: stack for user, stack in stacks.items() if stack},
        {user: shown_view(home) for user, home in homes.items()},
    )


def shown_view(view: OpenView) -> Json:
    """A view as people see it, with what they typed."""
    return {
        "id": view.id,
        "hash": view.hash,
        "root_view_id": view.root,
        "previous_view_id": view.previous,
        "values": view.values,
        "errors": view.errors,
        **view.body,
    }
