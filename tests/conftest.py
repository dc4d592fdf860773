"""A PostgreSQL for the whole run, and a fresh migrated database for each test that asks for one."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate
from tests import as_tenant
from tests.databases import Databases, database_named, execute

# What configures a real Threadline, or leads a client away from this machine, may not reach a test.
_FOREIGN = {
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "DATABASE_URL",
    "HOST",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "PORT",
    "SLACK_API_URL",
    "SLACK_APP_TOKEN",
    "SLACK_AUTHORIZE_URL",
    "SLACK_BOT_TOKEN",
    "SLACK_CLIENT_ID",
    "SLACK_CLIENT_SECRET",
    "SLACK_SIGNING_SECRET",
    "SUPABASE_JWT_SECRET",
    "SUPABASE_URL",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
}

# No example is too slow: any of them may meet a machine that stands still for seconds.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# For `make test`, each of whose runs draws other examples; `make test-long` draws the usual hundred.
settings.register_profile("quick", settings.get_profile("patient"), max_examples=35)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--as-tenant", action="store_true", help="run tests/flows as threadline_tenant"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "as_tenant: as threadline_tenant, with --as-tenant or not")
    config.addinivalue_line("markers", "as_login(why): never as threadline_tenant")
    for name in list(os.environ):
        if name.upper() in _FOREIGN or name.startswith("THREADLINE_"):
            del os.environ[name]


class _OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist says nothing of its types
    """One test after another to whoever is free, so that no worker is left with a long line.

    The tests of plans go to one worker: to fill the database that they share takes long. (`--dist
    loadgroup` finds no group with pytest 9.2, which keeps a test's id to itself.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return "plans" if nodeid.startswith("tests/store/test_plans") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _OneByOne(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A server of this worker's own, or the one that TEST_DATABASE_URL names."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    # The server's life spans the loops of all tests, so it has one of its own.
    with temporary_data_dir() as folder, asyncio.Runner(loop_factory=asyncio.new_event_loop) as own:
        stack = AsyncExitStack()
        server = embedded_postgres(folder, durable=False)
        yield own.run(stack.enter_async_context(server)).dsn
        own.run(stack.aclose())


@pytest.fixture(scope="session")
def template(postgres_dsn: str, pytestconfig: pytest.Config) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    name = f"template_{uuid4().hex}"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as own:
        own.run(execute(postgres_dsn, f"CREATE DATABASE {name}"))
        own.run(migrate(database_named(postgres_dsn, name)))
        if pytestconfig.getoption("--as-tenant"):
            own.run(as_tenant.grant(database_named(postgres_dsn, name)))
        yield name
        own.run(execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def empty_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """A database without any table, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    await execute(postgres_dsn, f"CREATE DATABASE {name}")
    yield database_named(postgres_dsn, name)
    await execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def databases(postgres_dsn: str, template: str) -> Iterator[Databases]:
    """Where the databases of single tests come from."""
    made = Databases(postgres_dsn, template)
    yield made
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as own:
        own.run(made.close())


@pytest.fixture
async def dsn(postgres_dsn: str, databases: Databases) -> AsyncIterator[str]:
    """A migrated database for this test alone, without any rows."""
    name = await databases.take()
    yield database_named(postgres_dsn, name)
    await databases.give_back(name)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A plain connection to this test's database."""
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()
