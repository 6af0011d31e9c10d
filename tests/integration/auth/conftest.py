"""One PostgreSQL server per session, an empty database per test, and servers that a test may stop."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for the whole session, which nobody stops in between."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def databases() -> list[str]:
    """DSNs of empty databases that earlier tests have left: a new one takes longer than most tests."""
    return []


@pytest.fixture
async def dsn(postgres: PostgresServer, databases: list[str]) -> AsyncIterator[str]:
    """An empty database for one test."""
    mine = databases.pop() if databases else await postgres.create_database()
    yield mine
    await postgres.empty_database(mine)
    databases.append(mine)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server for one test, which may stop it."""
    with running_postgres() as server:
        yield server
