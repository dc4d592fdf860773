"""What people press and fill in (docs.slack.dev/interactivity/handling-user-interaction).

Each interaction is delivered once, signed, within 3 s; what fails is a warning that the person
sees and nothing more.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

from bot.local import payloads
from bot.local.interactive import check_filled, placed, pressable, state_of
from bot.local.model import Ephemeral, Json, Message, SlackError, User
from bot.local.posting import Answer
from bot.local.surfaces import OpenView
from bot.local.view_checks import check_view
from bot.local.views import Views
from bot.local.workspace import Workspace

_OK = 200


class Pressing(TypedDict, total=False):
    """Which element is meant, and how it is pressed.

    `action_id`, `block_id`, `value` and `text` (the label) must together name one element; for a
    select `value` is the choice. `channel` is needed only where a ts is not unique. `values` are
    the inputs beside it. `anyway`: press what this person's screen should not show (removed by
    now, hidden from them, in a channel they have left, after deactivation), as a late or crafted
    request does. `org_install`: as under an org-wide install. `times`: that often at once.
    """

    channel: str | None
    action_id: str | None
    block_id: str | None
    value: Any
    text: str | None
    values: Json
    anyway: bool
    org_install: bool
    times: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """One interaction: what was sent and how the app answered; `failure` None when it was taken."""

    status: int
    failure: str | None
    payload: Json

    @property
    def trigger_id(self) -> str:
        """The right to open a view that went with it; empty without one."""
        trigger_id: str = self.payload.get("trigger_id", "")
        return trigger_id

    @property
    def response_url(self) -> str:
        """Where the app may answer; empty without one."""
        url: str = self.payload.get("response_url", "")
        return url


class Interactions:
    """The gestures beyond messages; SlackError when Slack's client would not allow one."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._surfaces = workspace.surfaces
        self._views = Views(workspace)

    # ------------------------------------------------------------------- pressing

    async def click(self, user: str, on: str, **how: Unpack[Pressing]) -> list[Pressed]:
        """Press an element of a message (its ts) or of a view (its id)."""
        person = self._workspace.user(user)
        if person.deleted and not how.get("anyway"):
            raise SlackError("user_deactivated")
        view = self._surfaces.views.get(on)
        sent = [
            self._on_view(person, view, how) if view else self._on(person, on, how)
            for _ in range(how.get("times", 1))
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._deliver(person, on, one)) for one in sent]
        return [task.result()[0] for task in tasks]

    async def shortcut(self, user: str, ts: str, callback_id: str, channel: str = "") -> Pressed:
        """Choose a message shortcut of our app: `message_action`."""
        person = self._workspace.user(user)
        message = self._message(ts, channel)
        if not isinstance(message, Message):
            raise SlackError("message_not_found")
        self._check_inside(person, message)
        team = self._workspace.who.team_id
        payload = payloads.common(self._workspace, "message_action", person, team, org=False)
        payload |= {
            "action_ts": self._workspace.state.next_ts(),
            "callback_id": callback_id,
            "trigger_id": self._surfaces.trigger(person.id, person.team_id),
            "channel": payloads.channel(self._workspace, message.channel),
            "message_ts": ts,
            "message": payloads.on_message(self._workspace, message, {})["message"],
            "response_url": payloads.response_url(self._workspace, person, message.channel, ts),
        }
        return (await self._deliver(person, ts, payload))[0]

    def _on(self, person: User, ts: str, how: Pressing) -> Json:
        message = self._message(ts, how.get("channel") or "")
        anyway, org = how.get("anyway", False), how.get("org_install", False)
        if not anyway:
            self._check_inside(person, message)
        blocks = message.blocks
        screen = self._surfaces.screens.get(f"{message.channel}/{ts}")
        if anyway and screen is not None and not _matching(blocks, how):
            blocks = screen.blocks
        block, element = _pressed(person, blocks, how)
        values = state_of(blocks, placed(blocks, how.get("values", {})))
        team = self._workspace.who.team_id
        payload = payloads.common(self._workspace, "block_actions", person, team, org=org)
        payload |= payloads.on_message(self._workspace, message, values)
        payload["trigger_id"] = self._surfaces.trigger(person.id, person.team_id, org=org)
        url = payloads.response_url(self._workspace, person, message.channel, ts)
        return payload | {"response_url": url} | self._actions(block, element, how)

    def _on_view(self, person: User, view: OpenView, how: Pressing) -> Json:
        if view.user != person.id:
            raise SlackError("view_not_found")
        org = view.org or how.get("org_install", False)
        values = placed(view.body["blocks"], how.get("values", {}))
        view = self._surfaces.views.put(replace(view, values=_merged(view.values, values)))
        block, element = _pressed(person, view.body["blocks"], how)
        payload = payloads.common(self._workspace, "block_actions", person, view.team, org=org)
        trigger = self._surfaces.trigger(person.id, view.team, view=view.id, org=org)
        payload |= payloads.on_view(self._workspace, view) | {"trigger_id": trigger}
        return payload | self._actions(block, element, how)

    def _actions(self, block: Json, element: Json, how: Pressing) -> Json:
        ts = self._workspace.state.next_ts()
        return {"actions": [payloads.action(block, element, how.get("value"), ts)]}

    def _message(self, ts: str, channel: str) -> Message | Ephemeral:
        state = self._workspace.state
        places = [self._workspace.channel(channel).id] if channel else list(state.channels)
        said = (state.message(place, ts) for place in places)
        seen = (one for one in state.ephemerals if one.ts == ts and one.channel in places)
        for message in (*said, *seen):
            if message is not None and getattr(message, "subtype", None) != "tombstone":
                return message
        raise SlackError("message_not_found")

    def _check_inside(self, person: User, message: Message | Ephemeral) -> None:
        if person.id not in self._workspace.state.channels[message.channel].members:
            raise SlackError("not_in_channel")
        if isinstance(message, Ephemeral) and message.user != person.id:
            raise SlackError("message_not_found")

    # ---------------------------------------------------------------------- views

    async def submit(self, user: str, view_id: str, values: Json) -> Pressed:
        """Fill in a modal and submit it; what the app answers happens to the view."""
        person, view = self._own(user, view_id)
        if view.body["submit"] is None:
            raise SlackError("view_not_submittable")
        blocks = view.body["blocks"]
        typed = _merged(view.values, placed(blocks, values))
        check_filled(blocks, state_of(blocks, typed))
        view = self._surfaces.views.put(replace(view, values=typed, errors={}))
        payload = self._about_view(person, view, "view_submission")
        payload["trigger_id"] = self._surfaces.trigger(
            person.id, view.team, view=view.id, org=view.org
        )
        pressed, answer = await self._deliver(person, view.id, payload)
        if pressed.failure is not None:
            return pressed
        try:
            self._follow(view.id, answer.body)
        except SlackError as refused:
            failure = f"invalid_response: {refused.name}"
            self._surfaces.warn(person.id, "view_submission", view.id, failure)
            return replace(pressed, failure=failure)
        return pressed

    async def close(self, user: str, view_id: str, *, everything: bool = False) -> Pressed | None:
        """Close a modal, or with `everything` its whole stack; what was sent, if anything was."""
        person, view = self._own(user, view_id)
        cleared = everything or bool(view.body["clear_on_close"])
        if cleared:
            self._views.clear(person.id)
        else:
            self._views.close(view)
        if not view.body["notify_on_close"]:
            return None
        payload = self._about_view(person, view, "view_closed") | {"is_cleared": cleared}
        answer = await self._workspace.courier.interact(payload)
        return Pressed(answer.status, answer.failure, payload)

    def home(self, user: str, tab: str = "home") -> None:
        """Open our app's home, at its `home` or its `messages` tab: `app_home_opened`."""
        person = self._workspace.user(user)
        shown = self._surfaces.home(person.id) if tab == "home" else None
        view = payloads.view_json(self._workspace, shown) if shown is not None else None
        dm = self._workspace.dm(person)
        self._workspace.emit(self._workspace.events.home_opened(dm.id, person.id, tab, view))

    def _own(self, user: str, view_id: str) -> tuple[User, OpenView]:
        person = self._workspace.user(user)
        stack = self._surfaces.stack(person.id)
        # Only the modal on top can be touched.
        if not stack or stack[-1].id != view_id:
            raise SlackError("view_not_found")
        return person, stack[-1]

    def _about_view(self, person: User, view: OpenView, kind: str) -> Json:
        payload = payloads.common(self._workspace, kind, person, view.team, org=view.org)
        shown = payloads.view_json(self._workspace, view, filled=kind == "view_submission")
        return payload | {"view": shown, "response_urls": []}

    def _follow(self, view_id: str, body: str) -> None:
        """Do to the view what the app answered (docs.slack.dev/surfaces/modals)."""
        asked = _read(body)
        view = self._surfaces.views.get(view_id)
        if view is None:
            return
        match asked.get("response_action"):
            case None:
                self._views.close(view)
            case "clear":
                self._views.clear(view.user)
            case "errors":
                self._object(view, asked.get("errors"))
            case "update":
                self._views.update(view, check_view(asked.get("view"), "modal"))
            case "push":
                self._views.push_on(view, check_view(asked.get("view"), "modal"))
            case _:
                raise SlackError("response_action")

    def _object(self, view: OpenView, errors: Any) -> None:
        inputs = {one["block_id"] for one in view.body["blocks"] if one["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not errors.keys() <= inputs:
            raise SlackError("errors")
        self._surfaces.views.put(replace(view, errors=errors))

    # ------------------------------------------------------------------- delivery

    async def _deliver(self, person: User, on: str, payload: Json) -> tuple[Pressed, Answer]:
        answer = await self._workspace.courier.interact(payload)
        failure = answer.failure
        if failure is None and answer.status != _OK:
            failure = "http_error"
        if failure is not None:
            self._surfaces.warn(person.id, payload["type"], on, failure)
        return Pressed(answer.status, failure, payload), answer


def _pressed(person: User, blocks: list[Json], how: Pressing) -> tuple[Json, Json]:
    found = _matching(blocks, how)
    if not found:
        raise SlackError("action_not_found")
    if len(found) > 1:
        raise SlackError("action_ambiguous")
    [(block, element)] = found
    seen_by = element.get("visible_to_user_ids")
    if seen_by and person.id not in seen_by and not how.get("anyway"):
        raise SlackError("action_not_visible")
    return block, element


def _matching(blocks: list[Json], how: Pressing) -> list[tuple[Json, Json]]:
    return [(block, element) for block, element in pressable(blocks) if _meant(block, element, how)]


def _meant(block: Json, element: Json, how: Pressing) -> bool:
    return all(
        wanted is None or wanted == has for wanted, has in _compared(block, element, how)
    ) and (element["type"] in _PRESSED or "value" in how)


_PRESSED = frozenset({"button", "workflow_button", "icon_button"})


def _compared(block: Json, element: Json, how: Pressing) -> Iterator[tuple[Any, Any]]:
    yield how.get("action_id"), element["action_id"]
    yield how.get("block_id"), block["block_id"]
    if element["type"] in _PRESSED:
        yield how.get("value"), element.get("value")
        yield how.get("text"), element.get("text", {}).get("text")


def _merged(before: Json, more: Json) -> Json:
    return before | {block: before.get(block, {}) | values for block, values in more.items()}


def _read(body: str) -> Json:
    if not body.strip():
        return {}
    try:
        asked = json.loads(body)
    except ValueError as broken:
        raise SlackError("not_json") from broken
    if not isinstance(asked, dict) or (asked and "response_action" not in asked):
        raise SlackError("not_a_response_action")
    return asked
