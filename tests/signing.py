"""An app with the sign-in page of a demo, over a world of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.app import App, Config, running
from bot.signin import people
from bot.signin.routes import SignIn
from bot.signin.sessions import LocalSessions
from store import database
from tests.harness import KEYRING, TIMING, World

ROLES = {"grace": "viewer", "ada": "member", "admin": "admin", "owner": "owner"}
"""Who is what in a demo's workspace."""
CALLED = {
    "grace": "Grace Hopper",
    "ada": "Ada Lovelace",
    "admin": "Annie Admin",
    "owner": "Olive Owner",
}


@dataclass(frozen=True, slots=True)
class Desk:
    """The app, and who issues its sessions."""

    here: World
    app: App
    sessions: LocalSessions


@asynccontextmanager
async def desk(here: World) -> AsyncIterator[Desk]:
    """The app of a demo: its people are members, and sign in by a press."""
    sessions = LocalSessions()
    await people.add(here.connection, here.workspace_id)
    pool = await database.open_pool(here.dsn, size=2)
    page = SignIn(pool, "default", sessions, f"{here.slack.url}/")
    settings = here.settings(supabase_jwt_secret=sessions.secret)
    config = Config(settings, here.dsn, KEYRING, timing=TIMING, pages=page.mount)
    try:
        async with running(config) as app:
            yield Desk(here, app, sessions)
    finally:
        await database.close_pool(pool)
