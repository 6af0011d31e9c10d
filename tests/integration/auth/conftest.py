"""One PostgreSQL server per session, a fresh database per test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for the whole session."""
    with running_postgres() as server:
        yield server


@pytest.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh, empty database."""
    name = await postgres.create_database()
    yield name
    await postgres.drop_database(name)
