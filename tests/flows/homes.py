"""Steps that the tests of the home tab share."""

import json
from typing import Any

from bot import presses
from bot.local.interactive import pressable
from bot.local.surfaces import OpenView
from router.humans import Asked
from tests.flows.people import ref
from tests.harness import World
from tests.support import eventually


def publishes(here: World, user: str | None = None) -> list[dict[str, Any]]:
    """What was asked of views.publish, oldest first."""
    user_id = here.slack.users.get(user or "", user)
    calls = [c.args for c in here.slack.calls if c.method == "views.publish"]
    return [args for args in calls if user_id in (None, args["user_id"])]


async def opened(here: World, user: str) -> OpenView:
    """A person's home tab, as it is once that opening of it is answered."""
    before = len(publishes(here, user))
    await here.slack.open_home(user)
    await eventually(lambda: len(publishes(here, user)) > before, says=f"the home of {user}")
    view = await eventually(lambda: here.slack.home_view(user))
    assert view is not None
    return view


def shows(view: OpenView | None) -> str:
    assert view is not None
    return json.dumps(view.body["blocks"], ensure_ascii=False)


async def becomes(here: World, user: str, *, says: str = "", lacks: str = "") -> OpenView:
    """A person's home tab once it says the one and not the other."""

    def now() -> OpenView:
        view = here.slack.home_view(user)
        text = shows(view)
        assert says in text, text
        assert not lacks or lacks not in text, text
        assert view is not None
        return view

    return await eventually(now)


def waits_for(view: OpenView) -> set[str]:
    """The refs of what can be decided there."""
    return {
        str(element["value"])
        for _, element in pressable(view.body["blocks"])
        if element["action_id"] in ("approval.allow", "escalation.answer")
    }


def value(asked: Asked) -> str:
    return ref(asked).opaque()


async def press(here: World, user: str, action_id: str, of: str) -> Any:
    view = here.slack.home_view(user)
    assert view is not None
    [pressed] = await here.slack.click(user, view.id, action_id=action_id, value=of)
    assert pressed.failure is None
    return pressed


def crafted(here: World, user: str, action_id: str, of: str, **view: Any) -> dict[str, Any]:
    """A signed click on a home tab that nobody was shown."""
    slack = here.slack
    shown = {"type": "home", "callback_id": presses.HOME, "app_id": slack.api_app_id}
    button = {"type": "button", "action_id": action_id, "block_id": "b", "value": of}
    return {
        "type": "block_actions",
        "user": {"id": slack.users[user], "username": user, "team_id": slack.team_id},
        "api_app_id": slack.api_app_id,
        "team": {"id": slack.team_id, "domain": "local"},
        "enterprise": None,
        "is_enterprise_install": False,
        "container": {"type": "view", "view_id": "V1"},
        "view": shown | {"id": "V1", "app_installed_team_id": slack.team_id} | view,
        "trigger_id": slack.workspace.surfaces.trigger(slack.users[user], slack.team_id),
        "actions": [button | {"action_ts": "1700000000.000100"}],
    }
