"""Attempts whose process died: logged, counted, and followed by a pause or by the end, as any that failed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import asyncpg

from attribution_svc.store.delivery_log import insert_attempts
from attribution_svc.webhooks.attempt import DeliveryState, Failure, Next, Outcome, after_attempt
from attribution_svc.webhooks.store import Attempt
from attribution_svc.webhooks.webhook import Webhook
from svc_runtime.postgres import Connection

_GIVE_BACK = """
UPDATE webhook_deliveries
SET state = $3, attempt_count = attempt_count - 1, next_attempt_time = coalesce($4, next_attempt_time), end_time = $5
WHERE organization_id = $1 AND delivery_id = $2
"""
_OUTCOME = Outcome(Failure.ABANDONED, detail="the process that made this attempt died before it knew the answer")


async def without_abandoned(
    connection: Connection,
    taken: Sequence[asyncpg.Record],
    webhooks: Mapping[tuple[str, str], Webhook],
    lease: timedelta,
    now: datetime,
) -> list[asyncpg.Record]:
    """Log the attempts that were abandoned, and return what may be sent now; the rest is given back, or up."""
    sendable = []
    for row in taken:
        following = None
        if row["old_state"] == DeliveryState.DELIVERING.value:
            attempt = Attempt(row["attempt_count"] - 1, now, "", "", _OUTCOME)
            await insert_attempts(connection, row["organization_id"], [(row["delivery_id"], attempt)])
            following = _after(row, webhooks[row["organization_id"], row["webhook_id"]], lease)
        if following is None or (following.attempt_time is not None and following.attempt_time <= now):
            sendable.append(row)
        else:
            await connection.execute(
                _GIVE_BACK,
                row["organization_id"],
                row["delivery_id"],
                following.state.value,
                following.attempt_time,
                None if following.state is DeliveryState.FAILED else now,
            )
    return sendable


def _after(row: asyncpg.Record, webhook: Webhook, lease: timedelta) -> Next:
    """Return what follows; the pause counts from the begin of the attempt, so the lease is a part of it."""
    return after_attempt(
        _OUTCOME,
        attempt_count=row["attempt_count"] - row["tried_before"] - 1,
        max_attempts=webhook.definition.max_attempts,
        expire_time=row["expire_time"],
        now=row["old_time"] - lease,
        jitter=1.0,
    )
