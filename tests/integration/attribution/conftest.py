"""One PostgreSQL server for all of them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a server that nobody stops in between."""
    with running_postgres() as server:
        yield server


@pytest.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """Make a database for one test."""
    dsn = await postgres.create_database()
    yield dsn
    await postgres.drop_database(dsn)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Run a server for one test, which may stop it."""
    with running_postgres() as server:
        yield server
