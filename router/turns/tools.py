"""The agent's own calls to Slack (`router.tools.slack`), made for it beside the turn.

What is durable, in this order; each line one transaction under the fence:

  read      the answer: decision `act:{event}`, usage, audit
  post      the message: effect `tool:{event}` ▸ the answer, as above
  elsewhere an approval: row, card, pause ▸ somebody decides ▸ the message ▸ the answer

A read changes nothing, so whoever finds a call without an answer reads again. A post is known by its
effect, which is written once however often it is tried: whoever finds it there only waits for it. The
agent is told the ts as soon as Slack has given it, or why Slack refused: that it can act on. After
`_PATIENCE_SECONDS` it is told that the message is queued, since a call that waits holds a turn, and
Slack may be away for hours. What was approved has no decision of its own until then: the row says
`allowed`, and the answer confirms it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from router import clock, humans, redaction
from router.errors import NotReadable
from router.ports import Channel
from router.tools import is_slack
from router.tools.slack import ConversationHistory, Input, PostMessage, WrongInput, parse
from router.turns import asking, tool_results
from router.turns.beside import Beside
from router.turns.engine import Append, Engine, Holding, appending, place_of
from router.turns.project import HeldCall
from router.turns.tool_places import Places, askers_of
from router.turns.tool_results import Answer, Refused
from store import approvals, audit, database, inputs, outbox, usage_logs
from store.approvals import Approval
from store.audit import Entry, Subject
from store.ids import new_id
from store.inputs import Input as Asked, NewInput
from store.outbox import Effect
from store.turns import Turn
from store.usage_logs import Call, Fate

_log = structlog.get_logger(__name__)

_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_NAMES = 3


@dataclass(frozen=True, slots=True)
class _Post:
    """A message of the agent's on its way; `thread_ts` None: it stands in the channel itself."""

    channel: Channel
    thread_ts: str | None
    text: str
    own: bool


class Tools(Beside):
    """Makes the calls of one session, one after the other. `wake` is called when some are made."""

    def __init__(self, engine: Engine, holding: Holding, wake: Callable[[], None]) -> None:
        super().__init__()
        self._engine = engine
        self._holding = holding
        self._held = holding.held
        self._wake = wake

    async def serve(self, turn: Turn, calls: list[HeldCall], asked: list[Asked]) -> bool:
        """Makes those of the held calls that are ours and can be made; True while some are under way."""
        if self.under_way:
            return True
        mine = [c for c in calls if c.custom and is_slack(c.tool, c.server)]
        todo = await self._todo(turn, mine) if mine else []
        if todo:
            self._begin(self._make(turn, todo, asked))
        return bool(todo)

    async def _todo(
        self, turn: Turn, calls: list[HeldCall]
    ) -> list[tuple[HeldCall, Approval | None]]:
        """Calls without an answer that wait for nobody, with what approved them."""
        async with database.borrow(self._engine.pool) as connection:
            lease = self._held.lease
            done = await usage_logs.answered(connection, lease, [c.event_id for c in calls])
            rows = await approvals.of_turn(connection, lease.deployed_agent_id, turn.id)
        known = {row.runtime_event_id: row for row in rows}
        found = [(c, known.get(c.event_id)) for c in calls if c.event_id not in done]
        return [(c, row) for c, row in found if row is None or row.state == "allowed"]

    async def _make(
        self, turn: Turn, todo: list[tuple[HeldCall, Approval | None]], asked: list[Asked]
    ) -> None:
        for call, approved in todo:
            await _Making(self._engine, self._holding, turn, call, approved, asked).run()
        self._wake()


