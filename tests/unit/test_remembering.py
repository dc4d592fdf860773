"""Names, channels and who may see them are remembered, and asked for again once that is over."""

import pytest

from bot.naming import _SECONDS
from bot.remembering import Remembered
from router import clock


async def test_an_answer_holds_for_as_long_as_was_said_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
):
    now, answers = [100.0], iter(["grace", "Grace H."])
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    async def question() -> str:
        return next(answers)

    known: Remembered[str] = Remembered()
    assert await known.ask("U0GRACE", question, _SECONDS) == "grace"
    now[0] += _SECONDS - 1
    assert await known.ask("U0GRACE", question, _SECONDS) == "grace"
    now[0] += 1
    assert known.get("U0GRACE") is None
    assert await known.ask("U0GRACE", question, _SECONDS) == "Grace H."
