"""Applies the migrations of ``migrations/``: numbered, forward only.

ClickHouse has no transactions, so every statement is one that may run again: a crash half-way, or two replicas that
start together, do no harm.
"""

from datetime import UTC, datetime
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from capture_svc.store.connect import ClickHouse, Dsn, insert_rows, open_client, select
from capture_svc.store.error_codes import UNKNOWN_DATABASE
from svc_runtime.logs import get_logger
from svc_runtime.migrations import Migration, read_migrations, what_is_missing

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

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


async def migrate(clickhouse: ClickHouse, *, cluster: str = "") -> list[str]:
    """Create the database and apply what is missing; return the names applied now, in order.

    ``cluster`` names the cluster on which every statement runs and whose tables are replicated; empty: one server.
    Raise MigrationError when an applied file has changed, UnavailableError while ClickHouse is down.
    """
    await clickhouse.run_apart(lambda: create_database(clickhouse.dsn, cluster))
    await _run(clickhouse, _TABLE, cluster)
    rows = await select(clickhouse, "SELECT DISTINCT version, name, checksum FROM schema_migrations ORDER BY version")
    applied = {row[0]: (row[1], row[2]) for row in rows}
    migrations = read_migrations(resources.files("capture_svc.store") / "migrations")
    missing = what_is_missing(migrations, applied)
    for migration in missing:
        await _apply(clickhouse, migration, cluster)
    return [migration.name for migration in missing]


async def _apply(clickhouse: ClickHouse, migration: Migration, cluster: str) -> None:
    for statement in statements(migration.sql):
        await _run(clickhouse, statement, cluster)
    row = [migration.version, migration.name, migration.checksum, datetime.now(UTC)]
    await insert_rows(clickhouse, "schema_migrations", _COLUMNS, [row])
    _log.info("migration applied", migration=migration.name)


def statements(sql: str) -> list[str]:
    """Return the statements of a file; each ends with a semicolon at the end of a line."""
    return [statement for part in f"{sql}\n".split(";\n") if (statement := part.strip())]


async def _run(clickhouse: ClickHouse, statement: str, cluster: str) -> None:
    text = for_cluster(statement, cluster)

    def work(client: "Client") -> None:
        client.command(text)

    await clickhouse.run(work)


def for_cluster(statement: str, cluster: str) -> str:
    """Fill in what differs between one server and a cluster of replicas."""
    quoted = cluster.replace("\\", "\\\\").replace("'", "\\'")
    return Template(statement).substitute(
        on_cluster=f"ON CLUSTER '{quoted}'" if cluster else "", replicated="Replicated" if cluster else ""
    )


def create_database(dsn: Dsn, cluster: str) -> None:
    """Create our database unless we see it. Blocks; raises the driver's errors."""
    try:
        open_client(dsn).close()
    except ClickHouseError as error:
        if not isinstance(error, Error) or error.code != UNKNOWN_DATABASE:
            raise
        client = open_client(dsn, database="default")
        name = dsn.database.replace("`", "\\`")
        client.command(for_cluster(f"CREATE DATABASE IF NOT EXISTS `{name}` ${{on_cluster}}", cluster))
        client.close()
