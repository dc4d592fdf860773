"""What happens in a session: the order of events, queues, held calls, interrupts, ends."""

import re

import anthropic
import pytest

from tests.contract.runtime_bench import INTERRUPT, Bench, confirm, message, open_bench
from tests.support import eventually

START = ["session.status_running", "session.thread_status_running"]
END = ["session.thread_status_idle", "session.usage", "session.status_idle"]
REQUEST = ["span.model_request_start", "agent.thinking", "agent.message", "span.model_request_end"]


@pytest.fixture(params=["httpx2", "aiohttp"])
async def bench(request):
    async with open_bench(request.param) as opened:
        yield opened


async def hold_turn(bench: Bench, *texts: str) -> str:
    """A session whose turn stands just before the model answers."""
    bench.runtime.hold()
    session_id = await bench.session(*texts)
    await eventually(lambda: bench.runtime.held() == [session_id])
    return session_id


async def wait_asking(bench: Bench, text: str = "!ask") -> tuple[str, list[str]]:
    """A session that waits for confirmations, and the ids named."""
    session_id = await bench.session(text)
    idle = await bench.idle(session_id, "requires_action")
    return session_id, idle.stop_reason.event_ids


async def test_a_turn_in_order(bench):
    session_id = await bench.session()
    (sent,) = await bench.say(session_id, "hello")
    assert (sent.type, sent.processed_at) == ("user.message", None)
    await bench.idle(session_id)
    events = await bench.history(session_id)
    assert [e.type for e in events] == [*START, "user.message", *REQUEST, *END]
    assert events[2].id == sent.id
    times = [e.processed_at for e in events]
    assert times == sorted(set(times))
    assert await bench.texts(session_id) == ['You said: "hello"']
    assert (await bench.api.retrieve(session_id)).status == "idle"


async def test_the_senders_mark_is_not_the_text(bench):
    session_id = await bench.session()
    mark = '<input id="7" from="U1" at="2026-11-22"/>'
    await bench.send(session_id, message(mark, "!echo one"), message(mark + "two"))
    await bench.idle(session_id)
    assert await bench.texts(session_id) == ["one\ntwo"]


async def test_messages_of_one_send_share_the_turn(bench):
    session_id = await bench.session()
    await bench.say(session_id, "one", "two", "three")
    await bench.idle(session_id)
    assert await bench.texts(session_id) == ['You said: "one" and "two" and "three"']
    assert (await bench.types(session_id)).count("session.status_running") == 1


async def test_messages_sent_while_running_go_on_without_an_idle(bench):
    session_id = await hold_turn(bench, "first")
    sent = await bench.say(session_id, "second")
    await bench.say(session_id, "third")
    events = await bench.history(session_id)
    assert [e.processed_at is None for e in events[-3:]] == [False, True, True]
    newest = await bench.history(session_id, order="desc", types=["user.message"])
    assert [e.processed_at is None for e in newest] == [True, True, False]
    assert newest[1].id == sent[0].id
    bench.runtime.release()
    await bench.idle(session_id)
    users = ["user.message", "user.message"]
    assert await bench.types(session_id) == [
        *START, "user.message", *REQUEST, *users, *REQUEST, *END,
    ]  # fmt: skip
    assert await bench.texts(session_id) == [
        'You said: "first"',
        'You said: "second" and "third"',
    ]


async def test_user_events_are_heard_twice_under_one_id(bench):
    session_id = await bench.session()
    stream = await bench.api.events.stream(session_id)
    (sent,) = await bench.say(session_id, "hello")
    heard = []
    async for event in stream:
        heard.append(event)
        if event.type == "session.status_idle":
            break
    await stream.close()
    mine = [e for e in heard if e.type == "user.message"]
    assert [e.id for e in mine] == [sent.id, sent.id]
    assert [e.processed_at is None for e in mine] == [True, False]
    assert [e.type for e in heard] == [
        "user.message", *START, "user.message", *REQUEST, *END,
    ]  # fmt: skip


async def test_an_allowed_tool_runs_between_two_texts(bench):
    session_id = await bench.session("please !tool grep")
    await bench.idle(session_id)
    assert await bench.types(session_id) == [
        *START, "user.message",
        "span.model_request_start", "agent.thinking", "agent.message", "agent.tool_use",
        "span.model_request_end", "agent.tool_result",
        "span.model_request_start", "agent.message", "span.model_request_end",
        *END,
    ]  # fmt: skip
    use, result = await bench.history(session_id, types=["agent.tool_use", "agent.tool_result"])
    assert (use.name, use.evaluated_permission) == ("grep", "allow")
    assert (result.tool_use_id, result.is_error) == (use.id, False)


