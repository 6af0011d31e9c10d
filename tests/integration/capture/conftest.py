"""ClickHouse for tests: one embedded engine per process, a database of its own for every test."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from capture_svc.assembly import Stores
from capture_svc.store.clickhouse import ClickHouseEventStore
from capture_svc.store.connect import ClickHouse, Dsn, open_client, parse_dsn
from capture_svc.store.journals import ClickHouseJournalWordStore
from capture_svc.store.migrate import migrate
from capture_svc.store.quarantine import ClickHouseQuarantineStore
from capture_svc.store.receipts import ClickHouseReceiptStore

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep an embedded engine open for the tests of a module: a process has one at a time."""
    directory = tmp_path_factory.mktemp("clickhouse")
    client = open_client(parse_dsn(f"chdb://{directory}"), database="default")
    yield directory
    client.close()


@pytest.fixture
def dsn(engine: Path) -> Dsn:
    """Return the DSN of a database that nobody has used."""
    return parse_dsn(f"chdb://{engine}?database=test_{next(_numbers)}")


@contextlib.asynccontextmanager
async def opened(dsn: Dsn, *, is_shared: bool = False) -> AsyncIterator[Stores]:
    """Open the stores of a replica, migrated."""
    writer = ClickHouse(dsn, thread_count=2, name="write")
    reader = ClickHouse(dsn, thread_count=2, name="read", settings={"max_execution_time": "20"})
    try:
        await migrate(writer)
        yield Stores(
            ClickHouseEventStore(writer, reader),
            ClickHouseReceiptStore(writer, reader),
            ClickHouseQuarantineStore(writer, reader),
            ClickHouseJournalWordStore(reader),
            is_shared=is_shared,
        )
    finally:
        await writer.close()
        await reader.close()


@pytest.fixture
def open_stores(dsn: Dsn) -> Callable[[], contextlib.AbstractAsyncContextManager[Stores]]:
    """Return how to open the stores of this test's database, also again."""
    return lambda: opened(dsn)


@pytest.fixture
async def stores(dsn: Dsn) -> AsyncIterator[Stores]:
    """Open stores on an empty database."""
    async with opened(dsn) as found:
        yield found
