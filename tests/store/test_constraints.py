"""What the schema promises by itself: each constraint refuses the row that would break it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from store.ids import new_id
from tests.store import factories
from tests.store.factories import insert

_NOW = datetime.now(UTC)
_FOREIGN_KEY = asyncpg.ForeignKeyViolationError
_TAKEN = asyncpg.UniqueViolationError
_CHECK = asyncpg.CheckViolationError
_ENDED = {"state": "completed", "ended_at": _NOW, "stop_reason": "end_turn"}


async def _constraint(refused: type[asyncpg.PostgresError], work: Any) -> str:
    with pytest.raises(refused) as error:
        await work
    return str(getattr(error.value, "constraint_name", None))


# ------------------------------------------------------------------ sessions


async def test_a_thread_has_one_session_per_agent(db, on):
    first = await factories.session(db, on, slack_conversation_key="thread")
    again = factories.session(db, on, slack_conversation_key="thread")
    assert await _constraint(_TAKEN, again) == "agent_sessions_one_per_thread"
    await factories.session(db, on, slack_conversation_key="another thread")
    await db.execute(
        "UPDATE agent_sessions SET status = 'archived', archived_at = now(), ready_at = NULL"
        " WHERE id = $1",
        first["id"],
    )
    again = factories.session(db, on, slack_conversation_key="thread")
    assert await _constraint(_TAKEN, again) == "agent_sessions_one_per_thread"


async def test_sessions_without_a_thread_are_as_many_as_wanted(db, on):
    nowhere = dict.fromkeys(
        ("slack_install_id", "slack_channel_id", "slack_thread_ts", "slack_conversation_key")
    )
    for _ in range(2):
        await factories.session(db, on, source="webhook", **nowhere)


_NO_SESSIONS: list[tuple[dict[str, Any], str]] = [
    ({"lease_owner": "somebody"}, "lease_is_whole"),
    ({"lease_expires_at": _NOW}, "lease_is_whole"),
    ({"status": "archived", "archived_at": _NOW, "ready_at": _NOW}, "archived_is_at_rest"),
    (
        {
            "status": "archived",
            "archived_at": _NOW,
            "lease_owner": "a",
            "lease_expires_at": _NOW,
        },
        "archived_is_at_rest",
    ),
    ({"status": "archived"}, "archived_has_its_time"),
    ({"archived_at": _NOW}, "archived_has_its_time"),
    ({"slack_channel_id": None}, "slack_thread_is_whole"),
    (
        {
            "slack_install_id": None,
            "slack_channel_id": None,
            "slack_thread_ts": None,
            "slack_conversation_key": None,
        },
        "slack_source_has_a_thread",
    ),
    ({"status": "waiting"}, "agent_sessions_status_check"),
    ({"source": "fax"}, "agent_sessions_source_check"),
]


async def test_a_session_that_cannot_be_is_refused(db, on):
    for columns, constraint in _NO_SESSIONS:
        assert await _constraint(_CHECK, factories.session(db, on, **columns)) == constraint, (
            columns
        )


# ------------------------------------------------------------------ turns and inputs


async def test_a_session_has_one_live_turn(db, on):
    session = await factories.session(db, on)
    await factories.turn(db, session, **_ENDED)
    await factories.turn(db, session, state="awaiting_human", looked_at=_NOW)
    second = factories.turn(db, session)
    assert await _constraint(_TAKEN, second) == "agent_turns_one_live"


async def test_turn_numbers_are_given_once(db, on):
    session = await factories.session(db, on)
    await factories.turn(db, session, **_ENDED, number=1)
    again = factories.turn(db, session, **_ENDED, number=1)
    assert await _constraint(_TAKEN, again) == "agent_turns_deployed_agent_id_session_id_number_key"


_NO_TURNS: list[tuple[dict[str, Any], str]] = [
    ({"state": "completed"}, "ended_has_time_and_reason"),
    ({"state": "completed", "ended_at": _NOW}, "ended_has_time_and_reason"),
    ({"ended_at": _NOW, "stop_reason": "end_turn"}, "ended_has_time_and_reason"),
    (
        {"state": "awaiting_human", "looked_at": _NOW, "stop_reason": "end_turn"},
        "ended_has_time_and_reason",
    ),
    ({"state": "awaiting_human"}, "awaiting_was_looked_at"),
    ({"state": "lost"}, "agent_turns_state_check"),
    ({"number": 0}, "agent_turns_number_check"),
]


async def test_a_turn_that_cannot_be_is_refused(db, on):
    session = await factories.session(db, on)
    for columns, constraint in _NO_TURNS:
        assert await _constraint(_CHECK, factories.turn(db, session, **columns)) == constraint, (
            columns
        )


async def test_a_message_is_one_row_by_its_key_and_by_its_clients_key(db, on):
    session, other = [await factories.session(db, on) for _ in range(2)]
    await factories.message(db, session, dedupe_key="msg:1", client_key="client:1")
    same = factories.message(db, other, dedupe_key="msg:1")
    assert await _constraint(_TAKEN, same) == "session_inputs_deployed_agent_id_dedupe_key_key"
    twice = factories.message(db, other, client_key="client:1")
    assert await _constraint(_TAKEN, twice) == "session_inputs_client_key"


_NO_INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"state": "sending", "turn_id": "live"}, "sending_has_a_deadline"),
    ({"sending_deadline": _NOW}, "sending_has_a_deadline"),
    ({"state": "sent", "turn_id": "live", "sending_deadline": _NOW}, "sending_has_a_deadline"),
    ({"state": "sending", "sending_deadline": _NOW}, "sent_belongs_to_a_turn"),
    ({"state": "sent"}, "sent_belongs_to_a_turn"),
    ({"state": "done", "ended_at": _NOW}, "sent_belongs_to_a_turn"),
    ({"state": "withdrawn"}, "ended_has_its_time"),
    ({"state": "refused"}, "ended_has_its_time"),
    ({"ended_at": _NOW}, "ended_has_its_time"),
    ({"state": "lost"}, "session_inputs_state_check"),
    ({"kind": "shout"}, "session_inputs_kind_check"),
]


async def test_an_input_that_cannot_be_is_refused(db, on):
    session = await factories.session(db, on)
    live = await factories.turn(db, session)
    for columns, constraint in _NO_INPUTS:
        given = {"turn_id": live["id"]} if "turn_id" in columns else {}
        assert (
            await _constraint(_CHECK, factories.message(db, session, **columns | given))
            == constraint
        ), columns


# ------------------------------------------------------------------ the outbox, usage


async def test_an_effect_is_written_once_per_session(db, on):
    session, other = [await factories.session(db, on) for _ in range(2)]
    await factories.delivery(db, session, effect_key="reply:1")
    await factories.delivery(db, other, effect_key="reply:1")
    again = factories.delivery(db, session, effect_key="reply:1")
    assert await _constraint(_TAKEN, again) == "slack_outbox_effect"


async def test_a_sentence_to_somebody_without_a_session_is_written_once_per_thread(db, on):
    session = await factories.session(db, on)
    stranger: dict[str, Any] = {
        "session_id": None,
        "lane": "side",
        "kind": "private",
        "effect_key": "notice:stranger:U1",
    }
    await factories.delivery(db, session, **stranger)
    await factories.delivery(db, session, **stranger, slack_conversation_key="another thread")
    again = factories.delivery(db, session, **stranger)
    assert await _constraint(_TAKEN, again) == "slack_outbox_stranger_effect"


_NO_DELIVERIES: list[tuple[dict[str, Any], str]] = [
    ({"session_id": None}, "replies_belong_to_a_session"),
    ({"state": "sending"}, "sending_is_claimed"),
    ({"state": "sending", "deadline": _NOW}, "sending_is_claimed"),
    ({"state": "sending", "claimed_by": "somebody"}, "sending_is_claimed"),
    ({"deadline": _NOW, "claimed_by": "somebody"}, "sending_is_claimed"),
    ({"claimed_by": "somebody"}, "sending_is_claimed"),
    ({"state": "sent"}, "delivered_has_its_time"),
    ({"ended_at": _NOW}, "delivered_has_its_time"),
    ({"state": "dead", "ended_at": _NOW}, "dead_has_a_reason"),
    ({"state": "lost"}, "slack_outbox_state_check"),
    ({"lane": ""}, "slack_outbox_lane_check"),
    ({"kind": "song"}, "slack_outbox_kind_check"),
]


async def test_a_delivery_that_cannot_be_is_refused(db, on):
    session = await factories.session(db, on)
    for columns, constraint in _NO_DELIVERIES:
        assert (
            await _constraint(_CHECK, factories.delivery(db, session, **columns)) == constraint
        ), columns


async def test_a_turn_has_one_usage_row_of_no_negative_count(db, on):
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    negative = factories.usage(db, turn, output_tokens=-1)
    assert await _constraint(_CHECK, negative) == "agent_compute_usage_output_tokens_check"
    cheap = factories.usage(db, turn, cost_cents=Decimal("-0.000001"))
    assert await _constraint(_CHECK, cheap) == "agent_compute_usage_cost_cents_check"
    unknown = factories.usage(db, turn, state="guessed")
    assert await _constraint(_CHECK, unknown) == "agent_compute_usage_state_check"
    await factories.usage(db, turn)
    assert await _constraint(_TAKEN, factories.usage(db, turn)) == "agent_compute_usage_pkey"


# ------------------------------------------------------------------ tenancy


@pytest.fixture
async def elsewhere(db):
    """Another workspace, with its own agent and install."""
    return await factories.ground(db)


async def test_no_row_below_an_agent_names_another_workspace(db, on, elsewhere):
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    theirs = {"workspace_id": elsewhere.workspace_id}
    for wrong in (
        factories.session(db, on, **theirs),
        factories.turn(db, session, **_ENDED, **theirs),
        factories.message(db, session, **theirs),
        factories.delivery(db, session, **theirs),
        factories.usage(db, turn, **theirs),
    ):
        await _constraint(_FOREIGN_KEY, wrong)


async def test_no_row_of_a_session_names_another_agent(db, on, elsewhere):
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    theirs = {"deployed_agent_id": elsewhere.agent_id, "workspace_id": elsewhere.workspace_id}
    for wrong in (
        factories.turn(db, session, **_ENDED, **theirs),
        factories.message(db, session, **theirs),
        factories.delivery(db, session, **theirs),
        factories.usage(db, turn, **theirs),
    ):
        await _constraint(_FOREIGN_KEY, wrong)


async def test_an_install_answers_with_agents_of_its_own_workspace(db, on, elsewhere):
    await _constraint(_FOREIGN_KEY, factories.install(db, on.workspace_id, elsewhere.agent_id))
    route = {"install_id": on.install_id, "channel_id": "C1", "workspace_id": on.workspace_id}
    wrong = insert(db, "slack_routes", **route, deployed_agent_id=elsewhere.agent_id)
    await _constraint(_FOREIGN_KEY, wrong)
    route["workspace_id"] = elsewhere.workspace_id
    wrong = insert(db, "slack_routes", **route, deployed_agent_id=elsewhere.agent_id)
    await _constraint(_FOREIGN_KEY, wrong)


async def test_a_thread_is_pinned_once_and_within_its_workspace(db, on, elsewhere):
    pin: dict[str, Any] = {
        "slack_conversation_key": "thread",
        "deployed_agent_id": on.agent_id,
        "workspace_id": on.workspace_id,
        "session_id": new_id(),
        "api_app_id": "A1",
        "channel_id": "C1",
        "root_ts": "1.000000",
        "first_ts": Decimal(1),
    }
    foreign = insert(db, "slack_threads", **pin | {"workspace_id": elsewhere.workspace_id})
    await _constraint(_FOREIGN_KEY, foreign)
    await insert(db, "slack_threads", **pin)
    again = insert(db, "slack_threads", **pin | {"session_id": new_id()})
    assert await _constraint(_TAKEN, again) == "slack_threads_pkey"


async def test_an_app_is_installed_once_in_a_tenant_and_active_only_with_its_token(db, on):
    tenant = {"api_app_id": "A1", "tenant_id": "T1"}
    await factories.install(db, on.workspace_id, None, **tenant)
    again = factories.install(db, on.workspace_id, None, **tenant)
    assert await _constraint(_TAKEN, again) == "oauth_installs_api_app_id_tenant_id_key"
    dumb = factories.install(db, on.workspace_id, None, bot_token=None)
    assert await _constraint(_CHECK, dumb) == "active_install_has_a_token"
    undead = factories.install(db, on.workspace_id, None, status="revoked")
    assert await _constraint(_CHECK, undead) == "active_install_has_a_token"


async def test_names_are_given_once_and_roles_are_known(db, on):
    await insert(db, "workspaces", id=new_id(), name="Acme")
    again = insert(db, "workspaces", id=new_id(), name="Acme")
    assert await _constraint(_TAKEN, again) == "workspaces_name_key"
    await factories.agent(db, on.workspace_id, name="helper")
    second = factories.agent(db, on.workspace_id, name="helper")
    assert await _constraint(_TAKEN, second) == "deployed_agents_workspace_id_name_key"
    king = insert(db, "workspace_members", workspace_id=on.workspace_id, user_id="U1", role="king")
    assert await _constraint(_CHECK, king) == "workspace_members_role_check"