async def test_a_held_call_is_allowed(bench):
    session_id, asked = await wait_asking(bench)
    (use,) = await bench.history(session_id, types=["agent.tool_use"])
    assert (use.evaluated_permission, asked) == ("ask", [use.id])
    assert (await bench.api.retrieve(session_id)).status == "idle"
    (sent,) = await bench.send(session_id, confirm(use.id))
    assert sent.processed_at is None
    await bench.idle(session_id)
    types = await bench.types(session_id)
    assert types[types.index("session.status_idle") + 1 :] == [
        *START, "user.tool_confirmation", "agent.tool_result", *REQUEST, *END,
    ]  # fmt: skip
    assert (await bench.texts(session_id))[-1] == "bash was allowed and ran."


async def test_a_denied_call_gets_a_result_and_the_agent_goes_on(bench):
    session_id, (asked,) = await wait_asking(bench, "!ask github.create_issue")
    (use,) = await bench.history(session_id, types=["agent.mcp_tool_use"])
    assert (use.mcp_server_name, use.name) == ("github", "create_issue")
    await bench.send(session_id, confirm(asked, "deny", deny_message="Not in production."))
    await bench.idle(session_id)
    (result,) = await bench.history(session_id, types=["agent.mcp_tool_result"])
    assert (result.is_error, result.content[0].text) == (True, "Not in production.")
    assert (await bench.texts(session_id))[-1] == "create_issue was denied: Not in production."


async def test_a_subagents_call_is_told_to_the_session_and_answered_by_its_id(bench):
    session_id, (asked,) = await wait_asking(bench, "!ask sub")
    (made,) = await bench.history(session_id, types=["session.thread_created"])
    (use,) = await bench.history(session_id, types=["agent.tool_use"])
    assert (use.id, use.session_thread_id) == (asked, made.session_thread_id)
    await bench.send(session_id, confirm(asked))
    await bench.idle(session_id)
    assert (await bench.texts(session_id))[-1] == "bash was allowed and ran."


async def test_seven_asks_show_a_window_of_five(bench):
    session_id, asked = await wait_asking(bench, "!ask7")
    uses = [e.id for e in await bench.history(session_id, types=["agent.tool_use"])]
    assert asked == uses[:5]
    await bench.send(session_id, confirm(uses[0]), confirm(uses[1], "deny"))
    idle = await bench.idle(session_id, "requires_action", times=2)
    assert idle.stop_reason.event_ids == uses[2:]
    types = await bench.types(session_id)
    assert types[-5:] == ["user.tool_confirmation"] * 2 + END
    assert "agent.tool_result" not in types
    with pytest.raises(anthropic.BadRequestError):
        await bench.send(session_id, confirm(uses[0]))
    await bench.send(session_id, *(confirm(use) for use in uses[2:]))
    await bench.idle(session_id)
    results = await bench.history(session_id, types=["agent.tool_result"])
    assert [e.tool_use_id for e in results] == uses
    assert [e.is_error for e in results] == [False, True] + [False] * 5


async def test_messages_are_refused_word_for_word_while_calls_wait(bench):
    session_id, asked = await wait_asking(bench, "!ask7")
    expected = (
        "Invalid user.message event at events[0]: waiting on responses to events "
        f"[{', '.join(asked)}]; only `user.tool_confirmation`, `user.custom_tool_result`, "
        "`user.tool_result`, or `user.interrupt` may be sent"
    )
    with pytest.raises(anthropic.BadRequestError) as refused:
        await bench.say(session_id, "hello?")
    assert refused.value.api_message == expected
    with pytest.raises(anthropic.BadRequestError, match=re.escape("at events[1]")):
        await bench.send(session_id, confirm(asked[0]), message("too early"))
    assert len(bench.runtime.received(session_id)) == 1


async def test_a_message_may_follow_the_last_answer_in_one_send(bench):
    session_id, (asked,) = await wait_asking(bench)
    await bench.send(session_id, confirm(asked), message("and then?"))
    await bench.idle(session_id)
    assert (await bench.texts(session_id))[1:] == [
        "bash was allowed and ran.",
        'You said: "and then?"',
    ]


