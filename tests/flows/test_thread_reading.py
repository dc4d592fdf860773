"""Earlier messages of a thread, and what links lead to, as Slack shows them to our app."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot import naming, thread_reading
from bot.local import LocalSlack, Message
from bot.standing import Standings
from bot.thread_reading import ThreadReading
from router.context.quoting import MESSAGES, Record, quoted
from router.ports import Thread
from tests.flows.slack_side import Side, slack_side

REPLIES = "conversations.replies"


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(limits=False) as server:
        yield server


@pytest.fixture
async def side(dsn: str, slack: LocalSlack) -> AsyncIterator[Side]:
    who = (slack.team_id, slack.bot_user_id, "B0NONE")
    async with slack_side(dsn, slack.api_url, token=slack.bot_token, who=who) as made:
        yield made


@pytest.fixture
def reading(side: Side, monkeypatch: pytest.MonkeyPatch) -> ThreadReading:
    """One that a busy machine does not keep from its end."""
    monkeypatch.setattr(thread_reading, "_SECONDS", 60.0)
    monkeypatch.setattr(thread_reading, "_NAMES_SECONDS", 60.0)
    return ThreadReading(side.slack, side.book, side.budgets, Standings(side.slack, side.book))


def thread(side: Side, root: Message) -> Thread:
    return Thread(side.install_id, root.channel, root.ts)


async def reply(
    slack: LocalSlack, root: Message, text: str, user: str = "grace", **more: Any
) -> Message:
    return await slack.say(user, "general", text, thread_ts=root.ts, deliver=False, **more)


async def many(slack: LocalSlack, root: Message, count: int) -> Message:
    """So many replies, and the message that calls the agent behind them."""
    for number in range(count):
        await reply(slack, root, f"reply {number}")
    return await reply(slack, root, "@threadline help", "ada")


def asked(slack: LocalSlack, method: str) -> int:
    return sum(call.method == method for call in slack.calls)


def texts(record: Record) -> list[str]:
    return [said.text for said in record.messages]


# ------------------------------------------------------------------ a thread


async def test_what_was_said_comes_as_it_reads_now(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    root = await slack.say("ada", "general", "The @grace build is &red&", deliver=False)
    wrong = await reply(slack, root, "Since Mnday")
    await slack.edit("general", wrong.ts, "Since Monday, see <#C0GENERAL>", deliver=False)
    gone = await reply(slack, root, "never mind")
    await slack.delete("general", gone.ts, deliver=False)
    file = await slack.upload("grace", "log.txt", b"x")
    await reply(slack, root, "", file_ids=[file])
    await reply(slack, root, "Build 7 failed", "deploybot")
    call = await reply(slack, root, "@threadline help", "ada")
    await reply(slack, root, "later")
    record = await reading.earlier(thread(side, root), call.ts)
    assert record.root is not None
    assert (record.root.author, record.root.text) == ("ada (U0ADA)", "The @grace build is &red&")
    assert [(s.author, s.text, s.bot, s.edited, s.files) for s in record.messages] == [
        ("grace (U0GRACE)", "Since Monday, see #general", False, True, ()),
        ("grace (U0GRACE)", "", False, False, ("log.txt",)),
        ("deploybot", "Build 7 failed", True, False, ()),
    ]
    assert (record.unread, record.failed, asked(slack, REPLIES)) == (0, False, 1)


async def test_our_own_posts_are_left_out(slack: LocalSlack, side: Side, reading: ThreadReading):
    root = await slack.say("ada", "general", "one", deliver=False)
    await side.slack.ask(
        side.install_id, "chat_postMessage", channel=root.channel, thread_ts=root.ts, text="ours"
    )
    await reply(slack, root, "two")
    call = await reply(slack, root, "@threadline help")
    assert texts(await reading.earlier(thread(side, root), call.ts)) == ["two"]


async def test_the_first_message_of_a_thread_costs_no_call(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    root = await slack.say("ada", "general", "@threadline hi", deliver=False)
    assert await reading.earlier(thread(side, root), root.ts) == Record()
    assert asked(slack, REPLIES) == 0


async def test_five_hundred_replies_take_one_call(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    root = await slack.say("ada", "general", "the root", deliver=False)
    call = await many(slack, root, 500)
    record = await reading.earlier(thread(side, root), call.ts)
    assert asked(slack, REPLIES) == 1
    assert texts(record) == [f"reply {n}" for n in range(500 - MESSAGES, 500)]
    assert (record.cut, record.unread) == (500 - MESSAGES, 0)
    text = quoted(record)
    assert text is not None
    assert "> reply 499" in text
    assert "earlier messages are left out here.]" in text


def paced(slack: LocalSlack, root: Message, gaps: list[float], later: float = 1.0) -> str:
    """Replies so many seconds apart; the ts of the message that comes so much later."""
    at = float(root.ts)
    for number, gap in enumerate(gaps):
        at += gap
        said = replace(root, ts=f"{at:.6f}", thread_ts=root.ts, text=f"reply {number}", blocks=[])
        slack.workspace.state.put(said)
    return f"{at + later:.6f}"


PACES = {
    "a page more": ([60.0] * 130, 2),
    "evenly": ([60.0] * 500, 2),
    "ever faster": ([600.0 / (n + 1) for n in range(500)], 4),
    "ever slower": ([float(n + 1) for n in range(500)], 4),
    "a burst, long ago": ([1.0] * 490 + [86_400.0] * 10, 4),
    "a burst, just now": ([86_400.0] * 300 + [0.1] * 200, 4),
}


@pytest.mark.parametrize("later", [1.0, 90 * 86_400.0], ids=["at once", "months later"])
@pytest.mark.parametrize("pace", PACES)
async def test_a_longer_thread_is_read_from_its_end(
    slack: LocalSlack, side: Side, small: ThreadReading, pace: str, later: float
):
    gaps, calls = PACES[pace]
    root = await slack.say("ada", "general", "the root", deliver=False)
    before = paced(slack, root, gaps, later)
    record = await small.earlier(thread(side, root), before)
    assert asked(slack, REPLIES) <= calls
    assert not record.failed
    numbers = [int(text.split()[1]) for text in texts(record)]
    assert numbers == list(range(len(gaps) - len(numbers), len(gaps)))
    assert len(numbers) >= 5
    assert record.root is not None
    assert abs(record.cut + record.unread - numbers[0]) <= 1


async def test_a_page_more_is_the_whole_thread(
    slack: LocalSlack, side: Side, small: ThreadReading, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(thread_reading, "MESSAGES", 1000)
    root = await slack.say("ada", "general", "the root", deliver=False)
    record = await small.earlier(thread(side, root), paced(slack, root, [60.0] * 130))
    assert texts(record) == [f"reply {n}" for n in range(130)]
    assert (record.unread, asked(slack, REPLIES)) == (0, 2)


@pytest.fixture
def small(reading: ThreadReading, monkeypatch: pytest.MonkeyPatch) -> ThreadReading:
    """Pages of a tenth, so that threads need not be as long."""
    monkeypatch.setattr(thread_reading, "_PAGE", 100)
    monkeypatch.setattr(thread_reading, "_EXPECTED", 60)
    monkeypatch.setattr(thread_reading, "MESSAGES", 20)
    return reading


async def test_an_end_that_is_out_of_reach_is_not_made_up(
    slack: LocalSlack, side: Side, small: ThreadReading, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(thread_reading, "_PAGE", 10)
    monkeypatch.setattr(thread_reading, "_CALLS", 2)
    root = await slack.say("ada", "general", "the root", deliver=False)
    record = await small.earlier(thread(side, root), paced(slack, root, [60.0] * 200))
    assert asked(slack, REPLIES) == 2
    assert record.root is not None
    assert (record.root.text, record.messages, record.failed) == ("the root", (), True)


async def test_an_app_that_may_read_once_a_minute_says_what_it_did_not_see(dsn: str):
    async with LocalSlack(unlisted=True) as slack:
        root = await slack.say("ada", "general", "the root", deliver=False)
        call = await many(slack, root, 40)
        who = (slack.team_id, slack.bot_user_id, "B0NONE")
        async with slack_side(dsn, slack.api_url, token=slack.bot_token, who=who) as side:
            reading = ThreadReading(
                side.slack, side.book, side.budgets, Standings(side.slack, side.book)
            )
            record = await reading.earlier(thread(side, root), call.ts)
            assert record.root is not None
            assert (record.root.text, record.messages, record.failed) == ("the root", (), True)
            assert not await side.budgets.take(side.install_id, REPLIES)
        assert asked(slack, REPLIES) == 2


@pytest.mark.parametrize("fault", ["drop_before", "error_before", "api_error", "stall_before"])
async def test_what_cannot_be_read_is_said_to_be_so(
    slack: LocalSlack,
    side: Side,
    reading: ThreadReading,
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
):
    monkeypatch.setattr(thread_reading, "_SECONDS", 0.5)
    root = await slack.say("ada", "general", "the root", deliver=False)
    call = await many(slack, root, 3)
    slack.fault(fault, method=REPLIES, times=None, error="missing_scope", seconds=1.0)
    assert await reading.earlier(thread(side, root), call.ts) == Record(failed=True)


async def test_without_a_permit_nothing_is_asked(
    slack: LocalSlack, side: Side, reading: ThreadReading, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(thread_reading, "_SECONDS", 0.3)
    await side.budgets.empty(side.install_id, REPLIES, 60.0)
    root = await slack.say("ada", "general", "the root", deliver=False)
    call = await many(slack, root, 1)
    assert (await reading.earlier(thread(side, root), call.ts)).failed
    assert asked(slack, REPLIES) == 0


async def test_names_are_asked_for_once_and_are_never_waited_for(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    root = await slack.say("ada", "general", "hi @linus", deliver=False)
    call = await many(slack, root, 3)
    slack.fault("api_error", method="users.info", error="user_not_found", times=3)
    record = await reading.earlier(thread(side, root), call.ts)
    assert {said.author for said in record.messages} == {"U0GRACE"}
    for _ in range(3):
        record = await reading.earlier(thread(side, root), call.ts)
        assert {said.author for said in record.messages} == {"grace (U0GRACE)"}
    assert record.root is not None
    assert record.root.text == "hi @linus"
    assert asked(slack, "users.info") == 6


def test_a_name_cannot_end_its_mention():
    named = naming.named("<@U1> <#C1|> <@U2> <@U3|x>", {"U1": "a<b>|&c", "C1": "general"})
    assert named == "<@U1|a b c> <#C1|general> <@U2|U2> <@U3|x>"
    assert naming.ids_in("<@U1> <#C1|> <@U2> <@U3|x> <#C2>") == ["U1", "U2", "C1", "C2"]


# ------------------------------------------------------------------ links


def link(message: Message, host: str = "local-workspace.slack.com") -> str:
    url = f"https://{host}/archives/{message.channel}/p{message.ts.replace('.', '')}"
    if message.thread_ts:
        url += f"?thread_ts={message.thread_ts}&cid={message.channel}"
    return url


async def linked(reading: ThreadReading, side: Side, text: str, user: str = "U0ADA") -> list[Any]:
    return [
        found.said and (found.said.author, found.said.text)
        for found in await reading.linked(side.install_id, text, user)
    ]


async def test_a_link_brings_the_message_that_it_leads_to(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    root = await slack.say("grace", "general", "a root", deliver=False)
    answer = await reply(slack, root, "an answer", "linus")
    text = f"see {link(root)} and ({link(answer)}), or {link(root)}"
    assert await linked(reading, side, text) == [
        ("grace (U0GRACE)", "a root"),
        ("linus (U0LINUS)", "an answer"),
    ]
    assert await linked(reading, side, "no link here") == []


async def test_no_more_than_five_links_are_followed(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    said = [await slack.say("grace", "general", f"m{n}", deliver=False) for n in range(7)]
    found = await linked(reading, side, " ".join(map(link, said)))
    assert [text for _, text in found] == ["m0", "m1", "m2", "m3", "m4"]
    assert asked(slack, "conversations.history") == 5


async def test_nobody_is_shown_what_they_could_not_see(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    secret = slack.workspace.add_channel("secret", [slack.workspace.user("grace")])
    slack.workspace.state.put_channel(replace(secret, kind="group"))
    hidden = await slack.say("grace", secret.id, "hush", deliver=False)
    private = await slack.say("grace", slack.dm("grace"), "between us", deliver=False)
    open_one = await slack.say("grace", "general", "for all", deliver=False)
    text = f"{link(hidden)} {link(private)} {link(open_one)}"
    grace, everybody = "grace (U0GRACE)", ("grace (U0GRACE)", "for all")
    assert await linked(reading, side, text, "U0ADA") == [None, None, everybody]
    assert await linked(reading, side, text, "U0GRACE") == [
        (grace, "hush"),
        (grace, "between us"),
        everybody,
    ]
    assert await linked(reading, side, text, "U0GONE") == [None, None, None]
    assert await linked(reading, side, text, "U0NOBODY") == [None, None, None]


async def test_a_guest_sees_only_the_channels_that_they_are_in(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    side_room = slack.workspace.add_channel("side", [slack.workspace.user("grace")])
    said = await slack.say("grace", side_room.id, "aside", deliver=False)
    assert await linked(reading, side, link(said), "U0ADA") == [("grace (U0GRACE)", "aside")]
    assert await linked(reading, side, link(said), "U0GUEST") == [None]


async def test_what_cannot_be_brought_along_is_named_all_the_same(
    slack: LocalSlack, side: Side, reading: ThreadReading
):
    said = await slack.say("grace", "general", "gone soon", deliver=False)
    elsewhere = link(said, "other.slack.com"), link(said, "local-workspace.slack.com.evil.example")
    assert await linked(reading, side, " ".join(elsewhere)) == [None, None]
    await slack.delete("general", said.ts, deliver=False)
    assert await linked(reading, side, link(said)) == [None]
    slack.fault("kick_bot", channel="general")
    other = await slack.say("grace", "general", "unseen", deliver=False)
    assert await linked(reading, side, link(other)) == [None]
