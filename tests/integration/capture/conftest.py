"""ClickHouse for tests: one embedded engine per process, a database of its own for every test."""

import contextlib
import itertools
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from capture_svc.assembly import Stores
from capture_svc.store.clickhouse import MIGRATIONS, ClickHouseEventStore
from capture_svc.store.connect import connect, open_client
from capture_svc.store.journals import ClickHouseJournalWordStore
from capture_svc.store.quarantine import ClickHouseQuarantineStore
from capture_svc.store.receipts import ClickHouseReceiptStore
from svc_runtime.clickhouse import Dsn, parse_dsn
from svc_runtime.clickhouse_migrations import migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep an embedded engine open for the tests of a module: a process has one at a time."""
    directory = tmp_path_factory.mktemp("clickhouse")
    client = open_client(parse_dsn(f"chdb://{directory}", default_database="default"))
    yield directory
    client.close()


@pytest.fixture
def dsn(engine: Path) -> Dsn:
    """Return the DSN of a database that nobody has used."""
    return parse_dsn(f"chdb://{engine}?database=test_{next(_numbers)}", default_database="capture")


@contextlib.asynccontextmanager
async def opened(dsn: Dsn, *, is_shared: bool = False) -> AsyncIterator[Stores]:
    """Open the stores of a replica, migrated."""
    writer = connect(dsn, thread_count=2, name="write")
    reader = connect(dsn, thread_count=2, name="read", settings={"max_execution_time": "20"})
    try:
        await migrate(writer, MIGRATIONS)
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


class HttpServer:
    """A ClickHouse server, as far as its HTTP interface goes, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "tests.integration.capture.http_front", str(self.port), str(self._directory)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def fail(self, kind: str) -> None:
        """Make it fail on purpose; ``none`` makes it well."""
        url = f"http://127.0.0.1:{self.port}/fault?kind={kind}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()

    def dsn(self, database: str, *, password: str = "s3cret") -> Dsn:
        """Return the DSN of a database."""
        return parse_dsn(
            f"clickhouse://trellis:{password}@127.0.0.1:{self.port}/{database}", default_database="capture"
        )


@pytest.fixture(scope="module")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """Run a server for the tests of a module."""
    server = HttpServer(tmp_path_factory.mktemp("http-clickhouse"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def http_dsn(http_server: HttpServer) -> Dsn:
    """Return the DSN of a database on the server that nobody has used."""
    return http_server.dsn(f"test_{next(_numbers)}")
