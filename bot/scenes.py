"""The scenes of `threadline demo --once`, one thread each.

With a real runtime nothing depends on its words: where an answer comes too soon to be stopped or
to let anything wait, the scene says so and ends.
"""

from collections.abc import Awaitable, Callable

from bot.local.model import Message
from bot.reading import offers
from bot.stage import Stage, Talk

_LONG = "Write 400 words about rivers"
_TOO_SOON = "the answer was whole before anything else could be done"
# Of an answer of 4 s, which grows every 0.4 s: growth that is no coincidence.
_FEWEST_LENGTHS = 3
# How long the runtime is out of reach while a tool runs: long enough to see the card in progress.
_AWAY_SECONDS = 1.2
_REASON = "Keep the notes as they are."
_QUESTION = "May the release go out on Friday?"
_ANSWER = "Yes, after the last test."


async def direct_message(stage: Stage) -> None:
    """Questions that follow each other."""
    talk = stage.begin("a direct message with two follow-ups in its thread")
    await stage.ask(talk, "ada", stage.slack.dm("ada"), "Which planet is the largest?")
    await stage.ask(talk, "ada", talk.channel, "And the smallest?")
    await stage.ask(
        talk, "ada", talk.channel, "!tool Show me the list", answer="Show is done, and this is"
    )


async def mention(stage: Stage) -> None:
    """Replies in the thread of a mention need none."""
    talk = stage.begin("a mention, then a reply without one")
    await stage.ask(talk, "grace", "general", "@threadline summarise the release notes")
    await stage.ask(talk, "grace", talk.channel, "shorter, please")


async def two_people(stage: Stage) -> None:
    """Whoever speaks in the thread is answered."""
    talk = stage.begin("two people in one thread")
    await stage.ask(talk, "linus", "random", "@threadline why is the build red?")
    await stage.ask(talk, "ada", talk.channel, "I saw it fail on main as well")


async def edited_mention(stage: Stage) -> None:
    """An edit of what was answered is a correction."""
    talk = stage.begin("a mention that is edited after its answer")
    await stage.ask(talk, "ada", "general", "@threadline meet at 14:00")
    await _edit(stage, talk, talk.root, "@threadline meet at 15:00")
    talk.texts.append("meet at 15:00")
    await stage.answered(talk, "meet at 15:00")


async def delivered_three_times(stage: Stage) -> None:
    """Slack delivers more than once; nobody is answered twice."""
    talk = stage.begin("one event delivered three times")
    await stage.ask(talk, "grace", "general", "@threadline count to three", duplicate=2)


async def streamed(stage: Stage) -> None:
    """An answer is seen while it is written, and so is a tool that runs."""
    talk = stage.begin("a long answer that is seen while it is written")
    text = "!slow 4" if stage.scripted else _LONG
    await stage.ask(
        talk,
        "linus",
        stage.slack.dm("linus"),
        text,
        answer="something to show. This is sentence 12",
    )
    answer = stage.posts(talk)[-1]
    talk.lengths = _FEWEST_LENGTHS
    if lengths := [str(len(text)) for text in talk.grown.get(answer.ts, [])]:
        talk.note(answer.ts, f"it grows: {', '.join(lengths)} characters, then the whole")


async def tool_step(stage: Stage) -> None:
    """A tool's card is there while the tool runs; here the runtime goes away in the middle of it."""
    talk = stage.begin_scripted("a tool step, and the runtime cannot be reached while it runs")
    if talk is None:
        return
    await stage.order(kind="hold")
    try:
        await stage.say(talk, "grace", stage.slack.dm("grace"), "!tool bash")
        session = await stage.held(talk)
        events = {"route": "events.stream", "session_id": session}
        await stage.order(kind="cut_stream", event_type="agent.tool_use", clean=True, **events)
        await stage.order(kind="unavailable", retry_after=_AWAY_SECONDS, **events)
    finally:
        await stage.order(kind="release")
    await stage.answered(talk, "bash is done, and this is what it gave.")
    answer = stage.posts(talk)[-1]
    talk.steps.append("bash")
    if ("bash", "in_progress") in talk.cards.get(answer.ts, set()):
        talk.note(answer.ts, "a card shows the step bash: in progress, and complete at the end")


async def stop(stage: Stage) -> None:
    """Slack's own Stop button, pressed by somebody else than the one who asked."""
    talk = stage.begin("a Stop in the middle of an answer")
    text = "!slow 20" if stage.scripted else _LONG
    await stage.say(talk, "ada", "private", f"@threadline {text}")
    answer = await _begun(stage, talk, "This is sentence 1")
    if answer is None:
        return
    talk.expected.append("This is sentence 1")
    await stage.control("stop", {"user": "grace", "channel": talk.channel, "thread_ts": talk.root})
    talk.stops += 1
    talk.note(answer.ts, "grace presses Stop while this is being written")
    await stage.answered(talk, "Stopped by grace.")

    async def at_rest() -> bool:
        return stage.slack.shown_status(talk.channel, talk.root) == "active"

    await stage.until(at_rest, f"{talk.title}: the thread still shows that the agent works")


async def waiting(stage: Stage) -> None:
    """What comes while the agent is busy waits, may still be changed, and is answered together."""
    talk = stage.begin("two messages wait while the agent is busy; one of them is edited")
    await stage.order(kind="hold")
    try:
        text = "what is new?" if stage.scripted else _LONG
        await stage.say(talk, "ada", "random", f"@threadline {text}")
        if stage.scripted:
            await stage.held(talk)
        elif await _begun(stage, talk, text) is None:
            return
        first = await _waits(stage, talk, "linus", "did the tests pass?")
        second = await _waits(stage, talk, "grace", "we release on Friday")
        await _place_told(stage, talk, "grace", 2)
        await _edit(stage, talk, second, "we release on Monday")
        talk.texts[-1] = "we release on Monday"
        talk.note(second, "edited while it waited; it read: we release on Friday")
        await stage.slack.settle()
        await stage.order(kind="release")
        await stage.order(kind="hold")  # the next turn stands still once it has begun
        await stage.answered(talk, text)
        for ts in (first, second):
            await _mark_goes(stage, talk, ts)
    finally:
        await stage.order(kind="release")
    await stage.answered(talk, '"did the tests pass?" and "we release on Monday"')


