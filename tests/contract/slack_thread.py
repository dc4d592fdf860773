"""A thread of the local Slack that our app streams into."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack, Message
from tests.contract.slack_receiver import client_of


@dataclass
class Thread:
    """A thread of `general` in which our app streams to ada."""

    slack: LocalSlack
    client: AsyncWebClient
    channel: str
    root: str

    async def start(self, **arguments: Any) -> str:
        ada = {"recipient_user_id": self.slack.users["ada"]}
        whom = ada | {"recipient_team_id": self.slack.team_id}
        given = {"channel": self.channel, "thread_ts": self.root} | whom | arguments
        answer = await self.client.chat_startStream(**given)
        assert answer["channel"] == given["channel"]
        ts: str = answer["ts"]
        return ts

    def append(self, ts: str, **arguments: Any) -> Awaitable[Any]:
        return self.client.chat_appendStream(channel=self.channel, ts=ts, **arguments)

    def stop(self, ts: str, **arguments: Any) -> Awaitable[Any]:
        return self.client.chat_stopStream(channel=self.channel, ts=ts, **arguments)

    def shown(self, ts: str) -> Message:
        [message] = [one for one in self.slack.replies(self.channel, self.root) if one.ts == ts]
        return message

    async def listed(self, ts: str) -> dict[str, Any]:
        answer = await self.client.conversations_replies(
            channel=self.channel, ts=self.root, include_all_metadata=True
        )
        [message] = [one for one in answer["messages"] if one["ts"] == ts]
        found: dict[str, Any] = message
        return found


async def thread_in(slack: LocalSlack, channel: str = "general") -> Thread:
    root = await slack.say("ada", channel, "root")
    return Thread(slack, client_of(slack), root.channel, root.ts)


async def error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    response: Any = caught.value.response
    name: str = response["error"]
    return name


def task(name: str, status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    return {"type": "task_update", "id": name, "title": name, "status": status} | fields


def text(words: str) -> dict[str, str]:
    return {"type": "markdown_text", "text": words}
