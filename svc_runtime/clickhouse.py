"""ClickHouse for a service: the engine in its process (chDB) or a server. The DSN decides; the code path is one."""

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_CONNECT_SECONDS = 5
_CLIENT_OPTIONS = frozenset({"ca_cert", "client_cert", "client_cert_key", "server_host_name", "verify"})
# An insert is over when it is on disk. Times come and go as numbers of milliseconds or in UTC.
_SETTINGS = {"async_insert": "0", "wait_end_of_query": "1", "session_timezone": "UTC"}
_SPOOL_SECONDS = 300
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where ClickHouse is."""

    is_embedded: bool
    """True for chDB: one process at a time has it."""
    database: str
    """Our database."""
    path: str = ""
    """Directory of an embedded engine."""
    client: tuple[tuple[str, Any], ...] = ()
    """Arguments of a server's client. Holds the password."""
    settings: tuple[tuple[str, str], ...] = ()
    """ClickHouse settings that the DSN carries, for example ``insert_quorum=auto``."""

    def __repr__(self) -> str:
        """Leave out the password."""
        return f"Dsn(is_embedded={self.is_embedded}, database={self.database!r}, path={self.path!r})"


def parse_dsn(text: str, *, default_database: str) -> Dsn:
    """Read ``chdb:///directory?database=name`` or ``clickhouse[s]://user:password@host:port/database?option=value``.

    ``clickhouses`` is TLS; ``ca_cert``, ``client_cert``, ``client_cert_key``, ``server_host_name`` and ``verify`` are
    the client's options, any other option is a ClickHouse setting. Raise ValueError, without the text, for anything
    else.
    """
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError(f"chdb:// needs an absolute path: chdb:///var/lib/trellis/{default_database}")
        return Dsn(
            is_embedded=True,
            database=options.pop("database", default_database),
            path=unquote(parts.path).rstrip("/"),
            settings=tuple(options.items()),
        )
    if parts.scheme not in ("clickhouse", "clickhouses") or not parts.hostname:
        raise ValueError("not chdb:///directory or clickhouse[s]://user:password@host:port/database")
    is_tls = parts.scheme == "clickhouses"
    client = {
        "interface": "https" if is_tls else "http",
        "host": parts.hostname,
        "port": parts.port or (8443 if is_tls else 8123),
        "username": unquote(parts.username or "default"),
        "password": unquote(parts.password or ""),
        **{name: value for name, value in options.items() if name in _CLIENT_OPTIONS},
    }
    return Dsn(
        is_embedded=False,
        database=unquote(parts.path.strip("/")) or default_database,
        client=tuple(client.items()),
        settings=tuple((name, value) for name, value in options.items() if name not in _CLIENT_OPTIONS),
    )


def open_client(
    dsn: Dsn, *, name: str = "trellis", settings: Mapping[str, str] | None = None, statement_seconds: int = 30
) -> "Client":
    """Open a client; the DSN's database must exist. Blocks; raises the driver's errors.

    A server sees ``name``, and the DSN's own settings go before ``settings``.
    """
    settings = {**_SETTINGS, **(settings or {}), **dict(dsn.settings)}
    if dsn.is_embedded:
        Path(dsn.path).mkdir(parents=True, exist_ok=True, mode=0o700)
        return clickhouse_connect.get_client(interface="chdb", path=dsn.path, database=dsn.database, settings=settings)
    return clickhouse_connect.get_client(
        **dict(dsn.client),
        database=dsn.database,
        settings=settings,
        connect_timeout=_CONNECT_SECONDS,
        send_receive_timeout=statement_seconds,
        query_retries=0,
        autogenerate_session_id=False,
        client_name=name,
    )


def use_spool(dsn: Dsn) -> None:
    """Let the driver write what it hands to an embedded engine beside the engine's data, for this whole process.

    It would use the system's directory for temporary files, which may be small, and where a killed process leaves a
    file for good. Here it is removed by the next one. A server's DSN changes nothing.
    """
    if not dsn.is_embedded:
        return
    directory = Path(dsn.path) / "spool"
    # A parent that `mkdir` makes on the way would be for everybody.
    for private in (directory.parent, directory):
        private.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in directory.iterdir():
        if time.time() - file.stat().st_mtime > _SPOOL_SECONDS:
            file.unlink(missing_ok=True)
    tempfile.tempdir = str(directory)


class ClickHouse:
    """A few worker threads, each with a client of its own: the event loop never waits for ClickHouse.

    The service gives ``open_client``, which opens a client with its settings, and ``translate``, which turns an error
    of the driver into one of ours.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        open_client: "Callable[[Dsn], Client]",
        translate: Callable[[Exception], Exception],
        thread_count: int = 1,
        name: str = "clickhouse",
    ) -> None:
        self.dsn = dsn
        self._open_client = open_client
        self._translate = translate
        self._pool = ThreadPoolExecutor(thread_count, thread_name_prefix=name)
        self._local = threading.local()
        self._clients: list[Client] = []

    async def run(self, work: "Callable[[Client], _T]") -> _T:
        """Run ``work`` with a client in a worker thread.

        A cancelled caller leaves at once; the work itself goes on to its end. Errors are what ``translate`` makes of
        the driver's.
        """
        return await self.run_apart(lambda: work(self._client()))

    async def run_apart(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` in a worker thread without a client. Errors as in ``run``."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._translated, work)

    def open_client(self, database: str) -> "Client":
        """Open one more client, in any database, for the caller to close. Blocks; raises the driver's errors."""
        return self._open_client(replace(self.dsn, database=database))

    def _client(self) -> "Client":
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._open_client(self.dsn)
            self._clients.append(client)
        return client

    def _translated(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (ClickHouseError, OSError, RuntimeError) as error:
            self._discard()
            # The driver's text quotes rows: it must not travel as a cause.
            raise self._translate(error) from None

    def _discard(self) -> None:
        """Give up this thread's client after a failure.

        What an embedded engine had written of a failed answer comes in front of that client's next one.
        """
        client: Client | None = getattr(self._local, "client", None)
        if client is not None:
            self._local.client = None
            self._clients.remove(client)
            with contextlib.suppress(ClickHouseError, OSError, RuntimeError):
                client.close()

    async def close(self) -> None:
        """Wait for what runs, then close the clients; the last one closes an embedded engine."""
        await asyncio.to_thread(self._pool.shutdown)
        for client in self._clients:
            await asyncio.to_thread(client.close)
        self._clients.clear()


async def select(clickhouse: ClickHouse, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
    """Return the rows of a query; ``values`` are bound to its ``{name:Type}`` places. Strings come as text."""

    def work(client: "Client") -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = client.query(sql, parameters=dict(values or {})).result_rows
        return rows

    return await clickhouse.run(work)


async def insert_rows(
    clickhouse: ClickHouse, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]], *, token: str = ""
) -> None:
    """Insert rows as one block; ``columns`` gives the types by name. Under a ``token`` once only."""

    def work(client: "Client") -> None:
        client.insert(
            table,
            rows,
            column_names=list(columns),
            column_type_names=list(columns.values()),
            settings={"insert_deduplication_token": token} if token else None,
        )

    await clickhouse.run(work)


def error_code(error: Exception) -> int | None:
    """Return ClickHouse's code of a driver's error; None when the error is not ClickHouse's own."""
    return error.code if isinstance(error, Error) else None


def what_failed(error: Exception) -> str:
    """Name a driver's error by its code or its class: its text quotes rows and is not for others."""
    code = error_code(error)
    return f"code {code}" if code is not None else type(error).__name__
