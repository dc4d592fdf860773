import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from bot.events import (
    HANDLED_EVENTS,
    IGNORED_REASONS,
    HomeOpened,
    Ignored,
    SlackDelete,
    SlackMessage,
    Tenant,
    Unreadable,
    parse,
    tenant_of,
)
from bot.mrkdwn import clean, decode, mentions
from tests.contract import payloads as p

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
ANY_CHARACTER = st.text(st.characters(codec=None), max_size=40)
FIELDS = (
    *("type", "subtype", "text", "user", "ts", "channel", "channel_type", "thread_ts", "files"),
    *("edited", "message", "previous_message", "deleted_ts", "team", "bot_id", "tokens", "hidden"),
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<@U0BOT> hello", "hello"),
        ("hello <@U0BOT>", "hello"),
        ("hey <@U0BOT|agent> do it", "hey do it"),
        ("thanks <@U0BOT>, now go", "thanks, now go"),
        ("<@U0BOT> <@U0BOT> twice", "twice"),
        ("<@U0BOT>", ""),
        ("line\n<@U0BOT> next", "line\nnext"),
        ("<@U0BOTX> other", "@U0BOTX other"),
        ("<@U0ANN|ann> and <@U0BOB>", "@ann and @U0BOB"),
        ("see <#C0GENERAL|general>, <#C0X>, <#C0Y|>", "see #general, #C0X, #C0Y"),
        ("<!here> <!channel|channel> <!everyone>", "@here @channel @everyone"),
        ("<!subteam^S0OPS|@ops> or <!subteam^S0X>", "@ops or @S0X"),
        ("due <!date^1700000000^{date}^https://x.example|Nov 14>", "due Nov 14"),
        ("<https://example.com/a?b=1&amp;c=2>", "https://example.com/a?b=1&c=2"),
        ("<https://example.com|the page>", "the page (https://example.com)"),
        ("<https://example.com|https://example.com>", "https://example.com"),
        ("<http://example.com|example.com>", "http://example.com"),
        ("<mailto:ann@example.com|ann@example.com>", "ann@example.com"),
        ("<mailto:ann@example.com|Ann>", "Ann (ann@example.com)"),
        ("<tel:+123|+123>", "+123"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2"),
        ("&amp;lt; stays half", "&lt; stays half"),
        ("a thin sender: 1 < 2 > 0", "a thin sender: 1 < 2 > 0"),
        ("  \u0000padded\u0000 ", "padded"),
    ],
)
def test_text_reads_as_on_the_screen(raw: str, shown: str):
    assert decode(raw, "U0BOT") == shown


@given(st.text(max_size=60))
def test_escaped_text_comes_back(text: str):
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert decode(escaped, "U0BOT") == text.replace("\0", "").strip()


@given(ANY_CHARACTER)
def test_clean_text_can_be_stored(text: str):
    cleaned = clean(text)
    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned


def test_a_surrogate_pair_is_mended_and_a_lone_one_replaced():
    assert clean("\ud83d\ude00") == "\U0001f600"
    assert clean("a\ud83d") == "a\ufffd"


def test_a_mention_is_of_the_whole_id():
    assert mentions("x <@U0BOT|b>", "U0BOT")
    assert not mentions("<@U0BOTS> &lt;@U0BOT&gt;", "U0BOT")


def test_no_field_keeps_a_null_character():
    event = p.words(f"<@{p.BOT}> a\0b", client_msg_id="c\0", files=[{"id": "F\0", "name": "n\0"}])
    found = parse(p.envelope(event, event_id="Ev\0"), p.INSTALL)
    assert isinstance(found, SlackMessage)
    assert "\\u0000" not in json.dumps(found.to_json())
    assert (found.text, found.client_msg_id, found.event_id) == ("ab", "c", "Ev")


@pytest.mark.parametrize(
    "payload",
    [
        p.dm(),
        p.file_share(),
        p.file_share(connect=True),
        p.edited_twins(f"<@{p.BOT}> a", f"<@{p.BOT}> b")[1],
        p.thin(p.words(f"<@{p.BOT}> hi")),
        p.envelope(p.deleted(p.words("x"))),
    ],
)
def test_what_is_kept_for_later_comes_back_equal(payload: p.Json):
    found = parse(payload, p.INSTALL)
    assert isinstance(found, SlackMessage | SlackDelete)
    stored = json.loads(json.dumps(found.to_json()))
    assert type(found).from_json(stored) == found
    assert type(found).from_json(stored | {"of_a_newer_version": 1}) == found


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "text",
        {},
        {"type": "event_callback"},
        {"type": "event_callback", "event": "x"},
        {"type": "event_callback", "event": {"type": 7}},
        {"type": ["event_callback"], "event": {}},
        {"type": "hello"},
        p.dm(ts=None),
        p.dm(ts="soon"),
        p.dm(ts="1.2; DROP"),
        p.dm(thread_ts=17),
        p.envelope(p.words(f"<@{p.BOT}> x", channel=None)),
        p.envelope({"type": "message", "subtype": "message_changed", "channel": p.CHANNEL}),
        p.envelope({"type": "message", "subtype": "message_deleted", "channel": p.CHANNEL}),
    ],
)
def test_signed_junk_is_unreadable_and_says_why(payload: object):
    with pytest.raises(Unreadable, match=r"\w"):
        parse(payload, p.INSTALL)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["im", p.ROOT, p.BOT])))
