"""Numbered, forward-only migrations of a ClickHouse database, applied at start by whichever replica misses them.

A directory holds ``NNNN_name.sql`` files as in ``svc_runtime.migrations``. ClickHouse has no transactions, so every
statement is one that may run again: a crash half-way, or two replicas that start together, do no harm.
"""

import contextlib
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError

from svc_runtime.clickhouse import ClickHouse, error_code, insert_rows, select
from svc_runtime.logs import get_logger
from svc_runtime.migrations import Migration, read_migrations, what_is_missing

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_UNKNOWN_DATABASE = 81
_COLUMNS = {"version": "UInt32", "name": "String", "checksum": "String", "apply_time": "DateTime64(3, 'UTC')"}
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations ${on_cluster}
(
    version    UInt32,
    name       String,
    checksum   String,
    apply_time DateTime64(3, 'UTC')
)
ENGINE = ${replicated}MergeTree
ORDER BY version
"""
_log = get_logger(__name__)


async def migrate(clickhouse: ClickHouse, directory: Traversable | Path, *, cluster: str = "") -> list[str]:
    """Create the database and apply what is missing; return the names applied now, in order.

    ``cluster`` names the cluster on which every statement runs and whose tables are replicated; empty: one server.
    Raise MigrationError when an applied file has changed, and what ``clickhouse`` raises while ClickHouse is down.
    """
    migrations = read_migrations(directory)
    await clickhouse.run_apart(lambda: _create_database(clickhouse, cluster))
    await _run(clickhouse, _TABLE, cluster)
    rows = await select(clickhouse, "SELECT DISTINCT version, name, checksum FROM schema_migrations ORDER BY version")
    missing = what_is_missing(migrations, {row[0]: (row[1], row[2]) for row in rows})
    for migration in missing:
        await _apply(clickhouse, migration, cluster)
    return [migration.name for migration in missing]


def statements(sql: str) -> list[str]:
    """Return the statements of a file; each ends with a semicolon at the end of a line, or with the file."""
    return [statement for part in f"{sql}\n".split(";\n") if (statement := part.strip())]


def for_cluster(statement: str, cluster: str) -> str:
    """Fill in what differs between one server and a cluster of replicas."""
    quoted = cluster.replace("\\", "\\\\").replace("'", "\\'")
    return Template(statement).substitute(
        on_cluster=f"ON CLUSTER '{quoted}'" if cluster else "", replicated="Replicated" if cluster else ""
    )


async def _apply(clickhouse: ClickHouse, migration: Migration, cluster: str) -> None:
    for statement in statements(migration.sql):
        await _run(clickhouse, statement, cluster)
    row = [migration.version, migration.name, migration.checksum, datetime.now(UTC)]
    await insert_rows(clickhouse, "schema_migrations", _COLUMNS, [row])
    _log.info("migration applied", migration=migration.name)


async def _run(clickhouse: ClickHouse, statement: str, cluster: str) -> None:
    text = for_cluster(statement, cluster)

    def work(client: "Client") -> None:
        client.command(text)

    await clickhouse.run(work)


def _create_database(clickhouse: ClickHouse, cluster: str) -> None:
    """Create the database unless we see it: not every user of a server may create one, even one that exists."""
    database = clickhouse.dsn.database
    try:
        clickhouse.open_client(database).close()
    except ClickHouseError as error:
        if error_code(error) != _UNKNOWN_DATABASE:
            raise
        name = database.replace("`", "\\`")
        with contextlib.closing(clickhouse.open_client("default")) as client:
            client.command(f"CREATE DATABASE IF NOT EXISTS `{name}` " + for_cluster("${on_cluster}", cluster))
