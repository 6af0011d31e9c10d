"""A chDB for the tests of this folder: a process has one at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capture_svc.store.clickhouse import MIGRATIONS
from capture_svc.store.connect import connect
from svc_runtime.clickhouse import ClickHouse, parse_dsn
from svc_runtime.clickhouse_migrations import migrate


@contextmanager
def empty_clickhouse(directory: Path) -> Iterator[ClickHouse]:
    """Open an empty store, migrated, for the time of the block."""
    found = connect(parse_dsn(f"chdb://{directory}", default_database="capture"))
    asyncio.run(migrate(found, MIGRATIONS))
    yield found
    asyncio.run(found.close())


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """Return a store for a module."""
    with empty_clickhouse(tmp_path_factory.mktemp("chdb")) as found:
        yield found
