"""What a session's events say about the turn in flight, in any order and however often seen."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, strategies as st

from router.turns.project import (
    Event,
    HeldCall,
    Projection,
    marker,
    sending_of,
    usage_between,
)

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "01a203b2-7413-7810-9f34-63e7c10bbe75"
OTHER = "01a203b2-7413-7810-9f34-63e7c10bbe76"


def at(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def event(kind: str, second: float | None, **more: Any) -> Event:
    made = {"type": kind, "id": f"sevt_{kind}_{second}", **more}
    return made if second is None else made | {"processed_at": at(second)}


def message(key: str, second: float | None, event_id: str = "sevt_m") -> Event:
    content = [{"type": "text", "text": marker(key, "Ada (U1)", at(0))}]
    content.append({"type": "text", "text": "hello"})
    return event("user.message", second, content=content) | {"id": event_id}


def said(text: str, second: float) -> Event:
    return event("agent.message", second, content=[{"type": "text", "text": text}])


def idle(second: float, reason: str = "end_turn", **more: Any) -> Event:
    return event("session.status_idle", second, stop_reason={"type": reason, **more})


def seen(*events: Event, place: datetime | None = None) -> Projection:
    projection = Projection(place)
    for one in events:
        projection.see(one)
    return projection


TURN = [
    message(KEY, None),
    event("session.status_running", 1),
    message(KEY, 2),
    said("one", 3),
    said("two", 4),
    event("session.usage", 5, usage={"input_tokens": 7}),
    idle(6),
]


# ------------------------------------------------------------------ whose message it is


@pytest.mark.parametrize("person", ["Ada (U1)", 'A "quoted" <name/>', "tab\tnew\nline", "名前"])
@pytest.mark.parametrize("key", [KEY, f"{KEY}.2"])
def test_the_marker_says_whose_sending_it_is(key: str, person: str):
    content = [{"type": "text", "text": marker(key, person, at(0))}]
    assert sending_of(event("user.message", 1, content=content)) == key


@pytest.mark.parametrize(
    "text", ["hello", f'say <input id="{KEY}" from="x"/>', '<input id="short" from="x"/>', ""]
)
def test_other_words_carry_no_marker(text: str):
    assert sending_of(event("user.message", 1, content=[{"type": "text", "text": text}])) is None


def test_an_event_without_content_carries_no_marker():
    assert sending_of(event("user.interrupt", 1)) is None
    assert sending_of(event("user.message", 1, content=[{"type": "image"}])) is None


def test_what_arrived_is_known_before_it_is_read():
    assert seen(message(KEY, None)).arrived() == {KEY: "sevt_m"}


# ------------------------------------------------------------------ the end of a turn


def test_a_turn_ends_with_its_idle_and_all_it_said():
    ended = seen(*TURN).ended({KEY})
    assert ended is not None
    assert (ended.reason, ended.text, ended.interrupted) == ("end_turn", "one\n\ntwo", False)
    assert (ended.at, ended.usage) == (START + timedelta(seconds=6), {"input_tokens": 7})
    assert ended.flushed == frozenset()


@given(order=st.permutations(TURN), again=st.lists(st.sampled_from(TURN)))
def test_order_and_repetition_change_nothing(order: list[Event], again: list[Event]):
    assert seen(*order, *again).ended({KEY}) == seen(*TURN).ended({KEY})


def test_as_long_as_an_event_of_the_turn_is_missing_it_has_not_ended():
    for missing in (2, 6):  # the message as read, the idle
        rest = [one for place, one in enumerate(TURN) if place != missing]
        assert seen(*rest).ended({KEY}) is None


def test_the_idle_of_an_interrupt_does_not_end_the_turn_of_the_message_behind_it():
    """[interrupt, message] in one request: idle for the interrupt, then it runs on."""
    events = [event("user.interrupt", 1), idle(2), message(KEY, None)]
    assert seen(*events).ended({KEY}) is None
    events += [message(KEY, 3), said("redirected", 4)]
    assert seen(*events).ended({KEY}) is None
    ended = seen(*events, idle(5)).ended({KEY})
    assert ended is not None
    assert ended.text == "redirected"


def test_one_unread_input_keeps_a_turn_open():
    assert seen(*TURN, message(OTHER, None, "sevt_o")).ended({KEY, OTHER}) is None
    ended = seen(*TURN, message(OTHER, 7, "sevt_o"), said("three", 8), idle(9)).ended({KEY, OTHER})
    assert ended is not None
    assert ended.text == "one\n\ntwo\n\nthree"


def test_what_lies_before_the_place_belongs_to_earlier_turns():
    place = START + timedelta(seconds=6)
    later = [message(OTHER, 8, "sevt_o"), said("later", 9)]
    assert seen(*TURN, *later, place=place).ended({OTHER}) is None
    ended = seen(*TURN, *later, idle(10), place=place).ended({OTHER})
    assert ended is not None
    assert (ended.text, ended.usage) == ("later", None)


def test_texts_from_elsewhere_before_our_message_are_not_the_answer():
    ended = seen(said("of another turn", 0.5), *TURN).ended({KEY})
    assert ended is not None
    assert ended.text == "one\n\ntwo"


def test_an_end_without_words_is_told_apart():
    ended = seen(message(KEY, 1), said("  \n", 2), idle(3)).ended({KEY})
    assert ended is not None
    assert (ended.reason, ended.text) == ("no_text", "")


def test_an_interrupted_end_without_words_is_no_failure():
    ended = seen(message(KEY, 1), event("user.interrupt", 2), idle(3)).ended({KEY})
    assert ended is not None
    assert (ended.reason, ended.interrupted) == ("end_turn", True)


def test_an_interrupt_that_made_way_for_a_message_of_the_turn_is_no_stop():
    events = [
        message(KEY, 1),
        event("user.interrupt", 2),
        idle(3),
        message(OTHER, 4, "sevt_o"),
        idle(5),
    ]
    ended = seen(*events).ended({KEY, OTHER})
    assert ended is not None
    assert not ended.interrupted


def test_an_interrupt_that_came_after_the_end_is_no_stop_of_this_turn_nor_of_the_next():
    late = [message(KEY, 1), idle(2), event("user.interrupt", 3), idle(4)]
    ended = seen(*late).ended({KEY})
    assert ended is not None
    assert not ended.interrupted
    following = seen(*late[1:], message(OTHER, 5, "sevt_o"), idle(6)).ended({OTHER})
    assert following is not None
    assert not following.interrupted


@pytest.mark.parametrize("key", ["sevt_1", ""])
def test_an_interrupt_is_under_way_until_the_idle_behind_it(key: str):
    sent = event("user.interrupt", None) | {"id": key}
    projection = seen(event("session.status_running", 0), message(KEY, 1), sent)
    found = [projection.stopping]
    projection.relisted()  # the session runs on: it may still come
    found.append(projection.stopping)
    projection.see(event("user.interrupt", 2) | {"id": key})
    found.append(projection.stopping)
    projection.see(idle(3))
    assert [*found, projection.stopping] == [True, True, True, False]


def test_an_interrupt_that_a_session_at_rest_ignores_is_over_once_it_is_read():
    capped = seen(message(KEY, 1), idle(2, "budget_reached"), event("user.interrupt", 3))
    assert not capped.stopping


@pytest.mark.parametrize("key", ["sevt_1", ""])
def test_at_rest_two_listings_settle_an_interrupt_that_was_not_seen_processed(key: str):
    sent = event("user.interrupt", None) | {"id": key}
    projection = seen(message(KEY, 1), sent, idle(2))
    found = [projection.stopping]
    for _ in range(2):
        projection.see(sent)  # each of them shows it
        projection.relisted()
        found.append(projection.stopping)
    projection.see(sent)
    assert [*found, projection.stopping] == [True, True, False, False]
    assert not seen(sent, event("session.status_terminated", 3)).stopping


def test_between_turns_an_interrupt_under_way_is_an_old_one():
    old, new = (event("user.interrupt", None) | {"id": f"sevt_{n}"} for n in "12")
    projection = seen(message(KEY, 1), old, idle(2))
    projection.forget_interrupts()
    found = [projection.stopping]
    projection.see(new)
    assert [*found, projection.stopping] == [False, True]


def test_an_interrupt_with_an_empty_id_counts():
    blank = event("user.interrupt", 2) | {"id": ""}
    ended = seen(message(KEY, 1), said("half", 1.5), blank, idle(3)).ended({KEY})
    assert ended is not None
    assert ended.interrupted


@pytest.mark.parametrize("reason", ["retries_exhausted", "budget_reached"])
def test_where_the_runtime_gave_up_the_unread_was_thrown_away(reason: str):
    events = [message(KEY, 1), message(OTHER, None, "sevt_o"), idle(3, reason)]
    ended = seen(*events).ended({KEY, OTHER})
    assert ended is not None
    assert (ended.reason, ended.flushed) == (reason, frozenset({OTHER}))


@pytest.mark.parametrize("kind", ["session.status_terminated", "session.deleted"])
def test_the_sessions_end_ends_the_turn_whatever_is_unread(kind: str):
    ended = seen(message(KEY, None), event(kind, 3)).ended({KEY})
    assert ended is not None
    assert (ended.reason, ended.flushed) == ("terminated", frozenset({KEY}))


@pytest.mark.parametrize(
    ("done", "wrote"),
    [
        (event("agent.tool_use", 3, name="bash"), True),
        (event("agent.tool_use", 3, name="write"), True),
        (event("agent.tool_use", 3, name="of_a_newer_toolset"), True),
        (event("agent.tool_use", 3, name="read"), False),
        (event("agent.tool_use", 3, name="web_search"), False),
        (event("agent.mcp_tool_use", 3, name="write", mcp_server_name="linear"), False),
        (event("agent.custom_tool_use", 3, name="write"), False),
        (event("agent.thread_message_sent", 3), True),
        (event("session.thread_created", 3), True),
        (event("workflow_run.started", 3), True),
        (event("session.thread_status_running", 3), False),  # its own thread's, in every turn
        (event("agent.tool_use", 1, name="bash"), False),  # of the turn before
    ],
)
def test_a_turn_may_have_written_where_something_ran_among_its_files(done: Event, *, wrote: bool):
    ended = seen(message(KEY, 2), done, said("one", 4), idle(6)).ended({KEY})
    assert ended is not None
    assert ended.wrote is wrote


def test_a_refusal_is_an_end():
    ended = seen(message(KEY, 1), idle(2, "refusal")).ended({KEY})
    assert ended is not None
    assert ended.reason == "refusal"


# ------------------------------------------------------------------ calls that wait


def use(kind: str, name: str, event_id: str, **more: Any) -> Event:
    return event(kind, 2, name=name, input={}, **more) | {"id": event_id}


CALLS = [
    use("agent.tool_use", "bash", "sevt_1"),
    use("agent.mcp_tool_use", "create_issue", "sevt_2", mcp_server_name="linear"),
    use("agent.custom_tool_use", "lookup", "sevt_3"),
]
WAITING = idle(3, "requires_action", event_ids=["sevt_1", "sevt_2", "sevt_3"])


def test_calls_that_wait_are_named_and_the_turn_goes_on():
    projection = seen(message(KEY, 1), *CALLS, WAITING)
    assert projection.ended({KEY}) is None
    assert not projection.at_rest()
    assert projection.held() == [
        HeldCall("sevt_1", "bash", None, custom=False, arguments={}),
        HeldCall("sevt_2", "create_issue", "linear", custom=False, arguments={}),
        HeldCall("sevt_3", "lookup", None, custom=True, arguments={}),
    ]
    assert [call.name for call in projection.held()] == ["bash", "linear.create_issue", "lookup"]


def test_answered_calls_wait_no_more_even_before_the_answer_is_read():
    answers = [
        event("user.tool_confirmation", None, tool_use_id="sevt_1"),
        event("user.custom_tool_result", None, custom_tool_use_id="sevt_3"),
    ]
    for order in permutations([*CALLS, WAITING, *answers]):
        assert [call.event_id for call in seen(*order).held()] == ["sevt_2"]


def test_once_it_runs_again_nothing_waits():
    assert seen(*CALLS, WAITING, event("session.status_running", 4)).held() == []


def test_a_call_whose_event_the_history_does_not_show_yet_is_left_for_later():
    assert [call.event_id for call in seen(*CALLS[1:], WAITING).held()] == ["sevt_2", "sevt_3"]


@pytest.mark.parametrize(
    "events",
    [
        [event("session.status_running", 1)],
        [idle(1), event("session.status_running", 2)],
        [WAITING],
    ],
)
def test_while_it_runs_or_holds_a_call_no_message_is_taken(events: list[Event]):
    assert not seen(*events).at_rest()


def test_at_rest_a_message_is_taken():
    assert seen().at_rest()
    assert seen(event("session.status_running", 1), idle(2)).at_rest()


# ------------------------------------------------------------------ usage


def snapshot(tokens: int, cents: str) -> dict[str, Any]:
    return {
        "input_tokens": tokens,
        "output_tokens": 2 * tokens,
        "cache_read_input_tokens": 3 * tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens,
            "ephemeral_1h_input_tokens": tokens,
        },
        "active_seconds": tokens / 8,
        "list_cost": {"amount": cents, "currency": "USD"},
    }


def test_usage_is_the_difference_of_two_snapshots():
    used = usage_between(snapshot(8, "1.25"), snapshot(24, "4.5"))
    assert (used.input_tokens, used.output_tokens) == (16, 32)
    assert (used.cache_read_tokens, used.cache_write_tokens) == (48, 32)
    assert (used.runtime_ms, used.cost_cents) == (2000, Decimal("3.25"))


def test_without_an_earlier_snapshot_all_of_it_was_used():
    assert usage_between(None, snapshot(8, "1")) == usage_between({}, snapshot(8, "1"))
    assert usage_between(None, snapshot(8, "1")).input_tokens == 8


def test_fields_that_are_left_out_count_as_nothing():
    assert usage_between(None, {"input_tokens": 5, "list_cost": None}).input_tokens == 5


def test_usage_is_never_less_than_nothing():
    used = usage_between(snapshot(24, "4"), snapshot(8, "1"))
    assert (used.input_tokens, used.cost_cents) == (0, Decimal(0))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20).map(sorted))
def test_turns_add_up_to_the_runtimes_total(totals: list[int]):
    snapshots = [snapshot(n, f"{n}.5") for n in totals]
    spent = [usage_between(a, b) for a, b in zip([None, *snapshots], snapshots, strict=False)]
    whole = usage_between(None, snapshots[-1])
    assert sum(u.input_tokens for u in spent) == whole.input_tokens
    assert sum(u.cost_cents for u in spent) == whole.cost_cents
