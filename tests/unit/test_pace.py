import random

from router.runtime.local.pace import Pace


async def test_who_waits_is_woken_by_just_as_much_whatever_the_clock_says():
    """On a machine that has just started, the clock has many bits behind the point."""
    dice = random.Random(7)
    for _ in range(200):
        pace = Pace(0.0)
        pace._base = dice.random()
        for _ in range(24):
            sleeper = pace.after(30.0)
            pace.advance(30.0)
            assert sleeper.done()


async def test_who_waits_for_more_waits_on():
    pace = Pace(0.0)
    sleeper = pace.after(30.0)
    pace.advance(29.9)
    assert not sleeper.done()
    pace.advance(0.1)
    assert sleeper.done()
