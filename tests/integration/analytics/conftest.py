"""One embedded ClickHouse per module: a process can have one directory open at a time."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analytics_svc.store.connect import open_client
from analytics_svc.store.dsn import Dsn

_numbers = itertools.count()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep an engine open in a directory of its own."""
    directory = tmp_path_factory.mktemp("clickhouse")
    client = open_client(Dsn("default", {"interface": "chdb", "path": str(directory)}, {}))
    yield directory
    client.close()


@pytest.fixture
def make_dsn(engine: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Dsn]:
    """Return how to get a database that nobody else has."""
    monkeypatch.chdir(engine)  # where it keeps protobuf schemas
    return lambda: Dsn(f"test_{next(_numbers)}", {"interface": "chdb", "path": str(engine)}, {})