async def test_confirmations_are_refused_twice_and_for_calls_that_never_asked(bench):
    session_id = await bench.session("!tool")
    await bench.idle(session_id)
    (use,) = await bench.history(session_id, types=["agent.tool_use"])
    for wrong in (
        confirm(use.id),
        confirm("sevt_none", "deny"),
        confirm(use.id, "perhaps"),
        {"type": "user.custom_tool_result", "custom_tool_use_id": use.id},
    ):
        with pytest.raises(anthropic.BadRequestError):
            await bench.send(session_id, wrong)
    other, (asked,) = await wait_asking(bench)
    wrongs = [
        confirm(asked, "perhaps"),
        confirm(asked, "allow", deny_message="but"),
        {**confirm(asked, "deny"), "deny_message": 7},
    ]
    for wrong in wrongs:
        with pytest.raises(anthropic.BadRequestError):
            await bench.send(other, wrong)
    with pytest.raises(anthropic.BadRequestError):
        await bench.send(other, confirm(asked), confirm(asked))


@pytest.mark.parametrize("failed", [False, True])
async def test_a_custom_tool_is_answered(bench, failed):
    session_id, (asked,) = await wait_asking(bench, "!custom")
    (use,) = await bench.history(session_id, types=["agent.custom_tool_use"])
    assert (use.id, use.name, use.input) == (asked, "lookup_order", {"order": "1234"})
    with pytest.raises(anthropic.BadRequestError):
        await bench.send(session_id, confirm(asked))
    (sent,) = await bench.send(
        session_id,
        {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": asked,
            "content": [{"type": "text", "text": "shipped"}],
            "is_error": failed,
        },
    )
    assert sent.processed_at is not None
    await bench.idle(session_id)
    said = 'lookup_order failed: "shipped".' if failed else 'lookup_order answered: "shipped".'
    assert (await bench.texts(session_id))[-1] == said


async def test_an_escalation_carries_question_and_context(bench):
    session_id, _ = await wait_asking(bench, "!escalate May I refund 40 euros?")
    (use,) = await bench.history(session_id, types=["agent.custom_tool_use"])
    assert use.name == "escalate_to_human"
    assert use.input["question"] == "May I refund 40 euros?"
    assert use.input["context"]


async def test_an_interrupt_ends_the_turn(bench):
    session_id = await hold_turn(bench, "hello")
    (sent,) = await bench.send(session_id, INTERRUPT)
    assert sent.processed_at is None
    await bench.idle(session_id)
    assert await bench.types(session_id) == [
        *START, "user.message", "span.model_request_start", "agent.thinking",
        "span.model_request_end", "user.interrupt", *END,
    ]  # fmt: skip
    bench.runtime.release()
    await bench.say(session_id, "again")
    await bench.idle(session_id, times=2)
    assert await bench.texts(session_id) == ['You said: "again"']


async def test_an_interrupt_jumps_the_queue_and_the_queue_runs_on(bench):
    session_id = await hold_turn(bench, "first")
    await bench.say(session_id, "queued")
    await bench.send(session_id, INTERRUPT, message("instead"))
    bench.runtime.release()
    await bench.idle(session_id, times=2)
    types = await bench.types(session_id)
    assert types[types.index("user.interrupt") :] == [
        "user.interrupt", *END, *START, "user.message", "user.message", *REQUEST, *END,
    ]  # fmt: skip
    assert await bench.texts(session_id) == ['You said: "queued" and "instead"']


async def test_an_interrupt_closes_waiting_calls(bench):
    session_id, (asked,) = await wait_asking(bench)
    await bench.send(session_id, INTERRUPT, message("never mind"))
    await bench.idle(session_id, times=2)
    assert (await bench.texts(session_id))[-1] == 'You said: "never mind"'
    with pytest.raises(anthropic.BadRequestError):
        await bench.send(session_id, confirm(asked))


async def test_an_interrupt_of_an_idle_session_is_processed(bench):
    session_id = await bench.session()
    await bench.send(session_id, INTERRUPT)
    assert await bench.types(session_id) == ["user.interrupt", *END]


async def test_queued_messages_survive_a_call_that_waits(bench):
    session_id = await hold_turn(bench, "!ask")
    await bench.say(session_id, "later")
    bench.runtime.release()
    idle = await bench.idle(session_id, "requires_action")
    assert (await bench.history(session_id))[-1].processed_at is None
    await bench.send(session_id, confirm(idle.stop_reason.event_ids[0]))
    await bench.idle(session_id)
    assert (await bench.texts(session_id))[1:] == [
        "bash was allowed and ran.",
        'You said: "later"',
    ]


async def test_an_error_that_passes(bench):
    session_id = await bench.session("!error retrying")
    await bench.idle(session_id)
    types = await bench.types(session_id)
    assert types[2:] == [
        "user.message", "span.model_request_start", "span.model_request_end",
        "session.error", "session.thread_status_rescheduled", "session.status_rescheduled",
        *START, *REQUEST, *END,
    ]  # fmt: skip
    (error,) = await bench.history(session_id, types=["session.error"])
    assert error.error.retry_status.type == "retrying"


