"""What Threadline is measured against, each in a process of its own, all of them under uvloop.

    python -m tests.bench.yardsticks nothing | row | bare

nothing   a Bolt AsyncApp on aiohttp, as Bolt's guide has it, with a listener for messages and one for
          mentions, which do nothing; it has answered before they run
row       the same, but its listeners insert one row for each event, and it answers afterwards
bare      an aiohttp handler that checks the signature and answers
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import asyncpg
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.signature import SignatureVerifier

from bot import process
from tests.bench.envelopes import BOT, SECRET, TEAM

_CREATE = "CREATE TABLE IF NOT EXISTS events (key text PRIMARY KEY, event jsonb NOT NULL)"
_INSERT = "INSERT INTO events (key, event) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def _authorize() -> AuthorizeResult:
    return AuthorizeResult(
        enterprise_id=None, team_id=TEAM, bot_user_id=BOT, bot_id="B1", bot_token="xoxb-none"
    )


async def nothing() -> web.Application:
    """Answers, and does nothing."""
    bolt = AsyncApp(signing_secret=SECRET, authorize=_authorize)

    @bolt.event("message")
    async def _message() -> None:
        pass

    @bolt.event("app_mention")
    async def _mention() -> None:
        pass

    return bolt.server(path="/slack/events").web_app


async def row() -> web.Application:
    """Answers when the event's row is committed."""
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=16)
    await pool.execute(_CREATE)
    bolt = AsyncApp(signing_secret=SECRET, authorize=_authorize, process_before_response=True)

    async def insert(body: dict[str, Any]) -> None:
        await pool.execute(_INSERT, body["event_id"], json.dumps(body["event"]))

    bolt.event("message")(insert)
    bolt.event("app_mention")(insert)
    return bolt.server(path="/slack/events").web_app


async def bare() -> web.Application:
    """Checks the signature, and answers."""
    verifier = SignatureVerifier(SECRET)

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        known = verifier.is_valid(
            body,
            request.headers.get("X-Slack-Request-Timestamp", ""),
            request.headers.get("X-Slack-Signature", ""),
        )
        return web.Response(status=200 if known else 401)

    app = web.Application()
    app.add_routes([web.post("/slack/events", handle)])
    return app


_ALL: dict[str, Callable[[], Any]] = {"nothing": nothing, "row": row, "bare": bare}


async def _serve(name: str) -> None:
    stop = process.stop_on_signals()
    runner = web.AppRunner(await _ALL[name](), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    sys.stdout.write(json.dumps({"ready": True, "url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await asyncio.wait_for(runner.cleanup(), 5)


if __name__ == "__main__":
    process.run(_serve(sys.argv[1]))
