"""Signed requests to the app's URL (docs.slack.dev/apis/events-api)."""

import hashlib
import hmac
import json
import secrets
import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import aiohttp

from bot.local.model import Json

DELIVERY_SECONDS = 3.0
_MAX_REDIRECTS = 2
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the app said; `status` is 0 when nothing came, `failure` None when it took the event.

    `body` is what came with it, for an interaction only.
    """

    status: int
    failure: str | None = None
    no_retry: bool = False
    body: str = ""


def sign(secret: str, body: bytes, timestamp: int | None = None) -> dict[str, str]:
    """The headers of a signed request (docs.slack.dev/authentication/verifying-requests)."""
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    base = b"v0:" + stamp.encode() + b":" + body
    digest = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }


class Poster:
    """Posts to one URL; an async context manager. Never raises for what app or network do."""

    def __init__(self, secret: str) -> None:
        self.url: str | None = None
        self._secret = secret

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=DELIVERY_SECONDS)
        self._http = aiohttp.ClientSession(
            timeout=timeout, headers={"User-Agent": "Slackbot 1.0 (local workspace)"}
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def event(self, envelope: Json, retry_num: int | None, reason: str | None) -> Answer:
        """One attempt to deliver an event."""
        body = json.dumps(envelope).encode()
        headers = sign(self._secret, body)
        if retry_num is not None:
            headers |= {"x-slack-retry-num": str(retry_num), "x-slack-retry-reason": reason or ""}
        return await self._post(body, headers)

    async def interaction(self, payload: Json) -> Answer:
        """Deliver an interaction, which travels as a form."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return await self._post(body, sign(self._secret, body) | {"Content-Type": _FORM})

    async def verify(self) -> bool:
        """Send the url_verification challenge; whether the app gave it back."""
        challenge = secrets.token_urlsafe(24)
        envelope = {"token": "", "challenge": challenge, "type": "url_verification"}
        body = json.dumps(envelope).encode()
        if self.url is None:
            raise LookupError("the local Slack has no request_url to verify")
        async with self._http.post(
            self.url, data=body, headers=sign(self._secret, body)
        ) as response:
            return _taken(response) and challenge in await response.text()

    async def _post(self, body: bytes, headers: dict[str, str]) -> Answer:
        if self.url is None:
            return Answer(0, "connection_failed")
        # aiohttp counts the last, unfollowed redirect too.
        redirects = _MAX_REDIRECTS + 1
        try:
            async with self._http.post(
                self.url, data=body, headers=headers, max_redirects=redirects
            ) as response:
                failure = None if _taken(response) else "http_error"
                ended = response.headers.get("x-slack-no-retry") == "1"
                said = await response.text() if headers["Content-Type"] == _FORM else ""
                return Answer(response.status, failure, ended, said)
        except TimeoutError:
            return Answer(0, "http_timeout")
        except aiohttp.TooManyRedirects:
            return Answer(0, "too_many_redirects")
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return Answer(0, "ssl_error")
        except (aiohttp.ClientConnectionError, OSError):
            return Answer(0, "connection_failed")
        except aiohttp.ClientError:
            return Answer(0, "unknown_error")


def _taken(response: aiohttp.ClientResponse) -> bool:
    return response.status // 100 == 2  # noqa: PLR2004  # 2xx
