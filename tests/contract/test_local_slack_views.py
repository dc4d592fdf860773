"""Modals and home tabs, opened through the real slack_sdk, filled in before a real Bolt app."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack, SlackError
from bot.local.events import SUBSCRIPTIONS
from tests.contract.slack_cards import (
    Json,
    button,
    card,
    home,
    missing,
    modal,
    plain,
    recorded,
    text_input,
)
from tests.contract.slack_modals import App, error, opened, refused, trigger
from tests.contract.slack_receiver import client_of, receiving


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    subscriptions = SUBSCRIPTIONS | {"app_home_opened"}
    async with LocalSlack(limits=False, clock="virtual", subscriptions=subscriptions) as server:
        yield server


@pytest.fixture
async def app(slack: LocalSlack) -> AsyncIterator[App]:
    async with receiving(slack) as receiver:
        made = App(receiver)

        @receiver.app.action("approve")
        async def on_action(ack: Any) -> None:
            await ack()

        @receiver.app.event("app_home_opened")
        async def on_home(event: Json) -> None:
            receiver.heard.append(event)

        @receiver.app.view("deny")
        async def on_submission(ack: Any) -> None:
            await ack(made.answer or "")

        @receiver.app.view_closed("deny")
        async def on_closed(ack: Any) -> None:
            await ack()

        yield made


# --------------------------------------------------------------------------- triggers


async def test_a_trigger_opens_one_view_within_three_seconds(
    slack: LocalSlack, client: AsyncWebClient
):
    one = await trigger(slack)
    slack.advance(3)
    view = (await client.views_open(trigger_id=one, view=modal()))["view"]
    assert (view["type"], view["title"], view["root_view_id"]) == (
        "modal",
        plain("Deny"),
        view["id"],
    )
    assert await error(client.views_open(trigger_id=one, view=modal())) == "exchanged_trigger_id"
    late = await trigger(slack)
    slack.advance(3.1)
    assert await error(client.views_open(trigger_id=late, view=modal())) == "expired_trigger_id"
    nonsense = client.views_open(trigger_id="1.2.3", view=modal())
    assert await error(nonsense) == "invalid_trigger_id"
    assert await error(client.views_open(view=modal())) == "invalid_arguments"
    assert [one.id for one in slack.open_views("ada")] == [view["id"]]


async def test_a_refused_view_leaves_the_trigger(slack: LocalSlack, client: AsyncWebClient):
    one = await trigger(slack)
    assert await error(client.views_open(trigger_id=one, view=modal(title=None))) == (
        "invalid_arguments"
    )
    assert (await client.views_open(trigger_id=one, view=modal()))["ok"]


# ------------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (modal(title=None), "missing required field: title [json-pointer:/view]"),
        (modal(title=plain("x" * 25)), "less than 25 characters: text [json-pointer:/view/title]"),
        (modal(submit=plain("x" * 25)), "25 characters: text [json-pointer:/view/submit]"),
        (modal(close=plain("x" * 25)), "25 characters: text [json-pointer:/view/close]"),
        (modal(title={"type": "mrkdwn", "text": "x"}), "[json-pointer:/view/title]"),
        (modal(*[{"type": "divider"}] * 101), "no more than 100 items allowed"),
        (modal(private_metadata="x" * 3_001), "3001 characters [json-pointer:/view/private_meta"),
        (modal(callback_id="x" * 256), "256 characters [json-pointer:/view/callback_id]"),
        (modal(external_id="x" * 256), "256 characters [json-pointer:/view/external_id]"),
        (modal(submit=None), "must define `submit` to use `input` block"),
        (modal(blocks=None), "missing required field: blocks"),
        (modal({"type": "nonsense"}), "[json-pointer:/view/blocks/0/type]"),
        (modal({"type": "markdown", "text": "x"}), "unsupported type: markdown"),
        (modal(text_input() | {"label": None}), "[json-pointer:/view/blocks/0]"),
        (modal(text_input(), text_input()), "block_id already exists"),
        (modal(*card(button(style="loud"))), "must be primary or danger"),
        (modal(nonsense=1), "invalid additional property: nonsense"),
        (modal(notify_on_close="yes"), "must be a boolean"),
        (home(), "unsupported type: home"),
    ],
)
async def test_views_that_slack_refuses(
    slack: LocalSlack, client: AsyncWebClient, view: Json, message: str
):
    answer = await refused(client.views_open(trigger_id=await trigger(slack), view=view))
    assert answer["error"] == "invalid_arguments"
    told = answer["response_metadata"]["messages"]
    assert any(message in one for one in told), told
    assert slack.open_views("ada") == []


async def test_the_most_that_a_view_holds(slack: LocalSlack, client: AsyncWebClient):
    section = {"type": "section", "text": plain("x" * 3_000)}
    fits = modal(*[section] * 75, *[{"type": "divider"}] * 25, private_metadata="x" * 3_000)
    assert (await client.views_open(trigger_id=await trigger(slack), view=fits))["ok"]
    huge = modal(*[section] * 85)
    call = client.views_open(trigger_id=await trigger(slack), view=huge)
    assert await error(call) == "view_too_large"


# ----------------------------------------------------------------- update, push, publish


async def test_update_by_id_and_external_id_with_its_hash(
    slack: LocalSlack, client: AsyncWebClient
):
    view_id = await opened(slack, "ada", external_id="mine")
    first = slack.open_views("ada")[0].hash
    view = modal(title=plain("Again"), external_id="mine")
    one = await client.views_update(view_id=view_id, view=view, hash=first)
    assert one["view"]["hash"] != first
    stale = client.views_update(view_id=view_id, view=view, hash=first)
    assert await error(stale) == "hash_conflict"
    await client.views_update(external_id="mine", view=modal(title=plain("Third")))
    assert slack.open_views("ada")[0].body["title"] == plain("Third")
    assert await error(client.views_update(external_id="mine", view=view)) == "not_found"
    assert await error(client.views_update(view_id="V0", view=view)) == "not_found"
    await slack.close_view("ada", view_id)
    assert await error(client.views_update(view_id=view_id, view=view)) == "not_found"


async def test_external_ids_are_unique(slack: LocalSlack, client: AsyncWebClient):
    await opened(slack, "ada", external_id="mine")
    call = client.views_open(
        trigger_id=await trigger(slack, "grace"), view=modal(external_id="mine")
    )
    assert await error(call) == "duplicate_external_id"


async def test_push_stacks_three_and_needs_a_modal(slack: LocalSlack, client: AsyncWebClient):
    outside = await trigger(slack)
    assert await error(client.views_push(trigger_id=outside, view=modal())) == "not_found"
    bottom = await opened(slack, "ada", *card(button("approve")), submit=None)
    for depth in (2, 3):
        [pressed] = await slack.click("ada", slack.open_views("ada")[-1].id, text="Approve")
        view = modal(*card(button("approve")))
        answer = await client.views_push(trigger_id=pressed.trigger_id, view=view)
        assert answer["view"]["root_view_id"] == bottom
        assert len(slack.open_views("ada")) == depth
    [pressed] = await slack.click("ada", slack.open_views("ada")[-1].id, text="Approve")
    over = client.views_push(trigger_id=pressed.trigger_id, view=modal())
    assert await error(over) == "push_limit_reached"
    with pytest.raises(SlackError, match="view_not_found"):
        await slack.submit("ada", bottom)
    assert slack.open_views("ada")[1].previous == bottom


async def test_a_new_modal_takes_the_place_of_the_old(slack: LocalSlack):
    await opened(slack)
    view_id = await opened(slack)
    assert [one.id for one in slack.open_views("ada")] == [view_id]


async def test_home_tabs(slack: LocalSlack, client: AsyncWebClient, app: App):
    ada = slack.users["ada"]
    one = (await client.views_publish(user_id=ada, view=home()))["view"]
    two = (await client.views_publish(user_id=ada, view=home(), hash=one["hash"]))["view"]
    assert one["id"] == two["id"]
    stale = client.views_publish(user_id=ada, view=home(), hash=one["hash"])
    assert await error(stale) == "hash_conflict"
    assert await error(client.views_publish(user_id="U0", view=home())) == "invalid_arguments"
    assert await error(client.views_publish(user_id=ada, view=modal())) == "invalid_arguments"
    await slack.open_home("ada")
    await slack.settle()
    await slack.open_home("grace", "messages")
    await slack.settle()
    events = [one.event for one in app.receiver.requests if "event" in one.body]
    assert [(one["user"], one["tab"], one["channel"]) for one in events] == [
        (ada, "home", slack.dm("ada")),
        (slack.users["grace"], "messages", slack.dm("grace")),
    ]
    assert events[0]["view"]["id"] == one["id"]
    assert missing(recorded("app_home_opened--messages-tab.json")["event"], events[1]) == []
    await slack.click("ada", one["id"], text="Approve")
    [body] = app.bodies("block_actions")
    wanted = recorded("block_actions--confirm.json")
    wanted["view"]["blocks"], wanted["actions"] = [], []
    assert missing(wanted, body) == []
    assert not {"channel", "message", "response_url"} & body.keys()
    slack.workspace.settings = LocalSlack(home_tab=False)._settings
    assert await error(client.views_publish(user_id=ada, view=home())) == "not_enabled"


# -------------------------------------------------------------------------- submission


async def test_a_submission_carries_what_was_typed_and_closes(slack: LocalSlack, app: App):
    view_id = await opened(slack, private_metadata="opaque")
    pressed = await slack.submit("ada", view_id, {"reason": "too risky"})
    assert (pressed.status, pressed.failure) == (200, None)
    [body] = app.bodies("view_submission")
    assert body["view"]["state"]["values"] == {
        "reason": {"text": {"type": "plain_text_input", "value": "too risky"}}
    }
    assert body["view"]["private_metadata"] == "opaque"
    assert body["trigger_id"]
    wanted = recorded("view_submission--form.json")
    wanted["view"]["state"] = {}
    wanted["view"]["blocks"][0]["element"].pop("multiline")
    wanted["view"]["close"] = None
    for name in ("title", "submit"):
        del wanted["view"][name]["emoji"]
    del wanted["view"]["blocks"][0]["label"]["emoji"]
    assert missing(wanted, body) == []
    assert slack.open_views("ada") == []


async def test_an_org_wide_install_and_a_stranger(slack: LocalSlack, app: App):
    client = client_of(slack)
    trigger_id = await trigger(slack, "connect", org_install=True)
    await client.views_open(trigger_id=trigger_id, view=modal())
    await slack.submit("connect", slack.open_views("connect")[0].id, {"text": "x"})
    view_id = await opened(slack, "connect")
    await slack.submit("connect", view_id, {"text": "x"})
    org, plainly = app.bodies("view_submission")
    assert (org["team"], org["is_enterprise_install"]) == (None, True)
    assert org["enterprise"]["id"]
    for body in (org, plainly):
        assert body["view"]["team_id"] == body["user"]["team_id"] == "T0OTHERTEAM"
        assert body["view"]["app_installed_team_id"] == slack.team_id
    assert plainly["team"]["id"] == "T0OTHERTEAM"


async def test_errors_keep_the_view_until_it_is_right(slack: LocalSlack, app: App):
    view_id = await opened(slack)
    app.answer = {"response_action": "errors", "errors": {"reason": "Too short."}}
    assert (await slack.submit("ada", view_id, {"reason": "x"})).failure is None
    assert slack.open_views("ada")[0].errors == {"reason": "Too short."}
    app.answer = {}
    await slack.submit("ada", view_id)
    assert slack.open_views("ada") == []
    assert app.bodies("view_submission")[1]["view"]["state"]["values"]["reason"]["text"]["value"]


async def test_update_push_and_clear_in_the_answer(slack: LocalSlack, app: App):
    view_id = await opened(slack)
    app.answer = {"response_action": "update", "view": modal(title=plain("Sure?"))}
    await slack.submit("ada", view_id, {"reason": "x"})
    assert slack.open_views("ada")[0].body["title"] == plain("Sure?")
    app.answer = {"response_action": "push", "view": modal(title=plain("Really?"))}
    await slack.submit("ada", view_id)
    bottom, top = slack.open_views("ada")
    assert (bottom.id, top.previous, top.root) == (view_id, view_id, view_id)
    app.answer = {}
    await slack.submit("ada", top.id, {"reason": "x"})
    assert [one.id for one in slack.open_views("ada")] == [view_id]
    app.answer = {"response_action": "clear"}
    await slack.submit("ada", view_id)
    assert slack.open_views("ada") == []
    assert slack.warnings() == []


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"elsewhere": "x"}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "update", "view": modal(title=plain("x" * 25))},
        {"response_action": "push", "view": home()},
    ],
)
async def test_a_wrong_answer_is_a_warning(slack: LocalSlack, app: App, answer: Json):
    view_id = await opened(slack)
    app.answer = answer
    pressed = await slack.submit("ada", view_id, {"reason": "x"})
    assert pressed.failure
    assert pressed.failure.startswith("invalid_response")
    assert [(one.kind, one.on) for one in slack.warnings("ada")] == [("view_submission", view_id)]
    assert [one.id for one in slack.open_views("ada")] == [view_id]


async def test_an_unanswered_submission_is_a_warning(slack: LocalSlack):
    view_id = await opened(slack)
    before = len(slack.warnings())
    pressed = await slack.submit("ada", view_id, {"reason": "x"})
    assert pressed.failure == "connection_failed"
    assert [one.on for one in slack.warnings()[before:]] == [view_id]
    assert [one.id for one in slack.open_views("ada")] == [view_id]


SELECT = {
    "type": "input",
    "block_id": "choice",
    "label": plain("Which"),
    "element": {
        "type": "static_select",
        "action_id": "pick",
        "options": [{"text": plain(one), "value": one} for one in ("red", "blue")],
    },
}


async def test_forms_are_checked_as_slack_does(slack: LocalSlack, app: App):
    typed = text_input(min_length=2, max_length=5)
    view_id = await opened(
        slack, "ada", typed, SELECT, text_input("more", optional=True, action_id="n")
    )
    for values, name in (
        ({"pick": "red"}, "input_required"),
        ({"reason": "abc"}, "input_required"),
        ({"reason": "a", "pick": "red"}, "input_too_short"),
        ({"reason": "abcdef", "pick": "red"}, "input_too_long"),
        ({"reason": "abc", "pick": "green"}, "option_not_found"),
        ({"elsewhere": "abc"}, "input_not_found"),
    ):
        with pytest.raises(SlackError, match=name):
            await slack.submit("ada", view_id, values)
    with pytest.raises(SlackError, match="view_not_found"):
        await slack.submit("grace", view_id, {"reason": "abc", "pick": "red"})
    assert app.bodies("view_submission") == []
    await slack.submit("ada", view_id, {"reason": {"text": "abc"}, "pick": "red"})
    values = app.bodies("view_submission")[0]["view"]["state"]["values"]
    assert values["choice"]["pick"]["selected_option"]["value"] == "red"
    assert values["more"]["n"] == {"type": "plain_text_input", "value": None}


async def test_what_was_typed_stays_while_the_view_is_updated(
    slack: LocalSlack, client: AsyncWebClient, app: App
):
    blocks = [*card(button("approve")), text_input(), text_input("gone")]
    view_id = await opened(slack, "ada", *blocks)
    await slack.click("ada", view_id, text="Approve", values={"reason": "kept", "gone": "lost"})
    body = app.bodies("block_actions")[-1]
    assert body["container"] == {"type": "view", "view_id": view_id}
    assert body["view"]["state"]["values"]["reason"]["text"]["value"] == "kept"
    await client.views_update(view_id=view_id, view=modal(*blocks[:3]))
    await slack.submit("ada", view_id)
    [body] = app.bodies("view_submission")
    assert body["view"]["state"]["values"] == {
        "reason": {"text": {"type": "plain_text_input", "value": "kept"}}
    }


# ------------------------------------------------------------------------------ closing


async def test_closing_is_told_only_where_asked_for(slack: LocalSlack, app: App):
    quiet = await opened(slack)
    assert await slack.close_view("ada", quiet) is None
    told = await opened(slack, notify_on_close=True)
    pressed = await slack.close_view("ada", told)
    assert pressed is not None
    assert pressed.status == 200
    [body] = app.bodies("view_closed")
    assert body["is_cleared"] is False
    wanted = recorded("view_closed.json")
    for of_a_grid in ("enterprise_id", "enterprise_name"):
        del wanted["team"][of_a_grid]
    wanted["view"]["close"] = None
    assert missing(wanted, body) == []
    assert "trigger_id" not in body
    assert slack.open_views("ada") == []


async def test_closing_the_whole_stack(slack: LocalSlack, app: App):
    bottom = await opened(slack)
    app.answer = {"response_action": "push", "view": modal(notify_on_close=True)}
    await slack.submit("ada", bottom, {"reason": "x"})
    await slack.close_view("ada", slack.open_views("ada")[-1].id, everything=True)
    assert app.bodies("view_closed")[0]["is_cleared"] is True
    assert slack.open_views("ada") == []


# ---------------------------------------------------------------- faults and restarts


@pytest.mark.parametrize("method", ["open", "update", "push", "publish"])
async def test_faults_reach_every_method(slack: LocalSlack, client: AsyncWebClient, method: str):
    slack.fault("error_before", method=f"views.{method}", status=503)
    call: Callable[..., Any] = getattr(client, f"views_{method}")
    arguments = {"trigger_id": "1.2.3", "user_id": "U0ADA", "view_id": "V0"}
    wanted = {"publish": "user_id", "update": "view_id"}.get(method, "trigger_id")
    answer = await refused(call(**{wanted: arguments[wanted]}, view=home()))
    assert answer.status_code == 503


async def test_views_are_limited():
    async with LocalSlack(clock="virtual") as slack:
        client = client_of(slack)
        for _ in range(100):
            await client.views_publish(user_id="U0ADA", view=home())
        over = await refused(client.views_publish(user_id="U0ADA", view=home()))
        assert over.status_code == 429


async def test_open_views_survive_a_restart(tmp_path: Path):
    data = tmp_path / "slack.sqlite"
    async with LocalSlack(data=data, limits=False) as slack:
        view_id = await opened(slack)
        await client_of(slack).views_publish(user_id="U0ADA", view=home())
        before = (slack.open_views("ada"), slack.home_view("ada"))
    async with LocalSlack(data=data, limits=False) as slack:
        assert (slack.open_views("ada"), slack.home_view("ada")) == before
        assert (await client_of(slack).views_update(view_id=view_id, view=modal()))["ok"]
