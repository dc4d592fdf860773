"""`threadline demo --once`: the conversation that it plays, and what that proves."""

import re

import pytest

from bot import scenes
from bot.script import Script
from tests.chaos.processes import ENCRYPTION_KEYS
from tests.flows.demo_room import FOREIGN
from tests.harness import World

pytestmark = pytest.mark.timeout(240)


async def test_once_plays_a_conversation_shows_it_and_exits_0(commands):
    result = await commands.run("demo", "--once", **FOREIGN)
    assert (result.code, result.stderr) == (0, "")
    assert re.search(r"ada +Which planet is the largest\?\n +threadline +You said:", result.stdout)
    assert "grace  <@U0THREADLINE> count to three" in result.stdout
    assert len(re.findall(r"sesn_\w+", result.stdout)) == 13
    assert "One session per thread" in result.stdout
    assert "wrong" not in result.stdout
    shown = " ".join(result.stdout.split())
    assert re.search(r"!slow 4 threadline .* seen it grows: \d+, \d+, \d+", shown)
    assert "seen a card shows the step bash: in progress, and complete at the end" in shown
    assert "seen grace presses Stop" in shown
    assert "threadline Stopped by grace." in shown
    waited = re.escape(
        "grace we release on Monday "
        "seen threadline marks it while it waits :hourglass_flowing_sand: "
        "seen edited while it waited; it read: we release on Friday "
        "seen the mark goes when its turn begins "
        "threadline (to grace alone) "
    ).replace(":hourglass_flowing_sand:", r"\S+")  # the console may draw it
    assert re.search(waited + ".*Yours is number 2 of those that wait", shown)
    assert 'threadline You said: "did the tests pass?" and "we release on Monday"' in shown
    _shows_who_decided_and_what_the_agent_heard(shown)
    assert re.search(
        r"ada@example\.com wrote from outside of Slack: And what is planned for Monday\? "
        r'threadline You said: "And what is planned for Monday\?"',
        shown,
    )


def _shows_who_decided_and_what_the_agent_heard(once: str) -> None:
    assert re.search(
        r"threadline The agent wants to use bash\. command: ls -l /workspace "
        r"Asked for by @ada\. Approved by @ada in Slack [\d: UTC-]+; the agent was told\. "
        r"seen while it waits it offers: Approve, Deny seen linus presses Approve "
        r"threadline \(to linus alone\) This is not yours to decide\. .*May decide: @ada\. "
        r"seen ada presses Approve, and the buttons go threadline bash was allowed and ran\.",
        once,
    )
    assert re.search(
        r"Asked for by @grace\. Denied by @grace in Slack [\d: UTC-]+; the agent was told\. "
        r"Reason: Keep the notes as they are\. .* "
        r"threadline edit was denied: .* They said: Keep the notes as they are\.",
        once,
    )
    assert re.search(
        r"The agent asks: May the release go out on Friday\? .* Answered by @ada in Slack .* "
        r"ada Yes, after the last test\. threadline .*Yes, after the last test\.",
        once,
    )


@pytest.mark.long  # two more conversations
async def test_once_in_json_and_again_on_the_same_data(commands, data_dir):
    for _ in range(2):
        result = await commands.run("demo", "--once", "--json", "--data-dir", str(data_dir))
        report = result.json()
        assert (result.code, report["wrong"]) == (0, [])
        assert [len(t["said"]) for t in report["threads"]] == [
            6,
            4,
            4,
            3,
            2,
            3,
            3,
            4,
            11,
            8,
            6,
            5,
            4,
        ]
        assert len({s["runtime"] for s in report["sessions"]}) == 13
        assert len({s["id"] for s in report["sessions"]}) == 13


@pytest.mark.long
async def test_once_fails_where_the_database_does_not_keep_one_session_per_thread(
    commands, connection, dsn
):
    await connection.execute("DROP INDEX agent_sessions_one_per_thread")
    result = await commands.run(
        *("demo", "--once", "--use", "database", "--json"),
        DATABASE_URL=dsn,
        THREADLINE_ENCRYPTION_KEYS=ENCRYPTION_KEYS,
    )
    assert result.code == 1
    wrong = result.json()["wrong"]
    assert "no answer to 'Which planet is the largest?' in 20 s" in wrong[0]
    assert wrong[0].endswith("Threadline said 503, 503, 503, 503")


@pytest.mark.parametrize("answers", ["at once", pytest.param("slowly", marks=pytest.mark.long)])
async def test_with_a_real_runtime_no_scene_depends_on_its_words(
    here: World, monkeypatch: pytest.MonkeyPatch, answers: str
):
    """The local one stands in for it; an answer may be whole before it can be stopped."""
    if answers == "slowly":
        monkeypatch.setattr(scenes, "_LONG", "!slow 3")
    async with here.app():
        report = await Script(here.slack, None).play()
    assert report.wrong == []
    said = {t["title"]: [line["text"] for line in t["said"]] for t in report.threads}
    left_out = {title for title, texts in said.items() if "a real agent decides" in texts[0]}
    assert (len(said), len(left_out)) == (12, 4)
    *_, stopped, waited = (texts for title, texts in said.items() if title not in left_out)
    if answers == "at once":
        assert stopped[-1] == waited[-1] == scenes._TOO_SOON
    else:
        assert stopped[-1].startswith("Stopped by grace.")
        assert waited[-1] == 'You said: "did the tests pass?" and "we release on Monday"'
