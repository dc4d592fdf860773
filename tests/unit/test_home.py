"""The home tab: what waits, what was begun, in Slack's limits, and nothing of others is markup."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from bot import home
from bot.home import Content, Home, Item
from bot.local.view_checks import check_view
from router.humans import Ref
from store.approvals import Approval
from store.escalations import Escalation
from store.homes import Recent, Waiting
from tests.unit.test_cards import ADA, AGENT, NASTY, NOON, ROW, approval, question

HERE = Home("https://acme.slack.com/", "U0BOT", "A0APP", "T1", NOON)
LINK = "https://acme.slack.com/archives/C0GENERAL/p1700000000000100"
DATE = f"<!date^{int(NOON.timestamp())}^{{date_short_pretty}} at {{time}}|2026-11-22 12:00 UTC>"


def waiting(asked: Approval | Escalation, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "agent": "demo",
        "home": "C0GENERAL",
        "thread_ts": "1700000000.000100",
        "elsewhere": None,
        "whose": "U0ADA",
    }
    return Item(Waiting(asked, **values | changes))


def recent(**changes: Any) -> Recent:
    values: dict[str, Any] = {
        "agent": "demo",
        "title": "Plan the release",
        "status": "idle",
        "turn": "completed",
        "channel_id": "C0GENERAL",
        "thread_ts": "1700000000.000100",
        "at": NOON,
    }
    return Recent(**values | changes)


def shown(content: Content, at: Home = HERE) -> list[dict[str, Any]]:
    """The blocks, after Slack's own checks."""
    view = home.page(content, at)
    check_view(view, "home")
    blocks: list[dict[str, Any]] = view["blocks"]
    return blocks


def texts(found: Any, kind: str) -> Iterator[str]:
    """All texts of that kind, from however deep."""
    if isinstance(found, list):
        for one in found:
            yield from texts(one, kind)
    elif isinstance(found, dict):
        if found.get("type") == kind:
            yield str(found["text"])
        for one in found.values():
            yield from texts(one, kind)


