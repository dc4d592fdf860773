"""A program that calls the sessions API as a member of the demo's workspace, who has signed in."""

from collections.abc import Mapping
from typing import Any

import aiohttp


class CallFailed(Exception):
    """The API did not answer as a program has to be answered."""


class Program:
    """Calls the API of the demo at `url` with a token of its own; the first call signs in."""

    def __init__(self, http: aiohttp.ClientSession, url: str, person: str) -> None:
        self._http, self._url, self._person = http, url, person
        self._headers: dict[str, str] = {}

    async def say(self, channel: str, thread_ts: str, text: str) -> None:
        """Says something in the session of that Slack thread. CallFailed where that is not taken."""
        if not self._headers:
            await self._sign_in()
        for agent in (await self._call("GET", "/dashboard/agents"))["data"]:
            sessions = f"/dashboard/agents/{agent['id']}/sessions"
            for one in (await self._call("GET", f"{sessions}?source=slack"))["data"]:
                if (one["slack_channel_id"], one["slack_thread_ts"]) == (channel, thread_ts):
                    await self._call("POST", f"{sessions}/{one['id']}/messages", {"text": text})
                    return
        raise CallFailed(f"the API lists no session of the thread {thread_ts}")

    async def _sign_in(self) -> None:
        options: Mapping[str, Any] = {
            "data": {"person": self._person},
            "headers": {"Origin": self._url},
        }
        async with self._http.post(f"{self._url}/signin/token", **options) as response:
            token = (await _read(response))["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        url = f"{self._url}{path}"
        async with self._http.request(method, url, json=body, headers=self._headers) as response:
            return await _read(response)


async def _read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    if not response.ok:
        raise CallFailed(f"{response.method} {response.url.path} was answered {response.status}")
    answer: dict[str, Any] = await response.json()
    return answer
