"""Interactions as Slack was seen to send them, and as it never would."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from bot import presses
from bot.incoming import Ignored, InstallIdentity, Unreadable
from bot.presses import Press, Submission, is_interaction, parse
from tests.contract.slack_cards import recorded

INSTALL = InstallIdentity("A111", "T111", "T111", None, "U222", "B111")
RECORDED = [
    "block_actions--confirm.json",
    "block_actions--ephemeral.json",
    "block_actions--message-button.json",
    "socket--interactive-block_actions.json",
    "message_action.json",
    "shortcut--global.json",
    "view_closed.json",
    "view_submission--form.json",
    "view_submission--org-install.json",
]


def with_button(body: dict[str, Any], action_id: str, value: str = "AQ") -> dict[str, Any]:
    """A recorded click as if a button of ours had been pressed."""
    changed = copy.deepcopy(body)
    action = changed["actions"][0] | {"type": "button", "action_id": action_id, "value": value}
    action.pop("url", None)
    return changed | {"actions": [action]}


@pytest.mark.parametrize("name", RECORDED)
def test_what_no_button_or_form_of_ours_made_is_ignored(name: str):
    body = recorded(name)
    assert is_interaction(body)
    found = parse(body, INSTALL)
    assert isinstance(found, Ignored)
    assert found.reason == "interaction"


def test_a_recorded_click_in_a_channel_is_read():
    body = recorded("socket--interactive-block_actions.json")
    assert parse(with_button(body, "approval.allow"), INSTALL) == Press(
        action="approval.allow",
        value="AQ",
        user_id="U111",
        team_id="T111",
        channel_id="C111",
        message_ts="1605853634.000400",
        thread_ts=None,
        ours=True,
        inside=False,
        trigger_id="111.222.xxx",
        action_ts="1605853645.582706",
    )


def test_a_recorded_click_on_an_ephemeral_message_is_on_none_of_ours():
    found = parse(with_button(recorded("block_actions--ephemeral.json"), "approval.deny"), INSTALL)
    assert isinstance(found, Press)
    assert (found.ours, found.user_id, found.thread_ts) == (False, "W111", None)


def test_a_recorded_form_of_an_org_wide_install_is_read():
    body = recorded("view_submission--org-install.json")
    value = {"reason": {"reason": {"type": "plain_text_input", "value": "no"}}}
    body["view"] |= {
        "callback_id": "approval.deny",
        "private_metadata": "AQ",
        "state": {"values": value},
    }
    assert parse(body, INSTALL) == Submission(
        form="approval.deny",
        value="AQ",
        user_id="W111",
        team_id="T_unexpected",
        field="reason",
        text="no",
    )
    assert presses.field_of(body) == "reason"


@pytest.mark.parametrize(
    ("channel", "inside"),
    [
        ({"id": "C111", "name": "random"}, False),
        ({"id": "C111", "name": "privategroup"}, True),
        ({"id": "C111", "name": "directmessage"}, True),
    ],
)
def test_a_place_that_lets_nobody_look_in_is_known(channel: dict[str, str], inside: object):
    body = with_button(recorded("socket--interactive-block_actions.json"), "approval.allow")
    found = parse(body | {"channel": channel}, INSTALL)
    assert isinstance(found, Press)
    assert found.inside is inside


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://example.com"},
        {"type": "static_select"},
        {"action_id": "approval.allow2"},
        {"action_id": "escalation.choose.10"},
        {"action_id": 7},
        {"value": None},
        {"value": "x" * 201},
    ],
    ids=str,
)
def test_buttons_of_others_and_those_with_an_address_are_ignored(change: dict[str, Any]):
    body = with_button(recorded("socket--interactive-block_actions.json"), "approval.allow")
    body["actions"][0] |= change
    assert parse(body, INSTALL) == Ignored("interaction", "block_actions")


@pytest.mark.parametrize(
    "change",
    [
        {"user": {}},
        {"container": {}},
        {"container": {"channel_id": "C111", "message_ts": "soon"}},
        {"channel": {"id": "C999"}},
    ],
    ids=str,
)
def test_a_click_of_ours_without_what_slack_always_sends_is_unreadable(change: dict[str, Any]):
    body = with_button(recorded("socket--interactive-block_actions.json"), "approval.allow")
    with pytest.raises(Unreadable):
        parse(body | change, INSTALL)


def at_home(action_id: str, value: str = "AQ", **view: Any) -> dict[str, Any]:
    """A click on the home tab, as a recorded one in a modal would be there."""
    body = with_button(recorded("socket--interactive-block_actions.json"), action_id, value)
    for name in ("channel", "message"):
        body.pop(name, None)
    shown = {"id": "V1", "type": "home", "callback_id": presses.HOME, "app_id": "A111"} | view
    return body | {"container": {"type": "view", "view_id": "V1"}, "view": shown}


@pytest.mark.parametrize("action", ["approval.allow", "escalation.choose.3", "home.refresh"])
def test_a_click_on_the_home_tab_is_in_no_channel(action: str):
    found = parse(at_home(action), INSTALL)
    assert isinstance(found, Press)
    assert (found.home, found.action, found.user_id) == (True, action, "U111")
    assert (found.channel_id, found.message_ts, found.inside) == ("", "", False)


@pytest.mark.parametrize(
    "view",
    [{"type": "modal"}, {"callback_id": "another"}, {"app_id": "A999"}, {"callback_id": None}],
    ids=str,
)
def test_a_click_in_another_view_is_ignored(view: dict[str, Any]):
    assert parse(at_home("approval.allow", **view), INSTALL) == Ignored(
        "interaction", "block_actions"
    )


def test_a_message_has_no_button_of_the_home_tab():
    body = with_button(recorded("socket--interactive-block_actions.json"), "home.refresh")
    assert parse(body, INSTALL) == Ignored("interaction", "block_actions")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "actions", "action_id", "type", "value", "channel_id", "state"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)  # two cores may be shared
@given(
    st.sampled_from(sorted(presses.INTERACTIONS)),
    st.dictionaries(st.sampled_from(["user", "container", "channel", "actions", "view"]), JUNK),
)
def test_junk_is_ignored_or_unreadable_and_nothing_else(kind: str, rest: dict[str, Any]):
    body = {"type": kind, **rest}
    try:
        found = parse(body, INSTALL)
    except Unreadable:
        return
    assert isinstance(found, Ignored)
    presses.field_of(body)