def buttons(blocks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    elements = [e for b in blocks for e in [*b.get("elements", ()), b.get("accessory", {})]]
    return [
        (e["text"]["text"], e.get("url") or e["value"])
        for e in elements
        if e.get("type") == "button"
    ]


def test_an_approval_is_its_card_with_its_place_and_the_way_there():
    blocks = shown(Content([waiting(approval())], 1))
    value = Ref("approval", AGENT, ROW, 1).opaque()
    assert buttons(blocks)[1:4] == [("Approve", value), ("Deny", value), ("Open thread", LINK)]
    assert "The agent wants to use bash." in list(texts(blocks, "plain_text"))
    assert {f"In <#C0GENERAL>, {DATE}", "Asked for by <@U0ADA>."} <= set(texts(blocks, "mrkdwn"))
    assert "command: ls" in json.dumps(blocks)


def test_a_question_offers_its_answers_and_no_reply():
    blocks = shown(Content([waiting(question(choices=["blue", "green"]))], 1))
    value = Ref("escalation", AGENT, ROW).opaque()
    assert buttons(blocks)[1:-1] == [
        ("blue", f"{value}:0"),
        ("green", f"{value}:1"),
        ("Answer…", value),
        ("Nobody can answer", value),
        ("Open thread", LINK),
    ]
    assert "May answer: <@U0ADA>." in list(texts(blocks, "mrkdwn"))
    assert "in this thread" not in json.dumps(blocks)


def test_who_is_for_it_already_is_named():
    item = replace(waiting(approval(rule={"quorum": 2})), voters=[ADA])
    assert "Approved by 1 of 2: <@U0ADA>." in list(texts(shown(Content([item], 1)), "mrkdwn"))


def test_a_page_of_nothing_says_how_to_begin():
    blocks = shown(Content())
    plain = list(texts(blocks, "plain_text"))
    assert {"Nothing waits for you.", "You have not begun one yet."} <= set(plain)
    says = "To begin a session, write to me under Messages, or mention <@U0BOT> in a channel."
    assert says in list(texts(blocks, "mrkdwn"))
    assert buttons(blocks) == [
        ("Refresh", "now"),
        ("Write to me", "https://slack.com/app_redirect?app=A0APP&team=T1"),
    ]


def test_a_session_is_its_title_its_state_its_place_and_a_link():
    blocks = shown(Content(sessions=[recent()], all_sessions=1))
    assert "Plan the release" in list(texts(blocks, "plain_text"))
    assert f"Answered · <#C0GENERAL> · {DATE}" in list(texts(blocks, "mrkdwn"))
    assert ("Open thread", LINK) in buttons(blocks)


@pytest.mark.parametrize(
    ("status", "turn", "says"),
    [
        ("running", None, "Working"),
        ("idle", None, "Working"),
        ("running", "running", "Working"),
        ("running", "completed", "Working"),
        ("running", "awaiting_human", "Waiting for a person"),
        ("idle", "completed", "Answered"),
        ("idle", "interrupted", "Stopped"),
        ("idle", "failed", "Ended with an error"),
        ("archived", "completed", "Closed"),
    ],
)
def test_a_session_stands_in_a_word(status: str, turn: str | None, says: str):
    assert home.status(recent(status=status, turn=turn)) == says


def test_what_is_not_shown_is_counted():
    many = Content([waiting(approval())] * 11, 11, [recent()] * 12, 42, partly=True)
    blocks = home.page(many, HERE)["blocks"]
    labels = [label for label, _ in buttons(blocks)]
    assert (labels.count("Approve"), labels.count("Open thread")) == (8, 18)
    said = list(texts(blocks, "plain_text"))
    assert "… and 3 more; they come up here as these are settled." in said
    assert "… and 32 more." in said
    assert "Slack did not answer everything just now: there may be more." in said


@pytest.mark.parametrize(
    ("address", "channel", "ts"),
    [
        ("", "C0GENERAL", "1.000000"),
        ("http://acme.slack.com/", "C0GENERAL", "1.000000"),
        ("https://acme.slack.com/x?", "C0GENERAL", "1.000000"),
        ("https://acme.slack.com/", "../C1", "1.000000"),
        ("https://acme.slack.com/", "C0GENERAL", "now"),
    ],
)
def test_without_a_whole_address_nothing_is_linked(address: str, channel: str, ts: str):
    session = recent(channel_id=channel, thread_ts=ts)
    item = waiting(approval(), home=channel, thread_ts=ts)
    blocks = shown(Content([item], 1, [session], 1), replace(HERE, address=address))
    assert "Open thread" not in [label for label, _ in buttons(blocks)]


def test_a_full_page_is_within_slacks_limits():
    """The tallest cards there are; block ids must be apart, so each is of its own row."""
    tall = {f"argument {n}": "x" * 200 for n in range(40)}
    items = [
        waiting(
            approval(
                id=type(ROW)(int=n + 1), arguments=tall, rule={"quorum": 3, "remember": "tool"}
            )
            if n % 2
            else question(
                id=type(ROW)(int=n + 1),
                question="why " * 2_000,
                context="since " * 2_000,
                choices=["c" * 300] * 10,
            )
        )
        for n in range(home.MOST_WAITING)
    ]
    sessions = [recent(title="t" * 10_000, agent="a" * 500)] * home.MOST_SESSIONS
    blocks = shown(Content(items, 50, sessions, 50, partly=True))
    assert 60 < len(blocks) <= 100


# Ids, and moments: what a channel is called in markup is Slack's to say.
_OURS = re.compile(r"<@U0(?:ADA|BOT)>|<#[CG][A-Z0-9]+>|<!date\^\d+\^[^<>^|]+\|[^<>|]+>")
TEXT = st.text(max_size=600) | st.sampled_from([NASTY, "", " \n", "\u202e", "\0", "</script>"])


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, TEXT)
def test_nothing_that_others_wrote_is_markup(one: str, two: str, three: str):
    items = [
        waiting(approval(tool=one, arguments={two: three, "x": [one]}), agent=two),
        waiting(
            question(id=AGENT, question=one, context=two, choices=[three or "x"], requesters=[one]),
            agent=three,
            home=two,
            thread_ts=one,
        ),
    ]
    sessions = [recent(title=one, agent=two, channel_id=three, thread_ts=two)]
    markup = "".join(texts(shown(Content(items, 2, sessions, 1)), "mrkdwn"))
    assert "<" not in _OURS.sub("", markup)


def test_a_notice_says_one_thing_and_can_be_asked_again():
    view = home.notice("Who are you?")
    check_view(view, "home")
    assert list(texts(view["blocks"], "plain_text")) == ["Who are you?", "Refresh"]
