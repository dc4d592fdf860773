"""What becomes of a button that was pressed and of a form that was sent, before Slack is answered.

read ▸ prove ▸ what the person is there ▸ the door (router.approvals, router.escalations) ▸ tell

Nothing is acknowledged that is not decided or refused: Slack sends an interaction once. What a person
is, is found out anew when they decide, whatever was known when a form was opened. Refusals are told to
that person alone, through the outbox; cards are written by their rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never
from uuid import UUID

import structlog

from bot import modals, notes, presses, proving, responding
from bot.incoming import Ignored
from bot.install import KnownInstall
from bot.notes import Note
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.payload import Json
from bot.presses import Press, Submission
from bot.proving import Proven
from bot.standing import Standings
from bot.surfaces import Surfaces
from router import humans, policy
from router.approvals import Approvals
from router.escalations import Escalations
from router.humans import Actor, Asked, Clicker, Outcome
from router.notices import Trouble, words
from router.ports import Standing
from store import database, outbox
from store.approvals import Approval
from store.database import Pool
from store.escalations import Escalation
from store.ids import new_id, reference_of
from store.outbox import Place

_log = structlog.get_logger(__name__)

_TROUBLE = (SlackRefused, SlackLimited, SlackAway, SlackUnclear)
_SECONDS = 1.5
_EMPTY = "Write an answer."


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended, for the count, and what Slack is answered: what happens to a form."""

    kind: str
    reason: str = ""
    answer: Json | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Who hears afterwards: of notes to deliver, and of people whose home tab is to be shown anew."""

    on_notice: Callable[[], None]
    on_home: Callable[[UUID, str], None]


class Interactions:
    """Takes interactions. Raises the database's errors: then it is not known what was decided."""

    def __init__(
        self,
        pool: Pool,
        doors: tuple[Approvals, Escalations],
        surfaces: Surfaces,
        standings: Standings,
        heard: Heard,
    ) -> None:
        self._pool = pool
        self._approvals, self._escalations = doors
        self._surfaces = surfaces
        self._standings = standings
        self._heard = heard

    async def take(self, body: Json, install: KnownInstall) -> Done:
        """What becomes of an interaction of this install. Raises Unreadable for a broken one."""
        found = presses.parse(body, install.identity)
        match found:
            case Ignored():
                return Done("ignored", found.reason)
            case Press():
                done = await self._pressed(found, install)
            case Submission():
                done = await self._submitted(found, install)
            case _:
                assert_never(found)
        if found.home:
            self._heard.on_home(install.row.id, found.user_id)
        _log.info(
            "interaction.taken",
            action=found.action if isinstance(found, Press) else found.form,
            user=found.user_id,
            outcome=done.kind,
            reason=done.reason,
        )
        return done

    # -------------------------------------------------------------- buttons

    async def _pressed(self, press: Press, install: KnownInstall) -> Done:
        if press.action == "home.refresh":
            return Done("shown", "home")
        if press.action == "course.change":
            return await self._change_course(press, install)
        prove = proving.of_home if press.home else proving.of_press
        proven = await prove(self._pool, press, install)
        if proven is None:
            return await self._unproven(press, install)
        match press.action:
            case "approval.view" | "escalation.view":
                return await self._view(press, proven)
            case "approval.deny" | "escalation.answer":
                return await self._form(press, proven)
            case _:
                return await self._decide(press, proven, install)

    async def _decide(self, press: Press, proven: Proven, install: KnownInstall) -> Done:
        who = await self._clicker(press, proven)
        match press.action:
            case "approval.allow" | "approval.remember":
                remember = press.action == "approval.remember"
                outcome = await self._approvals.decide(proven.ref, "allow", who, remember=remember)
            case "approval.again":
                outcome = await self._approvals.ask_again(proven.ref, who)
            case "escalation.cancel":
                outcome = await self._escalations.cancel(proven.ref, who)
            case _:
                choice = _choice(proven)
                if choice is None:
                    return await self._unproven(press, install)
                outcome = await self._escalations.answer(proven.ref, choice, who)
        return await self._told(press, outcome, proven.place)

    async def _change_course(self, press: Press, install: KnownInstall) -> Done:
        waiting = await proving.of_turn(self._pool, press, install)
        if waiting is None:
            return await self._unproven(press, install)
        rules = [one for asked in waiting.asked for one in asked.policy["who"]]
        person = await self._person(press, waiting.place, rules)
        who = Clicker(_actor(press, person), person)
        outcome = await self._approvals.change_course(waiting.agent_id, waiting.turn_id, who)
        if outcome.kind == "late":
            outcome = replace(outcome, asked=waiting.asked[0])
        return await self._told(press, outcome, waiting.place)

    async def _view(self, press: Press, proven: Proven) -> Done:
        """Shows all of it, to anybody who sees the card; who looked is written down first.

        A home tab is shown by us and not by a channel, so there it is for those who may decide.
        """
        asked = proven.asked
        if proven.from_home and (refused := await self._judged(press, proven)):
            return await self._told(press, refused, proven.place)
        nobody = Standing(press.user_id, press.user_id, known=False)
        await self._record(asked, "viewed", _actor(press, nobody))
        view = modals.call(asked) if isinstance(asked, Approval) else modals.question(asked)
        if await self._open(press, proven.place.install_id, view) is None:
            return await self._not_opened(press, proven)
        return Done("shown")

    # -------------------------------------------------------------- forms

    async def _form(self, press: Press, proven: Proven) -> Done:
        """Opens a form, at once: a trigger lives 3 s. Who may not decide hears it before, or in it."""
        asked, install_id = proven.asked, proven.place.install_id
        if asked.state != "pending" or humans.card_of(asked) != proven.ref.card_no:
            return await self._told(press, Outcome("late", asked), proven.place)
        known = self._standings.is_remembered(install_id, press.user_id)
        if known and (refused := await self._refused(press, proven)):
            return await self._told(press, refused, proven.place)
        view_id = await self._open(press, install_id, _form_of(proven))
        if view_id is None:
            return await self._not_opened(press, proven)
        if not known and (refused := await self._refused(press, proven)):
            await self._show(install_id, view_id, notes.refusal(refused))
            return Done("refused", refused.why)
        return Done("asked")

    async def _refused(self, press: Press, proven: Proven) -> Outcome | None:
        """The refusal of somebody who is known not to be allowed, written down; else None."""
        outcome = await self._judged(press, proven)
        return None if outcome is None or outcome.why == "unknown" else outcome

    async def _judged(self, press: Press, proven: Proven) -> Outcome | None:
        """The refusal of somebody who is not known to be allowed; written down if that is known."""
        who = await self._clicker(press, proven)
        why = policy.objection(proven.who, proven.asked.requesters, who.standing)
        if why is None:
            return None
        if who.standing.known:
            await self._record(proven.asked, "refused", who.actor, why)
        return Outcome("refused", proven.asked, why)

    async def _submitted(self, form: Submission, install: KnownInstall) -> Done:
        proven = await proving.of_form(self._pool, form, install)
        if proven is None:
            return Done("refused", "unproven", _shows(notes.unproven()))
        if form.form == modals.ANSWER and not form.text.strip():
            return Done("refused", "empty", _objects(form.field, _EMPTY))
        who = await self._clicker(form, proven)
        if form.form == modals.DENY:
            outcome = await self._approvals.decide(proven.ref, "deny", who, reason=form.text)
        else:
            outcome = await self._escalations.answer(proven.ref, form.text, who)
        if outcome.kind == "decided":
            return Done("decided")
        if outcome.why == "unknown":
            return Done("refused", "unknown", _objects(form.field, words(Trouble.NOT_FOUND_OUT)))
        return Done(outcome.kind, outcome.why, _shows(notes.refusal(outcome)))

    async def _open(self, press: Press, install_id: UUID, view: Json) -> str | None:
        try:
            return await self._surfaces.open(install_id, press.trigger_id, view)
        except _TROUBLE as error:
            _log.warning("form.not_opened", error=f"{type(error).__name__}: {error}")
            return None

    async def _show(self, install_id: UUID, view_id: str, view: Json) -> None:
        """Best effort: a form that stays is refused when it is sent."""
        try:
            await self._surfaces.update(install_id, view_id, view)
        except _TROUBLE as error:
            _log.warning("form.not_changed", error=f"{type(error).__name__}: {error}")

    # -------------------------------------------------------------- people

    async def _clicker(self, of: Press | Submission, proven: Proven) -> Clicker:
        """Who acts; on a home tab as what they are where they may decide, if there is such a place."""
        person = await self._person(of, proven.place, proven.who, proven.not_in)
        for place in proven.others:
            if policy.objection(proven.who, proven.asked.requesters, person) is None:
                break
            person = await self._person(of, place, proven.who, proven.not_in)
        return Clicker(_actor(of, person), person)

    async def _person(
        self,
        of: Press | Submission,
        place: Place,
        rules: list[str],
        not_in: frozenset[str] = frozenset(),
    ) -> Standing:
        """What they are there. Whether they belong to the channel only where that counts."""
        private = isinstance(of, Press) and of.inside
        settled = private or "channel" not in rules or place.channel_id in not_in
        return await self._standings.of(
            place.install_id,
            place.channel_id,
            of.user_id,
            policy.groups_of(rules),
            inside=private if settled else None,
        )

    async def _record(self, asked: Asked, action: str, actor: Actor, why: str = "") -> None:
        async with database.within(self._pool, _SECONDS) as connection:
            await humans.record(connection, asked, action, actor, why)

    # -------------------------------------------------------------- telling

    async def _told(self, press: Press, outcome: Outcome, place: Place) -> Done:
        """Tells the person what their card will not."""
        if (note := notes.note_of(outcome, press.user_id)) is None:
            return Done(outcome.kind, outcome.why)
        if press.home:
            await self._open(press, place.install_id, notes.refusal(outcome))
        else:
            await self._say(press, note, place)
        return Done(outcome.kind, outcome.why)

    async def _not_opened(self, press: Press, proven: Proven) -> Done:
        if not press.home:  # where only another window could say that none was opened
            await self._say(press, Note(Trouble.FORM_NOT_OPENED, proven.asked.id), proven.place)
        return Done("refused", "not_opened")

    async def _unproven(self, press: Press, install: KnownInstall) -> Done:
        """Also for what belongs to others: not even that it exists is told."""
        _log.warning(
            "interaction.unproven",
            action=press.action,
            user=press.user_id,
            channel=press.channel_id,
            ts=press.message_ts,
        )
        if press.home:
            await self._open(press, install.row.id, notes.unproven())
            return Done("refused", "unproven")
        place = notes.nowhere(press, install)
        await self._say(press, Note(Trouble.NO_SUCH_CARD, new_id()), place)
        return Done("refused", "unproven")

    async def _say(self, press: Press, note: Note, place: Place) -> None:
        there = replace(place, thread_ts=press.thread_ts)
        async with database.within(self._pool, _SECONDS) as connection:
            await outbox.add(connection, there, [notes.effect(note, press)])
        self._heard.on_notice()

    async def excuse(self, body: Json) -> Done | None:
        """Tells somebody that it is not known whether their wish was taken; None if that fails too.

        For when the database has failed: what is pressed again then does no harm.
        """
        reference = reference_of(new_id())
        text = f"{words(Trouble.NOT_TAKEN)} (Reference: {reference})"
        field = presses.field_of(body)
        _log.warning("interaction.excused", reference=reference, form=field is not None)
        if field is not None:
            return Done("unavailable", "excused", _objects(field, text))
        url = body.get("response_url")
        if isinstance(url, str) and url and await responding.tell(url, text):
            return Done("unavailable", "excused")
        return None


def _actor(of: Press | Submission, person: Standing) -> Actor:
    return Actor("slack", of.user_id, person.name, of.team_id)


def _choice(proven: Proven) -> str | None:
    """The whole text of the choice that a button names by its place."""
    asked, place = proven.asked, proven.rest
    if not isinstance(asked, Escalation) or not (place.isascii() and place.isdigit()):
        return None
    return asked.choices[int(place)] if int(place) < len(asked.choices) else None


def _form_of(proven: Proven) -> Json:
    value = proving.metadata(proven)
    if isinstance(proven.asked, Approval):
        return modals.deny(proven.asked, value)
    return modals.answer(proven.asked, value)


def _shows(view: Json) -> Json:
    return {"response_action": "update", "view": view}


def _objects(field: str, says: str) -> Json:
    return {"response_action": "errors", "errors": {field: says}}
