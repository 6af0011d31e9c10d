"""PostgreSQL for a service: a pool with time limits, one error for "not reachable now", migrations at start, LISTEN."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger
from svc_runtime.migrations import migrate

Connection: TypeAlias = "asyncpg.Connection[Any] | PoolConnectionProxy[Any]"
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]

CONNECT_SECONDS = 3.0
CLOSE_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 5.0
LEAD_SECONDS = 1.0
"""How often those who wait look whether they may lead, and who leads whether it does still."""

# By class of SQLSTATE: connection failures, refused authentication, no such database, rolled back by the engine (a
# deadlock for example), out of resources, stopped by the operator (a statement's time limit too), a failing system.
_UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "40", "53", "57", "58"})
# A lock not had in time; a server that only reads, as one does while it takes over.
_UNAVAILABLE_STATES = frozenset({"55P03", "25006"})
_log = get_logger(__name__)


class Listener:
    """Notifications of one channel, on a connection of their own."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection
        self._woken = asyncio.Event()

    def wake(self, *_details: object) -> None:
        """Make ``wait`` return."""
        self._woken.set()

    async def wait(self, longest_seconds: float) -> None:
        """Return when something was notified since the last call, and after ``longest_seconds`` at the latest.

        Raise UnavailableError when the connection is gone.
        """
        try:
            async with asyncio.timeout(longest_seconds):
                await self._woken.wait()
        except TimeoutError:
            with unavailable_when_gone():
                await self._connection.execute("SELECT 1")
        self._woken.clear()
        if self._connection.is_closed():
            raise UnavailableError("the store has closed the connection")


class Lead:
    """That this process, and no other, does something; for as long as a connection lives."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection

    async def lost(self) -> None:
        """Raise UnavailableError when it is over; never return. Another process may lead some seconds before."""
        while True:
            await asyncio.sleep(LEAD_SECONDS)
            with unavailable_when_gone():
                await self._connection.execute("SELECT 1")


class Database:
    """One PostgreSQL database. Every method raises UnavailableError when the server is not reachable or too slow.

    Connections are opened when they are needed, so a server that was away is found again by itself.
    """

    def __init__(self, dsn: str, pool: "asyncpg.Pool[Any]", command_seconds: float) -> None:
        self._dsn = dsn
        self._pool = pool
        self._command_seconds = command_seconds

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        dsn: str,
        *,
        application_name: str,
        migrations: Traversable | Path,
        lock_id: int,
        pool_size: int = 10,
        command_seconds: float = 5.0,
    ) -> AsyncIterator[Self]:
        """Wait for the server, migrate the database, and hold a pool for the time of the block.

        A statement may take ``command_seconds``, and waiting for a connection too.
        """
        await _migrate_patiently(dsn, migrations, lock_id)
        milliseconds = str(round(command_seconds * 1000))
        pool = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=pool_size,
            timeout=CONNECT_SECONDS,
            command_timeout=command_seconds,
            max_inactive_connection_lifetime=60.0,
            server_settings={
                "application_name": application_name,
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
            },
        )
        await pool
        try:
            yield cls(dsn, pool, command_seconds)
        finally:
            # Out of time, the pool cuts its connections.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await pool.close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection outside any transaction."""
        with unavailable_when_gone():
            async with self._pool.acquire(timeout=self._command_seconds) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", is_read_only: bool = False
    ) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction, which commits at the end of the block unless it raises."""
        async with self.connection() as connection, connection.transaction(isolation=isolation, readonly=is_read_only):
            yield connection

    @contextlib.asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Listener]:
        """Be told of NOTIFY on ``channel``, of all that commits from here on."""
        with unavailable_when_gone():
            connection = await asyncpg.connect(
                self._dsn, timeout=CONNECT_SECONDS, command_timeout=self._command_seconds
            )
        try:
            listener = Listener(connection)
            with unavailable_when_gone():
                connection.add_termination_listener(listener.wake)
                await connection.add_listener(channel, listener.wake)
            yield listener
        finally:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def leading(self, lock_id: int) -> AsyncIterator[Lead]:
        """Wait until no other process leads by this number, and lead for the time of the block.

        What is done meanwhile must bear that, for seconds after a lost connection, two do it.
        """
        with unavailable_when_gone():
            connection = await asyncpg.connect(
                self._dsn, timeout=CONNECT_SECONDS, command_timeout=self._command_seconds
            )
        try:
            with unavailable_when_gone():
                while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock_id):  # noqa: ASYNC110 - the server's
                    await asyncio.sleep(LEAD_SECONDS)
            yield Lead(connection)
        finally:
            connection.terminate()


@contextlib.contextmanager
def unavailable_when_gone() -> Iterator[None]:
    """Turn the driver's "not reachable now" into UnavailableError; every other error stays what it is."""
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if not is_unavailable(error):
            raise
        _log.warning("the store did not answer", error=type(error).__name__, text=str(error))
        raise UnavailableError("the store is not reachable now; try again") from error


def is_unavailable(error: BaseException) -> bool:
    """Say whether the driver's error means that the server was not reachable, too slow, or took the work back."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES
    # Of a connection that has just gone the driver says so in several ways, with no code to tell them by.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError) and not isinstance(
        error, asyncpg.ClientConfigurationError
    )


async def _migrate_patiently(dsn: str, migrations: Traversable | Path, lock_id: int) -> None:
    delay = 0.1
    while True:
        try:
            with unavailable_when_gone():
                connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
                try:
                    await migrate(connection, migrations, lock_id)
                finally:
                    await connection.close(timeout=CLOSE_SECONDS)
        except UnavailableError:
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        else:
            return
