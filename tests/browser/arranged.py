"""What stands in the local Slack before somebody looks: posts of the bot, long channels and threads."""

import math
import time
from dataclasses import replace
from typing import Any

from bot.local.model import Ephemeral, Message
from tests.harness import World


def bot_says(here: World, channel: str, text: str = "", **fields: Any) -> Message:
    """A post of the bot's, as whatever the page may be given, checked by nobody."""
    workspace = here.slack.workspace
    message = Message(
        channel=here.slack.channels.get(channel, channel),
        ts=workspace.state.next_ts(),
        text=text,
        team=here.slack.team_id,
        at=workspace.clock.now(),
        user=here.slack.bot_user_id,
        bot_id=here.slack.bot_id,
        **fields,
    )
    workspace.post(message)
    return message


def bot_tells(here: World, user: str, channel: str, text: str) -> Ephemeral:
    """A post of the bot's that only this person sees."""
    told = Ephemeral(
        channel=here.slack.channels.get(channel, channel),
        user=here.slack.users[user],
        text=text,
        blocks=[],
        thread_ts=None,
        ts=here.slack.workspace.state.next_ts(),
    )
    here.slack.workspace.state.add_ephemeral(told)
    return told


def many(here: World, channel: str, count: int, *, below: Message | None = None) -> list[Message]:
    """So many posts of grace's, one a minute until now; `below` a message or in the channel itself."""
    grace, state = here.slack.users["grace"], here.slack.workspace.state
    first = math.floor(time.time()) - 60 * count
    if below is not None:
        first = max(first, math.ceil(float(below.ts)))
    step = 60 if below is None else 0
    pattern = Message(
        channel=here.slack.channels[channel],
        ts="",
        text="",
        team=here.slack.team_id,
        at=0.0,
        user=grace,
        thread_ts=below.ts if below is not None else None,
    )
    made = [
        replace(pattern, ts=f"{first + step * n}.{n:06}", text=f"Message number {n} of {count}.")
        for n in range(count)
    ]
    for message in made:
        state.put(message)
    return made
