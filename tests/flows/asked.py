"""What people are asked, written by the store's own functions: no worker, no runtime, real cards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from bot.app import App
from bot.local.model import Ephemeral, Message
from bot.local.surfaces import OpenView
from router import humans, redaction
from router.behaviour import Policy
from router.humans import Asked
from store import approvals, escalations, leases
from store.approvals import Approval, NewApproval
from store.escalations import Escalation, NewEscalation
from store.ids import new_id
from store.leases import Held, Ready
from tests.harness import World
from tests.store import factories
from tests.support import eventually

ROLES = frozenset({"ingress", "delivery"})
LEASE = timedelta(seconds=60)


@dataclass
class Asking:
    """A thread of the local Slack with its session and turn, and what is asked in it."""

    here: World
    app: App
    root: Message
    turn_id: UUID
    session: dict[str, Any]

    @property
    def channel(self) -> str:
        return self.root.channel

    async def held(self) -> Held:
        ready = Ready(self.session["deployed_agent_id"], self.session["id"])
        await self.here.connection.execute(
            "UPDATE agent_sessions SET lease_owner = NULL, lease_expires_at = NULL, ready_at = now()"
        )
        found = await leases.claim(self.here.connection, ready, "test", LEASE)
        assert found is not None
        return found

    async def approval(
        self,
        arguments: dict[str, Any] | None = None,
        *,
        tool: str = "bash",
        requesters: tuple[str, ...] = ("U0ADA",),
        **rule: Any,
    ) -> Approval:
        """A held call, its card on its way."""
        arguments = {"command": "ls"} if arguments is None else arguments
        policy = Policy(**rule)
        new = NewApproval(
            id=new_id(),
            turn_id=self.turn_id,
            runtime_event_id=f"sevt_{new_id().hex}",
            tool=tool,
            server=None,
            arguments=redaction.shown(arguments),
            arguments_hash=redaction.digest(arguments),
            policy=policy.model_dump(mode="json"),
            requesters=list(requesters),
            remind=policy.remind,
            expire=policy.expire,
        )
        assert await approvals.add(self.here.connection, await self.held(), new)
        row = await self.approval_now(new.id)
        await humans.write_cards(self.here.connection, row, humans.card(row))
        return row

    async def escalation(
        self,
        question: str = "Which one?",
        *,
        context: str = "",
        choices: tuple[str, ...] = (),
        who: tuple[str, ...] = ("requester", "channel"),
        owner: str | None = None,
        channel: str | None = None,
    ) -> Escalation:
        """A question, its cards on their way."""
        new = NewEscalation(
            id=new_id(),
            turn_id=self.turn_id,
            runtime_event_id=f"sevt_{new_id().hex}",
            question=question,
            context=context,
            choices=list(choices),
            arguments_hash=b"hash",
            policy={"who": list(who), "owner": owner},
            requesters=["U0ADA"],
            ping=None,
            channel_install_id=self.session["slack_install_id"] if channel else None,
            channel_id=channel,
        )
        connection = self.here.connection
        assert await escalations.add(connection, await self.held(), new)
        row = await self.escalation_now(new.id)
        await humans.write_cards(connection, row, humans.card(row))
        await humans.post_in_channel(connection, row)
        return row

    async def approval_now(self, approval_id: UUID) -> Approval:
        agent = self.session["deployed_agent_id"]
        found = await approvals.get(self.here.connection, agent, approval_id)
        assert found is not None
        return found

    async def escalation_now(self, escalation_id: UUID) -> Escalation:
        agent = self.session["deployed_agent_id"]
        found = await escalations.get(self.here.connection, agent, escalation_id)
        assert found is not None
        return found

    async def card(self, asked: Asked, where: str = "") -> Message:
        """The card as it stands in Slack."""
        key = humans.post_key(humans.kind_of(asked), asked.id, humans.card_of(asked), where)

        async def posted() -> str | None:
            found = await self.here.rows(
                "SELECT slack_ts FROM slack_outbox WHERE effect_key = $1", key
            )
            return found[0]["slack_ts"] if found else None

        ts = await eventually(posted, says=f"a card {key}")
        if where:
            return next(m for m in self.here.slack.history(str(channel_of(asked))) if m.ts == ts)
        return next(m for m in self.here.slack.replies(self.channel, self.root.ts) if m.ts == ts)

    def now(self, message: Message) -> Message:
        """The message as it is by now."""
        thread = self.here.slack.replies(message.channel, message.thread_ts or message.ts)
        return next(m for m in thread if m.ts == message.ts)

    async def press(self, user: str, on: Message, action_id: str, **how: Any) -> Any:
        [pressed] = await self.here.slack.click(user, on.ts, action_id=action_id, **how)
        return pressed

    async def shows(self, card: Message, *texts: str) -> list[dict[str, Any]]:
        """The blocks of a card once it shows all of these."""

        def seen() -> list[dict[str, Any]]:
            now = self.now(card)
            assert all(text in str(now.blocks) for text in texts), now.blocks
            return now.blocks

        blocks: list[dict[str, Any]] = await eventually(seen)
        return blocks

    async def told(self, user: str, text: str) -> Ephemeral:
        """What only that person was told, once it is there."""
        user_id = self.here.slack.users.get(user, user)

        def found() -> list[Ephemeral]:
            all_told = self.here.slack.ephemerals
            return [one for one in all_told if one.user == user_id and text in one.text]

        return (await eventually(found, says=f"{user} is told {text!r}"))[-1]

    def view(self, user: str) -> OpenView:
        """The modal that a person has before them."""
        user_id = self.here.slack.users.get(user, user)
        return self.here.slack.open_views(user_id)[-1]

    async def audited(self, asked: Asked) -> list[tuple[str, str, str | None]]:
        """Every step: action, detail, who."""
        rows = await self.here.rows(
            "SELECT action, detail, actor FROM audit_entries WHERE subject_id = $1 ORDER BY at, id",
            asked.id,
        )
        return [(r["action"], r["detail"], (r["actor"] or {}).get("user")) for r in rows]

    async def decisions(self) -> list[dict[str, Any]]:
        """The bodies of what is to be sent to the runtime."""
        rows = await self.here.rows(
            "SELECT body FROM session_inputs WHERE kind = 'decision' ORDER BY accepted_at, id"
        )
        return [row["body"] for row in rows]


def channel_of(asked: Asked) -> str | None:
    return asked.channel_id if isinstance(asked, Escalation) else None


@asynccontextmanager
async def asking(here: World, channel: str = "general", **settings: Any) -> AsyncIterator[Asking]:
    """A thread that Ada began, without anybody who works on it."""
    async with here.app(roles=ROLES, **settings) as app:
        if here.slack.socket_mode:
            await eventually(lambda: here.slack.connections)
        text = "do it" if channel.startswith("D") else "@threadline do it"
        root = await here.slack.say("ada", channel, text)
        await here.slack.settle()
        session = await here.connection.fetchrow("SELECT * FROM agent_sessions")
        assert session is not None
        turn = await factories.turn(here.connection, session, state="running")
        yield Asking(here, app, root, turn["id"], dict(session))
