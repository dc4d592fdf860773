"""Who may stop a turn: whoever it answers, and the members; an outsider may not.

The words of an outsider are kept out before they are accepted. A press of Slack's stop button does
not say whose team pressed it (docs.slack.dev/reference/events/agent_session_stopped), and to ask
takes longer than an accept may: so it is asked by the holder, before the interrupt leaves.
"""

from uuid import UUID

from router.notices import Trouble, about
from router.turns.engine import Append, Engine, Holding, appending
from store import database, inputs
from store.inputs import Input
from store.outbox import Effect


async def judge(engine: Engine, holding: Holding, turn_id: UUID, askers: set[str]) -> set[UUID]:
    """The waiting stops that may be sent; those of outsiders are refused, and each is told why.

    `askers` are those whom the turn answers.
    """
    held = holding.held
    async with database.borrow(engine.pool) as connection:
        mine = await inputs.open_inputs(connection, held.lease)
    waiting = [i for i in mine if i.state == "queued" and _is_in_question(i, askers)]
    if held.slack_install_id is None or not waiting:
        return set()
    users = {str(i.body["user"]) for i in waiting}
    people = [await engine.conversation.person(held.slack_install_id, u) for u in sorted(users)]
    outside = {person.id for person in people if person.outsider}
    refused = [i for i in waiting if i.body["user"] in outside]
    if refused:
        async with appending(engine, holding, progress=False) as append:
            await inputs.refuse(append.connection, held.lease, [i.id for i in refused])
            await append.say([_told(i, turn_id) for i in refused])
    return {i.id for i in waiting if i not in refused}


async def hold_back(
    append: Append, batch: list[Input], judged: set[UUID], askers: set[str]
) -> list[Input]:
    """What of a batch may go; a stop that came after the judging waits for its own wake-up."""
    early = [i for i in batch if _is_in_question(i, askers) and i.id not in judged]
    if early:
        await inputs.unsend(append.connection, append.held.lease, [i.id for i in early])
    return [i for i in batch if i not in early]


def allowed(mine: list[Input], judged: set[UUID], askers: set[str]) -> list[Input]:
    """The waiting stops of a session's inputs that count, `judged` as above."""
    waiting = [i for i in mine if i.kind == "interrupt" and i.state == "queued"]
    return [i for i in waiting if i.id in judged or not _is_in_question(i, askers)]


def _is_in_question(item: Input, askers: set[str]) -> bool:
    body = item.body
    by_button = item.kind == "interrupt" and bool(body.get("user")) and not body.get("team")
    return by_button and body["user"] not in askers


def _told(item: Input, turn_id: UUID) -> Effect:
    user = str(item.body["user"])
    body = about(Trouble.MAY_NOT_STOP, item.id).body() | {"user": user}
    return Effect(f"notice:stop:{turn_id}:{user}", "private", body)
