"""Whom an answer reaches and where its links lead: alike in its stream and in the final message."""

from typing import Any

import pytest

from tests.flows.streams import APPEND, POST, START, UPDATE, ask, messages, quicken
from tests.harness import World, shown
from tests.support import eventually

SAID = "Ask <@U0GRACE> or @here or <!subteam^S0OPS|@ops>, see [the page](https://b.example/x)."
SHOWN = "Ask {} or {} or {}, see [the page](https://b.example/x) (b.example)."
DEAD = ("<\u2060@U0GRACE>", "@\u2060here", "<\u2060!subteam^S0OPS|@ops>")
ALIVE = ("<@U0GRACE>", "@here", "<!subteam^S0OPS|@ops>")
SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({}, SHOWN.format(*DEAD), "&lt;\u2060@U0GRACE&gt;"),
    ({"mentions": "people"}, SHOWN.format(ALIVE[0], *DEAD[1:]), "<@U0GRACE>"),
    ({"mentions": "all"}, SHOWN.format(*ALIVE), "<!subteam^S0OPS>"),
    ({"channels": {"C0GENERAL": {"mentions": "all"}}}, SHOWN.format(*ALIVE), "<@U0GRACE>"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@pytest.mark.parametrize(("settings", "expected", "notified"), SETTINGS)
@pytest.mark.parametrize("stream", [True, False])
async def test_the_settings_say_whom_an_answer_reaches(
    here: World, settings: dict[str, Any], expected: str, notified: str, *, stream: bool
):
    await here.connection.execute(
        "UPDATE deployed_agents SET settings = $1", settings | {"stream": stream}
    )
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!echo done")
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        session.log.emit("agent.message", content=[{"type": "text", "text": SAID}])
        here.runtime.world.commit(session)
        if stream:
            await eventually(lambda: [m.text for m in messages(here, asked)] == [expected])
        here.runtime.release()
        await here.at_rest(30)
    (done,) = messages(here, asked)
    assert shown(done) == f"{expected}\n\ndone"
    said = [call for call in here.slack.calls if call.method in (POST, UPDATE)]
    assert notified in said[-1].args["text"]
    assert any(call.method in (START, APPEND) for call in here.slack.calls) is stream
