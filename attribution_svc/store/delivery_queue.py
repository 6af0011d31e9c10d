"""The queue of deliveries in PostgreSQL: put in, taken out, ended. What people look at is in ``delivery_log``."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from attribution_svc.store.change_log import change_of
from attribution_svc.store.delivery_claims import claims_of
from attribution_svc.store.delivery_log import PostgresDeliveryLog, insert_attempts
from attribution_svc.store.webhooks import COLUMNS, readable_webhook_of, webhook_of, write
from attribution_svc.webhooks.attempt import Circuit, DeliveryState, Next, Outcome, Pace
from attribution_svc.webhooks.change import Change
from attribution_svc.webhooks.store import Attempt, ChangeBatch, Claim, ClaimLimits, NewDelivery
from attribution_svc.webhooks.stored import change_to_json
from attribution_svc.webhooks.webhook import Webhook
from svc_runtime.postgres import Connection, Database

_MOST_WEBHOOKS_AT_ONCE = 50
_CURSOR = "SELECT change_id FROM webhook_cursor"
_CHANGES = """
SELECT organization_id, change_id, conversion_id, kind, before, after, change_time
FROM conversion_changes WHERE change_id > $1 ORDER BY change_id LIMIT $2
"""
_CHANGES_BETWEEN = """
SELECT organization_id, change_id, conversion_id, kind, before, after, change_time
FROM conversion_changes
WHERE organization_id = $1 AND change_time >= coalesce($2::timestamptz, '-infinity')
  AND change_time < coalesce($3::timestamptz, 'infinity')
  AND (change_time, change_id) > (coalesce($4::timestamptz, '-infinity'), coalesce($5::bigint, 0))
ORDER BY change_time, change_id LIMIT $6
"""
_MOVE = "UPDATE webhook_cursor SET change_id = $2 WHERE change_id = $1"
_INSERT = """
INSERT INTO webhook_deliveries (organization_id, delivery_id, webhook_id, change_id, kind, conversion_id, change, state,
                                attempt_count, next_attempt_time, create_time, expire_time)
SELECT g.organization_id, g.delivery_id, g.webhook_id, nullif(g.change_id, 0), g.kind, g.conversion_id, g.change, $8,
       $9, coalesce($10, g.create_time), g.create_time, g.expire_time
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::json[], $11::timestamptz[],
            $12::timestamptz[])
    AS g (organization_id, delivery_id, webhook_id, change_id, kind, conversion_id, change, create_time, expire_time)
-- A webhook that is gone by now gets nothing.
WHERE EXISTS (SELECT FROM webhooks w WHERE w.organization_id = g.organization_id AND w.webhook_id = g.webhook_id)
ON CONFLICT DO NOTHING
"""
# Who waits longest comes first. Another replica that is about to serve one is not waited for.
_READY = f"""
SELECT {COLUMNS}, h.failure_count, h.open_until, h.paced_until
FROM webhook_health h JOIN webhooks w USING (organization_id, webhook_id)
WHERE w.is_enabled AND w.delete_time IS NULL AND (h.open_until IS NULL OR h.open_until <= $1)
  AND (h.organization_id, h.webhook_id) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))
  AND h.organization_id <> ALL ($5::text[])
  AND EXISTS (
      SELECT FROM webhook_deliveries d
      WHERE d.organization_id = h.organization_id AND d.webhook_id = h.webhook_id
        AND d.state IN ('pending', 'delivering', 'failed') AND d.next_attempt_time <= $1 AND d.expire_time > $1)
ORDER BY h.claim_time, h.organization_id, h.webhook_id LIMIT $4 FOR UPDATE OF h SKIP LOCKED
"""  # noqa: S608 - the columns are ours
_TAKE = """
WITH picked AS (
    SELECT d.organization_id, d.delivery_id, d.state, d.next_attempt_time
    FROM unnest($1::text[], $2::text[], $3::int[]) AS given (organization_id, webhook_id, most)
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_deliveries d
        WHERE d.organization_id = given.organization_id AND d.webhook_id = given.webhook_id
          AND d.state IN ('pending', 'delivering', 'failed') AND d.next_attempt_time <= $4 AND d.expire_time > $4
        ORDER BY d.next_attempt_time, d.delivery_id LIMIT given.most FOR UPDATE SKIP LOCKED) d
)
UPDATE webhook_deliveries d
SET state = 'delivering', attempt_count = d.attempt_count + 1, next_attempt_time = $5
FROM picked WHERE d.organization_id = picked.organization_id AND d.delivery_id = picked.delivery_id
RETURNING d.organization_id, d.webhook_id, d.delivery_id, d.change, d.attempt_count, d.tried_before, d.create_time,
          d.expire_time, picked.state AS old_state, picked.next_attempt_time AS old_time
