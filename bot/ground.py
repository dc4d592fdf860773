"""What a process opens first and closes last: its pools, the doors to Slack and to the runtime."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from bot.budget import Budgets
from bot.fetching import Fetching
from bot.install import InstallBook
from bot.sealing import Keyring
from bot.slack import Slack
from router.api.hub import MOST_UPSTREAMS
from router.runtime.budget import Budget
from router.runtime.client import Runtime
from router.settings import Settings
from router.turns.engine import Timing
from store import database
from store.database import Pool

_ACK_CONNECTIONS = 8
_WORK_CONNECTIONS = 14
_LEASE_CONNECTIONS = 2
_PERMIT_CONNECTIONS = 4
_MOST_SEND_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What the collaborators of a process share."""

    ack_pool: Pool
    pool: Pool
    leases: Pool
    permits: Pool
    book: InstallBook
    slack: Slack
    runtime: Runtime
    budgets: Budgets
    files: Fetching


async def opened(  # all that a process is told
    stack: AsyncExitStack, settings: Settings, dsn: str, keyring: Keyring, timing: Timing
) -> Ground:
    """All of it, until the stack is closed."""
    pools = await _pools(stack, dsn)
    ack_pool, _, _, permits = pools
    book = InstallBook(ack_pool, keyring)
    slack = await stack.enter_async_context(Slack(settings.slack_api_url, book))
    runtime = _runtime(settings, timing, permits)
    stack.push_async_callback(runtime.close)
    budgets = Budgets(permits)
    fetching = Fetching(slack, budgets, settings.slack_api_url)
    files = await stack.enter_async_context(fetching)
    return Ground(*pools, book, slack, runtime, budgets, files)


async def _pools(stack: AsyncExitStack, dsn: str) -> tuple[Pool, Pool, Pool, Pool]:
    """For accepts, for the work, for leases, and for permits.

    Permits that a crash forgets are those of a moment; their rows are hot, and no lock of theirs waits
    for the disk.
    """
    return (
        await open_pool(stack, dsn, _ACK_CONNECTIONS),
        await open_pool(stack, dsn, _WORK_CONNECTIONS),
        await open_pool(stack, dsn, _LEASE_CONNECTIONS),
        await open_pool(stack, dsn, _PERMIT_CONNECTIONS, durable=False),
    )


async def open_pool(
    stack: AsyncExitStack, dsn: str, size: int, *, durable: bool = True, planned_once: bool = True
) -> Pool:
    """Connections of their own, until the stack is closed."""
    pool = await database.open_pool(dsn, size=size, durable=durable, planned_once=planned_once)
    stack.push_async_callback(database.close_pool, pool)
    return pool


def _runtime(settings: Settings, timing: Timing, pool: Pool) -> Runtime:
    key = settings.anthropic_api_key
    api_key, base_url = key.get_secret_value() if key else "none", settings.anthropic_base_url
    return Runtime(
        api_key=api_key,
        base_url=base_url,
        budget=Budget(
            pool,
            api_key=api_key,
            base_url=base_url,
            allowed={
                "read": settings.threadline_runtime_reads,
                "create": settings.threadline_runtime_creates,
            },
        ),
        max_streams=settings.threadline_live_turns + MOST_UPSTREAMS + 10,
        # a send must be over before the lease is, with room for a renewal
        deadline=min(_MOST_SEND_SECONDS, timing.lease / 2),
    )
