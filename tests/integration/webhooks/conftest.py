"""Webhooks on a PostgreSQL server that all of these tests share, each in a database of its own."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from attribution_svc.store.delivery_queue import PostgresDeliveryQueue
from attribution_svc.store.postgres import PostgresCampaignStore
from attribution_svc.store.webhooks import PostgresWebhookStore
from attribution_svc.webhooks.change import Change, Conversion
from svc_runtime.postgres import Database
from tests.postgres import PostgresServer, running_postgres

_WRITE = """
INSERT INTO conversion_changes (organization_id, change_id, conversion_id, kind, before, after, change_time)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
WriteLog = Callable[[Sequence[Change]], Awaitable[None]]


@pytest.fixture(scope="package")
def postgres() -> Iterator[PostgresServer]:
    """Run a server."""
    with running_postgres() as server:
        yield server


@pytest.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """Make a database for one test."""
    dsn = await postgres.create_database()
    yield dsn
    await postgres.drop_database(dsn)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """Migrate it."""
    async with PostgresCampaignStore.open(dsn) as store:
        yield store.database


@pytest.fixture
def store(database: Database) -> PostgresWebhookStore:
    """The webhooks in it."""
    return PostgresWebhookStore(database)


@pytest.fixture
def queue(database: Database) -> PostgresDeliveryQueue:
    """The queue in it."""
    return PostgresDeliveryQueue(database)


@pytest.fixture
def log(database: Database) -> WriteLog:
    """Write changes as the conversions' store does."""

    async def write(changes: Sequence[Change]) -> None:
        rows = [
            (
                change.organization_id,
                change.change_id,
                change.conversion.conversion_id,
                change.kind.value.removeprefix("conversion."),
                None if change.previous is None else as_logged(change.previous),
                as_logged(change.conversion),
                change.change_time,
            )
            for change in changes
        ]
        async with database.connection() as connection:
            await connection.executemany(_WRITE, rows)

    return write


def as_logged(conversion: Conversion) -> str:
    """Return a conversion as the log has it."""
    values: dict[str, Any] = {known.name: getattr(conversion, known.name) for known in fields(Conversion)}
    return json.dumps({k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()})
