"""A preview's parts: their states, what the table refuses, and that only the holder writes."""

from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from store import leases, previews
from store.database import Connection, Record
from store.leases import Held
from store.previews import Part
from tests.store import factories

_AT = datetime(2026, 9, 1, 12, tzinfo=UTC)


@pytest.fixture
async def session(db, on) -> Record:
    return await factories.session(db, on)


@pytest.fixture
async def held(db, session) -> Held:
    return await factories.held(db, session)


@pytest.fixture
async def turn(db, session) -> Record:
    return await factories.turn(db, session)


def part(number: int = 0, text_from: int = 0) -> Part:
    return Part(number, text_from, "starting", None, _AT)


async def states(db: Connection, held: Held, turn: Record) -> list[tuple[int, str, str | None]]:
    found = await previews.of_turn(db, held.lease, turn["id"])
    return [(p.part, p.state, p.slack_ts) for p in found]


async def test_a_part_begins_once(db, held, turn):
    assert await previews.begin(db, held, turn["id"], part())
    assert not await previews.begin(db, held, turn["id"], part(0, 99))
    assert await previews.begin(db, held, turn["id"], part(1, 42))
    assert await previews.of_turn(db, held.lease, turn["id"]) == [part(), part(1, 42)]


async def test_a_part_is_a_stream_unless_it_is_said_to_be_edited(db, held, turn):
    edited = replace(part(1, 42), edited=True)
    assert await previews.begin(db, held, turn["id"], part())
    assert await previews.begin(db, held, turn["id"], edited)
    assert await previews.of_turn(db, held.lease, turn["id"]) == [part(), edited]


@pytest.mark.parametrize(
    ("moves", "ends"),
    [
        ([("open", "1.1")], ("open", "1.1")),
        ([("lost", None)], ("lost", None)),
        ([("open", "1.1"), ("closed", "1.1")], ("closed", "1.1")),
        ([("open", "1.1"), ("closed", None)], ("closed", "1.1")),
        ([("closed", "1.1")], ("starting", None)),
        ([("open", "1.1"), ("open", "2.2")], ("open", "1.1")),
        ([("open", "1.1"), ("lost", None)], ("open", "1.1")),
        ([("lost", None), ("open", "1.1")], ("lost", None)),
        ([("open", "1.1"), ("closed", "1.1"), ("open", "2.2")], ("closed", "1.1")),
    ],
)
async def test_a_part_moves_forward_only_and_keeps_its_first_message(db, held, turn, moves, ends):
    await previews.begin(db, held, turn["id"], part())
    for state, ts in moves:
        await previews.move(db, held.lease, turn["id"], 0, state, ts)
    assert await states(db, held, turn) == [(0, *ends)]


@pytest.mark.parametrize("state", ["open", "closed"])
async def test_what_is_shown_has_a_ts(db, held, turn, state):
    await previews.begin(db, held, turn["id"], part())
    with pytest.raises(asyncpg.CheckViolationError, match="shown_has_its_ts"):
        await db.execute("UPDATE slack_previews SET state = $1", state)


@pytest.mark.parametrize("state", ["starting", "lost"])
async def test_what_is_not_shown_has_none(db, held, turn, state):
    await previews.begin(db, held, turn["id"], part())
    with pytest.raises(asyncpg.CheckViolationError, match="shown_has_its_ts"):
        await db.execute("UPDATE slack_previews SET state = $1, slack_ts = '1.1'", state)


@pytest.mark.parametrize("bad", [part(-1), part(0, -1)])
async def test_no_part_has_a_negative_number_or_place(db, held, turn, bad):
    with pytest.raises(asyncpg.CheckViolationError):
        await previews.begin(db, held, turn["id"], bad)


async def test_no_other_state_is_known(db, held, turn):
    await previews.begin(db, held, turn["id"], part())
    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute("UPDATE slack_previews SET state = 'streaming'")


async def test_a_holder_whose_epoch_has_passed_writes_nothing(db, session, held, turn):
    await previews.begin(db, held, turn["id"], part())
    await factories.expire(db, session)
    newer = await factories.held(db, session, "another")

    async def open_it() -> None:
        async with db.transaction():
            await leases.fence_quietly(db, held.lease)
            await previews.move(db, held.lease, turn["id"], 0, "open", "1.1")

    with pytest.raises(leases.LeaseLost):
        await open_it()
    assert await states(db, newer, turn) == [(0, "starting", None)]


async def test_the_messages_known_are_those_of_all_turns_of_the_session(
    db, on, session, held, turn
):
    await previews.begin(db, held, turn["id"], part())
    await previews.move(db, held.lease, turn["id"], 0, "open", "1.1")
    await previews.begin(db, held, turn["id"], part(1))
    await db.execute(
        "UPDATE agent_turns SET state = 'completed', stop_reason = 'end_turn', ended_at = now()"
    )
    later = await factories.turn(db, session)
    await previews.begin(db, held, later["id"], part())
    await previews.move(db, held.lease, later["id"], 0, "open", "2.2")
    other = await factories.session(db, on)
    assert sorted(await previews.known(db, held.lease)) == ["1.1", "2.2"]
    assert await previews.known(db, (await factories.held(db, other)).lease) == []