"""
_SERVED = """
UPDATE webhook_health h SET open_until = given.open_until, paced_until = given.paced_until, claim_time = $5
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
    AS given (organization_id, webhook_id, open_until, paced_until)
WHERE h.organization_id = given.organization_id AND h.webhook_id = given.webhook_id
"""
# The number of the attempt proves that nobody has taken it over.
_FINISH = """
UPDATE webhook_deliveries
SET state = $4, next_attempt_time = coalesce($5, next_attempt_time), end_time = $6
WHERE organization_id = $1 AND delivery_id = $2 AND attempt_count = $3 AND state = 'delivering'
"""
_HEALTH = """
SELECT failure_count, open_until FROM webhook_health WHERE organization_id = $1 AND webhook_id = $2
"""
_SET_HEALTH = """
UPDATE webhook_health SET failure_count = $3, open_until = $4 WHERE organization_id = $1 AND webhook_id = $2
"""
_PRESENT = f"""
SELECT {COLUMNS} FROM webhooks w
WHERE w.organization_id = $1 AND w.webhook_id = $2 AND w.is_enabled AND w.delete_time IS NULL FOR UPDATE
"""  # noqa: S608 - as above
GONE_REASON = "the receiver answered 410 Gone"


class PostgresDeliveryQueue(PostgresDeliveryLog):
    """A ``DeliveryQueue`` on the service's database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    async def read_changes(self, *, limit: int) -> ChangeBatch:
        """See ``DeliveryQueue.read_changes``."""
        async with self._database.connection() as connection:
            cursor = await connection.fetchval(_CURSOR)
            rows = await connection.fetch(_CHANGES, cursor, limit)
        changes = [change for change in map(change_of, rows) if change is not None]
        return ChangeBatch(cursor, changes, rows[-1]["change_id"] if rows else cursor)

    async def plan(self, batch: ChangeBatch, deliveries: Sequence[NewDelivery]) -> bool:
        """See ``DeliveryQueue.plan``."""
        async with self._database.transaction() as connection:
            if await connection.execute(_MOVE, batch.cursor, batch.last_change_id) == "UPDATE 0":
                return False
            if deliveries:
                await _insert(connection, deliveries, DeliveryState.PENDING, attempt_count=0, lease_end=None)
        return True

    async def changes_between(
        self,
        organization_id: str,
        start_time: datetime | None,
        end_time: datetime | None,
        *,
        after: tuple[datetime, int] | None,
        limit: int,
    ) -> list[Change]:
        """See ``DeliveryQueue.changes_between``."""
        place, wanted = after or (None, None), limit
        found: list[Change] = []
        async with self._database.connection() as connection:
            # A row that nobody can be told of does not make a page look like the last one.
            while wanted > 0:
                rows = await connection.fetch(_CHANGES_BETWEEN, organization_id, start_time, end_time, *place, wanted)
                found += [change for change in map(change_of, rows) if change is not None]
                if len(rows) < wanted:
                    break
                place, wanted = (rows[-1]["change_time"], rows[-1]["change_id"]), limit - len(found)
        return found

    async def add(self, deliveries: Sequence[NewDelivery]) -> int:
        """See ``DeliveryQueue.add``."""
        if not deliveries:
            return 0
        async with self._database.transaction() as connection:
            return await _insert(connection, deliveries, DeliveryState.PENDING, attempt_count=0, lease_end=None)

    async def claim(self, limits: ClaimLimits, *, now: datetime) -> list[Claim]:
        """See ``DeliveryQueue.claim``."""
        full = [key for key, count in limits.busy.items() if count >= limits.most_per_webhook]
        busy = limits.busy_of_organizations()
        crowded = [organization_id for organization_id, count in busy.items() if count >= limits.most_per_organization]
        async with self._database.transaction() as connection:
            found = await connection.fetch(_READY, now, *_keys(full), _MOST_WEBHOOKS_AT_ONCE, crowded)
            webhooks = {_key(row): webhook for row in found if (webhook := readable_webhook_of(row)) is not None}
            rows = [row for row in found if _key(row) in webhooks]
            shares = _shares(rows, limits, now)
            if not shares:
                return []
            taken = await connection.fetch(_TAKE, *_keys(list(shares)), list(shares.values()), now, now + limits.lease)
            claims = await claims_of(connection, taken, webhooks, limits.lease, now)
            await _serve(connection, rows, claims, limits, now)
        return sorted(claims, key=lambda claim: (claim.create_time, claim.delivery_id))

    async def start(self, delivery: NewDelivery, webhook: Webhook, *, lease: timedelta) -> Claim:
        """See ``DeliveryQueue.start``."""
        end = delivery.create_time + lease
        async with self._database.transaction() as connection:
            await _insert(connection, [delivery], DeliveryState.DELIVERING, attempt_count=1, lease_end=end)
        return Claim(
            webhook=webhook,
            delivery_id=delivery.delivery_id,
            change=delivery.change,
            number=1,
            attempt_count=1,
            create_time=delivery.create_time,
            expire_time=delivery.expire_time,
        )

    async def finish(self, claim: Claim, attempt: Attempt, following: Next, *, now: datetime) -> bool:
        """See ``DeliveryQueue.finish``."""
        organization_id, webhook_id = claim.webhook.organization_id, claim.webhook.webhook_id
        async with self._database.transaction() as connection:
            done = await connection.execute(
                _FINISH,
                organization_id,
                claim.delivery_id,
                claim.number,
                following.state.value,
                following.attempt_time,
                None if following.state is DeliveryState.FAILED else now,
            )
            if done == "UPDATE 0":
                return False
            await insert_attempts(connection, organization_id, [(claim.delivery_id, attempt)])
            await _judge(connection, organization_id, webhook_id, attempt.outcome, now)
        return True


