"""What the thread shows once a stream is over: stopping one takes every other status away."""

from functools import partial

import pytest

from bot import previewing
from bot.local.model import Message
from tests.flows.people import approvals_in
from tests.flows.streams import STOP, ask, messages, quicken
from tests.harness import World
from tests.support import eventually


async def test_a_stream_that_ends_late_leaves_the_thread_waiting_for_people(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    quicken(monkeypatch)
    monkeypatch.setattr(previewing, "_START_AFTER_SECONDS", 0.0)
    here.slack.fault("stall_before", method=STOP, seconds=1.0)
    async with here.app():
        asked = await streamed_and_asked(here)
        assert messages(here, asked)[0].streaming_state == "completed"
        assert here.slack.shown_status(asked.channel, asked.ts) == "suspended"


async def streamed_and_asked(here: World) -> Message:
    """A thread that waits for people; a busy machine hears the call with the words, and posts them."""
    for count in range(1, 6):
        asked = await ask(here, "!ask slow")
        await approvals_in(here, "pending", count)
        await eventually(partial(messages, here, asked))
        if messages(here, asked)[0].streaming_state is not None:
            await eventually(lambda: [c for c in here.slack.calls if c.method == STOP])
            return asked
    pytest.fail("nothing was ever streamed")
