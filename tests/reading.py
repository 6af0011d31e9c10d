"""Rows in the reading without the way that leads there: for tests of what is asked of it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from analytics_svc.store import rollups
from analytics_svc.store.clickhouse import MIGRATIONS
from analytics_svc.store.connect import open_client
from svc_runtime.clickhouse import Dsn, parse_dsn
from svc_runtime.clickhouse_migrations import statements
from svc_runtime.migrations import read_migrations

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

ACME = "org_acmecorp"
OTHER = "org_other"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""
_DEFAULTS: dict[str, Any] = {
    "organization_id": ACME,
    "event_time": NOON,
    "event_type": "click",
    "route": "in",
    "device_type": "desktop",
    "traffic_rule": "tagged",
    "enrichment_version": 1,
}


@contextmanager
def reading(directory: Path, database: str = "analytics") -> Iterator[tuple[Dsn, "Client"]]:
    """Make an empty reading in an embedded engine; one at a time in a process has a directory."""
    dsn = parse_dsn(f"chdb://{directory}", default_database=database)
    client = open_client(parse_dsn(f"chdb://{directory}", default_database="default"))
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    client.close()
    client = open_client(dsn)
    try:
        for migration in read_migrations(MIGRATIONS):
            for statement in statements(migration.sql):
                client.command(statement)
        yield dsn, client
    finally:
        client.close()


def insert_events(client: "Client", rows: Iterable[Mapping[str, Any]], *, counts: bool = True) -> list[UUID]:
    """Insert events, each with what it says and plain defaults; return their ids. ``counts``: the roll-ups too."""
    given = [{"event_id": uuid4(), **_DEFAULTS, **row} for row in rows]
    for row in given:
        if row.get("value") is not None:
            row["value"] = Decimal(str(row["value"]))
            row.setdefault("currency", "USD")
    names = sorted({name for row in given for name in row})
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in given:
        groups.setdefault(tuple(name for name in names if name in row), []).append(row)
    client.command("CREATE TABLE IF NOT EXISTS inserted AS events ENGINE = Memory")
    client.command("TRUNCATE TABLE inserted")
    for columns, group in groups.items():
        client.insert("inserted", [[row[name] for name in columns] for row in group], column_names=list(columns))
    client.command("INSERT INTO events SELECT * FROM inserted")
    if counts:
        rollups.add(client, "inserted")
    client.command("DROP TABLE inserted")
    return [row["event_id"] for row in given]
