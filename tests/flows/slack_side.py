"""What of the app speaks to Slack, without the app: an install, its token, its budgets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from bot.budget import Budgets
from bot.install import InstallBook
from bot.slack import Slack
from store import database
from store.installs import NewInstall
from tests.harness import KEYRING
from tests.store import factories

TOKEN = "xoxb-of-this-install"


@dataclass(frozen=True, slots=True)
class Side:
    """The doors to Slack, over a database of their own; `on` owns the install."""

    connection: database.Connection
    pool: database.Pool
    book: InstallBook
    slack: Slack
    budgets: Budgets
    on: factories.Ground
    install_id: UUID


@asynccontextmanager
async def slack_side(
    dsn: str,
    api_url: str,
    *,
    token: str = TOKEN,
    who: tuple[str, str, str] = ("T0", "UBOT", "BBOT"),
) -> AsyncIterator[Side]:
    """An install with that token, whose Slack is at `api_url`; `who`: its team, bot user and bot."""
    team_id, bot_user_id, bot_id = who
    connection = await database.connect(dsn)
    on = await factories.ground(connection)
    pool = await database.open_pool(dsn, size=4)
    book = InstallBook(pool, KEYRING)
    new = NewInstall(
        workspace_id=on.workspace_id,
        api_app_id="A0OURS",
        tenant_id=team_id,
        team_id=team_id,
        enterprise_id=None,
        bot_user_id=bot_user_id,
        bot_id=bot_id,
        scopes=[],
    )
    install_id = await book.put(new, token)
    async with Slack(api_url, book) as slack:
        yield Side(connection, pool, book, slack, Budgets(pool), on, install_id)
    await database.close_pool(pool)
    await connection.close()
