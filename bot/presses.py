"""Pure: what people pressed and filled in, read from payloads that Slack signed.

docs.slack.dev/reference/interaction-payloads. Nothing is believed here but who, where and which
button: what a button's value names is looked up, and compared with these, by `bot.proving`.
"""

import re
from dataclasses import dataclass

from bot import modals
from bot.incoming import Ignored, InstallIdentity, Unreadable
from bot.payload import Json, object_of, part, text_of, timestamp

INTERACTIONS = frozenset(
    {
        "block_actions",
        "block_suggestion",
        "interactive_message",
        "message_action",
        "shortcut",
        "view_closed",
        "view_submission",
    }
)
_ACTION = re.compile(
    r"approval\.(allow|deny|remember|view|again)|course\.change|"
    r"escalation\.(answer|cancel|view|choose\.[0-9])|home\.refresh"
)
_INPUTS = {modals.DENY: modals.REASON, modals.ANSWER: modals.TEXT}
_ONLY_AT_HOME = frozenset({"home.refresh"})
_LONGEST_VALUE = 200
_PRIVATE = ("directmessage", "privategroup")
HOME = "threadline.home"  # the callback_id of our home tab
FROM_HOME = "@home"  # at the end of what a form carries that was opened there


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A button of ours was pressed. `ours`: in a message that our own bot wrote.

    `inside`: the place lets nobody look in who does not belong to it. `home`: on the person's home
    tab, which is no channel and no message.
    """

    action: str
    value: str
    user_id: str
    team_id: str | None
    channel_id: str
    message_ts: str
    thread_ts: str | None
    ours: bool
    inside: bool
    trigger_id: str
    action_ts: str
    home: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A form of ours was sent; `field` is the input that a complaint is shown at."""

    form: str
    value: str
    user_id: str
    team_id: str | None
    field: str
    text: str

    @property
    def home(self) -> bool:
        """Whether it was opened on the person's home tab."""
        return self.value.endswith(FROM_HOME)


def is_interaction(body: Json) -> bool:
    """Whether a payload is an interaction, ours or not, and no event or command."""
    return body.get("type") in INTERACTIONS


def parse(payload: object, install: InstallIdentity) -> Press | Submission | Ignored:
    """What an interaction means; Ignored for what no button or form of ours made.

    Raises Unreadable for one of ours that lacks what Slack always sends.
    """
    body = object_of(payload)
    match body.get("type"):
        case "block_actions":
            return _pressed(body, install)
        case "view_submission":
            return _submitted(body)
        case kind:
            return Ignored("interaction", str(kind)[:40])


def _pressed(body: Json, install: InstallIdentity) -> Press | Ignored:
    action = _action(body)
    if action is None:
        return Ignored("interaction", "block_actions")
    container = part(body, "container")
    if container.get("type") == "view":
        return _pressed_at_home(body, action, install)
    if action["action_id"] in _ONLY_AT_HOME:
        return Ignored("interaction", "block_actions")
    channel, message = part(body, "channel"), part(body, "message")
    channel_id = _needed(container, "channel_id")
    if (text_of(channel, "id") or channel_id) != channel_id:
        raise Unreadable("an interaction that names two channels")
    thread_ts = text_of(container, "thread_ts") or text_of(message, "thread_ts")
    return Press(
        action=str(action["action_id"]),
        value=text_of(action, "value") or "",
        user_id=_needed(part(body, "user"), "id"),
        team_id=text_of(part(body, "user"), "team_id"),
        channel_id=channel_id,
        message_ts=timestamp(container.get("message_ts")),
        thread_ts=timestamp(thread_ts) if thread_ts else None,
        ours=_is_ours(message, install),
        inside=channel_id[:1] in ("D", "G") or text_of(channel, "name") in _PRIVATE,
        trigger_id=text_of(body, "trigger_id") or "",
        action_ts=timestamp(action.get("action_ts")),
    )


def _pressed_at_home(body: Json, action: Json, install: InstallIdentity) -> Press | Ignored:
    """Ignored in any other view, and in the home of another app."""
    view = part(body, "view")
    ours = text_of(view, "app_id") in (None, install.api_app_id)
    if (view.get("type"), view.get("callback_id"), ours) != ("home", HOME, True):
        return Ignored("interaction", "block_actions")
    return Press(
        action=str(action["action_id"]),
        value=text_of(action, "value") or "",
        user_id=_needed(part(body, "user"), "id"),
        team_id=text_of(part(body, "user"), "team_id"),
        channel_id="",
        message_ts="",
        thread_ts=None,
        ours=True,
        inside=False,
        trigger_id=text_of(body, "trigger_id") or "",
        action_ts=timestamp(action.get("action_ts")),
        home=True,
    )


def _action(body: Json) -> Json | None:
    """The first action that a button of ours made; buttons with an address only open it."""
    listed = body.get("actions")
    for action in listed if isinstance(listed, list) else ():
        if isinstance(action, dict) and action.get("type") == "button" and "url" not in action:
            name, value = action.get("action_id"), action.get("value")
            readable = isinstance(value, str) and len(value) <= _LONGEST_VALUE
            if isinstance(name, str) and _ACTION.fullmatch(name) and readable:
                return action
    return None


def _is_ours(message: Json, install: InstallIdentity) -> bool:
    user, bot = text_of(message, "user"), text_of(message, "bot_id")
    return user == install.bot_user_id or (bot is not None and bot == install.bot_id)


def _submitted(body: Json) -> Submission | Ignored:
    view = part(body, "view")
    form = text_of(view, "callback_id") or ""
    if form not in _INPUTS:
        return Ignored("interaction", "view_submission")
    field = _INPUTS[form]
    values = part(part(view, "state"), "values")
    return Submission(
        form=form,
        value=(text_of(view, "private_metadata") or "")[: _LONGEST_VALUE + 1],
        user_id=_needed(part(body, "user"), "id"),
        team_id=text_of(part(body, "user"), "team_id"),
        field=field,
        text=text_of(part(part(values, field), field), "value") or "",
    )


def field_of(body: Json) -> str | None:
    """The input of a form of ours at which a complaint can be shown, without reading the rest."""
    form = text_of(part(body, "view"), "callback_id")
    return _INPUTS.get(form or "") if body.get("type") == "view_submission" else None


def _needed(body: Json, name: str) -> str:
    found = text_of(body, name)
    if found is None:
        raise Unreadable(f"an interaction without {name}")
    return found
