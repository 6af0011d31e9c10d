"""Connections to ClickHouse: the engine in this process (chDB) or a server. The DSN decides; the code path is one."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from capture_svc.store import ContentRefusedError
from capture_svc.store.error_codes import CONTENT_NAMES, NAMELESS, Verdict, verdict
from capture_svc.store.schema import file_settings, inline_settings
from svc_runtime.errors import DeadlineExceededError, UnavailableError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DEFAULT_DATABASE = "capture"
_CONNECT_SECONDS = 5
_STATEMENT_SECONDS = 30
# An insert is over when it is on disk. Times come and go as numbers of milliseconds or in UTC.
_SETTINGS = {"async_insert": "0", "wait_end_of_query": "1", "session_timezone": "UTC"}
_SPOOL_SECONDS = 300
_CLIENT_OPTIONS = frozenset({"ca_cert", "client_cert", "client_cert_key", "server_host_name", "verify"})
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


def parse_dsn(text: str) -> Dsn:
    """Read ``chdb:///directory?database=name`` or ``clickhouse[s]://user:password@host:port/database?option=value``.

    The database is ``capture`` unless named. ``clickhouses`` is TLS; ``ca_cert``, ``client_cert``,
    ``client_cert_key``, ``server_host_name`` and ``verify`` are the client's options, any other option is a ClickHouse
    setting. Raise ValueError, without the text, for anything else.
    """
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("chdb:// needs an absolute path: chdb:///var/lib/trellis/capture")
        return Dsn(
            is_embedded=True,
            database=options.pop("database", DEFAULT_DATABASE),
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
        database=unquote(parts.path.strip("/")) or DEFAULT_DATABASE,
        client=tuple(client.items()),
        settings=tuple((name, value) for name, value in options.items() if name not in _CLIENT_OPTIONS),
    )


class ClickHouse:
    """A few worker threads, each with a client of its own: the event loop never waits for ClickHouse."""

    def __init__(
        self, dsn: Dsn, *, thread_count: int = 2, name: str = "clickhouse", settings: Mapping[str, str] | None = None
    ) -> None:
        self.dsn = dsn
        self._settings = dict(settings or {})
        self._pool = ThreadPoolExecutor(thread_count, thread_name_prefix=name)
        self._local = threading.local()
        self._clients: list[Client] = []

    async def run(self, work: "Callable[[Client], _T]") -> _T:
        """Run ``work`` with a client in a worker thread.

        A cancelled caller leaves at once; the statement itself goes on to its end.
        Errors: ContentRefusedError (the rows cannot be stored), DeadlineExceededError (over the statement's own time),
        UnavailableError (anything else that may pass).
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    async def run_apart(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` in a worker thread without a client. Errors as in ``run``."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _translated, work)

    def _work(self, work: "Callable[[Client], _T]") -> _T:
        return _translated(lambda: work(self._client()))

    def _client(self) -> "Client":
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = open_client(self.dsn, settings=self._settings)
            self._clients.append(client)
        return client

    async def close(self) -> None:
        """Wait for what runs, then close the clients; the last one closes an embedded engine."""
        await asyncio.to_thread(self._pool.shutdown)
        for client in self._clients:
            await asyncio.to_thread(client.close)
        self._clients.clear()


def _translated(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except (ClickHouseError, OSError, RuntimeError) as error:
        raise translate(error) from None  # the driver's text quotes rows: it must not travel as a cause


def open_client(dsn: Dsn, *, database: str | None = None, settings: Mapping[str, str] | None = None) -> "Client":
    """Open a client. ``database`` overrides the DSN's; it must exist. Blocks; raises the driver's errors."""
    settings = {**_SETTINGS, **(settings or {}), **dict(dsn.settings)}
    if dsn.is_embedded:
        Path(dsn.path).mkdir(parents=True, exist_ok=True, mode=0o700)
        return clickhouse_connect.get_client(
            interface="chdb",
            path=dsn.path,
            database=database or dsn.database,
            settings=file_settings(Path(dsn.path) / "format_schemas") | settings,
        )
    return clickhouse_connect.get_client(
        **dict(dsn.client),
        database=database or dsn.database,
        settings=inline_settings() | settings,
        connect_timeout=_CONNECT_SECONDS,
        send_receive_timeout=_STATEMENT_SECONDS,
        query_retries=0,
        autogenerate_session_id=False,
        client_name="trellis-capture",
    )


def use_spool(dsn: Dsn) -> None:
    """Let the driver write what it hands to an embedded engine beside the engine's data, for this whole process.

    It would use the system's directory for temporary files, which may be small, and where a killed process leaves a
    file for good. Here it is removed by the next one.
    """
    directory = Path(dsn.path) / "spool"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in directory.iterdir():
        if time.time() - file.stat().st_mtime > _SPOOL_SECONDS:
            file.unlink(missing_ok=True)
    tempfile.tempdir = str(directory)


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


def translate(error: Exception) -> Exception:
    """Turn a driver's error into ours, by its code; its text is left behind."""
    code = error.code if isinstance(error, Error) else None
    if code is None and isinstance(error.__cause__ or error.__context__, UnicodeDecodeError):
        return ContentRefusedError(NAMELESS)
    match verdict(code):
        case Verdict.CONTENT if code is not None:
            return ContentRefusedError(CONTENT_NAMES[code])
        case Verdict.TOO_SLOW:
            return DeadlineExceededError("ClickHouse did not answer in the time that a query may take")
        case _:
            what = f"code {code}" if code is not None else type(error).__name__
            return UnavailableError(f"the event store is not available ({what})")
