"""Cards and forms: each state in words and buttons, and nothing that others wrote is ever markup."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from bot import cards, deciders, modals, plain
from bot.cards import Card
from bot.local.checks import check_blocks
from bot.local.view_checks import check_view
from router.behaviour import Policy
from router.humans import Ref
from store.approvals import Approval
from store.escalations import Escalation

AGENT, ROW = UUID(int=1 << 120), UUID(int=2 << 120)
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DATE = f"<!date^{int(NOON.timestamp())}^{{date_short_pretty}} at {{time}}|2026-11-22 12:00 UTC>"
ADA = {"origin": "slack", "user": "U0ADA", "name": "Ada", "team": "T1"}
GRACE = {"origin": "slack", "user": "U0GRACE", "name": "Grace", "team": "T1"}
NASTY = "<@U0EVIL> <!here> *bold* `x` <https://evil.example|click> @channel :smile: & _i_"


def approval(state: str = "pending", **changes: Any) -> Approval:
    decided = state in ("allowed", "denied", "confirmed", "void", "closed")
    rule = Policy(**changes.pop("rule", {})).model_dump(mode="json")
    values: dict[str, Any] = {
        "id": ROW,
        "deployed_agent_id": AGENT,
        "workspace_id": AGENT,
        "session_id": AGENT,
        "turn_id": AGENT,
        "runtime_event_id": "sevt_1",
        "card_no": 1,
        "revision": 0,
        "tool": "bash",
        "server": None,
        "arguments": {"command": "ls"},
        "arguments_hash": b"h",
        "policy": rule,
        "requesters": ["U0ADA"],
        "state": state,
        "verdict": {"allowed": "allow", "denied": "deny", "confirmed": "allow"}.get(state),
        "decided_by": ADA if decided else None,
        "decided_at": NOON if decided else None,
        "reason": None,
        "asked_at": NOON,
        "remind_at": None,
        "expires_at": None,
    }
    return Approval(**values | changes)


def question(state: str = "pending", **changes: Any) -> Escalation:
    values: dict[str, Any] = {
        "id": ROW,
        "deployed_agent_id": AGENT,
        "workspace_id": AGENT,
        "session_id": AGENT,
        "turn_id": AGENT,
        "runtime_event_id": "sevt_1",
        "revision": 0,
        "question": "Which one?",
        "context": "",
        "choices": [],
        "arguments_hash": b"h",
        "policy": {"who": ["requester"], "owner": None},
        "requesters": ["U0ADA"],
        "state": state,
        "answer": "the first" if state == "answered" else None,
        "decided_by": None if state == "pending" else GRACE,
        "decided_at": None if state == "pending" else NOON,
        "asked_at": NOON,
        "pings": 0,
        "ping_at": None,
        "channel_install_id": None,
        "channel_id": None,
    }
    return Escalation(**values | changes)


def inside(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of blocks, at any depth."""
    if isinstance(node, list):
        for one in node:
            yield from inside(one)
    elif isinstance(node, dict):
        yield node
        for one in node.values():
            yield from inside(one)


