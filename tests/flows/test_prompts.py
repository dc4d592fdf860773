"""What a direct message suggests to say: the prompts of the agent that answers there."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from bot import homes
from store import agents
from tests.flows.people import set_behaviour
from tests.harness import World
from tests.store import factories
from tests.support import eventually

INGRESS = frozenset({"ingress"})
ONE = {"title": "Plan a release", "message": "!tool plan"}
TWO = {"title": "Ask me first", "message": "!ask bash"}
METHOD = "assistant.threads.setSuggestedPrompts"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens the messages again need not wait a few seconds."""
    monkeypatch.setattr(homes, "_OPENED_AGAIN_SECONDS", 0.0)


def asked(here: World) -> list[dict[str, Any]]:
    return [c.args for c in here.slack.calls if c.method == METHOD]


def suggested(here: World, user: str) -> tuple[str | None, list[dict[str, str]]] | None:
    found = here.slack.workspace.surfaces.prompts.get(here.slack.dm(user))
    return (found.title, found.prompts) if found else None


async def looked(here: World, *users: str) -> None:
    """They open our messages; then somebody else does, so that all of it was answered."""
    for user in users:
        await here.slack.open_home(user, "messages")
        await here.slack.settle()
    await here.slack.open_home("linus")
    await eventually(lambda: here.slack.home_view("linus"))


async def test_the_prompts_are_set_once_and_again_when_they_change(here: World):
    await set_behaviour(here, prompts=[ONE, TWO], greeting="Good to see you")
    async with here.app(roles=INGRESS):
        await here.slack.open_home("ada", "messages")
        await eventually(lambda: suggested(here, "ada") == ("Good to see you", [ONE, TWO]))
        await looked(here, "ada", "ada")
        assert len(asked(here)) == 1
        assert "thread_ts" not in asked(here)[0]
        await set_behaviour(here, prompts=[TWO])
        await here.slack.open_home("ada", "messages")
        await eventually(lambda: suggested(here, "ada") == (None, [TWO]))
        await here.slack.open_home("grace", "messages")
        await eventually(lambda: suggested(here, "grace") == (None, [TWO]))
    assert len(asked(here)) == 3
    assert here.slack.home_view("ada") is None


async def test_the_agent_that_answers_there_is_asked_for_them(here: World):
    """The route of the direct message wins over the install's default; its own settings over all."""
    other = await factories.agent(
        here.connection, here.workspace_id, settings={"prompts": [TWO]}, name="other"
    )
    await agents.make_default(here.connection, here.workspace_id, here.agent_id)
    own = {here.slack.dm("ada"): {"prompts": [ONE]}}
    await set_behaviour(here, prompts=[ONE, TWO], channels=own)
    async with here.app(roles=INGRESS):
        [install] = await here.rows("SELECT id FROM oauth_installs")
        await factories.insert(
            here.connection,
            "slack_routes",
            install_id=install["id"],
            channel_id=here.slack.dm("grace"),
            workspace_id=here.workspace_id,
            deployed_agent_id=other,
        )
        for user, prompts in (("ada", [ONE]), ("grace", [TWO]), ("linus", [ONE, TWO])):
            await here.slack.open_home(user, "messages")
            await eventually(lambda: suggested(here, user) == (None, prompts))  # noqa: B023


async def test_an_agent_without_prompts_sets_none(here: World):
    async with here.app(roles=INGRESS):
        await looked(here, "ada")
    assert asked(here) == []


async def test_a_press_on_a_prompt_is_a_message_like_any_other(here: World):
    await set_behaviour(here, prompts=[{"title": "Echo", "message": "!echo from a prompt"}])
    async with here.app():
        await here.slack.open_home("ada", "messages")
        found = await eventually(lambda: suggested(here, "ada"))
        assert found is not None
        dm = here.slack.dm("ada")
        said = await here.slack.say("ada", dm, found[1][0]["message"])
        assert await here.answers(dm, said.ts, 1) == ["from a prompt"]


@pytest.mark.parametrize(
    "trouble",
    [
        ("disable_agent_features", {}),
        ("method_unknown", {"method": METHOD}),
        ("method_unknown", {"method": METHOD, "status": 404, "error": ""}),
        ("api_error", {"method": METHOD, "error": "missing_scope"}),
        ("api_error", {"method": METHOD, "error": "feature_disabled"}),
    ],
    ids=lambda t: f"{t[0]} {t[1].get('error', '')}",
)
async def test_an_app_that_has_no_prompts_is_not_asked_again(here: World, trouble: Any):
    await set_behaviour(here, prompts=[ONE])
    kind, options = trouble
    here.slack.fault(kind, **options)
    async with here.app(roles=INGRESS):
        with capture_logs() as logged:
            await here.slack.open_home("ada", "messages")
            await eventually(lambda: "home.not_shown" in [one["event"] for one in logged])
        await looked(here, "ada", "grace")
    assert len(asked(here)) == 1
    here.slack.workspace.unknown_methods.clear()


@pytest.mark.parametrize("fault", ["ratelimit", "error_after", "drop_before"])
async def test_prompts_that_did_not_get_through_are_set_later(here: World, fault: Any):
    await set_behaviour(here, prompts=[ONE])
    here.slack.fault(fault, method=METHOD)
    async with here.app(roles=INGRESS):
        await here.slack.open_home("ada", "messages")
        await eventually(lambda: len(asked(here)) == 2)
        await eventually(lambda: suggested(here, "ada") == (None, [ONE]))