async def test_a_session_shows_that_it_is_rescheduling():
    async with open_bench(pace=0) as bench:
        session_id = await bench.session("!error retrying")

        async def status():
            return (await bench.api.retrieve(session_id)).status == "rescheduling"

        await eventually(status)
        bench.runtime.advance(1)
        await bench.idle(session_id)


async def test_exhausted_retries_flush_the_queue(bench):
    session_id = await hold_turn(bench, "!error")
    (flushed,) = await bench.say(session_id, "lost")
    bench.runtime.release()
    await bench.idle(session_id, "retries_exhausted")
    newest = (await bench.history(session_id))[-1]
    assert (newest.id, newest.processed_at) == (flushed.id, None)
    await bench.say(session_id, "next")
    await bench.idle(session_id)
    assert await bench.texts(session_id) == ['You said: "next"']


async def test_a_terminal_error_ends_the_session(bench):
    session_id = await bench.session("!error terminal")

    async def ended():
        return (await bench.api.retrieve(session_id)).status == "terminated"

    await eventually(ended)
    assert (await bench.types(session_id))[-3:] == [
        "session.error", "session.thread_status_terminated", "session.status_terminated",
    ]  # fmt: skip
    with pytest.raises(anthropic.BadRequestError):
        await bench.say(session_id, "hello?")
    await bench.api.archive(session_id)
    assert (await bench.types(session_id)).count("session.status_terminated") == 1


async def test_a_refusal_says_why(bench):
    session_id = await bench.session("!refuse")
    idle = await bench.idle(session_id, "refusal")
    assert idle.stop_details.type == "refusal"
    assert idle.stop_details.explanation
    await bench.say(session_id, "sorry")
    await bench.idle(session_id)


async def test_a_reached_budget_stays_until_it_is_changed(bench):
    session_id = await bench.session("!budget")
    await bench.idle(session_id, "budget_reached")
    with pytest.raises(anthropic.BadRequestError, match="budget"):
        await bench.say(session_id, "hello?")
    await bench.send(session_id, INTERRUPT)
    assert (await bench.types(session_id))[-1] == "user.interrupt"
    await bench.api.update(session_id, budget=None)
    await bench.say(session_id, "hello")
    await bench.idle(session_id)


async def test_system_messages_follow_what_they_accompany(bench):
    session_id = await bench.session()
    system = {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]}
    await bench.send(session_id, message("hello"), system)
    await bench.idle(session_id)
    assert (await bench.types(session_id))[2:4] == ["user.message", "system.message"]
    (alone,) = await bench.send(session_id, system)
    assert (await bench.history(session_id))[-1].id == alone.id
    with pytest.raises(anthropic.BadRequestError):
        await bench.send(session_id, system, message("wrong order"))


async def test_usage_grows_and_has_a_list_cost(bench):
    session_id = await bench.session("one")
    await bench.idle(session_id)
    await bench.say(session_id, "two")
    await bench.idle(session_id, times=2)
    first, second = await bench.history(session_id, types=["session.usage"])
    spans = await bench.history(session_id, types=["span.model_request_end"])
    assert second.usage.input_tokens == sum(span.model_usage.input_tokens for span in spans)
    assert second.usage.output_tokens > first.usage.output_tokens
    assert second.usage.cache_read_input_tokens == spans[1].model_usage.cache_read_input_tokens
    assert int(second.usage.list_cost.amount) >= int(first.usage.list_cost.amount) > 0
    session = await bench.api.retrieve(session_id)
    assert session.usage.to_dict() == second.usage.to_dict()


async def test_active_seconds_are_those_of_the_pace():
    async with open_bench(pace=0) as bench:
        session_id = await hold_turn(bench, "hello")
        bench.runtime.advance(90)
        assert (await bench.api.retrieve(session_id)).usage.active_seconds == 90
        bench.runtime.release()
        await bench.idle(session_id)
        bench.runtime.advance(1000)
        usage = (await bench.api.retrieve(session_id)).usage
        assert usage.active_seconds == 90


async def test_one_session_is_held_and_others_are_not(bench):
    one, two = await bench.session(), await bench.session()
    bench.runtime.hold(one)
    await bench.say(one, "one")
    await bench.say(two, "two")
    await bench.idle(two)
    assert bench.runtime.held() == [one]
    bench.runtime.release(one)
    await bench.idle(one)
