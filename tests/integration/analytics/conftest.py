"""One embedded ClickHouse per module: a process can have one directory open at a time."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analytics_svc.store.connect import open_client
from svc_runtime.clickhouse import Dsn, parse_dsn

_numbers = itertools.count()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep an engine open in a directory of its own."""
    directory = tmp_path_factory.mktemp("clickhouse")
    client = open_client(parse_dsn(f"chdb://{directory}", default_database="default"))
    yield directory
    client.close()


@pytest.fixture
def make_dsn(engine: Path) -> Callable[[], Dsn]:
    """Return how to get a database that nobody else has."""
    return lambda: parse_dsn(f"chdb://{engine}", default_database=f"test_{next(_numbers)}")