async def approved(stage: Stage) -> None:
    """Whoever may not decide is told so alone; whoever may, decides once, and the card says it."""
    talk = stage.begin_scripted(
        "a tool that needs an approval; somebody else presses the button first"
    )
    if talk is None:
        return
    await stage.ask(talk, "ada", "general", "@threadline !ask bash", answer="needs a confirmation")
    card = await _asked(stage, talk, "The agent wants to use bash.", "ls -l /workspace")
    talk.note(card.ts, "linus presses Approve")
    await stage.press(talk, "linus", card, "Approve")
    refusal = await stage.told(talk, "linus", "not yours to decide")
    talk.note(refusal, "ada presses Approve, and the buttons go")
    await stage.press(talk, "ada", card, "Approve")
    talk.told.append(("allow", ""))
    await stage.answered(talk, "bash was allowed and ran.")
    await stage.shows(talk, card, "Approved by @ada", "the agent was told.")


async def denied(stage: Stage) -> None:
    """A reason goes to the agent, and stands on the card."""
    talk = stage.begin_scripted("a tool that is denied, with a reason")
    if talk is None:
        return
    await stage.ask(talk, "grace", "random", "@threadline !ask edit", answer="needs a confirmation")
    card = await _asked(stage, talk, "The agent wants to use edit.", "/workspace/notes.md")
    await stage.press(talk, "grace", card, "Deny")
    await stage.submit(talk, "grace", "Deny", reason=_REASON)
    talk.note(card.ts, f"grace presses Deny, and is asked why: {_REASON}")
    talk.told.append(("deny", _REASON))
    await stage.answered(talk, "edit was denied")
    await stage.shows(talk, card, "Denied by @grace", f"Reason: {_REASON}", "the agent was told.")


async def escalated(stage: Stage) -> None:
    """The agent asks people a question; a reply is the answer."""
    talk = stage.begin_scripted("a question of the agent, answered by a reply")
    if talk is None:
        return
    await stage.say(talk, "linus", "private", f"@threadline !escalate {_QUESTION}")
    card = await _asked(stage, talk, "The agent asks:", _QUESTION, "May answer: @linus")
    await stage.say(talk, "ada", talk.channel, _ANSWER)
    talk.texts.pop()  # it is an answer, and no message of its own
    talk.told.append(("answer", _ANSWER))
    await stage.answered(talk, _ANSWER)
    await stage.shows(talk, card, f"Answer: {_ANSWER}", "Answered by @ada")


async def by_a_program(stage: Stage) -> None:
    """What is said over the API shows in the thread, and is answered there."""
    if stage.program is None:
        return
    talk = stage.begin("a message over the sessions API, by who signed in to it")
    await stage.ask(talk, "ada", "mpim", "@threadline what did we ship on Friday?")
    await stage.order(kind="hold")  # so that it is seen before its answer
    try:
        await stage.write(talk, stage.program, "And what is planned for Monday?")
        await stage.answered(talk, "ada@example.com wrote from outside of Slack")
    finally:
        await stage.order(kind="release")
    await stage.answered(talk, "And what is planned for Monday?")


SCENES: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    direct_message,
    mention,
    two_people,
    edited_mention,
    delivered_three_times,
    streamed,
    tool_step,
    stop,
    waiting,
    approved,
    denied,
    escalated,
    by_a_program,
)


async def _asked(stage: Stage, talk: Talk, *words: str) -> Message:
    card = await stage.card(talk, *words)
    talk.note(card.ts, f"while it waits it offers: {', '.join(offers(card.blocks))}")
    return card


async def _begun(stage: Stage, talk: Talk, words: str) -> Message | None:
    """The answer that is being written; None, with a note, where it is whole already."""
    answer = await stage.growing(talk)
    if answer is None:
        talk.expected.append(words)
        talk.note(stage.posts(talk)[-1].ts, _TOO_SOON)
    return answer


async def _waits(stage: Stage, talk: Talk, user: str, text: str) -> str:
    """Says something that has to wait, and sees that it is marked; returns its ts."""
    ts = await stage.say(talk, user, talk.channel, text)

    async def marked() -> bool:
        return bool(stage.marks(talk, ts))

    await stage.until(marked, f"{talk.title}: nothing shows that {text!r} waits")
    talk.note(ts, f"threadline marks it while it waits :{stage.marks(talk, ts)[0]}:")
    return ts


async def _mark_goes(stage: Stage, talk: Talk, ts: str) -> None:
    async def gone() -> bool:
        return not stage.marks(talk, ts)

    await stage.until(gone, f"{talk.title}: its turn begins, and a message is marked as waiting")
    talk.note(ts, "the mark goes when its turn begins")


async def _place_told(stage: Stage, talk: Talk, user: str, place: int) -> None:
    user_id = stage.slack.users[user]

    async def told() -> bool:
        return any(
            str(place) in e.text
            for e in stage.slack.ephemerals
            if (e.user, e.channel, e.thread_ts) == (user_id, talk.channel, talk.root)
        )

    await stage.until(told, f"{talk.title}: {user} is not told the place in line")


async def _edit(stage: Stage, talk: Talk, ts: str, text: str) -> None:
    await stage.control("edit", {"channel": talk.channel, "ts": ts, "text": text})
