"""Every recorded payload of the folder that SLACK_PAYLOADS names becomes what the table says."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.events import (
    HomeOpened,
    Ignored,
    InstallChange,
    InstallIdentity,
    SlackDelete,
    SlackJoined,
    SlackMessage,
    SlackRename,
    SlackStop,
    Stranger,
    Tenant,
    Unreadable,
    parse,
    tenant_of,
)


@dataclass(frozen=True)
class Recorded:
    """What one file is to become; `tenant` None where the payload names none.

    `bot` is our bot's user id: that of the payload's authorization unless upstream made the author and
    the bot one person.
    """

    tenant: str | None
    becomes: object
    bot: str = "U0BOT"
    shows: tuple[tuple[str, object], ...] = ()


def ignored(tenant: str | None, reason: str, detail: str | None = None, **more: Any) -> Recorded:
    return Recorded(tenant, Ignored(reason, detail), **more)  # type: ignore[arg-type]  # a table's text


def turn(tenant: str, bot: str, key: str, text: str, **shows: object) -> Recorded:
    fields = {"conversation_key": key, "text": text, **shows}
    return Recorded(tenant, SlackMessage, bot, tuple(fields.items()))


UNUSED = "event_type_unused"
CONNECT = "INSTALLED_TEAM_ID"
EXPECTED: dict[str, Recorded] = {
    "agent_session_stopped--docs-example.json": Recorded(
        "T0",
        SlackStop,
        shows=(
            ("conversation_key", "A0:T0:C0123ABC456:1782234671.392669"),
            ("user_id", "U123ABC456"),
            ("ts", "1783536983.783769"),
        ),
    ),
    "agent_session_title_changed--docs-example.json": Recorded(
        "T0",
        SlackRename,
        shows=(
            ("conversation_key", "A0:T0:C123ABC456:1782234671.392669"),
            ("title", "Bora Bora trip prep"),
        ),
    ),
    "app_context_changed--docs-example.json": ignored("T123ABC456", UNUSED, "app_context_changed"),
    "app_home_opened--messages-tab.json": Recorded(
        "T111",
        HomeOpened,
        shows=(("tab", "messages"), ("user_id", "W222"), ("channel_id", "D111")),
    ),
    "app_mention--authorizations.json": turn(
        "T_INSTALLED", "W111", "A111:T_INSTALLED:C111:1595926230.009600", "Hi there!"
    ),
    "app_mention--org-install.json": turn(
        "E111", "W111", "A111:E111:C111:1595926230.009600", "Hi there!", team_id="T111"
    ),
    "app_mention--slack-connect-actor-enterprise.json": Recorded(
        CONNECT,
        Stranger,
        "INSTALLED_BOT_USER_ID",
        (("actor_team_id", "ENTERPRISE_ID_ACTOR"), ("event_id", None)),
    ),
    "app_mention--twin.json": turn(
        "T123", "U123", "A123:T123:C123:1583636399.000700", "test", event_id="EvV1KV8BM3"
    ),
    "app_rate_limited--docs-example.json": ignored("T123456", "rate_limited"),
    "app_uninstalled.json": Recorded(
        "T111", InstallChange, shows=(("kind", "uninstalled"), ("tenant_id", "T111"))
    ),
    "assistant_thread_started--legacy.json": ignored("T111", UNUSED, "assistant_thread_started"),
    "block_actions--confirm.json": ignored("T12345678", "interaction", "block_actions"),
    "block_actions--ephemeral.json": ignored("T111", "interaction", "block_actions"),
    "block_actions--message-button.json": ignored("T9TK3CUKW", "interaction", "block_actions"),
    "member_joined_channel--bot.json": Recorded(
        "T111", SlackJoined, "W23456789", (("channel_id", "C111"), ("user_id", "U222"))
    ),
    "message.channels--bot-profile.json": ignored("T111", "own_message", bot="UB111"),
    "message.channels--bot_message-classic.json": ignored("T111", "bot_message", bot="UB222"),
    "message.channels--bot_message-response_url.json": ignored("T111", "bot_message"),
    "message.channels--file_share.json": ignored("T111", "not_addressed", bot="U222"),
    "message.channels--message_changed-no-previous.json": turn(
        "T111",
        "W111",
        "A111:T111:C2147483705:1355517523.000005",
        "Hello, world!",
        is_edit=True,
        only_if_stored=True,
        revision="1358878755.000001",
    ),
    "message.channels--message_changed.json": turn(
        "T-auth",
        "U-auth",
        "A111:T-auth:C111:1665102338.901939",
        "updated message",
        is_edit=True,
        only_if_stored=True,
        user_id="U111",
        revision="1665102362.013600",
    ),
    "message.channels--message_deleted.json": Recorded(
        "T-auth",
        SlackDelete,
        shows=(
            ("conversation_key", "A111:T-auth:C111:1665368619.804829"),
            ("addressed", False),
            ("user_id", "U111"),
        ),
    ),
    "message.channels--org-install.json": turn(
        "E111", "W222", "A111:E111:C111:1606810819.000800", "", mentions_us=True, user_id="W111"
    ),
    "message.channels--plain.json": ignored("T111", "not_addressed"),
    "message.channels--slack-connect-mention.json": Recorded(
        CONNECT,
        Stranger,
        "INSTALLED_BOT_USER_ID",
        (
            ("conversation_key", "A111:INSTALLED_TEAM_ID:C111:1678455198.838499"),
            ("actor_team_id", "TEAM_ID_ACTOR"),
        ),
    ),
    "message.channels--thread-reply.json": turn(
        "T111",
        "W111",
        "A111:T111:C111:1726133698.626339",
        "When Slack was released?",
        addressed=False,
        only_if_stored=False,
    ),
    "message.channels--twin.json": turn(
        "T123", "U123", "A123:T123:C123:1583636399.000700", "test", event_id="EvV1KA7U3A"
    ),
    "message.groups--file_share.json": ignored("T111", "not_addressed"),
    "message.im--bot-thread-reply.json": ignored("T111", "bot_message", bot="W111"),
    "message.im--message_changed-assistant-root.json": ignored("T111", "not_an_edit", bot="W111"),
    "message.im--root.json": turn(
        "T111",
        "W111",
        "A111:T111:D111:1726133700.887259",
        "A top-level DM, not in a thread",
        addressed=True,
        mentions_us=False,
    ),
    "message.im--thread-reply.json": turn(
        "T111",
        "W111",
        "A111:T111:D111:1726133698.626339",
        "When Slack was released?",
        addressed=True,
        actor_team_id="T111",
    ),
    "message_action.json": ignored("T123", "interaction", "message_action"),
    "reaction_added--slack-connect.json": ignored(CONNECT, UNUSED, "reaction_added"),
    "shortcut--global.json": ignored("T123", "interaction", "shortcut"),
    "slash_command--http.json": ignored("T111", "interaction", "command"),
    "socket--events_api-retry.json": turn(
        "T111", "U222", "A111:T111:C111:1605853844.000800", "hey", event_id="Ev01ERKCFKK9"
    ),
    # a frame of the connection, which the Socket Mode client keeps to itself
    "socket--hello.json": Recorded(None, Unreadable),
    "socket--interactive-block_actions.json": ignored("T111", "interaction", "block_actions"),
    "socket--slash_commands.json": ignored("T111", "interaction", "command"),
    "team_access_granted.json": ignored("E111", UNUSED, "team_access_granted"),
    "team_access_revoked.json": ignored("E111", UNUSED, "team_access_revoked"),
    "tokens_revoked--bot.json": Recorded(
        "T111", InstallChange, shows=(("kind", "tokens_revoked"), ("event_id", "Ev111"))
    ),
    "tokens_revoked--user.json": ignored("T111", "user_token_revoked"),
    "url_verification.json": ignored(None, "url_verification"),
    "view_closed.json": ignored("T111", "interaction", "view_closed"),
    "view_submission--form.json": ignored("T123", "interaction", "view_submission"),
    "view_submission--org-install.json": ignored("E111", "interaction", "view_submission"),
}


def folder() -> Path:
    if not (named := os.environ.get("SLACK_PAYLOADS")):
        pytest.skip("SLACK_PAYLOADS names no folder of recorded payloads")
    return Path(named)


def recorded(name: str) -> dict[str, Any]:
    """The payload as the request handler sees it."""
    body: dict[str, Any] = json.loads((folder() / name).read_text())
    if "envelope_id" in body:  # a Socket Mode frame
        body = body["payload"]
    if name.startswith("agent_session_"):  # the documentation shows the inner event alone
        body = {"type": "event_callback", "team_id": "T0", "api_app_id": "A0", "event": body}
    return body


def installed(tenant: Tenant, bot: str) -> InstallIdentity:
    return InstallIdentity(
        api_app_id=tenant.api_app_id or "A0",
        tenant_id=tenant.tenant_id,
        team_id=tenant.team_id,
        enterprise_id=tenant.enterprise_id,
        bot_user_id=bot,
        bot_id=None,
    )


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recorded_payload_becomes_what_it_should(name: str):
    payload, wanted = recorded(name), EXPECTED[name]
    tenant = Tenant("A0", "T0", "T0", None)
    if wanted.tenant is not None:
        tenant = tenant_of(payload)
        assert tenant.tenant_id == wanted.tenant
    else:
        with pytest.raises(Unreadable):
            tenant_of(payload)
    if wanted.becomes is Unreadable:
        with pytest.raises(Unreadable):
            parse(payload, installed(tenant, wanted.bot))
        return
    found = parse(payload, installed(tenant, wanted.bot))
    if isinstance(wanted.becomes, Ignored):
        assert found == wanted.becomes
    else:
        assert type(found) is wanted.becomes, found
    for field, value in wanted.shows:
        assert getattr(found, field) == value, field


@pytest.mark.parametrize("name", [name for name in EXPECTED if "--file_share" in name])
def test_the_files_of_a_recorded_message_say_where_they_are(name: str):
    payload = recorded(name)
    payload["event"]["channel_type"] = "im"  # as if it had been said to us
    found = parse(payload, installed(tenant_of(payload), "U0BOT"))
    assert isinstance(found, SlackMessage)
    (file,) = found.files
    (raw,) = payload["event"]["files"]
    assert (file.id, file.name, file.mimetype) == ("F111", raw["name"], "image/png")
    assert (file.size, file.access, file.mode) == (raw["size"], "visible", "hosted")
    assert file.url == f"https://files.slack.com/files-pri/T111-F111/download/{raw['name']}"


def test_every_recorded_payload_has_an_expectation():
    assert {path.name for path in folder().glob("*.json")} == set(EXPECTED)
