"""Slack says no to what is beside the answer: one case for each error of the reference."""

import pytest

from bot.local.model import Message
from router.errors import ConfigurationError
from tests.cases import few_or_all, of_each
from tests.flows.slack_cases import CALM, STATUS, Case, Cases, refusing, share_a_workspace
from tests.flows.slack_errors import (
    LIMITED,
    NEVER,
    PERSON,
    REACTED,
    REACTED_ALREADY,
    SESSION,
    TOKEN,
    TOLD,
    TRY_AGAIN,
)
from tests.harness import World
from tests.support import eventually

TELL = "chat.postEphemeral"
REACT, UNREACT, WHO = "reactions.add", "reactions.remove", "users.info"
HOURGLASS = "hourglass_flowing_sand"
HELLO = ['You said: "hello"']


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    share_a_workspace(monkeypatch)


async def nothing_buried(cases: Cases) -> None:
    assert await cases.buried() == cases.all_alike([])


# ------------------------------------------------------------------ what one person sees


async def test_a_private_sentence_is_said_once_at_most(here: World):
    async with here.app(timing=CALM):
        refused = (*TOLD, *NEVER, *TOKEN)
        cases = refusing(here, TELL, (*TRY_AGAIN, *refused), team="T0ELSEWHERE")
        await cases.ask("hello")
        assert await cases.buried() == {e: [e] if e in refused else [] for e in cases}
    seen = [one.channel for one in here.slack.ephemerals]
    assert cases.each(lambda case: seen.count(case.channel)) == {
        error: 1 if error in LIMITED else 0 for error in cases
    }


# ------------------------------------------------------------------ reactions


def marks(case: Case, message: Message) -> list[str]:
    now = case.here.slack.workspace.state.message(case.channel, message.ts)
    return [one["name"] for one in now.reactions] if now else []


@few_or_all
@pytest.mark.parametrize("method", [REACT, UNREACT])
async def test_no_error_of_a_mark_costs_an_answer(here: World, method: str, most: int):
    moving = ("external_channel_migrating",)
    errors = of_each(most, TRY_AGAIN, REACTED, REACTED_ALREADY, moving, NEVER, TOKEN)
    async with here.app(timing=CALM):
        cases = refusing(here, method, errors)
        here.runtime.hold()
        for case in cases.values():
            await case.ask("first")
        await eventually(lambda: len(here.runtime.held()) == len(cases), 40, "turns")
        seconds = {error: await case.say("second") for error, case in cases.items()}
        await eventually(lambda: all(case.was_called(REACT) for case in cases.values()), 40)
        here.runtime.release()
        await cases.rest()
        assert cases.shown == cases.all_alike(['You said: "first"', 'You said: "second"'])
    refused = {*REACTED, *NEVER, *TOKEN}
    assert await cases.buried() == {e: [e] if e in refused else [] for e in cases}
    stuck = {*refused, *REACTED_ALREADY} if method == UNREACT else set()
    assert {e: marks(case, seconds[e]) for e, case in cases.items()} == {
        e: [HOURGLASS] if e in stuck else [] for e in cases
    }


# ------------------------------------------------------------------ niceties, and the start


@pytest.mark.long
async def test_no_error_of_a_status_costs_an_answer_and_the_next_one_is_shown(here: World):
    async with here.app(timing=CALM):
        once = tuple(e for e in SESSION if e != "feature_disabled")  # that one holds for an hour
        cases = refusing(here, STATUS, tuple({*TRY_AGAIN, *NEVER, *TOKEN, *once}))
        await cases.ask("hello")
        assert cases.shown == cases.all_alike(HELLO)
        await nothing_buried(cases)
        stay = {e for e, shown in cases.each(status).items() if shown != "active"}
        assert not stay & {*TRY_AGAIN}
        assert "processing" not in cases.each(status).values()
        last = refusing(here, STATUS, ("feature_disabled",))
        await last.ask("hello")
        assert last.shown == {"feature_disabled": HELLO}
        assert last["feature_disabled"].calls[STATUS] == 1


def status(case: Case) -> str | None:
    return case.here.slack.shown_status(case.channel, case.asked.ts)


@pytest.mark.long
async def test_who_somebody_is_is_only_nice_to_know(here: World):
    async with here.app(timing=CALM):
        cases = refusing(here, WHO, tuple({*TRY_AGAIN, *NEVER, *TOKEN, *PERSON}))
        await cases.ask("hello")
        assert cases.shown == cases.all_alike(HELLO)
        await nothing_buried(cases)


async def starts(here: World, error: str) -> None:
    here.slack.fault("api_error", method="auth.test", error=error)
    async with here.app(roles=frozenset()):
        pass


async def test_a_start_needs_no_answer_about_its_token(here: World):
    for error in TRY_AGAIN:
        await starts(here, error)


async def test_a_token_that_slack_does_not_take_is_said_at_the_start(here: World):
    for error in (*TOKEN, "token_revoked"):
        with pytest.raises(ConfigurationError, match=error):
            await starts(here, error)