async def _insert(
    connection: Connection,
    deliveries: Sequence[NewDelivery],
    state: DeliveryState,
    *,
    attempt_count: int,
    lease_end: datetime | None,
) -> int:
    done = await connection.execute(
        _INSERT,
        [found.change.organization_id for found in deliveries],
        [found.delivery_id for found in deliveries],
        [found.webhook_id for found in deliveries],
        [found.change.change_id for found in deliveries],
        [found.change.kind.value for found in deliveries],
        [found.change.conversion.conversion_id for found in deliveries],
        [json.dumps(change_to_json(found.change)) for found in deliveries],
        state.value,
        attempt_count,
        lease_end,
        [found.create_time for found in deliveries],
        [found.expire_time for found in deliveries],
    )
    return int(done.rpartition(" ")[2])


def _shares(rows: Sequence[asyncpg.Record], limits: ClaimLimits, now: datetime) -> dict[tuple[str, str], int]:
    """Return how many deliveries of each webhook to take; those that get none are left out."""
    shares: dict[tuple[str, str], int] = {}
    free, busy = limits.most, limits.busy_of_organizations()
    for row in rows:
        organization_id = row["organization_id"]
        wanted = min(
            free,
            limits.most_per_webhook - limits.busy.get(_key(row), 0),
            limits.most_per_organization - busy[organization_id],
        )
        rate = json.loads(row["definition"])["rate_per_second"]
        count = Pace(row["paced_until"]).allowance(rate, _circuit(row).allowance(wanted, now), now)
        if count > 0:
            shares[_key(row)] = count
            free -= count
            busy[organization_id] += count
    return shares


async def _serve(
    connection: Connection,
    rows: Sequence[asyncpg.Record],
    claims: Sequence[Claim],
    limits: ClaimLimits,
    now: datetime,
) -> None:
    """Note how much of their time the webhooks have used, and that those that are probed are."""
    counts = Counter((claim.webhook.organization_id, claim.webhook.webhook_id) for claim in claims)
    served = [row for row in rows if counts[_key(row)]]
    circuits = [_circuit(row).probed(now, limits.lease) for row in served]
    paces = [
        Pace(row["paced_until"]).after(json.loads(row["definition"])["rate_per_second"], counts[_key(row)], now)
        for row in served
    ]
    await connection.execute(
        _SERVED,
        *_keys([_key(row) for row in served]),
        [circuit.open_until for circuit in circuits],
        [pace.used_until for pace in paces],
        now,
    )


async def _judge(
    connection: Connection, organization_id: str, webhook_id: str, outcome: Outcome, now: datetime
) -> None:
    """Set the destination's circuit, and turn it off when it is gone."""
    before = await connection.fetchrow(_HEALTH, organization_id, webhook_id)
    # Nearly always nothing changes: then nobody waits for the row.
    if before is not None and _circuit(before).after(outcome, now) != _circuit(before):
        locked = await connection.fetchrow(_HEALTH + " FOR UPDATE", organization_id, webhook_id)
        after = _circuit(locked).after(outcome, now) if locked else Circuit()
        await connection.execute(_SET_HEALTH, organization_id, webhook_id, after.failure_count, after.open_until)
    if outcome.is_gone:
        row = await connection.fetchrow(_PRESENT, organization_id, webhook_id)
        if row is not None:
            webhook = webhook_of(row)
            off = replace(webhook, is_enabled=False, disable_reason=GONE_REASON, version=webhook.version + 1)
            await write(connection, replace(off, update_time=max(now, webhook.update_time)), "service:attribution_svc")


def _circuit(row: asyncpg.Record) -> Circuit:
    return Circuit(row["failure_count"], row["open_until"])


def _key(row: asyncpg.Record) -> tuple[str, str]:
    return row["organization_id"], row["webhook_id"]


def _keys(keys: Sequence[tuple[str, str]]) -> tuple[list[Any], list[Any]]:
    return [organization_id for organization_id, _ in keys], [webhook_id for _, webhook_id in keys]
