"""One embedded engine per module: a process can have one directory open at a time."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from svc_runtime.clickhouse import Dsn
from tests.integration.analytics_sql.service import Service, serving, temporary_files
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where answers wait to be given out."""
    directory = tmp_path_factory.mktemp("spool")
    with temporary_files(directory):
        yield directory


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Dsn, Client]]":
    """An empty reading."""
    with reading(tmp_path_factory.mktemp("clickhouse")) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(engine: "tuple[Dsn, Client]", spool: Path) -> AsyncIterator[Service]:
    """The service over it."""
    async with serving(*engine) as running:
        yield running