def buttons(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {n["action_id"]: n for n in inside(blocks) if n.get("type") == "button"}


def markup(blocks: list[dict[str, Any]]) -> str:
    return "\n".join(n["text"] for n in inside(blocks) if n.get("type") == "mrkdwn")


def words(blocks: list[dict[str, Any]]) -> str:
    return "\n".join(n["text"] for n in inside(blocks) if isinstance(n.get("text"), str))


# ------------------------------------------------------------------ approvals


def test_a_pending_card_says_what_who_asks_and_who_may():
    row = approval(tool="merge", server="github", arguments={"pr": 7, "body": "a\nb"})
    card = cards.approval(row, [], 1)
    assert card.text == "Approval of github.merge: somebody has to decide"
    assert "The agent wants to use github.merge." in words(card.blocks)
    assert "pr: 7\nbody:\n    a\n    b" in words(card.blocks)
    assert markup(card.blocks) == "Asked for by <@U0ADA>.\nMay decide: <@U0ADA>."
    made = buttons(card.blocks)
    assert [(b["text"]["text"], b.get("style")) for b in made.values()] == [
        ("Approve", "primary"),
        ("Deny", "danger"),
    ]
    assert made["approval.allow"]["accessibility_label"] == "Approve github.merge"
    assert {b["value"] for b in made.values()} == {Ref("approval", AGENT, ROW, 1).opaque()}


@pytest.mark.parametrize(
    ("who", "says"),
    [
        (("requester",), "<@U0ADA> or <@U0GRACE>"),
        (("admins",), "admins of this workspace"),
        (("channel",), "people in this channel"),
        (("user:U0LINUS",), "<@U0LINUS>"),
        (
            ("group:S0ONCALL", "admins"),
            "members of <!subteam^S0ONCALL> or admins of this workspace",
        ),
        (("requester", "user:U0ADA"), "<@U0ADA> or <@U0GRACE>"),
    ],
)
def test_who_may_decide_stands_there_in_words(who: tuple[str, ...], says: str):
    row = approval(rule={"who": who}, requesters=["U0ADA", "U0GRACE"])
    assert f"May decide: {says}." in markup(cards.approval(row, [], 1).blocks)


def test_a_quorum_shows_how_far_it_is():
    row = approval(rule={"quorum": 2})
    assert "It takes 2 people to approve; nobody has yet." in markup(
        cards.approval(row, [], 1).blocks
    )
    assert "Approved by 1 of 2: <@U0ADA>." in markup(cards.approval(row, [ADA], 1).blocks)


def test_when_a_card_runs_out_stands_there_in_the_readers_own_time():
    row = approval(expires_at=NOON)
    assert f"Open until {DATE}." in markup(cards.approval(row, [], 1).blocks)


@pytest.mark.parametrize(("remember", "says"), [("tool", "whatever"), ("arguments", "same")])
def test_approving_for_the_thread_is_offered_where_policy_has_it(remember: str, says: str):
    assert "approval.remember" not in buttons(cards.approval(approval(), [], 1).blocks)
    made = buttons(cards.approval(approval(rule={"remember": remember}), [], 1).blocks)
    assert says in made["approval.remember"]["confirm"]["text"]["text"]


@pytest.mark.parametrize(
    ("state", "changes", "says"),
    [
        ("allowed", {}, f"Approved by <@U0ADA> in Slack {DATE}; the agent is being told."),
        ("denied", {}, f"Denied by <@U0ADA> in Slack {DATE}; the agent is being told."),
        ("confirmed", {}, f"Approved by <@U0ADA> in Slack {DATE}; the agent was told."),
        ("confirmed", {"verdict": "deny"}, f"Denied by <@U0ADA> in Slack {DATE}; the agent was"),
        ("void", {"verdict": "allow"}, "it came too late, the call was not waiting any more."),
        (
            "closed",
            {"decided_by": {"origin": "runtime", "user": None, "name": ""}},
            f"Closed at the agent's service {DATE}: it needs no decision any more.",
        ),
        (
            "confirmed",
            {"decided_by": {"origin": "rest", "user": "key_1", "name": "Deploy *key*"}},
            f"Approved by Deploy key through the API {DATE}; the agent was told.",
        ),
        (
            "allowed",
            {"decided_by": {"origin": "dashboard", "user": "a-b", "name": "Ada L."}},
            f"Approved by Ada L. on the dashboard {DATE}; the agent is being told.",
        ),
    ],
)
def test_a_decided_card_says_who_what_when_and_from_where(
    state: str, changes: dict[str, Any], says: str
):
    card = cards.approval(approval(state, **changes), [], 1)
    assert says in markup(card.blocks)
    assert buttons(card.blocks) == {}


def test_a_reason_is_shown_as_it_was_written():
    card = cards.approval(approval("denied", reason=NASTY), [], 1)
    assert f"Reason: {NASTY}" in words(card.blocks)
    assert "U0EVIL" not in markup(card.blocks)


def test_an_expired_card_offers_to_ask_again():
    card = cards.approval(approval("expired"), [], 1)
    assert list(buttons(card.blocks)) == ["approval.again"]
    assert "Nobody decided in time" in markup(card.blocks)


@pytest.mark.parametrize("state", ["pending", "expired", "allowed", "confirmed"])
def test_an_older_card_says_that_it_was_replaced(state: str):
    card = cards.approval(approval(state, card_no=3), [], 2)
    assert buttons(card.blocks) == {}
    assert markup(card.blocks).startswith("Replaced:")


def test_what_is_left_out_is_said_and_can_be_seen():
    row = approval(arguments={"text": "q" * 5_000})
    card = cards.approval(row, [], 1)
    assert "… and 4406 more characters." in words(card.blocks)
    assert "approval.view" in buttons(card.blocks)
    shown = words(modals.call(row)["blocks"])
    assert shown.count("q") == 5_000


def test_arguments_that_no_form_can_hold_are_cut_and_it_is_said():
    view = modals.call(approval(arguments={"text": "ä" * 300_000}))
    left = int(re.findall(r"(\d+) more characters do not fit", words(view["blocks"]))[0])
    assert words(view["blocks"]).count("ä") + left == 300_000
    check_view(view, "modal")


# ------------------------------------------------------------------ what cannot be faked


def test_no_value_can_pass_for_another_argument():
    text = plain.arguments({"command": "ls\npath: /safe", "path": "/danger", "x\ny: 1": 2})
    assert [line for line in text.split("\n") if not line.startswith(" ")] == [
        "command:",
        "path: /danger",
        '"x\\ny: 1": 2',
    ]


def test_what_nobody_would_see_is_spelt_out():
    hidden = "rm \u202e gpj.exe\u200b\x1b[2K\r"
    assert plain.visible(hidden) == "rm \\u202e gpj.exe\\u200b\\u001b[2K\\u000d"
    assert plain.visible("a\tb\nc\u200dd") == "a\tb\nc\u200dd"


# ------------------------------------------------------------------ questions


def test_a_question_offers_its_choices_an_answer_and_nobody():
    row = question(choices=["Staging", "c" * 200], policy={"who": ["channel"], "owner": "user:U0B"})
    made = buttons(cards.escalation(row, None, elsewhere=False).blocks)
    opaque = Ref("escalation", AGENT, ROW).opaque()
    assert [(name, b["value"]) for name, b in made.items()] == [
        ("escalation.choose.0", f"{opaque}:0"),
        ("escalation.choose.1", f"{opaque}:1"),
        ("escalation.answer", opaque),
        ("escalation.cancel", opaque),
    ]
    assert made["escalation.choose.0"]["text"]["text"] == "Staging"
    assert "<@U0B>: please answer." in markup(cards.escalation(row, None, elsewhere=False).blocks)


def test_in_another_channel_a_question_says_where_it_comes_from():
    home, other = question(), question(requesters=[])
    here = markup(cards.escalation(home, "C0HOME", elsewhere=True).blocks)
    assert "Asked in <#C0HOME>, for <@U0ADA>." in here
    assert "Asked in a direct message" in markup(
        cards.escalation(home, "D0ADA", elsewhere=True).blocks
    )
    assert "Asked outside of Slack." in markup(cards.escalation(other, None, elsewhere=True).blocks)
    assert "Asked" not in markup(cards.escalation(home, "C0HOME", elsewhere=False).blocks)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("answered", f"Answered by <@U0GRACE> in Slack {DATE}."),
        ("cancelled", f"Closed without an answer by <@U0GRACE> in Slack {DATE}; the agent was"),
    ],
)
def test_a_question_that_is_over_has_no_buttons(state: str, says: str):
    card = cards.escalation(question(state), None, elsewhere=False)
    assert says in markup(card.blocks)
    assert buttons(card.blocks) == {}
    assert ("Answer: the first" in words(card.blocks)) == (state == "answered")


