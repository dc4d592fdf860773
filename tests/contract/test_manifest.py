"""manifest.yml asks for what the code uses: its shape, its events, its scopes, its methods."""

import ast
import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from slack_sdk.web.async_client import AsyncWebClient

from bot.events import HANDLED_EVENTS
from bot.manifest import EVENT_SCOPES, METHOD_SCOPES, REQUIRED_SCOPES, missing_scopes

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "manifest.yml"
APP_LEVEL = {"apps.connections.open"}  # with a token of its own, which no scope of a bot is for


def text(limit: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": limit}


def closed(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    """An object in which a misspelt key is an error."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def several(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "maxItems": most, "uniqueItems": True}


FLAG = {"type": "boolean"}
NUMBER = {"type": "integer"}
URL = {"type": "string", "pattern": "^https://"}
# The keys that we may come to use, with the limits of github.com/slackapi/manifest-schema.
SCHEMA = closed(
    ("display_information", "features", "oauth_config", "settings"),
    _metadata=closed(major_version=NUMBER, minor_version=NUMBER),
    display_information=closed(
        ("name",),
        name=text(35),
        description=text(140),
        long_description={"type": "string", "minLength": 175, "maxLength": 4000},
        background_color={"type": "string", "pattern": "^#[0-9a-f]{6}$"},
    ),
    features=closed(
        ("agent_view", "app_home", "bot_user"),
        agent_view=closed(
            agent_description=text(300),
            suggested_prompts=several(closed(("title", "message"), title={}, message={}), 4),
            actions=several(closed(("name", "description"), name={}, description={}), 50),
        ),
        app_home=closed(
            home_tab_enabled=FLAG,
            messages_tab_enabled={"const": True},
            messages_tab_read_only_enabled={"const": False},
        ),
        bot_user=closed(("display_name",), display_name=text(80), always_online=FLAG),
    ),
    oauth_config=closed(
        ("scopes",),
        redirect_urls=several(URL, 1000),
        scopes=closed(("bot",), bot=several(text(100), 255)),
    ),
    settings=closed(
        ("event_subscriptions", "interactivity"),
        event_subscriptions=closed(
            ("request_url", "bot_events"), request_url=URL, bot_events=several(text(100), 100)
        ),
        interactivity=closed(("is_enabled",), is_enabled=FLAG, request_url=URL),
        org_deploy_enabled=FLAG,
        socket_mode_enabled=FLAG,
        token_rotation_enabled=FLAG,
        is_mcp_enabled=FLAG,
    ),
)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    return loaded


def bot_scopes(manifest: dict[str, Any]) -> list[str]:
    scopes: list[str] = manifest["oauth_config"]["scopes"]["bot"]
    return scopes


def bot_events(manifest: dict[str, Any]) -> list[str]:
    events: list[str] = manifest["settings"]["event_subscriptions"]["bot_events"]
    return events


def test_the_shape_is_slacks(manifest: dict[str, Any]):
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(manifest, SCHEMA, jsonschema.Draft7Validator)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("settings", "org_deploy_enable"), True),
        (("display_information", "name"), "x" * 36),
        (("display_information", "description"), "x" * 141),
        (("features", "agent_view", "agent_description"), "x" * 301),
        (("features", "bot_user", "display_name"), "x" * 81),
        (("features", "assistant_view"), {"assistant_description": "legacy"}),
        (("oauth_config", "scopes", "bots"), []),
        (("settings", "event_subscriptions", "request_url"), "http://example.com"),
    ],
)
def test_a_mistake_is_noticed(manifest: dict[str, Any], path: tuple[str, ...], wrong: object):
    broken = copy.deepcopy(manifest)
    inner = broken
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA, jsonschema.Draft7Validator)


def test_the_settings_are_those_the_code_is_written_for(manifest: dict[str, Any]):
    settings = manifest["settings"]
    assert settings["token_rotation_enabled"] is False
    assert settings["socket_mode_enabled"] is False
    assert settings["org_deploy_enabled"] is True
    assert settings["interactivity"]["is_enabled"] is True
    urls = (
        settings["event_subscriptions"]["request_url"],
        settings["interactivity"]["request_url"],
    )
    assert all(url.endswith("/slack/events") for url in urls)


def test_the_home_tab_is_on_where_its_opening_is_heard_of(manifest: dict[str, Any]):
    assert manifest["features"]["app_home"]["home_tab_enabled"] is True
    assert "app_home_opened" in bot_events(manifest)


def test_the_events_subscribed_are_the_events_handled(manifest: dict[str, Any]):
    assert bot_events(manifest) == sorted(HANDLED_EVENTS)
    assert set(EVENT_SCOPES) == HANDLED_EVENTS


def test_the_scopes_asked_for_are_the_scopes_needed(manifest: dict[str, Any]):
    assert bot_scopes(manifest) == sorted(REQUIRED_SCOPES)


def test_the_methods_with_scopes_are_the_methods_called():
    called = {name for source in (ROOT / "bot").glob("*.py") for name in methods_in(source)}
    assert called - APP_LEVEL == set(METHOD_SCOPES)


def methods_in(source: Path) -> set[str]:
    """The methods of Slack's client that a module names, in Slack's own spelling."""
    nodes = list(ast.walk(ast.parse(source.read_text())))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    found = {name for name in names if name.isidentifier() and hasattr(AsyncWebClient, name)}
    return {name.replace("_", ".") for name in found if not name.startswith("_") and "_" in name}


def test_missing_scopes_are_named_in_order():
    assert missing_scopes(REQUIRED_SCOPES) == []
    granted = ["app_mentions:read", " chat:write", "channels:history"]
    assert missing_scopes(granted) == [
        "assistant:write",
        "channels:read",
        "files:read",
        "files:write",
        "groups:history",
        "groups:read",
        "im:history",
        "mpim:history",
        "mpim:read",
        "reactions:write",
        "usergroups:read",
        "users:read",
    ]
