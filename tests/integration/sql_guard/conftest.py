"""One embedded engine per module: a process can have one directory open at a time."""

from collections.abc import Iterator

import pytest

from tests.integration.sql_guard.warehouse import Warehouse, opened


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Keep both warehouses open for the tests of a module."""
    with opened(tmp_path_factory.mktemp("clickhouse")) as opened_warehouse:
        yield opened_warehouse