@pytest.mark.parametrize(("for_what", "label"), [("approval", "Deny"), ("escalation", "Close")])
def test_a_message_that_waits_says_for_what(for_what: Any, label: str):
    card = cards.waiting(AGENT, ROW, for_what)
    (button,) = buttons(card.blocks).values()
    assert button["action_id"] == "course.change"
    assert button["text"]["text"].startswith(label)
    assert cards.unpacked(button["value"]) == (AGENT, ROW)


@pytest.mark.parametrize("junk", ["", "x", "AQ", "ÄÖ", "A" * 44, "A" * 100])
def test_a_turn_that_is_none_is_refused(junk: str):
    with pytest.raises(ValueError, match="no turn of ours"):
        cards.unpacked(junk)


# ------------------------------------------------------------------ whatever they hold


TEXT = st.text(max_size=1_500) | st.sampled_from([NASTY, "", " \n", "\u202e", "\0", "</script>"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=5)
PEOPLE = st.lists(st.sampled_from(["U0ADA", "W0GRACE"]) | TEXT, max_size=12)
DECIDER = st.fixed_dictionaries(
    {"origin": st.sampled_from(["slack", "rest", "dashboard", "runtime", "threadline", "?"])},
    optional={"user": st.none() | TEXT, "name": TEXT},
)
_OURS = re.compile(
    r"<@[UW][A-Z0-9]+>|<#C[A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>|<!date\^\d+\^[^|<>]*\|[^|<>]*>"
)
_OPAQUE = re.compile(r"[\w-]{40,60}(:\d)?", re.ASCII)


def is_harmless(blocks: list[dict[str, Any]]) -> None:
    for text in markup(blocks).split("\n"):
        rest = _OURS.sub("", text)
        assert not re.search(r"[<>*_~`]|&(?!amp;|lt;|gt;)|:\w+:|@|https?:", rest), text
    for button in buttons(blocks).values():
        assert _OPAQUE.fullmatch(button["value"])
        assert "url" not in button


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["pending", "allowed", "denied", "confirmed", "void", "closed", "expired"]),
    ARGUMENTS,
    st.tuples(TEXT, st.none() | TEXT, st.none() | TEXT),
    PEOPLE,
    DECIDER,
)
def test_whatever_a_call_holds_its_card_fits_and_is_no_markup(
    state: str, arguments: dict[str, Any], texts: Any, people: list[str], by: dict[str, Any]
):
    tool, server, reason = texts
    changes: dict[str, Any] = {} if state in ("pending", "expired") else {"decided_by": by}
    row = approval(
        state,
        arguments=arguments,
        tool=tool,
        server=server,
        reason=reason,
        requesters=people,
        rule={"quorum": 2, "remember": "tool", "who": ("requester", "group:S1", "user:U1")},
        **changes,
    )
    card = cards.approval(row, [by, by], 1)
    fits(card)
    for view in (modals.call(row), modals.deny(row, "ref")):
        check_view(json.loads(json.dumps(view)), "modal")
        assert markup(view["blocks"]) == ""
    is_harmless([deciders.context(cards.became(row) or "open")])


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["pending", "answered", "cancelled"]),
    st.tuples(st.text(max_size=9_000), st.text(max_size=9_000), TEXT),
    st.lists(TEXT, max_size=12),
    st.tuples(PEOPLE, DECIDER, st.none() | TEXT),
    st.sampled_from(["here", "elsewhere"]),
)
def test_whatever_a_question_holds_its_card_fits_and_is_no_markup(
    state: str, texts: Any, choices: list[str], others: Any, where: str
):
    people, by, owner = others
    changes = {} if state == "pending" else {"decided_by": by}
    row = question(
        state,
        question=texts[0],
        context=texts[1],
        answer=texts[2] if state == "answered" else None,
        choices=choices,
        requesters=people,
        policy={"who": ["requester", "channel"], "owner": owner},
        **changes,
    )
    fits(cards.escalation(row, "C0HOME", elsewhere=where == "elsewhere"))
    for view in (modals.question(row), modals.answer(row, "ref")):
        check_view(json.loads(json.dumps(view)), "modal")
        assert markup(view["blocks"]) == ""


def fits(card: Card) -> None:
    check_blocks(json.loads(json.dumps(card.blocks)))
    is_harmless(card.blocks)
    assert len(card.blocks) <= 50
    assert "<" not in card.text
    assert 0 < len(card.text) < 4_000