class _Making:
    """One call, from what the agent passed to its answer."""

    def __init__(  # all that a call is made of
        self,
        engine: Engine,
        holding: Holding,
        turn: Turn,
        call: HeldCall,
        approved: Approval | None,
        asked: list[Asked],
    ) -> None:
        self._engine = engine
        self._holding = holding
        self._held = holding.held
        self._turn = turn
        self._call = call
        self._approved = approved
        self._askers = askers_of(asked)
        self._places = Places(engine, holding, self._askers)
        self._requesters = asking.requesters_of(asked)
        self._effect = asking.effect_of(call.event_id)

    async def run(self) -> None:
        """Answers the call, or asks people about it."""
        started = clock.monotonic()
        try:
            answer = await self._answer()
        except WrongInput as wrong:
            answer = tool_results.refusal(Refused("wrong_input", message=str(wrong)))
        except Refused as refused:
            answer = tool_results.refusal(refused)
        if answer is not None:
            await self._write(answer, clock.monotonic() - started)

    async def _answer(self) -> Answer | None:
        """None where people are asked first."""
        wanted = parse(self._call.tool, self._call.arguments)
        if not isinstance(wanted, PostMessage):
            return await self._read(self._places.install_id, wanted)
        fate = await self._fate()
        if fate is None:
            post = self._approved_post(wanted) if self._approved else await self._post(wanted)
            if await self._asks(post):
                return None
            await self._say(post)
        return await self._outcome()

    # -------------------------------------------------------------- reading

    async def _read(self, install_id: UUID, wanted: Input) -> Answer:
        source = self._engine.channels
        root, own = self._held.slack_thread_ts, wanted.channel is None
        if isinstance(wanted, ConversationHistory):
            channel = await self._places.channel(wanted.channel)
            self._places.check_outside(channel)
            read = source.history(install_id, channel.id, wanted.limit, wanted.cursor)
        else:
            assert not isinstance(wanted, PostMessage)  # noqa: S101  # that is posted
            ts = wanted.ts or (root if own else None)
            if ts is None:
                raise WrongInput("ts: say which thread, by the ts of its first message.")
            channel = await self._places.channel(wanted.channel)
            if ts != root:
                self._places.check_outside(channel)
            read = source.replies(install_id, channel.id, ts, wanted.limit, wanted.cursor)
        try:
            return tool_results.read(channel, await read)
        except NotReadable as error:
            raise Refused(error.reason, channel.id, retry_after=error.retry_after) from error

    # -------------------------------------------------------------- posting

    async def _post(self, wanted: PostMessage) -> _Post:
        root = self._held.slack_thread_ts
        own_place = wanted.channel is None
        channel = self._places.own if own_place else await self._places.channel(wanted.channel)
        is_ours = channel.id == self._held.slack_channel_id
        thread_ts = wanted.thread_ts or (root if own_place else None)
        own = is_ours and thread_ts == root
        if not own:
            if self._holding.behaviour.slack_tools.post == "deny":
                raise Refused("post_denied")
            if channel.archived:
                raise Refused("is_archived", channel.id)
            self._places.check_outside(channel)
        post = _Post(channel, thread_ts, wanted.text, own)
        self._part(post)
        return post

    def _approved_post(self, wanted: PostMessage) -> _Post:
        """What was approved: the channel as it was found then, and the words that were hashed."""
        assert self._approved is not None  # noqa: S101  # the caller has looked
        shown, digest = self._approved.arguments, redaction.digest(self._call.arguments)
        if "channel_id" not in shown or digest != self._approved.arguments_hash:
            raise Refused("changed")
        channel = Channel(shown["channel_id"], shown["channel"], public=False, inside=True)
        return _Post(channel, shown.get("thread_ts"), wanted.text, own=False)

    def _part(self, post: _Post) -> str:
        """The words made inert as those of replies are. Raises Refused where it takes several parts."""
        mentions = self._holding.behaviour.mentions
        parts = self._engine.conversation.parts(post.text, mentions=mentions)
        if len(parts) != 1:
            raise Refused("too_long")
        return parts[0]

    async def _asks(self, post: _Post) -> bool:
        """True once people are asked, which outside of the own thread is the rule."""
        if post.own or self._approved or self._holding.behaviour.slack_tools.post == "allow":
            return False
        shown = {"channel": _shown(post.channel), "channel_id": post.channel.id}
        shown |= {"thread_ts": post.thread_ts} if post.thread_ts else {}
        shown |= {"text": post.text}
        if redaction.shown(shown) != shown:
            raise Refused("secret")  # nobody can approve what they cannot be shown
        async with appending(self._engine, self._holding) as append:
            asked = (self._call, shown)
            await asking.ask_about(append, self._holding, self._turn, self._requesters, asked)
        return True

    async def _say(self, post: _Post) -> None:
        """Writes the message down, once; in line with the replies where it stands among them."""
        mentions = self._holding.behaviour.mentions
        body: dict[str, Any] = {"markdown": self._part(post), "steps": []}
        body |= {"mentions": mentions} if mentions != "none" else {}
        body |= {} if post.own else {"footer": await self._for_whom()}
        lane = "reply" if post.own else "side"
        effect = Effect(self._effect, "reply", body, lane=lane, turn_id=self._turn.id)
        async with appending(self._engine, self._holding) as append:
            if post.own:
                await append.say([effect])
            else:
                await self._say_elsewhere(append, post, effect)

    async def _say_elsewhere(self, append: Append, post: _Post, effect: Effect) -> None:
        home = place_of(self._held)
        assert home is not None  # noqa: S101  # `_answer` has looked
        there = replace(
            home,
            slack_conversation_key=self._effect,
            channel_id=post.channel.id,
            thread_ts=post.thread_ts,
        )
        await outbox.add(append.connection, there, [effect])
        append.wrote = True

    async def _for_whom(self) -> str:
        """A line below a message that stands where nobody has seen who asked for it."""
        ask = self._engine.conversation.person
        people = [(await ask(self._places.install_id, u)).name for u in self._askers.users[:_NAMES]]
        names = ", ".join([*people, *self._askers.outside][:_NAMES]) or "somebody"
        by = (self._approved.decided_by or {}).get("name") if self._approved else None
        return f"Posted for {names}" + (f"; approved by {by}" if by and by != names else "")

    async def _fate(self) -> Fate | None:
        async with database.borrow(self._engine.pool) as connection:
            return await usage_logs.fate(connection, self._held.lease, self._effect)

    async def _outcome(self) -> Answer:
        """The message's ts as soon as Slack has given it, why it refused, or that it is queued."""
        until = clock.monotonic() + _PATIENCE_SECONDS
        while True:
            fate = await self._fate()
            assert fate is not None  # noqa: S101  # it is never deleted
            if fate.state == "dead":
                raise Refused(fate.error or "refused", fate.channel_id)
            if fate.state == "sent" or clock.monotonic() > until:
                return tool_results.posted(fate.channel_id, fate.slack_ts)
            await clock.sleep(clock.jittered(_LOOK_SECONDS))

    # -------------------------------------------------------------- the answer

    async def _write(self, answer: Answer, seconds: float) -> None:
        """What the agent is told, and that it was: one transaction."""
        used = Call(
            id=new_id(),
            turn_id=self._turn.id,
            runtime_event_id=self._call.event_id,
            tool=self._call.tool,
            status=answer.status,
            reason=answer.reason,
            channel_id=answer.channel_id,
            requesters=self._requesters,
            latency_ms=round(seconds * 1000),
        )
        async with appending(self._engine, self._holding) as append:
            await inputs.add(append.connection, [self._decision(answer)])
            await usage_logs.add(append.connection, self._held, used)
            await audit.add(append.connection, self._subject(used), self._entry(answer))
        _log.info(
            "tool.answered",
            session_id=str(self._held.id),
            tool=used.tool,
            status=used.status,
            reason=used.reason,
            channel=used.channel_id,
        )

    def _decision(self, answer: Answer) -> NewInput:
        asked = self._approved
        confirms = {"asked": {"kind": "approval", "id": str(asked.id)}} if asked else {}
        says = {"is_error": answer.status == "refused", "says": answer.says}
        return asking.answer_to(self._call, self._held, self._turn, says | confirms)

    def _subject(self, used: Call) -> Subject:
        return Subject(
            deployed_agent_id=self._held.deployed_agent_id,
            workspace_id=self._held.workspace_id,
            session_id=self._held.id,
            kind="tool",
            id=used.id,
            card_no=1,
            arguments_hash=redaction.digest(self._call.arguments),
        )

    def _entry(self, answer: Answer) -> Entry:
        """Done by the agent, in the name of those whom the turn answers."""
        for_whom = " ".join([*self._requesters, *self._askers.outside])
        words = (self._call.tool, answer.channel_id, answer.reason, f"for {for_whom}")
        detail = ", ".join(word for word in words if word)
        return Entry(answer.status, "runtime", humans.by_itself("the agent", "runtime"), detail)


def _shown(channel: Channel) -> str:
    return channel.name if channel.name == channel.id else f"#{channel.name}"
