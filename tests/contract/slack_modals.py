"""What the tests of modals share: an app that hears of them, and steps to open one."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.local import LocalSlack
from tests.contract.slack_cards import Json, button, modal, posted
from tests.contract.slack_receiver import Receiver, client_of


class App:
    """The receiver, and what it answers a submission with."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.answer: Json = {}

    def bodies(self, kind: str) -> list[Json]:
        return [one.body for one in self.receiver.requests if one.body.get("type") == kind]


async def trigger(slack: LocalSlack, user: str = "ada", **how: Any) -> str:
    ts = await posted(client_of(slack), "C0SHARED", button("approve"))
    [pressed] = await slack.click(user, ts, **how)
    return pressed.trigger_id


async def opened(slack: LocalSlack, user: str = "ada", *blocks: Json, **fields: Any) -> str:
    """The id of a modal that this person has before them."""
    trigger_id = await trigger(slack, user)
    view = modal(*blocks, **fields)
    answer = await client_of(slack).views_open(trigger_id=trigger_id, view=view)
    view_id: str = answer["view"]["id"]
    return view_id


async def refused(call: Any) -> Any:
    with pytest.raises(SlackApiError) as caught:
        await call
    return caught.value.response


async def error(call: Any) -> str:
    name: str = (await refused(call))["error"]
    return name
