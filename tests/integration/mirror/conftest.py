"""A chDB for the tests of this folder: a process has one at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capture_svc.store.connect import ClickHouse, parse_dsn
from capture_svc.store.migrate import migrate


@contextmanager
def empty_clickhouse(directory: Path) -> Iterator[ClickHouse]:
    """Open an empty store, migrated, for the time of the block."""
    found = ClickHouse(parse_dsn(f"chdb://{directory}"))
    asyncio.run(migrate(found))
    yield found
    asyncio.run(found.close())


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """Return a store for a module."""
    with empty_clickhouse(tmp_path_factory.mktemp("chdb")) as found:
        yield found
