"""Makes claims of the rows that are taken out of the queue, and puts off those that cannot be sent now.

Attempts whose process died, and rows that cannot be read, are logged, counted, and followed by a pause or by the end,
as any attempt that failed.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import asyncpg

from attribution_svc.store.delivery_log import insert_attempts
from attribution_svc.webhooks.attempt import DeliveryState, Failure, Next, Outcome, after_attempt
from attribution_svc.webhooks.store import Attempt, Claim
from attribution_svc.webhooks.stored import UNREADABLE, change_from_json
from attribution_svc.webhooks.webhook import Webhook
from svc_runtime.logs import get_logger
from svc_runtime.postgres import Connection

_PUT_OFF = """
UPDATE webhook_deliveries
SET state = $3, attempt_count = $4, next_attempt_time = coalesce($5, next_attempt_time), end_time = $6
WHERE organization_id = $1 AND delivery_id = $2
"""
_ABANDONED = Outcome(Failure.ABANDONED, detail="the process that made this attempt died before it knew the answer")
_UNREADABLE = Outcome(Failure.INTERNAL, detail="a fault of ours: what is to be told cannot be read")
_log = get_logger(__name__)


async def claims_of(
    connection: Connection,
    taken: Sequence[asyncpg.Record],
    webhooks: Mapping[tuple[str, str], Webhook],
    lease: timedelta,
    now: datetime,
) -> list[Claim]:
    """Return what may be sent now; the rest is put off, or given up."""
    claims = []
    for row in taken:
        webhook = webhooks[row["organization_id"], row["webhook_id"]]
        if row["old_state"] == DeliveryState.DELIVERING.value:
            # The pause counts from the begin of the attempt: the lease is a part of it.
            number, begun = row["attempt_count"] - 1, row["old_time"] - lease
            following = await _log_failed(connection, row, webhook, _ABANDONED, number, begun)
            if following.attempt_time is None or following.attempt_time > now:
                await _put_off(connection, row, following, number, now)
                continue
        try:
            claims.append(_claim(row, webhook))
        except UNREADABLE as error:
            _log.error("a delivery cannot be read", delivery_id=row["delivery_id"], error=type(error).__name__)
            number = row["attempt_count"]
            # Perhaps it was written by a release that takes over soon.
            following = await _log_failed(connection, row, webhook, _UNREADABLE, number, now)
            await _put_off(connection, row, following, number, now)
    return claims


async def _log_failed(
    connection: Connection, row: asyncpg.Record, webhook: Webhook, outcome: Outcome, number: int, begun: datetime
) -> Next:
    """Log an attempt and return what follows."""
    attempt = Attempt(number, begun, "", "", outcome)
    await insert_attempts(connection, row["organization_id"], [(row["delivery_id"], attempt)])
    return after_attempt(
        outcome,
        attempt_count=number - row["tried_before"],
        max_attempts=webhook.definition.max_attempts,
        expire_time=row["expire_time"],
        now=begun,
        jitter=1.0,
    )


async def _put_off(connection: Connection, row: asyncpg.Record, following: Next, count: int, now: datetime) -> None:
    end = None if following.state is DeliveryState.FAILED else now
    await connection.execute(
        _PUT_OFF,
        row["organization_id"],
        row["delivery_id"],
        following.state.value,
        count,
        following.attempt_time,
        end,
    )


def _claim(row: asyncpg.Record, webhook: Webhook) -> Claim:
    return Claim(
        webhook=webhook,
        delivery_id=row["delivery_id"],
        change=change_from_json(row["organization_id"], json.loads(row["change"])),
        number=row["attempt_count"],
        attempt_count=row["attempt_count"] - row["tried_before"],
        create_time=row["create_time"],
        expire_time=row["expire_time"],
    )
