"""Cards among the deliveries: what they say is read from their rows when they are written.

So the last writing tells the truth, however late it comes, and making it again changes nothing.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID

import structlog

from bot import cards
from bot.cards import Card
from bot.outcome import (
    SlackAway,
    SlackLimited,
    SlackRefused,
    SlackUnclear,
    says_install_is_over,
)
from bot.slack import Said, Slack
from bot.surfaces import Surfaces
from router.humans import CHANNEL
from store import approvals, calls, database, escalations, installs, outbox, threads
from store.database import Connection, Pool
from store.outbox import Delivery
from store.threads import Pin, Thread

_log = structlog.get_logger(__name__)

KINDS = frozenset({"card", "update"})
_TROUBLE = (SlackAway, SlackLimited, SlackRefused, SlackUnclear)
_PATIENCE = 5  # attempts
_BEHIND_SECONDS = 0.3
_TEXT = 1_000
# The message is gone, or nobody may change it any more: what happened does not depend on it.
_GONE = frozenset(
    {
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "is_archived",
        "is_inactive",
        "message_not_found",
        "not_in_channel",
    }
)


class Carding:
    """Renders cards, writes them anew, and pins the threads below those in another channel."""

    def __init__(self, pool: Pool, slack: Slack) -> None:
        self._pool = pool
        self._slack = slack
        self._surfaces = Surfaces(slack)

    async def said(self, delivery: Delivery) -> Said | None:
        """The message of a card as it is now; None where there is nothing to be said any more.

        SlackLimited, for a while, where the words that led to it are still to be delivered.
        """
        link = await self._link_back(delivery)
        async with database.borrow(self._pool) as connection:
            early = delivery.kind == "card" and delivery.attempts <= _PATIENCE
            if early and delivery.thread_ts and await outbox.any_reply_open(connection, delivery):
                raise SlackLimited(_BEHIND_SECONDS)
            card = await _card(connection, delivery, link)
        if card is None:
            return None
        return Said(delivery.channel_id, delivery.thread_ts, card.text[:_TEXT], card.blocks)

    async def _link_back(self, delivery: Delivery) -> str | None:
        """From a question's card in another channel to the thread where it was asked; best effort."""
        body = delivery.body
        if body["card"] != "escalation" or body.get("where") != CHANNEL:
            return None
        if delivery.session_id is None:
            return None
        async with database.borrow(self._pool) as connection:
            agent_id = delivery.deployed_agent_id
            home = await calls.place(connection, agent_id, delivery.session_id)
        if home is None or home.thread_ts is None:
            return None
        try:
            return await self._surfaces.permalink(home.install_id, home.channel_id, home.thread_ts)
        except _TROUBLE as error:
            _log.info("card.without_link", error=f"{type(error).__name__}: {error}")
            return None

    async def update(self, delivery: Delivery, permit: Callable[[], Awaitable[None]]) -> str | None:
        """Writes a card anew; its ts, None where there is no message (any more) to be changed.

        Left to the next writing where there is one.
        """
        key = post_key_of(delivery.effect_key)
        async with database.borrow(self._pool) as connection:
            ts = await outbox.ts_of(connection, delivery, key)
            overtaken = await outbox.is_overtaken(connection, delivery)
        if ts is None:
            _log.warning("card.not_there", effect=key)
            return None
        if overtaken:
            return ts  # edits are scarce, and the next one says what this would say
        await permit()
        said = await self.said(delivery)
        if said is None:
            return ts
        try:
            await self._slack.update(delivery.install_id, said, ts)
        except SlackRefused as refused:
            if refused.error not in _GONE or says_install_is_over(refused.error):
                raise
            _log.warning("card.not_changed", effect=key, error=refused.error)
            return None
        return ts


def post_key_of(effect_key: str) -> str:
    """The effect key of a card's first writing, by that of a later one."""
    return effect_key.rpartition(":r")[0] or effect_key


async def pin(connection: Connection, delivery: Delivery, ts: str | None) -> None:
    """What is said below a question's card in another channel answers it; with `mark_sent`."""
    if delivery.kind != "card" or ts is None or not delivery.effect_key.endswith(CHANNEL):
        return
    row = await escalations.get(
        connection, delivery.deployed_agent_id, UUID(str(delivery.body["id"]))
    )
    if row is None:
        return
    install = await installs.get(connection, delivery.install_id)
    key = f"{install.api_app_id}:{install.tenant_id}:{delivery.channel_id}:{ts}"
    thread = Thread(
        slack_conversation_key=key,
        deployed_agent_id=row.deployed_agent_id,
        workspace_id=row.workspace_id,
        session_id=row.session_id,
        muted=False,
        first_ts=Decimal(ts),
        escalation_id=row.id,
    )
    await threads.pin(connection, [Pin(thread, install.api_app_id, delivery.channel_id, ts)])


async def _card(connection: Connection, delivery: Delivery, link: str | None) -> Card | None:
    body, agent = delivery.body, delivery.deployed_agent_id
    match body["card"]:
        case "approval":
            return await _approval(connection, agent, UUID(body["id"]), int(body["card_no"]))
        case "escalation":
            elsewhere = body.get("where") == CHANNEL
            return await _escalation(connection, agent, UUID(body["id"]), link, elsewhere=elsewhere)
        case "waiting":
            if body.get("over"):
                return cards.waited()
            return cards.waiting(UUID(body["agent"]), UUID(body["turn"]), body["for"])
        case _:
            return await _reminder(connection, agent, body)


async def _reminder(connection: Connection, agent_id: UUID, body: dict[str, str]) -> Card | None:
    """None where nobody is waited for any more."""
    find = approvals.get if body["of"] == "approval" else escalations.get
    row = await find(connection, agent_id, UUID(body["id"]))
    return cards.reminder(row) if row is not None and row.state == "pending" else None


async def _approval(
    connection: Connection, agent_id: UUID, approval_id: UUID, card_no: int
) -> Card | None:
    row = await approvals.get(connection, agent_id, approval_id)
    if row is None:
        return None
    return cards.approval(row, await approvals.voters(connection, row), card_no)


async def _escalation(
    connection: Connection,
    agent_id: UUID,
    escalation_id: UUID,
    link: str | None,
    *,
    elsewhere: bool,
) -> Card | None:
    row = await escalations.get(connection, agent_id, escalation_id)
    if row is None:
        return None
    home = await calls.place(connection, agent_id, row.session_id) if elsewhere else None
    channel = home.channel_id if home is not None else None
    return cards.escalation(row, channel, elsewhere=elsewhere, link=link)
