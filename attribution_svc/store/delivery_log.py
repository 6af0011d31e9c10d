"""Deliveries in PostgreSQL as people look at them, and what they do with those that have ended."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from attribution_svc.webhooks.attempt import DeliveryState, Failure, Outcome
from attribution_svc.webhooks.store import Attempt, Backlog, Delivery, DeliveryFilter, Position
from attribution_svc.webhooks.stored import change_from_json
from attribution_svc.webhooks.webhook import Webhook, no_such_delivery
from svc_runtime.errors import FailedPreconditionError
from svc_runtime.postgres import Connection, Database

MOST_AT_ONCE = 5_000
"""Rows that one statement of the sweep touches, and that are counted of one webhook: it must end in time."""
_COLUMNS = """d.organization_id, d.delivery_id, d.webhook_id, d.change, d.state, d.attempt_count, d.next_attempt_time,
    d.create_time, d.end_time"""
_INSERT_ATTEMPT = """
INSERT INTO webhook_attempts (organization_id, delivery_id, number, attempt_time, method, url, failure, status,
                              duration_ms, body, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""
_GET = f"""
SELECT {_COLUMNS} FROM webhook_deliveries d
WHERE d.organization_id = $1 AND d.webhook_id = $2 AND d.delivery_id = $3
"""  # noqa: S608 - the columns are ours
_ATTEMPTS = "SELECT * FROM webhook_attempts WHERE organization_id = $1 AND delivery_id = $2 ORDER BY number"
_FILTER = """d.organization_id = $1 AND d.webhook_id = $2
  AND ($3::text IS NULL OR d.state = $3) AND ($4::text IS NULL OR d.kind = $4)
  AND ($5::text IS NULL OR d.conversion_id = $5)
  AND d.create_time >= coalesce($6::timestamptz, '-infinity') AND d.create_time < coalesce($7::timestamptz, 'infinity')
"""
_LIST = f"""
SELECT {_COLUMNS} FROM webhook_deliveries d
WHERE {_FILTER} AND (d.create_time, d.delivery_id) < (coalesce($8::timestamptz, 'infinity'), coalesce($9::text, ''))
ORDER BY d.create_time DESC, d.delivery_id DESC LIMIT $10
"""  # noqa: S608 - as above
_AGAIN = """state = 'pending', tried_before = attempt_count, next_attempt_time = {now}, expire_time = {expiry},
    end_time = NULL"""
_REPLAY = f"""
UPDATE webhook_deliveries SET {_AGAIN.format(now="$4", expiry="$5")}
WHERE organization_id = $1 AND webhook_id = $2 AND delivery_id = $3 AND end_time IS NOT NULL
"""  # noqa: S608 - as above
_REPLAY_ALL = f"""
WITH picked AS (
    SELECT d.organization_id, d.delivery_id FROM webhook_deliveries d
    WHERE {_FILTER} AND d.end_time IS NOT NULL AND d.state = ANY($8)
    ORDER BY d.create_time, d.delivery_id LIMIT $9 FOR UPDATE
)
UPDATE webhook_deliveries d SET {_AGAIN.format(now="$10", expiry="$11")}
FROM picked WHERE d.organization_id = picked.organization_id AND d.delivery_id = picked.delivery_id
"""  # noqa: S608 - as above
# The oldest is among the first of each webhook; a long queue is not counted to its end.
_BACKLOG = """
SELECT coalesce(sum(due.count), 0)::bigint AS count, min(due.oldest) AS oldest
FROM webhooks w CROSS JOIN LATERAL (
    SELECT count(*) AS count, min(first.next_attempt_time) AS oldest FROM (
        SELECT d.next_attempt_time FROM webhook_deliveries d
        WHERE d.organization_id = w.organization_id AND d.webhook_id = w.webhook_id
          AND d.state IN ('pending', 'delivering', 'failed') AND d.next_attempt_time <= $1 AND d.expire_time > $1
        ORDER BY d.next_attempt_time LIMIT $2) first) due
WHERE w.is_enabled AND w.delete_time IS NULL
"""
# One that is on its way has its right to end; after that it has expired.
_EXPIRE = """
UPDATE webhook_deliveries SET state = 'dead', end_time = $1 WHERE (organization_id, delivery_id) IN (
    SELECT organization_id, delivery_id FROM webhook_deliveries
    WHERE expire_time <= $1 AND (state IN ('pending', 'failed') OR (state = 'delivering' AND next_attempt_time <= $1))
    ORDER BY expire_time LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_CANCEL = """
UPDATE webhook_deliveries SET state = 'cancelled', end_time = $1 WHERE (organization_id, delivery_id) IN (
    SELECT organization_id, d.delivery_id
    FROM webhook_deliveries d JOIN webhooks w USING (organization_id, webhook_id)
    WHERE w.delete_time IS NOT NULL AND d.state IN ('pending', 'delivering', 'failed') LIMIT $2 FOR UPDATE OF d)
"""
_FORGET = """
DELETE FROM webhook_deliveries WHERE (organization_id, delivery_id) IN (
    SELECT organization_id, delivery_id FROM webhook_deliveries WHERE end_time < $1 ORDER BY end_time LIMIT $2)
"""
_FORGET_WEBHOOKS = """
DELETE FROM webhooks w WHERE w.delete_time < $1 AND NOT EXISTS (
    SELECT FROM webhook_deliveries d WHERE d.organization_id = w.organization_id AND d.webhook_id = w.webhook_id)
"""


class PostgresDeliveryLog:
    """The part of a ``DeliveryQueue`` that people use."""

    def __init__(self, database: Database) -> None:
        self._log_database = database

    async def get(self, organization_id: str, webhook_id: str, delivery_id: str) -> Delivery:
        """See ``DeliveryQueue.get``."""
        async with self._log_database.transaction(isolation="repeatable_read", is_read_only=True) as connection:
            row = await connection.fetchrow(_GET, organization_id, webhook_id, delivery_id)
            if row is None:
                raise no_such_delivery(delivery_id)
            attempts = await connection.fetch(_ATTEMPTS, organization_id, delivery_id)
        return _delivery(row, tuple(map(_attempt, attempts)))

    async def list_page(
        self, organization_id: str, webhook_id: str, wanted: DeliveryFilter, *, after: Position | None, limit: int
    ) -> list[Delivery]:
        """See ``DeliveryQueue.list_page``."""
        place = (after.create_time, after.item_id) if after else (None, None)
        async with self._log_database.connection() as connection:
            rows = await connection.fetch(_LIST, organization_id, webhook_id, *_filter(wanted), *place, limit)
        return [_delivery(row) for row in rows]

    async def replay(self, webhook: Webhook, delivery_id: str, *, now: datetime) -> None:
        """See ``DeliveryQueue.replay``."""
        key = (webhook.organization_id, webhook.webhook_id, delivery_id)
        async with self._log_database.transaction() as connection:
            done = await connection.execute(_REPLAY, *key, now, now + webhook.definition.max_age)
            if done == "UPDATE 0":
                if await connection.fetchrow(_GET, *key) is None:
                    raise no_such_delivery(delivery_id)
                raise FailedPreconditionError(f"delivery {delivery_id} is not over yet")

    async def replay_all(
        self, webhook: Webhook, wanted: DeliveryFilter, *, states: Sequence[DeliveryState], limit: int, now: datetime
    ) -> int:
        """See ``DeliveryQueue.replay_all``."""
        async with self._log_database.transaction() as connection:
            done = await connection.execute(
                _REPLAY_ALL,
                webhook.organization_id,
                webhook.webhook_id,
                *_filter(wanted),
                [state.value for state in states],
                limit,
                now,
                now + webhook.definition.max_age,
            )
        return int(done.rpartition(" ")[2])

    async def backlog(self, *, now: datetime) -> Backlog:
        """See ``DeliveryQueue.backlog``."""
        async with self._log_database.connection() as connection:
            row = await connection.fetchrow(_BACKLOG, now, MOST_AT_ONCE)
        assert row is not None  # noqa: S101 - a count is always there
        return Backlog(row["count"], now - row["oldest"] if row["oldest"] else timedelta())

    async def sweep(self, *, now: datetime, forget_before: datetime) -> int:
        """See ``DeliveryQueue.sweep``."""
        async with self._log_database.connection() as connection:
            expired = await _in_pieces(connection, _EXPIRE, now)
            await _in_pieces(connection, _CANCEL, now)
            await _in_pieces(connection, _FORGET, forget_before)
            await connection.execute(_FORGET_WEBHOOKS, forget_before)
        return expired


async def _in_pieces(connection: Connection, statement: str, instant: datetime) -> int:
    """Run a statement until it finds no more, and return how many rows it found."""
    count, piece = 0, MOST_AT_ONCE
    while piece == MOST_AT_ONCE:
        done = await connection.execute(statement, instant, MOST_AT_ONCE)
        piece = int(done.rpartition(" ")[2])
        count += piece
    return count


async def insert_attempts(
    connection: Connection, organization_id: str, attempts: Sequence[tuple[str, Attempt]]
) -> None:
    """Log attempts, each with its delivery."""
    await connection.executemany(
        _INSERT_ATTEMPT,
        [
            (
                organization_id,
                delivery_id,
                attempt.number,
                attempt.attempt_time,
                attempt.method,
                attempt.url,
                attempt.outcome.failure.value,
                attempt.outcome.status,
                round(attempt.outcome.duration / timedelta(milliseconds=1)),
                attempt.outcome.body,
                attempt.outcome.detail,
            )
            for delivery_id, attempt in attempts
        ],
    )


def _filter(wanted: DeliveryFilter) -> tuple[str | datetime | None, ...]:
    return (
        wanted.state and wanted.state.value,
        wanted.event_kind and wanted.event_kind.value,
        wanted.conversion_id,
        wanted.start_time,
        wanted.end_time,
    )


def _delivery(row: asyncpg.Record, attempts: tuple[Attempt, ...] = ()) -> Delivery:
    return Delivery(
        organization_id=row["organization_id"],
        delivery_id=row["delivery_id"],
        webhook_id=row["webhook_id"],
        change=change_from_json(row["organization_id"], json.loads(row["change"])),
        state=DeliveryState(row["state"]),
        attempt_count=row["attempt_count"],
        next_attempt_time=row["next_attempt_time"] if row["end_time"] is None else None,
        create_time=row["create_time"],
        end_time=row["end_time"],
        attempts=attempts,
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        number=row["number"],
        attempt_time=row["attempt_time"],
        method=row["method"],
        url=row["url"],
        outcome=Outcome(
            failure=Failure(row["failure"]),
            status=row["status"],
            body=row["body"],
            detail=row["detail"],
            duration=timedelta(milliseconds=row["duration_ms"]),
        ),
    )