@settings(deadline=None)  # two cores may be shared
def test_whatever_is_in_an_event_it_is_read_or_refused(fields: dict[str, Any]):
    for event in (fields, p.words(f"<@{p.BOT}> hi") | fields, p.deleted(p.words("x")) | fields):
        _read_or_refuse(p.envelope(event))


@given(st.dictionaries(st.sampled_from([*p.dm(), "team", "view", "command"]), JSON))
@settings(deadline=None)  # two cores may be shared
def test_whatever_is_in_an_envelope_it_is_read_or_refused(fields: dict[str, Any]):
    _read_or_refuse(p.dm() | fields)
    with suppress(Unreadable):  # any other exception would be a 500
        tenant_of(fields)


def _read_or_refuse(payload: object) -> None:
    with suppress(Unreadable):
        found = parse(payload, p.INSTALL)
        assert not isinstance(found, Ignored) or found.reason in IGNORED_REASONS


@pytest.mark.parametrize(
    ("payload", "tenant"),
    [
        (p.dm(), Tenant(p.APP, p.TEAM, p.TEAM, None)),
        (p.envelope({}, team_id="T0ACTOR"), Tenant(p.APP, p.TEAM, p.TEAM, None)),
        (p.grid({}), Tenant(p.APP, p.ORG, None, p.ORG)),
        (
            {"team_id": "T0ACTOR", "context_team_id": "T1", "event": {}},
            Tenant(None, "T1", "T1", None),
        ),
        ({"team_id": "T1", "authorizations": []}, Tenant(None, "T1", "T1", None)),
        ({"team_id": "T1", "authorizations": [{}]}, Tenant(None, "T1", "T1", None)),
        (
            {"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": "true"},
            Tenant(None, "E1", "T1", "E1"),
        ),
        (
            {"type": "block_actions", "team": {"id": "T1", "enterprise_id": "E1"}},
            Tenant(None, "T1", "T1", "E1"),
        ),
        (
            {"team": None, "enterprise": {"id": "E1"}, "is_enterprise_install": True},
            Tenant(None, "E1", None, "E1"),
        ),
        (
            {"team": {"id": "T_actor"}, "view": {"app_installed_team_id": "T1"}},
            Tenant(None, "T1", "T1", None),
        ),
        (p.app_event("team_access_granted", team_ids=["T1"]), Tenant(p.APP, p.TEAM, p.TEAM, None)),
    ],
)
def test_the_tenant_is_who_installed_the_app(payload: p.Json, tenant: Tenant):
    assert tenant_of(payload) == tenant


@pytest.mark.parametrize("payload", [None, {}, {"type": "event_callback", "event": {}}])
def test_a_payload_of_nobody_is_unreadable(payload: object):
    with pytest.raises(Unreadable):
        tenant_of(payload)


def test_the_key_is_the_installs_whatever_the_envelope_says():
    payload = p.dm() | {"api_app_id": "A0ELSE", "team_id": "T0ELSE"}
    found = parse(payload, p.INSTALL)
    assert isinstance(found, SlackMessage)
    assert found.conversation_key.startswith(f"{p.APP}:{p.TEAM}:")


def opened(**event: object) -> object:
    told = {"type": "app_home_opened", "user": p.ANN, "channel": "D1", "tab": "home"} | event
    return parse(p.envelope({k: v for k, v in told.items() if v is not None}), p.INSTALL)


def test_who_looks_at_our_app_is_told_by_its_tab():
    assert opened() == opened(tab=None) == HomeOpened("home", p.ANN, "D1")
    assert opened(tab="messages") == HomeOpened("messages", p.ANN, "D1")
    assert opened(channel=None) == HomeOpened("home", p.ANN, None)
    assert opened(user=p.BOT) == Ignored("own_message")
    with pytest.raises(Unreadable):
        opened(user=None)


def test_every_subscription_is_an_event_that_is_read():
    for name in HANDLED_EVENTS:
        kind = name.split(".", maxsplit=1)[0]
        found = parse(p.envelope(p.words("x", type=kind, title="x")), p.INSTALL)
        assert not (isinstance(found, Ignored) and found.reason == "event_type_unused")


def test_app_home_messages_are_direct_messages():
    found = parse(p.envelope(p.words("x", channel="X1", channel_type="app_home")), p.INSTALL)
    assert isinstance(found, SlackMessage)
    assert found.channel_type == "im"


def test_an_edit_without_its_time_takes_that_of_the_event():
    event = p.changed(p.words(f"<@{p.BOT}> b", edited={"user": p.ANN}), p.words(f"<@{p.BOT}> a"))
    found = parse(p.envelope(event), p.INSTALL)
    assert isinstance(found, SlackMessage)
    assert found.revision == "1700000090.000300"
